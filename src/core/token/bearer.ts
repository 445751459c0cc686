/**
 * From the Authorization field to one bearer token, and from a refusal to the challenge that tells the client what to do.
 *
 * A token is taken from that field and from nowhere else: one in the query ends up in logs and histories, so a request that
 * has one there is refused even beside a good field. Pure and total; called by the `token` and `access-policy` stages.
 *
 * @see RFC 6750 §2 and §3, FAPI 2.0 Security Profile §5.3.4
 */
import { TOKEN_LENGTH_MAX } from "../bounds.ts"

/** The error codes of a challenge. @see RFC 6750 §3.1 */
export type BearerError = "invalid_request" | "invalid_token" | "insufficient_scope"

/** A token as it was sent, or why there is none. Without `error` the challenge has no code: no credentials were sent. */
export type BearerDecision =
  | { readonly ok: true; readonly token: string }
  | {
      readonly ok: false
      readonly code: "token-missing" | "token-invalid" | "malformed-request"
      readonly reason: "no_authorization" | "token_in_query" | "other_scheme" | "bearer_malformed" | "token_too_large"
      readonly error: BearerError | undefined
    }

const TOKEN68 = /^[A-Za-z0-9._~+/-]+=*$/

/**
 * Returns the token of a request: the scheme in any case, one space, one token68 of at most {@link TOKEN_LENGTH_MAX}
 * characters, nothing else.
 *
 * @param field the Authorization field, lines joined by commas; null when there is none
 * @param query raw query with or without its "?"
 */
export function decideBearer(field: string | null, query: string): BearerDecision {
  const isInQuery = hasTokenParameter(query)
  if (field === null || field === "") {
    return refuse("token-missing", isInQuery ? "token_in_query" : "no_authorization", undefined)
  }
  if (isInQuery) return refuse("malformed-request", "token_in_query", "invalid_request")
  const scheme = /^[^ ,]*/.exec(field)?.[0] ?? ""
  if (scheme.toLowerCase() !== "bearer") return refuse("token-invalid", "other_scheme", undefined)
  const token = field.slice(scheme.length + 1)
  if (token.length > TOKEN_LENGTH_MAX) return refuse("token-invalid", "token_too_large", "invalid_token")
  if (field[scheme.length] !== " " || !TOKEN68.test(token)) {
    return refuse("token-invalid", "bearer_malformed", "invalid_token")
  }
  return { ok: true, token }
}

function refuse(
  code: Exclude<BearerDecision, { readonly ok: true }>["code"],
  reason: Exclude<BearerDecision, { readonly ok: true }>["reason"],
  error: BearerError | undefined,
): BearerDecision {
  return { ok: false, code, reason, error }
}

/** Some readers of queries separate at semicolons, and all of them decode names. */
function hasTokenParameter(query: string): boolean {
  if (query.length < 2) return false
  return query
    .replace(/^\?/, "")
    .split(/[&;]/)
    .some((pair) => decode(pair.split("=", 1)[0] ?? "") === "access_token")
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** What a challenge says beside its realm. Scopes are scope tokens, which need no escape in a quoted string. */
export interface Challenge {
  readonly error: BearerError | undefined
  /** Scopes that the request needs; only where these were missing. */
  readonly scopes?: readonly string[]
}

/**
 * Returns the value of WWW-Authenticate.
 *
 * @param realm letters, digits, dots, hyphens
 * @see RFC 6750 §3
 */
export function formatChallenge(realm: string, { error, scopes = [] }: Challenge): string {
  return [
    `Bearer realm="${realm}"`,
    ...(error === undefined ? [] : [`error="${error}"`]),
    ...(scopes.length === 0 ? [] : [`scope="${scopes.join(" ")}"`]),
  ].join(", ")
}

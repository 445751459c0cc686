/**
 * What the gateway asserts to an origin about one request: who asks, with which certificate, for what, and when.
 *
 * The claims bind the assertion to one client, one certificate, one method, one target, one request id and one audience,
 * for {@link GATEWAY_ASSERTION_SECONDS}. They say nothing about fields and content of the request. Pure and total; called
 * by the `origin` stage, signed by `src/keys/assertion-keys.ts`.
 *
 * @see RFC 7519 (JWT), RFC 8705 §3.1 (`cnf`), RFC 9449 §4.2 (`htm`, `htu`)
 */
import { formatBase64url } from "../base64url.ts"
import { GATEWAY_ASSERTION_SECONDS } from "../bounds.ts"
import { parseHex } from "../hex.ts"

/** The `typ` of an assertion: a verifier that insists on it takes no other token for one, and nobody takes one for another. */
export const GATEWAY_ASSERTION_TYPE = "gw-assertion+jwt"

/** The facts of one request that are asserted. */
export interface AssertedFacts {
  readonly issuer: string
  /** The origin that the assertion is for. */
  readonly audience: string
  readonly clientId: string
  /** What the access token of the request grants; undefined when the route asks for none. */
  readonly scopes: readonly string[] | undefined
  /** SHA-256 of the presented leaf, 64 hex digits. */
  readonly certificateFingerprint: string
  readonly requestId: string
  readonly method: string
  /** Host as the caller named it, in its canonical form and without port: the value of `X-Forwarded-Host`. */
  readonly host: string
  /** Canonical path, without the base path of the origin. */
  readonly path: string
  /** SHA-256 of {@link signedQuery}; undefined when the target has no query. */
  readonly queryDigest: Uint8Array | undefined
  readonly configVersion: string
}

/** The claims, in the order in which they are written. */
export interface AssertionClaims {
  readonly iss: string
  readonly aud: string
  readonly sub: string
  readonly scope?: string
  readonly cnf: { readonly "x5t#S256": string }
  readonly jti: string
  readonly iat: number
  readonly exp: number
  readonly htm: string
  readonly htu: string
  readonly cfgv: string
}

/**
 * Returns the claims about a request. Instants are whole seconds, rounded down, so that `iat` is never ahead of the clock.
 * No scopes are no claim: an empty `scope` is not well formed (RFC 6749 §3.3).
 */
export function assertionClaims(facts: AssertedFacts, nowMs: number): AssertionClaims {
  const iat = Math.floor(nowMs / 1_000)
  const { scopes = [] } = facts
  return {
    iss: facts.issuer,
    aud: facts.audience,
    sub: facts.clientId,
    ...(scopes.length === 0 ? {} : { scope: scopes.join(" ") }),
    cnf: { "x5t#S256": formatBase64url(parseHex(facts.certificateFingerprint) ?? new Uint8Array()) },
    jti: facts.requestId,
    iat,
    exp: iat + GATEWAY_ASSERTION_SECONDS,
    htm: facts.method,
    htu: formatTargetUri(facts.host, facts.path, facts.queryDigest),
    cfgv: facts.configVersion,
  }
}

/**
 * Returns the query of a target as it reaches the origin, without its `?`, or undefined when there is none. Fetching
 * encodes four characters that a query may hold raw, and only those (URL Standard, "special-query percent-encode set").
 *
 * @param query as `core/route/target.ts` gives it: printable ASCII with its leading `?`, or ""
 */
export function signedQuery(query: string): string | undefined {
  if (query === "") return undefined
  return query.slice(1).replace(/["'<>]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
}

/**
 * Returns the `htu`: `https://`, host and canonical path, and where the target has a query, also an empty one, `?sha-256=`
 * and the digest in base64url. A digest in its place keeps what a query says out of logs that show claims.
 */
function formatTargetUri(host: string, path: string, queryDigest: Uint8Array | undefined): string {
  return `https://${host}${path}${queryDigest === undefined ? "" : `?sha-256=${formatBase64url(queryDigest)}`}`
}

/**
 * Whether a JWT access token is one of its authorization server's, meant for this gateway, in time, bound to the certificate
 * of this connection, and its client's own.
 *
 * Three questions, because they are asked at different times: what the header says, before a key is looked for
 * ({@link decideHeader}); what the claims say, once for a verified token ({@link readClaims}); and what depends on the
 * moment and on who presents it, with every request ({@link decideUse}), also when the verified token is remembered. Pure
 * and total on whatever was sent; signatures are verified in between by the shell. Reasons are for the log.
 *
 * @see RFC 9068, RFC 8725, RFC 8705 §3, RFC 7515
 */
import { parseBase64url } from "../base64url.ts"
import { TOKEN_KEY_ID_LENGTH_MAX, TOKEN_LENGTH_MAX, TOKEN_LOGGED_LENGTH_MAX } from "../bounds.ts"
import { readUtf8 } from "../certificate/der.ts"
import { formatHex } from "../hex.ts"
import type { TokenAlgorithm } from "./json-web-key.ts"
import { parseScope } from "./scope.ts"
import { isJsonObject, membersOf, parseJson } from "../untrusted.ts"

/** Whom a token must be for. */
export type TokenAudience =
  /** `aud` is this value and no other. */
  | { readonly kind: "sole"; readonly value: string }
  /** `aud` contains one of these. */
  | { readonly kind: "any"; readonly values: readonly string[] }

/** What a token of one authorization server has to be. */
export interface TokenTerms {
  /** The exact `iss`. */
  readonly issuer: string
  readonly audience: TokenAudience
  readonly algorithms: readonly TokenAlgorithm[]
  /** Accepted `typ`, lower case, without `application/`. */
  readonly types: readonly string[]
  /** How far clocks may differ, in ms. */
  readonly clockToleranceMs: number
  /** Longest time between issue or now and expiry, in ms. */
  readonly lifetimeMsMax: number
  /** A token without `cnf` is refused. One that has it is compared either way. */
  readonly isCertificateBound: boolean
  /** The claim that names the OAuth client; null when none is compared. */
  readonly clientClaim: "client_id" | "sub" | null
}

/** The type of tokens that follow RFC 9068, and have all the claims that it requires. */
export const ACCESS_TOKEN_TYPE = "at+jwt"

/** How a token is bound. `fingerprint` is SHA-256 of a certificate, 64 hex digits. */
type Confirmation =
  | { readonly kind: "none" }
  | { readonly kind: "certificate"; readonly fingerprint: string }
  | { readonly kind: "unreadable" }

/** What a verified token says, as far as anything depends on it. Instants are epoch ms. */
export interface TokenFacts {
  readonly expiresMs: number
  readonly notBeforeMs: number | null
  readonly issuedMs: number | null
  readonly clientId: string | null
  readonly tokenId: string | null
  readonly scopes: ReadonlySet<string>
  readonly confirmation: Confirmation
}

interface Refused {
  readonly ok: false
  readonly reason: string
}
const refused = (reason: string): Refused => ({ ok: false, reason })

/** What is needed to look for the key, or why the token is refused unread. */
export type HeaderDecision =
  | {
      readonly ok: true
      readonly algorithm: TokenAlgorithm
      readonly kid: string
      /** {@link normalizeType} of `typ`. */
      readonly type: string
    }
  | Refused

/** Members that would let a token bring or choose its key. */
const KEY_MEMBERS = ["jwk", "jku", "x5u", "x5c"]

/** Reads the header of a token in compact form. Size and number of parts come first: nothing else is decoded before. */
export function decideHeader(token: string, terms: TokenTerms): HeaderDecision {
  if (token.length > TOKEN_LENGTH_MAX) return refused("token_too_large")
  const parts = token.split(".", 6)
  if (parts.length === 5) return refused("token_encrypted")
  const [header = "", payload = "", signature = ""] = parts
  if (parts.length !== 3) return refused("token_malformed")
  if (parseBase64url(payload) === undefined || parseBase64url(signature) === undefined)
    return refused("token_malformed")
  const members = parseJsonObject(parseBase64url(header))
  if (members === undefined) return refused("token_malformed")
  const algorithm = terms.algorithms.find((allowed) => allowed === members["alg"])
  if (algorithm === undefined) return refused("alg_not_allowed")
  if (signature === "") return refused("token_malformed")
  // Extensions that have to be understood; none is.
  if (Object.hasOwn(members, "crit")) return refused("crit_not_supported")
  if (KEY_MEMBERS.some((name) => Object.hasOwn(members, name))) return refused("key_in_header")
  const { kid, typ } = members
  const type = typeof typ === "string" ? normalizeType(typ) : ""
  if (!terms.types.includes(type)) return refused("typ_not_allowed")
  if (typeof kid !== "string" || kid === "") return refused("kid_missing")
  if (kid.length > TOKEN_KEY_ID_LENGTH_MAX) return refused(`kid_too_long ${forLog(kid)}`)
  return { ok: true, algorithm, kid, type }
}

/** Returns a media type as {@link TokenTerms.types} has it. @see RFC 7515 §4.1.9 */
export function normalizeType(typ: string): string {
  return typ.toLowerCase().replace(/^application\//, "")
}

/** Returns a text of a token as a reason may hold it: short, and in quotes, so that it cannot pass for anything else. */
export function forLog(text: string): string {
  return JSON.stringify(text.slice(0, TOKEN_LOGGED_LENGTH_MAX))
}

/** The facts of a verified token, or why it is none for these terms. */
export type ClaimsDecision = { readonly ok: true; readonly facts: TokenFacts } | Refused

/**
 * Reads the claims of a token whose signature is verified: everything that stays the same for as long as the token lives.
 *
 * @param payload octets of the token's second part
 * @param type {@link normalizeType} of the header's `typ`; of {@link ACCESS_TOKEN_TYPE} all claims of RFC 9068 §2.2 are required
 */
export function readClaims(payload: Uint8Array, type: string, terms: TokenTerms): ClaimsDecision {
  const claims = parseJsonObject(payload)
  if (claims === undefined) return refused("claims_malformed")
  const { iss, aud, exp, nbf, iat, jti, cnf, scope } = claims
  if (iss !== terms.issuer) return refused("iss_mismatch")
  if (!isAudience(aud, terms.audience)) return refused("aud_mismatch")
  const isProfiled = type === ACCESS_TOKEN_TYPE
  if (exp === undefined) return refused("exp_missing")
  for (const [name, value] of Object.entries({ exp, nbf, iat })) {
    if (value === undefined) continue
    if (typeof value !== "number" || !Number.isFinite(value) || value < 0) return refused(`${name}_malformed`)
  }
  if (isProfiled && iat === undefined) return refused("iat_missing")
  for (const name of isProfiled ? ["sub", "client_id", "jti"] : []) {
    const value = claims[name]
    if (value === undefined) return refused(`${name}_missing`)
    if (typeof value !== "string" || value === "") return refused(`${name}_malformed`)
  }
  const client = terms.clientClaim === null ? undefined : claims[terms.clientClaim]
  return {
    ok: true,
    facts: {
      expiresMs: Number(exp) * 1_000,
      notBeforeMs: nbf === undefined ? null : Number(nbf) * 1_000,
      issuedMs: iat === undefined ? null : Number(iat) * 1_000,
      clientId: typeof client === "string" ? client : null,
      tokenId: typeof jti === "string" ? jti : null,
      scopes: parseScope(scope),
      confirmation: readConfirmation(cnf),
    },
  }
}

function isAudience(aud: unknown, wanted: TokenAudience): boolean {
  const audiences: readonly unknown[] = Array.isArray(aud) ? aud : [aud]
  if (audiences.length === 0 || !audiences.every((item) => typeof item === "string")) return false
  return wanted.kind === "sole"
    ? audiences.every((item) => item === wanted.value)
    : audiences.some((item) => wanted.values.includes(item))
}

/** A token that is bound to another key as well is presented without the proof of that one. @see RFC 9449 §7.2 */
function readConfirmation(cnf: unknown): Confirmation {
  if (cnf === undefined) return { kind: "none" }
  const members = membersOf(cnf)
  const thumbprint = Object.hasOwn(members, "x5t#S256") ? members["x5t#S256"] : undefined
  const octets = typeof thumbprint === "string" ? parseBase64url(thumbprint) : undefined
  if (octets?.length !== 32 || Object.hasOwn(members, "jkt")) return { kind: "unreadable" }
  return { kind: "certificate", fingerprint: formatHex(octets) }
}

/** Who presents a token, and when. */
export interface Presentation {
  /** SHA-256 of the certificate of this connection, 64 hex digits. */
  readonly fingerprint: string
  /** Ids that the client of that certificate has at authorization servers. */
  readonly oauthClients: ReadonlySet<string>
  readonly nowMs: number
}

/** Whether a verified token may be used here and now. */
export type UseDecision =
  | { readonly ok: true }
  | {
      readonly ok: false
      readonly code: "token-invalid" | "token-expired" | "token-binding-mismatch" | "token-client-mismatch"
      readonly reason: string
    }

/** Decides on what no memory may answer: time, certificate, client. */
export function decideUse(facts: TokenFacts, terms: TokenTerms, presentation: Presentation): UseDecision {
  const { expiresMs, notBeforeMs, issuedMs, confirmation, clientId } = facts
  const { fingerprint, oauthClients, nowMs } = presentation
  const { clockToleranceMs: toleranceMs, lifetimeMsMax } = terms
  const no = (code: Exclude<UseDecision, { readonly ok: true }>["code"], reason: string): UseDecision => ({
    ok: false,
    code,
    reason,
  })
  // Seconds mistaken for milliseconds, and tokens that nobody can wait out.
  if (expiresMs - Math.min(issuedMs ?? nowMs, nowMs) > lifetimeMsMax + toleranceMs)
    return no("token-invalid", "lifetime_too_long")
  if (expiresMs + toleranceMs <= nowMs) return no("token-expired", "expired")
  if (notBeforeMs !== null && notBeforeMs - toleranceMs > nowMs) return no("token-invalid", "not_yet_valid")
  if (issuedMs !== null && issuedMs - toleranceMs > nowMs) return no("token-invalid", "issued_in_the_future")
  if (confirmation.kind === "unreadable") return no("token-binding-mismatch", "cnf_unreadable")
  if (confirmation.kind === "none" && terms.isCertificateBound) return no("token-binding-mismatch", "cnf_missing")
  // Both are public values, so comparing them takes no care about time.
  if (confirmation.kind === "certificate" && confirmation.fingerprint !== fingerprint)
    return no("token-binding-mismatch", `cnf_mismatch bound=${confirmation.fingerprint} presented=${fingerprint}`)
  if (terms.clientClaim === null) return { ok: true }
  if (clientId === null) return no("token-client-mismatch", "client_missing")
  return oauthClients.has(clientId) ? { ok: true } : no("token-client-mismatch", `client_mismatch ${forLog(clientId)}`)
}

/** Returns the members of a JSON object in UTF-8, or undefined. */
function parseJsonObject(octets: Uint8Array | undefined): Readonly<Record<string, unknown>> | undefined {
  const value = octets === undefined ? undefined : parseJson(readUtf8(octets))
  return isJsonObject(value) ? value : undefined
}

/**
 * What the sample authorization server answers to a token request, and the token itself: RFC 6749 §4.4 (client credentials),
 * RFC 9068 (the token's form) and RFC 8705 (bound to the client's certificate). Pure but for the key that signs.
 */
import { createHash, sign, type KeyObject } from "node:crypto"

/** Scopes that the sample knows; every client may have all of them. */
export const SAMPLE_SCOPES = ["transfers.read", "transfers.write"] as const

/** How long a token lives, in seconds. */
const LIFETIME_SECONDS = 300

/** What is asked for, or the error of RFC 6749 §5.2. */
export type TokenRequest =
  | { readonly scopes: readonly string[] }
  | { readonly error: "unsupported_grant_type" | "invalid_scope" }

/** Returns what a form asks for. Without `scope` it is everything. */
export function parseTokenRequest(form: string): TokenRequest {
  const fields = new URLSearchParams(form)
  if (fields.get("grant_type") !== "client_credentials") return { error: "unsupported_grant_type" }
  const scopes = (fields.get("scope") ?? SAMPLE_SCOPES.join(" ")).split(" ")
  const isKnown = (scope: string): boolean => (SAMPLE_SCOPES as readonly string[]).includes(scope)
  return scopes.every(isKnown) ? { scopes } : { error: "invalid_scope" }
}

/**
 * Returns the DER of a certificate in a Client-Cert field, or undefined.
 *
 * @see RFC 9440 §2.1
 */
export function parseClientCert(field: string): Buffer | undefined {
  const base64 = /^:([A-Za-z0-9+/]+={0,2}):$/.exec(field)?.[1]
  return base64 === undefined ? undefined : Buffer.from(base64, "base64")
}

/** What a token says beside what every token of this server says. */
export interface TokenSubject {
  readonly client: string
  /** DER of the certificate that the token is bound to. */
  readonly certificate: Buffer
  readonly scopes: readonly string[]
  readonly tokenId: string
  readonly nowMs: number
}

/** Who issues, for whom, and with which key (ECDSA on P-256). */
export interface TokenIssuer {
  readonly issuer: string
  readonly audience: string
  readonly kid: string
  readonly privateKey: KeyObject
}

/** Returns a signed access token, and for how many seconds it is good. */
export function issueToken(
  { audience, issuer, kid, privateKey }: TokenIssuer,
  { certificate, client, nowMs, scopes, tokenId }: TokenSubject,
): { readonly token: string; readonly expiresIn: number } {
  const issuedAt = Math.floor(nowMs / 1_000)
  const header = { alg: "ES256", typ: "at+jwt", kid }
  const claims = {
    iss: issuer,
    aud: audience,
    sub: client,
    client_id: client,
    jti: tokenId,
    iat: issuedAt,
    exp: issuedAt + LIFETIME_SECONDS,
    scope: scopes.join(" "),
    cnf: { "x5t#S256": createHash("sha256").update(certificate).digest("base64url") },
  }
  const text = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".")
  const signature = sign("sha256", Buffer.from(text), { key: privateKey, dsaEncoding: "ieee-p1363" })
  return { token: `${text}.${signature.toString("base64url")}`, expiresIn: LIFETIME_SECONDS }
}

/**
 * The keys that sign assertions, as they stand in Worker secrets: which text is one, and what of it may be published.
 *
 * The public key is built member by member from a list, never by leaving members out, so nothing that a secret holds
 * besides reaches anybody. Reasons name what is wrong, never what stands there. Pure and total.
 *
 * @see RFC 7517 §4, RFC 7518 §6.2 (EC), RFC 8037 §2 (OKP)
 */
import { parseBase64url } from "../base64url.ts"
import { ASSERTION_KEY_SECRET_LENGTH_MAX } from "../bounds.ts"
import { isJsonObject, parseJson } from "../untrusted.ts"

/** Algorithms an assertion is signed with; the key decides, a token never does. */
export type AssertionAlgorithm = "ES256" | "EdDSA"

/** Why a secret holds no key to sign with; for the event and the command line. */
export type AssertionKeyFault =
  | "missing"
  | "not_json"
  | "kid_missing"
  | "alg_unsupported"
  | "key_type_mismatch"
  | "key_malformed"
  | "not_for_signing"

/** The public part: what the JWKS shows. */
export interface PublicJwk {
  readonly kty: "EC" | "OKP"
  readonly crv: "P-256" | "Ed25519"
  readonly x: string
  readonly y?: string
  readonly kid: string
  readonly alg: AssertionAlgorithm
  readonly use: "sig"
}

/** A key to sign with. */
export interface AssertionKey {
  readonly kid: string
  readonly alg: AssertionAlgorithm
  readonly publicJwk: PublicJwk
  readonly privateJwk: PublicJwk & { readonly d: string }
}

/** A key, or why there is none. */
export type AssertionKeyResult =
  | { readonly ok: true; readonly key: AssertionKey }
  | { readonly ok: false; readonly reason: AssertionKeyFault }

const KID = /^[A-Za-z0-9._-]{1,64}$/

/**
 * Returns the signing key in the value of a secret: a JWK of at most 4,096 characters with `kid` (1 to 64 letters, digits,
 * dots, underscores or hyphens), `alg` and the private member. ES256 takes P-256, EdDSA takes Ed25519; `use` and
 * `key_ops`, where they stand, must allow signing. Whether the parts belong together shows when it is imported.
 */
export function parseAssertionKey(secret: unknown): AssertionKeyResult {
  if (typeof secret !== "string" || secret.trim() === "") return { ok: false, reason: "missing" }
  const jwk = secret.length > ASSERTION_KEY_SECRET_LENGTH_MAX ? undefined : parseJson(secret)
  if (!isJsonObject(jwk)) return { ok: false, reason: "not_json" }
  const { alg, crv, d, kid, kty, x, y } = jwk
  if (typeof kid !== "string" || !KID.test(kid)) return { ok: false, reason: "kid_missing" }
  if (alg !== "ES256" && alg !== "EdDSA") return { ok: false, reason: "alg_unsupported" }
  const expected = alg === "ES256" ? (["EC", "P-256"] as const) : (["OKP", "Ed25519"] as const)
  if (kty !== expected[0] || crv !== expected[1]) return { ok: false, reason: "key_type_mismatch" }
  if (!isForSigning(jwk)) return { ok: false, reason: "not_for_signing" }
  if (!isOctets32(x) || !isOctets32(d)) return { ok: false, reason: "key_malformed" }
  if (alg === "ES256" && !isOctets32(y)) return { ok: false, reason: "key_malformed" }
  const publicJwk: PublicJwk = {
    kty: expected[0],
    crv: expected[1],
    x,
    ...(alg === "ES256" ? { y: y as string } : {}),
    kid,
    alg,
    use: "sig",
  }
  return { ok: true, key: { kid, alg, publicJwk, privateJwk: { ...publicJwk, d } } }
}

function isForSigning({ key_ops: operations, use }: Readonly<Record<string, unknown>>): boolean {
  if (use !== undefined && use !== "sig") return false
  return operations === undefined || (Array.isArray(operations) && operations.includes("sign"))
}

function isOctets32(value: unknown): value is string {
  return typeof value === "string" && parseBase64url(value)?.length === 32
}

/**
 * The keys that protect idempotency records, as they stand in Worker secrets: which text is one. Reasons name what is wrong,
 * never what stands there. Pure and total.
 *
 * @see RFC 7517 §4, RFC 7518 §6.4
 */
import { parseBase64url } from "../base64url.ts"
import { ASSERTION_KEY_SECRET_LENGTH_MAX } from "../bounds.ts"
import { isJsonObject, parseJson } from "../untrusted.ts"

/** Why a secret holds no such key; for the event and the command line. */
export type RecordKeyFault = "missing" | "not_json" | "kid_missing" | "key_type_mismatch" | "key_malformed"

/** A key, or why there is none. `octets` are 32. */
export type RecordKeyResult =
  | { readonly ok: true; readonly kid: string; readonly octets: Uint8Array<ArrayBuffer> }
  | { readonly ok: false; readonly reason: RecordKeyFault }

const KID = /^[A-Za-z0-9._-]{1,64}$/

/**
 * Returns the key in the value of a secret: a JWK of at most 4,096 characters with `kty` "oct", `kid` (1 to 64 letters, digits,
 * dots, underscores or hyphens) and `k`, 32 octets in base64url. An `alg` that stands there must be "A256GCM".
 */
export function parseRecordKey(secret: unknown): RecordKeyResult {
  if (typeof secret !== "string" || secret.trim() === "") return { ok: false, reason: "missing" }
  const jwk = secret.length > ASSERTION_KEY_SECRET_LENGTH_MAX ? undefined : parseJson(secret)
  if (!isJsonObject(jwk)) return { ok: false, reason: "not_json" }
  const { alg, k, kid, kty } = jwk
  if (typeof kid !== "string" || !KID.test(kid)) return { ok: false, reason: "kid_missing" }
  if (kty !== "oct" || (alg !== undefined && alg !== "A256GCM")) return { ok: false, reason: "key_type_mismatch" }
  const octets = typeof k === "string" ? parseBase64url(k) : undefined
  return octets?.length === 32 ? { ok: true, kid, octets } : { ok: false, reason: "key_malformed" }
}

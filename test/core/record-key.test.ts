/**
 * Goal: only a key of full strength protects records, and no reason repeats what a secret holds. Method: every way to be wrong.
 */
import { expect, test } from "vitest"
import { parseRecordKey } from "../../src/core/idempotency/record-key.ts"

const K = "A".repeat(43)
const JWK = { kty: "oct", k: K, kid: "2027-01" }

test("a key of 32 octets with a name is one", () => {
  expect(parseRecordKey(JSON.stringify(JWK))).toEqual({ ok: true, kid: "2027-01", octets: new Uint8Array(32) })
  expect(parseRecordKey(JSON.stringify({ ...JWK, alg: "A256GCM", use: "enc" })).ok).toBe(true)
})

test.each([
  [undefined, "missing"],
  [" ", "missing"],
  ["hunter2", "not_json"],
  [`{"kty":"oct","pad":"${"x".repeat(4_096)}"}`, "not_json"],
  [JSON.stringify({ ...JWK, kid: undefined }), "kid_missing"],
  [JSON.stringify({ ...JWK, kid: "a b" }), "kid_missing"],
  [JSON.stringify({ ...JWK, kty: "EC" }), "key_type_mismatch"],
  [JSON.stringify({ ...JWK, alg: "HS256" }), "key_type_mismatch"],
  [JSON.stringify({ ...JWK, k: "AAAA" }), "key_malformed"],
  [JSON.stringify({ ...JWK, k: `${K}A` }), "key_malformed"],
  [JSON.stringify({ ...JWK, k: 7 }), "key_malformed"],
])("%j is refused as %s", (secret, reason) => {
  expect(parseRecordKey(secret)).toEqual({ ok: false, reason })
})

/**
 * Goal: a secret is a key that signs assertions or it is refused with a reason, and whatever it holds, only public members
 * come out.
 * Method: real keys of every type that the platform makes, one change a test, and secrets at random.
 */
import { generateKeyPairSync, randomBytes, type JsonWebKey } from "node:crypto"
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { parseAssertionKey } from "../../src/core/assertion/assertion-key.ts"

/** Members that only the owner of a key may see. @see RFC 7518 §6 */
const PRIVATE_MEMBERS = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"]

const privateJwkOf = (pair: { readonly privateKey: { export(options: { format: "jwk" }): JsonWebKey } }): JsonWebKey =>
  pair.privateKey.export({ format: "jwk" })
const EC = { ...privateJwkOf(generateKeyPairSync("ec", { namedCurve: "P-256" })), kid: "2027-01", alg: "ES256" }
const OKP = { ...privateJwkOf(generateKeyPairSync("ed25519")), kid: "2027-02", alg: "EdDSA" }
const OTHERS: readonly JsonWebKey[] = [
  privateJwkOf(generateKeyPairSync("rsa", { modulusLength: 2_048 })),
  privateJwkOf(generateKeyPairSync("ec", { namedCurve: "P-384" })),
  privateJwkOf(generateKeyPairSync("ec", { namedCurve: "secp256k1" })),
  privateJwkOf(generateKeyPairSync("ed448")),
  privateJwkOf(generateKeyPairSync("x25519")),
  { kty: "oct", k: randomBytes(32).toString("base64url") },
]

const parse = (jwk: unknown) => parseAssertionKey(JSON.stringify(jwk))
const reasonOf = (secret: unknown): string => {
  const result = parseAssertionKey(secret)
  return result.ok ? "ok" : result.reason
}

describe("parseAssertionKey()", () => {
  test("shows of a P-256 key what a verifier needs and nothing else", () => {
    const { x = "", y = "" } = EC
    const result = parse({ ...EC, note: "of the vault", x5c: ["..."] })
    expect(result.ok && result.key.publicJwk).toEqual({
      kty: "EC",
      crv: "P-256",
      x,
      y,
      kid: "2027-01",
      alg: "ES256",
      use: "sig",
    })
  })

  test("shows of an Ed25519 key what a verifier needs and nothing else", () => {
    const { x = "" } = OKP
    const result = parse(OKP)
    expect(result.ok && result.key.publicJwk).toEqual({
      kty: "OKP",
      crv: "Ed25519",
      x,
      kid: "2027-02",
      alg: "EdDSA",
      use: "sig",
    })
  })

  test.each([EC, OKP, ...OTHERS])("never shows a private member of $kty $crv, whatever it is named", (jwk) => {
    for (const alg of ["ES256", "EdDSA"]) {
      const everything = { ...Object.fromEntries(PRIVATE_MEMBERS.map((name) => [name, jwk["d"] ?? jwk["k"]])), ...jwk }
      const result = parse({ ...everything, kid: "x", alg })
      const shown = result.ok ? JSON.stringify(result.key.publicJwk) : result.reason
      expect(shown).not.toContain(String(jwk["d"] ?? jwk["k"]))
      expect(PRIVATE_MEMBERS.filter((name) => shown.includes(`"${name}":`))).toEqual([])
    }
  })

  test.each(OTHERS)("refuses $kty $crv under every name of an algorithm", (jwk) => {
    for (const alg of ["ES256", "EdDSA"]) expect(reasonOf(JSON.stringify({ ...jwk, kid: "x", alg }))).not.toBe("ok")
  })

  test.each<readonly [unknown, string]>([
    [undefined, "missing"],
    ["", "missing"],
    [" \n", "missing"],
    [7, "missing"],
    ["-----BEGIN PRIVATE KEY-----", "not_json"],
    ["null", "not_json"],
    ["[]", "not_json"],
    [JSON.stringify({ ...EC, note: "x".repeat(4_096) }), "not_json"],
    [JSON.stringify({ ...EC, kid: undefined }), "kid_missing"],
    [JSON.stringify({ ...EC, kid: "" }), "kid_missing"],
    [JSON.stringify({ ...EC, kid: 'a"b' }), "kid_missing"],
    [JSON.stringify({ ...EC, kid: "x".repeat(65) }), "kid_missing"],
    [JSON.stringify({ ...EC, alg: undefined }), "alg_unsupported"],
    [JSON.stringify({ ...EC, alg: "none" }), "alg_unsupported"],
    [JSON.stringify({ ...EC, alg: "HS256" }), "alg_unsupported"],
    [JSON.stringify({ ...EC, alg: "ES384" }), "alg_unsupported"],
    [JSON.stringify({ ...EC, alg: "EdDSA" }), "key_type_mismatch"],
    [JSON.stringify({ ...OKP, alg: "ES256" }), "key_type_mismatch"],
    [JSON.stringify({ ...EC, d: undefined }), "key_malformed"],
    [JSON.stringify({ ...EC, y: undefined }), "key_malformed"],
    [JSON.stringify({ ...OKP, x: 7 }), "key_malformed"],
    [JSON.stringify({ ...OKP, d: `${OKP.d}=` }), "key_malformed"],
    [JSON.stringify({ ...OKP, d: OKP.d?.slice(1) }), "key_malformed"],
    [JSON.stringify({ ...EC, use: "enc" }), "not_for_signing"],
    [JSON.stringify({ ...EC, key_ops: ["verify"] }), "not_for_signing"],
  ])("refuses %s: %s", (secret, reason) => {
    expect(reasonOf(secret)).toBe(reason)
  })

  test("takes a key that says it may sign, extractable or not", () => {
    for (const ext of [true, false])
      expect(reasonOf(JSON.stringify({ ...EC, ext, use: "sig", key_ops: ["sign"] }))).toBe("ok")
  })

  test("never throws and never repeats what a secret holds", () => {
    const jwk = fc.record(
      {
        kty: fc.constantFrom("EC", "OKP", "oct"),
        kid: fc.string(),
        alg: fc.constantFrom("ES256", "EdDSA"),
        d: fc.string({ minLength: 5 }),
      },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(
        fc.oneof(
          fc.json(),
          jwk.map((value) => JSON.stringify(value)),
        ),
        (secret) => {
          const result = parseAssertionKey(secret)
          if (result.ok) expect(result.key.publicJwk).not.toHaveProperty("d")
          else expect(result.reason).toMatch(/^[a-z_]+$/)
        },
      ),
      { seed: 4 },
    )
  })
})

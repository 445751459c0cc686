/**
 * Goal: of a key set only sound public signature keys are used, each with the algorithms that its type and its own members
 * allow. Method: real keys, one member changed a test, and arbitrary values.
 */
import { generateKeyPairSync, type JsonWebKey } from "node:crypto"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { TOKEN_KEYS_MAX } from "../../src/core/bounds.ts"
import { parseKeySet } from "../../src/core/token/json-web-key.ts"

const rsa = (modulusLength: number, publicExponent = 65_537): JsonWebKey =>
  generateKeyPairSync("rsa", { modulusLength, publicExponent }).publicKey.export({ format: "jwk" })
const ec = (namedCurve: string): JsonWebKey =>
  generateKeyPairSync("ec", { namedCurve }).publicKey.export({ format: "jwk" })
const RSA = rsa(2_048)
const P256 = ec("P-256")
const PRIVATE = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ format: "jwk" })
const ED25519 = generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" })
const X25519 = generateKeyPairSync("x25519").publicKey.export({ format: "jwk" })

/** Returns the algorithms of the one key in a set; undefined when it is left out. */
function algorithmsOf(key: unknown): readonly string[] | undefined {
  const keys = parseKeySet({ keys: [key] })
  expect(keys).toBeDefined()
  return keys?.[0]?.algorithms
}

describe("parseKeySet()", () => {
  test.each([
    ["RSA", RSA, ["PS256", "PS384", "PS512", "RS256", "RS384", "RS512"]],
    ["P-256", P256, ["ES256"]],
    ["P-384", ec("P-384"), ["ES384"]],
    ["P-521", ec("P-521"), ["ES512"]],
    ["Ed25519", ED25519, ["EdDSA", "Ed25519"]],
  ])("takes a key of %s for its algorithms", (_, key, algorithms) => {
    expect(algorithmsOf({ ...key, kid: "k" })).toEqual(algorithms)
  })

  test("takes a key that names its algorithm for that one alone", () => {
    expect(algorithmsOf({ ...RSA, kid: "k", alg: "PS384" })).toEqual(["PS384"])
  })

  test("keeps the public members and nothing else", () => {
    const key = { ...P256, kid: "k", use: "sig", x5c: ["AAAA"], ext: true }
    expect(parseKeySet({ keys: [key] })?.[0]?.jwk).toEqual(P256)
  })

  test.each([
    ["without an id", { ...P256 }],
    ["with an empty id", { ...P256, kid: "" }],
    ["with a number for an id", { ...P256, kid: 7 }],
    ["with a very long id", { ...P256, kid: "k".repeat(257) }],
    ["for encryption", { ...P256, kid: "k", use: "enc" }],
    ["for signing only", { ...P256, kid: "k", key_ops: ["sign"] }],
    ["of another algorithm", { ...P256, kid: "k", alg: "PS256" }],
    ["for HS256", { ...RSA, kid: "k", alg: "HS256" }],
    ["with its private part", { ...PRIVATE, kid: "k" }],
    ["that is symmetric", { kty: "oct", k: "AAAA", kid: "k" }],
    ["of 1,024 bits", { ...rsa(1_024), kid: "k" }],
    [
      "of 2,047 bits",
      {
        ...RSA,
        n: Buffer.from(RSA.n ?? "", "base64url")
          .fill(0x7f, 0, 1)
          .toString("base64url"),
        kid: "k",
      },
    ],
    ["with the exponent 3", { ...rsa(2_048, 3), kid: "k" }],
    ["with an even exponent", { ...RSA, e: "AQAA", kid: "k" }],
    ["with a padded exponent", { ...RSA, e: "AAEAAQ", kid: "k" }],
    ["without a modulus", { kty: "RSA", e: "AQAB", kid: "k" }],
    ["for key agreement", { ...X25519, kid: "k" }],
    ["on an unknown curve", { ...P256, crv: "secp256k1", kid: "k" }],
    ["with half a point", { ...P256, y: undefined, kid: "k" }],
    ["with a short coordinate", { ...P256, x: "AAAA", kid: "k" }],
    ["that is no object", "P-256"],
    ["that is null", null],
  ])("leaves out a key %s", (_, key) => {
    expect(algorithmsOf(key)).toBeUndefined()
  })

  test.each([
    [null],
    [[]],
    ["keys"],
    [{}],
    [{ keys: {} }],
    [{ keys: Array.from({ length: TOKEN_KEYS_MAX + 1 }, () => null) }],
  ])("takes %.40j for no key set", (value) => {
    expect(parseKeySet(value)).toBeUndefined()
  })

  test("takes a set without keys for one: all are withdrawn", () => {
    expect(parseKeySet({ keys: [] })).toEqual([])
  })

  test("gives the same key the same identity, and another one another", () => {
    const identities = [
      { ...P256, kid: "k" },
      { ...P256, kid: "k", x5t: "AAAA" },
      { ...P256, kid: "l" },
      { ...P256, y: P256.x, kid: "k" },
    ].map((key) => parseKeySet({ keys: [key] })?.[0]?.identity)
    expect([identities[1] === identities[0], new Set(identities).size]).toEqual([true, 3])
  })

  test("never throws", () => {
    const member = fc.oneof(fc.anything(), fc.constantFrom("RSA", "EC", "OKP", "P-256", "Ed25519", "AQAB", "k"))
    const key = fc.record({ kty: member, kid: member, crv: member, x: member, n: member, e: member, key_ops: member })
    fc.assert(
      fc.property(fc.oneof(fc.anything(), fc.record({ keys: fc.array(fc.oneof(key, fc.anything())) })), (value) => {
        parseKeySet(value)
      }),
      { seed: 45, numRuns: 3_000 },
    )
  })
})

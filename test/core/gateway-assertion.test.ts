/**
 * Goal: an assertion names one client, certificate, method, target, id and audience for thirty seconds, and two requests
 * that differ in one of them never share their claims.
 * Method: literal claims, one change a test, and queries at random against the platform's own URL parser.
 */
import { createHash } from "node:crypto"
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { assertionClaims, signedQuery, type AssertedFacts } from "../../src/core/assertion/gateway-assertion.ts"

const NOW_MS = Date.UTC(2027, 0, 1, 0, 0, 0, 999)
const FACTS: AssertedFacts = {
  issuer: "https://api.bank.example",
  audience: "core-bank",
  clientId: "acme",
  scopes: undefined,
  // FIPS 180-2, appendix B.1: the digest of "abc".
  certificateFingerprint: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  requestId: "01932c07-0000-7000-8000-000000000001",
  method: "POST",
  host: "api.bank.example",
  path: "/payments",
  queryDigest: undefined,
  configVersion: "e2f01c4f73128de5",
}
const digestOf = (query: string): Uint8Array => createHash("sha256").update(query).digest()

describe("assertionClaims()", () => {
  test("says who asks for what, for whom and until when", () => {
    expect(assertionClaims(FACTS, NOW_MS)).toEqual({
      iss: "https://api.bank.example",
      aud: "core-bank",
      sub: "acme",
      cnf: { "x5t#S256": "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0" },
      jti: "01932c07-0000-7000-8000-000000000001",
      iat: 1_798_761_600,
      exp: 1_798_761_630,
      htm: "POST",
      htu: "https://api.bank.example/payments",
      cfgv: "e2f01c4f73128de5",
    })
  })

  test("has the digest of the query in the place of the query, also of an empty one", () => {
    const htuOf = (query: string) => assertionClaims({ ...FACTS, queryDigest: digestOf(query) }, NOW_MS).htu
    expect(htuOf("abc")).toBe("https://api.bank.example/payments?sha-256=ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0")
    expect(htuOf("")).toBe("https://api.bank.example/payments?sha-256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU")
  })

  test("RFC 6749 §3.3 lists scopes with a space between them, and says nothing about none", () => {
    expect(assertionClaims({ ...FACTS, scopes: ["payments", "accounts"] }, NOW_MS).scope).toBe("payments accounts")
    expect(assertionClaims({ ...FACTS, scopes: [] }, NOW_MS)).not.toHaveProperty("scope")
  })

  test.each<Partial<AssertedFacts>>([
    { issuer: "https://other.example" },
    { audience: "other" },
    { clientId: "globex" },
    { scopes: ["payments"] },
    { certificateFingerprint: "00".repeat(32) },
    { requestId: "other-request" },
    { method: "PUT" },
    { host: "other.example" },
    { path: "/payments/" },
    { queryDigest: digestOf("") },
    { configVersion: "0" },
  ])("differs for a request that differs in %j", (change) => {
    expect(assertionClaims({ ...FACTS, ...change }, NOW_MS)).not.toEqual(assertionClaims(FACTS, NOW_MS))
  })
})

describe("signedQuery()", () => {
  test.each([
    ["", undefined],
    ["?", ""],
    ["??", "?"],
    ["?a=%2F%2e%27", "a=%2F%2e%27"],
    [`?name=o'brien&x="<>"`, "name=o%27brien&x=%22%3C%3E%22"],
  ])("of %j is %j", (query, signed) => {
    expect(signedQuery(query)).toBe(signed)
  })

  test("is what a URL parser makes of every query that the target stage lets through", () => {
    const character = fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code))
    const query = fc.string({ unit: character.filter((char) => char !== "#"), minLength: 1 })
    fc.assert(
      fc.property(query, (text) => {
        expect(`?${signedQuery(`?${text}`)}`).toBe(new URL(`http://origin.example/x?${text}`).search)
      }),
      { seed: 4, numRuns: 1_000 },
    )
  })
})

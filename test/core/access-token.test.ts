/**
 * Goal: whatever is sent as a token, nothing throws, and nothing passes but what the terms allow. Method: each rule at its
 * boundary with literal instants, RFC 8705's own certificate, and properties over arbitrary texts and claims. The attacks with
 * real keys are in `test/worker/token*.test.ts`.
 */
import { createHash, X509Certificate } from "node:crypto"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import {
  decideHeader,
  decideUse,
  forLog,
  normalizeType,
  readClaims,
  type Presentation,
  type TokenFacts,
  type TokenTerms,
} from "../../src/core/token/access-token.ts"
import { TOKEN_KEY_ID_LENGTH_MAX, TOKEN_LENGTH_MAX } from "../../src/core/bounds.ts"
import { readDataSet } from "../conformance.ts"

const TERMS: TokenTerms = {
  issuer: "https://login.test",
  audience: { kind: "sole", value: "https://gw.test" },
  algorithms: ["PS256", "ES256"],
  types: ["at+jwt"],
  clockToleranceMs: 5_000,
  lifetimeMsMax: 3_600_000,
  isCertificateBound: true,
  clientClaim: "client_id",
}
const NOW_SECONDS = 1_790_000_000
const NOW_MS = NOW_SECONDS * 1_000
const FINGERPRINT = "0380ed2f626650c840b2f263e6d2b29fae12ab39ae5db32b25ad27efad72e6fd"
const THUMBPRINT = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"
const CLAIMS = {
  iss: "https://login.test",
  aud: "https://gw.test",
  sub: "service",
  client_id: "acme",
  jti: "1",
  iat: NOW_SECONDS,
  exp: NOW_SECONDS + 600,
  scope: "read",
  cnf: { "x5t#S256": THUMBPRINT },
}
const PRESENTATION: Presentation = { fingerprint: FINGERPRINT, oauthClients: new Set(["acme"]), nowMs: NOW_MS }

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url")
const octetsOf = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value))
const tokenWith = (header: unknown): string => `${encode(header)}.AAAA.AAAA`
const read = (claims: unknown, terms = TERMS, type = "at+jwt") => readClaims(octetsOf(claims), type, terms)

function factsOf(claims: object, terms = TERMS): TokenFacts {
  const decision = read({ ...CLAIMS, ...claims }, terms)
  if (!decision.ok) throw new Error(decision.reason)
  return decision.facts
}

describe("decideHeader()", () => {
  const HEADER = { alg: "ES256", typ: "at+jwt", kid: "k" }

  test("returns what is needed to look for the key", () => {
    const expected = { ok: true, algorithm: "ES256", kid: "k", type: "at+jwt" }
    expect(decideHeader(tokenWith(HEADER), TERMS)).toEqual(expected)
  })

  test.each([
    [{ ...HEADER, alg: "RS256" }, "alg_not_allowed"],
    [{ ...HEADER, alg: "es256" }, "alg_not_allowed"],
    [{ ...HEADER, alg: ["ES256"] }, "alg_not_allowed"],
    [{ ...HEADER, crit: [] }, "crit_not_supported"],
    [{ ...HEADER, jwk: null }, "key_in_header"],
    [{ ...HEADER, typ: "JWT" }, "typ_not_allowed"],
    [{ ...HEADER, typ: "application/application/at+jwt" }, "typ_not_allowed"],
    [{ ...HEADER, kid: null }, "kid_missing"],
    [{ ...HEADER, kid: "k".repeat(TOKEN_KEY_ID_LENGTH_MAX + 1) }, `kid_too_long "${"k".repeat(64)}"`],
    [null, "token_malformed"],
    [[HEADER], "token_malformed"],
    ["x", "token_malformed"],
  ])("refuses %.60j as %s", (header, reason) => {
    expect(decideHeader(tokenWith(header), TERMS)).toEqual({ ok: false, reason })
  })

  test("takes a key id of the longest length", () => {
    const kid = "k".repeat(TOKEN_KEY_ID_LENGTH_MAX)
    expect(decideHeader(tokenWith({ ...HEADER, kid }), TERMS).ok).toBe(true)
  })

  test.each([
    ["a".repeat(TOKEN_LENGTH_MAX + 1), "token_too_large"],
    ["a.b.c.d.e", "token_encrypted"],
    ["a.b.c.d", "token_malformed"],
    ["a.b.c.d.e.f", "token_malformed"],
    ["", "token_malformed"],
    [`${encode(HEADER)}..`, "token_malformed"],
    [`${encode(HEADER)}.AAAA.`, "token_malformed"],
    [`${encode(HEADER)}.AAAA.AAAB=`, "token_malformed"],
    [`${encode(HEADER)}.AB.AAAA`, "token_malformed"],
  ])("refuses the text %.40s as %s", (token, reason) => {
    expect(decideHeader(token, TERMS)).toEqual({ ok: false, reason })
  })

  test("never throws, and never returns an algorithm that is not allowed", () => {
    const member = fc.oneof(fc.anything(), fc.constantFrom("ES256", "HS256", "none", "at+jwt", "JWT", "k"))
    const header = fc.dictionary(fc.constantFrom("alg", "typ", "kid", "crit", "jwk", "__proto__"), member)
    const token = fc.oneof(
      fc.string({ maxLength: 200 }),
      fc.string({ unit: fc.constantFrom(...Array.from("eyJA.=_-")), maxLength: 60 }),
      header.map((value) => `${Buffer.from(JSON.stringify(value) ?? "").toString("base64url")}.AAAA.AAAA`),
    )
    fc.assert(
      fc.property(token, (text) => {
        const decision = decideHeader(text, TERMS)
        expect(!decision.ok || (TERMS.algorithms.includes(decision.algorithm) && decision.type === "at+jwt")).toBe(true)
      }),
      { seed: 46, numRuns: 5_000 },
    )
  })
})

describe("readClaims()", () => {
  test("reads everything that later decisions depend on", () => {
    expect(read(CLAIMS)).toEqual({
      ok: true,
      facts: {
        expiresMs: NOW_MS + 600_000,
        notBeforeMs: null,
        issuedMs: NOW_MS,
        clientId: "acme",
        tokenId: "1",
        scopes: new Set(["read"]),
        confirmation: { kind: "certificate", fingerprint: FINGERPRINT },
      },
    })
  })

  test.each([
    [{ iss: "https://login.test/" }, "iss_mismatch"],
    [{ iss: ["https://login.test"] }, "iss_mismatch"],
    [{ aud: [] }, "aud_mismatch"],
    [{ aud: ["https://gw.test", "x"] }, "aud_mismatch"],
    [{ aud: [["https://gw.test"]] }, "aud_mismatch"],
    [{ exp: undefined }, "exp_missing"],
    [{ exp: "1" }, "exp_malformed"],
    [{ exp: null }, "exp_malformed"],
    [{ exp: -1 }, "exp_malformed"],
    [{ nbf: true }, "nbf_malformed"],
    [{ iat: [1] }, "iat_malformed"],
    [{ iat: undefined }, "iat_missing"],
    [{ sub: undefined }, "sub_missing"],
    [{ sub: "" }, "sub_malformed"],
    [{ client_id: ["acme"] }, "client_id_malformed"],
    [{ jti: 7 }, "jti_malformed"],
  ])("JWT-07, JWT-09: refuses %j as %s", (claims, reason) => {
    expect(read({ ...CLAIMS, ...claims })).toEqual({ ok: false, reason })
  })

  test("RFC 7519 §4.1.3 takes our audience alone as a text or as a list", () => {
    expect([read({ ...CLAIMS, aud: ["https://gw.test"] }).ok, read(CLAIMS).ok]).toEqual([true, true])
  })

  test.each([[["x", "https://gw.test"]], [["https://gw.test"]], ["https://gw.test"]])(
    "takes %j where one of several audiences is enough",
    (aud) => {
      const terms: TokenTerms = {
        ...TERMS,
        audience: { kind: "any", values: ["https://other.test", "https://gw.test"] },
      }
      expect(read({ ...CLAIMS, aud }, terms).ok).toBe(true)
    },
  )

  test.each([[[]], [["x"]], [["https://gw.test", 7]]])("takes %j nowhere", (aud) => {
    const terms: TokenTerms = { ...TERMS, audience: { kind: "any", values: ["https://gw.test"] } }
    expect(read({ ...CLAIMS, aud }, terms)).toEqual({ ok: false, reason: "aud_mismatch" })
  })

  test("RFC 9068 §2.2 asks for its claims of its own type only", () => {
    const claims = { iss: CLAIMS.iss, aud: CLAIMS.aud, exp: CLAIMS.exp }
    expect([read(claims, TERMS, "jwt").ok, read(claims).ok]).toEqual([true, false])
  })

  test("takes inherited names for no claims", () => {
    const claims = JSON.stringify({ ...CLAIMS, cnf: undefined }).replace("{", '{"__proto__":{"cnf":{}},')
    const decision = readClaims(new TextEncoder().encode(claims), "at+jwt", TERMS)
    expect(decision.ok && decision.facts.confirmation).toEqual({ kind: "none" })
  })

  test("never throws", () => {
    const claims = fc.oneof(
      fc.uint8Array(),
      fc.anything().map((value) => new TextEncoder().encode(JSON.stringify(value))),
    )
    fc.assert(
      fc.property(claims, (octets) => {
        expect(readClaims(octets, "at+jwt", TERMS).ok).toBe(false)
      }),
      { seed: 47, numRuns: 3_000 },
    )
  })
})

describe("decideUse()", () => {
  const use = (claims: object, presentation: Partial<Presentation> = {}, terms: Partial<TokenTerms> = {}) => {
    const all = { ...TERMS, ...terms }
    return decideUse(factsOf(claims, all), all, { ...PRESENTATION, ...presentation })
  }

  test("lets a good token pass", () => {
    expect(use({})).toEqual({ ok: true })
  })

  test.each([
    [CLAIMS.exp * 1_000 + 4_999, true],
    [CLAIMS.exp * 1_000 + 5_000, false],
  ])("RFC 7519 §4.1.4: at %i the token passes: %s", (nowMs, expected) => {
    expect(use({}, { nowMs }).ok).toBe(expected)
  })

  test("an expired token is told from a bad one", () => {
    expect(use({}, { nowMs: NOW_MS + 700_000 })).toEqual({ ok: false, code: "token-expired", reason: "expired" })
  })

  test.each([
    [{ exp: NOW_SECONDS + 3_600 }, true],
    [{ exp: NOW_SECONDS + 3_606 }, false],
    [{ exp: NOW_SECONDS + 60, iat: NOW_SECONDS - 3_600 }, false],
    [{ exp: 1e308 }, false],
    [{ exp: 9_999_999_999_999 }, false],
  ])("JWT-07: %j lives no longer than allowed: %s", (claims, expected) => {
    expect(use(claims).ok).toBe(expected)
  })

  test.each([
    [{ nbf: NOW_SECONDS + 5 }, true],
    [{ nbf: NOW_SECONDS + 6 }, false],
    [{ iat: NOW_SECONDS + 5 }, true],
    [{ iat: NOW_SECONDS + 6 }, false],
  ])("%j has begun: %s", (claims, expected) => {
    expect(use(claims).ok).toBe(expected)
  })

  test.each([
    [{ cnf: undefined }, "cnf_missing"],
    [{ cnf: {} }, "cnf_unreadable"],
    [{ cnf: { "x5t#S256": `${THUMBPRINT}=` } }, "cnf_unreadable"],
    [{ cnf: { "x5t#S256": FINGERPRINT } }, "cnf_unreadable"],
    [{ cnf: { "x5t#S256": THUMBPRINT, jkt: "x" } }, "cnf_unreadable"],
  ])("JWT-13: %j binds to nothing", (claims, reason) => {
    expect(use(claims)).toEqual({ ok: false, code: "token-binding-mismatch", reason })
  })

  test("JWT-12: a token of another certificate is refused", () => {
    expect(use({}, { fingerprint: "00".repeat(32) })).toMatchObject({ code: "token-binding-mismatch" })
  })

  test("JWT-13: what cannot be read is no missing binding, where none is required", () => {
    expect(use({ cnf: {} }, {}, { isCertificateBound: false })).toMatchObject({ code: "token-binding-mismatch" })
  })

  test.each([
    ["client_id", { client_id: "other" }, 'client_mismatch "other"'],
    ["sub", { client_id: "acme" }, 'client_mismatch "service"'],
  ] as const)("a token whose %s is another client is refused", (clientClaim, claims, reason) => {
    expect(use(claims, {}, { clientClaim })).toEqual({ ok: false, code: "token-client-mismatch", reason })
  })

  test("no fact of a token makes it pass for another certificate or client", () => {
    const claims = fc.record(
      { cnf: fc.anything(), client_id: fc.string({ minLength: 1 }) },
      { requiredKeys: ["client_id"] },
    )
    fc.assert(
      fc.property(claims, (members) => {
        const { client_id: client } = members
        const decision = use({ cnf: undefined, ...members }, { oauthClients: new Set(["acme"]) })
        expect(decision.ok && client !== "acme").toBe(false)
        expect(use({ ...members }, { fingerprint: "11".repeat(32) }).ok).toBe(false)
      }),
      { seed: 48, numRuns: 2_000 },
    )
  })
})

test("normalizeType() drops case and the prefix that RFC 7515 §4.1.9 lets senders drop", () => {
  expect(["at+jwt", "AT+JWT", "Application/AT+JWT"].map(normalizeType)).toEqual(["at+jwt", "at+jwt", "at+jwt"])
})

test("JWT-04: forLog() is short and cannot break out of its quotes", () => {
  expect([forLog("k".repeat(100)).length, forLog('\n"x')]).toEqual([66, '"\\n\\"x"'])
})

interface Vectors {
  readonly rfc8705_appendix_a: {
    readonly cert_pem: string
    readonly x5t_S256: string
    readonly cf_certFingerprintSHA256: string
  }
}
const vectors = readDataSet("oauth/rfc8705-rfc9449-vectors.json") as Vectors | undefined

describe.skipIf(vectors === undefined)("RFC 8705 Appendix A", () => {
  const {
    cert_pem: pem = "",
    x5t_S256: thumbprint = "",
    cf_certFingerprintSHA256: fingerprint = "",
  } = vectors?.rfc8705_appendix_a ?? {}

  test("a token with this thumbprint passes with this certificate, by DER and by the platform's fingerprint", () => {
    const ofDer = createHash("sha256").update(new X509Certificate(pem).raw).digest("hex")
    const facts = factsOf({ cnf: { "x5t#S256": thumbprint } })
    const passes = [ofDer, fingerprint].map((hex) => decideUse(facts, TERMS, { ...PRESENTATION, fingerprint: hex }).ok)
    expect(passes).toEqual([true, true])
  })
})

/**
 * The sample authorization server: what it issues is what the gateway's rules accept, for the client and certificate that asked,
 * and nothing else is issued. The road through both is walked by `test/e2e/command-dev.test.ts`.
 */
import { createHash, generateKeyPairSync, verify } from "node:crypto"
import { describe, expect, test } from "vitest"
import { issueToken, parseClientCert, parseTokenRequest } from "../../examples/issuer/token.ts"
import { decideHeader, decideUse, readClaims, type TokenTerms } from "../../src/core/token/access-token.ts"

const NOW_MS = Date.UTC(2026, 10, 28, 9)
const CERTIFICATE = Buffer.from("the DER of a certificate")
const TERMS: TokenTerms = {
  issuer: "https://login.sample.example",
  audience: { kind: "sole", value: "https://localhost:8443" },
  algorithms: ["PS256", "ES256"],
  types: ["at+jwt"],
  clockToleranceMs: 0,
  lifetimeMsMax: 3_600_000,
  isCertificateBound: true,
  clientClaim: "client_id",
}
const KEYS = generateKeyPairSync("ec", { namedCurve: "P-256" })
const { expiresIn, token } = issueToken(
  { issuer: TERMS.issuer, audience: "https://localhost:8443", kid: "k", privateKey: KEYS.privateKey },
  { client: "acme", certificate: CERTIFICATE, scopes: ["transfers.read"], tokenId: "t", nowMs: NOW_MS },
)
const [header = "", payload = "", signature = ""] = token.split(".")

describe("issueToken()", () => {
  test("signs with the key that is published", () => {
    const key = { key: KEYS.publicKey, dsaEncoding: "ieee-p1363" } as const
    const octets = Buffer.from(signature, "base64url")
    expect([decideHeader(token, TERMS).ok, verify("sha256", Buffer.from(`${header}.${payload}`), key, octets)]).toEqual(
      [true, true],
    )
  })

  test.each([
    ["its client and certificate", "acme", CERTIFICATE, 0, true],
    ["another client", "globex", CERTIFICATE, 0, false],
    ["another certificate", "acme", Buffer.from("other"), 0, false],
    ["its client when it has expired", "acme", CERTIFICATE, expiresIn * 1_000, false],
  ])("issues for %s", (_, client, certificate, afterMs, expected) => {
    const claims = readClaims(Buffer.from(payload, "base64url"), "at+jwt", TERMS)
    if (!claims.ok) throw new Error(claims.reason)
    const fingerprint = createHash("sha256").update(certificate).digest("hex")
    const presentation = { fingerprint, oauthClients: new Set([client]), nowMs: NOW_MS + afterMs }
    expect(decideUse(claims.facts, TERMS, presentation).ok).toBe(expected)
  })
})

test.each([
  ["grant_type=client_credentials", { scopes: ["transfers.read", "transfers.write"] }],
  ["grant_type=client_credentials&scope=transfers.read", { scopes: ["transfers.read"] }],
  ["grant_type=client_credentials&scope=everything", { error: "invalid_scope" }],
  ["grant_type=client_credentials&scope=", { error: "invalid_scope" }],
  ["grant_type=password", { error: "unsupported_grant_type" }],
  ["", { error: "unsupported_grant_type" }],
])("RFC 6749 §4.4 parseTokenRequest() of %j", (form, expected) => {
  expect(parseTokenRequest(form)).toEqual(expected)
})

test("RFC 9440 §2.1 parseClientCert() reads a byte sequence and nothing else", () => {
  const fields = [":dGhl:", "dGhl", ":dG:hl:", "::", ":dGhl:, :dGhl:"]
  expect(fields.map((field) => parseClientCert(field)?.toString())).toEqual([
    "the",
    ...Array.from({ length: 4 }, () => undefined),
  ])
})

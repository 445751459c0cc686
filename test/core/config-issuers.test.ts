/**
 * Goal: CAs and what revokes their certificates are resolved completely, or every error is named with place, value and what is
 * accepted. Method: one valid sample with a real CA certificate, one change a test. The rest of the configuration is in
 * `config.test.ts`.
 */
// First, because the package of certificates does not load without it.
import "../../cli/pki/reflection.ts"
import { generateKeyPairSync } from "node:crypto"
import * as x509 from "@peculiar/x509"
import { beforeAll, describe, expect, test } from "vitest"
import { createAuthority } from "../../cli/pki/certificate.ts"
import { parseSubject } from "../../cli/pki/name.ts"
import { mintLeaf } from "./certificate-fixtures.ts"
import { errorsOf, load } from "./config-fixtures.ts"
import { pemOf } from "./crl-fixtures.ts"

const SKI = "27846e5e89a3c0f4"
const CRL = { url: "http://crl.partners.example/ca.crl" }
const CERTIFICATE = 'the certificate of the CA as PEM: one block "-----BEGIN CERTIFICATE-----"'

let certificate: string
beforeAll(async () => {
  certificate = (await createAuthority(parseSubject("CN=Partners CA,C=JP"), Date.now(), SKI)).certificatePem
})

const withIssuers = (issuers: object) => ({
  GATEWAY: { hosts: ["localhost"] },
  ISSUERS: issuers,
  ROUTES: [{ path: "/healthz", client_certificate: "none", respond: { status: 200 } }],
})
const withPartners = (keys: object) => withIssuers({ partners: { ski: SKI, ...keys } })

test("an issuer has no list and no revoked serials by default", () => {
  expect(load(withPartners({})).issuers.get(SKI)).toEqual({
    name: "partners",
    ski: SKI,
    revokedSerials: new Set(),
    crl: undefined,
  })
})

test("crl is resolved with its defaults and the CA's key", () => {
  const crl = load(withPartners({ certificate, crl: CRL })).issuers.get(SKI)?.crl
  expect(crl).toMatchObject({
    source: { issuer: "partners", url: CRL.url, refreshMs: 3_600_000, ca: { ski: SKI } },
    whenUnknown: "refuse",
  })
  expect(crl?.source.ca.publicKey).toMatch(/^3059301306072a8648ce3d0201/)
  expect(crl?.source.ca.nameKey).toContain("Partners CA")
})

test("crl takes another interval and lets pass while nobody knows, when it says so", () => {
  const crl = { ...CRL, refresh: "10m", stale: "allow" }
  const issuer = load(withPartners({ certificate, crl })).issuers.get(SKI)
  expect(issuer?.crl).toMatchObject({ source: { refreshMs: 600_000 }, whenUnknown: "allow" })
})

test.each([
  ["4a1b0c", "4a1b0c"],
  ["4A:1B:0C", "4a1b0c"],
  ["00:ff", "ff"],
  ["0000ff", "ff"],
  ["f", "0f"],
  ["00", "00"],
])("the revoked serial %s is that of a certificate that says %s", (written, serial) => {
  expect(load(withPartners({ revoked_serials: [written] })).issuers.get(SKI)?.revokedSerials).toEqual(new Set([serial]))
})

test.each([
  "http://crl.example/My%20CA.crl",
  "https://crl.example:8443/a?b=c",
  "http://127.0.0.1:80",
  "http://[::1]/x",
])("the list may be at %s", (url) => {
  expect(load(withPartners({ certificate, crl: { url } })).issuers.get(SKI)?.crl?.source.url).toBe(url)
})

describe("errors", () => {
  const SERIAL = 'the serial number of a certificate: 1 to 21 octets in hex, colons allowed, such as "4A:1B:0C"'
  const URL = 'an http or https URL without user information and fragment, such as "http://crl.partners.example/ca.crl"'
  test.each([
    ["a serial that is no hex", { revoked_serials: ["xyz"] }, `revoked_serials[0] | "xyz" | ${SERIAL}`],
    ["an empty serial", { revoked_serials: [""] }, `revoked_serials[0] | "" | ${SERIAL}`],
    [
      "a serial of 21 octets",
      { revoked_serials: ["11".repeat(22)] },
      `revoked_serials[0] | "${"11".repeat(22)}" | ${SERIAL}`,
    ],
    ["serials that are no list", { revoked_serials: "4a" }, 'revoked_serials | "4a" | a list of serial numbers in hex'],
    ["a certificate that is no PEM", { certificate: "MIIB" }, `certificate | "MIIB" | ${CERTIFICATE}`],
    [
      "a list without the CA's certificate",
      { crl: CRL },
      "certificate | (missing) | the certificate of the CA as PEM, which a list is verified with",
    ],
  ])("%s", (_, keys, expected) => {
    expect(errorsOf(withPartners(keys))).toEqual([`ISSUERS.partners.${expected}`])
  })

  test.each([
    ["another scheme", { url: "ldap://crl.example/x" }, `url | "ldap://crl.example/x" | ${URL}`],
    ["user information", { url: "http://a:b@crl.example/x" }, `url | "http://***@crl.example/x" | ${URL}`],
    ["a fragment", { url: "http://crl.example/x#y" }, `url | "http://crl.example/x#y" | ${URL}`],
    ["a blank", { url: "http://crl.example/a b" }, `url | "http://crl.example/a b" | ${URL}`],
    ["no host", { url: "http:///x" }, `url | "http:///x" | ${URL}`],
    [
      "an interval that is too short",
      { ...CRL, refresh: "500ms" },
      'refresh | "500ms" | a duration from 1000 ms to 604800000 ms, such as "1h" (units ms, s, m, h, d)',
    ],
    ["another word for stale", { ...CRL, stale: "ignore" }, 'stale | "ignore" | "refuse" or "allow"'],
    ["an unknown key", { ...CRL, retry: 1 }, "retry | 1 | no such key; crl has: url, refresh, stale"],
  ])("crl with %s", (_, crl, expected) => {
    expect(errorsOf(withPartners({ certificate, crl }))).toEqual([`ISSUERS.partners.crl.${expected}`])
  })

  test("a certificate of another key identifier", () => {
    const other = SKI.replace("27", "28")
    expect(errorsOf(withIssuers({ partners: { ski: other, certificate, crl: CRL } }))).toEqual([
      `ISSUERS.partners.certificate | "CN=Partners CA,C=JP" | a certificate whose subject key identifier is that of ski; this one has ${SKI}`,
    ])
  })

  test("a certificate that is no CA's", async () => {
    const leaf = pemOf(await mintLeaf(), "CERTIFICATE")
    const [error] = errorsOf(withPartners({ certificate: leaf }))
    expect(error).toMatch(/certificate \| .* \| the certificate of a CA; this one is none \(basicConstraints\)$/)
  })

  test("a certificate that is damaged", () => {
    const [error] = errorsOf(withPartners({ certificate: pemOf(Uint8Array.of(0x30, 0x01), "CERTIFICATE") }))
    expect(error).toMatch(/\| a certificate that is not damaged$/)
  })

  test("a CA that may not sign lists", async () => {
    const cannotSign = pemOf(
      await mintLeaf({
        extensions: [
          new x509.BasicConstraintsExtension(true),
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign),
          new x509.SubjectKeyIdentifierExtension(SKI),
        ],
      }),
      "CERTIFICATE",
    )
    expect(errorsOf(withPartners({ certificate: cannotSign }))).toEqual([])
    expect(errorsOf(withPartners({ certificate: cannotSign, crl: CRL }))).toEqual([
      'ISSUERS.partners.certificate | "CN=acme-a,O=Acme,C=JP" | a certificate whose key usage allows the signing of lists (cRLSign)',
    ])
  })

  test("two names for one CA that both say who is revoked", () => {
    const issuers = { partners: { ski: SKI, revoked_serials: ["4a"] }, again: { ski: SKI, certificate, crl: CRL } }
    expect(errorsOf(withIssuers(issuers))).toEqual([
      `ISSUERS.again.ski | "${SKI}" | revoked_serials and crl of this key identifier in one place; ISSUERS.partners has it too`,
    ])
  })
})

test.each([0, 1])(
  "of two names for one CA the one that says who is revoked counts, wherever it stands (%i)",
  (index) => {
    const entries = [
      ["partners", { ski: SKI, revoked_serials: ["4a"] }],
      ["again", { ski: SKI }],
    ]
    const issuers = Object.fromEntries(index === 0 ? entries : entries.toReversed()) as object
    expect(load(withIssuers(issuers)).issuers.get(SKI)?.revokedSerials).toEqual(new Set(["4a"]))
  },
)

test("a key that is no certificate's is not taken", () => {
  const { publicKey } = generateKeyPairSync("ed25519")
  const pem = publicKey.export({ type: "spki", format: "pem" }).toString()
  expect(errorsOf(withPartners({ certificate: pem }))).toHaveLength(1)
})

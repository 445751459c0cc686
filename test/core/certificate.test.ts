/**
 * Goal: a certificate passes when the platform vouches for it, its own facts agree and it suits a client; anything else
 * is refused with the exact reason. Method: one case per state the platform documents and per fact of a leaf.
 */
// First, because the package of certificates does not load without it.
import "../../cli/pki/reflection.ts"
import * as x509 from "@peculiar/x509"
import * as fc from "fast-check"
import { beforeAll, describe, expect, test } from "vitest"
import { LEAF_BYTES_MAX } from "../../src/core/bounds.ts"
import {
  daysLeft,
  decideLeaf,
  decidePresented,
  normalizeKeyId,
  type CertificateReason,
  type LeafDigests,
  type PresentedLeaf,
} from "../../src/core/certificate/certificate.ts"
import { NO_CLIENT_CERTIFICATE } from "../../src/core/certificate/platform-certificate.ts"
import { compileClientIndex, decideIdentity } from "../../src/core/certificate/identity.ts"
import { parseX509, type X509Facts } from "../../src/core/certificate/x509.ts"
import { readDataSet } from "../conformance.ts"
import {
  CLIENT_AUTH,
  EMAIL_PROTECTION,
  mintLeaf,
  NOT_AFTER_MS,
  NOT_BEFORE_MS,
  SERVER_AUTH,
  sha256,
} from "./certificate-fixtures.ts"

const SKI = "27846e5e89a3c0f4"
const FINGERPRINT = "a".repeat(64)
/** What the platform says of a good certificate, as far as it decides anything. */
const GOOD = {
  ...NO_CLIENT_CERTIFICATE,
  certPresented: "1",
  certVerified: "SUCCESS",
  certIssuerSKI: "27846E5E89A3C0F4",
  certFingerprintSHA256: FINGERPRINT,
  certRFC9440: ":MAA=:",
}

function presentedWith(changes: Readonly<Record<string, unknown>>): unknown {
  const decision = decidePresented({ ...GOOD, ...changes })
  return decision.ok ? "presented" : [decision.code, decision.reason, decision.status]
}

describe("decidePresented()", () => {
  test("returns the leaf that the platform vouches for", () => {
    expect(decidePresented(GOOD)).toEqual({
      ok: true,
      rfc9440: ":MAA=:",
      claimedFingerprint: FINGERPRINT,
      issuerSki: SKI,
    })
  })

  test("requires a certificate when the platform saw none", () => {
    expect(decidePresented(NO_CLIENT_CERTIFICATE)).toMatchObject({ code: "client-cert-required", reason: "no_cert" })
  })

  test.each([undefined, null, "1", 1, [], {}, { certPresented: true }, { certPresented: 1 }, { certPresented: "01" }])(
    "takes %j for no certificate",
    (value) => {
      expect(decidePresented(value)).toMatchObject({ code: "client-cert-required", reason: "no_cert" })
    },
  )

  // IDN-14
  test.each(["FAILED", "success", "SUCCESS ", " SUCCESS", "NONE", "", undefined, true, {}, ["SUCCESS"], "SUCCESS\0"])(
    "IDN-14: refuses certVerified %j",
    (certVerified) => {
      expect(presentedWith({ certVerified })).toEqual(["client-cert-invalid", "verification_failed", undefined])
    },
  )

  // TLS-03, TLS-05, TLS-21 and the texts of OpenSSL and BoringSSL behind them.
  const explained: readonly (readonly [string, CertificateReason])[] = [
    ["FAILED:certificate has expired", "cert_expired"],
    ["FAILED:certificate is not yet valid", "cert_not_yet_valid"],
    ["FAILED:self signed certificate", "unknown_issuer"],
    ["FAILED:self-signed certificate", "unknown_issuer"],
    ["FAILED:self signed certificate in certificate chain", "unknown_issuer"],
    ["FAILED:unable to verify the first certificate", "unknown_issuer"],
    ["FAILED:unable to get local issuer certificate", "unknown_issuer"],
    ["FAILED:unable to get certificate CRL", "crl_unavailable"],
    ["FAILED:unable to get CRL issuer certificate", "crl_unavailable"],
    ["FAILED:CRL has expired", "crl_unavailable"],
    ["FAILED:CRL is not yet valid", "crl_unavailable"],
    ["FAILED:CRL signature failure", "crl_unavailable"],
    ["FAILED:certificate revoked", "cert_revoked"],
    ["FAILED:unsupported certificate purpose", "eku"],
    ["FAILED:something new", "verification_failed"],
  ]
  test.each(explained)("names the reason of %j", (certVerified, reason) => {
    expect(presentedWith({ certVerified })).toEqual(["client-cert-invalid", reason, undefined])
  })

  test.each(["1", "", undefined, false, 0, "00"])("TLS-06: takes certRevoked %j for revoked", (certRevoked) => {
    expect(presentedWith({ certRevoked })).toEqual(["client-cert-invalid", "cert_revoked", undefined])
  })

  test("IDN-13: refuses a leaf that the platform left out as too large with 403", () => {
    expect(presentedWith({ certRFC9440: "", certRFC9440TooLarge: true })).toEqual([
      "client-cert-invalid",
      "leaf_too_large",
      403,
    ])
  })

  test.each([
    [LEAF_BYTES_MAX, "presented"],
    [LEAF_BYTES_MAX + 3, ["client-cert-invalid", "leaf_too_large", 403]],
  ])("judges a leaf of %i octets", (size, expected) => {
    expect(presentedWith({ certRFC9440: `:${Buffer.alloc(size).toString("base64")}:` })).toEqual(expected)
  })

  test.each([
    ["", "leaf_missing"],
    [undefined, "leaf_missing"],
    [1, "leaf_missing"],
    ["MAA=", "leaf_malformed"],
    [":MAA=", "leaf_malformed"],
    ["::", "leaf_malformed"],
    [":MA A=:", "leaf_malformed"],
    [":MA-_:", "leaf_malformed"],
    [":M=A=:", "leaf_malformed"],
    [":MAA=:, :MAA=:", "leaf_malformed"],
    [":MAA=:\n", "leaf_malformed"],
    [":MAA===:", "leaf_malformed"],
  ])("refuses the leaf %j", (certRFC9440, reason) => {
    expect(presentedWith({ certRFC9440 })).toEqual(["client-cert-invalid", reason, undefined])
  })

  test.each(["", "not hex", "ABC", undefined, 7])("knows no issuer by the key identifier %j", (certIssuerSKI) => {
    expect(decidePresented({ ...GOOD, certIssuerSKI })).toMatchObject({ ok: true, issuerSki: undefined })
  })

  test("never throws, whatever the value", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(...Object.keys(GOOD)), (value, name) => {
        expect(decidePresented(value)).toHaveProperty("ok", false)
        expect(typeof decidePresented({ ...GOOD, [name]: value }).ok).toBe("boolean")
      }),
      { seed: 8, numRuns: 1_000 },
    )
  })
})

interface DocumentedStates {
  readonly certVerified_values: readonly string[]
}
const documented = readDataSet("dn/cloudflare-documented-samples.json") as DocumentedStates | undefined

describe.skipIf(documented === undefined)("documented values of certVerified", () => {
  test("only SUCCESS is accepted", () => {
    const accepted = documented?.certVerified_values.filter(
      (certVerified) => presentedWith({ certVerified }) === "presented",
    )
    expect(accepted).toEqual(["SUCCESS"])
  })
})

describe("decideLeaf()", () => {
  const NOW_MS = NOT_BEFORE_MS + 1_000
  let leaf: Uint8Array
  let facts: X509Facts
  let presented: PresentedLeaf

  beforeAll(async () => {
    leaf = await mintLeaf({
      extensions: [
        new x509.ExtendedKeyUsageExtension([SERVER_AUTH, CLIENT_AUTH]),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.SubjectAlternativeNameExtension([{ type: "url", value: "spiffe://acme/acme-a" }]),
        new x509.AuthorityKeyIdentifierExtension(SKI),
      ],
    })
    const read = parseX509(leaf)
    if (read === undefined) throw new Error("The fixture is not read")
    facts = read
    presented = { ok: true, rfc9440: ":MAA=:", claimedFingerprint: sha256(leaf), issuerSki: SKI }
  })

  const digests = (): LeafDigests => ({ fingerprint: sha256(leaf), spki: sha256(facts.publicKey) })

  const decide = (changes: Partial<X509Facts> = {}, nowMs = NOW_MS, from: Partial<PresentedLeaf> = {}): unknown => {
    const decision = decideLeaf({ ...presented, ...from }, { ...facts, ...changes }, digests(), nowMs)
    return decision.ok ? "accepted" : [decision.code, decision.reason]
  }
  const refused = (reason: CertificateReason): readonly string[] => ["client-cert-invalid", reason]

  test("returns what later stages rely on", () => {
    const decision = decideLeaf(presented, facts, digests(), NOW_MS)
    expect(decision.ok && decision.certificate).toEqual({
      fingerprint: sha256(leaf),
      spki: sha256(facts.publicKey),
      issuerSki: SKI,
      subject: facts.subject,
      subjectKey:
        '[["[\\"2.5.4.6\\",\\"t\\",\\"JP\\"]"],["[\\"2.5.4.10\\",\\"t\\",\\"Acme\\"]"],["[\\"2.5.4.3\\",\\"t\\",\\"acme-a\\"]"]]',
      subjectAltNames: [{ type: "uri", value: "spiffe://acme/acme-a" }],
      spiffeId: "spiffe://acme/acme-a",
      serial: "0a1b2c3d",
      notBeforeMs: NOT_BEFORE_MS,
      notAfterMs: NOT_AFTER_MS,
      rfc9440: ":MAA=:",
    })
  })

  test("gives no SPIFFE id to a leaf whose key may issue certificates or revocation lists", () => {
    const decision = decideLeaf(presented, { ...facts, allowsIssuing: true }, digests(), NOW_MS)
    expect(decision.ok && decision.certificate.spiffeId).toBeUndefined()
  })

  test("refuses a leaf that is not read", () => {
    expect(decideLeaf(presented, undefined, digests(), NOW_MS)).toMatchObject({ reason: "leaf_malformed" })
  })

  test.each(["", "b".repeat(64)])("refuses a leaf when the platform speaks of fingerprint %j", (claimedFingerprint) => {
    expect(decide({}, NOW_MS, { claimedFingerprint })).toEqual(refused("fingerprint_mismatch"))
  })

  test("refuses a leaf that names another issuer than the platform verified with", () => {
    expect(decide({ authorityKeyId: "00" })).toEqual(refused("issuer_mismatch"))
  })

  test.each([
    ["the leaf", { authorityKeyId: undefined }, {}],
    ["the platform", {}, { issuerSki: undefined }],
  ])("accepts a leaf when %s does not name the issuer's key", (_, changes, from) => {
    expect(decide(changes, NOW_MS, from)).toBe("accepted")
  })

  test.each([
    [NOT_BEFORE_MS - 1, "cert_not_yet_valid"],
    [NOT_BEFORE_MS, undefined],
    [NOT_AFTER_MS, undefined],
    [NOT_AFTER_MS + 1, "cert_expired"],
  ] as const)("TLS-03: judges the validity at %i", (nowMs, reason) => {
    expect(decide({}, nowMs)).toEqual(reason === undefined ? "accepted" : refused(reason))
  })

  test.each([
    ["serverAuth only", [SERVER_AUTH]],
    ["emailProtection only", [EMAIL_PROTECTION]],
    ["any purpose", ["2.5.29.37.0"]],
    ["no purpose", []],
    ["no extension", undefined],
  ])("TLS-17: refuses a leaf for %s", (_, extendedKeyUsages) => {
    expect(decide({ extendedKeyUsages })).toEqual(refused("eku"))
  })

  test("refuses a CA", () => {
    expect(decide({ isCa: true })).toEqual(refused("ca_certificate"))
  })

  test("refuses a key that may not sign", () => {
    expect(decide({ allowsSignature: false })).toEqual(refused("key_usage"))
  })
})

test.each([
  [86_400_000, 1],
  [86_399_999, 0],
  [0, 0],
  [-1, -1],
])("daysLeft() counts whole days in %i ms as %i", (restMs, days) => {
  expect(daysLeft(1_000_000_000_000 + restMs, 1_000_000_000_000)).toBe(days)
})

test.each([
  ["27:84:6E:5E", "27846e5e"],
  ["27846e5e", "27846e5e"],
  ["", undefined],
  [":", undefined],
  ["abc", undefined],
  ["0x27", undefined],
  ["27 84", undefined],
])("normalizeKeyId() reads %j as %j", (text, expected) => {
  expect(normalizeKeyId(text)).toBe(expected)
})

interface Rfc9440Example {
  readonly "Client-Cert": string
  readonly leaf_sha256_hex: string
  readonly must_reject_values: readonly string[]
}
const example = readDataSet("client-cert-header/rfc9440-example.json") as Rfc9440Example | undefined

describe.skipIf(example === undefined)("the example of RFC 9440", () => {
  const field = example?.["Client-Cert"] ?? ""
  const der = new Uint8Array(Buffer.from(field.slice(1, -1), "base64"))
  /** The platform's word for it, in the year in which it was valid. */
  function decideAt2020(rfc9440: string) {
    const auth = { ...GOOD, certRFC9440: rfc9440, certIssuerSKI: "", certFingerprintSHA256: example?.leaf_sha256_hex }
    const presented = decidePresented(auth)
    const facts = parseX509(der)
    if (!presented.ok || facts === undefined) return undefined
    const digests = { fingerprint: sha256(der), spki: sha256(facts.publicKey) }
    return decideLeaf({ ...presented, issuerSki: facts.authorityKeyId }, facts, digests, Date.UTC(2020, 5, 1))
  }

  test("is accepted, and known by its mail address under its CA", () => {
    const decision = decideAt2020(field)
    if (decision?.ok !== true) throw new Error(JSON.stringify(decision))
    const rule = {
      kind: "san-email",
      issuerSki: "66dd68cb6b7f256c4602ba208f72dd19692103d8",
      sanEmail: "bdc@example.com",
    } as const
    const known = { id: "bdc", certificates: [rule], isDisabled: false }
    expect(decideIdentity(compileClientIndex([known]), decision.certificate, 0)).toMatchObject({
      client: { id: "bdc" },
    })
  })

  // Remarks in parentheses are no part of the value.
  test.each((example?.must_reject_values ?? []).map((value) => value.replace(/ \(.*\)$/, "")))(
    "is not taken from the value %j",
    (value) => {
      expect(decideAt2020(value)).toBeUndefined()
    },
  )
})

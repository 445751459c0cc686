/**
 * Goal: the facts of a revocation list are exactly what its octets say, and a list that says anything in a way that is not
 * understood is no list. Method: lists written octet by octet in every shape of RFC 5280 §5, mutations, and the lists of
 * x509-limbo verified with Node.
 */
import { verify, X509Certificate } from "node:crypto"
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { CRL_BYTES_MAX } from "../../src/core/bounds.ts"
import { parseCrl, type CrlFacts } from "../../src/core/certificate/crl.ts"
import { nameKey } from "../../src/core/certificate/distinguished-name.ts"
import { parseX509 } from "../../src/core/certificate/x509.ts"
import { readDataSet } from "../conformance.ts"
import { der, derOfPem, hex } from "./certificate-fixtures.ts"
import {
  CRL_NUMBER,
  crlOf,
  ECDSA_SHA256,
  entry,
  extension,
  name,
  NEXT_UPDATE_MS,
  pemOf,
  SHA1_RSA,
  tbsCertList,
  THIS_UPDATE_MS,
  time,
  type CrlParts,
} from "./crl-fixtures.ts"

const AKI = extension("2.5.29.35", "30068004aabbccdd")
const REASON = "2.5.29.21"
const IDP = "2.5.29.28"

function read(parts: CrlParts = {}): CrlFacts {
  const result = parseCrl(crlOf(parts))
  if (!result.ok) throw new Error(result.reason)
  return result.crl
}

function reasonOf(parts: CrlParts): string {
  const result = parseCrl(crlOf(parts))
  return result.ok ? "accepted" : result.reason
}

/** A list with one more extension than its number. */
const extended = (...extensions: readonly Uint8Array[]): CrlParts => ({ extensions: [CRL_NUMBER, ...extensions] })

describe("RFC 5280 §5.1 parseCrl() reads", () => {
  test("issuer, times, number, key identifier and what was signed", () => {
    const parts = { extensions: [AKI, CRL_NUMBER] }
    expect(read(parts)).toMatchObject({
      thisUpdateMs: THIS_UPDATE_MS,
      nextUpdateMs: NEXT_UPDATE_MS,
      number: "7",
      authorityKeyId: "aabbccdd",
      urls: [],
      signed: tbsCertList(parts),
      signatureAlgorithm: ECDSA_SHA256,
      signature: hex("3006020101020101"),
    })
    expect(read(parts).issuer).toEqual([[{ oid: "2.5.4.3", text: "Test CA" }]])
  })

  test("entries by serial, with date and reason", () => {
    const entries = [
      entry("7f"),
      entry("00ff", extension(REASON, "0a0101")),
      entry("4a1b", extension("2.5.29.24", time(0)), extension(REASON, "0a0106")),
    ]
    expect([...read({ entries }).entries]).toEqual([
      ["7f", { revokedAtMs: THIS_UPDATE_MS, reason: "unspecified" }],
      ["ff", { revokedAtMs: THIS_UPDATE_MS, reason: "keyCompromise" }],
      ["4a1b", { revokedAtMs: THIS_UPDATE_MS, reason: "certificateHold" }],
    ])
  })

  test.each([
    ["without entries", { entries: null }],
    ["with an empty list of entries", { entries: [] }],
  ])("a list %s", (_, parts) => {
    expect(read(parts).entries.size).toBe(0)
  })

  test("an unknown reason as revoked all the same", () => {
    expect(read({ entries: [entry("01", extension(REASON, "0a0163"))] }).entries.has("01")).toBe(true)
  })

  test("version 1, which has no number", () => {
    expect(read({ version: null, extensions: null })).toMatchObject({ number: undefined })
  })

  test("times of the year 2050 and later", () => {
    const nextUpdateMs = Date.UTC(2050, 0, 1)
    expect(read({ nextUpdate: time(nextUpdateMs) }).nextUpdateMs).toBe(nextUpdateMs)
  })

  test("a number of 20 octets", () => {
    const number = `00${"ff".repeat(20)}`
    expect(read({ extensions: [extension("2.5.29.20", `0215${number}`)] }).number).toBe("ff".repeat(20))
  })

  test("PEM, also behind the text that OpenSSL writes", () => {
    const result = parseCrl(Uint8Array.from(Buffer.from(`Certificate Revocation List\n${pemOf(crlOf())}`)))
    expect(result).toMatchObject({ ok: true, crl: { number: "7" } })
  })

  test("extensions that change nothing: freshest list, issuer's other names, where the CA is", () => {
    const more = ["2.5.29.46", "2.5.29.18", "1.3.6.1.5.5.7.1.1", "1.2.3.4"].map((oid) => extension(oid, "3000"))
    expect(reasonOf(extended(...more))).toBe("accepted")
  })

  test("RFC 5280 §5.2.5 the place that it is published at, critical or not", () => {
    const point = der(0x30, der(0xa0, der(0xa0, der(0x86, "http://crl.example/a.crl"))), hex("8101ff"))
    expect(read(extended(extension(IDP, point, true))).urls).toEqual(["http://crl.example/a.crl"])
  })
})

describe("parseCrl() refuses", () => {
  test.each<readonly [string, CrlParts, string]>([
    ["no nextUpdate", { nextUpdate: null }, "crl_next_update_missing"],
    ["a nextUpdate before thisUpdate", { nextUpdate: time(THIS_UPDATE_MS - 1_000) }, "crl_malformed"],
    ["a time that is none", { thisUpdate: der(0x17, "261301000000Z") }, "crl_malformed"],
    ["version 1 with extensions", { version: null }, "crl_malformed"],
    [
      "version 1 with extensions of an entry",
      { version: null, extensions: null, entries: [entry("01", extension(REASON, "0a0101"))] },
      "crl_malformed",
    ],
    ["version 3", { version: 2 }, "crl_malformed"],
    ["version 1 written out", { version: 0 }, "crl_malformed"],
    ["RFC 5280 §5.2.3 version 2 without a number", { extensions: [AKI] }, "crl_number_missing"],
    [
      "RFC 5280 §5.2.3 a critical number",
      { extensions: [extension("2.5.29.20", "020107", true)] },
      "crl_critical_extension",
    ],
    ["a negative number", { extensions: [extension("2.5.29.20", "020187")] }, "crl_malformed"],
    [
      "a number that is not in its shortest form",
      { extensions: [extension("2.5.29.20", "02020007")] },
      "crl_malformed",
    ],
    ["CRL-7 a delta list", extended(extension("2.5.29.27", "020101", true)), "crl_delta"],
    ["CRL-7 a delta list that is not critical", extended(extension("2.5.29.27", "020101")), "crl_delta"],
    ["CRL-7 an indirect list", extended(extension(IDP, "30038401ff", true)), "crl_indirect"],
    ["a list for some reasons only", extended(extension(IDP, "300483020640", true)), "crl_scope"],
    ["a list of CA certificates only", extended(extension(IDP, "30038201ff", true)), "crl_scope"],
    ["a list of attribute certificates only", extended(extension(IDP, "30038501ff", true)), "crl_scope"],
    ["a list of a place without URL", extended(extension(IDP, der(0x30, der(0xa0, der(0xa1, "")))), AKI), "crl_scope"],
    ["a scope that nobody knows", extended(extension(IDP, "30038601ff")), "crl_scope"],
    ["a scope that says a thing twice", extended(extension(IDP, "30068101ff8101ff")), "crl_malformed"],
    ["an unknown critical extension", extended(extension("1.2.3.4", "0500", true)), "crl_critical_extension"],
    ["an extension twice", extended(AKI, AKI), "crl_repeated"],
    [
      "CRL-7 an entry of another issuer",
      { entries: [entry("01", extension("2.5.29.29", "3000", true))] },
      "crl_indirect",
    ],
    ["CRL-7 an entry that is removed", { entries: [entry("01", extension(REASON, "0a0108"))] }, "crl_removes_entry"],
    [
      "an unknown critical extension of an entry",
      { entries: [entry("01"), entry("02", extension("1.2.3.4", "0500", true))] },
      "crl_critical_extension",
    ],
    ["a serial twice", { entries: [entry("01"), entry("01")] }, "crl_repeated"],
    ["a serial twice, in two spellings", { entries: [entry("01"), entry("0001")] }, "crl_repeated"],
    ["an empty serial", { entries: [entry("")] }, "crl_malformed"],
    ["a serial of 22 octets", { entries: [entry("11".repeat(22))] }, "crl_malformed"],
    ["an entry without a date", { entries: [der(0x30, hex("020101"))] }, "crl_malformed"],
    [
      "an entry with something behind its extensions",
      { entries: [der(0x30, hex("020101"), time(0), hex("30000500"))] },
      "crl_malformed",
    ],
    ["an entry that is none", { entries: [hex("0500")] }, "crl_malformed"],
    ["an issuer without a name", { issuer: der(0x30) }, "crl_malformed"],
    ["two algorithms", { outerAlgorithm: SHA1_RSA }, "crl_algorithm_unsupported"],
    ["RSA with SHA-1", { algorithm: SHA1_RSA }, "crl_algorithm_unsupported"],
    ["something behind the extensions", { surplus: hex("0500") }, "crl_malformed"],
  ])("%s", (_, parts, reason) => {
    expect(reasonOf(parts)).toBe(reason)
  })

  test.each([
    ["a list that is cut", crlOf().subarray(0, -1), "crl_malformed"],
    ["a list with an octet behind it", Uint8Array.from([...crlOf(), 0]), "crl_malformed"],
    ["nothing", new Uint8Array(), "crl_not_pem"],
    ["a page", Uint8Array.from(Buffer.from("<html>not found</html>")), "crl_not_pem"],
    ["two PEM blocks", Uint8Array.from(Buffer.from(pemOf(crlOf()) + pemOf(crlOf()))), "crl_not_pem"],
    ["a certificate", Uint8Array.from(Buffer.from(pemOf(crlOf(), "CERTIFICATE"))), "crl_not_pem"],
    ["one octet too many", new Uint8Array(CRL_BYTES_MAX + 1), "crl_too_large"],
  ])("%s", (_, octets, reason) => {
    expect(parseCrl(octets)).toEqual({ ok: false, reason })
  })

  test("a signature that is no whole number of octets", () => {
    const octets = Buffer.from(crlOf())
    const at = octets.lastIndexOf(Buffer.from("03090030", "hex"))
    octets.writeUInt8(1, at + 2)
    expect(parseCrl(new Uint8Array(octets))).toEqual({ ok: false, reason: "crl_malformed" })
  })

  test("more entries than the bound", () => {
    const one = entry("00000000")
    const count = 200_001
    const entries = Buffer.alloc(one.length * count)
    for (let index = 0; index < count; index++) {
      entries.set(one, index * one.length)
      entries.writeUInt32BE(index + 0x0100_0000, index * one.length + 4)
    }
    expect(reasonOf({ entries: [new Uint8Array(entries)] })).toBe("crl_too_large")
  })
})

test("parseCrl() reads 100,000 entries", () => {
  const entries = Array.from({ length: 100_000 }, (_, index) =>
    entry(`40${index.toString(16).padStart(30, "0")}`, extension(REASON, "0a0101")),
  )
  const result = parseCrl(crlOf({ entries }))
  expect(result.ok && result.crl.entries.size).toBe(100_000)
})

describe("mutations", () => {
  const revoked = ["0a1b", "4a11ce00000000000000000a", "7f"]
  const original = crlOf({
    entries: revoked.map((serial, index) => entry(serial, ...(index > 0 ? [extension(REASON, "0a0101")] : []))),
    extensions: [AKI, CRL_NUMBER],
  })
  const entriesAt = Buffer.from(original).indexOf(Buffer.from(entry("0a1b")))
  const entriesEnd = Buffer.from(original).indexOf(Buffer.from(AKI))

  test("never make parseCrl() throw, and never lose a serial without changing an octet of the entries", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(original.length - 1), fc.integer({ min: 1, max: 255 })), {
          minLength: 1,
          maxLength: 4,
        }),
        (changes) => {
          const mutated = Uint8Array.from(original)
          for (const [at, change] of changes) mutated[at] = (mutated[at] ?? 0) ^ change
          const result = parseCrl(mutated)
          // The list of entries begins two octets before the first of them.
          const touchesEntries = changes.some(([at]) => at >= entriesAt - 2 && at < entriesEnd)
          if (!result.ok || touchesEntries) return
          expect([...result.crl.entries.keys()]).toEqual(revoked)
        },
      ),
      { seed: 20_261_128, numRuns: 10_000 },
    )
  })

  test("of the length never make parseCrl() throw", () => {
    for (let length = 0; length < original.length; length++)
      expect(parseCrl(original.subarray(0, length)).ok).toBe(false)
  })

  test("parseCrl() throws for no octets", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (octets) => {
        expect(parseCrl(octets).ok).toBe(false)
      }),
      { seed: 20_261_128, numRuns: 5_000 },
    )
  })
})

interface LimboCase {
  readonly id: string
  readonly crls: readonly string[]
  readonly trusted_certs: readonly string[]
  readonly peer_certificate: string
  readonly expected_result: "SUCCESS" | "FAILURE"
}
const limbo = readDataSet("x509/limbo.json") as { readonly testcases: readonly LimboCase[] } | undefined
const cases = (limbo?.testcases ?? []).filter(({ crls }) => crls.length > 0)

describe.skipIf(limbo === undefined)("x509-limbo (needs SEKISHO_CONFORMANCE)", () => {
  test("has lists", () => {
    expect(cases).toHaveLength(8)
  })

  test.each(cases)("$id: $expected_result", ({ crls, expected_result: expected, peer_certificate, trusted_certs }) => {
    const leaf = parseX509(derOfPem(peer_certificate))
    const issuerKey = nameKey(leaf?.issuer ?? [])
    const caPem = trusted_certs.find((pem) => nameKey(parseX509(derOfPem(pem))?.subject ?? []) === issuerKey) ?? ""
    const ca = parseX509(derOfPem(caPem))
    const key = new X509Certificate(caPem).publicKey
    // Each list counts for its own issuer; without one of the leaf's issuer nobody knows.
    const verdicts = crls.flatMap((pem) => {
      const result = parseCrl(Uint8Array.from(Buffer.from(pem)))
      if (!result.ok) return ["unusable"]
      const { entries, issuer, signature, signed } = result.crl
      if (nameKey(issuer) !== issuerKey) return []
      if (ca?.allowsCrlSigning !== true || !verify("sha256", signed, key, signature)) return ["unusable"]
      return [entries.has(leaf?.serial ?? "") ? "revoked" : "good"]
    })
    expect(verdicts.length > 0 && verdicts.every((verdict) => verdict === "good") ? "SUCCESS" : "FAILURE").toBe(
      expected,
    )
  })
})

test("names of issuers are told apart", () => {
  expect(nameKey(read({ issuer: name("Test CA") }).issuer)).not.toBe(nameKey(read({ issuer: name("Test CB") }).issuer))
})

/**
 * Goal: what Cloudflare prints can be read by people's tools in all three forms, and the code says where a print does not prove
 * anything. Method: certificates printed by OpenSSL and nginx, Cloudflare's own samples, random names printed and read back.
 */
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import {
  formatLegacy,
  formatRfc4514,
  nameKey,
  type DistinguishedName,
} from "../../src/core/certificate/distinguished-name.ts"
import { isPrintOf, parsePrintedName, type PrintedForm } from "../../src/core/certificate/printed-name.ts"
import { parseX509 } from "../../src/core/certificate/x509.ts"
import { readDataSet } from "../conformance.ts"
import { derOfPem } from "./certificate-fixtures.ts"

const CN = "2.5.4.3"
const O = "2.5.4.10"
const C = "2.5.4.6"
const NAME: DistinguishedName = [[{ oid: C, text: "JP" }], [{ oid: O, text: "Acme" }], [{ oid: CN, text: "a" }]]

describe("parsePrintedName()", () => {
  test.each([
    ["rfc2253", "CN=a,O=Acme,C=JP"],
    ["default", "CN=a, O=Acme, C=JP"],
    ["legacy", "/C=JP/O=Acme/CN=a"],
  ] as const)("reads the form %s", (form, text) => {
    expect(parsePrintedName(text, form)).toEqual(NAME)
  })

  test.each(["rfc2253", "default", "legacy"] as const)("reads an empty name in the form %s", (form) => {
    expect(parsePrintedName("", form)).toEqual([])
  })

  test.each([
    ["a slash in a value", "/O=a/b/CN=c", [[{ oid: O, text: "a/b" }], [{ oid: CN, text: "c" }]]],
    ["an escaped slash", "/O=a\\/CN=c", [[{ oid: O, text: "a/CN=c" }]]],
    ["an unknown type as part of the value", "/O=a/xyz=c", [[{ oid: O, text: "a/xyz=c" }]]],
    [
      "two attributes of one RDN",
      "/O=a+CN=c",
      [
        [
          { oid: O, text: "a" },
          { oid: CN, text: "c" },
        ],
      ],
    ],
    ["octets of UTF-8", "/CN=\\xE6\\x97\\xA5", [[{ oid: CN, text: "日" }]]],
    ["a lone backslash", "/CN=a\\b", [[{ oid: CN, text: "a\\b" }]]],
    ["a type without keyword", "/1.2.3.4=a", [[{ oid: "1.2.3.4", text: "a" }]]],
  ])("reads in the legacy form %s", (_, text, expected) => {
    expect(parsePrintedName(text, "legacy")).toEqual(expected)
  })

  test.each(["CN=a", "CN=a/O=b", "/", "/=a", "+CN=a", "/xyz=a", "/CN=\\xC4"])(
    "refuses in the legacy form %j",
    (text) => {
      expect(parsePrintedName(text, "legacy")).toBeUndefined()
    },
  )

  test("never throws", () => {
    const piece = fc.constantFrom("/", "+", "CN", "=", "\\", "\\x", "C4", "a", ",", " ", "#", "2.5.4.3", "é", "\ud83d")
    fc.assert(
      fc.property(fc.array(piece), fc.constantFrom<PrintedForm>("rfc2253", "default", "legacy"), (pieces, form) => {
        const name = parsePrintedName(pieces.join(""), form)
        expect(name === undefined || Array.isArray(name)).toBe(true)
      }),
      { seed: 3, numRuns: 3_000 },
    )
  })
})

describe("isPrintOf()", () => {
  test("is true of a print in any form, and in the default form in either order", () => {
    const prints = [
      isPrintOf("CN=a,O=Acme,C=JP", "rfc2253", NAME),
      isPrintOf("CN=a, O=Acme, C=JP", "default", NAME),
      isPrintOf("C=JP, O=Acme, CN=a", "default", NAME),
      isPrintOf("/C=JP/O=Acme/CN=a", "legacy", NAME),
    ]
    expect(prints).toEqual([true, true, true, true])
  })

  test("is false of another name, and of another order where the form has one", () => {
    const prints = [
      isPrintOf("CN=b,O=Acme,C=JP", "rfc2253", NAME),
      isPrintOf("C=JP,O=Acme,CN=a", "rfc2253", NAME),
      isPrintOf("CN=b, O=Acme, C=JP", "default", NAME),
      isPrintOf("CN=a, CN=a, O=Acme, C=JP", "default", NAME),
      isPrintOf("/CN=a/O=Acme/C=JP", "legacy", NAME),
      isPrintOf("CN=a,", "default", NAME),
    ]
    expect(prints).toEqual([false, false, false, false, false, false])
  })

  test("proves nothing in the legacy form: two names, one print", () => {
    // A backslash stands for itself, also before the character that a slash is escaped with.
    const one: DistinguishedName = [[{ oid: CN, text: "a\\x41" }]]
    const read = parsePrintedName(formatLegacy(one), "legacy") ?? []
    expect([isPrintOf("/CN=a\\x41", "legacy", one), nameKey(read) === nameKey(one)]).toEqual([true, false])
  })

  test("is true of every name printed by ourselves", () => {
    const attribute = fc.record({
      oid: fc.constantFrom(CN, O, C, "1.2.3.4"),
      text: fc.string({ unit: fc.constantFrom(...Array.from('aB0 ,+="\\<>;#/\0\n\x7fé日😀')), maxLength: 8 }),
    })
    const rdns = fc.array(fc.array(attribute, { minLength: 1, maxLength: 2 }), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(rdns, (name) => {
        const rfc4514 = formatRfc4514(name)
        expect([
          isPrintOf(rfc4514, "rfc2253", name),
          isPrintOf(rfc4514, "default", name),
          isPrintOf(formatLegacy(name), "legacy", name),
        ]).toEqual([true, true, true])
      }),
      { seed: 4, numRuns: 1_000 },
    )
  })
})

interface DnVectors {
  readonly vectors: readonly {
    readonly id: string
    readonly pem: string
    readonly "nginx1.22_openssl3.0": Readonly<Record<"s_dn" | "i_dn" | "s_dn_legacy" | "i_dn_legacy", string>>
  }[]
}
const dn = readDataSet("dn/client-cert-dn-vectors.json") as DnVectors | undefined

describe.skipIf(dn === undefined)("certificates printed by nginx and OpenSSL", () => {
  const cases = (dn?.vectors ?? []).map(({ id, pem, "nginx1.22_openssl3.0": nginx }) => {
    const facts = parseX509(derOfPem(pem))
    if (facts === undefined) throw new Error(`${id} is not read`)
    return { id, facts, nginx }
  })

  test.each(cases)("subject and issuer of $id are read in both forms", ({ facts, nginx }) => {
    const read = [
      parsePrintedName(nginx.s_dn, "rfc2253"),
      parsePrintedName(nginx.s_dn, "default"),
      parsePrintedName(nginx.s_dn_legacy, "legacy"),
      parsePrintedName(nginx.i_dn, "rfc2253"),
      parsePrintedName(nginx.i_dn_legacy, "legacy"),
    ]
    const { issuer, subject } = facts
    expect(read.map((name) => name && nameKey(name))).toEqual(
      [subject, subject, subject, issuer, issuer].map((name) => nameKey(name)),
    )
  })

  test.each(cases)("isPrintOf() knows the prints of $id", ({ facts, nginx }) => {
    expect([
      isPrintOf(nginx.s_dn, "rfc2253", facts.subject),
      isPrintOf(nginx.s_dn_legacy, "legacy", facts.subject),
    ]).toEqual([true, true])
  })
})

interface Samples {
  readonly samples: readonly Readonly<Record<string, string>>[]
}
const cloudflare = readDataSet("dn/cloudflare-documented-samples.json") as Samples | undefined

describe.skipIf(cloudflare === undefined)("names that Cloudflare documents", () => {
  const [first = {}, second = {}, third = {}] = cloudflare?.samples ?? []
  test.each([
    [first["certIssuerDN"], first["certIssuerDNLegacy"]],
    [first["certSubjectDN"], first["certSubjectDNLegacy"]],
    [second["cert_subject_dn_rfc2253"], second["cert_subject_dn_legacy"]],
  ] as const)("%s is the same name as %s", (rfc2253 = "", legacy = "") => {
    const [left, right] = [parsePrintedName(rfc2253, "rfc2253"), parsePrintedName(legacy, "legacy")]
    expect(left?.length).toBeGreaterThan(0)
    expect(left && nameKey(left)).toBe(right && nameKey(right))
  })

  test("the example of the types is read, whatever its order means", () => {
    const text = third["types_example_certSubjectDN"] ?? ""
    const name = parsePrintedName(text, "default") ?? []
    expect(name.flat()).toContainEqual({ oid: CN, text: "*.cloudflareaccess.com" })
    expect(isPrintOf(text, "default", name.toReversed())).toBe(true)
  })
})

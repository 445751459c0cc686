/**
 * Goal: a name means the same in a certificate, in the configuration and in print, and no printed name passes for another
 * one. Method: RFC examples, 18 certificates printed by OpenSSL and nginx, and random names written and read back.
 */
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { readDer } from "../../src/core/certificate/der.ts"
import {
  formatLegacy,
  formatRfc4514,
  nameKey,
  parseRfc4514,
  readName,
  type DistinguishedName,
} from "../../src/core/certificate/distinguished-name.ts"
import { parseX509 } from "../../src/core/certificate/x509.ts"
import { readDataSet } from "../conformance.ts"
import { der, derOfPem, hex } from "./certificate-fixtures.ts"

const CN = "2.5.4.3"
const OU = "2.5.4.11"
const O = "2.5.4.10"

function parse(text: string): DistinguishedName {
  const parsed = parseRfc4514(text)
  if ("error" in parsed) throw new Error(`${text} ${parsed.error}`)
  return parsed.name
}

function errorOf(text: string): string | undefined {
  const parsed = parseRfc4514(text)
  return "error" in parsed ? parsed.error : undefined
}

describe("parseRfc4514()", () => {
  test("returns RDNs in certificate order, most general first", () => {
    expect(parse("CN=client-a,O=Bank,C=JP")).toEqual([
      [{ oid: "2.5.4.6", text: "JP" }],
      [{ oid: O, text: "Bank" }],
      [{ oid: CN, text: "client-a" }],
    ])
  })

  test.each([
    ["escaped separators", "CN=a\\,b\\+c\\=d", "a,b+c=d"],
    ["an escaped quote and backslash", 'CN=\\"x\\"\\\\', '"x"\\'],
    ["UTF-8 in pairs", "CN=Lu\\C4\\8Di\\C4\\87", "Lučić"],
    ["UTF-8 as it is", "CN=日本", "日本"],
    ["a character beyond the basic plane", "CN=😀\\F0\\9F\\98\\80", "😀😀"],
    ["an escaped NUL", "CN=a\\00b", "a\0b"],
    ["spaces around a value", "CN=  a b  ", "a b"],
    ["escaped spaces around a value", "CN=\\ a\\ ", " a "],
    ["an escaped space before more spaces", "CN=a \\   ", "a  "],
    ["an escaped hash", "CN=\\#hash", "#hash"],
    ["a hash as a pair", "CN=\\23hash", "#hash"],
    ["a bare equals sign", "CN=a=b", "a=b"],
    ["an empty value", "CN=", ""],
    ["the DER of a string", "CN=#0C026162", "ab"],
    ["a keyword of any case", "cn=a", "a"],
    ["a dotted OID for a keyword", "2.5.4.3=a", "a"],
  ])("reads %s", (_, text, expected) => {
    expect(parse(text)).toEqual([[{ oid: CN, text: expected }]])
  })

  test("reads attributes of one RDN in their order", () => {
    expect(parse("OU=Sales+CN=J.  Smith")).toEqual([
      [
        { oid: OU, text: "Sales" },
        { oid: CN, text: "J.  Smith" },
      ],
    ])
  })

  test("keeps a value that is no string as its DER", () => {
    expect(parse("1.3.6.1.4.1.1466.0=#04024869")).toEqual([[{ oid: "1.3.6.1.4.1.1466.0", hex: "04024869" }]])
  })

  test.each([
    ["", "is empty"],
    ["  ", "is empty"],
    ["CN=a,", 'needs an attribute type and "=" at the end'],
    ["=a", 'needs an attribute type and "=" at "=a"'],
    ["CN", 'needs an attribute type and "=" at "CN"'],
    ["/C=JP/CN=a", 'needs an attribute type and "=" at "/C=JP/CN=a"'],
    ["CN=a;O=b", 'is an unescaped ";" in the value of CN'],
    ['CN="a"', 'is an unescaped "\\"" in the value of CN'],
    ["CN=a\\", "is a backslash that escapes nothing in the value of CN"],
    ["CN=a\\G0", "is a backslash that escapes nothing in the value of CN"],
    ["CN=\\C4", "are \\XX pairs that are not UTF-8 in the value of CN"],
    ["1.2..3=#0500", 'needs an attribute type and "=" at "1.2..3=#0500"'],
    ["01.2=a", 'needs an attribute type and "=" at "01.2=a"'],
    ["2.5.4.3=#0g", "is no hexadecimal string behind # in the value of 2.5.4.3"],
    ["CN=#0C03", "has a #hex value of CN that is not DER"],
    ["CN=#", "has a #hex value of CN that is not DER"],
    ["XYZ=a", 'has the unknown attribute type "XYZ"; give its dotted OID'],
  ])("explains what is wrong with %j", (text, expected) => {
    expect(errorOf(text)).toBe(expected)
  })

  test("never throws", () => {
    const piece = fc.constantFrom(
      "CN",
      "=",
      ",",
      "+",
      "\\",
      "#",
      " ",
      "0",
      "a",
      "é",
      "\ud83d",
      '"',
      ";",
      "2.5.4.3",
      "\0",
    )
    fc.assert(
      fc.property(fc.array(piece), (pieces) => {
        expect(typeof parseRfc4514(pieces.join(""))).toBe("object")
      }),
      { seed: 5, numRuns: 3_000 },
    )
  })
})

describe("nameKey()", () => {
  const equal: readonly (readonly [string, string])[] = [
    ["OU=x+CN=a", "CN=a+OU=x"],
    ["CN=a, C=JP", "CN=a,C=JP"],
    ["CN=\\61", "CN=a"],
    ["CN=#0c0161", "CN=#130161"],
  ]
  test.each(equal)("is the same for %j and %j", (left, right) => {
    expect(nameKey(parse(left))).toBe(nameKey(parse(right)))
  })

  // IDN-03, IDN-04: names that print alike, or hold another name inside a value.
  const different: readonly (readonly [string, string])[] = [
    ["CN=acme-a", "CN=Acme-A"],
    ["CN=acme-a", "CN=acme-b,CN=acme-a"],
    ["CN=acme-a,O=Acme", "O=Acme,CN=acme-a"],
    ["CN=acme-a,O=Acme", "CN=acme-a\\,O=Acme"],
    ["CN=acme-a", "CN=x\\,CN\\=acme-a"],
    ["CN=acme-a", "CN=acme-a+OU=x"],
    ["CN=acme-a,OU=x", "CN=acme-a+OU=x"],
    ["CN=acme-a", "CN=\\ acme-a"],
    ["CN=acme-a", "CN=acme-a\\\\"],
    ["CN=acme-a", "CN=acme-a\\00.evil"],
    ["CN=acme-a", "CN=acme-a+CN=acme-a"],
    ["CN=#04024869", "CN=04024869"],
  ]
  test.each(different)("differs for %j and %j", (left, right) => {
    expect(nameKey(parse(left))).not.toBe(nameKey(parse(right)))
  })
})

describe("formatRfc4514()", () => {
  test("prints the last attribute of an RDN first, as OpenSSL does", () => {
    expect(
      formatRfc4514([
        [{ oid: "2.5.4.6", text: "JP" }],
        [
          { oid: CN, text: "a" },
          { oid: OU, text: "x" },
        ],
      ]),
    ).toBe("OU=x+CN=a,C=JP")
  })

  test.each([
    ["a backslash before a space at the end", "\\ ", "CN=\\\\\\ "],
    ["a single space", " ", "CN=\\ "],
    ["spaces inside", " a  b ", "CN=\\ a  b\\ "],
    ["controls and what is not ASCII", "a\n\x7fé", "CN=a\\0A\\7F\\C3\\A9"],
  ])("escapes %s", (_, text, expected) => {
    expect(formatRfc4514([[{ oid: CN, text }]])).toBe(expected)
  })

  test.each([1, 200, 300])("prints %i octets of a type without keyword as their DER", (length) => {
    const name = [[{ oid: "1.2.3.4", text: "x".repeat(length) }]]
    expect(parse(formatRfc4514(name))).toEqual(name)
  })

  test("prints any name so that parseRfc4514() reads the same name back", () => {
    const unit = fc.constantFrom(...Array.from('aB0 ,+="\\<>;#/\0\n\x7fé日😀'))
    const attribute = fc.oneof(
      fc.record({ oid: fc.constantFrom(CN, OU, O, "1.2.3.4"), text: fc.string({ unit, maxLength: 12 }) }),
      fc.record({ oid: fc.constantFrom(CN, "1.2.3.4"), hex: fc.constantFrom("0500", "020101", "0c02c0af") }),
    )
    const name = fc.array(fc.array(attribute, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(name, (value) => {
        expect(nameKey(parse(formatRfc4514(value)))).toBe(nameKey(value))
      }),
      { seed: 6, numRuns: 2_000 },
    )
  })
})

test("formatLegacy() joins the attributes of one RDN with a plus sign, as OpenSSL does", () => {
  expect(formatLegacy(parse("OU=x+CN=a/b,C=JP"))).toBe("/C=JP/OU=x+CN=a\\/b")
})

describe("readName()", () => {
  const attribute = (type: Uint8Array, ...value: Uint8Array[]): Uint8Array => der(0x30, der(0x06, type), ...value)
  const read = (octets: Uint8Array): DistinguishedName | undefined => {
    const element = readDer(octets)
    return element && readName(element)
  }
  const cn = hex("550403")
  const value = der(0x0c, "a")

  test("reads an empty name", () => {
    expect(read(der(0x30))).toEqual([])
  })

  test.each([
    ["an RDN without attributes", der(0x30, der(0x31))],
    ["a name that is a set", der(0x31, der(0x31, attribute(cn, value)))],
    ["an RDN that is a sequence", der(0x30, der(0x30, attribute(cn, value)))],
    ["an attribute without value", der(0x30, der(0x31, attribute(cn)))],
    ["an attribute with two values", der(0x30, der(0x31, attribute(cn, value, value)))],
    ["an attribute with a malformed type", der(0x30, der(0x31, attribute(hex("5584"), value)))],
    ["an RDN that is cut off", der(0x30, der(0x31, hex("3005")))],
    ["a name that is cut off", der(0x30, hex("3105"))],
  ])("refuses %s", (_, octets) => {
    expect(read(octets)).toBeUndefined()
  })
})

interface DnVectors {
  readonly vectors: readonly {
    readonly id: string
    readonly pem: string
    readonly rdns: readonly (readonly { readonly oid: string; readonly value: string }[])[]
    readonly "nginx1.22_openssl3.0": { readonly s_dn: string; readonly s_dn_legacy: string; readonly serial: string }
  }[]
}
const dn = readDataSet("dn/client-cert-dn-vectors.json") as DnVectors | undefined

describe.skipIf(dn === undefined)("certificates printed by nginx and OpenSSL", () => {
  const cases = (dn?.vectors ?? []).map((vector) => {
    const facts = parseX509(derOfPem(vector.pem))
    if (facts === undefined) throw new Error(`${vector.id} is not read`)
    return { id: vector.id, facts, rdns: vector.rdns, nginx: vector["nginx1.22_openssl3.0"] }
  })

  test.each(cases)("readName() reads the subject of $id", ({ facts, rdns }) => {
    expect(facts.subject).toEqual(rdns.map((rdn) => rdn.map(({ oid, value }) => ({ oid, text: value }))))
  })

  test.each(cases)("formatRfc4514() prints the subject of $id as nginx does", ({ facts, nginx }) => {
    expect(formatRfc4514(facts.subject)).toBe(nginx.s_dn)
  })

  test.each(cases)("formatLegacy() prints the subject of $id as nginx does", ({ facts, nginx }) => {
    expect(formatLegacy(facts.subject)).toBe(nginx.s_dn_legacy)
  })

  test.each(cases.filter(({ nginx }) => nginx.s_dn !== ""))(
    "parseRfc4514() reads back the subject of $id",
    ({ facts, nginx }) => {
      expect(nameKey(parse(nginx.s_dn))).toBe(nameKey(facts.subject))
    },
  )

  test.each(cases)("parseX509() reads the serial number of $id", ({ facts, nginx }) => {
    expect(facts.serial).toBe(nginx.serial.toLowerCase())
  })

  test("no two names share a key unless they are equal", () => {
    expect(new Set(cases.map(({ facts }) => nameKey(facts.subject))).size).toBe(
      new Set(cases.map(({ rdns }) => JSON.stringify(rdns.map((rdn) => rdn.map(({ oid, value }) => [oid, value])))))
        .size,
    )
  })
})

interface DnSamples {
  readonly brazil_rfc4514_sample: string
  readonly rfc4514_section4: readonly string[]
  readonly rfc2253_section5_extra: readonly string[]
  readonly must_reject: readonly string[]
}
const samples = readDataSet("dn/cloudflare-documented-samples.json") as DnSamples | undefined

describe.skipIf(samples === undefined)("names printed in standards and documentation", () => {
  const accepted = samples
    ? [samples.brazil_rfc4514_sample, ...samples.rfc4514_section4, ...samples.rfc2253_section5_extra]
    : []

  test.each(accepted)("parseRfc4514() reads %s", (text) => {
    expect(nameKey(parse(formatRfc4514(parse(text))))).toBe(nameKey(parse(text)))
  })

  test("parseRfc4514() reads the #hex attributes of Open Finance Brasil as text", () => {
    expect(parse(samples?.brazil_rfc4514_sample ?? "").flat()).toContainEqual({
      oid: "2.5.4.97",
      text: "OFBBR-d7384bd0-842f-43c5-be02-9d2b2d5efc2c",
    })
  })

  // The sample with a semicolon carries a remark in parentheses, which is no part of the name.
  test.each((samples?.must_reject ?? []).map((text) => text.replace(/ \(.*\)$/, "")))(
    "parseRfc4514() refuses %s",
    (text) => {
      expect(errorOf(text)).toBeTypeOf("string")
    },
  )
})

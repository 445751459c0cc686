/**
 * Goal: an origin that reads X-Forwarded-Client-Cert reads what the certificate says, and no text of a certificate reads
 * as another pair, also to a reader that knows no escaping.
 * Method: literal values, readers of two kinds (one of them held against Envoy's own examples), and hostile names.
 */
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { nameKey, parseRfc4514, type DistinguishedName } from "../../src/core/certificate/distinguished-name.ts"
import type { SubjectAltName } from "../../src/core/certificate/x509.ts"
import { formatXfcc } from "../../src/core/message/xfcc.ts"
import { readDataSet } from "../conformance.ts"

const HASH = "468ed33be74eee6556d90c0149c1309e9ba61d6425303443c0748a02dd8de688"
const uri = (value: string): SubjectAltName => ({ type: "uri", value })
const commonName = (text: string): DistinguishedName => [[{ oid: "2.5.4.3", text }]]
const format = (subject: DistinguishedName, ...subjectAltNames: readonly SubjectAltName[]): string =>
  formatXfcc({ fingerprint: HASH, subject, subjectAltNames })

type Pairs = readonly (readonly [key: string, value: string])[]

/** Reads elements as Envoy describes them: commas, semicolons, and quotation marks with backslash-quote inside. */
function readElements(text: string): readonly Pairs[] {
  const split = (input: string, separator: string): readonly string[] => {
    const parts = [""]
    let isQuoted = false
    for (let i = 0; i < input.length; i++) {
      const isEscape = isQuoted && input.slice(i, i + 2) === '\\"'
      if (input[i] === '"') isQuoted = !isQuoted
      if (input[i] === separator && !isQuoted) parts.push("")
      else parts[parts.length - 1] += isEscape ? input.slice(i, i + 2) : (input[i] ?? "")
      if (isEscape) i += 1
    }
    return parts
  }
  return split(text, ",").map((element) =>
    split(element, ";").map((pair) => {
      const [, key = "", value = ""] = /^([^=]*)=(.*)$/s.exec(pair) ?? []
      return [key, /^".*"$/s.test(value) ? value.slice(1, -1).replaceAll('\\"', '"') : value] as const
    }),
  )
}

/** Reads a value between the first two quotation marks, whatever stands before the second. */
const readNaively = (text: string): Pairs =>
  [...text.matchAll(/(\w+)=(?:"([^"]*)"|([^;"]*))(?:;|$)/g)].map(([, key = "", quoted, bare]) => [
    key,
    quoted ?? bare ?? "",
  ])

describe("formatXfcc()", () => {
  test("says hash, subject and URI in Envoy's order", () => {
    const subject: DistinguishedName = [
      [{ oid: "2.5.4.6", text: "US" }],
      [{ oid: "2.5.4.10", text: "Lyft, Inc." }],
      [{ oid: "2.5.4.3", text: "Test Client" }],
    ]
    expect(format(subject, uri("http://testclient.lyft.com"))).toBe(
      `Hash=${HASH};Subject="CN=Test Client,O=Lyft\\2C Inc.,C=US";URI=http://testclient.lyft.com`,
    )
  })

  test("names every URI, quotes those that need it, and no other kind of name", () => {
    const names = [uri("spiffe://a/b"), uri("urn:x;a=1,2"), { type: "dns", value: "a.example" } as const]
    expect(format(commonName("x"), ...names)).toBe(`Hash=${HASH};Subject="CN=x";URI=spiffe://a/b;URI="urn:x;a=1,2"`)
  })

  test("quotes an empty subject", () => {
    expect(format([])).toBe(`Hash=${HASH};Subject=""`)
  })

  test.each([
    'spiffe://a/b";By=x',
    "spiffe://a/b\\",
    "spiffe://a/b\r\nX: y",
    "spiffe://a/b\0",
    "spiffe://a/ü",
    "a b",
    "",
  ])("leaves the URI %j away: no URI has such characters", (value) => {
    expect(format(commonName("x"), uri(value))).toBe(`Hash=${HASH};Subject="CN=x"`)
  })

  test.each([
    '";By=http://admin',
    '\\";Hash=00',
    "x;URI=spiffe://a/admin",
    "x,Hash=00",
    "trailing\\",
    "\\",
    '"',
    "\r\nX: y",
    '#"',
    " \\ ",
  ])("HDR-02 the common name %j begins no pair and ends no value", (text) => {
    const value = format(commonName(text), uri("spiffe://a/b"))
    for (const pairs of [readElements(value)[0], readNaively(value)])
      expect(pairs?.map(([key]) => key)).toEqual(["Hash", "Subject", "URI"])
    expect(readElements(value)).toHaveLength(1)
    expect(value).toMatch(/^[\x20-\x7e]*$/)
  })

  test("any name is read back as the same name, by either reader", () => {
    const text = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.string({ unit: fc.constantFrom('"', "\\", ";", ",", "=", "+", "#", " ", "a", "é") }),
    )
    const attribute = fc.tuple(
      fc.constantFrom("2.5.4.3", "2.5.4.10", "1.2.3.4"),
      text.filter((value) => value.isWellFormed()),
    )
    const name = fc.array(attribute, { maxLength: 4 }).map((all) => all.map(([oid, value]) => [{ oid, text: value }]))
    fc.assert(
      fc.property(name, fc.array(fc.string().map(uri), { maxLength: 3 }), (subject, uris) => {
        const value = format(subject, ...uris)
        const [pairs = [], ...others] = readElements(value)
        expect(others).toEqual([])
        expect(readNaively(value)).toEqual(pairs)
        expect(pairs.map(([key]) => key).filter((key) => key !== "URI")).toEqual(["Hash", "Subject"])
        if (subject.length === 0) return
        const parsed = parseRfc4514(pairs[1]?.[1] ?? "")
        expect("name" in parsed && nameKey(parsed.name)).toBe(nameKey(subject))
      }),
      { seed: 4, numRuns: 1_000 },
    )
  })
})

const examples = readDataSet("client-cert-header/envoy-xfcc-examples.json") as
  | { readonly examples: readonly string[] }
  | undefined

describe.skipIf(examples === undefined)("Envoy's examples", () => {
  test.each(examples?.examples ?? [])("%s is read by the reader of these tests", (example) => {
    const elements = readElements(example)
    expect(
      elements
        .map((pairs) =>
          pairs.map(([key, value]) => (key === "Subject" ? `${key}="${value}"` : `${key}=${value}`)).join(";"),
        )
        .join(","),
    ).toBe(example)
    expect(elements.flat().filter(([key]) => !/^(?:By|Hash|Subject|URI|DNS)$/.test(key))).toEqual([])
  })

  test.each(examples?.examples ?? [])("hash and URI of %s are written as they stand there", (example) => {
    const pairs = new Map(readElements(example)[0])
    const own = formatXfcc({
      fingerprint: pairs.get("Hash") ?? "",
      subject: [],
      subjectAltNames: [uri(pairs.get("URI") ?? "")],
    })
    for (const part of own.split(";").filter((pair) => !pair.startsWith("Subject="))) expect(example).toContain(part)
  })
})

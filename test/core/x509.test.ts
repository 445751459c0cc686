/**
 * Goal: the facts of a certificate are exactly what its octets say, or there are none. Method: certificates minted with a
 * real signature, extensions written octet by octet, 5,000 mutations, and 194 chains of x509-limbo held against Node.
 */
// First, because the package of certificates does not load without it.
import "../../cli/pki/reflection.ts"
import { X509Certificate } from "node:crypto"
import * as x509 from "@peculiar/x509"
import * as fc from "fast-check"
import { beforeAll, describe, expect, test } from "vitest"
import { formatRfc4514 } from "../../src/core/certificate/distinguished-name.ts"
import { EKU_CLIENT_AUTH, parseX509, type X509Facts } from "../../src/core/certificate/x509.ts"
import { readDataSet } from "../conformance.ts"
import {
  CLIENT_AUTH,
  der,
  derOfPem,
  hex,
  mintLeaf,
  NOT_AFTER_MS,
  NOT_BEFORE_MS,
  octetsOf,
  patch,
  rawExtension,
  SERVER_AUTH,
  subjectAltNames,
  type LeafOptions,
} from "./certificate-fixtures.ts"

const KEY_USAGE = "2.5.29.15"
const BASIC_CONSTRAINTS = "2.5.29.19"
const AUTHORITY_KEY_ID = "2.5.29.35"
const EXTENDED_KEY_USAGE = "2.5.29.37"
const URI = 0x86
const DNS = 0x82

async function factsOf(options: LeafOptions): Promise<X509Facts | undefined> {
  return parseX509(await mintLeaf(options))
}

async function factsWith(...extensions: readonly x509.Extension[]): Promise<X509Facts | undefined> {
  return await factsOf({ extensions })
}

describe("parseX509()", () => {
  let facts: X509Facts | undefined

  beforeAll(async () => {
    facts = await factsWith(
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([CLIENT_AUTH, SERVER_AUTH]),
      new x509.SubjectAlternativeNameExtension([{ type: "url", value: "spiffe://acme/acme-a" }]),
      rawExtension("2.5.29.14", der(0x04, hex("aabb"))),
      new x509.AuthorityKeyIdentifierExtension("27846E5E89A3C0F4"),
    )
  })

  test.each([
    ["serial", "0a1b2c3d"],
    ["notBeforeMs", NOT_BEFORE_MS],
    ["notAfterMs", NOT_AFTER_MS],
    ["subjectAltNames", [{ type: "uri", value: "spiffe://acme/acme-a" }]],
    ["extendedKeyUsages", [EKU_CLIENT_AUTH, SERVER_AUTH]],
    ["allowsSignature", true],
    ["isCa", false],
    ["subjectKeyId", "aabb"],
    ["authorityKeyId", "27846e5e89a3c0f4"],
  ] as const)("reads %s", (name, expected) => {
    expect(facts?.[name]).toEqual(expected)
  })

  test("reads subject and issuer", () => {
    expect([facts?.subject, facts?.issuer].map((name) => name && formatRfc4514(name))).toEqual([
      "CN=acme-a,O=Acme,C=JP",
      "CN=Test CA",
    ])
  })

  test("returns the SubjectPublicKeyInfo that Node reads", async () => {
    const leaf = await mintLeaf()
    const { publicKey } = new X509Certificate(leaf)
    expect(Buffer.from(parseX509(leaf)?.publicKey ?? [])).toEqual(publicKey.export({ type: "spki", format: "der" }))
  })

  test("reports absent extensions as absent", async () => {
    expect(await factsWith()).toMatchObject({
      subjectAltNames: [],
      extendedKeyUsages: undefined,
      allowsSignature: true,
      isCa: false,
      subjectKeyId: undefined,
      authorityKeyId: undefined,
    })
  })

  test("drops the sign octet of a serial number", async () => {
    expect((await factsOf({ serialNumber: "00ff01" }))?.serial).toBe("ff01")
  })

  test.each([
    ["nothing", new Uint8Array()],
    ["an empty sequence", der(0x30)],
    ["a sequence of sequences", der(0x30, der(0x30), der(0x30), der(0x03, hex("00")))],
  ])("refuses %s", (_, octets) => {
    expect(parseX509(octets)).toBeUndefined()
  })

  test("refuses octets behind the certificate", async () => {
    expect(parseX509(Buffer.concat([await mintLeaf(), hex("00")]))).toBeUndefined()
  })
})

describe("subject alternative names", () => {
  test("keep type and octets of every kind", async () => {
    const names = [
      [0x81, "ops@acme.test"],
      [DNS, "acme.test"],
      [URI, "spiffe://acme/acme-a"],
      [0x87, hex("7f000001")],
      [0xa4, der(0x30)],
      [0xa0, der(0x06, hex("550403"))],
      [0x88, hex("550403")],
    ] as const
    expect((await factsWith(subjectAltNames(...names)))?.subjectAltNames.map(({ type }) => type)).toEqual([
      "email",
      "dns",
      "uri",
      "ip",
      "directory",
      "other",
      "other",
    ])
  })

  // IDN-07, IDN-09: what a printed form would cut or split.
  test.each([
    ["a NUL", "spiffe://acme/acme-a\0/evil"],
    ["a comma and another URI", "spiffe://acme/x, URI:spiffe://acme/acme-a"],
    ["a line feed", "spiffe://acme/x\nURI:spiffe://acme/acme-a"],
    ["an octet above 127", "spiffe://acme/\xe9"],
    ["nothing", ""],
  ])("keep %s inside the one name that holds it", async (_, value) => {
    expect((await factsWith(subjectAltNames([URI, value])))?.subjectAltNames).toEqual([{ type: "uri", value }])
  })

  // IDN-10
  test.each([
    ["email", 0x81],
    ["dns", DNS],
    ["other", 0xa0],
  ] as const)("of type %s stay of that type whatever their text looks like", async (type, tag) => {
    const value = tag === 0xa0 ? der(0x0c, "spiffe://acme/acme-a") : "spiffe://acme/acme-a"
    expect((await factsWith(subjectAltNames([tag, value])))?.subjectAltNames).toEqual([
      { type, value: Buffer.from(octetsOf(value)).toString("latin1") },
    ])
  })
})

describe("extensions", () => {
  test.each([
    ["digitalSignature", hex("03020780"), true],
    ["keyEncipherment only", hex("03020520"), false],
    ["keyCertSign and cRLSign", hex("03020106"), false],
  ])("allow signatures by key usage %s", async (_, value, expected) => {
    expect((await factsWith(rawExtension(KEY_USAGE, value)))?.allowsSignature).toBe(expected)
  })

  test.each([
    ["an empty sequence", der(0x30), false],
    ["cA TRUE", hex("30030101ff"), true],
    ["cA TRUE in another encoding", hex("3003010101"), true],
    ["cA FALSE", hex("3003010100"), false],
    ["a path length only", hex("3003020100"), false],
  ])("mark a CA by basic constraints with %s", async (_, value, expected) => {
    expect((await factsWith(rawExtension(BASIC_CONSTRAINTS, value)))?.isCa).toBe(expected)
  })

  test("leave the key identifier out where only issuer and serial name the authority", async () => {
    const value = der(0x30, der(0x82, hex("01")))
    expect(await factsWith(rawExtension(AUTHORITY_KEY_ID, value))).toMatchObject({ authorityKeyId: undefined })
  })

  test("of a kind that is not read may hold anything", async () => {
    expect(await factsWith(rawExtension("1.2.3.4", hex("ff")))).toBeDefined()
  })

  test.each([
    ["a subject alternative name that is no sequence", "2.5.29.17", hex("0500")],
    ["a subject alternative name that is cut off", "2.5.29.17", hex("3002 8605")],
    ["octets behind a subject alternative name", "2.5.29.17", hex("3000 00")],
    ["an extended key usage with something else inside", EXTENDED_KEY_USAGE, hex("3002 0500")],
    ["an extended key usage with a malformed purpose", EXTENDED_KEY_USAGE, hex("3003 060180")],
    ["a key usage without bits", KEY_USAGE, hex("030100")],
    ["a key usage that leaves more than seven bits unused", KEY_USAGE, hex("03020880")],
    ["a key usage that is no bit string", KEY_USAGE, hex("0400")],
    ["basic constraints that are no sequence", BASIC_CONSTRAINTS, hex("0101ff")],
    ["basic constraints that are cut off", BASIC_CONSTRAINTS, hex("3002 0101")],
    ["an authority key identifier that is cut off", AUTHORITY_KEY_ID, hex("3002 8005")],
    ["an authority key identifier that is empty", AUTHORITY_KEY_ID, hex("3002 8000")],
    ["an authority key identifier that is no sequence", AUTHORITY_KEY_ID, hex("8001aa")],
    ["a subject key identifier that is no octet string", "2.5.29.14", hex("0500")],
    ["octets that are no DER", EXTENDED_KEY_USAGE, hex("ff")],
  ])("make the certificate unreadable with %s", async (_, oid, value) => {
    expect(await factsWith(rawExtension(oid, value))).toBeUndefined()
  })

  test("make the certificate unreadable when one occurs twice", async () => {
    const san = (value: string) => subjectAltNames([URI, value])
    expect(await factsWith(san("spiffe://acme/acme-a"), san("spiffe://acme/acme-b"))).toBeUndefined()
  })
})

describe("structure", () => {
  /** A certificate without signature, from the fields of its body. */
  function assemble(subject: Uint8Array, ...blocks: readonly Uint8Array[]): Uint8Array {
    const validity = der(0x30, der(0x17, "260101000000Z"), der(0x17, "270101000000Z"))
    const fields = [der(0x02, hex("01")), der(0x30), der(0x30), validity, subject, der(0x30), ...blocks]
    return der(0x30, der(0x30, ...fields))
  }
  const empty = der(0x30)

  test("parseX509() reads the assembled certificate", () => {
    expect(parseX509(assemble(empty, der(0xa3, der(0x30))))).toMatchObject({ serial: "01", subjectAltNames: [] })
  })

  test.each([
    ["two blocks of extensions", assemble(empty, der(0xa3, der(0x30)), der(0xa3, der(0x30)))],
    ["two lists in one block of extensions", assemble(empty, der(0xa3, der(0x30), der(0x30)))],
    ["a block of extensions without list", assemble(empty, der(0xa3))],
    ["a malformed subject", assemble(der(0x31))],
  ])("parseX509() refuses %s", (_, octets) => {
    expect(parseX509(octets)).toBeUndefined()
  })

  test.each([
    [4, true],
    [20, false],
  ])("parseX509() judges a subject value of %i levels as readable: %s", (depth, expected) => {
    let value = der(0x30)
    for (let i = 1; i < depth; i++) value = der(0x30, value)
    const subject = der(0x30, der(0x31, der(0x30, der(0x06, hex("550403")), value)))
    expect(parseX509(assemble(subject)) !== undefined).toBe(expected)
  })
})

describe("validity", () => {
  test.each([
    ["1950-01-01T00:00:00Z", "500101000000Z"],
    ["2049-12-31T23:59:59Z", "491231235959Z"],
    ["2000-02-29T12:00:00Z", "000229120000Z"],
  ])("reads the UTCTime of %s", async (iso, text) => {
    const leaf = patch(await mintLeaf(), "260105000000Z", text)
    expect(parseX509(leaf)?.notBeforeMs).toBe(Date.parse(iso))
  })

  test.each([
    ["2050-01-01T00:00:00Z", "20500101000000Z"],
    ["9999-12-31T23:59:59Z", "99991231235959Z"],
  ])("reads the GeneralizedTime of %s", async (iso, text) => {
    const leaf = patch(await mintLeaf({ notAfter: new Date(Date.UTC(2060, 0, 1)) }), "20600101000000Z", text)
    expect(parseX509(leaf)?.notAfterMs).toBe(Date.parse(iso))
  })

  test.each([
    "260230000000Z",
    "261301000000Z",
    "260100000000Z",
    "260101240000Z",
    "260101006000Z",
    "260101000060Z",
    "2601050000+00",
    "26010500000Z ",
    "26010500000\u06f0Z".slice(0, 13),
  ])("refuses the UTCTime %j", async (text) => {
    const leaf = patch(await mintLeaf(), "260105000000Z", text)
    expect(parseX509(leaf)).toBeUndefined()
  })

  test.each(["00500101000000Z", "00990101000000Z", "20600101000000z", "2060010100000.0", "20600101000000+"])(
    "refuses the GeneralizedTime %j",
    async (text) => {
      const leaf = patch(await mintLeaf({ notAfter: new Date(Date.UTC(2060, 0, 1)) }), "20600101000000Z", text)
      expect(parseX509(leaf)).toBeUndefined()
    },
  )
})

describe("mutations", () => {
  test("never make parseX509() throw, nor return a name that is not in the octets", async () => {
    const original = await mintLeaf({
      extensions: [
        new x509.ExtendedKeyUsageExtension([CLIENT_AUTH]),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        subjectAltNames([URI, "spiffe://acme/acme-a"], [DNS, "acme.test"]),
        new x509.AuthorityKeyIdentifierExtension("27846E5E89A3C0F4"),
      ],
    })
    const mutation = fc.record({
      kind: fc.constantFrom("flip", "insert", "delete"),
      at: fc.nat(original.length - 1),
      octet: fc.nat(255),
      bit: fc.nat(7),
    })
    let parsed = 0
    fc.assert(
      fc.property(fc.array(mutation, { minLength: 1, maxLength: 3 }), (mutations) => {
        const octets = [...original]
        for (const { kind, at, octet, bit } of mutations) {
          if (kind === "flip") octets[at] = (octets[at] ?? 0) ^ (1 << bit)
          else if (kind === "insert") octets.splice(at, 0, octet)
          else octets.splice(at, 1)
        }
        const mutated = Uint8Array.from(octets)
        const facts = parseX509(mutated)
        if (facts === undefined) return
        parsed += 1
        const text = Buffer.from(mutated).toString("latin1")
        for (const { value } of facts.subjectAltNames) expect(text).toContain(value)
      }),
      { seed: 7, numRuns: 5_000 },
    )
    // Flips inside names, keys and the signature leave a certificate that reads well: the property is not empty.
    expect(parsed).toBeGreaterThan(500)
  })
})

interface Limbo {
  readonly testcases: readonly { readonly id: string; readonly peer_certificate: string }[]
}
const limbo = readDataSet("x509/limbo.json") as Limbo | undefined

describe.skipIf(limbo === undefined)("x509-limbo", () => {
  const leaves = (limbo?.testcases ?? []).map(({ id, peer_certificate: pem }) => ({
    id,
    pem,
    facts: parseX509(derOfPem(pem)),
  }))
  const read = leaves.filter(({ facts }) => facts !== undefined)

  test("parseX509() refuses the malformed leaves and no other", () => {
    expect(leaves.filter(({ facts }) => facts === undefined).map(({ id }) => id)).toEqual([
      "rfc5280::san::malformed",
      "rfc5280::duplicate-extensions",
    ])
  })

  test("parseX509() reads the serial numbers that Node reads, negative ones as their octets", () => {
    const differing = read.filter(({ facts, pem }) => {
      const serial = new X509Certificate(pem).serialNumber.toLowerCase()
      return facts?.serial.replace(/^0+/, "") !== serial.replace(/^0+/, "")
    })
    expect(differing.map(({ id }) => id)).toEqual(["rfc5280::serial::negative"])
  })

  test("parseX509() reads the validities that Node reads", () => {
    const differing = read.filter(({ facts, pem }) => {
      const { validFromDate, validToDate } = new X509Certificate(pem)
      return facts?.notBeforeMs !== validFromDate.getTime() || facts.notAfterMs !== validToDate.getTime()
    })
    expect(differing.map(({ id }) => id)).toEqual([])
  })

  // Node also asks key usage; refusing more is right where the leaf calls itself a CA.
  test("parseX509() takes every leaf for a CA that Node takes for one", () => {
    const differing = read.filter(({ facts, pem }) => new X509Certificate(pem).ca && facts?.isCa !== true)
    expect(differing.map(({ id }) => id)).toEqual([])
  })
})

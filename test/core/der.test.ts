/**
 * Goal: two readers of the same octets never see two structures. Method: encodings at the borders of X.690, and random
 * trees that are written and read back.
 */
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { DER_DEPTH_MAX } from "../../src/core/bounds.ts"
import {
  isNestingBounded,
  readChildren,
  readDer,
  readOid,
  readText,
  readUtf8,
  TAG,
} from "../../src/core/certificate/der.ts"
import { formatHex } from "../../src/core/hex.ts"
import { der, hex } from "./certificate-fixtures.ts"

describe("readDer()", () => {
  test.each([
    ["a short length", "04 02 aabb", "aabb"],
    ["an empty content", "05 00", ""],
    ["a length of one octet", `04 81 80 ${"ab".repeat(128)}`, "ab".repeat(128)],
    ["a length of two octets", `04 82 0100 ${"ab".repeat(256)}`, "ab".repeat(256)],
  ])("reads %s", (_, octets, content) => {
    expect(formatHex(readDer(hex(octets))?.content ?? hex("00"))).toBe(content)
  })

  test.each([
    ["nothing", ""],
    ["a tag without a length", "04"],
    ["a content that ends early", "04 02 aa"],
    ["octets behind the element", "04 01 aa bb"],
    ["the indefinite length", "30 80 0000"],
    ["a length in a longer form than needed", "04 81 01 aa"],
    ["a length with a leading zero", `04 82 0080 ${"ab".repeat(128)}`],
    ["a length that ends early", "04 82 01"],
    ["a length of four octets", "04 84 00000001 aa"],
    ["a tag number above 30", "1f 81 00 00"],
  ])("refuses %s", (_, octets) => {
    expect(readDer(hex(octets))).toBeUndefined()
  })

  test("reads back what was written, whatever is nested in what", () => {
    const { tree } = fc.letrec<{ tree: Uint8Array }>((tie) => ({
      tree: fc.oneof(
        { maxDepth: 4 },
        fc.uint8Array({ maxLength: 300 }).map((content) => der(TAG.octetString, content)),
        fc.array(tie("tree"), { maxLength: 4 }).map((children) => der(TAG.sequence, ...children)),
      ),
    }))
    fc.assert(
      fc.property(fc.array(tree, { maxLength: 4 }), (children) => {
        const parent = readDer(der(TAG.sequence, ...children))
        expect(parent && readChildren(parent)?.map(({ bytes }) => formatHex(bytes))).toEqual(
          children.map((octets) => formatHex(octets)),
        )
      }),
      { seed: 1, numRuns: 300 },
    )
  })

  test("never throws and never returns octets outside its input", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (octets) => {
        const element = readDer(octets)
        if (element === undefined) return
        expect(formatHex(element.bytes)).toBe(formatHex(octets))
        expect(formatHex(octets).endsWith(formatHex(element.content))).toBe(true)
      }),
      { seed: 2, numRuns: 2_000 },
    )
  })
})

describe("readChildren()", () => {
  test("refuses a content whose last element is cut off", () => {
    expect(readChildren({ tag: 0x30, bytes: hex(""), content: hex("0500 0402aa") })).toBeUndefined()
  })
})

describe("isNestingBounded()", () => {
  const nest = (depth: number): Uint8Array => {
    let octets = der(TAG.octetString)
    for (let i = 0; i < depth; i++) octets = der(TAG.sequence, octets)
    return octets
  }

  test.each([
    [DER_DEPTH_MAX, true],
    [DER_DEPTH_MAX + 1, false],
    [1_000, false],
  ])("judges %i levels as %s", (depth, expected) => {
    const element = readDer(nest(depth))
    expect(element && isNestingBounded(element)).toBe(expected)
  })
})

describe("readOid()", () => {
  test.each([
    ["550403", "2.5.4.3"],
    ["2a864886f70d010901", "1.2.840.113549.1.9.1"],
    ["883703", "2.999.3"],
    ["00", "0.0"],
    ["27", "0.39"],
    ["28", "1.0"],
    ["50", "2.0"],
  ])("reads %s", (octets, expected) => {
    expect(readOid(hex(octets))).toBe(expected)
  })

  test.each([
    ["nothing", ""],
    ["an arc that does not end", "5584"],
    ["an arc with leading zeros", "55 80 03"],
    ["an arc above 2^53", "55 ffffffffffffffff7f"],
  ])("refuses %s", (_, octets) => {
    expect(readOid(hex(octets))).toBeUndefined()
  })
})

describe("readText()", () => {
  const read = (octets: Uint8Array): string | undefined => {
    const element = readDer(octets)
    return element && readText(element)
  }

  test.each([
    ["UTF8String", der(TAG.utf8String, hex("e697a5")), "日"],
    ["PrintableString", der(TAG.printableString, "ab"), "ab"],
    ["IA5String", der(TAG.ia5String, "a@b"), "a@b"],
    ["T61String", der(TAG.t61String, hex("e9")), "é"],
    ["BMPString", der(TAG.bmpString, hex("65e5")), "日"],
    ["UniversalString", der(TAG.universalString, hex("0001f600")), "😀"],
  ])("reads a %s", (_, octets, expected) => {
    expect(read(octets)).toBe(expected)
  })

  test("keeps a NUL and what stands behind it", () => {
    expect(read(der(TAG.utf8String, "acme-a\0.evil"))).toBe("acme-a\0.evil")
  })

  test.each([
    ["UTF-8 that is overlong", der(TAG.utf8String, hex("c0af"))],
    ["UTF-8 that encodes a surrogate", der(TAG.utf8String, hex("eda080"))],
    ["an IA5String above 127", der(TAG.ia5String, hex("ff"))],
    ["a BMPString of odd length", der(TAG.bmpString, hex("65"))],
    ["a BMPString with a surrogate", der(TAG.bmpString, hex("d83dde00"))],
    ["a UniversalString above U+10FFFF", der(TAG.universalString, hex("00110000"))],
    ["an element that is no string", der(TAG.integer, hex("01"))],
  ])("refuses %s", (_, octets) => {
    expect(read(octets)).toBeUndefined()
  })
})

test("readUtf8() agrees with the platform's decoder", () => {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
  const decode = (octets: Uint8Array): string | undefined => {
    try {
      return decoder.decode(octets)
    } catch {
      return undefined
    }
  }
  const octets = fc.oneof(
    fc.uint8Array({ maxLength: 8 }),
    fc.string({ unit: "binary" }).map((text) => new Uint8Array(Buffer.from(text))),
  )
  fc.assert(
    fc.property(octets, (input) => {
      expect(readUtf8(input)).toBe(decode(input))
    }),
    { seed: 3, numRuns: 2_000 },
  )
})

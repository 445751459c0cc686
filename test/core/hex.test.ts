/**
 * Goal: hex has one spelling going out and any case coming in. Method: round trips over random octets.
 */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { formatHex, parseHex } from "../../src/core/hex.ts"

test("parseHex() reads what formatHex() writes", () => {
  fc.assert(
    fc.property(fc.uint8Array(), (octets) => {
      expect(parseHex(formatHex(octets).toUpperCase())).toEqual(octets)
    }),
    { seed: 4 },
  )
})

test("formatHex() writes a part as it stands in the whole", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(300), fc.nat(300), (octets, a, b) => {
      const [begin = 0, end = 0] = [a, b].map((at) => Math.min(at, octets.length)).toSorted((x, y) => x - y)
      expect(formatHex(octets, begin, end)).toBe(formatHex(octets).slice(2 * begin, 2 * end))
    }),
    { seed: 5 },
  )
})

test.each(["0", "0g", " 00", "0x00"])("parseHex() refuses %j", (text) => {
  expect(parseHex(text)).toBeUndefined()
})

/**
 * Goal: every value has one text and every text at most one value. Method: the vectors of RFC 4648 without their padding, and
 * properties against Node's own encoder.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { formatBase64url, parseBase64url } from "../../src/core/base64url.ts"

describe("parseBase64url()", () => {
  test.each([
    ["", ""],
    ["f", "Zg"],
    ["fo", "Zm8"],
    ["foo", "Zm9v"],
    ["foob", "Zm9vYg"],
    ["fooba", "Zm9vYmE"],
    ["foobar", "Zm9vYmFy"],
  ])("RFC 4648 §10 reads %j from %s", (octets, text) => {
    expect(Buffer.from(parseBase64url(text) ?? []).toString("latin1")).toBe(octets)
  })

  test.each(["Zg==", "Zm9v=", "Zh", "Zm9", "A", "AAAAA", "Zm 9v", "Zm9v\n", "+/+/", "Zm9vé", "\0AAA"])(
    "RFC 7515 §2 refuses %j",
    (text) => {
      expect(parseBase64url(text)).toBeUndefined()
    },
  )

  test("accepts a text only if it is the one that is written", () => {
    const anyText = fc.string({ unit: fc.constantFrom(...Array.from("AQgw09-_zZ=+/ ")), maxLength: 12 })
    fc.assert(
      fc.property(anyText, (text) => {
        const octets = parseBase64url(text)
        expect(octets === undefined || formatBase64url(octets) === text).toBe(true)
      }),
      { seed: 41, numRuns: 5_000 },
    )
  })
})

test("formatBase64url() writes what Node writes, and reads back", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (octets) => {
      const text = formatBase64url(octets)
      expect(text).toBe(Buffer.from(octets).toString("base64url"))
      expect(parseBase64url(text)).toEqual(Uint8Array.from(octets))
    }),
    { seed: 42, numRuns: 2_000 },
  )
})

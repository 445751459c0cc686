/**
 * Goal: a digest has one meaning in every spelling, and nothing else is taken for one. Method: Node's base64 as the oracle.
 */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { formatSpkiPin, parseSpkiPin } from "../../src/core/certificate/spki-pin.ts"

const digest = fc.uint8Array({ minLength: 32, maxLength: 32 })

test("parseSpkiPin() and formatSpkiPin() agree with Node's base64", () => {
  fc.assert(
    fc.property(digest, (octets) => {
      const hex = Buffer.from(octets).toString("hex")
      const base64 = Buffer.from(octets).toString("base64")
      expect([parseSpkiPin(base64), parseSpkiPin(`sha256/${base64}`), formatSpkiPin(hex)]).toEqual([hex, hex, base64])
    }),
    { seed: 1, numRuns: 500 },
  )
})

test.each([
  ["nothing", ""],
  ["a shorter digest", "ab".repeat(31)],
  ["a longer digest", "ab".repeat(33)],
  ["base64 without padding", "A".repeat(43)],
  ["base64 of 33 octets", "A".repeat(44)],
  ["base64 with bits behind the digest", `${"A".repeat(42)}B=`],
  ["base64url", `${"-".repeat(42)}A=`],
  ["a pin directive", `pin-sha256="${"A".repeat(43)}="`],
])("parseSpkiPin() refuses %s", (_, text) => {
  expect(parseSpkiPin(text)).toBeUndefined()
})

test("parseSpkiPin() reads hex of any case and with colons", () => {
  expect(parseSpkiPin(`${"AB:".repeat(31)}ab`)).toBe("ab".repeat(32))
})

test("formatSpkiPin() has no text for what is no digest", () => {
  expect(["", "zz", "ab".repeat(31)].map(formatSpkiPin)).toEqual(["", "", ""])
})

/**
 * Goal: an id that is adopted is harmless wherever it is written, and a minted one is a UUIDv7. Method: cases at the
 * borders of the grammar, and random instants and octets.
 */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { isRequestId, mintRequestId } from "../../src/core/message/request-id.ts"

test.each(["12345678", "a".repeat(64), "01932C07-b3a1", "A.b_c-d-e-f", "01932c07-0000-7000-8000-000000000001"])(
  "isRequestId() accepts %s",
  (value) => {
    expect(isRequestId(value)).toBe(true)
  },
)

// HDR-15
test.each([
  "",
  "1234567",
  "a".repeat(65),
  "-12345678",
  ".12345678",
  "_12345678",
  "../../<script>alert(1)</script>",
  "12345678\n",
  "1234 5678",
  "1234:5678",
  "1234/5678",
  "日本語日本語日本語",
])("isRequestId() refuses %j", (value) => {
  expect(isRequestId(value)).toBe(false)
})

test("mintRequestId() puts time, version, variant and randomness where RFC 9562 wants them", () => {
  const random = Uint8Array.from([0xff, 0xff, 0xff, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x99])
  expect(mintRequestId(0x0193_2c07_b3a1, random)).toBe("01932c07-b3a1-7fff-bf01-020304050607")
})

test("mintRequestId() returns a well-formed id whose order is that of time", () => {
  const instant = fc.integer({ min: 0, max: 2 ** 48 - 1 })
  const random = fc.uint8Array({ minLength: 10, maxLength: 16 })
  fc.assert(
    fc.property(instant, instant, random, random, (a, b, left, right) => {
      const [first, second] = [mintRequestId(a, left), mintRequestId(b, right)]
      expect(first).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      expect(isRequestId(first)).toBe(true)
      if (a < b) expect(first < second).toBe(true)
    }),
    { seed: 13, numRuns: 500 },
  )
})

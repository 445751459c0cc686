/**
 * The field that tells a client when its certificate ends: an HTTP-date, and never a later one than the refusal.
 */
import { expect, test } from "vitest"
import { formatExpires } from "../../src/core/certificate/expiry-field.ts"

const NOT_AFTER_MS = Date.UTC(2027, 0, 4, 23, 59, 59)

test.each([
  [undefined, "Mon, 04 Jan 2027 23:59:59 GMT"],
  [Date.UTC(2026, 11, 1, 0, 0, 0, 999), "Tue, 01 Dec 2026 00:00:00 GMT"],
  [Date.UTC(2028, 0, 1), "Mon, 04 Jan 2027 23:59:59 GMT"],
])("formatExpires() with a window until %j is %s", (retiresAtMs, expected) => {
  expect(formatExpires(NOT_AFTER_MS, retiresAtMs)).toBe(expected)
})

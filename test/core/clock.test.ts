/**
 * Goal: no clock brings back time that has passed, and none that is wrong stops time for good. Method: the boundaries.
 */
import { describe, expect, test } from "vitest"
import { CLOCK_MS_MAX, effectiveTimeMs, isEffectiveTime } from "../../src/core/clock.ts"

const LAST_MS = 1_790_000_000_000

describe("effectiveTimeMs()", () => {
  test.each([
    ["goes forward", LAST_MS + 1, LAST_MS + 1],
    ["stands still at a step back of 1 ms", LAST_MS - 1, LAST_MS],
    ["stands still at a step back of 60 s", LAST_MS - 60_000, LAST_MS],
    ["follows a step back of 60 s and 1 ms", LAST_MS - 60_001, LAST_MS - 60_001],
    ["stands still at NaN", Number.NaN, LAST_MS],
    ["stands still at a fraction", LAST_MS + 0.5, LAST_MS],
    ["stands still at infinity", Number.POSITIVE_INFINITY, LAST_MS],
    ["follows no further than the last instant", Number.MAX_SAFE_INTEGER, CLOCK_MS_MAX],
    ["follows no further than the first instant", -1, 0],
  ])("effectiveTimeMs() %s", (_, nowMs, expected) => {
    expect(effectiveTimeMs(LAST_MS, nowMs)).toBe(expected)
  })
})

test.each([
  [0, true],
  [CLOCK_MS_MAX, true],
  [CLOCK_MS_MAX + 1, false],
  [-1, false],
  [0.5, false],
  ["0", false],
])("isEffectiveTime(%j) is %s", (value, expected) => {
  expect(isEffectiveTime(value)).toBe(expected)
})

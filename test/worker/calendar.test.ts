/**
 * Goal: workerd has the zone data that quotas are counted by. Method: windows around changes of the clocks, known from
 * elsewhere; the rule itself is tested in `test/core/calendar.test.ts`.
 */
import { expect, test } from "vitest"
import { isKnownTimezone, windowAt } from "../../src/core/limit/calendar.ts"
import type { CalendarUnit } from "../../src/core/limit/calendar.ts"

const known: readonly (readonly [zone: string, unit: CalendarUnit, at: string, start: string, end: string])[] = [
  ["Africa/Cairo", "day", "2024-04-26T12:00Z", "2024-04-25T22:00Z", "2024-04-26T21:00Z"],
  ["America/New_York", "month", "2024-11-30T12:00Z", "2024-11-01T04:00Z", "2024-12-01T05:00Z"],
  ["Asia/Kolkata", "hour", "2025-06-10T18:45Z", "2025-06-10T18:30Z", "2025-06-10T19:30Z"],
  ["Asia/Tokyo", "day", "2025-03-01T14:00Z", "2025-02-28T15:00Z", "2025-03-01T15:00Z"],
  ["Australia/Lord_Howe", "hour", "2024-10-05T15:45Z", "2024-10-05T15:30Z", "2024-10-05T16:00Z"],
]
test.each(known)("windowAt() in %s of the %s around %s begins at %s and ends at %s", (zone, unit, at, start, end) => {
  expect(windowAt(Date.parse(at), unit, zone)).toEqual({ startMs: Date.parse(start), endMs: Date.parse(end) })
})

test("isKnownTimezone() refuses what is no zone", () => {
  expect(["Asia/Nowhere", "+09:00", ""].some(isKnownTimezone)).toBe(false)
})

/**
 * Goal: a duration or a rate is read exactly or not at all. Method: cases of each unit, and random numbers held against
 * exact arithmetic.
 */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { formatDuration, parseDurationMs, parseInstantMs, parseRate } from "../../src/core/time.ts"

test.each([
  ["0ms", 0],
  ["250ms", 250],
  ["10s", 10_000],
  ["5m", 300_000],
  ["1h", 3_600_000],
  ["1d", 86_400_000],
  ["0010s", 10_000],
  ["9007199254s", 9_007_199_254_000],
])("parseDurationMs() reads %s", (text, expected) => {
  expect(parseDurationMs(text)).toBe(expected)
})

test.each(["", "10", "s", "1.5s", "-1s", "+1s", "1 s", "1S", "1min", "1s ", "1e3s", "1000000000000s", "999999999999d"])(
  "parseDurationMs() refuses %j",
  (text) => {
    expect(parseDurationMs(text)).toBeUndefined()
  },
)

test.each([
  ["50/s", 50, 1_000],
  ["100/minute", 100, 60_000],
  ["1000/h", 1_000, 3_600_000],
  ["1/day", 1, 86_400_000],
  ["0.5/s", 1, 2_000],
  ["2.50/second", 5, 2_000],
  ["0.000001/d", 1, 86_400_000_000_000],
  ["999999999.999999/s", 999_999_999_999_999, 1_000_000_000],
])("parseRate() reads %s", (text, count, periodMs) => {
  expect(parseRate(text)).toEqual({ count, periodMs })
})

test.each([
  "",
  "50",
  "/s",
  "0/s",
  "0.0/s",
  "-1/s",
  "1/",
  "1/ms",
  "1/S",
  "1/week",
  "1.0000001/s",
  "1./s",
  ".5/s",
  "1/s ",
  "1e3/s",
  "1/constructor",
  "1/valueof",
])("parseRate() refuses %j", (text) => {
  expect(parseRate(text)).toBeUndefined()
})

test("parseRate() keeps a fraction exactly", () => {
  const digits = fc.integer({ min: 0, max: 6 })
  fc.assert(
    fc.property(fc.nat(10 ** 9), digits, fc.constantFrom("s", "minute", "h", "day"), (number, places, unit) => {
      const digitsText = String(number).padStart(places + 1, "0")
      const text = places === 0 ? digitsText : `${digitsText.slice(0, -places)}.${digitsText.slice(-places)}`
      const rate = parseRate(`${text}/${unit}`)
      const unitMs = { s: 1_000, minute: 60_000, h: 3_600_000, day: 86_400_000 }[unit] ?? 0
      if (number === 0 || digitsText.length - places > 9) return
      // count / periodMs = (number / 10^places) / unitMs, as integers.
      expect(rate).toBeDefined()
      expect(BigInt(rate?.count ?? 0) * BigInt(10 ** places) * BigInt(unitMs)).toBe(
        BigInt(number) * BigInt(rate?.periodMs ?? 0),
      )
    }),
    { seed: 14, numRuns: 1_000 },
  )
})

test.each([
  [0, "0ms"],
  [250, "250ms"],
  [90_000, "90s"],
  [60_000, "1m"],
  [7_200_000, "2h"],
  [172_800_000, "2d"],
])("formatDuration() writes %i ms as %s", (durationMs, expected) => {
  expect(formatDuration(durationMs)).toBe(expected)
})

test("formatDuration() writes what parseDurationMs() reads back", () => {
  fc.assert(
    fc.property(fc.nat(10 ** 9), (durationMs) => {
      expect(parseDurationMs(formatDuration(durationMs))).toBe(durationMs)
    }),
    { seed: 15 },
  )
})

test.each([
  ["2027-01-31", Date.UTC(2027, 0, 31)],
  ["2028-02-29T00:00:00Z", Date.UTC(2028, 1, 29)],
  ["2027-01-31T12:00:00+09:00", Date.UTC(2027, 0, 31, 3)],
  ["2027-01-31t12:00:00.5-00:30", Date.UTC(2027, 0, 31, 12, 30, 0, 500)],
  ["2027-01-31 12:00:00z", Date.UTC(2027, 0, 31, 12)],
])("parseInstantMs() reads %s", (text, expected) => {
  expect(parseInstantMs(text)).toBe(expected)
})

test.each([
  "",
  "2027",
  "2027-01",
  "2027-1-31",
  "2027-02-29",
  "2027-13-01",
  "2027-01-31T12:00:00",
  "2027-01-31T12:00Z",
  "2027-01-31T24:00:00Z",
  "2027-01-31T12:00:60Z",
  "2027-01-31T12:00:00+24:00",
  "2027-01-31T12:00:00+0900",
  "1969-12-31T23:59:59Z",
  "0001-01-01",
  " 2027-01-31",
  "12:00:00.000",
])("parseInstantMs() refuses %j", (text) => {
  expect(parseInstantMs(text)).toBeUndefined()
})

test("parseInstantMs() reads back what a date prints", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: Date.UTC(9999, 11, 31) }), (ms) => {
      expect(parseInstantMs(new Date(ms).toISOString())).toBe(ms)
    }),
    { seed: 23, numRuns: 1_000 },
  )
})

/**
 * Goal: a local hour, day or month is exactly as long as the zone's clocks make it. Method: a slow reference that walks
 * through time minute by minute, reads the local clock and notes where a new unit is shown for the first time; it is
 * walked over every change of the clocks of seven zones in five years and over the oddest changes since 1970. Dates that
 * are known from elsewhere, by hand.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { CALENDAR_UNITS, isKnownTimezone, windowAt } from "../../src/core/limit/calendar.ts"
import type { CalendarUnit, CalendarWindow } from "../../src/core/limit/calendar.ts"
import { CLOCK_MS_MAX } from "../../src/core/clock.ts"

const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000
const DAY_MS = 86_400_000
const FROM_MS = Date.UTC(2023, 0, 1)
const UNTIL_MS = Date.UTC(2028, 0, 1)
const ZONES = [
  "Africa/Cairo",
  "America/New_York",
  "Asia/Kolkata",
  "Australia/Lord_Howe",
  "Pacific/Apia",
  "UTC",
  "Asia/Tokyo",
]

/** Returns a function that reads the local clock as text that sorts like time: `2024-04-26 01:00`. */
function createClock(timeZone: string): (atMs: number) => string {
  const format = new Intl.DateTimeFormat("sv-SE", { timeZone, dateStyle: "short", timeStyle: "short" })
  return (atMs) => format.format(atMs)
}

/** How much of a reading names its unit. */
const LENGTH: Readonly<Record<CalendarUnit, number>> = { hour: 13, day: 10, month: 7 }

/** Walks from one instant to another and returns those at which a unit is shown that was never shown before. */
function beginningsBetween(zone: string, unit: CalendarUnit, fromMs: number, untilMs: number, stepMs = MINUTE_MS) {
  const read = createClock(zone)
  const beginnings: number[] = []
  let latest = read(fromMs).slice(0, LENGTH[unit])
  for (let atMs = fromMs + stepMs; atMs <= untilMs; atMs += stepMs) {
    const shown = read(atMs).slice(0, LENGTH[unit])
    if (shown <= latest) continue
    latest = shown
    beginnings.push(atMs)
  }
  return beginnings
}

/** Returns whether the zone changes its clocks between two instants on full minutes. */
function isChangedBetween(zone: string, fromMs: number, untilMs: number): boolean {
  const read = createClock(zone)
  // Readings as if in UTC; their difference to the instant is the offset.
  const offset = (atMs: number) => Date.parse(`${read(atMs).replace(" ", "T")}Z`) - atMs
  return offset(fromMs) !== offset(untilMs)
}

/** Returns the days, as instants of 00:00 UTC, within which the zone changes its clocks. */
function changeDays(zone: string): readonly number[] {
  const days: number[] = []
  for (let dayMs = FROM_MS; dayMs < UNTIL_MS; dayMs += DAY_MS) {
    if (isChangedBetween(zone, dayMs, dayMs + DAY_MS)) days.push(dayMs)
  }
  return days
}

/** Asserts that the windows between the beginnings are those of the reference, asked for at both ends and inside. */
function expectWindows(zone: string, unit: CalendarUnit, beginnings: readonly number[]): void {
  for (const [index, startMs] of beginnings.slice(0, -1).entries()) {
    const endMs = beginnings[index + 1] ?? 0
    const inside = [1, 3, 4, 5, 7].map((eighth) => startMs + ((endMs - startMs) / 8) * eighth)
    for (const atMs of [startMs, startMs + 1, ...inside, endMs - 1]) {
      const actual = windowAt(atMs, unit, zone)
      if (actual.startMs !== startMs || actual.endMs !== endMs) {
        expect.fail(`${zone} ${unit} at ${iso(atMs)}: ${show(actual)}, not ${show({ startMs, endMs })}`)
      }
    }
  }
}

function iso(atMs: number): string {
  return new Date(atMs).toISOString()
}

function show({ startMs, endMs }: CalendarWindow): string {
  return `${iso(startMs)} to ${iso(endMs)}`
}

describe("windowAt() equals the slow reference", () => {
  test.each(ZONES)("windowAt() of hours and days around every change of the clocks and of the year in %s", (zone) => {
    const changes = changeDays(zone)
    // Four of these zones have no summer time in these years; the others change twice a year.
    expect(changes).toHaveLength(["Africa/Cairo", "America/New_York", "Australia/Lord_Howe"].includes(zone) ? 10 : 0)
    for (const dayMs of [...changes, Date.UTC(2024, 1, 29), Date.UTC(2024, 11, 31)]) {
      for (const unit of ["hour", "day"] as const) {
        expectWindows(zone, unit, beginningsBetween(zone, unit, dayMs - 2 * DAY_MS, dayMs + 3 * DAY_MS))
      }
    }
  })

  test.each(ZONES)("windowAt() of months from 2023 to 2027 in %s", (zone) => {
    // Quarters of an hour suffice: no zone begins a month in between.
    const beginnings: number[] = []
    for (let month = 0; month < 60; month++) {
      const aroundMs = Date.UTC(2023, month)
      beginnings.push(...beginningsBetween(zone, "month", aroundMs - DAY_MS, aroundMs + DAY_MS, 15 * MINUTE_MS))
    }
    expect(beginnings).toHaveLength(60)
    expectWindows(zone, "month", beginnings)
  })

  const odd: readonly (readonly [zone: string, what: string, dayMs: number])[] = [
    ["Pacific/Apia", "leaves out 30 December 2011", Date.UTC(2011, 11, 30)],
    ["Pacific/Kwajalein", "leaves out 21 August 1993", Date.UTC(1993, 7, 21)],
    ["America/St_Johns", "shows midnight twice, a minute after it", Date.UTC(2010, 10, 7)],
    ["America/Havana", "shows midnight twice, an hour after it", Date.UTC(2024, 10, 3)],
    ["Africa/Cairo", "goes back from midnight into the day before", Date.UTC(2024, 9, 31)],
    ["America/Asuncion", "skips midnight", Date.UTC(2023, 9, 1)],
    ["Antarctica/Troll", "changes by two hours", Date.UTC(2024, 9, 27)],
    ["Antarctica/Casey", "goes forward by three hours", Date.UTC(2019, 9, 4)],
    ["Antarctica/Casey", "goes back by three hours", Date.UTC(2020, 2, 7)],
    ["Asia/Pyongyang", "goes forward by half an hour at 23:30", Date.UTC(2018, 4, 4)],
    ["Asia/Kathmandu", "is 5:45 ahead, since it went forward by 15 minutes", Date.UTC(1985, 11, 31)],
    ["America/Boa_Vista", "changes twice within a week", Date.UTC(2000, 9, 8)],
    ["Africa/El_Aaiun", "changes twice around Ramadan", Date.UTC(2024, 2, 10)],
    ["America/Caracas", "goes forward by half an hour", Date.UTC(2016, 4, 1)],
    ["Pacific/Chatham", "is 12:45 ahead", Date.UTC(2024, 8, 28)],
    ["Antarctica/Vostok", "goes back by two hours", Date.UTC(2023, 11, 17)],
  ]
  test.each(odd)("windowAt() where %s %s", (zone, _, dayMs) => {
    expect(isChangedBetween(zone, dayMs - 3 * DAY_MS, dayMs + 4 * DAY_MS)).toBe(true)
    for (const unit of ["hour", "day"] as const) {
      expectWindows(zone, unit, beginningsBetween(zone, unit, dayMs - 3 * DAY_MS, dayMs + 4 * DAY_MS))
    }
  })
})

describe("windowAt()", () => {
  const instants = fc.integer({ min: 0, max: Date.UTC(2100, 0, 1) })
  const zones = fc.constantFrom(...Intl.supportedValuesOf("timeZone"))
  const units = fc.constantFrom(...CALENDAR_UNITS)

  test("windowAt() contains its instant, and its neighbours touch it, in every zone of the runtime", () => {
    fc.assert(
      fc.property(instants, units, zones, (atMs, unit, zone) => {
        const window = windowAt(atMs, unit, zone)
        expect(window.startMs).toBeLessThanOrEqual(atMs)
        expect(window.endMs).toBeGreaterThan(atMs)
        expect(windowAt(window.endMs, unit, zone).startMs).toBe(window.endMs)
        if (window.startMs > 0) expect(windowAt(window.startMs - 1, unit, zone).endMs).toBe(window.startMs)
      }),
      { seed: 151, numRuns: 3000 },
    )
  })

  test("windowAt() of five years of days in each zone leaves no gap", () => {
    for (const zone of ZONES) {
      let atMs = FROM_MS
      let count = 0
      for (; atMs < UNTIL_MS; count++) atMs = windowAt(atMs, "day", zone).endMs
      // 1826 days of UTC; a zone beside it shows the end of one day more.
      expect(count).toBe(zone === "UTC" ? 1826 : 1827)
    }
  })

  const known: readonly (readonly [zone: string, unit: CalendarUnit, at: string, start: string, end: string])[] = [
    ["Africa/Cairo", "day", "2024-04-26T12:00Z", "2024-04-25T22:00Z", "2024-04-26T21:00Z"],
    ["Africa/Cairo", "day", "2024-10-31T20:30Z", "2024-10-30T21:00Z", "2024-10-31T22:00Z"],
    ["America/New_York", "day", "2024-03-10T12:00Z", "2024-03-10T05:00Z", "2024-03-11T04:00Z"],
    ["America/New_York", "hour", "2024-11-03T06:30Z", "2024-11-03T05:00Z", "2024-11-03T07:00Z"],
    ["America/New_York", "month", "2024-11-30T12:00Z", "2024-11-01T04:00Z", "2024-12-01T05:00Z"],
    ["Australia/Lord_Howe", "hour", "2024-04-06T15:10Z", "2024-04-06T14:00Z", "2024-04-06T15:30Z"],
    ["Australia/Lord_Howe", "hour", "2024-10-05T15:45Z", "2024-10-05T15:30Z", "2024-10-05T16:00Z"],
    ["Asia/Kolkata", "hour", "2025-06-10T18:45Z", "2025-06-10T18:30Z", "2025-06-10T19:30Z"],
    ["Pacific/Apia", "day", "2011-12-30T09:00Z", "2011-12-29T10:00Z", "2011-12-30T10:00Z"],
    ["Pacific/Apia", "day", "2011-12-30T11:00Z", "2011-12-30T10:00Z", "2011-12-31T10:00Z"],
    ["UTC", "month", "2024-02-29T12:00Z", "2024-02-01T00:00Z", "2024-03-01T00:00Z"],
  ]
  test.each(known)("windowAt() in %s of the %s around %s begins at %s and ends at %s", (zone, unit, at, start, end) => {
    expect(show(windowAt(Date.parse(at), unit, zone))).toBe(`${iso(Date.parse(start))} to ${iso(Date.parse(end))}`)
  })

  test("windowAt() counts the milliseconds of an instant", () => {
    expect(windowAt(HOUR_MS - 1, "hour", "UTC")).toEqual({ startMs: 0, endMs: HOUR_MS })
    expect(windowAt(HOUR_MS, "hour", "UTC")).toEqual({ startMs: HOUR_MS, endMs: 2 * HOUR_MS })
  })

  test.each([Number.NaN, Number.NEGATIVE_INFINITY, -1, -8.64e15, -0])("windowAt(%d) is the first window", (atMs) => {
    expect(windowAt(atMs, "day", "UTC")).toEqual({ startMs: 0, endMs: DAY_MS })
  })

  test.each([CLOCK_MS_MAX + 1, 8.64e15, Number.MAX_SAFE_INTEGER, Number.POSITIVE_INFINITY])(
    "windowAt(%d) is the last window",
    (atMs) => {
      expect(windowAt(atMs, "day", "UTC")).toEqual({ startMs: CLOCK_MS_MAX + 1 - DAY_MS, endMs: CLOCK_MS_MAX + 1 })
    },
  )

  test("windowAt() takes a zone that nobody knows for UTC", () => {
    expect(windowAt(DAY_MS, "day", "Mars/Olympus_Mons")).toEqual(windowAt(DAY_MS, "day", "UTC"))
  })
})

describe("isKnownTimezone()", () => {
  test.each([...ZONES, "asia/tokyo", "Etc/GMT+5", "America/Argentina/Buenos_Aires", "EST5EDT"])(
    "isKnownTimezone() accepts %s",
    (zone) => {
      expect(isKnownTimezone(zone)).toBe(true)
    },
  )

  test.each(["", "+09:00", "-05", "Asia/Nowhere", " UTC", "UTC ", "Asia/Tokyo\n", "東京", "A".repeat(65), "__proto__"])(
    "isKnownTimezone() refuses %j",
    (zone) => {
      expect(isKnownTimezone(zone)).toBe(false)
    },
  )

  test("isKnownTimezone() stays right when more zones are asked for than are remembered", () => {
    const asked = Array.from({ length: 250 }, (_, index) => `No/Zone_${index}`)
    expect(asked.some(isKnownTimezone)).toBe(false)
    expect(ZONES.every(isKnownTimezone)).toBe(true)
  })
})

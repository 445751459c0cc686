/**
 * The local calendar: from when to when an hour, a day or a month lasts on the clocks of a time zone.
 *
 * A unit begins at the first instant at which the local clock shows its beginning or anything later. So a day whose
 * midnight is skipped begins with the change of the clocks, a midnight or an hour that is shown twice begins nothing the
 * second time, and a day that the zone left out has no window. Windows follow each other without gap or overlap.
 *
 * Zone data are the runtime's, through Intl. Total; remembers formatters and the list of zones. `core/limit/quota.ts` calls it when a
 * window has ended, not for every request.
 */
import { TIMEZONE_CACHE_ENTRIES_MAX } from "../bounds.ts"
import { CLOCK_MS_MAX } from "../clock.ts"

/** Local units that a quota can count by. */
export const CALENDAR_UNITS = ["hour", "day", "month"] as const
export type CalendarUnit = (typeof CALENDAR_UNITS)[number]

/** From `startMs` inclusive to `endMs` exclusive, both in epoch ms. */
export interface CalendarWindow {
  readonly startMs: number
  readonly endMs: number
}

/** No zone has been further from UTC since 1970 than 14 h. */
const OFFSET_MS_MAX = 15 * 3_600_000
/** No zone has changed its clocks twice within this time since 1970; the closest two changes were 166 h apart. */
const CHANGE_FREE_MS = 2 * OFFSET_MS_MAX

/** Formatters by zone as it was asked for, null for one that the runtime does not know. */
const formatters = new Map<string, Intl.DateTimeFormat | null>()

/** The zones that the runtime lists, once somebody has asked. */
let listed: ReadonlySet<string> | undefined

/**
 * Returns true for a zone of the IANA database that this runtime knows, such as `Asia/Tokyo`; upper and lower case are
 * alike. A bare offset (`+09:00`) is none: it has no calendar of its own and not every runtime takes it.
 *
 * The first formatter of a process takes tens of milliseconds, because the runtime then finds out which languages it has. Where
 * a zone is only named, as when the configuration is read, the runtime's list of zones answers in a tenth of that; a formatter
 * is made for what is not on it: other names and spellings of the same zones, and mistakes.
 */
export function isKnownTimezone(timezone: string): boolean {
  // UTC, the default, is not on every list, and asks for none.
  if (timezone === "UTC") return true
  listed ??= new Set(Intl.supportedValuesOf("timeZone"))
  return listed.has(timezone) || formatterOf(timezone) !== null
}

/**
 * Returns the local unit that contains an instant. Before 1970 and after 9999 it is the unit at that border; of an instant
 * that is no number, the first. A zone that {@link isKnownTimezone} refuses counts as UTC.
 */
export function windowAt(instantMs: number, unit: CalendarUnit, timezone: string): CalendarWindow {
  const formatter = formatterOf(timezone)
  const atMs = instantMs > 0 ? Math.min(Math.floor(instantMs), CLOCK_MS_MAX) : 0
  let begin = beginningOf(unit, atMs + offsetMs(formatter, atMs))
  let next = beginningAfter(unit, begin)
  let endMs = firstInstantShowing(formatter, next)
  // Clocks that were put back show a unit that is over; the one that they had reached goes on.
  while (endMs <= atMs) {
    begin = next
    next = beginningAfter(unit, begin)
    endMs = firstInstantShowing(formatter, next)
  }
  return { startMs: firstInstantShowing(formatter, begin), endMs }
}

/*
 * A reading of a local clock is written as the epoch ms at which a clock in UTC would show the same.
 */

function beginningOf(unit: CalendarUnit, readingMs: number): number {
  const reading = new Date(readingMs)
  const day = unit === "month" ? 1 : reading.getUTCDate()
  const hour = unit === "hour" ? reading.getUTCHours() : 0
  return Date.UTC(reading.getUTCFullYear(), reading.getUTCMonth(), day, hour)
}

function beginningAfter(unit: CalendarUnit, beginMs: number): number {
  if (unit === "hour") return beginMs + 3_600_000
  if (unit === "day") return beginMs + 86_400_000
  const begin = new Date(beginMs)
  return Date.UTC(begin.getUTCFullYear(), begin.getUTCMonth() + 1)
}

/** Returns the first instant at which the local clock shows `readingMs` or, when that is skipped, anything later. */
function firstInstantShowing(formatter: Intl.DateTimeFormat | null, readingMs: number): number {
  let fromMs = readingMs - OFFSET_MS_MAX
  let offset = offsetMs(formatter, fromMs)
  while (fromMs + offset < readingMs) {
    const untilMs = nextChange(formatter, fromMs, offset)
    if (readingMs - offset < untilMs) return readingMs - offset
    fromMs = untilMs
    offset = offsetMs(formatter, fromMs)
  }
  return fromMs
}

/** Returns the next change of the clocks, or an instant before which there is none. */
function nextChange(formatter: Intl.DateTimeFormat | null, fromMs: number, offset: number): number {
  let unchangedMs = fromMs
  let changedMs = fromMs + CHANGE_FREE_MS
  if (offsetMs(formatter, changedMs) === offset) return changedMs
  while (changedMs - unchangedMs > 1000) {
    const middleMs = unchangedMs + Math.floor((changedMs - unchangedMs) / 2000) * 1000
    if (offsetMs(formatter, middleMs) === offset) unchangedMs = middleMs
    else changedMs = middleMs
  }
  return changedMs
}

/** Returns by how much the local clock is ahead of UTC. */
function offsetMs(formatter: Intl.DateTimeFormat | null, instantMs: number): number {
  if (formatter === null) return 0
  const shown: Partial<Record<Intl.DateTimeFormatPartTypes, number>> = {}
  for (const { type, value } of formatter.formatToParts(instantMs)) shown[type] = Number(value)
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = shown
  return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(instantMs / 1000) * 1000
}

function formatterOf(timezone: string): Intl.DateTimeFormat | null {
  const known = formatters.get(timezone)
  if (known !== undefined) return known
  const formatter = createFormatter(timezone)
  // Zones come from configuration. Should something else ever name them, memory stays bounded.
  if (formatters.size >= TIMEZONE_CACHE_ENTRIES_MAX) formatters.clear()
  formatters.set(timezone, formatter)
  return formatter
}

function createFormatter(timezone: string): Intl.DateTimeFormat | null {
  if (!/^[A-Za-z][A-Za-z0-9_+/-]{0,63}$/.test(timezone)) return null
  const field = "numeric"
  try {
    return new Intl.DateTimeFormat("en-US-u-ca-gregory-nu-latn", {
      timeZone: timezone,
      hourCycle: "h23",
      year: field,
      month: field,
      day: field,
      hour: field,
      minute: field,
      second: field,
    })
  } catch {
    return null
  }
}

/**
 * Durations and rates as people write them in the configuration, as integer milliseconds. Pure and total.
 */

/** Maps, not tables: a table also has what every object inherits, and `5/constructor` would be a rate. */
const UNIT_MS: ReadonlyMap<string, number> = new Map([
  ["ms", 1],
  ["s", 1_000],
  ["m", 60_000],
  ["h", 3_600_000],
  ["d", 86_400_000],
])
const PERIOD_MS: ReadonlyMap<string, number> = new Map([
  ["s", 1_000],
  ["second", 1_000],
  ["m", 60_000],
  ["minute", 60_000],
  ["h", 3_600_000],
  ["hour", 3_600_000],
  ["d", 86_400_000],
  ["day", 86_400_000],
])

/** Returns the milliseconds of `250ms`, `10s`, `5m`, `1h` or `1d` (a whole number and a unit), or undefined. */
export function parseDurationMs(text: string): number | undefined {
  const match = /^([0-9]{1,12})(ms|s|m|h|d)$/.exec(text)
  const durationMs = Number(match?.[1]) * (UNIT_MS.get(match?.[2] ?? "") ?? Number.NaN)
  return Number.isSafeInteger(durationMs) ? durationMs : undefined
}

/**
 * Returns the epoch ms of an RFC 3339 date-time with an offset, or of a date, which is its first moment in UTC. Undefined for
 * local times, for days and offsets that do not exist, for leap seconds and for years before 1970.
 *
 * @see RFC 3339 §5.6
 */
export function parseInstantMs(text: string): number | undefined {
  const match =
    /^(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d)))?$/.exec(text)
  if (match === null) return undefined
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match
    .slice(1, 7)
    .map((part) => Number(part ?? 0))
  const fractionMs = Math.floor(Number(`0.${match[7] ?? "0"}`) * 1_000)
  const offsetHours = Number(match[9] ?? 0)
  const offsetMinutes = Number(match[10] ?? 0)
  if (hour > 23 || minute > 59 || second > 59 || offsetHours > 23 || offsetMinutes > 59) return undefined
  const local = new Date(Date.UTC(year, month - 1, day, hour, minute, second))
  if (local.getUTCFullYear() !== year || local.getUTCMonth() !== month - 1 || local.getUTCDate() !== day)
    return undefined
  const offsetMs = (match[8] === "-" ? -1 : 1) * (offsetHours * 60 + offsetMinutes) * 60_000
  const instantMs = local.getTime() + fractionMs - offsetMs
  return instantMs >= 0 ? instantMs : undefined
}

/** A rate as integers: `count` cells accrue in `periodMs`. */
export interface Rate {
  readonly count: number
  readonly periodMs: number
}

/**
 * Returns the rate of `50/s`, `100/minute` or `0.5/s`, or undefined. Fractions are kept exactly by lengthening the period:
 * `0.5/s` is one in two seconds, at most six digits behind the point.
 */
export function parseRate(text: string): Rate | undefined {
  const match = /^([0-9]{1,9})(?:\.([0-9]{1,6}))?\/([a-z]+)$/.exec(text)
  const periodMs = PERIOD_MS.get(match?.[3] ?? "")
  if (match === null || periodMs === undefined) return undefined
  const fraction = match[2] ?? ""
  const scale = 10 ** fraction.length
  const count = Number((match[1] ?? "") + fraction)
  if (count < 1) return undefined
  const divisor = greatestCommonDivisor(count, scale)
  return { count: count / divisor, periodMs: (periodMs * scale) / divisor }
}

/** Returns a duration as people write it: the largest unit that divides it. */
export function formatDuration(durationMs: number): string {
  for (const [unit, ms] of [...UNIT_MS].toReversed())
    if (durationMs > 0 && durationMs % ms === 0) return `${durationMs / ms}${unit}`
  return `${durationMs}ms`
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b)
}

/**
 * What was stopped: how many requests of one client were refused for which reason, and when.
 *
 * Isolates count, because most refusals need no object; each tells the object what it counted since it last told it, under a
 * number, and repeats that until it is heard. Every report counts once however often it arrives. What an isolate has counted
 * and not told when it ends is lost here; the events of those requests are on the record all the same. Pure and total;
 * the client's object stores it as JSON.
 */
import {
  STOPPED_DAYS_MAX,
  STOPPED_REASONS_MAX,
  STOPPED_REPORTER_MEMORY_MS,
  STOPPED_REPORTERS_MAX,
  TOKEN_LEASE_BOOT_LENGTH_MAX,
} from "../bounds.ts"
import { effectiveTimeMs } from "../clock.ts"
import { isCount, isInstant, isJsonObject, isPositiveInteger, membersOf, parseJson } from "../untrusted.ts"

/** Refused requests by problem code. */
export type StoppedCounts = Readonly<Record<string, number>>

/** What one isolate counted since its last report. */
export interface StoppedReport {
  /** The incarnation of the isolate: random, 1 to 64 characters. */
  readonly boot: string
  /** From 1 on; a repeated report has the number and the counts of the first. */
  readonly seq: number
  readonly counts: StoppedCounts
}

/** How often and when requests were stopped for one reason. Times are epoch ms of the report, at most seconds late. */
export interface StoppedTotal {
  readonly count: number
  readonly firstMs: number
  readonly lastMs: number
}

/** Everything that was stopped of one client. */
export interface StoppedState {
  readonly version: 1
  /** By problem code, since the first refusal. */
  readonly total: Readonly<Record<string, StoppedTotal>>
  /** The last days (UTC, `2026-11-28`) on which something was stopped, oldest first. */
  readonly days: readonly { readonly day: string; readonly counts: StoppedCounts }[]
  /** Isolates that reported lately, and their last number. */
  readonly reporters: readonly { readonly boot: string; readonly seq: number; readonly seenMs: number }[]
}

/** Nothing was ever stopped. */
export const NOTHING_STOPPED: StoppedState = { version: 1, total: {}, days: [], reporters: [] }

/**
 * Adds a report. One that was added already, and one that is no report, changes nothing: the very same state is returned.
 * Numbers are remembered per isolate for {@link STOPPED_REPORTER_MEMORY_MS}, longer than a report is repeated. Reasons beyond
 * {@link STOPPED_REASONS_MAX} are not counted: what is stored stays bounded and readable.
 */
export function recordStopped(state: StoppedState, report: StoppedReport, nowMs: number): StoppedState {
  if (!isReport(report)) return state
  const { boot, seq, counts } = report
  const known = state.reporters.find((reporter) => reporter.boot === boot)
  if (known !== undefined && seq <= known.seq) return state
  const entries = Object.entries(counts)
  const day = new Date(effectiveTimeMs(0, nowMs)).toISOString().slice(0, 10)
  const today = state.days.find((entry) => entry.day === day)?.counts ?? {}
  return {
    version: 1,
    total: addAll(state.total, entries, (before: StoppedTotal | undefined, count) => ({
      count: sumOf(before?.count, count),
      firstMs: before?.firstMs ?? nowMs,
      lastMs: nowMs,
    })),
    days: [...state.days.filter((entry) => entry.day !== day), { day, counts: addAll(today, entries, sumOf) }]
      // A clock that is put back over midnight counts for a day before the last one.
      .toSorted((a, b) => (a.day < b.day ? -1 : 1))
      .slice(-STOPPED_DAYS_MAX),
    reporters: [
      ...state.reporters.filter(
        (reporter) => reporter.boot !== boot && nowMs - reporter.seenMs < STOPPED_REPORTER_MEMORY_MS,
      ),
      { boot, seq, seenMs: nowMs },
    ].slice(-STOPPED_REPORTERS_MAX),
  }
}

/** Returns what is stored, or that nothing was stopped when that is unreadable: counts decide nothing. */
export function restoreStopped(stored: unknown): StoppedState {
  return parseStopped(parseJson(stored)) ?? NOTHING_STOPPED
}

function parseStopped(value: unknown): StoppedState | undefined {
  const { version, total, days, reporters } = membersOf(value)
  if (version !== 1 || !isRecordOf(total, isTotal)) return undefined
  if (!Array.isArray(days) || !days.every(isDay)) return undefined
  if (!Array.isArray(reporters) || !reporters.every(isReporter)) return undefined
  return { version, total, days, reporters }
}

function isTotal(value: unknown): value is StoppedTotal {
  const { count, firstMs, lastMs } = membersOf(value)
  return isCount(count) && isInstant(firstMs) && isInstant(lastMs)
}

function isDay(value: unknown): value is StoppedState["days"][number] {
  const { day, counts } = membersOf(value)
  return typeof day === "string" && isRecordOf(counts, isCount)
}

function isReporter(value: unknown): value is StoppedState["reporters"][number] {
  const { boot, seq, seenMs } = membersOf(value)
  return typeof boot === "string" && isCount(seq) && isInstant(seenMs)
}

function isReport(value: unknown): value is StoppedReport {
  const { boot, seq, counts } = membersOf(value)
  const isBoot = typeof boot === "string" && boot.length > 0 && boot.length <= TOKEN_LEASE_BOOT_LENGTH_MAX
  return isBoot && isPositiveInteger(seq) && isRecordOf(counts, isCount)
}

function isRecordOf<Member>(
  value: unknown,
  isMember: (member: unknown) => member is Member,
): value is Readonly<Record<string, Member>> {
  if (!isJsonObject(value)) return false
  const members = Object.values(value)
  return members.length <= STOPPED_REASONS_MAX && members.every(isMember)
}

/** Stops at the largest exact integer, which can still be read back. */
function sumOf(before: number | undefined, count: number): number {
  return Math.min((before ?? 0) + count, Number.MAX_SAFE_INTEGER)
}

function addAll<Entry>(
  record: Readonly<Record<string, Entry>>,
  entries: readonly (readonly [reason: string, count: number])[],
  add: (before: Entry | undefined, count: number) => Entry,
): Readonly<Record<string, Entry>> {
  const own = (reason: string) => (Object.hasOwn(record, reason) ? record[reason] : undefined)
  const added = entries.map(([reason, count]) => [reason, add(own(reason), count)] as const)
  return Object.fromEntries(Object.entries({ ...record, ...Object.fromEntries(added) }).slice(0, STOPPED_REASONS_MAX))
}

/**
 * The calendar quota of one limit: how much of a local hour, day or month may be used, and when the next one begins.
 *
 * A count and the window it belongs to. The window is worked out once, when the one before has ended; within it a decision
 * is two comparisons. It never moves to an earlier one, whatever the clock does, so nothing that was used is forgotten
 * and a window is given out once. Pure and total; same shape as `core/limit/gcra.ts`. `core/limit/limit.ts` calls it.
 */
import { CALENDAR_UNITS, isKnownTimezone, windowAt } from "./calendar.ts"
import type { CalendarUnit, CalendarWindow } from "./calendar.ts"
import { effectiveTimeMs, isEffectiveTime } from "../clock.ts"
import { isCount, isInstant, isWholeNumber, membersOf } from "../untrusted.ts"

/** What a quota allows: `limit` in each local `unit` of `timezone`. */
export interface QuotaConfig {
  /** Most that one window gives, integer >= 0. 0 admits nothing. */
  readonly limit: number
  readonly unit: CalendarUnit
  /** A zone of the IANA database, such as `Asia/Tokyo`. */
  readonly timezone: string
}

/** A quota at one instant: what is used of which window. */
export interface QuotaState extends CalendarWindow {
  /** Integer >= 0. More than the limit once the limit was lowered. */
  readonly used: number
  /** Effective time of the last operation, epoch ms; below `startMs` only after the clock was put back. */
  readonly lastMs: number
  /** The calendar that the window belongs to. */
  readonly unit: CalendarUnit
  readonly timezone: string
}

/** The answer to one operation on a quota. */
export interface QuotaDecision {
  /** Whether the operation took (or gave back) what it asked for. */
  readonly allowed: boolean
  /** Refused, and no waiting helps: more than `limit` was asked for, or `n` is not a count. */
  readonly permanent: boolean
  /** What is left of the window, 0 when more than the limit is used. */
  readonly remaining: number
  /** Ms until the next window, in which the refused request fits. Null when allowed or permanent. */
  readonly retryAfterMs: number | null
  /** Ms until the next window. */
  readonly resetAfterMs: number
  /** Ms until there is more than now: the next window, or 0 when nothing of this one is used. */
  readonly nextMs: number
  /** Present when `n` is not a non-negative integer; the quota is then unchanged. */
  readonly error?: "invalid-n"
}

/** What every operation returns. */
export interface QuotaStep {
  readonly state: QuotaState
  readonly decision: QuotaDecision
}

/** A quota configuration, or everything that is wrong with it: one text per member, naming it first. */
export type QuotaConfigResult =
  | { readonly ok: true; readonly config: QuotaConfig }
  | { readonly ok: false; readonly problems: readonly string[] }

/** Returns the quota configuration in an untrusted value, or all its problems. Unknown members are ignored. */
export function parseQuotaConfig(value: unknown): QuotaConfigResult {
  const { limit, unit, timezone } = membersOf(value)
  const problems: string[] = []
  if (!isCount(limit)) problems.push("limit must be an integer of at least 0")
  if (!isUnit(unit)) problems.push(`unit must be one of ${CALENDAR_UNITS.join(", ")}`)
  const isZone = typeof timezone === "string" && isKnownTimezone(timezone)
  if (!isZone) problems.push("timezone must be a zone of the IANA database that this runtime knows, such as Asia/Tokyo")
  if (!isCount(limit) || !isUnit(unit) || !isZone) return { ok: false, problems }
  return { ok: true, config: { limit, unit, timezone } }
}

/**
 * Returns the quota in an untrusted value, or undefined unless every member is in its range. The zone is not looked up: a
 * runtime that no longer knows it can still finish the window.
 */
export function parseQuotaState(value: unknown): QuotaState | undefined {
  const { used, startMs, endMs, lastMs, unit, timezone } = membersOf(value)
  if (!isCount(used) || !isInstant(startMs) || !isInstant(endMs) || !isEffectiveTime(lastMs)) return undefined
  if (startMs >= endMs || lastMs >= endMs || !isUnit(unit) || typeof timezone !== "string") return undefined
  return { used, startMs, endMs, lastMs, unit, timezone }
}

/**
 * Returns the quota as it stands at `nowMs` under `config`. One that does not exist yet is unused.
 *
 * A clock that steps back counts against the window that it had reached (see `core/clock.ts` for the time to its end). A
 * changed limit keeps what is used. A changed unit or zone keeps it too, until the new unit ends: two versions of the
 * Worker may take turns, and forgetting would give the client a fresh quota at each of them.
 *
 * @param config one that {@link parseQuotaConfig} accepts, here and in every operation below
 */
export function settleQuota(state: QuotaState | undefined, config: QuotaConfig, nowMs: number): QuotaState {
  const { unit, timezone } = config
  if (state === undefined) {
    const lastMs = effectiveTimeMs(0, nowMs)
    return { used: 0, ...windowAt(lastMs, unit, timezone), lastMs, unit, timezone }
  }
  const lastMs = effectiveTimeMs(state.lastMs, nowMs)
  const isSameCalendar = unit === state.unit && timezone === state.timezone
  if (isSameCalendar && lastMs < state.endMs) return lastMs === state.lastMs ? state : { ...state, lastMs }
  // Not before the window that was reached, also when the clock is.
  const window = windowAt(Math.max(lastMs, state.startMs), unit, timezone)
  const used = lastMs < state.endMs ? state.used : 0
  return { used, ...window, lastMs, unit, timezone }
}

/** Returns the quota used up to its limit: what is known of one whose state was lost during the window of `nowMs`. */
export function exhaustedQuota(config: QuotaConfig, nowMs: number): QuotaState {
  return { ...settleQuota(undefined, config, nowMs), used: config.limit }
}

/**
 * Returns true when `after` holds nothing over `before` that {@link settleQuota} would not work out again from it. Such a
 * state need not be stored. A new window is stored even if nothing of it is used, so that it cannot be left again.
 *
 * @param after a state made from `before` by any operation
 */
export function isSameQuota(before: QuotaState, after: QuotaState): boolean {
  return (
    after.used === before.used &&
    after.startMs === before.startMs &&
    after.endMs === before.endMs &&
    after.lastMs >= before.lastMs &&
    after.unit === before.unit &&
    after.timezone === before.timezone
  )
}

/** Takes `n` or nothing. A refused acquire counts nothing; `n = 0` observes. More than `limit` is refused for good. */
export function acquireQuota(state: QuotaState | undefined, config: QuotaConfig, n: number, nowMs: number): QuotaStep {
  const settled = settleQuota(state, config, nowMs)
  if (!isWholeNumber(n)) return refuseInvalid(state, settled, config)
  const observed = observe(settled, config)
  if (n > config.limit) return { state: settled, decision: { ...observed, allowed: false, permanent: true } }
  if (n > observed.remaining) {
    return { state: settled, decision: { ...observed, allowed: false, retryAfterMs: observed.resetAfterMs } }
  }
  return use(settled, config, settled.used + n)
}

/** Reads the quota; a changed configuration takes effect. */
export function peekQuota(state: QuotaState | undefined, config: QuotaConfig, nowMs: number): QuotaStep {
  const settled = settleQuota(state, config, nowMs)
  return { state: settled, decision: observe(settled, config) }
}

/** Gives `n` back; what is used never falls below 0. */
export function refundQuota(state: QuotaState | undefined, config: QuotaConfig, n: number, nowMs: number): QuotaStep {
  const settled = settleQuota(state, config, nowMs)
  if (!isWholeNumber(n)) return refuseInvalid(state, settled, config)
  return use(settled, config, n < settled.used ? settled.used - n : 0)
}

/** Forgets what is used of the running window. */
export function resetQuota(state: QuotaState | undefined, config: QuotaConfig, nowMs: number): QuotaStep {
  return use(settleQuota(state, config, nowMs), config, 0)
}

function use(settled: QuotaState, config: QuotaConfig, used: number): QuotaStep {
  const state = { ...settled, used }
  return { state, decision: observe(state, config) }
}

function observe(state: QuotaState, { limit }: QuotaConfig): QuotaDecision {
  const resetAfterMs = state.endMs - state.lastMs
  return {
    allowed: true,
    permanent: false,
    remaining: Math.max(0, limit - state.used),
    retryAfterMs: null,
    resetAfterMs,
    nextMs: state.used > 0 ? resetAfterMs : 0,
  }
}

function refuseInvalid(state: QuotaState | undefined, settled: QuotaState, config: QuotaConfig): QuotaStep {
  const decision: QuotaDecision = { ...observe(settled, config), allowed: false, permanent: true, error: "invalid-n" }
  return { state: state ?? settled, decision }
}

function isUnit(value: unknown): value is CalendarUnit {
  return CALENDAR_UNITS.some((unit) => unit === value)
}

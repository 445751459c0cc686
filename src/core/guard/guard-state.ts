/**
 * What a guard remembers about one client, how that is told, and what of it may be believed when it is read back.
 *
 * Pure and total; a plain object that survives serialisation, part of the state of the client's object.
 * `core/guard/guard-time.ts` and `core/guard/guard.ts` make every one of them.
 */
import {
  CLOCK_REGRESSION_MS_MAX,
  GUARD_DURATION_MS_MAX,
  GUARD_FAILURES_MAX,
  GUARD_ID_LENGTH_MAX,
  GUARD_OUTCOMES_MAX,
} from "../bounds.ts"
import { isCount, membersOf } from "../untrusted.ts"

/** Largest instant, that of an ECMAScript date: every sum with a duration of the guard stays an exact integer. */
export const CLOCK_MS_MAX = 8_640_000_000_000_000

/** A request and the instant of its admission. All that are stored belong to the current epoch. */
export interface AdmittedRequest {
  readonly id: string
  readonly admittedAtMs: number
}

/** A guard at one instant. Instants are epoch ms as {@link GuardState.lastSeenMs} counts them. */
export interface GuardState {
  /** When the failures that still count were recorded. */
  readonly failures: readonly number[]
  /** Openings in a row: exponent of the next block. */
  readonly attempt: number
  /** End of the running block, null while closed. */
  readonly openUntilMs: number | null
  /** End of the last block, null when there was none or it was forgotten. */
  readonly lastClosedMs: number | null
  /** Changes with every opening and every administrative action; outcomes of earlier admissions are void. */
  readonly epoch: number
  /** The last request, admitted or refused; null before the first. */
  readonly lastRequestMs: number | null
  /** The largest time seen: the guard's own now. */
  readonly lastSeenMs: number
  /** Admissions without an outcome, each occupying a place of `maxFailures`. Only reserve mode adds to it. */
  readonly pending: readonly AdmittedRequest[]
  /** Admissions whose outcome is recorded, oldest first. Only optimistic mode adds to it. */
  readonly recorded: readonly AdmittedRequest[]
  /** Openings that failures caused, ever. */
  readonly openedTotal: number
}

/** How a guard stands after an operation. */
export interface GuardStatus {
  readonly isOpen: boolean
  /** Failures that count now. Not for the eyes of an unauthenticated caller. */
  readonly failures: number
  readonly attempt: number
  /** Openings that failures caused, ever. */
  readonly openedTotal: number
  readonly epoch: number
  /** Rest of the block in ms: admitted exactly then, refused 1 ms earlier. Null while closed. */
  readonly retryAfterMs: number | null
  /** When to call `observe()` so that the end of the block is reported; null while closed. Nothing depends on it. */
  readonly nextWakeMs: number | null
}

/** What the object reports: a guard opened, or a block ended. The two alternate. */
export type GuardEvent =
  | {
      readonly kind: "opened"
      readonly atMs: number
      /** End of the block as it stands now; only an administrator changes it. */
      readonly untilMs: number
      readonly attempt: number
      readonly reason: "failures" | "admin"
    }
  | {
      readonly kind: "closed"
      /** When the block ended, which may be before anybody looked. */
      readonly atMs: number
      /** End that the block had; later than `atMs` when an administrator ended it. */
      readonly untilMs: number
      /** As it was during the block. */
      readonly attempt: number
      readonly reason: "elapsed" | "unblock" | "reset"
    }

/** Returns true for an id that an admission may have: 1 to {@link GUARD_ID_LENGTH_MAX} characters. */
export function isAdmissionId(value: unknown): value is string {
  return typeof value === "string" && value.length >= 1 && value.length <= GUARD_ID_LENGTH_MAX
}

/**
 * Returns the guard in an untrusted value, or undefined unless every member is in its range: a block longer than any
 * guard may set, or an instant in its own future, was written by nobody.
 */
export function parseGuardState(value: unknown): GuardState | undefined {
  const members = membersOf(value)
  const { failures, attempt, openUntilMs, lastClosedMs, epoch, lastRequestMs, lastSeenMs, openedTotal } = members
  if (!isIntegerFrom(lastSeenMs, 0, CLOCK_MS_MAX)) return undefined
  if (!isCount(attempt) || !isCount(epoch) || !isCount(openedTotal)) return undefined
  if (openUntilMs !== null && !isIntegerFrom(openUntilMs, lastSeenMs + 1, lastSeenMs + GUARD_DURATION_MS_MAX))
    return undefined
  if (lastClosedMs !== null && !isPast(lastClosedMs, lastSeenMs)) return undefined
  if (lastRequestMs !== null && !isPast(lastRequestMs, lastSeenMs)) return undefined
  if (!Array.isArray(failures) || failures.length > GUARD_FAILURES_MAX) return undefined
  if (![...failures].every((failure) => isPast(failure, lastSeenMs))) return undefined
  const pending = parseAdmitted(members["pending"], GUARD_FAILURES_MAX, lastSeenMs)
  // Admitted on an isolate's clock, which may be ahead of this one.
  const recorded = parseAdmitted(members["recorded"], GUARD_OUTCOMES_MAX, lastSeenMs + CLOCK_REGRESSION_MS_MAX)
  if (pending === undefined || recorded === undefined) return undefined
  return {
    failures: [...failures],
    attempt,
    openUntilMs,
    lastClosedMs,
    epoch,
    lastRequestMs,
    lastSeenMs,
    pending,
    recorded,
    openedTotal,
  }
}

/** Returns the guard of a client that nobody has seen yet: closed, with nothing to remember. */
export function createGuardState(nowMs: number): GuardState {
  return {
    failures: [],
    attempt: 0,
    openUntilMs: null,
    lastClosedMs: null,
    epoch: 0,
    lastRequestMs: null,
    // An unreadable clock anchors in the far future: the first readable one moves everything with it and ends nothing.
    lastSeenMs: isClock(nowMs) ? nowMs : CLOCK_MS_MAX,
    pending: [],
    recorded: [],
    openedTotal: 0,
  }
}

/** Voids every admission: their ids need not be remembered, because an outcome of another epoch is ignored anyway. */
export function startEpoch(state: GuardState): GuardState {
  return { ...state, epoch: increment(state.epoch), failures: [], pending: [], recorded: [] }
}

/** Returns true when nothing would be decided otherwise if the guard were forgotten, but for outcomes still on their way. */
export function isForgettableGuard({ failures, attempt, openUntilMs, pending, recorded }: GuardState): boolean {
  return failures.length + pending.length + recorded.length === 0 && attempt === 0 && openUntilMs === null
}

/** Returns how the guard stands. */
export function statusOf({ openUntilMs, failures, attempt, openedTotal, epoch, lastSeenMs }: GuardState): GuardStatus {
  return {
    isOpen: openUntilMs !== null,
    failures: failures.length,
    attempt,
    openedTotal,
    epoch,
    retryAfterMs: openUntilMs === null ? null : openUntilMs - lastSeenMs,
    nextWakeMs: openUntilMs,
  }
}

/** Returns the next number of a count that is stored; it stops at the largest exact integer. */
export function increment(count: number): number {
  return Math.min(count + 1, Number.MAX_SAFE_INTEGER)
}

/** Returns true for an instant that a clock may show: epoch ms up to {@link CLOCK_MS_MAX}. */
export function isClock(nowMs: number): boolean {
  return isIntegerFrom(nowMs, 0, CLOCK_MS_MAX)
}

function parseAdmitted(value: unknown, lengthMax: number, latestMs: number): readonly AdmittedRequest[] | undefined {
  if (!Array.isArray(value) || value.length > lengthMax) return undefined
  const parsed: AdmittedRequest[] = []
  for (const member of value as readonly unknown[]) {
    const { id, admittedAtMs } = membersOf(member)
    if (!isAdmissionId(id) || !isPast(admittedAtMs, latestMs)) return undefined
    parsed.push({ id, admittedAtMs })
  }
  return parsed
}

function isPast(value: unknown, latestMs: number): value is number {
  return isIntegerFrom(value, -CLOCK_MS_MAX, latestMs)
}

function isIntegerFrom(value: unknown, min: number, max: number): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= min && value <= max
}

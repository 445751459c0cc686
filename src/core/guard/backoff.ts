/**
 * How long a guard stays open: the block of the n-th opening in a row.
 *
 * The first block is the minimum, every further one doubles, none exceeds the maximum, and jitter only lengthens. Pure
 * and total: randomness is an argument. `core/guard/guard.ts` calls it once per opening.
 */
import { GUARD_DURATION_MS_MAX } from "../bounds.ts"
import { membersOf } from "../untrusted.ts"

/** The same block every time, and no memory of earlier blocks. "Lineal" is akka-guard's word for it. */
export interface LinealBackoff {
  readonly kind: "lineal"
  /** Integer from 1 to {@link GUARD_DURATION_MS_MAX}. */
  readonly durationMs: number
}

/** Blocks that double until they reach a maximum. */
export interface ExponentialBackoff {
  readonly kind: "exponential"
  /** The first block. Integer from 1 to {@link GUARD_DURATION_MS_MAX}. */
  readonly minBackoffMs: number
  /** The longest block, jitter included. Integer from `minBackoffMs` to {@link GUARD_DURATION_MS_MAX}. */
  readonly maxBackoffMs: number
  /** Largest share by which jitter lengthens a block, 0 to 1. */
  readonly randomFactor: number
  /** Ms closed after which the escalation is forgotten, 0 to {@link GUARD_DURATION_MS_MAX}. Null: never by itself. */
  readonly resetBackoffMs: number | null
}

/** Either kind of back-off, in the shape that `Guard` of the configuration has. */
export type Backoff = LinealBackoff | ExponentialBackoff

/** A back-off, or everything that is wrong with it: one text per member, naming it first. */
export type BackoffResult =
  | { readonly ok: true; readonly backoff: Backoff }
  | { readonly ok: false; readonly problems: readonly string[] }

/**
 * Returns the back-off in an untrusted value, or all its problems. Unknown members are ignored. `resetBackoffMs` defaults
 * to `maxBackoffMs`: an escalation that is forgotten sooner than its blocks end would never climb.
 */
export function parseBackoff(value: unknown): BackoffResult {
  const { kind, durationMs, minBackoffMs, maxBackoffMs, randomFactor, resetBackoffMs } = membersOf(value)
  if (kind === "lineal") {
    if (isGuardDuration(durationMs)) return { ok: true, backoff: { kind, durationMs } }
    return { ok: false, problems: [`backoff.durationMs ${DURATION}`] }
  }
  if (kind !== "exponential") return { ok: false, problems: ['backoff.kind must be "lineal" or "exponential"'] }

  const problems: string[] = []
  const resetMs = resetBackoffMs === undefined ? maxBackoffMs : resetBackoffMs
  const isReset = resetMs === null || resetMs === 0 || isGuardDuration(resetMs)
  const isFactor = typeof randomFactor === "number" && randomFactor >= 0 && randomFactor <= 1
  const isMin = isGuardDuration(minBackoffMs)
  const isMax = isGuardDuration(maxBackoffMs)
  if (!isMin) problems.push(`backoff.minBackoffMs ${DURATION}`)
  if (!isMax) problems.push(`backoff.maxBackoffMs ${DURATION}`)
  if (isMin && isMax && maxBackoffMs < minBackoffMs) {
    problems.push("backoff.maxBackoffMs must not be below backoff.minBackoffMs")
  }
  if (!isFactor) problems.push("backoff.randomFactor must be a number from 0 to 1")
  if (!isReset && resetBackoffMs !== undefined) {
    problems.push(`backoff.resetBackoffMs must be null or an integer from 0 to ${GUARD_DURATION_MS_MAX}`)
  }
  if (problems.length > 0 || !isMin || !isMax || !isFactor || !isReset) return { ok: false, problems }
  return { ok: true, backoff: { kind, minBackoffMs, maxBackoffMs, randomFactor, resetBackoffMs: resetMs } }
}

/** Returns true for a time that a guard may be given: an integer from 1 to {@link GUARD_DURATION_MS_MAX} ms. */
export function isGuardDuration(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= GUARD_DURATION_MS_MAX
}

/**
 * Returns the block of the given opening without jitter, in ms.
 *
 * @param attempt which opening in a row, from 1; anything below counts as the first
 */
export function baseBackoffMs(backoff: Backoff, attempt: number): number {
  if (backoff.kind === "lineal") return backoff.durationMs
  // Capped before it is applied: 2 to the power of a long attack is no finite number.
  const exponent = attempt > 1 ? Math.min(Math.floor(attempt) - 1, EXPONENT_MAX) : 0
  return Math.min(backoff.maxBackoffMs, backoff.minBackoffMs * 2 ** exponent)
}

/**
 * Returns the block of the given opening in whole ms: at least the base, longer by at most `randomFactor` of it, never
 * above the maximum.
 *
 * @param random uniform in [0, 1); anything else counts as 0
 */
export function blockMs(backoff: Backoff, attempt: number, random: number): number {
  const baseMs = baseBackoffMs(backoff, attempt)
  if (backoff.kind === "lineal") return baseMs
  const share = random >= 0 && random < 1 ? random : 0
  return Math.min(backoff.maxBackoffMs, Math.round(baseMs * (1 + share * backoff.randomFactor)))
}

/** Doublings after which 1 ms exceeds every maximum. */
const EXPONENT_MAX = 35
const DURATION = `must be an integer from 1 to ${GUARD_DURATION_MS_MAX}`

/**
 * Which instant a decision is made at, when the clock that is asked may run backwards.
 *
 * The limits that store instants (`core/limit/quota.ts`, `core/limit/concurrency.ts`) ask here before they look at anything else. The
 * bucket has the same rule built into its refill. Pure and total.
 */
import { CLOCK_REGRESSION_MS_MAX } from "./bounds.ts"
import { isCount } from "./untrusted.ts"

/** Last instant that a clock can show, in epoch ms: the end of the year 9999 in UTC. The first is 0. */
export const CLOCK_MS_MAX = 253_402_300_799_999

/**
 * Returns the effective time in epoch ms, 0 to {@link CLOCK_MS_MAX}. A clock that is up to 60 s behind is taken to stand
 * still, so nothing that has passed comes back. One that is further behind is believed, because a clock that was once far
 * ahead would otherwise stop time for as long. One that is no exact integer stands still as well.
 *
 * @param lastMs the effective time of the decision before
 */
export function effectiveTimeMs(lastMs: number, nowMs: number): number {
  if (!Number.isSafeInteger(nowMs)) return lastMs
  const shownMs = Math.min(Math.max(nowMs, 0), CLOCK_MS_MAX)
  return shownMs >= lastMs || shownMs < lastMs - CLOCK_REGRESSION_MS_MAX ? shownMs : lastMs
}

/** Returns true for what {@link effectiveTimeMs} can return. */
export function isEffectiveTime(value: unknown): value is number {
  return isCount(value) && value <= CLOCK_MS_MAX
}

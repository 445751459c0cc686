/**
 * How often requests may be sent again: a tenth of the requests of an origin, and one per second, whatever fails.
 *
 * A bucket in whole units. Every request puts a part of a retry into it, time another, each retry takes a whole one. In any
 * stretch of time there are thus at most as many retries as its requests and its ms have earned, and what was saved before.
 * Pure and total; one budget for each origin and isolate.
 */
import { RETRIES_PER_SECOND, RETRIES_SAVED_MAX, RETRY_REQUESTS_PER_RETRY } from "../bounds.ts"

/** Parts of one retry: earned per ms and per request they are whole numbers. */
const RETRY_UNITS = 1_000 * RETRY_REQUESTS_PER_RETRY
const UNITS_PER_REQUEST = RETRY_UNITS / RETRY_REQUESTS_PER_RETRY
const UNITS_PER_MS = (RETRY_UNITS * RETRIES_PER_SECOND) / 1_000
const UNITS_MAX = RETRIES_SAVED_MAX * RETRY_UNITS

/** What is left. `lastMs` is the largest time seen: a clock that steps back earns nothing twice. */
export interface RetryBudget {
  readonly units: number
  readonly lastMs: number
}

/** Returns the budget of an isolate that has just begun: full. */
export function createRetryBudget(nowMs: number): RetryBudget {
  return { units: UNITS_MAX, lastMs: nowMs }
}

/** Returns the budget after a request was taken, once for each however often it is sent. */
export function earnRetry(budget: RetryBudget, nowMs: number): RetryBudget {
  const { units, lastMs } = pass(budget, nowMs)
  return { units: Math.min(UNITS_MAX, units + UNITS_PER_REQUEST), lastMs }
}

/** Takes one retry, or none where there is no whole one left. */
export function takeRetry(
  budget: RetryBudget,
  nowMs: number,
): { readonly budget: RetryBudget; readonly isAllowed: boolean } {
  const passed = pass(budget, nowMs)
  if (passed.units < RETRY_UNITS) return { budget: passed, isAllowed: false }
  return { budget: { ...passed, units: passed.units - RETRY_UNITS }, isAllowed: true }
}

function pass({ units, lastMs }: RetryBudget, nowMs: number): RetryBudget {
  // Written so that a clock that shows no number lets no time pass.
  if (!(nowMs > lastMs)) return { units, lastMs }
  return { units: Math.min(UNITS_MAX, units + (nowMs - lastMs) * UNITS_PER_MS), lastMs: nowMs }
}

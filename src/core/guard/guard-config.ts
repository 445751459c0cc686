/**
 * What a guard is configured with, complete and in milliseconds. An entry of the gateway's configuration is one as it
 * stands; {@link parseGuardConfig} reads one from any other place. Pure and total.
 */
import { isGuardDuration, parseBackoff } from "./backoff.ts"
import type { Backoff } from "./backoff.ts"
import { GUARD_DURATION_MS_MAX, GUARD_FAILURES_MAX, GUARD_PENDING_TTL_MS_DEFAULT } from "../bounds.ts"
import { membersOf } from "../untrusted.ts"

/** When a guard opens, for how long, and what it forgets. Durations are integers up to {@link GUARD_DURATION_MS_MAX}. */
export interface GuardConfig {
  /** Failures at which the guard opens: integer from 1 to {@link GUARD_FAILURES_MAX}. */
  readonly maxFailures: number
  /** How long a failure counts, from 1 ms. Each has its own time: no grid on which twice as many could be fitted. */
  readonly failureDurationMs: number
  readonly backoff: Backoff
  /**
   * Time without a request after which a closed guard forgets its client, from 1 ms. Null: never. Shorter than the origin
   * takes to answer, it forgets a failure as soon as that is recorded.
   */
  readonly guardResetTimeoutMs: number | null
  /**
   * `optimistic` admits every request while closed. `reserve` admits only as many at a time as failures are left, the
   * one way to bound guesses that are made in parallel; it bounds an honest client's parallelism too.
   */
  readonly inFlight: "optimistic" | "reserve"
  /** How long an admission waits for its outcome, from 1 ms. Later outcomes are ignored and the reserved place is free. */
  readonly pendingTtlMs: number
  /** Whether a success clears earlier failures. With `ignore` nobody clears guesses with a valid credential of his own. */
  readonly successPolicy: "reset" | "ignore"
}

/** A guard configuration, or everything that is wrong with it: one text per member, naming it first. */
export type GuardConfigResult =
  | { readonly ok: true; readonly config: GuardConfig }
  | { readonly ok: false; readonly problems: readonly string[] }

/**
 * Returns the guard configuration in an untrusted value, or all its problems. Unknown members are ignored. Defaults:
 * `guardResetTimeoutMs` null, `inFlight` optimistic, `pendingTtlMs` 30 s, `successPolicy` reset.
 */
export function parseGuardConfig(value: unknown): GuardConfigResult {
  const members = membersOf(value)
  const { maxFailures, failureDurationMs, guardResetTimeoutMs = null } = members
  const { inFlight = "optimistic", pendingTtlMs = GUARD_PENDING_TTL_MS_DEFAULT, successPolicy = "reset" } = members
  const backoff = parseBackoff(members["backoff"])
  const problems: string[] = []
  const isLimit = isFailureLimit(maxFailures)
  const isReset = guardResetTimeoutMs === null || isGuardDuration(guardResetTimeoutMs)
  const isMode = inFlight === "optimistic" || inFlight === "reserve"
  const isPolicy = successPolicy === "reset" || successPolicy === "ignore"
  if (!isLimit) problems.push(`maxFailures must be an integer from 1 to ${GUARD_FAILURES_MAX}`)
  if (!isGuardDuration(failureDurationMs)) problems.push(`failureDurationMs ${DURATION}`)
  if (!backoff.ok) problems.push(...backoff.problems)
  if (!isReset) problems.push(`guardResetTimeoutMs must be null or an integer from 1 to ${GUARD_DURATION_MS_MAX}`)
  if (!isMode) problems.push('inFlight must be "optimistic" or "reserve"')
  if (!isGuardDuration(pendingTtlMs)) problems.push(`pendingTtlMs ${DURATION}`)
  if (!isPolicy) problems.push('successPolicy must be "reset" or "ignore"')
  if (!isLimit || !isGuardDuration(failureDurationMs) || !backoff.ok || !isReset || !isMode || !isPolicy) {
    return { ok: false, problems }
  }
  if (!isGuardDuration(pendingTtlMs)) return { ok: false, problems }
  return {
    ok: true,
    config: {
      maxFailures,
      failureDurationMs,
      backoff: backoff.backoff,
      guardResetTimeoutMs,
      inFlight,
      pendingTtlMs,
      successPolicy,
    },
  }
}

const DURATION = `must be an integer from 1 to ${GUARD_DURATION_MS_MAX}`

function isFailureLimit(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= GUARD_FAILURES_MAX
}

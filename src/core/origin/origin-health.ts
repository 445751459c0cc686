/**
 * Whether an origin answers badly too often: the state machine of `core/guard/guard.ts`, with an origin where a client was.
 *
 * It only tells; who is skipped for it is `core/origin/origin-breaker.ts`. That is the one difference from a guard: a request that is sent while the
 * origin counts as unhealthy belongs to the epoch that began with the block, so its answer counts once the block is over,
 * and an origin that stays down is found out again at once. Answers to requests from before the block are void, and an
 * answer during the block neither ends nor prolongs it. Pure and total; driven by `src/origin/origin-health.ts`.
 */
import { ORIGIN_TIMEOUT_MS_MAX } from "../bounds.ts"
import type { GuardConfig } from "../guard/guard-config.ts"
import type { GuardState } from "../guard/guard-state.ts"
import { needsOutcome, observe, recordOutcome } from "../guard/guard.ts"
import type { OutcomeResult } from "../guard/outcome.ts"
import type { ProblemCode } from "../problem.ts"

/** A guard whose blocks are all equally long. */
export type BreakerConfig = GuardConfig & { readonly backoff: { readonly kind: "lineal"; readonly durationMs: number } }

/** When an origin counts as unhealthy: this many failures within `windowMs`, and for how long. Durations in ms. */
export interface BreakerTerms {
  readonly failures: number
  readonly windowMs: number
  readonly openMs: number
}

/** Returns the guard of an origin under these terms, each of them within the bounds of `core/guard/guard-config.ts`. */
export function createBreakerConfig({ failures, windowMs, openMs }: BreakerTerms): BreakerConfig {
  return {
    maxFailures: failures,
    failureDurationMs: windowMs,
    // Constant: a block that grew would outlast the outage, and there is nobody to deter.
    backoff: { kind: "lineal", durationMs: openMs },
    guardResetTimeoutMs: null,
    inFlight: "optimistic",
    // A time-out is the last outcome that an answer can have: twice the longest, because timers fire late.
    pendingTtlMs: 2 * ORIGIN_TIMEOUT_MS_MAX,
    successPolicy: "reset",
  }
}

/** 5 failures within 10 s, without a success that was asked for after them; for 10 s. */
export const BREAKER_TERMS_DEFAULT: BreakerTerms = { failures: 5, windowMs: 10_000, openMs: 10_000 }

/** When an origin counts as unhealthy unless configured otherwise. */
export const ORIGIN_BREAKER: BreakerConfig = createBreakerConfig(BREAKER_TERMS_DEFAULT)

/** The end of a request that was sent to an origin. */
export interface OriginAnswer {
  /** What the gateway answered in the origin's place. */
  readonly problem?: ProblemCode
  /** Status of the origin's answer; null when there was none. */
  readonly status: number | null
  /** The caller left before there was an answer. */
  readonly isAborted: boolean
}

/**
 * Returns what an answer says about its origin. No answer in time, none at all, and 502, 503 and 504 are failures; every
 * other answer is a success, also 500: an origin that fails at one request is there for the others. What the gateway
 * refused for another reason, and what the caller did not wait for, says nothing.
 */
export function classifyOriginAnswer({ problem, status, isAborted }: OriginAnswer): Exclude<OutcomeResult, "error"> {
  if (isAborted) return "neutral"
  if (problem !== undefined)
    return problem === "origin-unreachable" || problem === "origin-timeout" ? "failure" : "neutral"
  if (status === null) return "neutral"
  return status === 502 || status === 503 || status === 504 ? "failure" : "success"
}

/**
 * Returns the state after an answer: the very same one when the answer changes nothing, so that an origin without failures
 * costs nothing.
 *
 * @param state undefined for an origin that has not failed yet
 * @param startedMs when the request was sent
 */
export function recordOriginAnswer(
  state: GuardState | undefined,
  result: OutcomeResult,
  startedMs: number,
  nowMs: number,
  config: BreakerConfig = ORIGIN_BREAKER,
): GuardState | undefined {
  if (!needsOutcome(config, failuresOf(state), result)) return state
  const { state: current } = observe(state, config, nowMs)
  const { epoch, lastClosedMs } = current
  // Of the ms in which the block began nobody knows which of its requests were sent before.
  if (lastClosedMs !== null && startedMs <= lastClosedMs - config.backoff.durationMs) return current
  const outcome = { id: ANSWER_ID, result, admission: { epoch, admittedAtMs: startedMs } }
  // Nothing is random in constant blocks.
  const { state: next } = recordOutcome(current, config, outcome, nowMs, 0)
  // Remembered against duplicates. Every answer is recorded once, by the isolate that got it.
  return { ...next, recorded: [] }
}

/** Ids tell duplicates apart, of which there are none. */
const ANSWER_ID = "answer"
const NO_FAILURES = { failures: 0 } as const

function failuresOf(state: GuardState | undefined): { readonly failures: number } {
  return state === undefined || state.failures.length === 0 ? NO_FAILURES : { failures: state.failures.length }
}

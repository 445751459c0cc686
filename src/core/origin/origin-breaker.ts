/**
 * Whether a URL of an origin is asked: closed it is, open it is skipped, and half open one request at a time finds out.
 *
 * Both phases are the guard of `core/guard/guard.ts`. Closed, it counts failures by `core/origin/origin-health.ts`. From its opening on it
 * is a guard that tolerates no failure and reserves places: one, which is the probe. A probe that fails opens it again, one
 * that succeeds closes it, and one that is never heard of gives its place back in time. A breaker that is not enforced only
 * tells. Pure and total; driven by `src/origin/origin-health.ts`.
 */
import type { GuardConfig } from "../guard/guard-config.ts"
import type { GuardState } from "../guard/guard-state.ts"
import { observe, recordOutcome, requestAdmission } from "../guard/guard.ts"
import { createBreakerConfig, recordOriginAnswer, type BreakerConfig, type BreakerTerms } from "./origin-health.ts"
import type { OutcomeResult } from "../guard/outcome.ts"

/** The breaker of every URL of one origin. */
export interface OriginBreaker {
  /** False: requests are sent whatever is known. */
  readonly isEnforced: boolean
  readonly closed: BreakerConfig
  readonly tripped: GuardConfig
}

/** What is known of one URL. Undefined for one that has not failed yet. */
export interface BreakerState {
  readonly guard: GuardState
  /** Open or half open. Only of a breaker that is enforced. */
  readonly isTripped: boolean
}

/** Whether a request may be sent now. `retryAfterMs` is null when only the probe that is out can tell. */
export type BreakerStanding =
  | { readonly kind: "closed" }
  | { readonly kind: "half-open" }
  | { readonly kind: "open"; readonly retryAfterMs: number | null }

/** How a request that was sent to the URL ended. */
export interface BreakerAnswer {
  readonly result: OutcomeResult
  /** When it was sent, epoch ms. */
  readonly startedMs: number
  /** Set when it was the probe, as {@link admitProbe} was told. */
  readonly probeId: string | undefined
}

/** Returns the breaker. @param timeoutMs the longest wait for an answer: a probe of which nothing is heard is over after two */
export function createOriginBreaker(terms: BreakerTerms, isEnforced: boolean, timeoutMs: number): OriginBreaker {
  const closed = createBreakerConfig(terms)
  return {
    isEnforced,
    closed,
    tripped: { ...closed, maxFailures: 1, inFlight: "reserve", pendingTtlMs: 2 * timeoutMs },
  }
}

/** Returns how the URL stands at `nowMs`. */
export function standingOf(state: BreakerState | undefined, breaker: OriginBreaker, nowMs: number): BreakerStanding {
  if (state === undefined || !state.isTripped) return CLOSED
  const { state: guard, decision } = observe(state.guard, breaker.tripped, nowMs)
  if (decision.isOpen) return { kind: "open", retryAfterMs: decision.retryAfterMs }
  return guard.pending.length === 0 ? HALF_OPEN : { kind: "open", retryAfterMs: null }
}

/** Returns true while failures block the URL, whether or not it is skipped for it. Half open it is not. */
export function isBlocked(state: BreakerState | undefined, breaker: OriginBreaker, nowMs: number): boolean {
  if (state === undefined || state.guard.openUntilMs === null) return false
  return observe(state.guard, state.isTripped ? breaker.tripped : breaker.closed, nowMs).decision.isOpen
}

/** Takes the place of the probe under an id of its own. Where {@link standingOf} is not `half-open` it is not admitted. */
export function admitProbe(
  state: BreakerState,
  breaker: OriginBreaker,
  id: string,
  nowMs: number,
): { readonly state: BreakerState; readonly isAdmitted: boolean } {
  if (!state.isTripped) return { state, isAdmitted: false }
  const { state: guard, decision } = requestAdmission(state.guard, breaker.tripped, { id }, nowMs)
  return { state: { ...state, guard }, isAdmitted: decision.admitted }
}

/**
 * Returns the state after an answer, the very same one when the answer changes nothing. While it is tripped only the probe
 * counts: what was sent before says nothing about now.
 */
export function recordAnswer(
  state: BreakerState | undefined,
  breaker: OriginBreaker,
  { result, startedMs, probeId }: BreakerAnswer,
  nowMs: number,
): BreakerState | undefined {
  if (state?.isTripped === true) {
    if (probeId === undefined) return state
    const { state: guard, decision } = recordOutcome(state.guard, breaker.tripped, { id: probeId, result }, nowMs, 0)
    return { guard, isTripped: !(decision.isRecorded && result === "success") }
  }
  // Of a probe whose place had been given away, and another one has closed the breaker since.
  if (probeId !== undefined) return state
  const guard = recordOriginAnswer(state?.guard, result, startedMs, nowMs, breaker.closed)
  if (guard === undefined || guard === state?.guard) return state
  return { guard, isTripped: breaker.isEnforced && guard.openUntilMs !== null }
}

const CLOSED: BreakerStanding = { kind: "closed" }
const HALF_OPEN: BreakerStanding = { kind: "half-open" }

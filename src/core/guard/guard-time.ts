/**
 * What becomes of a guard by time alone.
 *
 * Time is not trusted to run forwards: the state carries the largest time it has seen. Everything that time ends (a
 * block, a failure, an admission, an escalation) is worked out here when somebody next looks, so no timer has to fire
 * for a decision to be right. Pure and total. `core/guard/guard.ts` calls it first in every operation.
 */
import { CLOCK_REGRESSION_MS_MAX } from "../bounds.ts"
import type { GuardConfig } from "./guard-config.ts"
import { CLOCK_MS_MAX, createGuardState, isClock } from "./guard-state.ts"
import type { AdmittedRequest, GuardEvent, GuardState } from "./guard-state.ts"

/**
 * Returns the guard as it stands at `nowMs`, and the end of its block if that has passed: steps 1 to 5 of every event.
 * A guard that does not exist yet is closed and has seen nothing.
 *
 * A clock up to 60 s behind the state lets no time pass; one further behind moves every instant with it, so ages and
 * the rest of a block are kept and a clock that was once far ahead blocks nobody for longer. A `nowMs` that is no epoch
 * ms lets no time pass.
 */
export function settleGuard(
  state: GuardState | undefined,
  config: GuardConfig,
  nowMs: number,
): { readonly state: GuardState; readonly events: readonly GuardEvent[] } {
  const ticked = tick(state ?? createGuardState(nowMs), nowMs)
  const { openUntilMs, attempt, lastSeenMs } = ticked
  const hasElapsed = openUntilMs !== null && openUntilMs <= lastSeenMs
  const closed = hasElapsed ? { ...ticked, openUntilMs: null, lastClosedMs: openUntilMs } : ticked
  const isAwaited = ({ admittedAtMs }: AdmittedRequest) => lastSeenMs - admittedAtMs < config.pendingTtlMs
  const current = {
    ...closed,
    pending: closed.pending.filter(isAwaited),
    // Remembered exactly as long as a duplicate would be in time.
    recorded: closed.recorded.filter(isAwaited),
    failures: closed.failures.filter((failedAtMs) => lastSeenMs - failedAtMs < config.failureDurationMs),
  }
  return {
    state: current.openUntilMs === null ? forget(current, config) : current,
    events: hasElapsed ? [{ kind: "closed", atMs: openUntilMs, untilMs: openUntilMs, attempt, reason: "elapsed" }] : [],
  }
}

function tick(state: GuardState, nowMs: number): GuardState {
  if (!isClock(nowMs)) return state
  const elapsedMs = nowMs - state.lastSeenMs
  if (elapsedMs >= 0) return { ...state, lastSeenMs: nowMs }
  return elapsedMs < -CLOCK_REGRESSION_MS_MAX ? shift(state, elapsedMs) : state
}

/** Moves every instant. What is longer ago than any clock can tell stays that long ago. */
function shift(state: GuardState, byMs: number): GuardState {
  const move = (instantMs: number): number => Math.max(-CLOCK_MS_MAX, instantMs + byMs)
  const moveAdmitted = ({ id, admittedAtMs }: AdmittedRequest) => ({ id, admittedAtMs: move(admittedAtMs) })
  return {
    ...state,
    failures: state.failures.map(move),
    openUntilMs: state.openUntilMs === null ? null : move(state.openUntilMs),
    lastClosedMs: state.lastClosedMs === null ? null : move(state.lastClosedMs),
    lastRequestMs: state.lastRequestMs === null ? null : move(state.lastRequestMs),
    lastSeenMs: move(state.lastSeenMs),
    pending: state.pending.map(moveAdmitted),
    recorded: state.recorded.map(moveAdmitted),
  }
}

/** What a closed guard forgets: an idle client first, then the escalation. Neither is asked while it is open. */
function forget(state: GuardState, { guardResetTimeoutMs, backoff }: GuardConfig): GuardState {
  const { lastSeenMs, lastRequestMs, lastClosedMs } = state
  const quietSinceMs = Math.max(lastRequestMs ?? -CLOCK_MS_MAX, lastClosedMs ?? -CLOCK_MS_MAX)
  if (guardResetTimeoutMs !== null && lastSeenMs - quietSinceMs >= guardResetTimeoutMs) {
    return { ...state, failures: [], attempt: 0 }
  }
  if (backoff.kind === "lineal") return { ...state, attempt: 0 }
  const { resetBackoffMs } = backoff
  const isOver = resetBackoffMs !== null && lastClosedMs !== null && lastSeenMs - lastClosedMs >= resetBackoffMs
  return isOver ? { ...state, attempt: 0 } : state
}

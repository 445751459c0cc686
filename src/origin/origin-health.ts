/**
 * How the origins of one isolate stand: remembers the answers of each, and says who answers badly too often.
 *
 * The rule is `core/origin-health.ts`. At most one entry per configured origin, and none for one that has not failed yet.
 */
import type { OriginHealth } from "../context.ts"
import type { GuardState } from "../core/guard-state.ts"
import { observe } from "../core/guard.ts"
import { ORIGIN_BREAKER, recordOriginAnswer } from "../core/origin-health.ts"

/** Returns the register of one isolate. Every origin is healthy until it has failed here. */
export function createOriginHealth(): OriginHealth {
  const states = new Map<string, GuardState>()
  return {
    isUnhealthy(origin, nowMs) {
      const state = states.get(origin)
      if (state === undefined || state.openUntilMs === null) return false
      const observed = observe(state, ORIGIN_BREAKER, nowMs)
      states.set(origin, observed.state)
      return observed.decision.isOpen
    },
    record(origin, result, startedMs, nowMs) {
      const state = states.get(origin)
      const next = recordOriginAnswer(state, result, startedMs, nowMs)
      if (next !== undefined && next !== state) states.set(origin, next)
    },
  }
}

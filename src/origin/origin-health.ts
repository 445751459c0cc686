/**
 * How the origins of one isolate stand: remembers how each URL answered, which one is asked next, and how many retries are left.
 *
 * The rules are `core/origin/origin-breaker.ts`, `core/origin/origin-choice.ts` and `core/origin/retry-budget.ts`. At most one entry per configured
 * origin and one per URL that has failed: an origin that never failed is found in no map but that of the budgets.
 */
import type { Origin } from "../config/config.ts"
import type { ChosenUrl, OriginHealth } from "../context.ts"
import { admitProbe, isBlocked, recordAnswer, standingOf, type BreakerState } from "../core/origin/origin-breaker.ts"
import { chooseUrl } from "../core/origin/origin-choice.ts"
import { createRetryBudget, earnRetry, takeRetry, type RetryBudget } from "../core/origin/retry-budget.ts"

interface Known {
  readonly origin: Origin
  readonly states: Map<number, BreakerState>
}

const NOBODY_TRIED: ReadonlySet<number> = new Set()

/** Returns the register of one isolate. Every URL is healthy until it has failed here. @param random uniform in [0, 1) */
export function createOriginHealth(random: () => number): OriginHealth {
  const known = new Map<string, Known>()
  const budgets = new Map<string, RetryBudget>()
  let probes = 0

  function chooseAmong(origin: Origin, tried: ReadonlySet<number>, nowMs: number): number | undefined {
    const states = known.get(origin.name)?.states
    const canAsk = (index: number): boolean =>
      !tried.has(index) && standingOf(states?.get(index), origin.breaker, nowMs).kind !== "open"
    // Nothing is drawn where there is nothing to choose.
    return chooseUrl(origin.urls, canAsk, origin.urls.length === 1 ? 0 : random())
  }

  /** Until the first URL may be asked again. */
  function openMs({ breaker, name, urls }: Origin, nowMs: number): number | null {
    const states = known.get(name)?.states
    const waits = urls.flatMap((_, index) => {
      const standing = standingOf(states?.get(index), breaker, nowMs)
      return standing.kind === "open" && standing.retryAfterMs !== null ? standing.retryAfterMs : []
    })
    return waits.length === 0 ? null : Math.min(...waits)
  }

  return {
    isUnhealthy(name, nowMs) {
      const entry = known.get(name)
      if (entry === undefined) return false
      const { origin, states } = entry
      return origin.urls.every((_, index) => isBlocked(states.get(index), origin.breaker, nowMs))
    },
    countRequest({ name }, nowMs) {
      budgets.set(name, earnRetry(budgets.get(name) ?? createRetryBudget(nowMs), nowMs))
    },
    takeRetry({ name }, nowMs) {
      const { budget, isAllowed } = takeRetry(budgets.get(name) ?? createRetryBudget(nowMs), nowMs)
      budgets.set(name, budget)
      return isAllowed
    },
    choose(origin, tried, nowMs): ChosenUrl {
      const states = known.get(origin.name)?.states
      if (states === undefined && origin.urls.length === 1)
        return { kind: "chosen", index: 0, startedMs: nowMs, probeId: undefined }
      const index = chooseAmong(origin, tried, nowMs) ?? chooseAmong(origin, NOBODY_TRIED, nowMs)
      if (index === undefined) return { kind: "open", retryAfterMs: openMs(origin, nowMs) }
      const state = states?.get(index)
      if (states === undefined || state?.isTripped !== true)
        return { kind: "chosen", index, startedMs: nowMs, probeId: undefined }
      const probeId = `probe-${(probes += 1)}`
      const probe = admitProbe(state, origin.breaker, probeId, nowMs)
      states.set(index, probe.state)
      // Nothing runs between the choice and this, so the place is free.
      return probe.isAdmitted
        ? { kind: "chosen", index, startedMs: nowMs, probeId }
        : { kind: "open", retryAfterMs: openMs(origin, nowMs) }
    },
    record(origin, { index, startedMs, probeId }, result, nowMs) {
      const entry = known.get(origin.name)
      const state = entry?.states.get(index)
      const next = recordAnswer(state, origin.breaker, { result, startedMs, probeId }, nowMs)
      if (next === undefined || next === state) return
      if (entry === undefined) known.set(origin.name, { origin, states: new Map([[index, next]]) })
      else entry.states.set(index, next)
    },
  }
}

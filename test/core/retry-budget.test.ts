/**
 * Goal: however requests fail, there are at most a tenth as many retries, one per second, and what was saved. Method:
 * boundaries by hand; random histories against the sum of what they have earned.
 */
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { RETRIES_PER_SECOND, RETRIES_SAVED_MAX, RETRY_REQUESTS_PER_RETRY } from "../../src/core/bounds.ts"
import { createRetryBudget, earnRetry, takeRetry, type RetryBudget } from "../../src/core/origin/retry-budget.ts"

const NOW_MS = 1_798_761_600_000

/** A budget of which everything is spent. */
function spent(nowMs = NOW_MS): RetryBudget {
  let budget = createRetryBudget(nowMs)
  for (let i = 0; i < RETRIES_SAVED_MAX; i += 1) ({ budget } = takeRetry(budget, nowMs))
  return budget
}

describe("takeRetry()", () => {
  test("allows what is saved at first, and no more", () => {
    let budget = createRetryBudget(NOW_MS)
    const allowed = Array.from({ length: RETRIES_SAVED_MAX + 1 }, () => {
      const taken = takeRetry(budget, NOW_MS)
      budget = taken.budget
      return taken.isAllowed
    })
    expect(allowed).toEqual([...Array.from({ length: RETRIES_SAVED_MAX }, () => true), false])
  })

  test.each([
    [9, false],
    [10, true],
  ])("after %d requests allows one: %s", (requests, isAllowed) => {
    let budget = spent()
    for (let i = 0; i < requests; i += 1) budget = earnRetry(budget, NOW_MS)
    expect(takeRetry(budget, NOW_MS).isAllowed).toBe(isAllowed)
  })

  test.each([
    [999, false],
    [1_000, true],
  ])("%d ms later allows one: %s", (ms, isAllowed) => {
    expect(takeRetry(spent(), NOW_MS + ms).isAllowed).toBe(isAllowed)
  })

  test("earns from every ms once", () => {
    const { budget, isAllowed } = takeRetry(spent(), NOW_MS + 1_000)
    expect([isAllowed, takeRetry(budget, NOW_MS + 1_000).isAllowed]).toEqual([true, false])
    expect(takeRetry(budget, NOW_MS + 1_999).isAllowed).toBe(false)
  })

  test.each([
    [
      "requests",
      (budget: RetryBudget) => Array.from({ length: 1_000 }).reduce<RetryBudget>((b) => earnRetry(b, NOW_MS), budget),
    ],
    ["time", (budget: RetryBudget) => earnRetry(budget, NOW_MS + 86_400_000)],
  ])("saves no more than the bound from any number of %s", (_, earn) => {
    expect(earn(spent()).units).toBe(createRetryBudget(NOW_MS).units)
  })

  test("earns nothing from a clock that steps back and forth", () => {
    let budget = spent()
    for (let i = 0; i < 100; i += 1) {
      ;({ budget } = takeRetry(budget, NOW_MS - 60_000))
      ;({ budget } = takeRetry(budget, NOW_MS))
    }
    expect(takeRetry(budget, NOW_MS).isAllowed).toBe(false)
  })

  test("earns nothing from a clock that shows no number", () => {
    expect(takeRetry(spent(), Number.NaN)).toEqual({ budget: spent(), isAllowed: false })
  })

  test("PRX-12 in no stretch of time allows more than its requests and its time have earned beside what was saved", () => {
    const steps = fc.array(
      fc.record({ waitMs: fc.nat({ max: 300 }), kind: fc.constantFrom("request", "retry", "retry", "retry") }),
      {
        minLength: 100,
        maxLength: 400,
      },
    )
    fc.assert(
      fc.property(steps, fc.nat(400), (history, skip) => {
        let budget = createRetryBudget(NOW_MS)
        let nowMs = NOW_MS
        const counts = { requests: 0, retries: 0, sinceMs: NOW_MS }
        for (const [index, { kind, waitMs }] of history.entries()) {
          nowMs += waitMs
          // The stretch that is looked at begins somewhere.
          if (index === Math.min(skip, history.length - 1))
            Object.assign(counts, { requests: 0, retries: 0, sinceMs: nowMs })
          if (kind === "request") {
            budget = earnRetry(budget, nowMs)
            counts.requests += 1
          } else {
            const taken = takeRetry(budget, nowMs)
            budget = taken.budget
            if (taken.isAllowed) counts.retries += 1
          }
          expect(budget.units).toBeGreaterThanOrEqual(0)
          const earned =
            counts.requests / RETRY_REQUESTS_PER_RETRY + ((nowMs - counts.sinceMs) / 1_000) * RETRIES_PER_SECOND
          expect(counts.retries).toBeLessThanOrEqual(RETRIES_SAVED_MAX + earned)
        }
      }),
      { seed: 20_270_102, numRuns: 500 },
    )
  })
})

/**
 * Goal: an origin counts as unhealthy exactly from its fifth failure within 10 s on, for exactly 10 s, and a healthy one
 * costs nothing. Method: boundaries by hand; random histories of overlapping requests against a plain list.
 */
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { ORIGIN_TIMEOUT_MS_MAX } from "../../src/core/bounds.ts"
import { parseGuardConfig } from "../../src/core/guard/guard-config.ts"
import type { GuardState } from "../../src/core/guard/guard-state.ts"
import { observe } from "../../src/core/guard/guard.ts"
import type { OutcomeResult } from "../../src/core/guard/outcome.ts"
import { classifyOriginAnswer, ORIGIN_BREAKER, recordOriginAnswer } from "../../src/core/origin/origin-health.ts"

const NOW_MS = 1_798_761_600_000
const BLOCK_MS = 10_000

describe("ORIGIN_BREAKER", () => {
  test("is a configuration that the guard accepts", () => {
    expect(parseGuardConfig(ORIGIN_BREAKER)).toEqual({ ok: true, config: ORIGIN_BREAKER })
  })

  test("waits for an outcome longer than for any answer of an origin", () => {
    expect(ORIGIN_BREAKER.pendingTtlMs).toBeGreaterThan(ORIGIN_TIMEOUT_MS_MAX)
  })
})

describe("classifyOriginAnswer()", () => {
  const answered = { isAborted: false }

  test.each([
    [{ ...answered, status: 502 }, "failure"],
    [{ ...answered, status: 503 }, "failure"],
    [{ ...answered, status: 504 }, "failure"],
    [{ ...answered, status: null, problem: "origin-unreachable" }, "failure"],
    [{ ...answered, status: null, problem: "origin-timeout" }, "failure"],
    [{ ...answered, status: 200 }, "success"],
    [{ ...answered, status: 302 }, "success"],
    [{ ...answered, status: 429 }, "success"],
    [{ ...answered, status: 500 }, "success"],
    [{ ...answered, status: 501 }, "success"],
    [{ ...answered, status: 505 }, "success"],
    [{ ...answered, status: null }, "neutral"],
    [{ ...answered, status: 503, problem: "service-unavailable" }, "neutral"],
    [{ status: null, problem: "origin-unreachable", isAborted: true }, "neutral"],
    [{ status: 503, isAborted: true }, "neutral"],
  ] as const)("classifyOriginAnswer(%j) is a %s", (answer, result) => {
    expect(classifyOriginAnswer(answer)).toBe(result)
  })
})

describe("recordOriginAnswer()", () => {
  test.each(["success", "neutral"] as const)("keeps nothing about an origin whose answer is a %s", (result) => {
    expect(recordOriginAnswer(undefined, result, NOW_MS, NOW_MS)).toBeUndefined()
  })

  test("leaves the state of an origin without failures as it is, without a copy", () => {
    const failed = recordOriginAnswer(undefined, "failure", NOW_MS, NOW_MS)
    const healthy = recordOriginAnswer(failed, "success", NOW_MS + 1, NOW_MS + 1)
    expect(healthy?.failures).toEqual([])
    expect(recordOriginAnswer(healthy, "success", NOW_MS + 2, NOW_MS + 2)).toBe(healthy)
  })

  test("remembers no more than its failures, however many answers come", () => {
    let state: GuardState | undefined
    for (let nowMs = NOW_MS; nowMs < NOW_MS + 60_000; nowMs += 50) {
      state = recordOriginAnswer(state, nowMs % 100 === 0 ? "failure" : "success", nowMs - 200, nowMs)
    }
    expect([state?.pending, state?.recorded]).toEqual([[], []])
  })
})

describe("an origin", () => {
  test("is healthy after four failures and unhealthy after the fifth", () => {
    const { health, fail } = createScene()
    fail(NOW_MS, 4)
    expect(health.isUnhealthy(NOW_MS)).toBe(false)
    fail(NOW_MS, 1)
    expect(health.isUnhealthy(NOW_MS)).toBe(true)
  })

  test.each([
    [9_999, true],
    [10_000, false],
  ])("with a fifth failure %d ms after the first is unhealthy: %s", (ms, isUnhealthy) => {
    const { health, fail } = createScene()
    fail(NOW_MS, 4)
    fail(NOW_MS + ms, 1)
    expect(health.isUnhealthy(NOW_MS + ms)).toBe(isUnhealthy)
  })

  test("is unhealthy for exactly the block", () => {
    const { health, fail } = createScene()
    fail(NOW_MS, 5)
    expect([BLOCK_MS - 1, BLOCK_MS].map((ms) => health.isUnhealthy(NOW_MS + ms))).toEqual([true, false])
  })

  test("a success that was asked for after the failures clears them", () => {
    const { health, fail } = createScene()
    fail(NOW_MS, 4)
    health.record("success", NOW_MS + 1, NOW_MS + 2)
    fail(NOW_MS + 3, 1)
    expect(health.isUnhealthy(NOW_MS + 3)).toBe(false)
  })

  test("a success that was asked for before the failures clears none", () => {
    const { health, fail } = createScene()
    fail(NOW_MS, 4)
    health.record("success", NOW_MS - 1, NOW_MS + 2)
    fail(NOW_MS + 3, 1)
    expect(health.isUnhealthy(NOW_MS + 3)).toBe(true)
  })

  test("answers during the block neither end nor prolong it", () => {
    const { health, fail } = createScene()
    fail(NOW_MS, 5)
    health.record("success", NOW_MS + 1, NOW_MS + 2)
    expect(health.isUnhealthy(NOW_MS + 2)).toBe(true)
    fail(NOW_MS + BLOCK_MS - 1, 20)
    expect(health.isUnhealthy(NOW_MS + BLOCK_MS)).toBe(false)
  })

  test("late failures of requests from before the block do not start another", () => {
    const { health } = createScene()
    for (let i = 0; i < 10; i++) health.record("failure", NOW_MS - 1, NOW_MS + (i < 5 ? 0 : BLOCK_MS + 1))
    expect(health.isUnhealthy(NOW_MS + BLOCK_MS + 1)).toBe(false)
  })

  test("late failures of requests that were sent during the block do: the origin is still down", () => {
    const { health } = createScene()
    for (let i = 0; i < 10; i++) health.record("failure", NOW_MS + i, NOW_MS + (i < 5 ? 5 : BLOCK_MS + 5))
    expect(health.isUnhealthy(NOW_MS + BLOCK_MS + 5)).toBe(false)
    for (let i = 0; i < 5; i++) health.record("failure", NOW_MS + 6, NOW_MS + BLOCK_MS + 5)
    expect(health.isUnhealthy(NOW_MS + BLOCK_MS + 5)).toBe(true)
  })

  test("time-outs of the longest kind are failures like others", () => {
    const { health } = createScene()
    for (let i = 0; i < 5; i++) health.record("failure", NOW_MS, NOW_MS + ORIGIN_TIMEOUT_MS_MAX + 500)
    expect(health.isUnhealthy(NOW_MS + ORIGIN_TIMEOUT_MS_MAX + 500)).toBe(true)
  })

  test("follows a plain list of failures through any history", () => {
    const answer = fc.record({
      afterMs: fc.oneof(fc.nat({ max: 400 }), fc.nat({ max: 4_000 }), fc.constantFrom(BLOCK_MS - 1, BLOCK_MS)),
      tookMs: fc.oneof(fc.constant(0), fc.nat({ max: 500 }), fc.nat({ max: 25_000 })),
      result: fc.oneof(
        { weight: 6, arbitrary: fc.constant("failure" as const) },
        { weight: 1, arbitrary: fc.constantFrom("success" as const, "neutral" as const) },
      ),
    })
    fc.assert(
      fc.property(fc.array(answer, { minLength: 5, maxLength: 60 }), (answers) => {
        const { health } = createScene()
        let nowMs = NOW_MS
        let openedMs = Number.NEGATIVE_INFINITY
        let failures: readonly number[] = []
        for (const { afterMs, tookMs, result } of answers) {
          nowMs += afterMs
          const startedMs = nowMs - tookMs
          health.record(result, startedMs, nowMs)
          if (nowMs >= openedMs + BLOCK_MS && startedMs > openedMs) {
            if (result === "failure") failures = [...failures.filter((atMs) => nowMs - atMs < 10_000), nowMs]
            if (result === "success") failures = failures.filter((atMs) => atMs > startedMs)
            if (failures.length === 5) [openedMs, failures] = [nowMs, []]
          }
          expect(health.isUnhealthy(nowMs)).toBe(nowMs < openedMs + BLOCK_MS)
        }
      }),
      { seed: 71, numRuns: 2_000 },
    )
  })
})

/** One origin, as the register of an isolate keeps it. */
function createScene() {
  let state: GuardState | undefined
  const health = {
    isUnhealthy: (nowMs: number): boolean => {
      const observed = observe(state, ORIGIN_BREAKER, nowMs)
      state = observed.state
      return observed.decision.isOpen
    },
    record: (result: OutcomeResult, startedMs: number, nowMs: number): void => {
      state = recordOriginAnswer(state, result, startedMs, nowMs)
    },
  }
  const fail = (nowMs: number, count: number): void => {
    for (let i = 0; i < count; i++) health.record("failure", nowMs, nowMs)
  }
  return { health, fail }
}

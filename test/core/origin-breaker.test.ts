/**
 * Goal: a URL is skipped exactly from its last tolerated failure on and for exactly the block; then one request at a time finds
 * out, and nothing else counts. Method: boundaries by hand; random histories of overlapping requests against what holds.
 */
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { parseGuardConfig } from "../../src/core/guard/guard-config.ts"
import {
  admitProbe,
  createOriginBreaker,
  isBlocked,
  recordAnswer,
  standingOf,
  type BreakerState,
  type OriginBreaker,
} from "../../src/core/origin/origin-breaker.ts"
import type { OutcomeResult } from "../../src/core/guard/outcome.ts"

const NOW_MS = 1_798_761_600_000
const TERMS = { failures: 3, windowMs: 10_000, openMs: 2_000 }
const TIMEOUT_MS = 500
const BREAKER = createOriginBreaker(TERMS, true, TIMEOUT_MS)
const OPENED_MS = NOW_MS + 2

test("createOriginBreaker() makes guards that the guard accepts", () => {
  const { closed, tripped } = BREAKER
  expect([closed, tripped].map((config) => parseGuardConfig(config))).toEqual(
    [closed, tripped].map((config) => ({ ok: true, config })),
  )
})

describe("a URL", () => {
  test("that nobody has asked is closed", () => {
    expect(standingOf(undefined, BREAKER, NOW_MS)).toEqual({ kind: "closed" })
  })

  test.each([
    [2, "closed"],
    [3, "open"],
  ])("after %d failures is %s", (failures, kind) => {
    expect(failed(failures).standing(NOW_MS + failures).kind).toBe(kind)
  })

  test.each([
    [0, { kind: "open", retryAfterMs: 2_000 }],
    [1_999, { kind: "open", retryAfterMs: 1 }],
    [2_000, { kind: "half-open" }],
  ])("%d ms after it opened stands as %j", (ms, standing) => {
    expect(failed(3).standing(OPENED_MS + ms)).toEqual(standing)
  })

  test("half open lets one request at a time find out", () => {
    const { probe, standing } = failed(3)
    expect([probe("a", OPENED_MS + 2_000), probe("b", OPENED_MS + 2_000)]).toEqual([true, false])
    expect(standing(OPENED_MS + 2_000)).toEqual({ kind: "open", retryAfterMs: null })
  })

  test("whose probe succeeds is closed, and tolerates as many failures as at first", () => {
    const scene = failed(3)
    scene.probe("a", OPENED_MS + 2_000)
    scene.answer("success", OPENED_MS + 2_000, OPENED_MS + 2_010, "a")
    for (let i = 0; i < 2; i += 1) scene.answer("failure", OPENED_MS + 2_020, OPENED_MS + 2_020)
    expect(scene.standing(OPENED_MS + 2_020)).toEqual({ kind: "closed" })
  })

  test("whose probe fails is open for another block", () => {
    const scene = failed(3)
    scene.probe("a", OPENED_MS + 2_000)
    scene.answer("failure", OPENED_MS + 2_000, OPENED_MS + 2_300, "a")
    expect(scene.standing(OPENED_MS + 2_300)).toEqual({ kind: "open", retryAfterMs: 2_000 })
  })

  test("whose probe was given up by its caller lets the next one find out", () => {
    const scene = failed(3)
    scene.probe("a", OPENED_MS + 2_000)
    scene.answer("neutral", OPENED_MS + 2_000, OPENED_MS + 2_001, "a")
    expect(scene.standing(OPENED_MS + 2_001)).toEqual({ kind: "half-open" })
  })

  test.each([
    [999, "open"],
    [1_000, "half-open"],
  ])("of whose probe nothing is heard for %d ms is %s", (ms, kind) => {
    const scene = failed(3)
    scene.probe("a", OPENED_MS + 2_000)
    expect(scene.standing(OPENED_MS + 2_000 + ms).kind).toBe(kind)
  })

  test.each(["success", "failure"] as const)(
    "learns nothing from a late %s to what was sent before it opened",
    (result) => {
      const scene = failed(3)
      scene.probe("a", OPENED_MS + 2_000)
      scene.answer(result, NOW_MS, OPENED_MS + 2_001)
      expect(scene.standing(OPENED_MS + 2_001)).toEqual({ kind: "open", retryAfterMs: null })
      scene.answer("success", OPENED_MS + 2_000, OPENED_MS + 2_002, "a")
      scene.answer("failure", NOW_MS, OPENED_MS + 2_003)
      expect(scene.failures()).toBe(0)
    },
  )

  test("learns nothing from a probe whose place had been given to another one", () => {
    const scene = failed(3)
    scene.probe("slow", OPENED_MS + 2_000)
    scene.probe("next", OPENED_MS + 3_000)
    scene.answer("success", OPENED_MS + 3_000, OPENED_MS + 3_001, "next")
    scene.answer("failure", OPENED_MS + 2_000, OPENED_MS + 3_002, "slow")
    expect([scene.standing(OPENED_MS + 3_002).kind, scene.failures()]).toEqual(["closed", 0])
  })

  test("that only tells is blocked and stays closed", () => {
    const scene = failed(3, createOriginBreaker(TERMS, false, TIMEOUT_MS))
    expect([scene.standing(OPENED_MS).kind, scene.isBlocked(OPENED_MS), scene.isBlocked(OPENED_MS + 2_000)]).toEqual([
      "closed",
      true,
      false,
    ])
  })

  test.each(["success", "neutral"] as const)("that never failed keeps nothing of a %s", (result) => {
    expect(recordAnswer(undefined, BREAKER, { result, startedMs: NOW_MS, probeId: undefined }, NOW_MS)).toBeUndefined()
  })

  test("has at most one probe out, and is asked by nothing else from its opening until one has succeeded", () => {
    const steps = fc.array(
      fc.record({
        waitMs: fc.nat({ max: 900 }),
        takesMs: fc.nat({ max: TIMEOUT_MS }),
        result: fc.constantFrom<OutcomeResult>("success", "failure", "failure", "neutral"),
      }),
      { maxLength: 120 },
    )
    fc.assert(
      fc.property(steps, (history) => {
        const scene = createScene(BREAKER)
        let nowMs = NOW_MS
        let out: { endsMs: number; startedMs: number; probeId: string | undefined; result: OutcomeResult }[] = []
        for (const [index, { result, takesMs, waitMs }] of history.entries()) {
          nowMs += waitMs
          for (const ended of out.filter(({ endsMs }) => endsMs <= nowMs).toSorted((a, b) => a.endsMs - b.endsMs))
            scene.answer(ended.result, ended.startedMs, ended.endsMs, ended.probeId)
          out = out.filter(({ endsMs }) => endsMs > nowMs)
          const wasTripped = scene.isTripped()
          const { kind } = scene.standing(nowMs)
          const probeId = kind === "half-open" ? `probe-${index}` : undefined
          expect(kind === "closed").toBe(!wasTripped)
          if (probeId !== undefined) expect(scene.probe(probeId, nowMs)).toBe(true)
          if (kind !== "open") out = [...out, { endsMs: nowMs + takesMs, startedMs: nowMs, probeId, result }]
          expect(out.filter((request) => request.probeId !== undefined).length).toBeLessThanOrEqual(1)
        }
      }),
      { seed: 20_270_103, numRuns: 1_000 },
    )
  })
})

function createScene(breaker: OriginBreaker) {
  let state: BreakerState | undefined
  return {
    standing: (nowMs: number) => standingOf(state, breaker, nowMs),
    isBlocked: (nowMs: number) => isBlocked(state, breaker, nowMs),
    isTripped: () => state?.isTripped === true,
    failures: () => state?.guard.failures.length ?? 0,
    probe: (id: string, nowMs: number): boolean => {
      if (state === undefined) return false
      const step = admitProbe(state, breaker, id, nowMs)
      state = step.state
      return step.isAdmitted
    },
    answer: (result: OutcomeResult, startedMs: number, nowMs: number, probeId?: string): void => {
      state = recordAnswer(state, breaker, { result, startedMs, probeId }, nowMs)
    },
  }
}

/** A URL that has failed so often, once each ms. */
function failed(failures: number, breaker = BREAKER) {
  const scene = createScene(breaker)
  for (let i = 0; i < failures; i += 1) scene.answer("failure", NOW_MS + i, NOW_MS + i)
  return scene
}

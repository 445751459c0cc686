/**
 * Goal: a block is never shorter than the minimum, never longer than the maximum, and doubles in between. Method:
 * properties over all attempts and jitters, single cases at the steps of the ladder, and every bound of the parser from
 * both sides.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { baseBackoffMs, blockMs, isGuardDuration, parseBackoff } from "../../src/core/guard/backoff.ts"
import type { Backoff } from "../../src/core/guard/backoff.ts"
import { GUARD_DURATION_MS_MAX } from "../../src/core/bounds.ts"

const LADDER = {
  kind: "exponential",
  minBackoffMs: 300_000,
  maxBackoffMs: 3_600_000,
  randomFactor: 0.2,
  resetBackoffMs: null,
} as const satisfies Backoff
const LINEAL: Backoff = { kind: "lineal", durationMs: 5_000 }
const ALMOST_ONE = 1 - Number.EPSILON / 2

const ladders = fc
  .record({
    minBackoffMs: fc.oneof(fc.integer({ min: 1, max: 10 }), fc.integer({ min: 1, max: GUARD_DURATION_MS_MAX })),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
    randomFactor: fc.double({ min: 0, max: 1, noNaN: true }),
  })
  .map(({ minBackoffMs, share, randomFactor }) => {
    const maxBackoffMs = minBackoffMs + Math.floor(share * (GUARD_DURATION_MS_MAX - minBackoffMs))
    return { ...LADDER, minBackoffMs, maxBackoffMs, randomFactor }
  })
const attempts = fc.oneof(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }))
const jitters = fc.oneof(fc.constantFrom(0, ALMOST_ONE), fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }))

describe("baseBackoffMs()", () => {
  test.each([
    [1, 300_000],
    [2, 600_000],
    [3, 1_200_000],
    [4, 2_400_000],
    [5, 3_600_000],
    [6, 3_600_000],
    [60, 3_600_000],
    [2_000, 3_600_000],
  ])("baseBackoffMs() of opening %i is %i ms", (attempt, expected) => {
    expect(baseBackoffMs(LADDER, attempt)).toBe(expected)
  })

  test("baseBackoffMs() doubles from one opening to the next until it is at the maximum", () => {
    fc.assert(
      fc.property(ladders, fc.integer({ min: 1, max: 60 }), (ladder, attempt) => {
        const next = Math.min(ladder.maxBackoffMs, 2 * baseBackoffMs(ladder, attempt))
        expect(baseBackoffMs(ladder, attempt + 1)).toBe(next)
      }),
      { seed: 301, numRuns: 500 },
    )
  })

  test("baseBackoffMs() reaches the longest possible maximum from the shortest possible minimum", () => {
    const steepest = { ...LADDER, minBackoffMs: 1, maxBackoffMs: GUARD_DURATION_MS_MAX }
    expect(baseBackoffMs(steepest, 1_000_000)).toBe(GUARD_DURATION_MS_MAX)
  })

  test.each([0, -1, Number.NaN, Number.NEGATIVE_INFINITY])(
    "baseBackoffMs() takes opening %s for the first",
    (attempt) => {
      expect(baseBackoffMs(LADDER, attempt)).toBe(300_000)
    },
  )

  test("baseBackoffMs() of a lineal back-off is the same for every opening", () => {
    expect([1, 2, 60].map((attempt) => baseBackoffMs(LINEAL, attempt))).toEqual([5_000, 5_000, 5_000])
  })
})

describe("blockMs()", () => {
  test("blockMs() is a whole number from the base to the base lengthened by the factor, and at most the maximum", () => {
    fc.assert(
      fc.property(ladders, attempts, jitters, (ladder, attempt, random) => {
        const block = blockMs(ladder, attempt, random)
        const baseMs = baseBackoffMs(ladder, attempt)
        expect(Number.isInteger(block)).toBe(true)
        expect(block).toBeGreaterThanOrEqual(ladder.minBackoffMs)
        expect(block).toBeGreaterThanOrEqual(baseMs)
        expect(block).toBeLessThanOrEqual(Math.round(baseMs * (1 + ladder.randomFactor)))
        expect(block).toBeLessThanOrEqual(ladder.maxBackoffMs)
      }),
      { seed: 302, numRuns: 1000 },
    )
  })

  test("blockMs() uses all of the factor", () => {
    expect(blockMs(LADDER, 1, ALMOST_ONE)).toBe(360_000)
  })

  test("blockMs() lengthens in proportion to the jitter", () => {
    expect(blockMs(LADDER, 2, 0.5)).toBe(660_000)
  })

  test("blockMs() rounds to the nearest ms", () => {
    expect([0.4, 0.6].map((random) => blockMs({ ...LADDER, minBackoffMs: 5 }, 1, random))).toEqual([5, 6])
  })

  test("blockMs() never exceeds the maximum by jitter", () => {
    expect(blockMs(LADDER, 5, ALMOST_ONE)).toBe(3_600_000)
  })

  test.each([Number.NaN, -0.1, 1, 7, Number.POSITIVE_INFINITY])("blockMs() takes the jitter %s for none", (random) => {
    expect(blockMs(LADDER, 1, random)).toBe(300_000)
  })

  test("blockMs() of a lineal back-off has no jitter", () => {
    expect(blockMs(LINEAL, 3, ALMOST_ONE)).toBe(5_000)
  })
})

describe("parseBackoff()", () => {
  test("parseBackoff() returns what a valid back-off says and nothing else", () => {
    expect(parseBackoff({ ...LADDER, comment: "x" })).toEqual({ ok: true, backoff: LADDER })
    expect(parseBackoff({ ...LINEAL, randomFactor: 7 })).toEqual({ ok: true, backoff: LINEAL })
  })

  test("parseBackoff() forgets the escalation after the longest block unless told otherwise", () => {
    const { resetBackoffMs: _, ...rest } = LADDER
    expect(parseBackoff(rest)).toEqual({ ok: true, backoff: { ...LADDER, resetBackoffMs: 3_600_000 } })
  })

  test.each([
    { resetBackoffMs: 0 },
    { resetBackoffMs: GUARD_DURATION_MS_MAX },
    { randomFactor: 0 },
    { randomFactor: 1 },
    { minBackoffMs: 3_600_000 },
    { minBackoffMs: 1, maxBackoffMs: 1 },
    { maxBackoffMs: GUARD_DURATION_MS_MAX },
  ])("parseBackoff() accepts %o", (members) => {
    expect(parseBackoff({ ...LADDER, ...members })).toEqual({ ok: true, backoff: { ...LADDER, ...members } })
  })

  test.each([
    [{ minBackoffMs: 0 }, "backoff.minBackoffMs"],
    [{ minBackoffMs: 1.5 }, "backoff.minBackoffMs"],
    [{ minBackoffMs: "1" }, "backoff.minBackoffMs"],
    [{ maxBackoffMs: GUARD_DURATION_MS_MAX + 1 }, "backoff.maxBackoffMs"],
    [{ maxBackoffMs: 299_999 }, "backoff.maxBackoffMs"],
    [{ maxBackoffMs: undefined }, "backoff.maxBackoffMs"],
    [{ randomFactor: -0.01 }, "backoff.randomFactor"],
    [{ randomFactor: 1.01 }, "backoff.randomFactor"],
    [{ randomFactor: Number.NaN }, "backoff.randomFactor"],
    [{ randomFactor: undefined }, "backoff.randomFactor"],
    [{ resetBackoffMs: -1 }, "backoff.resetBackoffMs"],
    [{ resetBackoffMs: GUARD_DURATION_MS_MAX + 1 }, "backoff.resetBackoffMs"],
    [{ resetBackoffMs: "manual" }, "backoff.resetBackoffMs"],
    [{ kind: "linear" }, "backoff.kind"],
    [{ kind: "lineal" }, "backoff.durationMs"],
    [{ kind: "lineal", durationMs: 0 }, "backoff.durationMs"],
  ])("parseBackoff() rejects %o and names %s alone", (members, name) => {
    const result = parseBackoff({ ...LADDER, ...members })
    expect(result.ok ? [] : result.problems.map((problem) => problem.split(" ")[0])).toEqual([name])
  })

  test("parseBackoff() names everything that is wrong", () => {
    const result = parseBackoff({ kind: "exponential", randomFactor: 2, resetBackoffMs: -1 })
    expect(result.ok ? [] : result.problems.map((problem) => problem.split(" ")[0])).toEqual([
      "backoff.minBackoffMs",
      "backoff.maxBackoffMs",
      "backoff.randomFactor",
      "backoff.resetBackoffMs",
    ])
  })

  test("parseBackoff() is total", () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        expect(parseBackoff(value).ok).toBe(false)
      }),
      { seed: 303, numRuns: 300 },
    )
  })
})

describe("isGuardDuration()", () => {
  test.each([
    [0, false],
    [1, true],
    [GUARD_DURATION_MS_MAX, true],
    [GUARD_DURATION_MS_MAX + 1, false],
    [1.5, false],
    [Number.NaN, false],
    ["1", false],
    [1n, false],
  ])("isGuardDuration() of %s is %s", (value, expected) => {
    expect(isGuardDuration(value)).toBe(expected)
  })
})

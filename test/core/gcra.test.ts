/**
 * Goal: the bucket admits what an exact token bucket admits, no more and no less, whatever the arrivals, the clock and
 * the configuration do. Method: properties over random histories, one against an independent GCRA in rational
 * arithmetic; single cases where the rule is a boundary. The vectors have a test of their own.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import {
  acquire,
  acquirePartial,
  ceilDiv,
  isAccrualOnly,
  parseBucketConfig,
  parseBucketState,
  peek,
  refund,
  reset,
  settle,
} from "../../src/core/limit/gcra.ts"
import type { BucketConfig, BucketState } from "../../src/core/limit/gcra.ts"

const START_MS = 1_790_000_000_000
const FIVE_PER_SECOND: BucketConfig = { burst: 10, rate: { count: 5, periodMs: 1000 } }

const configs: fc.Arbitrary<BucketConfig> = fc.record({
  burst: fc.integer({ min: 1, max: 40 }),
  rate: fc.record({ count: fc.integer({ min: 1, max: 30 }), periodMs: fc.integer({ min: 1, max: 20_000 }) }),
})
const arrivals = fc.array(
  fc.record({
    gapMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 3000 }), fc.integer({ min: 0, max: 200_000 })),
    n: fc.oneof({ weight: 4, arbitrary: fc.constant(1) }, fc.integer({ min: 0, max: 45 })),
  }),
  { minLength: 1, maxLength: 60 },
)
/** Any operation, also with a clock that runs backwards and a configuration that changes. */
const operations = fc.array(
  fc.record({
    do: fc.constantFrom("acquire", "partial", "peek", "refund", "reset", "config"),
    gapMs: fc.oneof(fc.integer({ min: 0, max: 5000 }), fc.integer({ min: -200_000, max: 200_000 })),
    n: fc.integer({ min: -1, max: 45 }),
    config: configs,
  }),
  { minLength: 1, maxLength: 40 },
)
type Operation = Parameters<Parameters<typeof operations.map>[0]>[0][number]

function apply(state: BucketState | undefined, config: BucketConfig, operation: Operation, nowMs: number) {
  switch (operation.do) {
    case "acquire":
      return acquire(state, config, operation.n, nowMs)
    case "partial":
      return acquirePartial(state, config, operation.n, nowMs)
    case "refund":
      return refund(state, config, operation.n, nowMs)
    case "reset":
      return reset(state, config, nowMs)
    default:
      return peek(state, config, nowMs)
  }
}

/** The state of a bucket with exactly `level` units at START_MS. */
function stateAt(config: BucketConfig, level: number): BucketState {
  return { ...settle(undefined, config, START_MS), level }
}

describe("acquire()", () => {
  test("acquire() admits at most burst + rate * (t - s) in every window [s, t]", () => {
    fc.assert(
      fc.property(configs, arrivals, (config, history) => {
        let state: BucketState | undefined
        let nowMs = START_MS
        const admitted: { readonly atMs: number; readonly n: number }[] = []
        for (const { gapMs, n } of history) {
          nowMs += gapMs
          const step = acquire(state, config, n, nowMs)
          state = step.state
          if (step.decision.allowed) admitted.push({ atMs: nowMs, n })
        }
        const { burst, rate } = config
        for (const [from, first] of admitted.entries()) {
          let sum = 0
          for (const { atMs, n } of admitted.slice(from)) {
            sum += n
            expect(sum * rate.periodMs).toBeLessThanOrEqual(burst * rate.periodMs + rate.count * (atMs - first.atMs))
          }
        }
      }),
      { seed: 101, numRuns: 500 },
    )
  })

  test("acquire() decides as GCRA in rational arithmetic does", () => {
    fc.assert(
      fc.property(configs, arrivals, (config, history) => {
        const burst = BigInt(config.burst)
        const interval = BigInt(config.rate.periodMs)
        const count = BigInt(config.rate.count)
        // All times multiplied by `count`, which makes the emission interval the whole number `periodMs`.
        let theoreticalArrival = BigInt(START_MS) * count
        let state: BucketState | undefined
        let nowMs = START_MS
        for (const { gapMs, n } of history) {
          nowMs += gapMs
          const now = BigInt(nowMs) * count
          const from = theoreticalArrival > now ? theoreticalArrival : now
          const next = from + BigInt(n) * interval
          const conforms = now >= next - burst * interval
          const step = acquire(state, config, n, nowMs)
          state = step.state
          expect(step.decision.allowed).toBe(conforms)
          if (conforms) theoreticalArrival = next
          const ahead = theoreticalArrival > now ? theoreticalArrival - now : 0n
          expect(BigInt(step.decision.remaining)).toBe((burst * interval - ahead) / interval)
          expect(BigInt(step.decision.resetAfterMs)).toBe((ahead + count - 1n) / count)
        }
      }),
      { seed: 102, numRuns: 500 },
    )
  })

  test("acquire() names a wait that is tight: allowed then, refused 1 ms earlier", () => {
    fc.assert(
      fc.property(configs, arrivals, (config, history) => {
        let state: BucketState | undefined
        let nowMs = START_MS
        for (const { gapMs, n } of history) {
          nowMs += gapMs
          const step = acquire(state, config, n, nowMs)
          state = step.state
          const wait = step.decision.retryAfterMs
          if (wait === null) continue
          expect(acquire(state, config, n, nowMs + wait).decision.allowed).toBe(true)
          expect(acquire(state, config, n, nowMs + wait - 1).decision.allowed).toBe(false)
        }
      }),
      { seed: 103, numRuns: 500 },
    )
  })

  test("acquire() has a wait exactly when it refuses for now", () => {
    fc.assert(
      fc.property(configs, arrivals, (config, history) => {
        let state: BucketState | undefined
        for (const { n } of history) {
          const { state: next, decision } = acquire(state, config, n, START_MS)
          state = next
          expect(decision.retryAfterMs !== null).toBe(!decision.allowed && !decision.permanent)
        }
      }),
      { seed: 104, numRuns: 200 },
    )
  })

  test.each([-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])("acquire() refuses n = %s and changes nothing", (n) => {
    const state = stateAt(FIVE_PER_SECOND, 4321)
    const step = acquire(state, FIVE_PER_SECOND, n, START_MS + 500)
    expect(step.decision).toMatchObject({ allowed: false, permanent: true, error: "invalid-n" })
    expect(step.state).toBe(state)
  })

  test("acquire() refuses for good what no double can count exactly", () => {
    expect(acquire(undefined, FIVE_PER_SECOND, 2 ** 60, START_MS).decision).toMatchObject({
      allowed: false,
      permanent: true,
      remaining: 10,
    })
  })
})

describe("acquirePartial()", () => {
  test("acquirePartial() with n = 0 observes", () => {
    const { decision } = acquirePartial(stateAt(FIVE_PER_SECOND, 0), FIVE_PER_SECOND, 0, START_MS)
    expect(decision).toMatchObject({ allowed: true, granted: 0 })
  })

  test("acquirePartial() is never refused for good", () => {
    const { decision } = acquirePartial(stateAt(FIVE_PER_SECOND, 999), FIVE_PER_SECOND, 1000, START_MS)
    expect(decision).toMatchObject({ allowed: false, permanent: false, retryAfterMs: 1, granted: 0 })
  })
})

describe("peek()", () => {
  test("peek() names no next token when the bucket is full", () => {
    expect(peek(undefined, FIVE_PER_SECOND, START_MS).decision.nextMs).toBe(0)
  })

  test("peek() names the time of the next token to the millisecond", () => {
    fc.assert(
      fc.property(configs, fc.double({ min: 0, max: 1, noNaN: true }), (config, share) => {
        const capacity = config.burst * config.rate.periodMs
        const state = stateAt(config, Math.min(capacity - 1, Math.floor(share * capacity)))
        const { nextMs, remaining } = peek(state, config, START_MS).decision
        expect(peek(state, config, START_MS + nextMs).decision.remaining).toBeGreaterThan(remaining)
        expect(peek(state, config, START_MS + nextMs - 1).decision.remaining).toBe(remaining)
      }),
      { seed: 105, numRuns: 500 },
    )
  })
})

describe("reset()", () => {
  test("reset() fills the bucket", () => {
    const { decision } = reset(stateAt(FIVE_PER_SECOND, 0), FIVE_PER_SECOND, START_MS)
    expect(decision).toMatchObject({ remaining: 10, resetAfterMs: 0 })
  })
})

describe("refund()", () => {
  test("refund() refuses a negative n, which would take tokens", () => {
    const state = stateAt(FIVE_PER_SECOND, 5000)
    expect(refund(state, FIVE_PER_SECOND, -1, START_MS)).toMatchObject({ state, decision: { error: "invalid-n" } })
  })

  test("refund() fills the bucket and no more when n is beyond counting", () => {
    expect(refund(stateAt(FIVE_PER_SECOND, 1), FIVE_PER_SECOND, 1e300, START_MS).state.level).toBe(10_000)
  })
})

describe("settle()", () => {
  test("settle() makes every state serialisable: a round trip at every step is invisible", () => {
    fc.assert(
      fc.property(configs, operations, (config, history) => {
        let current = config
        let kept: BucketState | undefined
        let stored: BucketState | undefined
        let nowMs = START_MS
        for (const operation of history) {
          nowMs += operation.gapMs
          if (operation.do === "config") current = operation.config
          const expected = apply(kept, current, operation, nowMs)
          const actual = apply(stored, current, operation, nowMs)
          expect(actual).toEqual(expected)
          kept = expected.state
          stored = parseBucketState(JSON.parse(JSON.stringify(actual.state)))
          expect(stored).toBeDefined()
        }
      }),
      { seed: 106, numRuns: 500 },
    )
  })

  test("settle() stays within the exact integers for the largest limits and the longest idle", () => {
    const huge = fc
      .tuple(fc.maxSafeNat(), fc.maxSafeNat(), fc.maxSafeNat(), fc.nat({ max: 1000 }))
      .map(([a, count, b, small]) => {
        const burst = Math.max(1, a)
        const periodMs = Math.max(1, Math.min(b, Math.floor(Number.MAX_SAFE_INTEGER / burst)))
        return { burst, rate: { count: Math.max(1, count), periodMs }, initial: small }
      })
    fc.assert(
      fc.property(huge, huge, fc.maxSafeNat(), fc.maxSafeNat(), (config, other, firstMs, secondMs) => {
        let state: BucketState | undefined
        for (const [current, nowMs] of [
          [config, Math.min(firstMs, secondMs)],
          [config, Math.max(firstMs, secondMs)],
          [other, Math.max(firstMs, secondMs)],
          [other, Number.MAX_SAFE_INTEGER],
        ] as const) {
          state = acquire(state, current, 1, nowMs).state
          expect(parseBucketState(state)).toEqual(state)
        }
      }),
      { seed: 107, numRuns: 1000 },
    )
  })

  test("settle() fills exactly at resetAfterMs, not 1 ms earlier", () => {
    fc.assert(
      fc.property(configs, (config) => {
        const empty = stateAt(config, 0)
        const { resetAfterMs } = peek(empty, config, START_MS).decision
        const capacity = config.burst * config.rate.periodMs
        expect(settle(empty, config, START_MS + resetAfterMs).level).toBe(capacity)
        expect(settle(empty, config, START_MS + resetAfterMs - 1).level).toBeLessThan(capacity)
      }),
      { seed: 108, numRuns: 300 },
    )
  })

  test("settle() mints no token when the configuration changes", () => {
    fc.assert(
      fc.property(configs, configs, fc.double({ min: 0, max: 1, noNaN: true }), (from, to, share) => {
        const state = stateAt(from, Math.floor(share * from.burst * from.rate.periodMs))
        const changed = settle(state, to, START_MS)
        // tokens = level / periodMs, compared without dividing
        expect(BigInt(changed.level) * BigInt(state.periodMs)).toBeLessThanOrEqual(
          BigInt(state.level) * BigInt(changed.periodMs),
        )
        expect(changed.level).toBeLessThanOrEqual(to.burst * to.rate.periodMs)
      }),
      { seed: 109, numRuns: 500 },
    )
  })

  test("settle() credits each millisecond once while the clock steps back by up to 60 s", () => {
    const steps = fc.array(fc.integer({ min: -60_000, max: 60_000 }), { maxLength: 40 })
    fc.assert(
      fc.property(configs, steps, (config, gaps) => {
        let state = stateAt(config, 0)
        let latestMs = START_MS
        let granted = 0
        for (const gapMs of gaps) {
          // Never more than 60 s behind the latest instant seen, which is where the rule changes.
          const nowMs = Math.max(latestMs + gapMs, latestMs - 60_000)
          latestMs = Math.max(latestMs, nowMs)
          const step = acquirePartial(state, config, config.burst, nowMs)
          state = step.state
          granted += step.decision.granted
        }
        expect(granted * config.rate.periodMs).toBeLessThanOrEqual(config.rate.count * (latestMs - START_MS))
      }),
      { seed: 110, numRuns: 500 },
    )
  })

  test("settle() keeps its clock when the time steps back by exactly 60 s", () => {
    expect(settle(stateAt(FIVE_PER_SECOND, 7), FIVE_PER_SECOND, START_MS - 60_000).lastMs).toBe(START_MS)
  })

  test("settle() re-anchors its clock and keeps the tokens when the time steps back by 60 s and 1 ms", () => {
    const state = stateAt(FIVE_PER_SECOND, 7)
    expect(settle(state, FIVE_PER_SECOND, START_MS - 60_001)).toEqual({ ...state, lastMs: START_MS - 60_001 })
  })

  test("settle() credits no time for a clock that cannot be read", () => {
    const state = stateAt(FIVE_PER_SECOND, 7)
    expect(settle(state, FIVE_PER_SECOND, Number.NaN)).toBe(state)
  })

  test("settle() mints nothing when the very first clock cannot be read", () => {
    const empty = settle(undefined, { ...FIVE_PER_SECOND, initial: 0 }, Number.NaN)
    expect(settle(empty, FIVE_PER_SECOND, START_MS).level).toBe(0)
  })

  test("settle() starts with burst when initial is larger", () => {
    expect(settle(undefined, { ...FIVE_PER_SECOND, initial: 11 }, START_MS).level).toBe(10_000)
  })
})

describe("isAccrualOnly()", () => {
  test("isAccrualOnly() is true when only time passed", () => {
    const state = stateAt(FIVE_PER_SECOND, 7)
    expect(isAccrualOnly(state, settle(state, FIVE_PER_SECOND, START_MS + 5))).toBe(true)
  })

  test("isAccrualOnly() is false when the clock was re-anchored", () => {
    const state = stateAt(FIVE_PER_SECOND, 7)
    expect(isAccrualOnly(state, settle(state, FIVE_PER_SECOND, START_MS - 60_001))).toBe(false)
  })

  test.each([
    { burst: 11, rate: { count: 5, periodMs: 1000 } },
    { burst: 10, rate: { count: 6, periodMs: 1000 } },
    { burst: 10, rate: { count: 5, periodMs: 1001 } },
  ])("isAccrualOnly() is false when the configuration became $burst, $rate", (config) => {
    const state = stateAt(FIVE_PER_SECOND, 0)
    expect(isAccrualOnly(state, settle(state, config, START_MS))).toBe(false)
  })
})

describe("parseBucketConfig()", () => {
  test("parseBucketConfig() returns the known members only", () => {
    const value = { ...FIVE_PER_SECOND, initial: 3, name: "x" }
    expect(parseBucketConfig(value)).toEqual({ ok: true, config: { ...FIVE_PER_SECOND, initial: 3 } })
  })

  test("parseBucketConfig() names every problem", () => {
    const result = parseBucketConfig({ burst: 0, rate: { count: "5" }, initial: -1 })
    expect(result).toEqual({
      ok: false,
      problems: [
        "burst must be an integer of at least 1",
        "rate.count must be an integer of at least 1",
        "rate.periodMs must be an integer of at least 1",
        "initial must be an integer of at least 0",
      ],
    })
  })

  test("parseBucketConfig() refuses a capacity of 2^53", () => {
    const result = parseBucketConfig({ burst: 2 ** 43, rate: { count: 1, periodMs: 1024 } })
    expect(result).toEqual({ ok: false, problems: ["burst times rate.periodMs must be below 2^53"] })
  })

  test("parseBucketConfig() accepts the capacity just below 2^53", () => {
    expect(parseBucketConfig({ burst: 2 ** 53 - 1, rate: { count: 1, periodMs: 1 } }).ok).toBe(true)
  })

  test.each([undefined, null, 5, "x", [], { burst: 1, rate: null }])("parseBucketConfig() refuses %j", (value) => {
    expect(parseBucketConfig(value).ok).toBe(false)
  })
})

describe("parseBucketState()", () => {
  const valid = stateAt(FIVE_PER_SECOND, 10_000)

  test("parseBucketState() returns the known members only", () => {
    expect(parseBucketState({ ...valid, extra: 1 })).toEqual(valid)
  })

  test.each([
    ["a level above capacity", { level: 10_001 }],
    ["a negative level", { level: -1 }],
    ["a fractional level", { level: 0.5 }],
    ["a level that is no number", { level: "1" }],
    ["no clock", { lastMs: null }],
    ["a fractional clock", { lastMs: 0.5 }],
    ["a rate of zero", { count: 0 }],
    ["a period of zero", { periodMs: 0 }],
    ["a capacity of 2^53", { burst: 2 ** 53 - 1 }],
  ])("parseBucketState() refuses %s", (_, member) => {
    expect(parseBucketState({ ...valid, ...member })).toBeUndefined()
  })
})

describe("ceilDiv()", () => {
  const divisors = fc.oneof(fc.maxSafeNat(), fc.nat({ max: 10_000 })).map((b) => Math.max(1, b))
  const bigCeilDiv = (a: number, b: number) => (BigInt(a) + BigInt(b) - 1n) / BigInt(b)

  test("ceilDiv() equals division of big integers", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), divisors, (a, b) => {
        expect(BigInt(ceilDiv(a, b))).toBe(bigCeilDiv(a, b))
      }),
      { seed: 111, numRuns: 5000 },
    )
  })

  test("ceilDiv() does not slip one beside the largest multiples of the divisor", () => {
    fc.assert(
      fc.property(divisors, fc.nat({ max: 3 }), fc.constantFrom(-1, 0, 1), (b, below, offset) => {
        const multiple = Number.MAX_SAFE_INTEGER - (Number.MAX_SAFE_INTEGER % b) - below * b
        const a = Math.min(Number.MAX_SAFE_INTEGER, Math.max(0, multiple + offset))
        expect(BigInt(ceilDiv(a, b))).toBe(bigCeilDiv(a, b))
      }),
      { seed: 112, numRuns: 5000 },
    )
  })
})

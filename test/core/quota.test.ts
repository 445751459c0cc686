/**
 * Goal: a quota gives out its limit once per window, whatever the clock and the configuration do. Method: properties over
 * random histories, one of them against the plainest counter there is; single cases where the rule is a boundary. The
 * vectors have a test of their own, the calendar another.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { windowAt } from "../../src/core/limit/calendar.ts"
import { CLOCK_MS_MAX } from "../../src/core/clock.ts"
import {
  acquireQuota,
  exhaustedQuota,
  isSameQuota,
  parseQuotaConfig,
  parseQuotaState,
  peekQuota,
  refundQuota,
  resetQuota,
  settleQuota,
} from "../../src/core/limit/quota.ts"
import type { QuotaConfig, QuotaState } from "../../src/core/limit/quota.ts"

/** 2025-01-15 12:00 UTC. */
const NOON_MS = 1_736_942_400_000
const MIDNIGHT_MS = NOON_MS + 43_200_000
const DAY_MS = 86_400_000
const DAILY: QuotaConfig = { limit: 10, unit: "day", timezone: "UTC" }

const configs: fc.Arbitrary<QuotaConfig> = fc.record({
  limit: fc.integer({ min: 0, max: 20 }),
  unit: fc.constantFrom("hour" as const, "day" as const, "month" as const),
  timezone: fc.constantFrom("UTC", "Africa/Cairo", "Asia/Kolkata", "America/New_York", "Australia/Lord_Howe"),
})
const gaps = fc.oneof(
  fc.integer({ min: 0, max: 5000 }),
  fc.integer({ min: 0, max: 40 * DAY_MS }),
  fc.integer({ min: -60_000, max: 0 }),
  fc.integer({ min: -40 * DAY_MS, max: 0 }),
)
const operations = fc.array(
  fc.record({
    do: fc.constantFrom("acquire", "acquire", "acquire", "peek", "refund", "reset"),
    gapMs: gaps,
    n: fc.integer({ min: -1, max: 22 }),
  }),
  { minLength: 1, maxLength: 40 },
)
type Operation = Parameters<Parameters<typeof operations.map>[0]>[0][number]

function apply(state: QuotaState | undefined, config: QuotaConfig, operation: Operation, nowMs: number) {
  switch (operation.do) {
    case "acquire":
      return acquireQuota(state, config, operation.n, nowMs)
    case "refund":
      return refundQuota(state, config, operation.n, nowMs)
    case "reset":
      return resetQuota(state, config, nowMs)
    case "peek":
      return peekQuota(state, config, nowMs)
  }
}

/** The state after `used` of DAILY at noon. */
function used(count: number): QuotaState {
  return acquireQuota(undefined, DAILY, count, NOON_MS).state
}

describe("acquireQuota()", () => {
  test("acquireQuota() equals a counter per window while time goes forward", () => {
    const arrivals = fc.array(fc.record({ gapMs: fc.nat({ max: 3 * DAY_MS }), n: fc.nat({ max: 22 }) }))
    fc.assert(
      fc.property(configs, arrivals, (config, history) => {
        const counters = new Map<number, number>()
        let state: QuotaState | undefined
        let nowMs = NOON_MS
        for (const { gapMs, n } of history) {
          nowMs += gapMs
          const window = windowAt(nowMs, config.unit, config.timezone)
          const before = counters.get(window.startMs) ?? 0
          const isAllowed = before + n <= config.limit
          if (isAllowed) counters.set(window.startMs, before + n)
          const after = isAllowed ? before + n : before
          const step = acquireQuota(state, config, n, nowMs)
          state = step.state
          const isPermanent = n > config.limit
          expect(step.decision).toEqual({
            allowed: isAllowed,
            permanent: isPermanent,
            remaining: config.limit - after,
            retryAfterMs: isAllowed || isPermanent ? null : window.endMs - nowMs,
            resetAfterMs: window.endMs - nowMs,
            nextMs: after > 0 ? window.endMs - nowMs : 0,
          })
        }
      }),
      { seed: 161, numRuns: 300 },
    )
  })

  test("acquireQuota() names a wait that is tight: allowed then, refused 1 ms earlier", () => {
    fc.assert(
      fc.property(configs, operations, (config, history) => {
        let state: QuotaState | undefined
        let nowMs = NOON_MS
        for (const operation of history) {
          nowMs += operation.gapMs
          const step = apply(state, config, operation, nowMs)
          state = step.state
          const { retryAfterMs } = step.decision
          if (retryAfterMs === null) continue
          // From the effective time: the clock may be behind it.
          const thenMs = state.lastMs + retryAfterMs
          expect(acquireQuota(state, config, operation.n, thenMs).decision.allowed).toBe(true)
          expect(acquireQuota(state, config, operation.n, thenMs - 1).decision.allowed).toBe(false)
        }
      }),
      { seed: 162, numRuns: 300 },
    )
  })

  test("acquireQuota() changes nothing but the clock when it refuses", () => {
    fc.assert(
      fc.property(configs, operations, (config, history) => {
        let state: QuotaState | undefined
        let nowMs = NOON_MS
        for (const operation of history) {
          nowMs += operation.gapMs
          const refused = acquireQuota(state, config, operation.n, nowMs)
          if (!refused.decision.allowed && refused.decision.error === undefined) {
            expect(refused.state).toEqual(peekQuota(state, config, nowMs).state)
          }
          state = apply(state, config, operation, nowMs).state
        }
      }),
      { seed: 163, numRuns: 300 },
    )
  })

  test("acquireQuota() stays exact at the largest limit", () => {
    const config = { ...DAILY, limit: Number.MAX_SAFE_INTEGER }
    const { state } = acquireQuota(undefined, config, Number.MAX_SAFE_INTEGER - 1, NOON_MS)
    expect(acquireQuota(state, config, 2, NOON_MS).decision.allowed).toBe(false)
    expect(acquireQuota(state, config, 1, NOON_MS)).toMatchObject({
      state: { used: Number.MAX_SAFE_INTEGER },
      decision: { allowed: true, remaining: 0 },
    })
  })

  test("acquireQuota() of nothing is allowed by a quota that admits nothing", () => {
    expect(acquireQuota(undefined, { ...DAILY, limit: 0 }, 0, NOON_MS).decision.allowed).toBe(true)
  })

  test.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY])("acquireQuota(%d) is invalid and permanent", (n) => {
    const state = used(3)
    const step = acquireQuota(state, DAILY, n, NOON_MS + DAY_MS)
    expect(step.decision).toMatchObject({ allowed: false, permanent: true, retryAfterMs: null, error: "invalid-n" })
    expect(step.state).toBe(state)
  })

  test("acquireQuota() gives the wait to the end of the window of its effective time", () => {
    const { state } = acquireQuota(used(10), DAILY, 0, MIDNIGHT_MS - 1000)
    expect(acquireQuota(state, DAILY, 1, MIDNIGHT_MS - 61_000).decision.retryAfterMs).toBe(1000)
    expect(acquireQuota(state, DAILY, 1, MIDNIGHT_MS - 61_001).decision.retryAfterMs).toBe(61_001)
  })
})

describe("settleQuota()", () => {
  test("settleQuota() never moves to an earlier window and never uses less than nothing", () => {
    fc.assert(
      fc.property(configs, operations, (config, history) => {
        let state: QuotaState | undefined
        let nowMs = NOON_MS
        for (const operation of history) {
          nowMs += operation.gapMs
          const next = apply(state, config, operation, nowMs).state
          expect(next.used).toBeGreaterThanOrEqual(0)
          expect(next.used).toBeLessThanOrEqual(config.limit)
          expect(next.lastMs).toBeLessThan(next.endMs)
          if (state !== undefined) {
            const isSameWindow = next.startMs === state.startMs && next.endMs === state.endMs
            expect(isSameWindow || next.startMs >= state.endMs).toBe(true)
          }
          state = next
        }
      }),
      { seed: 164, numRuns: 500 },
    )
  })

  test("settleQuota() gives each window out once, however the clock goes back and forth", () => {
    fc.assert(
      fc.property(configs, operations, (config, history) => {
        const taken = new Map<number, number>()
        let state: QuotaState | undefined
        let nowMs = NOON_MS
        for (const { gapMs, n } of history) {
          nowMs += gapMs
          const step = acquireQuota(state, config, n, nowMs)
          state = step.state
          if (!step.decision.allowed) continue
          taken.set(state.startMs, (taken.get(state.startMs) ?? 0) + n)
          expect(taken.get(state.startMs)).toBeLessThanOrEqual(config.limit)
        }
      }),
      { seed: 165, numRuns: 500 },
    )
  })

  test("settleQuota() forgets nothing that is used of a window when the configuration changes", () => {
    fc.assert(
      fc.property(configs, configs, fc.nat({ max: 20 }), gaps, (from, to, n, gapMs) => {
        const state = { ...settleQuota(undefined, from, NOON_MS), used: n }
        const changed = settleQuota(state, to, NOON_MS + gapMs)
        expect(changed.used).toBe(changed.lastMs < state.endMs ? n : 0)
        expect(changed.endMs).toBeGreaterThan(state.startMs)
        expect({ unit: changed.unit, timezone: changed.timezone }).toEqual({ unit: to.unit, timezone: to.timezone })
        expect(changed.lastMs).toBeLessThan(changed.endMs)
      }),
      { seed: 166, numRuns: 500 },
    )
  })

  test("settleQuota() stays what it is through storage at every step", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(configs, operations), { maxLength: 4 }), (parts) => {
        let state: QuotaState | undefined
        let nowMs = NOON_MS
        for (const [config, history] of parts) {
          for (const operation of history) {
            nowMs += operation.gapMs
            state = apply(state, config, operation, nowMs).state
            expect(parseQuotaState(JSON.parse(JSON.stringify(state)))).toEqual(state)
          }
        }
      }),
      { seed: 167, numRuns: 200 },
    )
  })

  test("settleQuota() asks the calendar for the zone of a changed configuration", () => {
    const tokyo = { ...DAILY, timezone: "Asia/Tokyo" }
    expect(settleQuota(used(3), tokyo, NOON_MS)).toMatchObject({ used: 3, endMs: MIDNIGHT_MS - 9 * 3_600_000 })
  })

  test("settleQuota() asks the calendar for the unit of a changed configuration", () => {
    const hourly = { ...DAILY, unit: "hour" as const }
    expect(settleQuota(used(3), hourly, NOON_MS)).toMatchObject({ used: 3, endMs: NOON_MS + 3_600_000 })
  })

  test("settleQuota() does not go back before its window when the clock and the unit change together", () => {
    const hourly = { ...DAILY, unit: "hour" as const }
    const settled = settleQuota(used(3), hourly, NOON_MS - 10 * DAY_MS)
    expect(settled.startMs).toBe(NOON_MS - 43_200_000)
  })

  test("settleQuota() counts within the last window after the last instant, and not anew each time", () => {
    const { state } = acquireQuota(undefined, DAILY, 10, CLOCK_MS_MAX + DAY_MS)
    expect(acquireQuota(state, DAILY, 1, CLOCK_MS_MAX + 5 * DAY_MS).decision.allowed).toBe(false)
  })

  test.each([Number.NaN, -1, -1e300])("settleQuota() starts in the first window when the clock reads %d", (nowMs) => {
    expect(settleQuota(undefined, DAILY, nowMs)).toMatchObject({ startMs: 0, endMs: DAY_MS, lastMs: 0 })
  })

  test("settleQuota() returns the state itself when no time has passed", () => {
    const state = used(1)
    expect(settleQuota(state, DAILY, NOON_MS)).toBe(state)
  })
})

describe("refundQuota() and resetQuota()", () => {
  test("refundQuota() gives back what was used, and no more than that", () => {
    expect(refundQuota(used(7), DAILY, 3, NOON_MS).decision.remaining).toBe(6)
    expect(refundQuota(used(7), DAILY, 1e300, NOON_MS)).toMatchObject({ state: { used: 0 }, decision: { nextMs: 0 } })
  })

  test("refundQuota() of what was used in the window before gives nothing", () => {
    expect(refundQuota(used(7), DAILY, 3, MIDNIGHT_MS).state.used).toBe(0)
  })

  test.each([-1, 0.5, Number.NaN])("refundQuota(%d) is invalid and changes nothing", (n) => {
    const state = used(7)
    const step = refundQuota(state, DAILY, n, MIDNIGHT_MS)
    expect(step).toMatchObject({ decision: { allowed: false, error: "invalid-n" } })
    expect(step.state).toBe(state)
  })

  test("resetQuota() makes all of the window free again", () => {
    expect(resetQuota(used(10), DAILY, NOON_MS).decision).toMatchObject({ allowed: true, remaining: 10, nextMs: 0 })
  })
})

test("exhaustedQuota() gives nothing in the window of the loss and everything in the next", () => {
  const state = exhaustedQuota(DAILY, NOON_MS)
  expect(acquireQuota(state, DAILY, 1, MIDNIGHT_MS - 1).decision).toMatchObject({ allowed: false, remaining: 0 })
  expect(acquireQuota(state, DAILY, 10, MIDNIGHT_MS).decision.allowed).toBe(true)
})

describe("isSameQuota()", () => {
  test("isSameQuota() is true when only time passed within the window", () => {
    expect(isSameQuota(used(3), settleQuota(used(3), DAILY, NOON_MS + 5))).toBe(true)
  })

  test.each<[string, QuotaState]>([
    ["something was used", used(4)],
    ["a new window began", { ...settleQuota(used(3), DAILY, MIDNIGHT_MS), used: 3 }],
    ["the clock was put back", settleQuota(used(3), DAILY, NOON_MS - 60_001)],
    ["the window ends at another time", { ...used(3), endMs: MIDNIGHT_MS + 1 }],
    ["the window began at another time", { ...used(3), startMs: 5 }],
    ["the unit changed", { ...used(3), unit: "month" }],
    ["the zone changed", { ...used(3), timezone: "Etc/UTC" }],
  ])("isSameQuota() is false when %s", (_, after) => {
    expect(isSameQuota(used(3), after)).toBe(false)
  })
})

describe("parseQuotaConfig()", () => {
  test("parseQuotaConfig() returns the known members only", () => {
    expect(parseQuotaConfig({ ...DAILY, name: "x" })).toEqual({ ok: true, config: DAILY })
  })

  test("parseQuotaConfig() accepts a limit of 0", () => {
    expect(parseQuotaConfig({ ...DAILY, limit: 0 }).ok).toBe(true)
  })

  test("parseQuotaConfig() names every problem", () => {
    expect(parseQuotaConfig({ limit: -1, unit: "week", timezone: "Asia/Nowhere" })).toEqual({
      ok: false,
      problems: [
        "limit must be an integer of at least 0",
        "unit must be one of hour, day, month",
        "timezone must be a zone of the IANA database that this runtime knows, such as Asia/Tokyo",
      ],
    })
  })

  test.each([
    undefined,
    null,
    5,
    [],
    { ...DAILY, limit: 0.5 },
    { ...DAILY, limit: "10" },
    { ...DAILY, limit: 2 ** 53 },
    { ...DAILY, unit: "toString" },
    { ...DAILY, timezone: undefined },
    { ...DAILY, timezone: "+09:00" },
  ])("parseQuotaConfig() refuses %j", (value) => {
    expect(parseQuotaConfig(value).ok).toBe(false)
  })
})

describe("parseQuotaState()", () => {
  const valid = used(3)

  test("parseQuotaState() returns the known members only", () => {
    expect(parseQuotaState({ ...valid, extra: 1 })).toEqual(valid)
  })

  test("parseQuotaState() accepts more used than any limit, and a clock before the window", () => {
    expect(parseQuotaState({ ...valid, used: 1e15, lastMs: 0 })).toBeDefined()
  })

  test.each([
    ["a negative use", { used: -1 }],
    ["a fractional use", { used: 0.5 }],
    ["no start", { startMs: null }],
    ["no end", { endMs: "x" }],
    ["an empty window", { endMs: valid.startMs, lastMs: 0 }],
    ["a clock at the end of the window", { lastMs: valid.endMs }],
    ["no clock", { lastMs: undefined }],
    ["a fractional clock", { lastMs: NOON_MS + 0.5 }],
    ["a clock before 1970", { lastMs: -1 }],
    ["an unknown unit", { unit: "week" }],
    ["no zone", { timezone: 9 }],
  ])("parseQuotaState() refuses %s", (_, member) => {
    expect(parseQuotaState({ ...valid, ...member })).toBeUndefined()
  })
})

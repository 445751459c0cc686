/**
 * Goal: never more requests in flight than the limit says, never fewer counted than run, and no slot lost for longer than
 * one time to live. Method: properties over random histories, one against a reference that keeps every lease it ever gave;
 * single cases where the rule is a boundary. The vectors have a test of their own.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { CLOCK_MS_MAX } from "../../src/core/clock.ts"
import {
  acquireLease,
  isSameLeases,
  lostLeases,
  parseConcurrencyConfig,
  parseConcurrencyState,
  peekLeases,
  releaseLease,
  renewLease,
  settleLeases,
} from "../../src/core/limit/concurrency.ts"
import type { ConcurrencyConfig, ConcurrencyState } from "../../src/core/limit/concurrency.ts"

const START_MS = 1_790_000_000_000
const TWO: ConcurrencyConfig = { maxConcurrent: 2, leaseTtlMs: 10_000 }

const configs: fc.Arbitrary<ConcurrencyConfig> = fc.record({
  maxConcurrent: fc.integer({ min: 1, max: 4 }),
  leaseTtlMs: fc.integer({ min: 1, max: 5000 }),
})
const ids = fc.constantFrom("a", "b", "c", "d", "e", "f")
const operationsWith = (gaps: fc.Arbitrary<number>) =>
  fc.array(
    fc.record({
      do: fc.constantFrom("acquire", "acquire", "acquire", "renew", "release", "peek"),
      gapMs: gaps,
      id: ids,
    }),
    { minLength: 1, maxLength: 60 },
  )
const operations = operationsWith(fc.nat({ max: 3000 }))
const anyClock = operationsWith(fc.oneof(fc.nat({ max: 3000 }), fc.integer({ min: -200_000, max: 200_000 })))
type Operation = Parameters<Parameters<typeof operations.map>[0]>[0][number]

function apply(state: ConcurrencyState | undefined, config: ConcurrencyConfig, operation: Operation, nowMs: number) {
  switch (operation.do) {
    case "acquire":
      return acquireLease(state, config, operation.id, nowMs)
    case "renew":
      return renewLease(state, config, operation.id, nowMs)
    case "release":
      return releaseLease(state, operation.id, nowMs)
    case "peek":
      return peekLeases(state, config, nowMs)
  }
}

/** The state in which these ids hold leases of TWO since START_MS. */
function held(...taken: readonly string[]): ConcurrencyState {
  return taken.reduce<ConcurrencyState>(
    (state, id) => acquireLease(state, TWO, id, START_MS).state,
    settleLeases(undefined, START_MS),
  )
}

describe("acquireLease()", () => {
  test("acquireLease() admits what a reference admits that keeps every lease it ever gave", () => {
    fc.assert(
      fc.property(configs, operations, (config, history) => {
        const given: { readonly id: string; untilMs: number }[] = []
        let state: ConcurrencyState | undefined
        let nowMs = START_MS
        for (const operation of history) {
          nowMs += operation.gapMs
          const { id } = operation
          const live = given.filter(({ untilMs }) => untilMs > nowMs)
          const mine = live.find((lease) => lease.id === id)
          const isAllowed = mine !== undefined || live.length < config.maxConcurrent
          const untilMs = nowMs + config.leaseTtlMs
          const step = apply(state, config, operation, nowMs)
          if (operation.do === "acquire") expect(step).toMatchObject({ decision: { allowed: isAllowed } })
          if (operation.do === "acquire" && isAllowed && mine === undefined) given.push({ id, untilMs })
          if (operation.do === "renew") {
            expect(step).toMatchObject({ renewed: mine !== undefined })
            if (mine !== undefined) mine.untilMs = untilMs
          }
          if (operation.do === "release") {
            expect(step).toMatchObject({ released: mine !== undefined })
            if (mine !== undefined) mine.untilMs = nowMs
          }
          state = step.state
          const inUse = given.filter((lease) => lease.untilMs > nowMs).length
          expect(peekLeases(state, config, nowMs).decision).toEqual({
            allowed: true,
            permanent: false,
            inUse,
            remaining: config.maxConcurrent - inUse,
            retryAfterMs: null,
          })
        }
      }),
      { seed: 171, numRuns: 500 },
    )
  })

  test("acquireLease() never exceeds the limit, and each lease lasts at most its time, whatever the clock does", () => {
    fc.assert(
      fc.property(configs, anyClock, (config, history) => {
        let state: ConcurrencyState | undefined
        let nowMs = START_MS
        for (const operation of history) {
          nowMs += operation.gapMs
          state = apply(state, config, operation, nowMs).state
          expect(state.leases.length).toBeLessThanOrEqual(config.maxConcurrent)
          for (const { expiresMs } of state.leases) {
            expect(expiresMs).toBeGreaterThan(state.lastMs)
            expect(expiresMs).toBeLessThanOrEqual(state.lastMs + config.leaseTtlMs)
          }
        }
      }),
      { seed: 172, numRuns: 500 },
    )
  })

  test("acquireLease() names a wait that is tight: allowed then, refused 1 ms earlier", () => {
    fc.assert(
      fc.property(configs, configs, anyClock, (first, second, history) => {
        let state: ConcurrencyState | undefined
        let nowMs = START_MS
        for (const [index, operation] of history.entries()) {
          const config = index % 7 < 4 ? first : second
          nowMs += operation.gapMs
          state = apply(state, config, operation, nowMs).state
          const { decision } = acquireLease(state, config, "new", nowMs)
          if (decision.retryAfterMs === null) continue
          const thenMs = state.lastMs + decision.retryAfterMs
          expect(acquireLease(state, config, "new", thenMs).decision.allowed).toBe(true)
          expect(acquireLease(state, config, "new", thenMs - 1).decision.allowed).toBe(false)
        }
      }),
      { seed: 173, numRuns: 500 },
    )
  })

  test("acquireLease() changes nothing but the clock when it refuses", () => {
    const state = held("a", "b")
    expect(acquireLease(state, TWO, "c", START_MS + 5).state).toEqual({ ...state, lastMs: START_MS + 5 })
  })

  test("acquireLease() stays what it is through storage at every step", () => {
    fc.assert(
      fc.property(configs, anyClock, fc.boolean(), (config, history, isLost) => {
        let state: ConcurrencyState | undefined = isLost ? lostLeases(config, START_MS) : undefined
        let nowMs = START_MS
        for (const operation of history) {
          nowMs += operation.gapMs
          state = apply(state, config, operation, nowMs).state
          expect(parseConcurrencyState(JSON.parse(JSON.stringify(state)))).toEqual(state)
        }
      }),
      { seed: 174, numRuns: 300 },
    )
  })

  test.each<unknown>(["", "x".repeat(65), undefined, null, 5])("acquireLease() refuses the id %j for good", (id) => {
    const state = held("a")
    const step = acquireLease(state, TWO, id as string, START_MS + 20_000)
    expect(step.decision).toMatchObject({ allowed: false, permanent: true, retryAfterMs: null, error: "invalid-id" })
    expect(step.state).toBe(state)
  })

  test("acquireLease() accepts an id of 64 characters", () => {
    expect(acquireLease(undefined, TWO, "x".repeat(64), START_MS).decision.allowed).toBe(true)
  })

  test("acquireLease() waits for the lease that ends first, not for the one that was taken first", () => {
    const long = acquireLease(undefined, TWO, "long", START_MS).state
    const state = acquireLease(long, { ...TWO, leaseTtlMs: 100 }, "short", START_MS).state
    expect(acquireLease(state, TWO, "c", START_MS).decision.retryAfterMs).toBe(100)
  })

  test("acquireLease() of the longest lease does not leave the exact integers", () => {
    const config = { ...TWO, leaseTtlMs: Number.MAX_SAFE_INTEGER }
    const { state } = acquireLease(undefined, config, "a", CLOCK_MS_MAX)
    expect(parseConcurrencyState(state)).toEqual(state)
    expect(peekLeases(state, config, CLOCK_MS_MAX).decision.inUse).toBe(1)
  })
})

describe("settleLeases()", () => {
  test("settleLeases() keeps a lease until 1 ms before it expires", () => {
    expect(settleLeases(held("a"), START_MS + 9999).leases).toHaveLength(1)
    expect(settleLeases(held("a"), START_MS + 10_000).leases).toEqual([])
  })

  test("settleLeases() does not bring back an expired lease when the clock steps back", () => {
    const after = settleLeases(held("a"), START_MS + 10_000)
    expect(settleLeases(after, START_MS + 9000).leases).toEqual([])
  })

  test("settleLeases() keeps expiries when the clock steps back by 60 s", () => {
    const state = held("a")
    expect(settleLeases(state, START_MS - 60_000)).toEqual(state)
  })

  test("settleLeases() moves expiries with a clock that is put back further", () => {
    expect(settleLeases(held("a"), START_MS - 60_001)).toEqual({
      leases: [{ id: "a", expiresMs: START_MS - 60_001 + 10_000 }],
      lastMs: START_MS - 60_001,
    })
  })

  test("settleLeases() of leases taken at a clock that cannot be read gives them their time from the first readable one", () => {
    const { state } = acquireLease(undefined, TWO, "a", Number.NaN)
    expect(settleLeases(state, START_MS).leases).toEqual([{ id: "a", expiresMs: START_MS + 10_000 }])
  })
})

describe("renewLease() and releaseLease()", () => {
  test("renewLease() gives the time to live of its own configuration", () => {
    const { state } = renewLease(held("a"), { ...TWO, leaseTtlMs: 500 }, "a", START_MS + 100)
    expect(state.leases).toEqual([{ id: "a", expiresMs: START_MS + 600 }])
  })

  test("renewLease() of another's lease changes nothing", () => {
    const state = held("a")
    expect(renewLease(state, TWO, "b", START_MS)).toMatchObject({ state, renewed: false })
  })

  test("renewLease() extends one lease of several", () => {
    const { state } = renewLease(held("a", "b"), TWO, "a", START_MS + 1)
    expect(state.leases).toEqual([
      { id: "a", expiresMs: START_MS + 10_001 },
      { id: "b", expiresMs: START_MS + 10_000 },
    ])
  })

  test("releaseLease() frees one slot and leaves the others", () => {
    const { state, released } = releaseLease(held("a", "b"), "a", START_MS)
    expect({ released, ids: state.leases.map(({ id }) => id) }).toEqual({ released: true, ids: ["b"] })
  })

  test("LIM-06 releaseLease() of an expired lease does not free the slot that another holds by now", () => {
    const one = { ...TWO, maxConcurrent: 1 }
    const { state } = acquireLease(held("a"), one, "b", START_MS + 10_000)
    const late = releaseLease(state, "a", START_MS + 10_001)
    expect(late).toMatchObject({ released: false, state: { leases: [{ id: "b" }] } })
  })

  test("releaseLease() of a limit that nobody has used changes nothing", () => {
    expect(releaseLease(undefined, "a", START_MS)).toMatchObject({ released: false, state: { leases: [] } })
  })
})

describe("lostLeases()", () => {
  const lost = lostLeases(TWO, START_MS)

  test("LIM-06 lostLeases() frees no slot for one time to live", () => {
    expect(acquireLease(lost, TWO, "a", START_MS).decision).toMatchObject({
      allowed: false,
      inUse: 2,
      remaining: 0,
      retryAfterMs: 10_000,
    })
    expect(acquireLease(lost, TWO, "a", START_MS + 9999).decision.retryAfterMs).toBe(1)
  })

  test("lostLeases() frees all slots after it, and says no more of the loss", () => {
    const { state, decision } = acquireLease(lost, TWO, "a", START_MS + 10_000)
    expect(decision).toMatchObject({ allowed: true, inUse: 1, remaining: 1 })
    expect(state).not.toHaveProperty("heldUntilMs")
  })

  test("lostLeases() holds as many slots as there are after a change of the limit", () => {
    expect(peekLeases(lost, { ...TWO, maxConcurrent: 5 }, START_MS).decision).toMatchObject({ inUse: 5, remaining: 0 })
  })

  test("lostLeases() holds them no longer when the clock is put back", () => {
    const state = settleLeases(lost, START_MS - 100_000)
    expect(acquireLease(state, TWO, "a", START_MS - 90_000).decision.allowed).toBe(true)
  })
})

describe("isSameLeases()", () => {
  test("isSameLeases() is true when only time passed", () => {
    const state = held("a")
    expect(isSameLeases(state, settleLeases(state, START_MS + 5))).toBe(true)
  })

  test("isSameLeases() is false when a lease was taken, renewed or released, or has expired", () => {
    const state = held("a")
    expect(isSameLeases(state, acquireLease(state, TWO, "b", START_MS).state)).toBe(false)
    expect(isSameLeases(state, renewLease(state, TWO, "a", START_MS).state)).toBe(false)
    expect(isSameLeases(state, releaseLease(state, "a", START_MS).state)).toBe(false)
    expect(isSameLeases(state, settleLeases(state, START_MS + 10_000))).toBe(false)
  })

  test("isSameLeases() is false when the clock was put back, leases or none", () => {
    const empty = settleLeases(undefined, START_MS)
    expect(isSameLeases(empty, settleLeases(empty, START_MS - 60_001))).toBe(false)
  })

  test("isSameLeases() is false when slots that were held after a loss are free", () => {
    const state = lostLeases(TWO, START_MS)
    expect(isSameLeases(state, { leases: state.leases, lastMs: state.lastMs })).toBe(false)
  })
})

describe("parseConcurrencyConfig()", () => {
  test("parseConcurrencyConfig() returns the known members only", () => {
    expect(parseConcurrencyConfig({ ...TWO, name: "x" })).toEqual({ ok: true, config: TWO })
  })

  test("parseConcurrencyConfig() names every problem", () => {
    expect(parseConcurrencyConfig({ maxConcurrent: 0, leaseTtlMs: 0 })).toEqual({
      ok: false,
      problems: ["maxConcurrent must be an integer from 1 to 1000", "leaseTtlMs must be an integer of at least 1"],
    })
  })

  test.each([1, 1000])("parseConcurrencyConfig() accepts %d at once", (maxConcurrent) => {
    expect(parseConcurrencyConfig({ ...TWO, maxConcurrent }).ok).toBe(true)
  })

  test.each([
    undefined,
    null,
    [],
    { ...TWO, maxConcurrent: 1001 },
    { ...TWO, maxConcurrent: 1.5 },
    { ...TWO, maxConcurrent: "2" },
    { ...TWO, leaseTtlMs: 0.5 },
    { ...TWO, leaseTtlMs: null },
  ])("parseConcurrencyConfig() refuses %j", (value) => {
    expect(parseConcurrencyConfig(value).ok).toBe(false)
  })
})

describe("parseConcurrencyState()", () => {
  const valid = held("a", "b")

  test("parseConcurrencyState() returns the known members only", () => {
    expect(parseConcurrencyState({ ...valid, extra: 1 })).toEqual(valid)
  })

  test.each([
    ["no list", { leases: {} }],
    ["a lease that is null", { leases: [null] }],
    ["a lease without an id", { leases: [{ expiresMs: START_MS }] }],
    ["an empty id", { leases: [{ id: "", expiresMs: START_MS }] }],
    ["an id that is too long", { leases: [{ id: "x".repeat(65), expiresMs: START_MS }] }],
    ["a lease without an end", { leases: [{ id: "a" }] }],
    ["an id that occurs twice", { leases: [valid.leases[0], valid.leases[0]] }],
    ["more leases than any limit", { leases: Array.from({ length: 1001 }, (_, i) => ({ id: `${i}`, expiresMs: 1 })) }],
    ["no clock", { lastMs: undefined }],
    ["a clock after 9999", { lastMs: CLOCK_MS_MAX + 1 }],
    ["a loss at no time", { heldUntilMs: null }],
  ])("parseConcurrencyState() refuses %s", (_, member) => {
    expect(parseConcurrencyState({ ...valid, ...member })).toBeUndefined()
  })
})

/**
 * Goal: a quota gets back what isolates certainly did not spend of it, once and in its own window, and nothing else does; near
 * the end of a window requests are decided instead of refused. Method: single calls at literal instants around the end of
 * an hour.
 */
import { describe, expect, test } from "vitest"
import { TOKEN_LEASE_HOLDERS_MAX } from "../../src/core/bounds.ts"
import { admitDirect, grant, LEASE_TERMS_DEFAULT } from "../../src/core/lease/lease-grant.ts"
import type { LeaseTerms } from "../../src/core/lease/lease-grant.ts"
import { createLostLedger, EMPTY_LEDGER, parseLedger } from "../../src/core/lease/lease-ledger.ts"
import type { LeaseLedger } from "../../src/core/lease/lease-ledger.ts"
import { createLeasePool, storedOf } from "../../src/core/lease/lease-pool.ts"
import type { LendableStates } from "../../src/core/lease/lease-pool.ts"
import type { LeaseCall } from "../../src/core/lease/lease-protocol.ts"
import { isWorthLending } from "../../src/core/lease/lease-sizing.ts"
import type { NamedBucket, NamedQuota } from "../../src/core/limit/limit.ts"

const END_MS = 497_223 * 3_600_000
/** A minute before the hour ends. */
const T0 = END_MS - 60_000
const HOURLY: NamedQuota = { kind: "quota", name: "hourly", limit: 100, unit: "hour", timezone: "UTC" }
const SLOW_BUCKET: NamedBucket = { kind: "bucket", name: "client", burst: 10, rate: { count: 1, periodMs: 1_000_000 } }

/** A client's object, one call after the other. */
function createObject(limits: readonly (NamedBucket | NamedQuota)[] = [HOURLY], start = EMPTY_LEDGER) {
  let ledger: LeaseLedger = start
  let states: LendableStates = { buckets: {}, quotas: {} }
  return {
    get ledger() {
      return ledger
    },
    used: () => states.quotas["hourly"]?.used,
    level: () => (states.buckets["client"]?.level ?? 0) / SLOW_BUCKET.rate.periodMs,
    call(call: Partial<LeaseCall>, nowMs: number, terms: Partial<LeaseTerms> = {}, drawn = limits) {
      const idle = { lease: 0, unused: 0, waiting: [], cost: 1, demand: 1, roundTripMs: 0, returned: null }
      const names = drawn.map(({ name }) => name)
      const all = { ...LEASE_TERMS_DEFAULT, isSingle: true, names, ...terms }
      const pool = createLeasePool(states, drawn, nowMs)
      const step = grant(ledger, pool, { boot: "a", seq: 1, ...idle, ...call }, all, nowMs)
      ledger = step.ledger
      states = storedOf(states, step.pool)
      return step.answer
    },
    admit(cost: number, nowMs: number) {
      const names = limits.map(({ name }) => name)
      return admitDirect(ledger, createLeasePool(states, limits, nowMs), names, cost, nowMs)
    },
  }
}

/** An object that has lent isolate `a` five tokens at T0 with its first answer. */
function createLender(limits?: readonly (NamedBucket | NamedQuota)[], atMs = T0) {
  const object = createObject(limits)
  object.call({ waiting: [5] }, atMs)
  return object
}

describe("grant() on a quota", () => {
  test("grant() counts what it lends as used", () => {
    expect(createLender().used()).toBe(5)
  })

  test("grant() takes nothing more for what is carried over", () => {
    const object = createLender()
    const answer = object.call({ seq: 2, lease: 1, unused: 3 }, T0 + 100)
    expect([answer?.carry, object.used()]).toEqual([3, 5])
  })

  test("grant() lends a busy isolate tokens ahead of its waiting requests", () => {
    expect(createObject().call({ waiting: [1], demand: 20 }, T0, { isSingle: false })?.granted).toBe(15)
  })

  test("grant() lends a slow one nothing ahead", () => {
    expect(createObject().call({ waiting: [1], demand: 2 }, T0, { isSingle: false })?.granted).toBe(1)
  })

  test("grant() lends ahead at most half of what is left of a quota", () => {
    const object = createObject()
    object.call({ waiting: [80] }, T0)
    expect(object.call({ boot: "b", waiting: [1], demand: 50 }, T0 + 2_000, { isSingle: false })?.granted).toBe(9)
  })

  test("grant() shares a quota that is nearly used up by demand", () => {
    const object = createObject()
    object.call({ boot: "b", waiting: [96], demand: 30 }, T0)
    expect(object.call({ waiting: [1, 1, 1, 1, 1, 1], demand: 30 }, T0 + 10)?.granted).toBe(2)
  })

  test("grant() says that a used-up quota fits when its window ends", () => {
    const object = createObject()
    object.call({ waiting: [100] }, T0)
    expect(object.call({ boot: "b", waiting: [1] }, T0)?.retryAfterMs).toBe(60_000)
  })

  test("grant() lets a used-up quota be asked for again before that", () => {
    const object = createObject()
    object.call({ waiting: [100] }, T0)
    const denied = [10, 2_000].map(
      (afterMs) => object.call({ boot: `b${afterMs}`, waiting: [1] }, T0 + afterMs)?.denyForMs,
    )
    expect(denied).toEqual([500, 5_000])
  })

  test("grant() gives the tokens of an answer that was never taken back, also when its lease is over", () => {
    const object = createLender()
    object.call({ seq: 2, lease: 0 }, T0 + 5_000)
    expect(object.used()).toBe(0)
  })

  test("grant() gives them back to no later window", () => {
    const object = createLender([HOURLY], END_MS - 2_000)
    object.call({ boot: "b", waiting: [7] }, END_MS)
    object.call({ seq: 2, lease: 0 }, END_MS + 10)
    expect(object.used()).toBe(7)
  })

  test("grant() prolongs no lease on a quota that was lowered below what is used", () => {
    const answer = createLender().call({ seq: 2, lease: 1, unused: 5 }, T0 + 10, {}, [{ ...HOURLY, limit: 4 }])
    expect(answer?.carry).toBe(0)
  })

  test("grant() goes on with quotas when only the ledger was lost", () => {
    const answer = createObject([HOURLY], createLostLedger(T0)).call({ waiting: [1], demand: 20 }, T0, {
      isSingle: false,
    })
    expect(answer?.granted).toBe(15)
  })

  test("grant() refuses for good on a quota of 0", () => {
    const object = createObject([{ ...HOURLY, limit: 0 }])
    expect(object.call({ waiting: [1] }, T0)).toMatchObject({ granted: 0, capacity: 0, retryAfterMs: null })
  })
})

describe("grant() near the end of a window", () => {
  test("grant() ends a lease so long before the window that no clock can spend a token in the next", () => {
    expect(createObject().call({ waiting: [1] }, END_MS - 900)?.ttlMs).toBe(800)
  })

  test("grant() decides waiting requests itself when a lease would be over on arrival", () => {
    const object = createObject()
    const answer = object.call({ waiting: [1, 1], demand: 50 }, END_MS - 300, { isSingle: false })
    expect([answer?.granted, answer?.ttlMs, object.used()]).toEqual([2, 0, 2])
  })

  test("grant() counts nothing of that as lent", () => {
    const object = createObject()
    object.call({ waiting: [1, 1] }, END_MS - 1)
    expect(object.ledger.holders.map(({ carried, granted }) => carried + granted)).toEqual([0])
  })

  test("grant() takes nothing of that back, because it is spent", () => {
    const object = createObject()
    object.call({ waiting: [1, 1] }, END_MS - 300)
    object.call({ seq: 2, lease: 0 }, END_MS - 200)
    expect(object.used()).toBe(2)
  })

  test("grant() lets an isolate keep what it holds there until its old lease ends", () => {
    const object = createObject()
    object.call({ waiting: [5] }, END_MS - 1_200)
    const answer = object.call({ seq: 2, lease: 1, unused: 4 }, END_MS - 340)
    expect([answer?.carry, answer?.ttlMs, object.ledger.holders[0]?.expiresMs]).toEqual([4, 0, END_MS - 100])
  })

  test("grant() carries nothing into the next window", () => {
    const object = createLender([HOURLY], END_MS - 900)
    expect(object.call({ seq: 2, lease: 1, unused: 5 }, END_MS)?.carry).toBe(0)
  })

  test("grant() makes no lease shorter where only buckets are drawn on", () => {
    expect(createObject([SLOW_BUCKET]).call({ waiting: [1] }, END_MS - 1)?.ttlMs).toBe(1_000)
  })
})

describe("grant() with tokens handed back", () => {
  const handBack = (tokens: number, lease = 1): Partial<LeaseCall> => ({
    seq: 2,
    lease: 1,
    returned: { lease, tokens },
  })

  test("grant() gives them back to a quota", () => {
    const object = createLender()
    object.call(handBack(4), T0 + 3_000)
    expect(object.used()).toBe(1)
  })

  test("grant() gives them back to no bucket", () => {
    const object = createLender([HOURLY, SLOW_BUCKET])
    object.call(handBack(4), T0 + 3_000)
    expect([object.used(), Math.floor(object.level())]).toEqual([1, 5])
  })

  test("grant() gives them back once, also when the call that said so was not answered in time", () => {
    const object = createLender()
    // Dropped while the second call is on its way; the answer to the third is lost, what it was to carry over is spent.
    object.call({ seq: 2, lease: 1, unused: 5, waiting: [8] }, T0 + 10)
    const returned = { lease: 1, tokens: 5 }
    object.call({ seq: 3, lease: 2, unused: 3, returned }, T0 + 20)
    object.call({ seq: 4, lease: 2, unused: 0, returned }, T0 + 30)
    expect(object.used()).toBe(3)
  })

  test("grant() gives back no more than it lent", () => {
    const object = createLender()
    object.call({ boot: "b", waiting: [20] }, T0)
    object.call(handBack(9), T0 + 3_000)
    expect(object.used()).toBe(20)
  })

  test("grant() gives back no more than it lent, what is still held included", () => {
    const object = createLender()
    object.call({ ...handBack(5), unused: 3 }, T0 + 100)
    expect(object.used()).toBe(3)
  })

  test("grant() gives back of an older lease no more than the last answer carried over", () => {
    const object = createLender()
    object.call({ seq: 2, lease: 1, unused: 2, waiting: [8] }, T0 + 100)
    object.call({ seq: 3, lease: 2, returned: { lease: 1, tokens: 5 } }, T0 + 3_000)
    expect(object.used()).toBe(9)
  })

  test("grant() gives nothing back to a later window", () => {
    const object = createLender([HOURLY], END_MS - 900)
    object.call({ boot: "b", waiting: [7] }, END_MS)
    object.call(handBack(4), END_MS + 10)
    expect(object.used()).toBe(7)
  })

  test("grant() gives nothing of an old window back after a call that began the new one", () => {
    const object = createLender([HOURLY], END_MS - 900)
    object.call({ seq: 2, lease: 1, waiting: [7] }, END_MS)
    object.call({ seq: 3, lease: 2, returned: { lease: 1, tokens: 4 } }, END_MS + 10)
    expect(object.used()).toBe(7)
  })

  test("grant() gives nothing back under a calendar that was changed meanwhile", () => {
    const object = createLender()
    object.call(handBack(4), T0 + 10, {}, [{ ...HOURLY, unit: "day" }])
    expect(object.used()).toBe(5)
  })

  test("grant() carries nothing over under a calendar that was changed meanwhile, and goes on counting it as lent", () => {
    const object = createLender()
    const answer = object.call({ seq: 2, lease: 1, unused: 5 }, T0 + 10, {}, [{ ...HOURLY, unit: "day" }])
    expect([answer?.carry, object.ledger.holders[0]?.carried]).toEqual([0, 5])
  })

  test("grant() remembers for 10 s who may hand something back", () => {
    const used = [9_999, 10_000].map((afterMs) => {
      const object = createLender()
      object.call(handBack(4), T0 + afterMs)
      return object.used()
    })
    expect(used).toEqual([1, 5])
  })

  test("grant() forgets an isolate of buckets alone sooner", () => {
    const object = createLender([SLOW_BUCKET])
    object.call({ boot: "b" }, T0 + 2_000)
    expect(object.ledger.holders.map(({ boot }) => boot)).toEqual(["b"])
  })

  test("grant() forgets them sooner when there is no room for others", () => {
    const object = createObject([{ ...HOURLY, limit: 1_000 }])
    for (let index = 0; index < TOKEN_LEASE_HOLDERS_MAX; index++) object.call({ boot: `b${index}`, waiting: [1] }, T0)
    object.call({ waiting: [1] }, T0 + 2_000)
    expect(object.ledger.holders.map(({ boot }) => boot)).toEqual(["a"])
  })

  test("grant() believes nothing that a forgotten isolate hands back, also later", () => {
    const object = createObject()
    object.call({ seq: 5, lease: 4, waiting: [5] }, T0)
    object.call({ seq: 6, lease: 5, unused: 5 }, T0 + 10)
    object.call({ seq: 7, lease: 6, unused: 0, returned: { lease: 4, tokens: 3 } }, T0 + 20)
    expect(object.used()).toBe(5)
  })

  test.each([
    { lease: 2, tokens: 1 },
    { lease: 0, tokens: 1 },
    { lease: 1, tokens: 0 },
    { lease: 1, tokens: 0.5 },
  ])("grant() ignores a call that hands back what cannot be: %o", (returned) => {
    expect(createLender().call({ seq: 2, lease: 1, returned }, T0)).toBeNull()
  })
})

describe("admitDirect() on a quota", () => {
  test("admitDirect() takes from what is not used, lent tokens included", () => {
    const object = createLender()
    expect([95, 96].map((cost) => object.admit(cost, T0).isAdmitted)).toEqual([true, false])
  })

  test("admitDirect() says that the rest fits when the window ends, whatever is lent", () => {
    expect(createLender().admit(96, T0 + 10).retryAfterMs).toBe(59_990)
  })
})

describe("parseLedger()", () => {
  const { ledger } = createLender()

  test("parseLedger() returns windows and returns as they were stored", () => {
    expect(parseLedger(JSON.parse(JSON.stringify(ledger)))).toEqual(ledger)
  })

  test("parseLedger() reads a record from before quotas could be lent as one without windows", () => {
    const old = ledger.holders.map(({ since: _since, returned: _returned, ...record }) => record)
    expect(parseLedger({ ...ledger, holders: old })?.holders[0]).toMatchObject({ since: [0], returned: 0 })
  })

  test.each([{ since: [] }, { since: ["0"] }, { returned: -1 }])("parseLedger() refuses a record with %o", (member) => {
    expect(parseLedger({ ...ledger, holders: [{ ...ledger.holders[0], ...member }] })).toBeUndefined()
  })
})

describe("isWorthLending()", () => {
  test("isWorthLending() is false for a quota of less than a hundred", () => {
    expect([99, 100].map((limit) => isWorthLending({ ...HOURLY, limit }))).toEqual([false, true])
  })
})

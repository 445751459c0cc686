/**
 * Goal: the object lends exactly what a limit has, remembers it until no isolate can spend it, and says truly what is
 * refused. Method: single calls at literal instants against one or two small buckets.
 */
import { describe, expect, test } from "vitest"
import { TOKEN_LEASE_HOLDERS_MAX } from "../../src/core/bounds.ts"
import { admitDirect, grant, LEASE_TERMS_DEFAULT } from "../../src/core/lease/lease-grant.ts"
import type { LeaseTerms } from "../../src/core/lease/lease-grant.ts"
import { createLostLedger, EMPTY_LEDGER, outstandingOf, parseLedger } from "../../src/core/lease/lease-ledger.ts"
import type { LeaseLedger } from "../../src/core/lease/lease-ledger.ts"
import { createLeasePool, storedOf } from "../../src/core/lease/lease-pool.ts"
import type { LendableStates } from "../../src/core/lease/lease-pool.ts"
import type { LeaseAnswer, LeaseCall } from "../../src/core/lease/lease-protocol.ts"
import type { NamedBucket, NamedQuota } from "../../src/core/limit/limit.ts"
import { isWorthLending } from "../../src/core/lease/lease-sizing.ts"

const T0 = 1_790_000_000_000
const TEN_PER_SECOND: NamedBucket = { kind: "bucket", name: "client", burst: 10, rate: { count: 10, periodMs: 1000 } }
const ROUTE: NamedBucket = { kind: "bucket", name: "route", burst: 3, rate: { count: 1, periodMs: 1000 } }

/** A client's object, one call after the other. */
function createObject(limits: readonly (NamedBucket | NamedQuota)[] = [TEN_PER_SECOND], start = EMPTY_LEDGER) {
  let ledger: LeaseLedger = start
  let states: LendableStates = { buckets: {}, quotas: {} }
  return {
    get ledger() {
      return ledger
    },
    lent: (name = "client") => outstandingOf(ledger, name),
    level: (name = "client") => (states.buckets[name]?.level ?? 0) / (states.buckets[name]?.periodMs ?? 1),
    used: (name = "daily") => states.quotas[name]?.used,
    call(call: Partial<LeaseCall>, nowMs: number, terms: Partial<LeaseTerms> = {}, drawn = limits) {
      const idle = { lease: 0, unused: 0, waiting: [], cost: 1, demand: 1, roundTripMs: 0, returned: null }
      const whole = { boot: "a", seq: 1, ...idle, ...call }
      const names = drawn.map(({ name }) => name)
      const all = { ...LEASE_TERMS_DEFAULT, names, ...terms }
      const step = grant(ledger, createLeasePool(states, drawn, nowMs), whole, all, nowMs)
      const isSame = step.ledger === ledger
      ledger = step.ledger
      states = storedOf(states, step.pool)
      return { answer: step.answer, mustPersist: step.mustPersist, isSame }
    },
    admit(cost: number, nowMs: number, drawn = limits) {
      const names = drawn.map(({ name }) => name)
      const step = admitDirect(ledger, createLeasePool(states, drawn, nowMs), names, cost, nowMs)
      ledger = step.ledger
      states = storedOf(states, step.pool)
      return step
    },
  }
}

function granted(answer: LeaseAnswer | null): number {
  return answer?.granted ?? -1
}

describe("grant()", () => {
  test("grant() takes what it grants from the bucket and counts it as lent", () => {
    const object = createObject()
    object.call({ waiting: [1, 1, 1] }, T0, { isSingle: true })
    expect([object.level(), object.lent()]).toEqual([7, 3])
  })

  test("grant() gives a busy holder tokens ahead of its waiting requests", () => {
    const { answer } = createObject().call({ waiting: [1], demand: 8 }, T0)
    expect(granted(answer)).toBe(4)
  })

  test("grant() gives what waits and no more when told to lend nothing ahead", () => {
    const { answer } = createObject().call({ waiting: [1], demand: 8 }, T0, { isSingle: true })
    expect(granted(answer)).toBe(1)
  })

  test("grant() takes from all limits or from none", () => {
    const object = createObject([TEN_PER_SECOND, ROUTE])
    object.call({ waiting: [1, 1, 1] }, T0)
    const { answer } = object.call({ seq: 2, lease: 1, waiting: [1] }, T0)
    expect([granted(answer), object.level(), object.level("route")]).toEqual([0, 7, 0])
  })

  test("grant() names the limits that refuse", () => {
    const object = createObject([TEN_PER_SECOND, ROUTE])
    object.call({ waiting: [1, 1, 1] }, T0)
    expect(object.call({ seq: 2, lease: 1, waiting: [1] }, T0).answer?.violated).toEqual(["route"])
  })

  test("grant() passes over a request that does not fit and lends nothing for it", () => {
    const object = createObject()
    object.call({ waiting: [4] }, T0, { isSingle: true })
    expect(granted(object.call({ boot: "b", waiting: [9, 2] }, T0, { isSingle: true }).answer)).toBe(2)
  })

  test("grant() refuses for good a request above the burst", () => {
    const { answer } = createObject().call({ waiting: [11], cost: 11 }, T0, { isSingle: true })
    expect([answer?.granted, answer?.capacity, answer?.retryAfterMs]).toEqual([0, 10, null])
  })

  test("grant() refills only up to what is not lent", () => {
    const object = createObject()
    object.call({ waiting: [1, 1, 1, 1] }, T0)
    object.call({ boot: "b", waiting: [] }, T0 + 1000)
    expect(object.level() + object.lent()).toBe(10)
  })

  test("grant() refills above that only from the end of the lease on", () => {
    const object = createObject()
    object.call({ waiting: [1, 1, 1, 1] }, T0)
    // The lease counts until T0 + 1100; 200 ms later two tokens have come back.
    object.call({ boot: "b" }, T0 + 1300, { isSingle: true })
    expect(object.level()).toBe(8)
  })

  test("grant() stays exact when the whole burst of one token is lent", () => {
    const object = createObject([{ ...TEN_PER_SECOND, burst: 1 }])
    object.call({ waiting: [1] }, T0)
    expect(granted(object.call({ boot: "b", waiting: [1] }, T0 + 1099).answer)).toBe(0)
  })

  test("grant() carries unused tokens over and keeps counting them", () => {
    const object = createObject()
    object.call({ waiting: [1, 1, 1, 1] }, T0, { isSingle: true })
    const { answer } = object.call({ seq: 2, lease: 1, unused: 3 }, T0 + 100, { isSingle: true })
    expect([answer?.carry, object.lent()]).toEqual([3, 3])
  })

  test("grant() does not carry what its lease never held", () => {
    const object = createObject()
    object.call({ waiting: [1] }, T0, { isSingle: true })
    expect(object.call({ seq: 2, lease: 1, unused: 9 }, T0 + 10, { isSingle: true }).answer?.carry).toBe(1)
  })

  test("grant() carries nothing once the lease is over", () => {
    const object = createObject()
    object.call({ waiting: [1, 1] }, T0, { isSingle: true })
    expect(object.call({ seq: 2, lease: 1, unused: 1 }, T0 + 1100, { isSingle: true }).answer?.carry).toBe(0)
  })

  test("grant() takes back the tokens of an answer that never arrived", () => {
    const object = createObject()
    object.call({ waiting: [1, 1, 1] }, T0, { isSingle: true })
    object.call({ seq: 2, lease: 0, waiting: [1] }, T0, { isSingle: true })
    expect([object.level(), object.lent()]).toEqual([9, 1])
  })

  test("grant() takes nothing back once the lease is over", () => {
    const object = createObject([{ ...TEN_PER_SECOND, rate: { count: 1, periodMs: 100_000 } }])
    object.call({ waiting: [1, 1, 1] }, T0, { isSingle: true })
    object.call({ seq: 2, lease: 0 }, T0 + 1100, { isSingle: true })
    expect(Math.floor(object.level())).toBe(7)
  })

  test("grant() answers the same call twice with the same answer and changes nothing", () => {
    const object = createObject()
    const first = object.call({ waiting: [1] }, T0)
    const second = object.call({ waiting: [1] }, T0 + 50)
    expect([second.answer, second.isSame, second.mustPersist]).toEqual([first.answer, true, false])
  })

  test("grant() ignores a call older than the last one", () => {
    const object = createObject()
    object.call({ seq: 5, waiting: [1] }, T0)
    expect(object.call({ seq: 4, waiting: [1] }, T0)).toMatchObject({ answer: null, isSame: true })
  })

  test("grant() does not give a restarted isolate the lease of the one before", () => {
    const object = createObject()
    object.call({ waiting: [1, 1] }, T0, { isSingle: true })
    const { answer } = object.call({ boot: "b", unused: 2 }, T0, { isSingle: true })
    expect([answer?.carry, object.lent()]).toEqual([0, 2])
  })

  test("grant() keeps one lease per set of limits", () => {
    const object = createObject()
    object.call({ waiting: [1] }, T0, { isSingle: true })
    object.call({ waiting: [1] }, T0, { isSingle: true }, [TEN_PER_SECOND, ROUTE])
    expect([object.lent(), object.lent("route"), object.ledger.holders.length]).toEqual([2, 1, 2])
  })

  test.each([{ seq: 0 }, { lease: 1 }, { unused: -1 }, { boot: "" }, { waiting: [0.5] }, { demand: Number.NaN }])(
    "grant() ignores a call that is out of range: %o",
    (call) => {
      expect(createObject().call(call, T0)).toMatchObject({ answer: null, isSame: true })
    },
  )

  test("grant() grants nothing while the client is blocked", () => {
    const { answer } = createObject().call({ waiting: [1] }, T0, { blockedForMs: 2_000, epoch: 3 })
    expect(answer).toMatchObject({ granted: 0, carry: 0, blockedForMs: 2_000, epoch: 3 })
  })

  test("grant() limits how long a block is remembered without asking", () => {
    const { answer } = createObject().call({ waiting: [1] }, T0, { blockedForMs: 3_600_000 })
    expect([answer?.blockedForMs, answer?.retryAfterMs]).toEqual([5_000, 3_600_000])
  })

  test("grant() goes on counting what a blocked holder may still spend", () => {
    const object = createObject()
    object.call({ waiting: [1, 1] }, T0, { isSingle: true })
    object.call({ seq: 2, lease: 1, unused: 2 }, T0 + 10, { blockedForMs: 2_000 })
    expect(object.lent()).toBe(2)
  })

  test("grant() makes leases short while the guard counts failures", () => {
    expect(createObject().call({ waiting: [1] }, T0, { failures: 1 }).answer?.ttlMs).toBe(250)
  })

  test("grant() counts a carried lease for as long as it was promised before", () => {
    const object = createObject()
    object.call({ waiting: [1, 1] }, T0, { isSingle: true })
    object.call({ seq: 2, lease: 1, unused: 2 }, T0 + 10, { failures: 1, isSingle: true })
    expect(object.ledger.holders[0]?.expiresMs).toBe(T0 + 1100)
  })

  test("grant() gives a distant isolate a lease that survives the way", () => {
    const call = { waiting: [1], demand: 9, roundTripMs: 900 }
    expect(createObject().call(call, T0).answer?.ttlMs).toBe(1800)
  })

  test("grant() does not count tokens for waiting requests longer than their way", () => {
    const object = createObject()
    object.call({ waiting: [1], roundTripMs: 30 }, T0, { isSingle: true })
    expect(object.ledger.holders[0]?.expiresMs).toBe(T0 + 350)
  })

  test("grant() prolongs no lease while more is lent than a lowered limit holds", () => {
    const object = createObject()
    object.call({ waiting: [1, 1, 1, 1, 1, 1] }, T0, { isSingle: true })
    const lowered = [{ ...TEN_PER_SECOND, burst: 2 }]
    const { answer } = object.call({ seq: 2, lease: 1, unused: 6 }, T0 + 500, {}, lowered)
    expect([answer?.carry, object.ledger.holders[0]?.expiresMs]).toEqual([0, T0 + 1100])
  })

  test("grant() mints nothing when a limit is raised", () => {
    const object = createObject()
    object.call({ waiting: [4] }, T0, { isSingle: true })
    object.call({ boot: "b" }, T0 + 2000, { isSingle: true }, [{ ...TEN_PER_SECOND, burst: 100 }])
    expect(object.level()).toBe(10)
  })

  test("grant() says when the refused request fits, to the millisecond", () => {
    const object = createObject()
    object.call({ waiting: [10] }, T0, { isSingle: true })
    // All ten are lent until T0 + 1100; a token takes 100 ms after that.
    const { answer } = object.call({ boot: "b", waiting: [1] }, T0 + 50)
    expect(answer?.retryAfterMs).toBe(1150)
  })

  test("grant() has to be durable when it lent or prolonged something, and only then", () => {
    const object = createObject([{ ...TEN_PER_SECOND, burst: 1 }])
    const lends = object.call({ waiting: [1] }, T0)
    const refuses = object.call({ boot: "b", waiting: [1] }, T0)
    expect([lends.mustPersist, refuses.mustPersist]).toEqual([true, false])
  })

  test("grant() has to be durable when it only prolonged a lease", () => {
    const object = createObject([{ ...TEN_PER_SECOND, burst: 1 }])
    object.call({ waiting: [1] }, T0)
    expect(object.call({ seq: 2, lease: 1, unused: 1 }, T0 + 10)).toMatchObject({
      answer: { granted: 0, carry: 1 },
      mustPersist: true,
    })
  })

  test("grant() remembers a bounded number of holders", () => {
    const object = createObject([{ ...TEN_PER_SECOND, burst: 1000 }])
    for (let index = 0; index < TOKEN_LEASE_HOLDERS_MAX + 20; index++)
      object.call({ boot: `b${index}`, waiting: [1] }, T0)
    expect(object.ledger.holders.length).toBe(TOKEN_LEASE_HOLDERS_MAX)
  })

  test("grant() counts what it lends beyond that number, for waiting requests only", () => {
    const object = createObject([{ ...TEN_PER_SECOND, burst: 1000 }])
    for (let index = 0; index < TOKEN_LEASE_HOLDERS_MAX; index++)
      object.call({ boot: `b${index}` }, T0, { isSingle: true })
    const { answer } = object.call({ boot: "late", waiting: [1, 1], demand: 50 }, T0)
    expect([answer?.granted, object.lent(), object.ledger.unnamed.length]).toEqual([2, 2, 1])
  })

  test("grant() forgets a holder two lease lives after its last call", () => {
    const object = createObject()
    object.call({ waiting: [1] }, T0)
    object.call({ boot: "b" }, T0 + 2000)
    expect(object.ledger.holders.map(({ boot }) => boot)).toEqual(["b"])
  })

  test("grant() takes a clock that is a little behind for one that stands still", () => {
    const object = createObject()
    object.call({ waiting: [10] }, T0, { isSingle: true })
    object.call({ boot: "b" }, T0 - 60_000)
    expect([object.lent(), object.ledger.lastMs]).toEqual([10, T0])
  })

  test("grant() keeps the age of leases when the clock was far ahead", () => {
    const object = createObject()
    object.call({ waiting: [10] }, T0, { isSingle: true })
    object.call({ boot: "b" }, T0 - 100_000)
    expect(object.ledger.holders.map(({ expiresMs }) => expiresMs)[0]).toBe(T0 - 100_000 + 1100)
  })
})

describe("createLostLedger()", () => {
  test("createLostLedger() lends nothing until every lost lease is over", () => {
    const object = createObject([TEN_PER_SECOND], createLostLedger(T0))
    expect(granted(object.call({ waiting: [1] }, T0 + 5_099).answer)).toBe(0)
  })

  test("createLostLedger() refills from then on", () => {
    const object = createObject([TEN_PER_SECOND], createLostLedger(T0))
    object.call({ waiting: [1] }, T0)
    expect(granted(object.call({ seq: 2, lease: 1, waiting: [1] }, T0 + 5_200).answer)).toBe(1)
  })

  test("createLostLedger() says when the first request fits", () => {
    const object = createObject([TEN_PER_SECOND], createLostLedger(T0))
    expect(object.call({ waiting: [1] }, T0).answer?.retryAfterMs).toBe(5_200)
  })
})

describe("admitDirect()", () => {
  test("admitDirect() takes from what is not lent", () => {
    const object = createObject()
    object.call({ waiting: [4] }, T0, { isSingle: true })
    expect([object.admit(6, T0).isAdmitted, object.admit(1, T0).isAdmitted]).toEqual([true, false])
  })

  test("admitDirect() counts nothing as lent", () => {
    const object = createObject()
    object.admit(6, T0)
    expect([object.level(), object.lent()]).toEqual([4, 0])
  })

  test("admitDirect() takes from all limits or from none", () => {
    const object = createObject([TEN_PER_SECOND, ROUTE])
    expect([object.admit(4, T0).violated, object.level()]).toEqual([["route"], 10])
  })

  test("admitDirect() refuses for good what exceeds a burst", () => {
    expect(createObject().admit(11, T0)).toMatchObject({ isAdmitted: false, retryAfterMs: null })
  })
})

describe("parseLedger()", () => {
  const object = createObject()
  object.call({ waiting: [1, 1] }, T0)
  const stored: unknown = JSON.parse(JSON.stringify(object.ledger))

  test("parseLedger() returns what was stored", () => {
    expect(parseLedger(stored)).toEqual(object.ledger)
  })

  test.each([
    undefined,
    [],
    { ...object.ledger, version: 2 },
    { ...object.ledger, holders: [{ ...object.ledger.holders[0], granted: -1 }] },
    { ...object.ledger, holders: [{ ...object.ledger.holders[0], answer: {} }] },
    { ...object.ledger, unnamed: [{ names: ["client"], tokens: 1 }] },
    { ...object.ledger, heldUntilMs: "0" },
  ])("parseLedger() refuses a ledger with anything out of range: %#", (value) => {
    expect(parseLedger(value)).toBeUndefined()
  })
})

describe("isWorthLending()", () => {
  test("isWorthLending() is false for a bucket that refills within half a second", () => {
    expect([49, 50].map((burst) => isWorthLending({ burst, rate: { count: 100, periodMs: 1000 } }))).toEqual([
      false,
      true,
    ])
  })
})

/**
 * Goal: the ledger keeps its promises under any sequence of calls, also from isolates that lie about nothing but time.
 * Method: properties over random histories; the refill is compared with one computed millisecond by millisecond.
 */
import fc from "fast-check"
import { expect, test } from "vitest"
import { parseBucketState } from "../../src/core/limit/gcra.ts"
import { admitDirect, grant, LEASE_TERMS_DEFAULT } from "../../src/core/lease/lease-grant.ts"
import { EMPTY_LEDGER, loansOf, outstandingOf, parseLedger } from "../../src/core/lease/lease-ledger.ts"
import type { LeaseLedger, LeaseRecord } from "../../src/core/lease/lease-ledger.ts"
import { BucketMember } from "../../src/core/lease/lease-member.ts"
import { createLeasePool, storedOf } from "../../src/core/lease/lease-pool.ts"
import type { LendableStates } from "../../src/core/lease/lease-pool.ts"
import type { LeaseCall } from "../../src/core/lease/lease-protocol.ts"
import { parseQuotaState } from "../../src/core/limit/quota.ts"
import { fitWaiting, sizeLease } from "../../src/core/lease/lease-sizing.ts"

/** Five seconds before an hour ends in UTC. */
const START_MS = 497_223 * 3_600_000 - 5_000

const limits = fc.record({
  kind: fc.constant("bucket" as const),
  name: fc.constantFrom("client", "route"),
  burst: fc.integer({ min: 1, max: 40 }),
  rate: fc.record({ count: fc.integer({ min: 1, max: 50 }), periodMs: fc.integer({ min: 1, max: 3_000 }) }),
})
const quotas = fc.record({
  kind: fc.constant("quota" as const),
  name: fc.constant("hourly"),
  limit: fc.integer({ min: 0, max: 60 }),
  unit: fc.constant("hour" as const),
  timezone: fc.constant("UTC"),
})
const drawn = fc.uniqueArray(fc.oneof({ weight: 2, arbitrary: limits }, { weight: 1, arbitrary: quotas }), {
  minLength: 1,
  maxLength: 3,
  selector: ({ name }) => name,
})
const calls = fc.record({
  gapMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 400 }), fc.integer({ min: -90_000, max: 9_000 })),
  boot: fc.constantFrom("a", "b", "c", "observer"),
  /** How the number relates to the last one of this boot: older, the same, next, or after lost calls. */
  ahead: fc.constantFrom(-1, 0, 1, 1, 1, 3),
  isTaken: fc.boolean(),
  unused: fc.integer({ min: 0, max: 20 }),
  /** How far before the last answer taken the lease lies that it hands tokens back of. */
  returned: fc.option(fc.record({ before: fc.integer({ min: 0, max: 2 }), tokens: fc.integer({ min: 1, max: 20 }) })),
  waiting: fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 5 }),
  demand: fc.double({ min: 0, max: 200, noNaN: true }),
  terms: fc.record({
    ttlMs: fc.constantFrom(50, 1000),
    failures: fc.constantFrom(0, 0, 1),
    blockedForMs: fc.constantFrom(0, 0, 0, 700),
    isSingle: fc.boolean(),
    jitter: fc.double({ min: 0, max: 0.999, noNaN: true }),
  }),
  /** Which limits the call draws on, and with which configuration. */
  drawn,
})
type Call = Parameters<Parameters<typeof calls.map>[0]>[0]

interface Held extends LendableStates {
  readonly ledger: LeaseLedger
}

const NOTHING: Held = { ledger: EMPTY_LEDGER, buckets: {}, quotas: {} }

function apply(
  held: Held,
  { boot, ahead, isTaken, unused, returned, waiting, demand, terms, drawn }: Call,
  nowMs: number,
) {
  const last = held.ledger.holders.findLast((holder) => holder.boot === boot)?.seq ?? 1
  const seq = Math.max(1, last + ahead)
  const lease = Math.max(0, isTaken ? seq - 1 : seq - 2)
  const isReturned = returned !== null && lease > returned.before
  const call: LeaseCall = {
    boot,
    seq,
    lease,
    unused,
    waiting,
    cost: Math.min(1, ...waiting),
    demand,
    roundTripMs: 30,
    returned: isReturned ? { lease: lease - returned.before, tokens: returned.tokens } : null,
  }
  const names = drawn.map(({ name }) => name)
  const pool = createLeasePool(held, drawn, nowMs)
  const step = grant(held.ledger, pool, call, { ...LEASE_TERMS_DEFAULT, ...terms, names }, nowMs)
  return { step, call, after: { ledger: step.ledger, ...storedOf(held, step.pool) } }
}

/** Level and lent tokens of one limit, with everything that is over by now struck out. */
function potentialOf({ ledger, buckets }: Held, name: string): number {
  const bucket = buckets[name]
  return bucket === undefined ? 0 : bucket.level / bucket.periodMs + outstandingOf(ledger, name)
}

test("grant() keeps level and lent within the burst, whatever is called", () => {
  fc.assert(
    fc.property(fc.array(calls, { minLength: 1, maxLength: 40 }), (history) => {
      let held = NOTHING
      let nowMs = START_MS
      for (const call of history) {
        nowMs += call.gapMs
        held = apply(held, call, nowMs).after
        for (const [name, { level, burst }] of Object.entries(held.buckets)) {
          expect(level).toBeGreaterThanOrEqual(0)
          if (level > 0) expect(potentialOf(held, name)).toBeLessThanOrEqual(burst)
        }
      }
    }),
    { seed: 11, numRuns: 400 },
  )
})

test("grant() never raises level plus lent within one instant", () => {
  fc.assert(
    fc.property(fc.array(calls, { minLength: 2, maxLength: 30 }), (history) => {
      let held = NOTHING
      let nowMs = START_MS
      for (const call of history) {
        nowMs = Math.max(nowMs, nowMs + call.gapMs)
        // The same limits are first asked for nothing, so that time has passed and what is over is struck out.
        const quiet: Call = {
          ...call,
          boot: "observer",
          ahead: 1,
          waiting: [],
          terms: { ...call.terms, isSingle: true },
        }
        const before = apply(held, quiet, nowMs).after
        const { after } = apply(before, call, nowMs)
        for (const { name } of call.drawn)
          expect(potentialOf(after, name)).toBeLessThanOrEqual(potentialOf(before, name) + 1e-9)
        held = after
      }
    }),
    { seed: 12, numRuns: 200 },
  )
})

test("grant() gives a quota back no more than the last answer to that caller let it have", () => {
  fc.assert(
    fc.property(fc.array(calls, { minLength: 2, maxLength: 30 }), (history) => {
      let held = NOTHING
      let nowMs = START_MS
      for (const call of history) {
        nowMs = Math.max(nowMs, nowMs + call.gapMs)
        const names = call.drawn.map(({ name }) => name).toSorted()
        const isCaller = ({ boot, names: others }: LeaseRecord) =>
          boot === call.boot && String(others) === String(names)
        const last = held.ledger.holders.find(isCaller)?.answer
        const before = held.quotas["hourly"]
        const { after, step } = apply(held, call, nowMs)
        const { used = 0, startMs = 0 } = after.quotas["hourly"] ?? {}
        const taken = names.includes("hourly") && step.ledger !== held.ledger ? (step.answer?.granted ?? 0) : 0
        if (before?.startMs === startMs) {
          expect(before.used + taken - used).toBeLessThanOrEqual((last?.granted ?? 0) + (last?.carry ?? 0))
        } else expect(used).toBe(taken)
        held = after
      }
    }),
    { seed: 19, numRuns: 400 },
  )
})

test("grant() lends no token of a quota beyond its window", () => {
  fc.assert(
    fc.property(fc.array(calls, { minLength: 1, maxLength: 30 }), (history) => {
      let held = NOTHING
      let nowMs = START_MS
      for (const call of history) {
        nowMs += Math.abs(call.gapMs % 400)
        held = apply(held, call, nowMs).after
        const { endMs = 0 } = held.quotas["hourly"] ?? {}
        for (const { names, expiresMs } of loansOf(held.ledger)) {
          if (names.includes("hourly") && expiresMs > nowMs) expect(expiresMs).toBeLessThanOrEqual(endMs)
        }
      }
    }),
    { seed: 20, numRuns: 400 },
  )
})

test("grant() answers a repeated call alike and changes nothing", () => {
  fc.assert(
    fc.property(
      fc.array(calls, { minLength: 1, maxLength: 15 }),
      fc.integer({ min: 0, max: 900 }),
      (history, laterMs) => {
        let held = NOTHING
        let nowMs = START_MS
        for (const call of history) {
          nowMs += call.gapMs
          const first = apply(held, call, nowMs)
          const names = call.drawn.map(({ name }) => name)
          const pool = createLeasePool(first.after, call.drawn, nowMs + laterMs)
          const terms = { ...LEASE_TERMS_DEFAULT, names }
          const again = grant(first.after.ledger, pool, first.call, terms, nowMs + laterMs)
          expect([again.answer, again.ledger === first.after.ledger]).toEqual([first.step.answer, true])
          held = first.after
        }
      },
    ),
    { seed: 13, numRuns: 200 },
  )
})

test("grant() decides alike after a restart from storage", () => {
  fc.assert(
    fc.property(fc.array(calls, { minLength: 1, maxLength: 15 }), (history) => {
      let held = NOTHING
      let nowMs = START_MS
      for (const call of history) {
        nowMs += call.gapMs
        const restarted: Held = {
          ledger: parseLedger(JSON.parse(JSON.stringify(held.ledger))) ?? EMPTY_LEDGER,
          buckets: Object.fromEntries(
            Object.entries(held.buckets).flatMap(([name, bucket]) => {
              const parsed = parseBucketState(JSON.parse(JSON.stringify(bucket)))
              return parsed === undefined ? [] : [[name, parsed]]
            }),
          ),
          quotas: Object.fromEntries(
            Object.entries(held.quotas).flatMap(([name, quota]) => {
              const parsed = parseQuotaState(JSON.parse(JSON.stringify(quota)))
              return parsed === undefined ? [] : [[name, parsed]]
            }),
          ),
        }
        const { after } = apply(held, call, nowMs)
        expect(apply(restarted, call, nowMs).after).toEqual(after)
        held = after
      }
    }),
    { seed: 14, numRuns: 200 },
  )
})

test("admitDirect() admits at retryAfterMs and not 1 ms earlier, whatever is lent", () => {
  fc.assert(
    fc.property(
      fc.array(calls, { minLength: 1, maxLength: 12 }),
      drawn,
      fc.integer({ min: 1, max: 12 }),
      (history, asked, cost) => {
        let held = NOTHING
        let nowMs = START_MS
        for (const call of history) {
          nowMs += Math.abs(call.gapMs % 1000)
          held = apply(held, call, nowMs).after
        }
        const names = asked.map(({ name }) => name)
        const ask = (state: Held, atMs: number) =>
          admitDirect(state.ledger, createLeasePool(state, asked, atMs), names, cost, atMs)
        const refused = ask(held, nowMs)
        if (refused.retryAfterMs === null) return
        const state: Held = { ledger: refused.ledger, ...storedOf(held, refused.pool) }
        const fitsMs = nowMs + refused.retryAfterMs
        expect([ask(state, fitsMs).isAdmitted, ask(state, fitsMs - 1).isAdmitted]).toEqual([true, false])
      },
    ),
    { seed: 15, numRuns: 600 },
  )
})

test("settle() of a bucket member refills like a bucket that is looked at every millisecond", () => {
  const spans = fc.array(
    fc.record({ lent: fc.integer({ min: 0, max: 12 }), forMs: fc.integer({ min: 1, max: 300 }) }),
    {
      minLength: 1,
      maxLength: 8,
    },
  )
  const bucket = fc.record({
    burst: fc.integer({ min: 1, max: 10 }),
    count: fc.integer({ min: 1, max: 20 }),
    periodMs: fc.integer({ min: 1, max: 900 }),
  })
  fc.assert(
    fc.property(bucket, spans, ({ burst, count, periodMs }, history) => {
      let member = new BucketMember({ level: 0, lastMs: START_MS, burst, count, periodMs })
      let level = 0
      let nowMs = START_MS
      for (const { lent, forMs } of history) {
        const cap = Math.max(0, burst - lent) * periodMs
        for (let elapsedMs = 0; elapsedMs < forMs; elapsedMs++) level = Math.min(cap, level + count)
        nowMs += forMs
        member = member.settle(lent, nowMs)
        expect(member.state).toEqual({ level, lastMs: nowMs, burst, count, periodMs })
      }
    }),
    { seed: 16, numRuns: 300 },
  )
})

test("sizeLease() grants at least what waiting requests can use alone, and at most what is there", () => {
  const views = fc.array(
    fc.record({
      available: fc.integer({ min: 0, max: 60 }),
      capacity: fc.integer({ min: 1, max: 60 }),
      rate: fc.oneof(fc.constant(0), fc.double({ min: 0.01, max: 5_000, noNaN: true })),
      outstanding: fc.integer({ min: 0, max: 60 }),
      demand: fc.double({ min: 0, max: 9_000, noNaN: true }),
    }),
    { minLength: 1, maxLength: 3 },
  )
  const request = fc.record({
    waiting: fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 6 }),
    carry: fc.integer({ min: 0, max: 5 }),
    demand: fc.double({ min: 0, max: 500, noNaN: true }),
    ttlMs: fc.integer({ min: 1, max: 5_000 }),
    isSingle: fc.boolean(),
  })
  fc.assert(
    fc.property(views, request, (members, asked) => {
      const available = Math.min(...members.map((member) => member.available))
      const granted = sizeLease(members, asked)
      expect(Number.isInteger(granted) && granted >= 0 && granted <= available).toBe(true)
      const smallest = Math.min(...asked.waiting)
      if (smallest <= available + asked.carry && asked.waiting.length > 0) {
        expect(fitWaiting(asked.waiting, granted + asked.carry)).toBeGreaterThanOrEqual(smallest)
      }
    }),
    { seed: 17, numRuns: 1_000 },
  )
})

test("loansOf() names everything that counts as lent", () => {
  fc.assert(
    fc.property(fc.array(calls, { minLength: 1, maxLength: 20 }), (history) => {
      let held = NOTHING
      let nowMs = START_MS
      for (const call of history) {
        nowMs += Math.abs(call.gapMs % 500)
        held = apply(held, call, nowMs).after
      }
      for (const name of ["client", "route"]) {
        const sum = loansOf(held.ledger).reduce(
          (total, loan) => total + (loan.names.includes(name) ? loan.tokens : 0),
          0,
        )
        expect(sum).toBe(outstandingOf(held.ledger, name))
      }
    }),
    { seed: 18, numRuns: 100 },
  )
})

/**
 * Goal: what the gate of one client promises for any mix of isolates that were lent tokens and requests that are asked for
 * one by one, with guards, restarts, changes of configuration and a bad network. Method: random histories in virtual time;
 * the object starts from its stored text at every step and is compared with a reference that keeps everything.
 *
 * Where each property of the client gate is held (property: test file, then the beginning of the name of the test):
 *
 *  1 window bound, any interleaving and fault: gate-properties "the gate admits in no window more", "isolates that hoard"; simulation "runScenario()
 *    keeps every promise" and "runScenario() finds the mistake"
 *  2 conservation with arbitrary clocks of isolates: gate-properties "isolates with any clock"
 *  3 level and lent within the burst: gate-properties "the gate keeps level and lent"; lease-properties "grant() keeps level"
 *  4 unspent within lent: simulation "runScenario() keeps every promise" (its promise unspent-within-lent)
 *  5 the same call, the same answer: lease-properties "grant() answers a repeated call alike"; client-gate "lendTokens()
 *    answers a repeated call"
 *  6 an older call has no effect: lease-ledger "grant() ignores a call older"; client-gate "lendTokens() has no answer to an
 *    overtaken call"
 *  7 a restarted isolate inherits nothing: lease-ledger "grant() does not give a restarted isolate"
 *  8 return and renewal raise nothing: lease-properties "grant() never raises level plus lent"
 *  9 a late return changes nothing: lease-ledger "grant() takes nothing back once the lease is over"
 * 10 nothing at or after the end of a lease: lease-holder "decide() admits until 1 ms before the lease ends"; simulation
 *    (no-admission-after-lease)
 * 11 the object counts longer than any isolate spends: simulation "runScenario() finds the mistake without-margin"
 * 12 after a block at most what is lent: gate-properties "after a guard has opened", "after a block begins"; simulation
 *    (block-bound)
 * 13 liveness within the limit: simulation (liveness), "measureRow() finds next to nothing refused"
 * 14 honest refusals: simulation (refusal-honesty); lease-holder "acceptAnswer() does not refuse a request that came later"
 * 15 restart at any step: gate-properties, all of them; gate-state "parseGateState() reads back"
 * 16 degenerate limits: gate-properties "a limit of a few tokens"; lease-ledger "grant() stays exact when the whole burst"
 * 17 change of configuration: gate-properties "a changed limit"
 * 18 guards: gate-guards "recordOutcomes()", "guards that reserve"; guard-properties "recordOutcome() of an outcome that does
 *    not count", "guard moves the end of a block only by time", "recordOutcome() in reserve mode"
 * 19 waits are tight: client-gate "admitRequest() admits after the wait"; lease-properties "admitDirect() admits at
 *    retryAfterMs"; gcra; guard-properties "to the ms that it names"
 * 20 a restart is invisible: gate-properties "the stored text"; guard-vectors, limiter-vectors (scenarios with restart)
 */
import fc from "fast-check"
import { expect, test } from "vitest"
import type { GuardDemand } from "../../src/core/gate/gate-guards.ts"
import type { AdminAction } from "../../src/core/guard/guard.ts"
import { createHolder, acceptAnswer, decide, startCall } from "../../src/core/lease/lease-holder.ts"
import { lendTokens } from "../../src/core/gate/client-gate.ts"
import type { NamedBucket } from "../../src/core/limit/limit.ts"
import { LEASE_OVER_MS, overdraftOf, START_MS, StoredGate, World } from "./gate-world.ts"
import type { Fate, Terms } from "./gate-world.ts"

interface Move {
  readonly kind: "request" | "direct" | "direct-other" | "restart" | "admin" | "pass"
  readonly isolate: number
  readonly cost: number
  readonly isFailing: boolean
  readonly gapMs: number
  readonly times: number
  readonly fate: Fate
  readonly action: AdminAction
}

const fates: fc.Arbitrary<Fate> = fc.record({
  isCallLost: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
  isAnswerLost: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
  isDoubled: fc.integer({ min: 0, max: 4 }).map((n) => n === 0),
  wayMs: fc.constantFrom(0, 1, 5, 20, 80),
})
const moves: fc.Arbitrary<Move> = fc.record({
  kind: fc.oneof(
    { weight: 10, arbitrary: fc.constant("request" as const) },
    { weight: 4, arbitrary: fc.constantFrom("direct" as const, "direct-other" as const) },
    { weight: 1, arbitrary: fc.constantFrom("restart" as const, "admin" as const) },
    { weight: 2, arbitrary: fc.constant("pass" as const) },
  ),
  isolate: fc.integer({ min: 0, max: 2 }),
  cost: fc.oneof({ weight: 6, arbitrary: fc.constant(1) }, fc.integer({ min: 0, max: 4 })),
  isFailing: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
  gapMs: fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: 0, max: 20 }) },
    { weight: 3, arbitrary: fc.integer({ min: 20, max: 400 }) },
    { weight: 1, arbitrary: fc.integer({ min: 400, max: 4_000 }) },
  ),
  times: fc.oneof({ weight: 3, arbitrary: fc.constant(1) }, fc.integer({ min: 2, max: 15 })),
  fate: fates,
  action: fc.oneof(
    fc.constantFrom({ action: "reset" as const }, { action: "unblock" as const }),
    fc.integer({ min: 1, max: 900 }).map((durationMs) => ({ action: "block" as const, durationMs })),
  ),
})
const histories = fc.array(moves, { minLength: 10, maxLength: 60 })
const bucketOf = (name: string) =>
  fc.record({
    kind: fc.constant("bucket" as const),
    name: fc.constant(name),
    burst: fc.integer({ min: 1, max: 40 }),
    rate: fc.record({ count: fc.integer({ min: 1, max: 60 }), periodMs: fc.integer({ min: 50, max: 3_000 }) }),
  })
const limitPairs = fc.tuple(bucketOf("client"), bucketOf("route"))
const GUARD: GuardDemand = {
  name: "login",
  config: {
    maxFailures: 3,
    failureDurationMs: 2_000,
    backoff: { kind: "exponential", minBackoffMs: 500, maxBackoffMs: 1_500, randomFactor: 0.2, resetBackoffMs: 1_000 },
    guardResetTimeoutMs: null,
    inFlight: "optimistic",
    pendingTtlMs: 1_000,
    successPolicy: "reset",
  },
}

function play(world: World, history: readonly Move[], change?: { readonly at: number; readonly terms: Terms }): void {
  for (const [index, move] of history.entries()) {
    if (change?.at === index) world.terms = change.terms
    world.fate = move.fate
    world.advance(move.gapMs)
    const { limits, guards } = world.terms
    for (let time = 0; time < move.times; time++) {
      if (move.kind === "request") world.request(move.isolate, move.cost, move.isFailing)
      if (move.kind === "direct") world.admit(move.cost, move.isFailing)
      // Another route of the client shares one of the limits.
      if (move.kind === "direct-other") world.admit(move.cost, move.isFailing, { limits: limits.slice(0, 1), guards })
    }
    if (move.kind === "restart") world.restartIsolate(move.isolate)
    if (move.kind === "admin") world.administer(move.action)
  }
  world.advance(6_000)
}

test("the gate admits in no window more than burst and rate allow, however requests are decided", () => {
  fc.assert(
    fc.property(limitPairs, histories, (limits, history) => {
      const world = new World({ limits, guards: [] }, 3)
      play(world, history)
      for (const limit of limits) expect(overdraftOf(world.passed, limit)).toBe(0)
    }),
    { seed: 31, numRuns: 200 },
  )
})

test("isolates that hoard what they were lent, while direct requests take what refills, gain nothing", () => {
  const limit: NamedBucket = { kind: "bucket", name: "client", burst: 40, rate: { count: 40, periodMs: 1_000 } }
  const world = new World({ limits: [limit], guards: [] }, 3)
  for (let i = 0; i < 12; i++) {
    for (const isolate of [0, 1, 2]) world.request(isolate, 1, false)
    world.advance(12)
  }
  // All that is not lent has refilled by then, and the leases are still good.
  world.advance(850)
  const hoardedMs = world.nowMs
  for (let i = 0; i < 45; i++) world.admit(1, false)
  for (const isolate of [0, 1, 2]) for (let i = 0; i < 10; i++) world.request(isolate, 1, false)
  const after = world.passed.filter(({ atMs }) => atMs >= hoardedMs)
  expect([overdraftOf(world.passed, limit), after.some(({ by }) => by === "isolate"), after.length]).toEqual([
    0,
    true,
    40,
  ])
})

test("the gate keeps level and lent of every limit within its burst after every step", () => {
  fc.assert(
    fc.property(limitPairs, limitPairs, histories, fc.integer({ min: 0, max: 60 }), (limits, changed, history, at) => {
      const world = new World({ limits, guards: [GUARD] }, 3)
      play(world, history, { at, terms: { limits: changed, guards: [GUARD] } })
      expect(world.overdrawn).toEqual([])
    }),
    { seed: 32, numRuns: 150 },
  )
})

test("the stored text decides alike as everything that was ever known, so what is not stored need not be", () => {
  fc.assert(
    fc.property(limitPairs, limitPairs, histories, fc.integer({ min: 0, max: 60 }), (limits, changed, history, at) => {
      const world = new World({ limits, guards: [GUARD] }, 3)
      play(world, history, { at, terms: { limits: changed, guards: [GUARD] } })
      for (const { stored, reference } of world.compared) expect(stored).toEqual(reference)
    }),
    { seed: 33, numRuns: 200 },
  )
})

test("a changed limit bounds exactly once what was lent before is over, and the larger of the two until then", () => {
  fc.assert(
    fc.property(limitPairs, limitPairs, histories, fc.integer({ min: 1, max: 40 }), (limits, changed, history, at) => {
      const world = new World({ limits, guards: [] }, 3)
      play(world, history.slice(0, at))
      world.terms = { limits: changed, guards: [] }
      // The object learns of the change from the first call that names it.
      world.admit(0, false)
      const overMs = world.nowMs + LEASE_OVER_MS
      play(world, history.slice(at))
      for (const [index, limit] of changed.entries()) {
        const before = limits[index]
        if (before === undefined) continue
        const rate = Math.max(limit.rate.count / limit.rate.periodMs, before.rate.count / before.rate.periodMs)
        const larger = {
          name: limit.name,
          burst: Math.max(limit.burst, before.burst),
          rate: { count: rate, periodMs: 1 },
        }
        const later = world.passed.filter(({ atMs }) => atMs >= overMs)
        expect([overdraftOf(world.passed, larger), overdraftOf(later, limit)]).toEqual([0, 0])
      }
    }),
    { seed: 34, numRuns: 150 },
  )
})

test("after a guard has opened isolates admit no more than was lent, and nobody is lent anything until it is closed", () => {
  let lent = 0
  let passed = 0
  const strict = { ...GUARD, config: { ...GUARD.config, maxFailures: 2, failureDurationMs: 9_000 } }
  fc.assert(
    fc.property(limitPairs, histories, (limits, history) => {
      const world = new World({ limits, guards: [strict] }, 3)
      play(world, history)
      for (const opening of world.openings) {
        if (opening.lent > 0) lent++
        passed += opening.passed
      }
      expect(world.openings.filter(({ lent, passed }) => passed > lent)).toEqual([])
      expect(world.lentWhileOpen).toBe(0)
    }),
    { seed: 35, numRuns: 200 },
  )
  // Else there was nothing to find.
  expect(lent).toBeGreaterThan(50)
  expect(passed).toBeGreaterThan(5)
})

test("after a block begins isolates spend what they hold, and nothing once their leases are over", () => {
  const limit: NamedBucket = { kind: "bucket", name: "client", burst: 40, rate: { count: 40, periodMs: 1_000 } }
  const world = new World({ limits: [limit], guards: [GUARD] }, 3)
  for (let i = 0; i < 12; i++) {
    for (const isolate of [0, 1, 2]) world.request(isolate, 1, false)
    world.advance(12)
  }
  world.administer({ action: "block", durationMs: 60_000 })
  const blockedMs = world.nowMs
  for (let i = 0; i < 100; i++) {
    for (const isolate of [0, 1, 2]) world.request(isolate, 1, false)
    world.admit(1, false)
    world.advance(30)
  }
  const after = world.passed.filter(({ atMs }) => atMs >= blockedMs)
  const [opening] = world.openings
  expect([
    after.every(({ by, atMs }) => by === "isolate" && atMs < blockedMs + LEASE_OVER_MS),
    after.length > 0,
  ]).toEqual([true, true])
  expect(after.length).toBeLessThanOrEqual(opening?.lent ?? 0)
})

test.each([
  { burst: 1, rate: { count: 1, periodMs: 2_000 } },
  { burst: 1, rate: { count: 1, periodMs: 1 } },
  { burst: 2, rate: { count: 1, periodMs: 60_000 } },
  { burst: 40, rate: { count: 1, periodMs: 3_600_000 } },
])("a limit of a few tokens or of next to no rate is as exact: %o", (config) => {
  const limit: NamedBucket = { kind: "bucket", name: "client", ...config }
  fc.assert(
    fc.property(histories, (history) => {
      const world = new World({ limits: [limit], guards: [] }, 3)
      play(world, history)
      expect([overdraftOf(world.passed, limit), world.overdrawn]).toEqual([0, []])
    }),
    { seed: 36, numRuns: 60 },
  )
})

test("isolates with any clock spend over all no more than burst and rate allow", () => {
  const steps = fc.array(
    fc.record({
      isolate: fc.integer({ min: 0, max: 2 }),
      gapMs: fc.nat(300),
      skewMs: fc.integer({ min: -9_000, max: 9_000 }),
    }),
    { minLength: 10, maxLength: 120 },
  )
  fc.assert(
    fc.property(bucketOf("client"), steps, (limit, history) => {
      const object = new StoredGate()
      const holders = ["a", "b", "c"].map((boot) => createHolder(boot))
      let nowMs = START_MS
      let passed = 0
      for (const [id, { isolate, gapMs, skewMs }] of history.entries()) {
        nowMs += gapMs
        const own = holders[isolate]
        if (own === undefined) continue
        const asked = decide(own, { id, cost: 1, nowMs: nowMs + skewMs })
        let { holder } = asked
        if (asked.decision.kind === "admit") passed++
        if (asked.decision.kind === "ask") {
          const started = startCall(holder, nowMs + skewMs)
          const terms = { limits: [limit], guards: [] }
          const { answer } = object.step(nowMs, (state) => lendTokens(state, started.call, terms, nowMs, 0))
          if (answer === null) throw new Error("The call has no answer")
          const step = acceptAnswer(started.holder, answer.lease, nowMs + skewMs)
          passed += step.settled.filter(({ decision }) => decision.kind === "admit").length
          ;({ holder } = step)
        }
        holders[isolate] = holder
      }
      const allowed = limit.burst + ((nowMs - START_MS) * limit.rate.count) / limit.rate.periodMs
      expect(passed).toBeLessThanOrEqual(allowed + 1e-6)
    }),
    { seed: 37, numRuns: 150 },
  )
})

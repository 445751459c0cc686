/**
 * Goal: buckets, quotas and concurrency limits, enforced or shadow, are one decision that takes from all or from none.
 * Method: properties over random histories of mixed limits, against each kind asked by itself; single cases for what the
 * decision reports. What holds for buckets alone is in `admission.test.ts`.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { decideAdmission, releaseLeases, renewLeases } from "../../src/core/limit/admission.ts"
import type { AdmissionRequest } from "../../src/core/limit/admission.ts"
import { EMPTY_GATE_STATE, restoreGateState } from "../../src/core/gate/gate-state.ts"
import type { GateState } from "../../src/core/gate/gate-state.ts"
import { acquireLease, releaseLease, settleLeases } from "../../src/core/limit/concurrency.ts"
import type { ConcurrencyState } from "../../src/core/limit/concurrency.ts"
import { createLostLedger } from "../../src/core/lease/lease-ledger.ts"
import { acquire, settle } from "../../src/core/limit/gcra.ts"
import type { BucketState } from "../../src/core/limit/gcra.ts"
import type { NamedBucket, NamedConcurrency, NamedLimit, NamedQuota } from "../../src/core/limit/limit.ts"
import { acquireQuota, settleQuota } from "../../src/core/limit/quota.ts"
import type { QuotaState } from "../../src/core/limit/quota.ts"

/** 2025-01-15 12:00 UTC. */
const NOON_MS = 1_736_942_400_000
const MIDNIGHT_MS = NOON_MS + 43_200_000
const BURST: NamedBucket = { kind: "bucket", name: "burst", burst: 4, rate: { count: 1, periodMs: 1000 } }
const DAILY: NamedQuota = { kind: "quota", name: "daily", limit: 3, unit: "day", timezone: "UTC" }
const PARALLEL: NamedConcurrency = { kind: "concurrency", name: "parallel", maxConcurrent: 2, leaseTtlMs: 10_000 }
const ALL: readonly NamedLimit[] = [BURST, DAILY, PARALLEL]

function shadow<Limit extends NamedLimit>(limit: Limit): Limit {
  return { ...limit, mode: "shadow" }
}

function admit(state: GateState, limits: readonly NamedLimit[], leaseId = "r1", cost = 1, nowMs = NOON_MS) {
  return decideAdmission(state, { limits, cost, leaseId }, nowMs)
}

/** The state after requests with these ids at noon. */
function after(limits: readonly NamedLimit[], ...leaseIds: readonly string[]): GateState {
  return leaseIds.reduce((state, leaseId) => admit(state, limits, leaseId).state, EMPTY_GATE_STATE)
}

const limitSets: fc.Arbitrary<readonly NamedLimit[]> = fc
  .array(
    fc.oneof(
      fc.record({
        kind: fc.constant("bucket" as const),
        burst: fc.integer({ min: 1, max: 6 }),
        rate: fc.record({ count: fc.integer({ min: 1, max: 5 }), periodMs: fc.integer({ min: 1, max: 5000 }) }),
      }),
      fc.record({
        kind: fc.constant("quota" as const),
        limit: fc.integer({ min: 0, max: 8 }),
        unit: fc.constantFrom("hour" as const, "day" as const, "month" as const),
        timezone: fc.constantFrom("UTC", "Asia/Kolkata", "America/New_York"),
      }),
      fc.record({
        kind: fc.constant("concurrency" as const),
        maxConcurrent: fc.integer({ min: 1, max: 3 }),
        leaseTtlMs: fc.integer({ min: 1, max: 20_000 }),
      }),
    ),
    { minLength: 1, maxLength: 5 },
  )
  .map((configs) => configs.map((config, index) => ({ ...config, name: `limit-${index}` })))
const requests = fc.record({
  gapMs: fc.oneof(fc.nat({ max: 5000 }), fc.nat({ max: 3 * 3_600_000 })),
  cost: fc.integer({ min: 0, max: 7 }),
  leaseId: fc.constantFrom("a", "b", "c", "d", "e"),
  isRelease: fc.boolean(),
  isRestart: fc.boolean(),
})
const histories = fc.array(requests, { minLength: 1, maxLength: 40 })

/** Everything that is counted for the limits, as it stands at an instant. */
function counters({ buckets, quotas, concurrency }: GateState, limits: readonly NamedLimit[], nowMs: number) {
  return limits.map((limit) => {
    switch (limit.kind) {
      case "bucket":
        return settle(buckets[limit.name], limit, nowMs).level
      case "quota":
        return settleQuota(quotas[limit.name], limit, nowMs).used
      case "concurrency":
        return settleLeases(concurrency[limit.name], nowMs).leases
    }
  })
}

describe("decideAdmission() over all kinds", () => {
  test("decideAdmission() decides and counts as each kind does by itself, all or nothing", () => {
    fc.assert(
      fc.property(limitSets, histories, (limits, history) => {
        const buckets = new Map<string, BucketState>()
        const quotas = new Map<string, QuotaState>()
        const leases = new Map<string, ConcurrencyState>()
        const ask = (limit: NamedLimit, cost: number, leaseId: string, nowMs: number) => {
          const { name } = limit
          switch (limit.kind) {
            case "bucket": {
              const { state, decision } = acquire(buckets.get(name), limit, cost, nowMs)
              return { decision, take: () => buckets.set(name, state) }
            }
            case "quota": {
              const { state, decision } = acquireQuota(quotas.get(name), limit, cost, nowMs)
              return { decision, take: () => quotas.set(name, state) }
            }
            case "concurrency": {
              const { state, decision } = acquireLease(leases.get(name), limit, leaseId, nowMs)
              return { decision, take: () => leases.set(name, state) }
            }
          }
        }
        let state = EMPTY_GATE_STATE
        let nowMs = NOON_MS
        for (const { gapMs, cost, leaseId, isRelease, isRestart } of history) {
          nowMs += gapMs
          const asked = limits.map((limit) => ({ limit, ...ask(limit, cost, leaseId, nowMs) }))
          const refusing = asked.filter(({ decision }) => !decision.allowed)
          const isPermanent = refusing.some(({ decision }) => decision.permanent)
          const waitMs = Math.max(...refusing.map(({ decision }) => decision.retryAfterMs ?? 0))
          const step = decideAdmission(state, { limits, cost, leaseId }, nowMs)
          state = isRestart ? restoreGateState(JSON.stringify(step.state), nowMs) : step.state
          expect(step.decision.admitted).toBe(refusing.length === 0)
          if (step.decision.admitted) for (const { take } of asked) take()
          else {
            expect(step.decision).toMatchObject({
              reason: "limit",
              violated: refusing.map(({ limit }) => limit.name),
              permanent: isPermanent,
              retryAfterMs: isPermanent ? null : waitMs,
            })
            const decisive = refusing.find(({ decision }) =>
              isPermanent ? decision.permanent : decision.retryAfterMs === waitMs,
            )
            expect(step.decision).toMatchObject({ refusedBy: decisive?.limit.kind })
          }
          if (isRelease) {
            state = releaseLeases(state, leaseId, nowMs).state
            for (const [name, lease] of leases) leases.set(name, releaseLease(lease, leaseId, nowMs).state)
          }
          const expected = {
            ...EMPTY_GATE_STATE,
            buckets: Object.fromEntries(buckets),
            quotas: Object.fromEntries(quotas),
            concurrency: Object.fromEntries(leases),
          }
          expect(counters(state, limits, nowMs)).toEqual(counters(expected, limits, nowMs))
        }
      }),
      { seed: 181, numRuns: 400 },
    )
  })

  test("decideAdmission() changes no counter of any limit when it refuses, shadow limits included", () => {
    const modes = fc.array(fc.boolean(), { minLength: 5, maxLength: 5 })
    fc.assert(
      fc.property(limitSets, modes, histories, (plain, isShadow, history) => {
        const limits = plain.map((limit, index) => (isShadow[index] === true ? shadow(limit) : limit))
        let state = EMPTY_GATE_STATE
        let nowMs = NOON_MS
        for (const { gapMs, cost, leaseId } of history) {
          nowMs += gapMs
          const before = counters(state, limits, nowMs)
          const step = decideAdmission(state, { limits, cost, leaseId }, nowMs)
          state = step.state
          if (!step.decision.admitted) expect(counters(state, limits, nowMs)).toEqual(before)
        }
      }),
      { seed: 182, numRuns: 400 },
    )
  })

  test("decideAdmission() names a wait that is tight over all kinds", () => {
    fc.assert(
      fc.property(limitSets, histories, (limits, history) => {
        let state = EMPTY_GATE_STATE
        let nowMs = NOON_MS
        for (const { gapMs, cost, leaseId } of history) {
          nowMs += gapMs
          const request: AdmissionRequest = { limits, cost, leaseId }
          const { state: next, decision } = decideAdmission(state, request, nowMs)
          state = next
          if (decision.admitted || decision.retryAfterMs === null) continue
          expect(decideAdmission(state, request, nowMs + decision.retryAfterMs).decision.admitted).toBe(true)
          expect(decideAdmission(state, request, nowMs + decision.retryAfterMs - 1).decision.admitted).toBe(false)
        }
      }),
      { seed: 183, numRuns: 400 },
    )
  })

  test("decideAdmission() writes nothing for a refusal within the same windows and leases", () => {
    const state = after(ALL, "r1", "r2")
    expect(admit(state, ALL, "r3", 1, NOON_MS + 500).state).toBe(state)
  })

  test("decideAdmission() writes a new window even when it refuses, so that no clock leads back", () => {
    const full = after([{ ...DAILY, limit: 1 }], "r1")
    const none = { ...BURST, burst: 1 }
    const { state, decision } = admit(full, [DAILY, none], "r2", 2, MIDNIGHT_MS)
    expect(decision).toMatchObject({ admitted: false, violated: ["burst"] })
    expect(admit(state, [DAILY], "r3", 3, MIDNIGHT_MS - 1000).decision).toMatchObject({ admitted: true, remaining: 0 })
  })

  test("decideAdmission() keeps limits of one name and different kinds apart", () => {
    const state = after([{ ...DAILY, name: "x", limit: 1 }], "r1")
    expect(admit(state, [{ ...BURST, name: "x" }]).decision).toMatchObject({ admitted: true, remaining: 3 })
  })

  test.each(["__proto__", "constructor"])("decideAdmission() keeps limits of every kind called %j", (name) => {
    for (const limit of [
      { ...DAILY, name, limit: 1 },
      { ...PARALLEL, name, maxConcurrent: 1 },
    ]) {
      const state = restoreGateState(JSON.stringify(after([limit], "r1")), NOON_MS)
      expect(admit(state, [limit], "r2").decision).toMatchObject({ admitted: false, violated: [name] })
    }
  })
})

describe("what decideAdmission() reports", () => {
  test("decideAdmission() reports for buckets and quotas what the header fields need, and slots beside it", () => {
    expect(admit(after(ALL, "r1"), ALL, "r2").decision).toEqual({
      admitted: true,
      policies: [
        { name: "burst", quota: 4, windowSec: 4, remaining: 2, nextMs: 1000 },
        { name: "daily", quota: 3, windowSec: 86_400, remaining: 1, nextMs: 43_200_000 },
      ],
      shadowPolicies: [],
      concurrency: [{ name: "parallel", maxConcurrent: 2, inUse: 2 }],
      remaining: 1,
      shadowed: [],
      lost: [],
    })
  })

  test("decideAdmission() reports no time to more of a quota of which nothing is used", () => {
    expect(admit(EMPTY_GATE_STATE, [DAILY], "r1", 0).decision.policies).toMatchObject([{ remaining: 3, nextMs: 0 }])
  })

  test.each<[NamedQuota["unit"], string, number, number]>([
    ["hour", "UTC", NOON_MS, 3600],
    ["day", "America/New_York", Date.UTC(2024, 2, 10, 12), 86_400],
    ["month", "UTC", NOON_MS, 31 * 86_400],
    ["month", "UTC", Date.UTC(2024, 1, 10), 29 * 86_400],
    ["month", "America/New_York", Date.UTC(2024, 2, 10), 31 * 86_400 - 3600],
  ])("decideAdmission() reports the window of a %s in %s at %d as %d s", (unit, timezone, nowMs, windowSec) => {
    const { decision } = admit(EMPTY_GATE_STATE, [{ ...DAILY, unit, timezone }], "r1", 1, nowMs)
    expect(decision.policies).toMatchObject([{ windowSec }])
  })

  test("decideAdmission() has nothing remaining to report when only slots are limited", () => {
    expect(admit(EMPTY_GATE_STATE, [PARALLEL]).decision).toMatchObject({ policies: [], remaining: null })
  })

  const tight: readonly (readonly [refuser: string, limits: readonly NamedLimit[], cost: number])[] = [
    ["bucket", [{ ...BURST, burst: 1 }, DAILY, PARALLEL], 1],
    ["quota", [BURST, { ...DAILY, limit: 1 }, PARALLEL], 1],
    ["concurrency", [BURST, DAILY, { ...PARALLEL, maxConcurrent: 1 }], 1],
    // The longest wait: 1 s, 10 s, 12 h.
    ["concurrency", [{ ...BURST, burst: 1 }, DAILY, { ...PARALLEL, maxConcurrent: 1 }], 1],
    [
      "quota",
      [
        { ...PARALLEL, maxConcurrent: 1 },
        { ...DAILY, limit: 1 },
        { ...BURST, burst: 1 },
      ],
      1,
    ],
    // A wait that no time ends comes first, wherever it is named.
    ["bucket", [{ ...DAILY, limit: 2 }, PARALLEL, { ...BURST, burst: 1 }], 2],
    ["quota", [{ ...PARALLEL, maxConcurrent: 1 }, { ...DAILY, limit: 1 }, BURST], 2],
  ]
  test.each(tight)("decideAdmission() is refused by the %s of %j at cost %d", (refusedBy, limits, cost) => {
    expect(admit(after(limits, "r1"), limits, "r2", cost).decision).toMatchObject({ admitted: false, refusedBy })
  })

  test("decideAdmission() is refused by the limit named first when two wait equally long", () => {
    const bucket = { ...BURST, burst: 1, rate: { count: 1, periodMs: 10_000 } }
    const slots = { ...PARALLEL, maxConcurrent: 1 }
    const refusedBy = (limits: readonly NamedLimit[]) => admit(after(limits, "r1"), limits, "r2").decision
    expect(refusedBy([bucket, slots])).toMatchObject({ refusedBy: "bucket", retryAfterMs: 10_000 })
    expect(refusedBy([slots, bucket])).toMatchObject({ refusedBy: "concurrency", retryAfterMs: 10_000 })
  })
})

describe("shadow limits", () => {
  test("decideAdmission() decides and reports as if shadow limits were not there", () => {
    fc.assert(
      fc.property(limitSets, limitSets, histories, (enforced, others, history) => {
        const shadows = others.map((limit) => shadow({ ...limit, name: `shadow-${limit.name}` }))
        let state = EMPTY_GATE_STATE
        let plain = EMPTY_GATE_STATE
        let nowMs = NOON_MS
        for (const { gapMs, cost, leaseId } of history) {
          nowMs += gapMs
          const step = decideAdmission(state, { limits: [...shadows, ...enforced], cost, leaseId }, nowMs)
          const without = decideAdmission(plain, { limits: enforced, cost, leaseId }, nowMs)
          state = step.state
          plain = without.state
          expect({ ...step.decision, shadowPolicies: [], shadowed: [] }).toEqual(without.decision)
        }
      }),
      { seed: 184, numRuns: 300 },
    )
  })

  test("decideAdmission() counts a shadow limit alone as if it were enforced", () => {
    fc.assert(
      fc.property(limitSets, histories, ([limit], history) => {
        if (limit === undefined) return
        let state = EMPTY_GATE_STATE
        let enforced = EMPTY_GATE_STATE
        let nowMs = NOON_MS
        for (const { gapMs, cost, leaseId } of history) {
          nowMs += gapMs
          const step = decideAdmission(state, { limits: [shadow(limit)], cost, leaseId }, nowMs)
          const real = decideAdmission(enforced, { limits: [limit], cost, leaseId }, nowMs)
          state = step.state
          enforced = real.state
          expect(step.decision.admitted).toBe(true)
          expect(step.decision.shadowed).toEqual(real.decision.admitted ? [] : [limit.name])
          expect(state).toEqual(enforced)
        }
      }),
      { seed: 185, numRuns: 300 },
    )
  })

  test("decideAdmission() names the shadow limits that would refuse, sorted", () => {
    const limits = [shadow({ ...PARALLEL, maxConcurrent: 1 }), BURST, shadow({ ...DAILY, limit: 1 })]
    expect(admit(after(limits, "r1"), limits, "r2").decision).toMatchObject({
      admitted: true,
      shadowed: ["daily", "parallel"],
      policies: [{ name: "burst" }],
      concurrency: [],
    })
  })

  test("decideAdmission() takes from a shadow limit although another one would refuse", () => {
    const limits = [shadow(BURST), shadow({ ...DAILY, limit: 1 })]
    expect(after(limits, "r1", "r2", "r3")).toMatchObject({
      buckets: { burst: { level: 1000 } },
      quotas: { daily: { used: 1 } },
    })
  })

  test("decideAdmission() says what a shadow limit would do to a request that is refused anyway", () => {
    const limits = [{ ...BURST, burst: 1 }, shadow({ ...DAILY, limit: 1 })]
    const { decision } = admit(after(limits, "r1"), limits, "r2")
    expect(decision).toMatchObject({ admitted: false, violated: ["burst"], shadowed: ["daily"] })
  })

  test("decideAdmission() keeps what was counted when a shadow limit becomes enforced", () => {
    expect(admit(after([shadow(DAILY)], "r1", "r2", "r3"), [DAILY], "r4").decision.admitted).toBe(false)
  })
})

describe("leases of a request", () => {
  test("LIM-05 decideAdmission() takes one slot per request whatever it costs", () => {
    const state = admit(after([PARALLEL], "r1"), [PARALLEL], "r2", 0).state
    expect(admit(state, [PARALLEL], "r3", 0).decision).toMatchObject({ admitted: false, refusedBy: "concurrency" })
  })

  test("decideAdmission() asked again with the id of a running request takes no second slot", () => {
    const { decision } = admit(after([PARALLEL], "r1"), [PARALLEL], "r1", 1, NOON_MS + 5000)
    expect(decision).toMatchObject({ admitted: true, concurrency: [{ inUse: 1 }] })
  })

  test("LIM-05 releaseLeases() frees the slots of a request in every limit", () => {
    const limits = [PARALLEL, { ...PARALLEL, name: "route", maxConcurrent: 1 }]
    const step = releaseLeases(after(limits, "r1"), "r1", NOON_MS)
    expect(step.released).toEqual(["parallel", "route"])
    expect(step.state.concurrency).toMatchObject({ parallel: { leases: [] }, route: { leases: [] } })
  })

  test("releaseLeases() leaves the slots of other requests", () => {
    const { state } = releaseLeases(after([PARALLEL], "r1", "r2"), "r1", NOON_MS)
    expect(state.concurrency["parallel"]?.leases.map(({ id }) => id)).toEqual(["r2"])
  })

  test("LIM-06 releaseLeases() of an unknown or released id is a no-op that need not be stored", () => {
    const state = after(ALL, "r1")
    expect(releaseLeases(state, "r2", NOON_MS + 1)).toEqual({ state, released: [] })
    expect(releaseLeases(state, "r2", NOON_MS + 1).state).toBe(state)
    const { state: released } = releaseLeases(state, "r1", NOON_MS)
    expect(releaseLeases(released, "r1", NOON_MS)).toEqual({ state: released, released: [] })
  })

  test("LIM-06 releaseLeases() after the time to live finds nothing", () => {
    const { released, state } = releaseLeases(after([PARALLEL], "r1"), "r1", NOON_MS + 10_000)
    expect(released).toEqual([])
    expect(state.concurrency["parallel"]?.leases).toEqual([])
  })

  test("renewLeases() extends the slots of a request in the limits that it names", () => {
    const route = { ...PARALLEL, name: "route" }
    const step = renewLeases(after([PARALLEL, route], "r1"), [BURST, route], "r1", NOON_MS + 5000)
    expect(step.renewed).toEqual(["route"])
    expect(step.state.concurrency).toMatchObject({
      parallel: { leases: [{ expiresMs: NOON_MS + 10_000 }] },
      route: { leases: [{ expiresMs: NOON_MS + 15_000 }] },
    })
  })

  test("renewLeases() of an expired lease brings nothing back", () => {
    const { state, renewed } = renewLeases(after([PARALLEL], "r1"), [PARALLEL], "r1", NOON_MS + 10_000)
    expect({ renewed, leases: state.concurrency["parallel"]?.leases }).toEqual({ renewed: [], leases: [] })
  })

  test("renewLeases() passes over limits that are not stored or out of range", () => {
    const state = after([PARALLEL], "r1")
    const limits = [
      { ...PARALLEL, leaseTtlMs: -1 },
      { ...PARALLEL, name: "constructor" },
      { ...PARALLEL, kind: "bucket" },
    ]
    expect(renewLeases(state, limits as unknown as readonly NamedLimit[], "r1", NOON_MS).state).toBe(state)
  })
})

describe("state that was lost", () => {
  const lost = restoreGateState("{", NOON_MS)

  test("decideAdmission() on lost state gives nothing of any kind and names what it lost", () => {
    expect(admit(lost, ALL).decision).toMatchObject({
      admitted: false,
      violated: ["burst", "daily", "parallel"],
      refusedBy: "quota",
      policies: [{ remaining: 0 }, { remaining: 0 }],
      concurrency: [{ inUse: 2 }],
      lost: ["burst", "daily", "parallel"],
    })
  })

  test("decideAdmission() on lost state says so once", () => {
    const stored = restoreGateState(JSON.stringify(admit(lost, ALL).state), NOON_MS)
    expect(admit(stored, ALL).decision).toMatchObject({ admitted: false, lost: [] })
  })

  test.each<[string, NamedLimit, number]>([
    ["a bucket has refilled", BURST, NOON_MS + 1000],
    ["a window has ended", DAILY, MIDNIGHT_MS],
    ["every lease has expired", PARALLEL, NOON_MS + 10_000],
  ])("decideAdmission() on lost state admits once %s, and not 1 ms earlier", (_, limit, atMs) => {
    const { state } = admit(lost, [limit])
    expect(admit(state, [limit], "r1", 1, atMs - 1).decision.admitted).toBe(false)
    expect(admit(state, [limit], "r1", 1, atMs).decision.admitted).toBe(true)
  })

  test("decideAdmission() counts a lost quota in the window of the loss only, also when it is asked for later", () => {
    expect(admit(lost, [DAILY], "r1", 3, MIDNIGHT_MS).decision).toMatchObject({ admitted: true, lost: ["daily"] })
  })

  test.each<[string, NamedLimit, number]>([
    ["bucket", BURST, NOON_MS + 999],
    ["quota", DAILY, MIDNIGHT_MS - 1],
    ["concurrency", PARALLEL, NOON_MS + 9999],
  ])("decideAdmission() counts a lost %s from the loss, also when it is asked for later", (_, limit, atMs) => {
    expect(admit(lost, [limit], "r1", 1, atMs).decision).toMatchObject({ admitted: false, retryAfterMs: 1 })
  })
})

describe("a request out of range", () => {
  const ok = { limits: ALL, cost: 1, leaseId: "r1" }
  test.each<[string, unknown]>([
    ["no kind", { ...ok, limits: [{ ...BURST, kind: undefined }] }],
    ["an unknown kind", { ...ok, limits: [{ ...BURST, kind: "window" }] }],
    ["an unknown mode", { ...ok, limits: [{ ...BURST, mode: "off" }] }],
    ["a quota out of range", { ...ok, limits: [{ ...DAILY, unit: "week" }] }],
    ["a quota in no zone", { ...ok, limits: [{ ...DAILY, timezone: "Asia/Nowhere" }] }],
    ["a concurrency out of range", { ...ok, limits: [{ ...PARALLEL, maxConcurrent: 0 }] }],
    ["a name twice in two kinds", { ...ok, limits: [BURST, { ...DAILY, name: "burst" }] }],
    ["a slot but no id", { limits: ALL, cost: 1 }],
    ["a shadow slot but no id", { limits: [shadow(PARALLEL)], cost: 1 }],
    ["an empty id", { ...ok, leaseId: "" }],
    ["an id that is no text", { ...ok, limits: [BURST], leaseId: 5 }],
    ["an id that is too long", { ...ok, leaseId: "x".repeat(65) }],
  ])("decideAdmission() refuses %s and changes nothing", (_, request) => {
    // A Worker of another version may send what this version's types exclude.
    const { state, decision } = decideAdmission(EMPTY_GATE_STATE, request as AdmissionRequest, NOON_MS)
    expect(decision).toMatchObject({ admitted: false, reason: "invalid-request", violated: [], permanent: true })
    expect(state).toBe(EMPTY_GATE_STATE)
  })

  test("decideAdmission() needs no id when there is no slot to take", () => {
    expect(decideAdmission(EMPTY_GATE_STATE, { limits: [BURST, DAILY], cost: 1 }, NOON_MS).decision.admitted).toBe(true)
  })
})

describe("restoreGateState() of all kinds", () => {
  const state = after(ALL, "r1")

  test.each<[string, object]>([
    ["no quotas", { quotas: undefined }],
    ["no concurrency", { concurrency: undefined }],
    ["a list of quotas", { quotas: [] }],
    ["a quota out of range", { quotas: { daily: { ...state.quotas["daily"], used: -1 } } }],
    ["a lease out of range", { concurrency: { parallel: { lastMs: 0, leases: [{}] } } }],
  ])("restoreGateState() with %s is a loss", (_, member) => {
    expect(restoreGateState(JSON.stringify({ ...state, ...member }), NOON_MS)).toEqual({
      ...EMPTY_GATE_STATE,
      ledger: createLostLedger(NOON_MS),
      lostAtMs: NOON_MS,
    })
  })
})

/** Goal: nothing is lent that isolates cannot decide on exactly. Method: one plan for each kind of limit and guard. */
import { describe, expect, test } from "vitest"
import { planGate } from "../../src/core/gate/gate-plan.ts"
import type { RouteGuard } from "../../src/core/gate/gate-plan.ts"
import type { LimitSet } from "../../src/core/limit/limit-set.ts"
import type { NamedLimit } from "../../src/core/limit/limit.ts"

const BUCKET: NamedLimit = { kind: "bucket", name: "burst", burst: 100, rate: { count: 100, periodMs: 1000 } }
const GUARD: RouteGuard = {
  name: "login",
  key: { kind: "client" },
  outcomes: { failureStatuses: [401], verdictHeader: null },
  maxFailures: 5,
  failureDurationMs: 60_000,
  backoff: { kind: "lineal", durationMs: 1_000 },
  guardResetTimeoutMs: null,
  inFlight: "optimistic",
  pendingTtlMs: 30_000,
  successPolicy: "reset",
}
const RESERVING: RouteGuard = { ...GUARD, name: "pin", inFlight: "reserve" }

function plan(
  limits: readonly NamedLimit[],
  guards: readonly RouteGuard[] = [],
  mode: "enforce" | "shadow" = "enforce",
) {
  const sets: LimitSet[] = limits.map((limit) => ({ name: limit.name, limits: [limit] }))
  return planGate(sets, guards, { limitSets: new Map(), mode })
}

describe("planGate()", () => {
  test("planGate() lends buckets under a guard that counts when it is told", () => {
    expect(plan([BUCKET], [GUARD])).toMatchObject({ isLent: true, takesPlace: false })
  })

  test.each<[string, NamedLimit]>([
    ["a quota", { kind: "quota", name: "daily", limit: 9, unit: "day", timezone: "UTC" }],
    ["places among the requests in progress", { kind: "concurrency", name: "places", maxConcurrent: 2, leaseTtlMs: 9 }],
    ["a bucket in shadow mode", { ...BUCKET, name: "other", mode: "shadow" }],
    ["a bucket of a few tokens", { ...BUCKET, name: "other", burst: 3 }],
  ])("planGate() lends nothing beside %s", (_, limit) => {
    expect(plan([BUCKET, limit]).isLent).toBe(false)
  })

  test("planGate() lends nothing to a client in shadow mode", () => {
    expect(plan([BUCKET], [], "shadow").isLent).toBe(false)
  })

  test("planGate() lends nothing on the word of a client's guard that reserves places", () => {
    expect(plan([BUCKET], [RESERVING]).isLent).toBe(false)
  })

  test("planGate() leaves guards of other keys to their own objects", () => {
    const keyed: RouteGuard = { ...RESERVING, key: { kind: "address" } }
    const { isLent, demands, own, keyed: others } = plan([BUCKET], [GUARD, keyed])
    expect([isLent, demands.map(({ name }) => name), own, others]).toEqual([true, ["login"], [GUARD], [keyed]])
  })

  test("planGate() says when a request takes a place", () => {
    const limit: NamedLimit = { kind: "concurrency", name: "places", maxConcurrent: 2, leaseTtlMs: 9 }
    expect(plan([limit]).takesPlace).toBe(true)
  })

  test("planGate() names the places that a request may not go on without", () => {
    const limit: NamedLimit = { kind: "concurrency", name: "places", maxConcurrent: 2, leaseTtlMs: 9 }
    expect(plan([limit, { ...limit, name: "trial", mode: "shadow" }, BUCKET]).places).toEqual(["places"])
  })

  test("planGate() has places extended three times in the shortest of their lives", () => {
    const limit: NamedLimit = { kind: "concurrency", name: "places", maxConcurrent: 2, leaseTtlMs: 30_000 }
    expect(plan([limit, { ...limit, name: "trial", leaseTtlMs: 10_000, mode: "shadow" }]).renewalMs).toBe(3_333)
    expect(plan([BUCKET]).renewalMs).toBeUndefined()
  })

  test("planGate() tells the object of a guard's configuration and of nothing else", () => {
    const { name, key, outcomes, ...config } = GUARD
    expect([key.kind, outcomes.verdictHeader, plan([], [GUARD]).demands]).toEqual(["client", null, [{ name, config }]])
  })
})

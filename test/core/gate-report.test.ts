/** Goal: an administrator reads how a client stands now, not how it stood when it was stored. Method: single cases. */
import { describe, expect, test } from "vitest"
import { admitRequest, lendTokens } from "../../src/core/gate/client-gate.ts"
import { administerGuard } from "../../src/core/gate/gate-guards.ts"
import { inspectGate } from "../../src/core/gate/gate-report.ts"
import { EMPTY_GATE_STATE, restoreGateState } from "../../src/core/gate/gate-state.ts"
import type { GateState } from "../../src/core/gate/gate-state.ts"
import type { NamedLimit } from "../../src/core/limit/limit.ts"
import { NOTHING_STOPPED, recordStopped } from "../../src/core/gate/stopped.ts"

const T0 = 1_790_000_000_000
const BUCKET: NamedLimit = { kind: "bucket", name: "client", burst: 20, rate: { count: 10, periodMs: 1000 } }
const QUOTA: NamedLimit = { kind: "quota", name: "hourly", limit: 50, unit: "hour", timezone: "UTC" }
const PLACES: NamedLimit = { kind: "concurrency", name: "places", maxConcurrent: 2, leaseTtlMs: 60_000 }
const GUARD = {
  name: "login",
  config: {
    maxFailures: 2,
    failureDurationMs: 60_000,
    backoff: { kind: "lineal", durationMs: 10_000 },
    guardResetTimeoutMs: null,
    inFlight: "optimistic",
    pendingTtlMs: 30_000,
    successPolicy: "reset",
  },
} as const

function createUsed(): GateState {
  const call = {
    boot: "isolate",
    seq: 3,
    lease: 0,
    unused: 0,
    waiting: [4],
    cost: 1,
    demand: 0,
    roundTripMs: 400,
    returned: null,
  }
  const { state } = lendTokens(EMPTY_GATE_STATE, call, { limits: [BUCKET], guards: [] }, T0, 0)
  const request = { limits: [BUCKET, QUOTA, PLACES], guards: [], cost: 2, admissionId: "a", leaseId: "a" }
  const { guards } = administerGuard({}, GUARD, { action: "block", durationMs: 1_000 }, T0, undefined)
  return { ...admitRequest(state, request, T0).state, guards }
}

const report = (nowMs: number, state = createUsed()) => inspectGate(state, NOTHING_STOPPED, nowMs)

describe("inspectGate()", () => {
  test("inspectGate() tells what is left of a bucket and what isolates have", () => {
    expect(report(T0).buckets).toEqual([{ name: "client", burst: 20, remaining: 14, lent: 4 }])
  })

  test("inspectGate() refills a bucket only up to what is lent, and to the full when that is over", () => {
    const [during, after] = [report(T0 + 880), report(T0 + 2_000)].map(({ buckets }) => buckets[0])
    expect([during, after]).toEqual([
      { name: "client", burst: 20, remaining: 16, lent: 4 },
      { name: "client", burst: 20, remaining: 20, lent: 0 },
    ])
  })

  test("inspectGate() counts everything as lent while a lost ledger is waited for", () => {
    const lost = { ...restoreGateState("{", T0), buckets: createUsed().buckets }
    expect(report(T0 + 1, lost).buckets[0]).toEqual({ name: "client", burst: 20, remaining: 0, lent: 20 })
  })

  test("inspectGate() tells what is used of the running window", () => {
    const [now, later] = [report(T0), report(T0 + 3_600_000)].map(({ quotas }) => quotas[0]?.used)
    expect([now, later]).toEqual([2, 0])
  })

  test("inspectGate() tells how many requests are in progress", () => {
    const [now, later] = [report(T0), report(T0 + 60_000)].map(({ concurrency }) => concurrency)
    expect([now, later]).toEqual([[{ name: "places", inUse: 1 }], [{ name: "places", inUse: 0 }]])
  })

  test("inspectGate() names isolates, their calls and their tokens", () => {
    expect(report(T0).holders).toEqual([{ boot: "isolate", calls: 3, lent: 4 }])
  })

  test("inspectGate() tells when a block ends, and that it has", () => {
    const [now, later] = [report(T0 + 999), report(T0 + 1_000)].map(({ guards }) => guards[0])
    expect([now, later]).toEqual([
      { name: "login", isOpen: true, blockedUntilMs: T0 + 1_000, failures: 0, attempt: 0, openedTotal: 0 },
      { name: "login", isOpen: false, blockedUntilMs: null, failures: 0, attempt: 0, openedTotal: 0 },
    ])
  })

  test("inspectGate() tells what was stopped", () => {
    const stopped = recordStopped(NOTHING_STOPPED, { boot: "a", seq: 1, counts: { "rate-limited": 3 } }, T0)
    expect(inspectGate(EMPTY_GATE_STATE, stopped, T0)).toMatchObject({
      stopped: { "rate-limited": { count: 3 } },
      stoppedDays: [{ counts: { "rate-limited": 3 } }],
    })
  })
})

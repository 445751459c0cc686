/**
 * Goal: one state decides what is lent and what is asked for, and is stored exactly when something has to be remembered.
 * Method: single cases at literal instants; random histories are in `gate-properties.test.ts`.
 */
import { describe, expect, test } from "vitest"
import { admitRequest, lendTokens } from "../../src/core/gate/client-gate.ts"
import type { GateRequest } from "../../src/core/gate/client-gate.ts"
import { recordOutcomes } from "../../src/core/gate/gate-guards.ts"
import type { GuardDemand } from "../../src/core/gate/gate-guards.ts"
import { EMPTY_GATE_STATE, parseGateState, restoreGateState } from "../../src/core/gate/gate-state.ts"
import type { GateState } from "../../src/core/gate/gate-state.ts"
import type { LeaseCall } from "../../src/core/lease/lease-protocol.ts"
import type { NamedBucket, NamedConcurrency, NamedLimit, NamedQuota } from "../../src/core/limit/limit.ts"

const T0 = 1_790_000_000_000
const BUCKET: NamedBucket = { kind: "bucket", name: "client", burst: 20, rate: { count: 10, periodMs: 1000 } }
const PLACES: NamedConcurrency = { kind: "concurrency", name: "places", maxConcurrent: 2, leaseTtlMs: 60_000 }
const QUOTA: NamedQuota = { kind: "quota", name: "daily", limit: 5, unit: "day", timezone: "UTC" }
const GUARD: GuardDemand = {
  name: "login",
  config: {
    maxFailures: 2,
    failureDurationMs: 60_000,
    backoff: { kind: "lineal", durationMs: 10_000 },
    guardResetTimeoutMs: 3_600_000,
    inFlight: "optimistic",
    pendingTtlMs: 30_000,
    successPolicy: "reset",
  },
}
const RESERVING: GuardDemand = { ...GUARD, config: { ...GUARD.config, inFlight: "reserve" } }
const CALL: LeaseCall = {
  boot: "isolate",
  seq: 1,
  lease: 0,
  unused: 0,
  waiting: [1],
  cost: 1,
  demand: 40,
  roundTripMs: 10,
  returned: null,
}

interface Terms {
  readonly limits: readonly NamedLimit[]
  readonly guards: readonly GuardDemand[]
}

function lend(state: GateState, terms: Partial<Terms>, call: Partial<LeaseCall> = {}, nowMs = T0) {
  return lendTokens(state, { ...CALL, ...call }, { limits: [BUCKET], guards: [], ...terms }, nowMs, 0.5)
}

function admit(state: GateState, request: Partial<GateRequest>, nowMs = T0) {
  return admitRequest(state, { limits: [BUCKET], guards: [], cost: 1, admissionId: "request", ...request }, nowMs)
}

/** The state after so many failures of requests that were admitted at `nowMs`. */
function failed(state: GateState, guard: GuardDemand, times: number, nowMs = T0): GateState {
  let guards = state.guards
  const epoch = guards[guard.name]?.state.epoch ?? 0
  for (let i = 0; i < times; i++) {
    const outcome = { ...guard, admission: { epoch, admittedAtMs: nowMs } }
    guards = recordOutcomes(guards, [outcome], { id: `failed-${i}`, result: "failure" }, nowMs, 0, undefined).guards
  }
  return { ...state, guards }
}

const lost = (nowMs = T0): GateState => restoreGateState("{", nowMs)
const restarted = (state: GateState, nowMs = T0): GateState => restoreGateState(JSON.stringify(state), nowMs)

describe("lendTokens()", () => {
  test("lendTokens() takes what it lends from the limit that direct requests draw on", () => {
    const { state, answer } = lend(EMPTY_GATE_STATE, {})
    const lent = answer?.lease.granted ?? 0
    expect([lent > 1, admit(state, { cost: 20 - lent }).answer.admission.admitted]).toEqual([true, true])
    expect(admit(state, { cost: 21 - lent }).answer.admission.admitted).toBe(false)
  })

  test("lendTokens() answers a repeated call alike and stores nothing", () => {
    const first = lend(EMPTY_GATE_STATE, {})
    const again = lend(first.state, {}, {}, T0 + 40)
    expect([again.state === first.state, again.answer?.lease]).toEqual([true, first.answer?.lease])
  })

  test("lendTokens() has no answer to an overtaken call and stores nothing", () => {
    const { state } = lend(EMPTY_GATE_STATE, {}, { seq: 2, lease: 1 })
    const step = lend(state, {}, { seq: 1 })
    expect([step.state === state, step.answer]).toEqual([true, null])
  })

  test.each([
    ["places", [PLACES]],
    ["a limit in shadow mode", [{ ...BUCKET, mode: "shadow" as const }]],
    ["a limit out of range", [{ ...BUCKET, burst: Number.NaN }]],
  ])("lendTokens() lends nothing of %s and changes nothing", (_, limits: readonly NamedLimit[]) => {
    const step = lend(EMPTY_GATE_STATE, { limits })
    expect([step.state === EMPTY_GATE_STATE, step.answer]).toEqual([true, null])
  })

  test("lendTokens() lends nothing on the word of a guard that reserves places", () => {
    const step = lend(EMPTY_GATE_STATE, { guards: [RESERVING] })
    expect([step.state === EMPTY_GATE_STATE, step.answer]).toEqual([true, null])
  })

  test("lendTokens() grants nothing while a guard is open, and names it", () => {
    const { answer } = lend(failed(EMPTY_GATE_STATE, GUARD, 2), { guards: [GUARD] })
    expect(answer).toMatchObject({
      lease: { granted: 0, carry: 0, blockedForMs: 5_000, retryAfterMs: 10_000 },
      block: { guard: "login", reason: "open", retryAfterMs: 10_000 },
    })
  })

  test("lendTokens() grants again at the very end of a block, under another epoch than before it", () => {
    const before = lend(EMPTY_GATE_STATE, { guards: [GUARD] })
    const open = failed(before.state, GUARD, 2)
    const during = lend(open, { guards: [GUARD] }, { seq: 2, lease: 1 }, T0 + 9_999)
    const after = lend(open, { guards: [GUARD] }, { seq: 2, lease: 1 }, T0 + 10_000)
    expect([during.answer?.lease.granted, (after.answer?.lease.granted ?? 0) > 0]).toEqual([0, true])
    expect(after.answer?.lease.epoch).not.toBe(before.answer?.lease.epoch)
  })

  test("lendTokens() lends for a quarter of the time while failures count", () => {
    const { answer } = lend(failed(EMPTY_GATE_STATE, GUARD, 1), { guards: [GUARD] }, { roundTripMs: 0, returned: null })
    expect(answer?.lease.ttlMs).toBe(250)
  })

  test("lendTokens() names what outcomes have to name", () => {
    const { answer } = lend(failed(EMPTY_GATE_STATE, GUARD, 1), { guards: [GUARD] })
    expect(answer?.standings).toEqual([{ name: "login", epoch: 0, admittedAtMs: T0, failures: 1 }])
  })

  test("lendTokens() says that the state was lost for as long as nothing can be lent", () => {
    const { state, answer } = lend(lost(), {})
    const later = lend(restarted(state), {}, { seq: 2 }, T0 + 5_100)
    expect([answer?.isLost, answer?.lease.granted, later.answer?.isLost]).toEqual([true, 0, false])
  })
})

describe("admitRequest()", () => {
  test("admitRequest() admits after the wait that it names and not 1 ms earlier, whatever is lent", () => {
    const { state } = lend(EMPTY_GATE_STATE, {}, { waiting: [9], demand: 400 })
    const { answer, state: refused } = admit(state, { cost: 19 })
    const waitMs = answer.admission.admitted ? 0 : (answer.admission.retryAfterMs ?? 0)
    const at = (nowMs: number) => admit(refused, { cost: 19 }, nowMs).answer.admission.admitted
    expect([waitMs > 1000, at(T0 + waitMs - 1), at(T0 + waitMs)]).toEqual([true, false, true])
  })

  test("admitRequest() names the bucket as what decides when only what is lent makes it the longest wait", () => {
    const { state } = lend(EMPTY_GATE_STATE, {}, { waiting: [9], demand: 400 })
    const short: NamedConcurrency = { ...PLACES, maxConcurrent: 1, leaseTtlMs: 900 }
    const taken = admit(state, { limits: [short], leaseId: "other" }).state
    const { admission } = admit(taken, { limits: [BUCKET, short], cost: 19, leaseId: "mine" }).answer
    expect(admission).toMatchObject({ violated: ["client", "places"], refusedBy: "bucket" })
  })

  test("admitRequest() stores nothing for a refusal", () => {
    const { state } = admit(EMPTY_GATE_STATE, { cost: 20 })
    expect(admit(state, {}, T0 + 50).state).toBe(state)
  })

  test("admitRequest() stores nothing for a request that no limit and no guard applies to", () => {
    expect(admit(EMPTY_GATE_STATE, { limits: [] }).state).toBe(EMPTY_GATE_STATE)
  })

  test("admitRequest() stores a changed limit also when it refuses", () => {
    const { state } = admit(EMPTY_GATE_STATE, { cost: 20 })
    expect(admit(state, { limits: [{ ...BUCKET, burst: 5 }] }).state.buckets["client"]?.burst).toBe(5)
  })

  test.each<[string, Partial<GateRequest>]>([
    ["a burst out of range", { limits: [{ ...BUCKET, burst: Number.NaN }] }],
    ["a rate out of range", { limits: [{ ...BUCKET, rate: { count: 0.5, periodMs: 1000 } }] }],
    ["a name that is twice", { limits: [BUCKET, BUCKET] }],
    ["a cost out of range", { cost: -1 }],
    ["a place without a lease id", { limits: [PLACES] }],
    ["a lease id out of range", { limits: [PLACES], leaseId: "" }],
  ])("admitRequest() finds the gateway at fault over %s and changes nothing", (_, request) => {
    const { state, answer } = admit(EMPTY_GATE_STATE, request)
    expect([state === EMPTY_GATE_STATE, answer.admission]).toEqual([
      true,
      expect.objectContaining({ admitted: false, reason: "invalid-request" }),
    ])
  })

  test("admitRequest() finds the gateway at fault over a period that no stored bucket can change to", () => {
    const { state } = admit(EMPTY_GATE_STATE, {})
    const limits = [{ ...BUCKET, rate: { count: 1, periodMs: 0.5 } }]
    expect(admit(state, { limits }).answer.admission).toMatchObject({ reason: "invalid-request" })
  })

  test("admitRequest() finds the gateway at fault over an admission id that is none", () => {
    const { answer } = admit(EMPTY_GATE_STATE, { guards: [GUARD], admissionId: "" })
    expect([answer.admission, answer.standings]).toEqual([
      expect.objectContaining({ admitted: false, reason: "invalid-request" }),
      [],
    ])
  })

  test("admitRequest() takes nothing of any limit while a guard is open, and reads them", () => {
    const before = admit(failed(EMPTY_GATE_STATE, GUARD, 2), { cost: 3 }).state
    const { state, answer } = admit(before, { guards: [GUARD], limits: [BUCKET, QUOTA, PLACES], leaseId: "mine" })
    expect(answer).toMatchObject({
      admission: {
        policies: [
          { name: "client", remaining: 17 },
          { name: "daily", remaining: 5 },
        ],
      },
      block: { guard: "login" },
      standings: [],
    })
    expect(answer.admission.concurrency).toEqual([])
    expect([state.buckets, state.quotas, state.concurrency]).toEqual([before.buckets, {}, {}])
  })

  test("admitRequest() stores nothing while a guard is open, however often it is asked", () => {
    const open = restarted(failed(EMPTY_GATE_STATE, GUARD, 2))
    expect(admit(open, { guards: [GUARD] }, T0 + 5_000).state).toBe(open)
  })

  test("admitRequest() takes no place of a guard when a limit refuses", () => {
    const empty = admit(EMPTY_GATE_STATE, { cost: 20 }).state
    const { state, answer } = admit(empty, { guards: [RESERVING] })
    expect([answer.admission.admitted, answer.standings, state.guards]).toEqual([false, [], {}])
  })

  test("admitRequest() gives back what a request took whose answer was lost, when it is refused the second time", () => {
    const request = { limits: [{ ...BUCKET, burst: 1 }, PLACES], guards: [RESERVING], leaseId: "mine" }
    const first = admit(EMPTY_GATE_STATE, request)
    const second = admit(restarted(first.state), request)
    expect([first.answer.admission.admitted, second.answer.admission.admitted]).toEqual([true, false])
    expect([second.state.guards["login"]?.state.pending, second.state.concurrency["places"]?.leases]).toEqual([[], []])
  })

  test("admitRequest() gives back the place of such a request also when a guard refuses it the second time", () => {
    const request = { limits: [PLACES], guards: [GUARD], leaseId: "mine" }
    const first = admit(EMPTY_GATE_STATE, request)
    const second = admit(failed(first.state, GUARD, 2), request)
    expect(second.state.concurrency["places"]?.leases).toEqual([])
  })

  test("admitRequest() leaves the places of others when it refuses", () => {
    const held = admit(EMPTY_GATE_STATE, { limits: [PLACES], leaseId: "other" }).state
    const { state } = admit(held, { limits: [BUCKET, PLACES], cost: 21, leaseId: "mine" })
    expect(state.concurrency["places"]?.leases.map(({ id }) => id)).toEqual(["other"])
  })

  test.each(["constructor", "__proto__", "toString"])(
    "admitRequest() counts a limit called %s like any other",
    (name) => {
      const limits = [{ ...BUCKET, name, burst: 1 }]
      const { state, answer } = admit(EMPTY_GATE_STATE, { limits })
      const second = admit(restarted(state), { limits })
      expect([answer.admission.admitted, second.answer.admission.admitted]).toEqual([true, false])
    },
  )

  test("admitRequest() admits nothing of a lost client until every lease is over, then what has refilled since", () => {
    const at = (cost: number, nowMs: number) => admit(lost(), { cost }, nowMs).answer.admission.admitted
    expect([at(1, T0), at(1, T0 + 5_100), at(1, T0 + 5_199), at(1, T0 + 5_200)]).toEqual([false, false, false, true])
  })

  test("admitRequest() refills a lost limit from the end of every lease, also when another limit was asked for first", () => {
    const other: NamedBucket = { ...BUCKET, name: "other" }
    const { state } = admit(lost(), { limits: [other] }, T0 + 5_100)
    const at = (nowMs: number) => admit(restarted(state), {}, nowMs).answer.admission.admitted
    expect([at(T0 + 5_100), at(T0 + 5_199), at(T0 + 5_200)]).toEqual([false, false, true])
  })

  test("admitRequest() names the limits that are lost, until they are stored", () => {
    const first = admit(lost(), {})
    const second = admit(restarted(first.state), {}, T0 + 10)
    expect([first.answer.admission.lost, second.answer.admission.lost]).toEqual([["client"], []])
  })

  test("admitRequest() remembers when the state was lost, so that the loss ends", () => {
    const { state } = admit(lost(), { limits: [], guards: [GUARD] })
    expect(restarted(state, T0 + 60_000).lostAtMs).toBe(T0)
  })
})

test("what both return can be stored and read back", () => {
  const lent = lend(failed(EMPTY_GATE_STATE, GUARD, 1), { guards: [GUARD] }).state
  const { state } = admit(lent, {
    limits: [BUCKET, QUOTA, PLACES],
    guards: [GUARD, { ...RESERVING, name: "pin" }],
    leaseId: "a",
  })
  expect(parseGateState(JSON.parse(JSON.stringify(state)))).toEqual(state)
})

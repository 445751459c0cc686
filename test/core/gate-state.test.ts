/**
 * Goal: what is stored of a client is read back whole or not at all, and what cannot be read neither mints nor unblocks.
 * Method: rows of both versions, rows that were damaged in one place, literal instants.
 */
import { describe, expect, test } from "vitest"
import { GUARD_KEY_IDLE_MS, TOKEN_LEASE_MARGIN_MS, TOKEN_LEASE_TTL_MS_MAX } from "../../src/core/bounds.ts"
import { admitRequest, lendTokens } from "../../src/core/gate/client-gate.ts"
import { administerGuard, recordOutcomes } from "../../src/core/gate/gate-guards.ts"
import type { GuardDemand } from "../../src/core/gate/gate-guards.ts"
import {
  EMPTY_GATE_STATE,
  isForgettable,
  nextWakeMs,
  parseGateState,
  restoreGateState,
} from "../../src/core/gate/gate-state.ts"
import type { GateState } from "../../src/core/gate/gate-state.ts"
import type { NamedBucket } from "../../src/core/limit/limit.ts"

const T0 = 1_790_000_000_000
const LIMIT: NamedBucket = { kind: "bucket", name: "client", burst: 20, rate: { count: 10, periodMs: 1000 } }
const GUARD: GuardDemand = {
  name: "login",
  config: {
    maxFailures: 2,
    failureDurationMs: 60_000,
    backoff: { kind: "exponential", minBackoffMs: 1_000, maxBackoffMs: 60_000, randomFactor: 0, resetBackoffMs: null },
    guardResetTimeoutMs: null,
    inFlight: "optimistic",
    pendingTtlMs: 30_000,
    successPolicy: "reset",
  },
}

/** A client with a bucket, a lease, and a guard that counts one failure. */
function createUsed(): GateState {
  const call = {
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
  const { state } = lendTokens(EMPTY_GATE_STATE, call, { limits: [LIMIT], guards: [] }, T0, 0)
  const told = [{ ...GUARD, admission: { epoch: 0, admittedAtMs: T0 } }]
  const { guards } = recordOutcomes({}, told, { id: "a", result: "failure" }, T0, 0, undefined)
  return { ...state, guards }
}

/** A key whose guard an administrator has opened for a second at T0. */
function createBlocked(): GateState {
  const { guards } = administerGuard({}, GUARD, { action: "block", durationMs: 1_000 }, T0, undefined)
  return { ...EMPTY_GATE_STATE, guards }
}

/** The text of a state with one member, named by its path, set to a value. */
function damaged(path: readonly string[], value: unknown): string {
  const row = JSON.parse(JSON.stringify(createUsed())) as Record<string, unknown>
  let at = row
  for (const name of path.slice(0, -1)) at = at[name] as Record<string, unknown>
  at[path.at(-1) ?? ""] = value
  return JSON.stringify(row)
}

describe("parseGateState()", () => {
  test("parseGateState() reads back what was stored, with leases and guards", () => {
    const state = createUsed()
    expect(parseGateState(JSON.parse(JSON.stringify(state)))).toEqual(state)
  })

  test("parseGateState() reads a row of version 1, which had neither leases nor guards", () => {
    const { buckets } = createUsed()
    const row = { version: 1, buckets, quotas: {}, concurrency: {}, lostAtMs: T0 }
    expect(parseGateState(row)).toEqual({ ...EMPTY_GATE_STATE, buckets, lostAtMs: T0 })
  })

  test("parseGateState() keeps members with the names of other objects' members apart", () => {
    const row = JSON.parse(
      `{"version":2,"buckets":{},"quotas":{},"concurrency":{},"ledger":${JSON.stringify(EMPTY_GATE_STATE.ledger)},` +
        `"guards":{"__proto__":${JSON.stringify(createBlocked().guards["login"])}}}`,
    ) as unknown
    expect(Object.keys(parseGateState(row)?.guards ?? {})).toEqual(["__proto__"])
  })

  test.each<[readonly string[], unknown]>([
    [["version"], 3],
    [["version"], "2"],
    [["buckets"], []],
    [["buckets", "client", "level"], -1],
    [["ledger"], undefined],
    [["ledger", "holders", "0", "granted"], -1],
    [["ledger", "holders", "0", "answer", "granted"], "9"],
    [["guards"], null],
    [["guards", "login"], null],
    [["guards", "login", "config"], undefined],
    [["guards", "login", "config", "maxFailures"], 0],
    [["guards", "login", "state", "failures"], [T0 + 1]],
    [["guards", "login", "state", "openUntilMs"], T0],
    [["lostAtMs"], 0.5],
  ])("parseGateState() refuses the whole row for %j being %j", (path, value) => {
    expect(parseGateState(JSON.parse(damaged(path, value)))).toBeUndefined()
  })
})

describe("restoreGateState()", () => {
  test("restoreGateState() takes no row for a new client", () => {
    expect(restoreGateState(undefined, T0)).toBe(EMPTY_GATE_STATE)
  })

  test.each(["", "{", "null", "[]", "{}", null, 7])(
    "restoreGateState() takes %j for a loss at that instant",
    (stored) => {
      const { lostAtMs, ledger } = restoreGateState(stored, T0)
      expect([lostAtMs, ledger.heldUntilMs]).toEqual([T0, T0 + TOKEN_LEASE_TTL_MS_MAX + TOKEN_LEASE_MARGIN_MS])
    },
  )

  test("restoreGateState() of a loss refuses for the first back-off of a guard and no longer", () => {
    const request = { limits: [], guards: [GUARD], cost: 1, admissionId: "a" }
    const { state } = admitRequest(restoreGateState("{", T0), request, T0)
    const text = JSON.stringify(state)
    const blockAt = (nowMs: number) => admitRequest(restoreGateState(text, nowMs), request, nowMs).answer.block
    expect([blockAt(T0 + 999)?.retryAfterMs, blockAt(T0 + 1_000)]).toEqual([1, null])
  })
})

describe("nextWakeMs()", () => {
  test("nextWakeMs() of a client without a block is never", () => {
    expect(nextWakeMs(createUsed(), false, T0)).toBeNull()
  })

  test("nextWakeMs() is the end of the first block to end", () => {
    const { guards } = administerGuard(
      createBlocked().guards,
      { ...GUARD, name: "other" },
      { action: "block", durationMs: 500 },
      T0,
      undefined,
    )
    expect(nextWakeMs({ ...EMPTY_GATE_STATE, guards }, false, T0)).toBe(T0 + 500)
  })

  test("nextWakeMs() of another key is when it may be forgotten", () => {
    const told = [{ ...GUARD, admission: { epoch: 0, admittedAtMs: T0 } }]
    const { guards } = recordOutcomes({}, told, { id: "a", result: "failure" }, T0, 0, undefined)
    expect(nextWakeMs({ ...EMPTY_GATE_STATE, guards }, true, T0 + 5)).toBe(T0 + GUARD_KEY_IDLE_MS)
  })

  test("nextWakeMs() is later than now for a key that is idle and has still something to remember", () => {
    const nowMs = T0 + GUARD_KEY_IDLE_MS
    expect(nextWakeMs(createUsed(), true, nowMs)).toBe(nowMs + GUARD_KEY_IDLE_MS)
  })
})

describe("isForgettable()", () => {
  const quiet = (): GateState => {
    const told = [{ ...GUARD, admission: { epoch: 0, admittedAtMs: T0 } }]
    const failed = recordOutcomes({}, told, { id: "a", result: "failure" }, T0, 0, undefined)
    const { guards } = administerGuard(failed.guards, GUARD, { action: "reset" }, T0, undefined)
    return { ...EMPTY_GATE_STATE, guards }
  }

  test("isForgettable() is true an hour after the last use, not 1 ms earlier", () => {
    const at = [GUARD_KEY_IDLE_MS - 1, GUARD_KEY_IDLE_MS].map((idleMs) => isForgettable(quiet(), T0 + idleMs))
    expect(at).toEqual([false, true])
  })

  test("isForgettable() counts a lease as use", () => {
    const used = { ...quiet(), ledger: { ...EMPTY_GATE_STATE.ledger, lastMs: T0 + 1 } }
    expect(isForgettable(used, T0 + GUARD_KEY_IDLE_MS)).toBe(false)
  })

  test("isForgettable() is false while there is a limit, a failure or a block", () => {
    const { buckets, guards } = createUsed()
    const states = [{ ...quiet(), buckets }, { ...quiet(), guards }, createBlocked()]
    expect(states.map((state) => isForgettable(state, T0 + 2 * GUARD_KEY_IDLE_MS))).toEqual([false, false, false])
  })
})

/**
 * Goal: several limits are one decision, what is stored decides the same as what was never forgotten, and what cannot be
 * read admits nothing. Method: single cases for each rule, properties over random histories with restarts.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { decideAdmission } from "../../src/core/limit/admission.ts"
import type { AdmissionRequest } from "../../src/core/limit/admission.ts"
import { EMPTY_GATE_STATE, parseGateState, restoreGateState } from "../../src/core/gate/gate-state.ts"
import type { GateState } from "../../src/core/gate/gate-state.ts"
import { acquire, peek } from "../../src/core/limit/gcra.ts"
import type { BucketState } from "../../src/core/limit/gcra.ts"
import type { NamedBucket } from "../../src/core/limit/limit.ts"

const START_MS = 1_790_000_000_000
const FAST: NamedBucket = { kind: "bucket", name: "fast", burst: 10, rate: { count: 5, periodMs: 1000 } }
const SLOW: NamedBucket = { kind: "bucket", name: "slow", burst: 3, rate: { count: 1, periodMs: 60_000 } }

function admit(state: GateState, limits: readonly NamedBucket[], cost = 1, nowMs = START_MS) {
  return decideAdmission(state, { limits, cost }, nowMs)
}

/** The state after `times` requests of one token at START_MS. */
function spent(limits: readonly NamedBucket[], times: number): GateState {
  let state = EMPTY_GATE_STATE
  for (let i = 0; i < times; i++) state = admit(state, limits).state
  return state
}

const rates = fc.record({ count: fc.integer({ min: 1, max: 20 }), periodMs: fc.integer({ min: 1, max: 5000 }) })
const limitSets = fc
  .array(fc.record({ burst: fc.integer({ min: 1, max: 12 }), rate: rates }), { minLength: 1, maxLength: 3 })
  .map((configs) => configs.map((config, index) => ({ kind: "bucket" as const, name: `limit-${index}`, ...config })))
const histories = fc.array(
  fc.record({ gapMs: fc.nat({ max: 2000 }), cost: fc.integer({ min: 0, max: 14 }), isRestart: fc.boolean() }),
  { minLength: 1, maxLength: 50 },
)

describe("decideAdmission()", () => {
  test("decideAdmission() takes from every limit when all admit", () => {
    const { decision } = admit(EMPTY_GATE_STATE, [FAST, SLOW])
    expect(decision).toMatchObject({ admitted: true, policies: [{ remaining: 9 }, { remaining: 2 }], remaining: 2 })
  })

  test("decideAdmission() takes from none when one refuses", () => {
    const { decision } = admit(spent([FAST, SLOW], 3), [FAST, SLOW])
    expect(decision).toMatchObject({ admitted: false, policies: [{ remaining: 7 }, { remaining: 0 }] })
  })

  test("decideAdmission() names the limits that refuse, sorted, and the longest wait", () => {
    const state = spent([SLOW, { ...FAST, burst: 3 }], 3)
    const { decision } = admit(state, [SLOW, { ...FAST, burst: 3 }])
    expect(decision).toMatchObject({ reason: "limit", violated: ["fast", "slow"], retryAfterMs: 60_000 })
  })

  test("decideAdmission() is permanent as soon as one refusal is, without a wait", () => {
    const { decision } = admit(spent([FAST, SLOW], 3), [FAST, SLOW], 4)
    expect(decision).toMatchObject({ permanent: true, retryAfterMs: null, violated: ["slow"] })
  })

  test("decideAdmission() admits a request without limits", () => {
    expect(admit(EMPTY_GATE_STATE, [])).toEqual({
      state: EMPTY_GATE_STATE,
      decision: {
        admitted: true,
        policies: [],
        shadowPolicies: [],
        concurrency: [],
        remaining: null,
        shadowed: [],
        lost: [],
      },
    })
  })

  test("decideAdmission() reports for each limit what the header fields need", () => {
    expect(admit(spent([FAST], 1), [FAST]).decision.policies).toEqual([
      { name: "fast", quota: 10, windowSec: 2, remaining: 8, nextMs: 200 },
    ])
  })

  test("decideAdmission() rounds the window up to whole seconds", () => {
    const limit: NamedBucket = { kind: "bucket", name: "x", burst: 1, rate: { count: 1000, periodMs: 1 } }
    expect(admit(EMPTY_GATE_STATE, [limit]).decision.policies).toMatchObject([{ windowSec: 1 }])
  })

  test("decideAdmission() applies a changed limit before it decides: raising mints nothing", () => {
    const raised = { ...SLOW, burst: 100 }
    expect(admit(spent([SLOW], 3), [raised]).decision).toMatchObject({ admitted: false, violated: ["slow"] })
  })

  test("decideAdmission() keeps a limit that the request does not name", () => {
    const after = admit(spent([SLOW], 3), [FAST]).state
    expect(admit(after, [SLOW]).decision.admitted).toBe(false)
  })

  test.each(["__proto__", "constructor", "hasOwnProperty", ""])("decideAdmission() keeps a limit called %j", (name) => {
    const limit = { ...SLOW, name }
    const state = restoreGateState(JSON.stringify(spent([limit], 3)), START_MS)
    expect(admit(state, [limit]).decision).toMatchObject({ admitted: false, violated: [name] })
  })

  test("decideAdmission() admits at most burst + rate * (t - s) in every window, restarts included", () => {
    fc.assert(
      fc.property(limitSets, histories, (limits, history) => {
        let state = EMPTY_GATE_STATE
        let nowMs = START_MS
        const admitted: { readonly atMs: number; readonly cost: number }[] = []
        for (const { gapMs, cost, isRestart } of history) {
          nowMs += gapMs
          const step = decideAdmission(state, { limits, cost }, nowMs)
          state = isRestart ? restoreGateState(JSON.stringify(step.state), nowMs) : step.state
          if (step.decision.admitted) admitted.push({ atMs: nowMs, cost })
        }
        for (const { burst, rate } of limits) {
          for (const [from, first] of admitted.entries()) {
            let sum = 0
            for (const { atMs, cost } of admitted.slice(from)) {
              sum += cost
              expect(sum * rate.periodMs).toBeLessThanOrEqual(burst * rate.periodMs + rate.count * (atMs - first.atMs))
            }
          }
        }
      }),
      { seed: 141, numRuns: 300 },
    )
  })

  test("decideAdmission() names a wait that is tight: admitted then, refused 1 ms earlier", () => {
    fc.assert(
      fc.property(limitSets, histories, (limits, history) => {
        let state = EMPTY_GATE_STATE
        let nowMs = START_MS
        for (const { gapMs, cost } of history) {
          nowMs += gapMs
          const request: AdmissionRequest = { limits, cost }
          const { state: next, decision } = decideAdmission(state, request, nowMs)
          state = next
          if (decision.admitted || decision.retryAfterMs === null) continue
          expect(decideAdmission(state, request, nowMs + decision.retryAfterMs).decision.admitted).toBe(true)
          expect(decideAdmission(state, request, nowMs + decision.retryAfterMs - 1).decision.admitted).toBe(false)
        }
      }),
      { seed: 142, numRuns: 300 },
    )
  })

  test("decideAdmission() decides as if every refusal were stored", () => {
    fc.assert(
      fc.property(limitSets, histories, (limits, history) => {
        let state = EMPTY_GATE_STATE
        const buckets = new Map<string, BucketState>()
        let nowMs = START_MS
        for (const { gapMs, cost } of history) {
          nowMs += gapMs
          const step = decideAdmission(state, { limits, cost }, nowMs)
          state = step.state
          const tried = limits.map((limit) => acquire(buckets.get(limit.name), limit, cost, nowMs))
          const isAdmitted = tried.every(({ decision }) => decision.allowed)
          for (const [index, limit] of limits.entries()) {
            const after = isAdmitted ? tried[index] : peek(buckets.get(limit.name), limit, nowMs)
            if (after !== undefined) buckets.set(limit.name, after.state)
            expect(step.decision.policies[index]?.remaining).toBe(after?.decision.remaining)
          }
          expect(step.decision.admitted).toBe(isAdmitted)
        }
      }),
      { seed: 143, numRuns: 300 },
    )
  })
})

describe("what has to be stored", () => {
  test("decideAdmission() returns a new state for an admission that took something", () => {
    const state = spent([FAST], 1)
    expect(admit(state, [FAST]).state).not.toBe(state)
  })

  test("decideAdmission() returns the state it was given for a refusal that only let time pass", () => {
    const state = spent([SLOW], 3)
    expect(admit(state, [SLOW], 1, START_MS + 500).state).toBe(state)
  })

  test("decideAdmission() returns the state it was given for an observation", () => {
    const state = spent([FAST], 1)
    expect(admit(state, [FAST], 0, START_MS + 500).state).toBe(state)
  })

  test("decideAdmission() returns a new state when a refusal changed a configuration", () => {
    const state = spent([SLOW], 3)
    expect(admit(state, [{ ...SLOW, burst: 2 }]).state).not.toBe(state)
  })

  test("decideAdmission() returns a new state when a refusal re-anchored the clock", () => {
    const state = spent([SLOW], 3)
    const { state: next } = admit(state, [SLOW], 1, START_MS - 60_001)
    expect(admit(next, [SLOW], 1, START_MS - 1).decision.admitted).toBe(true)
  })
})

describe("a request out of range", () => {
  const ok = { limits: [FAST], cost: 1 }
  test.each<[string, unknown]>([
    ["a cost that is negative", { ...ok, cost: -1 }],
    ["a cost that is fractional", { ...ok, cost: 0.5 }],
    ["a cost that is no number", { ...ok, cost: "1" }],
    ["no limits member", { cost: 1 }],
    ["a burst of zero", { ...ok, limits: [{ ...FAST, burst: 0 }] }],
    ["a limit that is null", { ...ok, limits: [null] }],
    ["a limit without a name", { ...ok, limits: [{ ...FAST, name: undefined }] }],
    ["a name that occurs twice", { ...ok, limits: [FAST, FAST] }],
  ])("decideAdmission() refuses %s and changes nothing", (_, request) => {
    // A Worker of another version may send what this version's types exclude.
    const { state, decision } = decideAdmission(EMPTY_GATE_STATE, request as AdmissionRequest, START_MS)
    expect(decision).toMatchObject({ admitted: false, reason: "invalid-request", violated: [], retryAfterMs: null })
    expect(state).toBe(EMPTY_GATE_STATE)
  })
})

describe("restoreGateState()", () => {
  const unreadable = [
    "",
    "{",
    "null",
    "[]",
    '{"version":2,"buckets":{},"quotas":{},"concurrency":{}}',
    '{"version":3,"buckets":{},"quotas":{},"concurrency":{}}',
    '{"version":1,"buckets":{"slow":{}},"quotas":{},"concurrency":{}}',
    7,
    null,
  ]

  test("restoreGateState() starts a new client with full buckets", () => {
    expect(admit(restoreGateState(undefined, START_MS), [SLOW]).decision).toMatchObject({ admitted: true, lost: [] })
  })

  test("restoreGateState() is invisible at every step", () => {
    fc.assert(
      fc.property(limitSets, histories, (limits, history) => {
        let state = EMPTY_GATE_STATE
        let nowMs = START_MS
        for (const { gapMs, cost } of history) {
          nowMs += gapMs
          state = decideAdmission(state, { limits, cost }, nowMs).state
          expect(restoreGateState(JSON.stringify(state), nowMs)).toEqual(state)
        }
      }),
      { seed: 144, numRuns: 300 },
    )
  })

  test.each(unreadable)(
    "restoreGateState() of %j admits nothing and names the limits that lost their state",
    (stored) => {
      const { decision } = admit(restoreGateState(stored, START_MS), [FAST, SLOW])
      expect(decision).toMatchObject({
        admitted: false,
        violated: ["fast", "slow"],
        lost: ["fast", "slow"],
        remaining: 0,
      })
    },
  )

  test("restoreGateState() of an unreadable text admits again at the rate of the limit", () => {
    const lost = admit(restoreGateState("{", START_MS), [FAST]).state
    const stored = restoreGateState(JSON.stringify(lost), START_MS)
    expect(admit(stored, [FAST], 1, START_MS + 199).decision.admitted).toBe(false)
    expect(admit(stored, [FAST], 1, START_MS + 200).decision).toMatchObject({ admitted: true, lost: [] })
  })

  test("restoreGateState() of an unreadable text mints nothing for a limit that is asked for later", () => {
    const lost = admit(restoreGateState("{", START_MS), [FAST]).state
    const { decision } = admit(lost, [SLOW], 1, START_MS + 60_000)
    expect(decision).toMatchObject({ admitted: true, remaining: 0, lost: ["slow"] })
  })

  test("restoreGateState() is total", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json(), fc.anything()), (stored) => {
        expect(restoreGateState(stored, START_MS).version).toBe(2)
      }),
      { seed: 145, numRuns: 500 },
    )
  })
})

describe("parseGateState()", () => {
  test("parseGateState() refuses a state of which one bucket is out of range", () => {
    const state = JSON.parse(JSON.stringify(spent([FAST, SLOW], 1)))
    state.buckets.slow.level = 1e9
    expect(parseGateState(state)).toBeUndefined()
  })

  test.each(["1", 0.5, null])("parseGateState() refuses lostAtMs of %j", (lostAtMs) => {
    expect(parseGateState({ ...EMPTY_GATE_STATE, lostAtMs })).toBeUndefined()
  })
})

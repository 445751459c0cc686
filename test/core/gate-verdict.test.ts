/**
 * Goal: what is told of a decision agrees with the decision, whoever made it. Method: single cases, and a property over
 * everything that an isolate may know.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { admitRequest, lendTokens } from "../../src/core/gate/client-gate.ts"
import type { LeaseGrant } from "../../src/core/gate/client-gate.ts"
import { EMPTY_GATE_STATE } from "../../src/core/gate/gate-state.ts"
import { decisivePolicy, verdictOfDecision, verdictOfLease } from "../../src/core/gate/gate-verdict.ts"
import type { LeaseDecided } from "../../src/core/gate/gate-verdict.ts"
import type { NamedBucket } from "../../src/core/limit/limit.ts"
import { formatRateLimit, formatRetryAfter } from "../../src/core/limit/ratelimit-fields.ts"

const T0 = 1_790_000_000_000
const LIMIT: NamedBucket = { kind: "bucket", name: "client", burst: 20, rate: { count: 10, periodMs: 1000 } }
const CALL = {
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

function grantOf(limits: readonly NamedBucket[] = [LIMIT]): LeaseGrant {
  const { answer } = lendTokens(EMPTY_GATE_STATE, CALL, { limits, guards: [] }, T0, 0.5)
  if (answer === null) throw new Error("The call has no answer")
  return answer
}

function decided(difference: Partial<LeaseDecided>): LeaseDecided {
  const nothing = { denial: undefined, failure: undefined }
  return {
    decidedBy: "local",
    limits: [LIMIT],
    grant: grantOf(),
    elapsedMs: 0,
    nowMs: T0,
    tokens: 3,
    cost: 1,
    ...nothing,
    ...difference,
  }
}

describe("verdictOfLease()", () => {
  test("verdictOfLease() tells what is at the object and at hand together", () => {
    const { policies } = verdictOfLease(decided({ tokens: 3 }))
    expect(policies[0]?.remaining).toBe((grantOf().policies[0]?.remaining ?? 0) + 3)
  })

  test("verdictOfLease() says nothing of limits before the object has", () => {
    expect(verdictOfLease(decided({ grant: undefined }))).toMatchObject({ policies: [], standings: [] })
  })

  test("verdictOfLease() dates an admission by the isolate that admits, not by the answer it admits on", () => {
    const standing = { name: "login", epoch: 4, admittedAtMs: T0, failures: 0 }
    const { standings } = verdictOfLease(decided({ grant: { ...grantOf(), standings: [standing] }, nowMs: T0 + 700 }))
    expect(standings).toEqual([{ ...standing, admittedAtMs: T0 + 700 }])
  })

  test("verdictOfLease() names the guard that blocks", () => {
    const block = { guard: "login", reason: "open" as const, retryAfterMs: 900, cacheForMs: 900 }
    const denial = { kind: "deny", reason: "blocked", retryAfterMs: 800 } as const
    const { refusal } = verdictOfLease(decided({ grant: { ...grantOf(), block }, denial }))
    expect(refusal).toEqual({ kind: "blocked", guard: "login", reason: "open", retryAfterMs: 800 })
  })

  test("verdictOfLease() says why the object is not heard", () => {
    const failure = { reason: "object_overloaded", isOverloaded: true }
    const denial = { kind: "deny", reason: "unavailable", retryAfterMs: null } as const
    expect(verdictOfLease(decided({ denial, failure })).refusal).toEqual({ kind: "unavailable", ...failure })
  })

  test("verdictOfLease() tells a client that no waiting helps where none does", () => {
    const denial = { kind: "deny", reason: "too-large", violated: ["client"], retryAfterMs: null } as const
    expect(verdictOfLease(decided({ denial, cost: 21 })).refusal).toMatchObject({ kind: "limit", retryAfterMs: null })
  })

  test("verdictOfLease() announces quota of a refusing limit never later than Retry-After, and never what was refused", () => {
    const rates = fc.record({ count: fc.integer({ min: 1, max: 50 }), periodMs: fc.integer({ min: 1, max: 90_000 }) })
    const known = fc.record({
      burst: fc.integer({ min: 1, max: 50 }),
      rate: rates,
      elapsedMs: fc.integer({ min: -5_000, max: 90_000 }),
      tokens: fc.nat(60),
      cost: fc.integer({ min: 1, max: 9 }),
      retryAfterMs: fc.option(fc.integer({ min: 1, max: 90_000 })),
      isRefusing: fc.boolean(),
    })
    fc.assert(
      fc.property(known, ({ burst, rate, elapsedMs, tokens, cost, retryAfterMs, isRefusing }) => {
        const limit = { ...LIMIT, burst, rate }
        const denial =
          retryAfterMs === null
            ? undefined
            : ({ kind: "deny", reason: "limit", violated: isRefusing ? ["client"] : [], retryAfterMs } as const)
        const { policies } = verdictOfLease(decided({ grant: grantOf([limit]), elapsedMs, tokens, cost, denial }))
        const [policy] = policies
        if (policy === undefined) throw new Error("There is no policy")
        expect(policy.remaining).toBeGreaterThanOrEqual(0)
        expect(policy.remaining).toBeLessThanOrEqual(burst)
        expect(policy.nextMs > 0).toBe(policy.remaining < burst)
        if (retryAfterMs === null || !isRefusing) return
        expect(policy.remaining).toBeLessThan(cost)
        const told = Number(/;t=(\d+)/.exec(formatRateLimit(policies) ?? "")?.[1] ?? 0)
        expect(told).toBeLessThanOrEqual(Number(formatRetryAfter(retryAfterMs)))
      }),
      { seed: 51, numRuns: 1_000 },
    )
  })
})

describe("verdictOfDecision()", () => {
  const request = { limits: [LIMIT], guards: [], cost: 1, admissionId: "a" }

  test("verdictOfDecision() refuses by nothing when the request passes", () => {
    expect(verdictOfDecision(admitRequest(EMPTY_GATE_STATE, request, T0).answer).refusal).toBeUndefined()
  })

  test("verdictOfDecision() announces quota never later than Retry-After, also while tokens are lent", () => {
    const { state } = lendTokens(EMPTY_GATE_STATE, { ...CALL, waiting: [9] }, { limits: [LIMIT], guards: [] }, T0, 0.5)
    const { policies, refusal } = verdictOfDecision(admitRequest(state, { ...request, cost: 19 }, T0).answer)
    const retryAfterMs = refusal?.kind === "limit" ? (refusal.retryAfterMs ?? 0) : 0
    expect(policies[0]?.nextMs).toBeLessThanOrEqual(retryAfterMs)
    expect(retryAfterMs).toBeGreaterThan(0)
  })

  test("verdictOfDecision() names a guard before the limits", () => {
    const { answer } = admitRequest(EMPTY_GATE_STATE, request, T0)
    const block = { guard: "pin", reason: "inflight" as const, retryAfterMs: null, cacheForMs: 0 }
    expect(verdictOfDecision({ ...answer, block }).refusal).toEqual({
      kind: "blocked",
      guard: "pin",
      reason: "inflight",
      retryAfterMs: null,
    })
  })

  test("verdictOfDecision() calls what is out of range the gateway's fault", () => {
    const { answer } = admitRequest(EMPTY_GATE_STATE, { ...request, cost: -1 }, T0)
    expect(verdictOfDecision(answer).refusal).toEqual({ kind: "fault", reason: "admission_invalid_request" })
  })

  test("verdictOfDecision() lists limits in shadow mode last", () => {
    const limits: NamedBucket[] = [{ ...LIMIT, name: "shadow", mode: "shadow" }, LIMIT]
    const { policies } = verdictOfDecision(admitRequest(EMPTY_GATE_STATE, { ...request, limits }, T0).answer)
    expect(policies.map(({ name }) => name)).toEqual(["client", "shadow"])
  })
})

describe("decisivePolicy()", () => {
  const policies = [
    { name: "a", quota: 9, windowSec: 1, remaining: 4, nextMs: 1 },
    { name: "b", quota: 9, windowSec: 1, remaining: 2, nextMs: 1 },
  ]
  const verdict = { ...verdictOfLease(decided({})), policies }
  const refusedBy = (violated: readonly string[]) =>
    ({ kind: "limit", violated, refusedBy: "bucket", retryAfterMs: 1, isLost: false }) as const

  test("decisivePolicy() is the one with the least left", () => {
    expect(decisivePolicy(verdict)?.name).toBe("b")
  })

  test("decisivePolicy() is the first that refused", () => {
    expect(decisivePolicy({ ...verdict, refusal: refusedBy(["a"]) })?.name).toBe("a")
  })

  test("decisivePolicy() has nothing left when places have run out", () => {
    expect(decisivePolicy({ ...verdict, refusal: refusedBy(["places"]) })).toEqual({ name: "places", remaining: 0 })
  })

  test("decisivePolicy() is none without limits", () => {
    expect(decisivePolicy({ ...verdict, policies: [] })).toBeUndefined()
  })
})

/**
 * Goal: each rule of the guard at its boundary, each attack on it, and each bound of its parsers. Method: single cases
 * with literal instants. What holds for any history is in `guard-properties.test.ts`, what the vectors say in
 * `guard-vectors.test.ts`.
 */
import { describe, expect, test } from "vitest"
import type { Guard } from "../../src/config/config.ts"
import {
  GUARD_DURATION_MS_MAX,
  GUARD_FAILURES_MAX,
  GUARD_ID_LENGTH_MAX,
  GUARD_OUTCOMES_MAX,
} from "../../src/core/bounds.ts"
import { parseGuardConfig } from "../../src/core/guard/guard-config.ts"
import type { GuardConfig } from "../../src/core/guard/guard-config.ts"
import {
  CLOCK_MS_MAX,
  createGuardState,
  isForgettableGuard,
  parseGuardState,
} from "../../src/core/guard/guard-state.ts"
import type { GuardEvent, GuardState } from "../../src/core/guard/guard-state.ts"
import { administer, needsOutcome, observe, recordOutcome, requestAdmission } from "../../src/core/guard/guard.ts"
import type { AdminAction, Admission } from "../../src/core/guard/guard.ts"
import type { OutcomeResult } from "../../src/core/guard/outcome.ts"

const START_MS = 1_790_000_000_000
const MINUTE_MS = 60_000

/** The product's default: 5 failures a minute, 5 min to 1 h. */
const PRODUCT: GuardConfig = {
  maxFailures: 5,
  failureDurationMs: MINUTE_MS,
  backoff: {
    kind: "exponential",
    minBackoffMs: 5 * MINUTE_MS,
    maxBackoffMs: 60 * MINUTE_MS,
    randomFactor: 0.2,
    resetBackoffMs: 60 * MINUTE_MS,
  },
  guardResetTimeoutMs: 60 * MINUTE_MS,
  inFlight: "optimistic",
  pendingTtlMs: 30_000,
  successPolicy: "reset",
}
const TOKEN: GuardConfig = { ...PRODUCT, successPolicy: "ignore" }
const RESERVE: GuardConfig = { ...PRODUCT, inFlight: "reserve" }
const LINEAL: GuardConfig = { ...PRODUCT, backoff: { kind: "lineal", durationMs: 5 * MINUTE_MS } }

/** One client's guard with a clock of its own, as an object and its Workers would use it. */
class Rig {
  state: GuardState | undefined
  readonly events: GuardEvent[] = []
  readonly admissions = new Map<string, Admission>()
  nowMs = START_MS
  random = 0
  #ids = 0

  readonly config: GuardConfig

  constructor(config: GuardConfig) {
    this.config = config
  }

  request(id = `r${this.#ids++}`) {
    const { state, decision, events } = requestAdmission(this.state, this.config, { id }, this.nowMs)
    this.state = state
    this.events.push(...events)
    if (decision.admitted) this.admissions.set(id, decision.admission)
    return { id, ...decision }
  }

  report(id: string, result: OutcomeResult, admission = this.admissions.get(id)) {
    const outcome = { id, result, ...(admission === undefined ? {} : { admission }) }
    const { state, decision, events } = recordOutcome(this.state, this.config, outcome, this.nowMs, this.random)
    this.state = state
    this.events.push(...events)
    return decision
  }

  administer(action: AdminAction) {
    const { state, decision, events } = administer(this.state, this.config, action, this.nowMs)
    this.state = state
    this.events.push(...events)
    return decision
  }

  observe() {
    const { state, decision, events } = observe(this.state, this.config, this.nowMs)
    this.state = state
    this.events.push(...events)
    return decision
  }

  /** One request that ends at once. */
  run(result: OutcomeResult) {
    return this.report(this.request().id, result)
  }

  fail(times: number) {
    for (let i = 0; i < times; i++) this.run("failure")
  }
}

describe("requestAdmission() against guessing", () => {
  test("GRD-01 requestAdmission() still admits after one failure fewer than the threshold", () => {
    const rig = new Rig(TOKEN)
    rig.fail(4)
    expect(rig.request()).toMatchObject({ admitted: true, failures: 4 })
  })

  test("GRD-01 requestAdmission() refuses a valid token after the fifth failure, for 300 to 360 s", () => {
    const rig = new Rig(TOKEN)
    rig.random = 0.999_999
    rig.fail(5)
    const { admitted, retryAfterMs } = rig.request()
    expect({ admitted, retryAfterMs }).toEqual({ admitted: false, retryAfterMs: 360_000 })
    expect(rig.events).toEqual([
      { kind: "opened", atMs: START_MS, untilMs: START_MS + 360_000, attempt: 1, reason: "failures" },
    ])
  })

  test("GRD-02 recordOutcome() counts parallel failures one by one and opens once", () => {
    const rig = new Rig(TOKEN)
    const ids = Array.from({ length: 50 }, () => rig.request().id)
    const recorded = ids.filter((id) => rig.report(id, "failure").isRecorded)
    expect({ recorded: recorded.length, total: rig.observe().openedTotal, events: rig.events.length }).toEqual({
      recorded: 5,
      total: 1,
      events: 1,
    })
  })

  test("GRD-03 recordOutcome() does not let successes clear failures with the policy ignore", () => {
    const rig = new Rig(TOKEN)
    rig.fail(4)
    rig.run("success")
    rig.fail(1)
    expect(rig.request()).toMatchObject({ admitted: false, reason: "open" })
  })

  test("GRD-06 recordOutcome() blocks 5, 10, 20, 40, 60 and 60 minutes", () => {
    const rig = new Rig({ ...TOKEN, guardResetTimeoutMs: null })
    const minutes = Array.from({ length: 6 }, () => {
      rig.fail(5)
      const { retryAfterMs } = rig.observe()
      rig.nowMs += retryAfterMs ?? 0
      return (retryAfterMs ?? 0) / MINUTE_MS
    })
    expect(minutes).toEqual([5, 10, 20, 40, 60, 60])
  })

  test("GRD-07 requestAdmission() refuses after a restart as before", () => {
    const rig = new Rig(TOKEN)
    rig.fail(5)
    const before = rig.observe()
    rig.state = parseGuardState(JSON.parse(JSON.stringify(rig.state)))
    expect(rig.request()).toMatchObject({ admitted: false, reason: "open", retryAfterMs: before.retryAfterMs })
  })

  test("requestAdmission() in reserve mode admits as many at once as failures are left", () => {
    const rig = new Rig(RESERVE)
    rig.fail(2)
    expect(Array.from({ length: 5 }, () => rig.request().admitted)).toEqual([true, true, true, false, false])
    expect(rig.request()).toMatchObject({ reason: "inflight", retryAfterMs: null, isOpen: false })
  })

  test("requestAdmission() in reserve mode leaves no request in flight when the guard opens", () => {
    const rig = new Rig(RESERVE)
    const ids = Array.from({ length: 9 }, () => rig.request()).flatMap(({ id, admitted }) => (admitted ? [id] : []))
    expect(ids.map((id) => rig.report(id, "failure").isRecorded)).toEqual([true, true, true, true, true])
    expect(rig.observe().isOpen).toBe(true)
  })

  test("requestAdmission() in reserve mode answers a repeated call as the first and takes one place", () => {
    const rig = new Rig({ ...RESERVE, maxFailures: 2 })
    const first = rig.request("lost")
    rig.nowMs += 10
    expect(rig.request("lost")).toMatchObject({ admitted: true, admission: first.admitted ? first.admission : {} })
    expect(rig.state?.pending).toEqual([{ id: "lost", admittedAtMs: START_MS }])
  })

  test("requestAdmission() refuses an id whose outcome is recorded: its next failure would not count", () => {
    const rig = new Rig(TOKEN)
    rig.request("again")
    rig.report("again", "failure")
    expect(rig.request("again")).toMatchObject({ admitted: false, reason: "invalid-request", isOpen: false })
  })

  test.each(["", "x".repeat(GUARD_ID_LENGTH_MAX + 1), 7 as unknown as string])(
    "requestAdmission() refuses the id %o, and says that it is open if it is",
    (id) => {
      const rig = new Rig(RESERVE)
      expect(rig.request(id)).toMatchObject({ admitted: false, reason: "invalid-request" })
      expect(rig.state?.pending).toEqual([])
      rig.administer({ action: "block", durationMs: 1 })
      expect(rig.request(id)).toMatchObject({ admitted: false, reason: "open" })
    },
  )

  test("requestAdmission() takes an id of full length", () => {
    expect(new Rig(RESERVE).request("x".repeat(GUARD_ID_LENGTH_MAX)).admitted).toBe(true)
  })
})

describe("requestAdmission() and the idle client", () => {
  test("requestAdmission() that is refused postpones the idle reset, and it runs from the end of the block", () => {
    const rig = new Rig({ ...PRODUCT, guardResetTimeoutMs: 10 * MINUTE_MS })
    rig.fail(5)
    rig.nowMs += 5 * MINUTE_MS
    rig.administer({ action: "unblock" })
    rig.administer({ action: "block", durationMs: 1 })
    rig.nowMs += 1
    rig.observe()
    rig.nowMs += 10 * MINUTE_MS - 1
    expect(rig.observe().attempt).toBe(1)
    rig.nowMs += 1
    expect(rig.observe().attempt).toBe(0)
  })

  test("requestAdmission() refused for requests in flight counts as a sign of life", () => {
    const rig = new Rig({
      ...RESERVE,
      maxFailures: 2,
      failureDurationMs: 10 * MINUTE_MS,
      guardResetTimeoutMs: MINUTE_MS,
    })
    rig.fail(1)
    rig.request()
    rig.nowMs += MINUTE_MS / 2 - 1
    expect(rig.request().admitted).toBe(false)
    rig.nowMs += MINUTE_MS - 1
    expect(rig.observe().failures).toBe(1)
  })

  test("recordOutcome() of a guard that was not kept since it admitted leaves a sign of life", () => {
    const rig = new Rig({ ...TOKEN, maxFailures: 2 })
    const first = rig.request()
    rig.state = undefined
    rig.report(first.id, "failure")
    expect(rig.run("failure").isOpen).toBe(true)
  })

  test("observe() is no sign of life", () => {
    const rig = new Rig({ ...PRODUCT, failureDurationMs: 10 * MINUTE_MS, guardResetTimeoutMs: MINUTE_MS })
    rig.fail(1)
    rig.nowMs += MINUTE_MS - 1
    expect(rig.observe().failures).toBe(1)
    rig.nowMs += 1
    expect(rig.observe().failures).toBe(0)
  })
})

describe("recordOutcome()", () => {
  test("recordOutcome() takes a failure for a sign of a request, also when nobody kept the request itself", () => {
    const admission = { epoch: 0, admittedAtMs: START_MS - 400 }
    const { state } = recordOutcome(undefined, PRODUCT, { id: "a", result: "failure", admission }, START_MS, 0)
    const failuresAfter = (idleMs: number) =>
      observe(state, { ...PRODUCT, guardResetTimeoutMs: 900 }, START_MS - 400 + idleMs).decision.failures
    expect([state.lastRequestMs, failuresAfter(899), failuresAfter(900)]).toEqual([START_MS - 400, 1, 0])
  })

  test("recordOutcome() does not take an older request for the last one", () => {
    const rig = new Rig(PRODUCT)
    const { id } = rig.request()
    rig.nowMs += 700
    rig.request()
    rig.report(id, "failure")
    expect(rig.state?.lastRequestMs).toBe(START_MS + 700)
  })

  test("recordOutcome() dates no request into its own future when an isolate is ahead", () => {
    const admission = { epoch: 0, admittedAtMs: START_MS + 30_000 }
    const { state } = recordOutcome(undefined, PRODUCT, { id: "a", result: "failure", admission }, START_MS, 0)
    expect(parseGuardState(state)).toEqual(state)
  })

  test("recordOutcome() in optimistic mode ignores an outcome that names no admission", () => {
    const rig = new Rig(PRODUCT)
    const { id } = rig.request()
    rig.admissions.clear()
    expect(rig.report(id, "failure")).toMatchObject({ isRecorded: false, failures: 0 })
  })

  test.each([
    { epoch: 1, admittedAtMs: START_MS },
    { epoch: 0, admittedAtMs: START_MS + 60_001 },
    { epoch: 0, admittedAtMs: START_MS - 30_000 },
    { epoch: 0, admittedAtMs: START_MS - 0.5 },
    { epoch: 0, admittedAtMs: Number.NaN },
    { epoch: 0, admittedAtMs: null as unknown as number },
    { epoch: "0" as unknown as number, admittedAtMs: START_MS },
    {} as Admission,
  ])("recordOutcome() in optimistic mode ignores an outcome of the admission %o", (admission) => {
    const rig = new Rig(PRODUCT)
    rig.request("a")
    expect(rig.report("a", "failure", admission)).toMatchObject({ isRecorded: false, failures: 0 })
  })

  test("recordOutcome() in optimistic mode takes an outcome one ms before it is too late", () => {
    const rig = new Rig(PRODUCT)
    const { id } = rig.request()
    rig.nowMs += 29_999
    expect(rig.report(id, "failure").isRecorded).toBe(true)
  })

  test("recordOutcome() in optimistic mode counts, once, a failure that an isolate with a clock ahead admitted", () => {
    const rig = new Rig({ ...PRODUCT, failureDurationMs: 10 * MINUTE_MS })
    const ahead = { epoch: 0, admittedAtMs: START_MS + 60_000 }
    rig.request("a")
    expect(rig.report("a", "failure", ahead)).toMatchObject({ isRecorded: true, failures: 1 })
    expect(parseGuardState(rig.state)).toEqual(rig.state)
    rig.nowMs += 60_000 + 29_999
    expect(rig.report("a", "failure", ahead).isRecorded).toBe(false)
    rig.nowMs += 1
    expect(rig.report("a", "failure", ahead)).toMatchObject({ isRecorded: false, failures: 1 })
  })

  test("recordOutcome() in reserve mode ignores an outcome of an admission that it does not know", () => {
    const rig = new Rig(RESERVE)
    rig.request("a")
    expect(rig.report("ghost", "failure", { epoch: 0, admittedAtMs: START_MS })).toMatchObject({ isRecorded: false })
  })

  test("recordOutcome() ignores an outcome that claims the epoch of an open guard", () => {
    const rig = new Rig({ ...TOKEN, maxFailures: 1 })
    rig.fail(1)
    const before = rig.observe()
    expect(rig.report("forged", "failure", { epoch: before.epoch, admittedAtMs: START_MS })).toEqual({
      ...before,
      isRecorded: false,
    })
  })

  test("recordOutcome() ignores a result that is none, and the place stays taken", () => {
    const rig = new Rig(RESERVE)
    const { id } = rig.request()
    expect(rig.report(id, "succes" as OutcomeResult).isRecorded).toBe(false)
    expect(rig.state?.pending.length).toBe(1)
  })

  test("recordOutcome() remembers an outcome exactly as long as its duplicate would be in time", () => {
    const rig = new Rig(PRODUCT)
    const { id } = rig.request()
    rig.nowMs += 20_000
    rig.report(id, "failure")
    rig.nowMs += 9_999
    expect(rig.report(id, "failure").isRecorded).toBe(false)
    expect(rig.state?.recorded.length).toBe(1)
    rig.nowMs += 1
    expect(rig.report(id, "failure").isRecorded).toBe(false)
    expect(rig.state?.recorded.length).toBe(0)
  })

  test.each(["success", "neutral"] as const)(
    "recordOutcome() ignores a failure after a %s of the same id",
    (result) => {
      const rig = new Rig(PRODUCT)
      const { id } = rig.request()
      rig.report(id, result)
      expect(rig.report(id, "failure")).toMatchObject({ isRecorded: false, failures: 0 })
    },
  )

  test("recordOutcome() drops the oldest outcomes beyond its bound: only their duplicates count again", () => {
    const rig = new Rig(PRODUCT)
    rig.request("oldest")
    rig.report("oldest", "failure")
    rig.request("second")
    rig.report("second", "neutral")
    for (let i = 0; i < GUARD_OUTCOMES_MAX - 1; i++) rig.run("neutral")
    expect(rig.state?.recorded.length).toBe(GUARD_OUTCOMES_MAX)
    expect(rig.report("second", "failure").isRecorded).toBe(false)
    expect(rig.report("oldest", "failure")).toMatchObject({ isRecorded: true, failures: 2 })
  })

  test("recordOutcome() remembers no fewer outcomes than failures may be tolerated", () => {
    expect(GUARD_OUTCOMES_MAX).toBeGreaterThanOrEqual(GUARD_FAILURES_MAX)
  })

  test("recordOutcome() forgets the outcomes of the epoch when the guard opens", () => {
    const rig = new Rig(TOKEN)
    rig.fail(5)
    expect(rig.state?.recorded).toEqual([])
  })

  test("recordOutcome() stores no outcome in reserve mode and no admission in optimistic mode", () => {
    const reserving = new Rig(RESERVE)
    reserving.run("failure")
    const optimistic = new Rig(PRODUCT)
    optimistic.request()
    expect([reserving.state?.recorded, reserving.state?.pending, optimistic.state?.pending]).toEqual([[], [], []])
  })

  test("recordOutcome() of a success clears a failure of the very ms of its admission", () => {
    const rig = new Rig(PRODUCT)
    const early = rig.request().id
    rig.fail(1)
    expect(rig.report(early, "success").failures).toBe(0)
  })

  test("recordOutcome() counts a place that was reserved before the mode changed, and once", () => {
    const rig = new Rig(RESERVE)
    const { id } = rig.request()
    const changed = new Rig(PRODUCT)
    changed.state = rig.state
    expect(changed.report(id, "failure")).toMatchObject({ isRecorded: true, failures: 1 })
    changed.admissions.set(id, { epoch: 0, admittedAtMs: START_MS })
    expect(changed.report(id, "failure")).toMatchObject({ isRecorded: false, failures: 1 })
    expect(changed.state?.pending).toEqual([])
  })

  test("recordOutcome() opens at the next failure when the threshold was lowered below what is counted", () => {
    const rig = new Rig(PRODUCT)
    rig.fail(4)
    const lowered = new Rig({ ...PRODUCT, maxFailures: 2 })
    lowered.state = rig.state
    expect(lowered.observe().isOpen).toBe(false)
    expect(lowered.request("new").admitted).toBe(true)
    expect(lowered.report("new", "failure").isOpen).toBe(true)
  })
})

describe("escalation", () => {
  test("observe() forgets the attempts of another back-off when it has become lineal", () => {
    const rig = new Rig({ ...TOKEN, maxFailures: 1, guardResetTimeoutMs: null })
    rig.fail(1)
    rig.nowMs += 5 * MINUTE_MS
    expect(rig.observe().attempt).toBe(1)
    const lineal = new Rig(LINEAL)
    lineal.state = rig.state
    expect(observe(rig.state, LINEAL, rig.nowMs).decision.attempt).toBe(0)
  })

  test("observe() measures the reset from the end of the block and not from its beginning", () => {
    const rig = new Rig({ ...TOKEN, guardResetTimeoutMs: null })
    rig.fail(5)
    rig.nowMs += 65 * MINUTE_MS - 1
    expect(rig.observe().attempt).toBe(1)
    rig.nowMs += 1
    expect(rig.observe().attempt).toBe(0)
  })

  test("observe() keeps the attempts for ever when the reset is manual", () => {
    const rig = new Rig({
      ...PRODUCT,
      guardResetTimeoutMs: null,
      backoff: { ...PRODUCT.backoff, resetBackoffMs: null } as never,
    })
    rig.fail(5)
    rig.nowMs += GUARD_DURATION_MS_MAX
    expect(rig.observe().attempt).toBe(1)
  })

  test("observe() forgets the attempts as soon as it closes when the reset is 0", () => {
    const rig = new Rig({
      ...PRODUCT,
      guardResetTimeoutMs: null,
      backoff: { ...PRODUCT.backoff, resetBackoffMs: 0 } as never,
    })
    rig.fail(5)
    expect(rig.observe().attempt).toBe(1)
    rig.nowMs += 5 * MINUTE_MS
    expect(rig.observe().attempt).toBe(0)
  })
})

describe("administer()", () => {
  test.each([{ action: "reset" }, { action: "unblock" }, { action: "block", durationMs: 1 }] as const)(
    "administer() %o voids admissions and clears failures",
    (action) => {
      for (const config of [PRODUCT, RESERVE]) {
        const rig = new Rig(config)
        rig.fail(1)
        const { id } = rig.request()
        expect(rig.administer(action)).toMatchObject({ failures: 0, epoch: 1 })
        rig.nowMs += 1
        expect(rig.report(id, "failure")).toMatchObject({ isRecorded: false, failures: 0 })
        expect(rig.state).toMatchObject({ pending: [], recorded: [] })
      }
    },
  )

  test("administer() reset closes and forgets the escalation and the last block", () => {
    const rig = new Rig(TOKEN)
    rig.fail(5)
    rig.nowMs += 7
    expect(rig.administer({ action: "reset" })).toMatchObject({ isOpen: false, attempt: 0, openedTotal: 1 })
    expect(rig.state?.lastClosedMs).toBeNull()
    expect(rig.events.slice(1)).toEqual([
      { kind: "closed", atMs: START_MS + 7, untilMs: START_MS + 300_000, attempt: 1, reason: "reset" },
    ])
  })

  test("administer() unblock closes now, keeps the escalation, and its time runs from now", () => {
    const rig = new Rig({ ...TOKEN, guardResetTimeoutMs: null })
    rig.fail(5)
    rig.nowMs += 7
    expect(rig.administer({ action: "unblock" })).toMatchObject({ isOpen: false, attempt: 1, retryAfterMs: null })
    expect(rig.events.slice(1)).toEqual([
      { kind: "closed", atMs: START_MS + 7, untilMs: START_MS + 300_000, attempt: 1, reason: "unblock" },
    ])
    rig.nowMs += 60 * MINUTE_MS - 1
    expect(rig.observe().attempt).toBe(1)
    rig.nowMs += 1
    expect(rig.observe().attempt).toBe(0)
  })

  test("administer() unblock of a lineal back-off leaves no escalation", () => {
    const rig = new Rig(LINEAL)
    rig.fail(5)
    expect(rig.administer({ action: "unblock" }).attempt).toBe(0)
  })

  test("administer() unblock of a closed guard reports nothing and does not move the end of the last block", () => {
    const rig = new Rig(TOKEN)
    rig.fail(5)
    rig.nowMs += 10 * MINUTE_MS
    rig.observe()
    rig.events.length = 0
    rig.administer({ action: "unblock" })
    rig.administer({ action: "reset" })
    expect(rig.events).toEqual([])
    rig.administer({ action: "unblock" })
    expect(rig.state?.lastClosedMs).toBeNull()
  })

  test("administer() block opens a closed guard for that long and is no escalation", () => {
    const rig = new Rig(TOKEN)
    expect(rig.administer({ action: "block", durationMs: 3_000 })).toMatchObject({
      isOpen: true,
      attempt: 0,
      openedTotal: 0,
      retryAfterMs: 3_000,
      nextWakeMs: START_MS + 3_000,
    })
    expect(rig.events).toEqual([
      { kind: "opened", atMs: START_MS, untilMs: START_MS + 3_000, attempt: 0, reason: "admin" },
    ])
  })

  test("administer() block lengthens a block, never shortens it, and is not a second opening", () => {
    const rig = new Rig(TOKEN)
    rig.fail(5)
    expect(rig.administer({ action: "block", durationMs: 1 }).retryAfterMs).toBe(300_000)
    expect(rig.administer({ action: "block", durationMs: 400_000 })).toMatchObject({
      retryAfterMs: 400_000,
      attempt: 1,
    })
    expect(rig.events.length).toBe(1)
  })

  test.each([
    { action: "block" },
    { action: "block", durationMs: 0 },
    { action: "block", durationMs: -5 },
    { action: "block", durationMs: 1.5 },
    { action: "block", durationMs: GUARD_DURATION_MS_MAX + 1 },
    { action: "block", durationMs: "1" },
    { action: "open" },
    {},
  ] as unknown as AdminAction[])("administer() refuses %o and changes nothing", (action) => {
    const rig = new Rig(TOKEN)
    rig.fail(3)
    const before = rig.state
    expect(rig.administer(action)).toMatchObject({ error: "invalid-action", failures: 3, epoch: 0 })
    expect(rig.state).toEqual(before)
  })

  test("administer() blocks for the longest time that there is", () => {
    const rig = new Rig(TOKEN)
    rig.administer({ action: "block", durationMs: GUARD_DURATION_MS_MAX })
    expect(parseGuardState(rig.state)).toEqual(rig.state)
  })
})

describe("observe()", () => {
  test("observe() reports the end of a block once, at the time it ended", () => {
    const rig = new Rig(TOKEN)
    rig.fail(5)
    rig.events.length = 0
    expect(rig.observe().nextWakeMs).toBe(START_MS + 300_000)
    rig.nowMs += 300_000 + 17
    expect(rig.observe()).toMatchObject({ isOpen: false, nextWakeMs: null })
    rig.observe()
    expect(rig.events).toEqual([
      { kind: "closed", atMs: START_MS + 300_000, untilMs: START_MS + 300_000, attempt: 1, reason: "elapsed" },
    ])
  })

  test("observe() of a lineal back-off reports the attempt that ended and forgets it", () => {
    const rig = new Rig(LINEAL)
    rig.fail(5)
    rig.nowMs += 300_000
    expect(rig.observe().attempt).toBe(0)
    expect(rig.events[1]).toMatchObject({ kind: "closed", attempt: 1 })
  })

  test.each(["request", "report", "administer"] as const)(
    "%s() that comes first reports the end of the block",
    (name) => {
      const rig = new Rig(TOKEN)
      rig.fail(5)
      rig.nowMs += 300_000
      if (name === "request") rig.request()
      else if (name === "report") rig.report("ghost", "failure")
      else rig.administer({ action: "block", durationMs: 1 })
      expect(rig.events[1]).toMatchObject({ kind: "closed", reason: "elapsed", atMs: START_MS + 300_000 })
    },
  )

  test("recordOutcome() that counts and comes first reports the end of the block too", () => {
    const rig = new Rig({ ...TOKEN, maxFailures: 1 })
    rig.fail(1)
    rig.nowMs += 300_000
    rig.report("early", "failure", { epoch: 1, admittedAtMs: rig.nowMs })
    expect(rig.events.map(({ kind }) => kind)).toEqual(["opened", "closed", "opened"])
  })

  test("observe() of a guard that does not exist finds it closed", () => {
    expect(observe(undefined, PRODUCT, START_MS).decision).toEqual({
      isOpen: false,
      failures: 0,
      attempt: 0,
      openedTotal: 0,
      epoch: 0,
      retryAfterMs: null,
      nextWakeMs: null,
    })
  })
})

describe("clock", () => {
  test("requestAdmission() lets no time pass when the clock is 60 s behind", () => {
    const rig = new Rig(TOKEN)
    rig.fail(5)
    rig.nowMs -= 60_000
    expect(rig.request().retryAfterMs).toBe(300_000)
    rig.nowMs += 60_000 + 100
    expect(rig.request().retryAfterMs).toBe(299_900)
  })

  test("requestAdmission() moves the rest of the block with a clock that is more than 60 s behind", () => {
    const rig = new Rig(TOKEN)
    rig.fail(5)
    rig.nowMs -= 60_001
    expect(rig.request()).toMatchObject({ retryAfterMs: 300_000, nextWakeMs: rig.nowMs + 300_000 })
    rig.nowMs += 100
    expect(rig.request().retryAfterMs).toBe(299_900)
  })

  test("requestAdmission() is not blocked for years by a clock that was once years ahead", () => {
    const rig = new Rig(TOKEN)
    rig.nowMs += GUARD_DURATION_MS_MAX
    rig.fail(5)
    rig.nowMs -= GUARD_DURATION_MS_MAX
    expect(rig.request().retryAfterMs).toBe(300_000)
    rig.nowMs += 300_000
    expect(rig.request().admitted).toBe(true)
  })

  test("recordOutcome() in optimistic mode ignores an admission from before the clock was moved back", () => {
    const rig = new Rig(PRODUCT)
    const { id } = rig.request()
    rig.fail(1)
    rig.nowMs -= 60_001
    expect(rig.report(id, "success")).toMatchObject({ isRecorded: false, failures: 1 })
  })

  test("recordOutcome() in reserve mode knows an admission from before the clock was moved back", () => {
    const rig = new Rig(RESERVE)
    const { id } = rig.request()
    rig.nowMs -= 60_001
    expect(rig.report(id, "failure")).toMatchObject({ isRecorded: true, failures: 1 })
  })

  test.each([Number.NaN, -1, 0.5, Number.POSITIVE_INFINITY, CLOCK_MS_MAX + 1])(
    "requestAdmission() lets no time pass when the clock says %s",
    (nowMs) => {
      const rig = new Rig(TOKEN)
      rig.fail(5)
      rig.nowMs = nowMs
      expect(rig.request().retryAfterMs).toBe(300_000)
      expect(rig.state?.lastSeenMs).toBe(START_MS)
    },
  )

  test("requestAdmission() of a guard that began with an unreadable clock keeps its failures at the first readable one", () => {
    const rig = new Rig(TOKEN)
    rig.nowMs = Number.NaN
    rig.fail(4)
    rig.nowMs = START_MS
    expect(rig.request()).toMatchObject({ admitted: true, failures: 4 })
    rig.nowMs += MINUTE_MS
    expect(rig.observe().failures).toBe(0)
  })

  test("observe() keeps every instant exact however often the clock jumps between its ends", () => {
    const rig = new Rig({ ...TOKEN, guardResetTimeoutMs: null })
    rig.fail(5)
    for (let i = 0; i < 6; i++) {
      rig.nowMs = i % 2 === 0 ? CLOCK_MS_MAX : 0
      rig.observe()
      expect(parseGuardState(rig.state)).toEqual(rig.state)
    }
  })
})

describe("needsOutcome()", () => {
  const results = ["success", "failure", "error", "neutral"] as const
  test.each([
    ["reserve mode", RESERVE, 0, [true, true, true, true]],
    ["optimistic mode without failures", PRODUCT, 0, [false, true, true, false]],
    ["optimistic mode with failures", PRODUCT, 1, [true, true, true, false]],
    ["the policy ignore", TOKEN, 1, [false, true, true, false]],
  ] as const)("needsOutcome() in %s", (_, config, failures, expected) => {
    expect(results.map((result) => needsOutcome(config, { failures }, result))).toEqual(expected)
  })
})

describe("parseGuardConfig()", () => {
  const { guardResetTimeoutMs: _, inFlight: __, pendingTtlMs: ___, successPolicy: ____, ...minimal } = PRODUCT

  test("parseGuardConfig() returns a complete configuration as it is", () => {
    expect(parseGuardConfig(PRODUCT)).toEqual({ ok: true, config: PRODUCT })
  })

  test("parseGuardConfig() fills in the defaults", () => {
    expect(parseGuardConfig(minimal)).toEqual({ ok: true, config: { ...PRODUCT, guardResetTimeoutMs: null } })
  })

  test("parseGuardConfig() takes a guard of the gateway's configuration, which is one as it stands", () => {
    const outcomes = { failureStatuses: [401], verdictHeader: null }
    const guard: Guard = { name: "credentials", ...RESERVE, key: { kind: "client" }, outcomes }
    const config: GuardConfig = guard
    expect(parseGuardConfig(config)).toEqual({ ok: true, config: RESERVE })
  })

  test.each([
    { maxFailures: 1 },
    { maxFailures: GUARD_FAILURES_MAX },
    { failureDurationMs: 1 },
    { failureDurationMs: GUARD_DURATION_MS_MAX },
    { guardResetTimeoutMs: 1 },
    { guardResetTimeoutMs: null },
    { pendingTtlMs: 1 },
    { inFlight: "reserve" },
    { successPolicy: "ignore" },
  ])("parseGuardConfig() accepts %o", (members) => {
    expect(parseGuardConfig({ ...PRODUCT, ...members })).toEqual({ ok: true, config: { ...PRODUCT, ...members } })
  })

  test.each([
    [{ maxFailures: 0 }, "maxFailures"],
    [{ maxFailures: GUARD_FAILURES_MAX + 1 }, "maxFailures"],
    [{ maxFailures: 1.5 }, "maxFailures"],
    [{ failureDurationMs: 0 }, "failureDurationMs"],
    [{ failureDurationMs: GUARD_DURATION_MS_MAX + 1 }, "failureDurationMs"],
    [{ backoff: undefined }, "backoff.kind"],
    [{ guardResetTimeoutMs: 0 }, "guardResetTimeoutMs"],
    [{ guardResetTimeoutMs: "never" }, "guardResetTimeoutMs"],
    [{ inFlight: "pessimistic" }, "inFlight"],
    [{ inFlight: null }, "inFlight"],
    [{ pendingTtlMs: 0 }, "pendingTtlMs"],
    [{ pendingTtlMs: null }, "pendingTtlMs"],
    [{ successPolicy: "forgive" }, "successPolicy"],
  ])("parseGuardConfig() rejects %o and names %s alone", (members, name) => {
    const result = parseGuardConfig({ ...PRODUCT, ...members })
    expect(result.ok ? [] : result.problems.map((problem) => problem.split(" ")[0])).toEqual([name])
  })

  test("parseGuardConfig() names everything that is wrong", () => {
    const wrong = { guardResetTimeoutMs: 0, inFlight: 1, pendingTtlMs: 0, successPolicy: 1 }
    const result = parseGuardConfig(wrong)
    expect(result.ok ? [] : result.problems.map((problem) => problem.split(" ")[0])).toEqual([
      "maxFailures",
      "failureDurationMs",
      "backoff.kind",
      "guardResetTimeoutMs",
      "inFlight",
      "pendingTtlMs",
      "successPolicy",
    ])
  })
})

describe("parseGuardState()", () => {
  const admitted = { id: "a", admittedAtMs: START_MS }
  const STATE: GuardState = {
    failures: [START_MS - 1, START_MS],
    attempt: 2,
    openUntilMs: null,
    lastClosedMs: START_MS - 5,
    epoch: 3,
    lastRequestMs: START_MS,
    lastSeenMs: START_MS,
    pending: [admitted],
    recorded: [{ id: "b", admittedAtMs: -7 }],
    openedTotal: 9,
  }

  test.each([
    {},
    { openUntilMs: START_MS + 1 },
    { openUntilMs: START_MS + GUARD_DURATION_MS_MAX },
    { lastClosedMs: null, lastRequestMs: null },
    { recorded: [{ id: "a", admittedAtMs: START_MS + 60_000 }] },
    { failures: Array.from({ length: GUARD_FAILURES_MAX }, () => START_MS) },
    { pending: Array.from({ length: GUARD_FAILURES_MAX }, () => admitted) },
    { recorded: Array.from({ length: GUARD_OUTCOMES_MAX }, () => admitted) },
  ])("parseGuardState() returns a state with %o as it is", (members) => {
    const state = { ...STATE, ...members }
    expect(parseGuardState({ ...state, unknown: 1 })).toEqual(state)
  })

  test.each([
    { failures: undefined },
    { failures: [START_MS + 1] },
    { failures: ["1"] },
    // oxlint-disable-next-line no-sparse-arrays -- a hole in a stored array is the fault under test
    { failures: [START_MS, , START_MS] },
    { failures: [0.5] },
    { failures: Array.from({ length: GUARD_FAILURES_MAX + 1 }, () => START_MS) },
    { attempt: -1 },
    { attempt: 0.5 },
    { attempt: 2 ** 53 },
    { openUntilMs: undefined },
    { openUntilMs: START_MS },
    { openUntilMs: START_MS + 0.5 },
    { openUntilMs: START_MS + GUARD_DURATION_MS_MAX + 1 },
    { lastClosedMs: undefined },
    { lastClosedMs: START_MS + 1 },
    { lastClosedMs: -CLOCK_MS_MAX - 1 },
    { epoch: -1 },
    { epoch: "3" },
    { lastRequestMs: undefined },
    { lastRequestMs: START_MS + 1 },
    { lastSeenMs: undefined },
    { lastSeenMs: -1 },
    { lastSeenMs: CLOCK_MS_MAX + 1 },
    { pending: undefined },
    { pending: [null] },
    { pending: [{ id: "", admittedAtMs: START_MS }] },
    { pending: [{ id: "x".repeat(GUARD_ID_LENGTH_MAX + 1), admittedAtMs: START_MS }] },
    { pending: [{ id: "a", admittedAtMs: START_MS + 1 }] },
    { pending: Array.from({ length: GUARD_FAILURES_MAX + 1 }, () => admitted) },
    { recorded: {} },
    { recorded: [{ id: "a" }] },
    { recorded: [{ id: "a", admittedAtMs: START_MS + 60_001 }] },
    { recorded: Array.from({ length: GUARD_OUTCOMES_MAX + 1 }, () => admitted) },
    { openedTotal: -1 },
    { openedTotal: null },
  ])("parseGuardState() rejects a state with %o", (members) => {
    expect(parseGuardState({ ...STATE, ...members })).toBeUndefined()
  })
})

describe("isForgettableGuard()", () => {
  const admitted = { id: "a", admittedAtMs: START_MS }
  const quiet = {
    ...createGuardState(START_MS),
    epoch: 3,
    openedTotal: 2,
    lastClosedMs: START_MS,
    lastRequestMs: START_MS,
  }

  test("isForgettableGuard() is true for one that only remembers its past", () => {
    expect(isForgettableGuard(quiet)).toBe(true)
  })

  test.each<Partial<GuardState>>([
    { failures: [START_MS] },
    { attempt: 1 },
    { openUntilMs: START_MS + 1 },
    { pending: [admitted] },
    { recorded: [admitted] },
  ])("isForgettableGuard() is false for one with %o", (members) => {
    expect(isForgettableGuard({ ...quiet, ...members })).toBe(false)
  })
})

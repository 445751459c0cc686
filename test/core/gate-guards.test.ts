/**
 * Goal: several guards are one question, none is forgotten that matters, none is stored that does not, and only time and an
 * administrator end a block. Method: single cases at literal instants, and random histories against guards of which every
 * state is kept.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { GUARD_OUTCOMES_MAX } from "../../src/core/bounds.ts"
import { administerGuard, askGuards, recordOutcomes, settleGuards } from "../../src/core/gate/gate-guards.ts"
import type { GuardDemand, GuardStanding } from "../../src/core/gate/gate-guards.ts"
import { EMPTY_GATE_STATE, restoreGateState } from "../../src/core/gate/gate-state.ts"
import type { GateState } from "../../src/core/gate/gate-state.ts"
import type { GuardConfig } from "../../src/core/guard/guard-config.ts"
import type { GuardState } from "../../src/core/guard/guard-state.ts"
import { recordOutcome, requestAdmission } from "../../src/core/guard/guard.ts"
import type { OutcomeResult } from "../../src/core/guard/outcome.ts"

const T0 = 1_790_000_000_000
const HOUR_MS = 3_600_000
const CONFIG: GuardConfig = {
  maxFailures: 3,
  failureDurationMs: 2 * HOUR_MS,
  backoff: { kind: "exponential", minBackoffMs: 10_000, maxBackoffMs: 60_000, randomFactor: 0, resetBackoffMs: null },
  guardResetTimeoutMs: HOUR_MS,
  inFlight: "optimistic",
  pendingTtlMs: 30_000,
  successPolicy: "reset",
}
const LOGIN: GuardDemand = { name: "login", config: CONFIG }
const PIN: GuardDemand = { name: "pin", config: { ...CONFIG, inFlight: "reserve" } }
const TOKEN: GuardDemand = { name: "token", config: { ...CONFIG, inFlight: "reserve", maxFailures: 1 } }

type Guards = GateState["guards"]

/** Guards that are read back from their text before every step. */
class Stored {
  text = JSON.stringify(EMPTY_GATE_STATE)
  writes = 0
  ids = 0

  get guards(): Guards {
    return restoreGateState(this.text, T0).guards
  }

  #keep(before: Guards, after: Guards): void {
    if (before === after) return
    this.text = JSON.stringify({ ...EMPTY_GATE_STATE, guards: after })
    this.writes++
  }

  ask(demands: readonly GuardDemand[], nowMs: number, id = `request-${++this.ids}`) {
    const before = this.guards
    const asked = askGuards(before, demands, id, nowMs, undefined)
    this.#keep(before, asked.block === undefined && !asked.isInvalid ? asked.passed : asked.refused)
    return { ...asked, id }
  }

  record(
    demand: GuardDemand,
    id: string,
    admission: { epoch: number; admittedAtMs: number },
    result: OutcomeResult,
    nowMs: number,
  ) {
    const before = this.guards
    const step = recordOutcomes(before, [{ ...demand, admission }], { id, result }, nowMs, 0, undefined)
    this.#keep(before, step.guards)
    return step
  }

  /** One request that is answered at once, the way most are. */
  serve(demand: GuardDemand, result: OutcomeResult, nowMs: number): boolean {
    const { block, standings, id } = this.ask([demand], nowMs)
    const [admission] = standings
    if (block !== undefined || admission === undefined) return false
    this.record(demand, id, admission, result, nowMs)
    return true
  }
}

describe("askGuards()", () => {
  test("askGuards() stores nothing of a client that never failed", () => {
    const guards = new Stored()
    guards.ask([LOGIN], T0)
    expect([guards.writes, guards.guards]).toEqual([0, {}])
  })

  test("askGuards() stores nothing when it is read back and nothing but time has passed, in whatever order members are", () => {
    const guards = new Stored()
    const never = { ...CONFIG, guardResetTimeoutMs: null }
    guards.serve({ name: "login", config: never }, "failure", T0)
    const { writes } = guards
    const { backoff, maxFailures, ...others } = never
    guards.ask([{ name: "login", config: { ...others, maxFailures, backoff } }], T0 + 1_000)
    expect(guards.writes).toBe(writes)
  })

  test("askGuards() stores a changed configuration, which an alarm needs", () => {
    const guards = new Stored()
    guards.serve(LOGIN, "failure", T0)
    guards.ask([{ name: "login", config: { ...CONFIG, maxFailures: 9 } }], T0)
    expect(guards.guards["login"]?.config.maxFailures).toBe(9)
  })

  test("askGuards() does not forget the first failure of a client for having remembered no request", () => {
    const guards = new Stored()
    const served = [0, 1, 2, 3].map((second) => guards.serve(LOGIN, "failure", T0 + second * 1_000))
    expect(served).toEqual([true, true, true, false])
  })

  test("askGuards() does not forget a failure for the last request that it stored being long ago", () => {
    const guards = new Stored()
    guards.serve(LOGIN, "failure", T0)
    guards.serve(LOGIN, "success", T0)
    const laterMs = T0 + 5 * HOUR_MS
    const served = [0, 1, 2, 3].map((second) => guards.serve(LOGIN, "failure", laterMs + second * 1_000))
    expect(served).toEqual([true, true, true, false])
  })

  test("askGuards() forgets failures at the idle timeout, to the ms, counted from the last request", () => {
    const failuresAfter = (idleMs: number) => {
      const guards = new Stored()
      guards.serve(LOGIN, "failure", T0)
      guards.ask([LOGIN], T0 + 1_000)
      return guards.ask([LOGIN], T0 + 1_000 + idleMs).standings[0]?.failures
    }
    expect([failuresAfter(HOUR_MS - 1), failuresAfter(HOUR_MS)]).toEqual([1, 0])
  })

  test("askGuards() takes a place of every guard or of none", () => {
    const guards = new Stored()
    const first = guards.ask([PIN, TOKEN], T0)
    const second = guards.ask([PIN, TOKEN], T0)
    expect([first.block, second.block]).toEqual([
      undefined,
      { guard: "token", reason: "inflight", retryAfterMs: null, cacheForMs: 0 },
    ])
    expect(guards.guards["pin"]?.state.pending.map(({ id }) => id)).toEqual([first.id])
  })

  test("askGuards() names the guard with the longest block, before one that only has no place", () => {
    const guards = new Stored()
    for (let i = 0; i < 3; i++) guards.serve(LOGIN, "failure", T0)
    guards.ask([TOKEN], T0)
    expect(guards.ask([TOKEN, LOGIN], T0 + 1_000).block).toEqual({
      guard: "login",
      reason: "open",
      retryAfterMs: 9_000,
      cacheForMs: 5_000,
    })
  })

  test("askGuards() answers a repeated request as the first and takes no second place", () => {
    const guards = new Stored()
    const first = guards.ask([PIN], T0)
    const again = guards.ask([PIN], T0 + 10, first.id)
    expect([again.standings, guards.guards["pin"]?.state.pending.length]).toEqual([first.standings, 1])
  })

  test("askGuards() reports the end of a block once", () => {
    const guards = new Stored()
    for (let i = 0; i < 3; i++) guards.serve(LOGIN, "failure", T0)
    const ends = [guards.ask([LOGIN], T0 + 10_000), guards.ask([LOGIN], T0 + 10_001)]
    expect(ends.map(({ events }) => events.map(({ event }) => event.kind))).toEqual([["closed"], []])
  })

  test.each(["constructor", "__proto__", "hasOwnProperty"])(
    "askGuards() keeps a guard called %s like any other",
    (name) => {
      const guards = new Stored()
      const demand = { ...LOGIN, name }
      const served = [0, 1, 2, 3].map(() => guards.serve(demand, "failure", T0))
      expect([served, Object.keys(guards.guards)]).toEqual([[true, true, true, false], [name]])
    },
  )

  test("askGuards() keeps guards apart", () => {
    const guards = new Stored()
    for (let i = 0; i < 3; i++) guards.serve(LOGIN, "failure", T0)
    expect(guards.ask([PIN], T0).block).toBeUndefined()
  })

  test("askGuards() counts a lost guard as opened at the loss, for the first back-off and not 1 ms longer", () => {
    const blockAt = (nowMs: number) => askGuards({}, [LOGIN], "request", nowMs, T0).block?.retryAfterMs
    expect([blockAt(T0), blockAt(T0 + 9_999), blockAt(T0 + 10_000)]).toEqual([10_000, 1, undefined])
  })

  test("askGuards() reports no end of a block that nobody has seen", () => {
    const { events, refused } = askGuards({}, [LOGIN], "request", T0 + 10_000, T0)
    expect([events, refused]).toEqual([[], {}])
  })

  test("askGuards() ends the block of a lost guard that was stored at the same ms", () => {
    const { refused } = askGuards({}, [LOGIN], "request", T0 + 500, T0)
    const blockAt = (nowMs: number) => askGuards(refused, [LOGIN], "next", nowMs, T0).block?.retryAfterMs
    expect([blockAt(T0 + 9_999), blockAt(T0 + 10_000)]).toEqual([1, undefined])
  })
})

describe("recordOutcomes()", () => {
  const admission = { epoch: 0, admittedAtMs: T0 - 10 }

  test.each<OutcomeResult>(["success", "neutral", "failure", "error"])(
    "recordOutcomes() does not close a lost guard by a %s of a request from before",
    (result) => {
      const { guards } = recordOutcomes({}, [{ ...LOGIN, admission }], { id: "before", result }, T0 + 1, 0, T0)
      expect(askGuards(guards, [LOGIN], "request", T0 + 2, T0).block?.retryAfterMs).toBe(9_998)
    },
  )

  test("recordOutcomes() counts an outcome that is told twice once", () => {
    const guards = new Stored()
    const { id, standings } = guards.ask([LOGIN], T0)
    for (let i = 0; i < 5; i++) guards.record(LOGIN, id, standings[0] ?? admission, "failure", T0 + i)
    expect(guards.guards["login"]?.state.failures).toEqual([T0])
  })

  test("recordOutcomes() counts for every guard of the request, and opens each by its own rule", () => {
    const outcomes = [LOGIN, { ...LOGIN, name: "strict", config: { ...CONFIG, maxFailures: 1 } }]
    const told = outcomes.map((guard) => ({ ...guard, admission: { epoch: 0, admittedAtMs: T0 } }))
    const { guards, isOpen, events } = recordOutcomes({}, told, { id: "a", result: "failure" }, T0, 0, undefined)
    expect([guards["login"]?.state.failures.length, isOpen, events.map(({ guard }) => guard)]).toEqual([
      1,
      true,
      ["strict"],
    ])
  })

  test("recordOutcomes() stores nothing for an outcome that does not count", () => {
    const guards = new Stored()
    for (let i = 0; i < 3; i++) guards.serve(LOGIN, "failure", T0)
    const { writes } = guards
    guards.record(LOGIN, "stale", { epoch: 0, admittedAtMs: T0 }, "success", T0 + 5)
    expect(guards.writes).toBe(writes)
  })

  test("recordOutcomes() keeps an outcome readable whose isolate is ahead of the object", () => {
    const guards = new Stored()
    guards.record(LOGIN, "ahead", { epoch: 0, admittedAtMs: T0 + 50_000 }, "failure", T0)
    expect(guards.ask([LOGIN], T0).standings[0]?.failures).toBe(1)
  })

  test("recordOutcomes() remembers a bounded number of outcomes", () => {
    const many = { ...LOGIN, config: { ...CONFIG, maxFailures: 1_000 } }
    let guards: Guards = {}
    for (let i = 0; i < GUARD_OUTCOMES_MAX + 5; i++) {
      const told = [{ ...many, admission: { epoch: 0, admittedAtMs: T0 } }]
      ;({ guards } = recordOutcomes(guards, told, { id: `${i}`, result: "neutral" }, T0, 0, undefined))
    }
    expect(guards["login"]?.state.recorded.length).toBe(GUARD_OUTCOMES_MAX)
  })
})

describe("administerGuard()", () => {
  test("administerGuard() opens a guard that was never asked", () => {
    const { guards } = administerGuard({}, LOGIN, { action: "block", durationMs: 500 }, T0, undefined)
    expect(askGuards(guards, [LOGIN], "request", T0, undefined).block?.retryAfterMs).toBe(500)
  })

  test("administerGuard() closes a lost guard for good", () => {
    const { guards } = administerGuard({}, LOGIN, { action: "unblock" }, T0, T0)
    expect(askGuards(guards, [LOGIN], "request", T0, T0).block).toBeUndefined()
  })

  test("administerGuard() does not shorten the block of a lost guard", () => {
    const { guards } = administerGuard({}, LOGIN, { action: "block", durationMs: 1 }, T0, T0)
    expect(askGuards(guards, [LOGIN], "request", T0, T0).block?.retryAfterMs).toBe(10_000)
  })

  test("administerGuard() changes nothing for a time out of range", () => {
    const step = administerGuard({}, LOGIN, { action: "block", durationMs: 0 }, T0, undefined)
    expect(step).toEqual({ guards: {}, events: [], isApplied: false })
  })
})

describe("a block that an impossible action finds over", () => {
  test("administerGuard() reports it once", () => {
    const guards = new Stored()
    for (let i = 0; i < 3; i++) guards.serve(LOGIN, "failure", T0)
    const action = { action: "block", durationMs: 0 } as const
    const first = administerGuard(guards.guards, LOGIN, action, T0 + 10_000, undefined)
    const second = administerGuard(first.guards, LOGIN, action, T0 + 10_001, undefined)
    expect([first.events.length, second.events.length, first.isApplied]).toEqual([1, 0, false])
  })
})

describe("settleGuards()", () => {
  test("settleGuards() ends a block that nobody asks about, once", () => {
    const guards = new Stored()
    for (let i = 0; i < 3; i++) guards.serve(LOGIN, "failure", T0)
    const first = settleGuards(guards.guards, T0 + 10_000)
    const second = settleGuards(first.guards, T0 + 10_001)
    expect([first.events.length, second.events.length, second.guards === first.guards]).toEqual([1, 0, true])
  })
})

interface Step {
  readonly kind: "request" | "outcome" | "admin"
  readonly gapMs: number
  readonly pick: number
  readonly result: OutcomeResult
  readonly isLimited: boolean
}
const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.record({
    kind: fc.oneof(
      { weight: 8, arbitrary: fc.constantFrom("request" as const, "outcome" as const) },
      { weight: 1, arbitrary: fc.constant("admin" as const) },
    ),
    gapMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 4 }), fc.integer({ min: 0, max: 40 })),
    pick: fc.integer({ min: 0, max: 8 }),
    result: fc.constantFrom("failure", "failure", "error", "success", "neutral"),
    isLimited: fc.boolean(),
  }),
  { minLength: 5, maxLength: 80 },
)
const configs: fc.Arbitrary<GuardConfig> = fc.record({
  maxFailures: fc.integer({ min: 1, max: 4 }),
  failureDurationMs: fc.integer({ min: 1, max: 60 }),
  backoff: fc.oneof(
    fc.record({ kind: fc.constant("lineal" as const), durationMs: fc.integer({ min: 1, max: 12 }) }),
    fc.constant({
      kind: "exponential" as const,
      minBackoffMs: 4,
      maxBackoffMs: 30,
      randomFactor: 0.5,
      resetBackoffMs: 20,
    }),
  ),
  guardResetTimeoutMs: fc.constant(null),
  inFlight: fc.constantFrom("optimistic", "reserve"),
  pendingTtlMs: fc.integer({ min: 5, max: 60 }),
  successPolicy: fc.constantFrom("reset", "ignore"),
})

/** What was admitted, by guards that are read back at every step and by guards of which every state is kept. */
function compare(config: GuardConfig, history: readonly Step[], isSequential: boolean) {
  const demand = { name: "login", config }
  const stored = new Stored()
  let kept: GuardState | undefined
  let nowMs = T0
  const open: { readonly id: string; readonly admission: GuardStanding }[] = []
  const answers: [unknown, unknown][] = []
  const record = (pick: number, result: OutcomeResult) => {
    const told = open[pick % Math.max(1, open.length)]
    if (told === undefined) return
    stored.record(demand, told.id, told.admission, result, nowMs)
    kept = recordOutcome(kept, config, { ...told, result }, nowMs, 0).state
  }
  for (const { kind, gapMs, pick, result } of history) {
    nowMs += gapMs
    if (kind === "request" || (isSequential && kind === "outcome")) {
      const asked = stored.ask([demand], nowMs)
      const { state, decision } = requestAdmission(kept, config, { id: asked.id }, nowMs)
      kept = state
      answers.push([
        { block: asked.block?.retryAfterMs, standing: asked.standings[0] },
        {
          block: decision.admitted ? undefined : decision.retryAfterMs,
          standing: decision.admitted
            ? { name: "login", failures: decision.failures, ...decision.admission }
            : undefined,
        },
      ])
      const [admission] = asked.standings
      if (admission !== undefined) open.push({ id: asked.id, admission })
      if (isSequential && admission !== undefined) record(open.length - 1, result)
    } else if (kind === "outcome") record(pick, result)
  }
  return answers
}

test("guards that are stored only when it matters decide like guards of which every state is kept", () => {
  fc.assert(
    fc.property(configs, steps, (config, history) => {
      for (const [stored, kept] of compare(config, history, false)) expect(stored).toEqual(kept)
    }),
    { seed: 41, numRuns: 500 },
  )
})

test("guards with an idle timeout do so too, when requests come one after the other", () => {
  fc.assert(
    fc.property(configs, fc.integer({ min: 1, max: 50 }), steps, (config, timeoutMs, history) => {
      const answers = compare({ ...config, guardResetTimeoutMs: timeoutMs }, history, true)
      for (const [stored, kept] of answers) expect(stored).toEqual(kept)
    }),
    { seed: 42, numRuns: 500 },
  )
})

test("guards that reserve see no more failures in any window than are tolerated, also when limits refuse, and leak no place", () => {
  let guesses = 0
  fc.assert(
    fc.property(configs, steps, (config, history) => {
      const { backoff } = config
      const blockMs = backoff.kind === "lineal" ? backoff.durationMs : backoff.minBackoffMs
      // An opening begins anew, so a window is bounded when it cannot reach over a block.
      const failureDurationMs = Math.min(config.failureDurationMs, blockMs)
      const modes = { inFlight: "reserve", successPolicy: "ignore" } as const
      const reserving = { ...config, ...modes, failureDurationMs }
      const demand = { name: "login", config: reserving }
      const stored = new Stored()
      const open = new Map<string, { readonly admission: GuardStanding; readonly untilMs: number }>()
      const failures: number[] = []
      let nowMs = T0
      let epochs = 0
      for (const { kind, gapMs, pick, result, isLimited } of history) {
        nowMs += gapMs
        for (const [id, { untilMs }] of open) if (untilMs <= nowMs) open.delete(id)
        if (kind === "request") {
          const before = stored.text
          const { id, standings } = stored.ask([demand], nowMs)
          const [admission] = standings
          if (admission === undefined) continue
          if (isLimited) {
            // The same step, with a limit that refuses behind the guard.
            stored.text = before
            const { guards } = stored
            const asked = askGuards(guards, [demand], id, nowMs, undefined)
            stored.text = JSON.stringify({ ...EMPTY_GATE_STATE, guards: asked.refused })
          } else {
            if (admission.epoch !== epochs) open.clear()
            epochs = admission.epoch
            open.set(id, { admission, untilMs: nowMs + config.pendingTtlMs })
          }
          const { pending } = stored.guards["login"]?.state ?? { pending: [] }
          expect(pending.map((place) => place.id).toSorted()).toEqual([...open.keys()].toSorted())
        } else if (kind === "outcome") {
          const told = [...open][pick % Math.max(1, open.size)]
          if (told === undefined) continue
          const before = stored.guards["login"]?.state
          const counted = before?.failures.length ?? 0
          stored.record(demand, told[0], told[1].admission, result, nowMs)
          const after = stored.guards["login"]?.state
          open.delete(told[0])
          if ((after?.failures.length ?? 0) > counted || after?.openedTotal !== before?.openedTotal)
            failures.push(nowMs)
          if (after?.epoch !== before?.epoch) open.clear()
        }
      }
      guesses += failures.length
      for (const fromMs of failures) {
        const inWindow = failures.filter((atMs) => atMs >= fromMs && atMs - fromMs < failureDurationMs)
        expect(inWindow.length).toBeLessThanOrEqual(config.maxFailures)
      }
    }),
    { seed: 43, numRuns: 500 },
  )
  expect(guesses).toBeGreaterThan(200)
})

/**
 * Goal: what the guard promises for any history. Method: random histories whose times are so short that every boundary
 * is hit, played against a plain model that keeps everything and forgets nothing, and against each promise by itself.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { parseGuardConfig } from "../../src/core/guard/guard-config.ts"
import type { GuardConfig } from "../../src/core/guard/guard-config.ts"
import { parseGuardState } from "../../src/core/guard/guard-state.ts"
import type { GuardEvent, GuardState } from "../../src/core/guard/guard-state.ts"
import { administer, needsOutcome, observe, recordOutcome, requestAdmission } from "../../src/core/guard/guard.ts"
import type { AdminAction, Admission } from "../../src/core/guard/guard.ts"
import type { OutcomeResult } from "../../src/core/guard/outcome.ts"

const START_MS = 1_790_000_000_000

const shortMs = fc.integer({ min: 1, max: 12 })
const configs: fc.Arbitrary<GuardConfig> = fc.record({
  maxFailures: fc.integer({ min: 1, max: 4 }),
  failureDurationMs: shortMs,
  backoff: fc.oneof(
    fc.record({ kind: fc.constant("lineal" as const), durationMs: shortMs }),
    fc
      .record({
        kind: fc.constant("exponential" as const),
        minBackoffMs: shortMs,
        maxBackoffMs: fc.integer({ min: 0, max: 40 }),
        randomFactor: fc.constantFrom(0, 0.2, 1),
        resetBackoffMs: fc.option(fc.integer({ min: 0, max: 12 })),
      })
      .map((backoff) => ({ ...backoff, maxBackoffMs: backoff.minBackoffMs + backoff.maxBackoffMs })),
  ),
  guardResetTimeoutMs: fc.option(shortMs),
  inFlight: fc.constantFrom("optimistic", "reserve"),
  pendingTtlMs: shortMs,
  successPolicy: fc.constantFrom("reset", "ignore"),
})

interface Operation {
  readonly do: "request" | "outcome" | "admin" | "observe"
  readonly gapMs: number
  /** Which of the requests so far an outcome is of, counted from the last. */
  readonly pick: number
  readonly result: OutcomeResult
  readonly random: number
  readonly action: AdminAction
}
const operation: fc.Arbitrary<Operation> = fc.record({
  do: fc.oneof(
    { weight: 5, arbitrary: fc.constant("request" as const) },
    { weight: 6, arbitrary: fc.constant("outcome" as const) },
    { weight: 1, arbitrary: fc.constantFrom("admin" as const, "observe" as const) },
  ),
  gapMs: fc.oneof(
    { weight: 3, arbitrary: fc.constant(0) },
    { weight: 6, arbitrary: fc.integer({ min: 0, max: 4 }) },
    { weight: 2, arbitrary: fc.integer({ min: -5, max: 30 }) },
  ),
  pick: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.integer({ min: 0, max: 6 })),
  result: fc.constantFrom("failure", "failure", "error", "success", "neutral"),
  random: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
  action: fc.oneof(
    fc.constantFrom({ action: "reset" as const }, { action: "unblock" as const }),
    fc.integer({ min: 1, max: 20 }).map((durationMs) => ({ action: "block" as const, durationMs })),
  ),
})
const histories = fc.array(operation, { minLength: 1, maxLength: 80 })

interface Answer {
  readonly decision: object
  readonly events: readonly GuardEvent[]
}

/** The guard under test, driven by operations. Every request has an id of its own. */
class Driver {
  state: GuardState | undefined
  readonly requests: { readonly id: string; readonly admission: Admission | undefined }[] = []
  last: { readonly id: string; readonly result: OutcomeResult; readonly admission?: Admission } | undefined

  readonly config: GuardConfig

  constructor(config: GuardConfig) {
    this.config = config
  }

  apply(step: Operation, nowMs: number): Answer {
    const { state, ...answer } = this.#answer(step, nowMs)
    this.state = state
    return answer
  }

  #answer(step: Operation, nowMs: number): Answer & { readonly state: GuardState } {
    switch (step.do) {
      case "request": {
        const id = `r${this.requests.length}`
        const answer = requestAdmission(this.state, this.config, { id }, nowMs)
        this.requests.push({ id, admission: answer.decision.admitted ? answer.decision.admission : undefined })
        return answer
      }
      case "outcome": {
        const { id, admission } = this.requests.at(-1 - step.pick) ?? { id: "ghost", admission: undefined }
        this.last = { id, result: step.result, ...(admission === undefined ? {} : { admission }) }
        return recordOutcome(this.state, this.config, this.last, nowMs, step.random)
      }
      case "admin":
        return administer(this.state, this.config, step.action, nowMs)
      case "observe":
        return observe(this.state, this.config, nowMs)
    }
  }
}

/** The rules as they are written, on plain mutable data: every admission is kept, and its mark says what became of it. */
class Model {
  failures: number[] = []
  attempt = 0
  openUntil = Number.NEGATIVE_INFINITY
  isOpen = false
  lastClosed: number | undefined
  epoch = 0
  lastRequest = Number.NEGATIVE_INFINITY
  t = Number.NEGATIVE_INFINITY
  openedTotal = 0
  events: GuardEvent[] = []
  readonly admissions = new Map<string, { readonly at: number; readonly epoch: number; done: boolean }>()
  #requests: string[] = []

  readonly config: GuardConfig

  constructor(config: GuardConfig) {
    this.config = config
  }

  apply(step: Operation, nowMs: number): Answer {
    this.events = []
    this.#settle(nowMs)
    const decision = this.#event(step)
    const retryAfterMs = this.isOpen ? this.openUntil - this.t : null
    const nextWakeMs = this.isOpen ? this.openUntil : null
    const { failures, attempt, openedTotal, epoch, isOpen } = this
    return {
      decision: {
        isOpen,
        failures: failures.length,
        attempt,
        openedTotal,
        epoch,
        retryAfterMs,
        nextWakeMs,
        ...decision,
      },
      events: this.events,
    }
  }

  #settle(nowMs: number): void {
    const { config } = this
    this.t = Math.max(this.t, nowMs)
    if (this.isOpen && this.openUntil <= this.t) this.#close(this.openUntil, "elapsed")
    this.failures = this.failures.filter((f) => this.t < f + config.failureDurationMs)
    if (this.isOpen) return
    const quietSince = Math.max(this.lastRequest, this.lastClosed ?? Number.NEGATIVE_INFINITY)
    if (config.guardResetTimeoutMs !== null && this.t >= quietSince + config.guardResetTimeoutMs) {
      this.failures = []
      this.attempt = 0
    }
    if (config.backoff.kind === "lineal") return
    const { resetBackoffMs } = config.backoff
    if (resetBackoffMs !== null && this.lastClosed !== undefined && this.t >= this.lastClosed + resetBackoffMs) {
      this.attempt = 0
    }
  }

  #event(step: Operation): object {
    const { config } = this
    if (step.do === "request") {
      const id = `r${this.#requests.length}`
      this.#requests.push(id)
      this.lastRequest = this.t
      if (this.isOpen) return { admitted: false, reason: "open" }
      const waiting = [...this.admissions.values()].filter(
        ({ at, epoch, done }) => !done && epoch === this.epoch && this.t < at + config.pendingTtlMs,
      )
      const isFull = this.failures.length + waiting.length >= config.maxFailures
      if (config.inFlight === "reserve" && isFull) return { admitted: false, reason: "inflight" }
      this.admissions.set(id, { at: this.t, epoch: this.epoch, done: false })
      return { admitted: true, admission: { epoch: this.epoch, admittedAtMs: this.t } }
    }
    if (step.do === "outcome") {
      const admission = this.admissions.get(this.#requests.at(-1 - step.pick) ?? "ghost")
      if (admission === undefined || admission.done || admission.epoch !== this.epoch) return { isRecorded: false }
      if (this.t >= admission.at + config.pendingTtlMs) return { isRecorded: false }
      admission.done = true
      if (step.result === "failure" || step.result === "error") this.#fail(step.random)
      if (step.result === "success" && config.successPolicy === "reset") {
        this.failures = this.failures.filter((f) => f > admission.at)
      }
      return { isRecorded: true }
    }
    if (step.do === "admin") this.#administer(step.action)
    return {}
  }

  #fail(random: number): void {
    const { backoff, maxFailures } = this.config
    this.failures.push(this.t)
    if (this.failures.length < maxFailures) return
    this.attempt += 1
    this.openedTotal += 1
    let block = backoff.kind === "lineal" ? backoff.durationMs : backoff.minBackoffMs
    if (backoff.kind === "exponential") {
      for (let i = 1; i < this.attempt; i++) block = Math.min(backoff.maxBackoffMs, block * 2)
      block = Math.min(backoff.maxBackoffMs, Math.round(block * (1 + random * backoff.randomFactor)))
    }
    this.#open(this.t + block, "failures")
    this.#startEpoch()
  }

  #administer(action: AdminAction): void {
    if (action.action === "block") {
      const until = Math.max(this.openUntil, this.t + action.durationMs)
      if (this.isOpen) this.openUntil = until
      else this.#open(until, "admin")
    } else if (this.isOpen) this.#close(this.t, action.action)
    if (action.action === "reset") {
      this.attempt = 0
      this.lastClosed = undefined
    }
    this.#startEpoch()
  }

  #open(until: number, reason: "failures" | "admin"): void {
    this.isOpen = true
    this.openUntil = until
    this.events.push({ kind: "opened", atMs: this.t, untilMs: until, attempt: this.attempt, reason })
  }

  #close(atMs: number, reason: "elapsed" | "unblock" | "reset"): void {
    this.events.push({ kind: "closed", atMs, untilMs: this.openUntil, attempt: this.attempt, reason })
    this.isOpen = false
    this.openUntil = Number.NEGATIVE_INFINITY
    this.lastClosed = atMs
    if (this.config.backoff.kind === "lineal") this.attempt = 0
  }

  #startEpoch(): void {
    this.epoch += 1
    this.failures = []
  }
}

/** Plays a history, calling back after each step with the time and the state before and after. */
function play(
  config: GuardConfig,
  history: readonly Operation[],
  check: (step: {
    readonly driver: Driver
    readonly operation: Operation
    readonly nowMs: number
    readonly before: GuardState | undefined
    readonly after: GuardState
    readonly answer: Answer
  }) => void,
): void {
  const driver = new Driver(config)
  let nowMs = START_MS
  for (const step of history) {
    nowMs += step.gapMs
    const before = driver.state
    const answer = driver.apply(step, nowMs)
    if (driver.state === undefined) throw new Error("No state after a step")
    check({ driver, operation: step, nowMs, before, after: driver.state, answer })
  }
}

describe("guard", () => {
  test("guard answers as a plain model of its rules does, and reports the same events", () => {
    fc.assert(
      fc.property(configs, histories, (config, history) => {
        const model = new Model(config)
        play(config, history, ({ operation: step, nowMs, answer: { decision, events } }) => {
          expect({ decision, events }).toEqual(model.apply(step, nowMs))
        })
      }),
      { seed: 501, numRuns: 3000 },
    )
  })

  test("guard does not notice a restart at any step", () => {
    fc.assert(
      fc.property(configs, histories, (config, history) => {
        const restarted = new Driver(config)
        play(config, history, ({ operation: step, nowMs, after, answer: { decision, events } }) => {
          const again = restarted.apply(step, nowMs)
          expect({ decision: again.decision, events: again.events }).toEqual({ decision, events })
          restarted.state = parseGuardState(JSON.parse(JSON.stringify(restarted.state)))
          expect(restarted.state).toEqual(after)
        })
      }),
      { seed: 502, numRuns: 500 },
    )
  })

  test("guard moves the end of a block only by time and by an administrator", () => {
    fc.assert(
      fc.property(configs, histories, (config, history) => {
        play(config, history, ({ operation: step, nowMs, before, after }) => {
          if (before === undefined || before.openUntilMs === null || step.do === "admin") return
          const isRunning = before.openUntilMs > Math.max(nowMs, before.lastSeenMs)
          if (isRunning) expect(after.openUntilMs).toBe(before.openUntilMs)
          // A block that has ended is never followed at once by another, whatever is reported.
          else expect(after.openUntilMs).toBeNull()
        })
      }),
      { seed: 503, numRuns: 500 },
    )
  })

  test("guard blocks at least for the shortest and at most for the longest time, to the ms that it names", () => {
    fc.assert(
      fc.property(configs, histories, (config, history) => {
        const { backoff } = config
        const shortestMs = backoff.kind === "lineal" ? backoff.durationMs : backoff.minBackoffMs
        const longestMs = backoff.kind === "lineal" ? backoff.durationMs : backoff.maxBackoffMs
        play(config, history, ({ after, answer: { events } }) => {
          const opened = events.find(({ kind, reason }) => kind === "opened" && reason === "failures")
          if (opened === undefined) return
          const block = opened.untilMs - opened.atMs
          expect(block).toBeGreaterThanOrEqual(shortestMs)
          expect(block).toBeLessThanOrEqual(longestMs)
          const isAdmittedAt = (atMs: number) => requestAdmission(after, config, { id: "x" }, atMs).decision.admitted
          expect(isAdmittedAt(opened.untilMs - 1)).toBe(false)
          expect(isAdmittedAt(opened.untilMs)).toBe(true)
        })
      }),
      { seed: 504, numRuns: 500 },
    )
  })

  test("guard reports openings and ends of blocks in turn", () => {
    fc.assert(
      fc.property(configs, histories, (config, history) => {
        let isOpen = false
        play(config, history, ({ answer: { events }, after }) => {
          for (const { kind } of events) {
            expect(kind).toBe(isOpen ? "closed" : "opened")
            isOpen = kind === "opened"
          }
          expect(after.openUntilMs !== null).toBe(isOpen)
        })
      }),
      { seed: 505, numRuns: 500 },
    )
  })

  test("guard in reserve mode never has more failures and requests in flight together than it tolerates", () => {
    fc.assert(
      fc.property(configs, histories, (config, history) => {
        play({ ...config, inFlight: "reserve" }, history, ({ after }) => {
          expect(after.failures.length + after.pending.length).toBeLessThanOrEqual(config.maxFailures)
        })
      }),
      { seed: 506, numRuns: 500 },
    )
  })
})

describe("recordOutcome()", () => {
  test("recordOutcome() of an outcome that does not count changes nothing that time does not", () => {
    fc.assert(
      fc.property(configs, histories, (config, history) => {
        play(config, history, ({ driver, operation: step, nowMs, before, after, answer }) => {
          if (step.do !== "outcome" || driver.last === undefined) return
          if (!("isRecorded" in answer.decision) || answer.decision.isRecorded === false) {
            expect(after).toEqual(observe(before, config, nowMs).state)
          }
          // Whatever became of it: the same again is a duplicate, and so is any other result for the same id.
          for (const result of ["failure", "success", "neutral"] as const) {
            const again = recordOutcome(after, config, { ...driver.last, result }, nowMs, 0)
            expect(again.state).toEqual(observe(after, config, nowMs).state)
            expect(again.events).toEqual([])
            expect(again.decision.isRecorded).toBe(false)
          }
        })
      }),
      { seed: 507, numRuns: 500 },
    )
  })

  test("recordOutcome() in reserve mode sees every guess, and in no window more than are tolerated", () => {
    const attackers = fc.array(
      fc.record({ gapMs: fc.integer({ min: 0, max: 3 }), latencyMs: fc.integer({ min: 0, max: 11 }) }),
      { minLength: 1, maxLength: 150 },
    )
    fc.assert(
      fc.property(configs, attackers, (base, guesses) => {
        // Blocks no shorter than the window, and nothing that forgives: then the bound holds across blocks too.
        const config: GuardConfig = {
          ...base,
          inFlight: "reserve",
          pendingTtlMs: 12,
          guardResetTimeoutMs: null,
          backoff: { kind: "lineal", durationMs: base.failureDurationMs },
        }
        let state: GuardState | undefined
        let dueMs = START_MS
        const inFlight: { readonly id: string; readonly endsMs: number }[] = []
        const failedAtMs: number[] = []
        const endUntil = (nowMs: number): void => {
          inFlight.sort((a, b) => a.endsMs - b.endsMs)
          while (inFlight[0] !== undefined && inFlight[0].endsMs <= nowMs) {
            const { id, endsMs } = inFlight.shift() as { readonly id: string; readonly endsMs: number }
            const step = recordOutcome(state, config, { id, result: "failure" }, endsMs, 0)
            state = step.state
            expect(step.decision.isRecorded).toBe(true)
            failedAtMs.push(endsMs)
          }
        }
        for (const [index, { gapMs, latencyMs }] of guesses.entries()) {
          dueMs += gapMs
          endUntil(dueMs)
          const step = requestAdmission(state, config, { id: `g${index}` }, dueMs)
          state = step.state
          if (step.decision.admitted) inFlight.push({ id: `g${index}`, endsMs: dueMs + latencyMs })
        }
        endUntil(dueMs + 12)
        for (const fromMs of failedAtMs) {
          const inWindow = failedAtMs.filter((atMs) => atMs >= fromMs && atMs < fromMs + config.failureDurationMs)
          expect(inWindow.length).toBeLessThanOrEqual(config.maxFailures)
        }
      }),
      { seed: 508, numRuns: 500 },
    )
  })

  test("recordOutcome() decides the same when the outcomes that are not needed are spared", () => {
    fc.assert(
      fc.property(configs, histories, (config, history) => {
        const sparing = new Driver(config)
        const decisions = new Map<string, { readonly failures: number }>()
        const reported = new Set<string>()
        let nowMs = START_MS
        const full = new Driver(config)
        for (const step of history) {
          // Strictly forwards: a failure of the very ms of an admission is the one exception that is documented.
          nowMs += Math.max(1, step.gapMs)
          if (step.do === "outcome") {
            const { id } = full.requests.at(-1 - step.pick) ?? { id: "ghost" }
            const admitted = decisions.get(id)
            if (admitted === undefined || reported.has(id)) continue
            reported.add(id)
            full.apply(step, nowMs)
            if (needsOutcome(config, admitted, step.result)) sparing.apply(step, nowMs)
          } else {
            const { decision } = full.apply(step, nowMs)
            expect(sparing.apply(step, nowMs).decision).toEqual(decision)
            if (step.do === "request" && "admission" in decision) {
              decisions.set(full.requests.at(-1)?.id ?? "", decision as unknown as { readonly failures: number })
            }
          }
        }
      }),
      { seed: 509, numRuns: 500 },
    )
  })
})

describe("clock", () => {
  test("guard behaves as if nothing had happened when the clock is moved back by more than 60 s", () => {
    fc.assert(
      fc.property(
        configs,
        histories,
        histories,
        fc.integer({ min: 60_001, max: 10_000_000 }),
        (base, past, future, byMs) => {
          const config: GuardConfig = { ...base, inFlight: "reserve" }
          const moved = new Driver(config)
          const steady = new Driver(config)
          let nowMs = START_MS
          for (const step of past) {
            nowMs = Math.max(nowMs, nowMs + step.gapMs)
            moved.apply(step, nowMs)
            steady.apply(step, nowMs)
          }
          for (const [index, step] of future.entries()) {
            // What passes while the clock is moved is not known and taken for nothing.
            if (index > 0) nowMs = Math.max(nowMs, nowMs + step.gapMs)
            const { decision } = moved.apply(step, nowMs - byMs)
            expect(withoutInstants(decision)).toEqual(withoutInstants(steady.apply(step, nowMs).decision))
          }
        },
      ),
      { seed: 510, numRuns: 500 },
    )
  })
})

function withoutInstants(decision: object): object {
  const { nextWakeMs: _, admission: __, ...rest } = decision as { nextWakeMs: unknown; admission?: unknown }
  return rest
}

describe("garbage", () => {
  const anyTime = fc.oneof(fc.double(), fc.integer(), fc.integer({ min: START_MS - 90_000, max: START_MS + 90_000 }))
  const anyState = fc.oneof(
    fc.constant(undefined),
    fc.anything(),
    fc.record({
      failures: fc.array(fc.integer({ min: START_MS - 20, max: START_MS }), { maxLength: 5 }),
      attempt: fc.oneof(fc.nat(), fc.constant(Number.MAX_SAFE_INTEGER)),
      openUntilMs: fc.option(fc.integer({ min: START_MS + 1, max: START_MS + 50 })),
      lastClosedMs: fc.option(fc.integer({ min: START_MS - 50, max: START_MS })),
      epoch: fc.constantFrom(0, 1, Number.MAX_SAFE_INTEGER),
      lastRequestMs: fc.option(fc.integer({ min: START_MS - 50, max: START_MS })),
      lastSeenMs: fc.constant(START_MS),
      pending: fc.array(fc.record({ id: fc.constantFrom("a", "b", "__proto__"), admittedAtMs: fc.constant(START_MS) })),
      recorded: fc.array(fc.record({ id: fc.constantFrom("c", "d"), admittedAtMs: fc.constant(START_MS - 3) })),
      openedTotal: fc.oneof(fc.nat(), fc.constant(Number.MAX_SAFE_INTEGER)),
    }),
  )

  test("guard never throws, and every state that it makes can be read back", () => {
    fc.assert(
      fc.property(
        configs,
        anyState,
        anyTime,
        fc.oneof(fc.string(), fc.constantFrom("a", "c", "__proto__"), fc.anything()),
        fc.oneof(fc.constantFrom("failure", "success"), fc.anything()),
        fc.oneof(fc.record({ epoch: fc.integer(), admittedAtMs: anyTime }), fc.anything()),
        fc.oneof(fc.double(), fc.anything()),
        fc.oneof(fc.record({ action: fc.constantFrom("block", "reset", "open"), durationMs: fc.anything() })),
        (config, stored, nowMs, id, result, admission, random, action) => {
          const state = parseGuardState(stored)
          const steps = [
            requestAdmission(state, config, { id: id as string }, nowMs),
            recordOutcome(state, config, { id, result, admission } as never, nowMs, random as number),
            administer(state, config, action as AdminAction, nowMs),
            observe(state, config, nowMs),
          ]
          for (const step of steps) {
            expect(JSON.stringify(parseGuardState(JSON.parse(JSON.stringify(step.state))))).toBe(
              JSON.stringify(step.state),
            )
          }
        },
      ),
      { seed: 511, numRuns: 2000 },
    )
  })

  test("parseGuardConfig() never throws and accepts nothing that is not complete", () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        expect(parseGuardConfig(value).ok).toBe(false)
      }),
      { seed: 512, numRuns: 500 },
    )
  })
})

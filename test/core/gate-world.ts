/**
 * One client's object, the isolates that it lends to, and a network between them that loses, doubles and delays, in virtual
 * time. The object starts from its stored text at every step, as after a restart; beside it runs a plain reference that
 * keeps everything in memory and leaves nothing out, and both have to answer alike.
 */
import { admitRequest, lendTokens, withGuards } from "../../src/core/gate/client-gate.ts"
import type { GateRequest, GateStep, LeaseGrant } from "../../src/core/gate/client-gate.ts"
import { administerGuard, recordOutcomes } from "../../src/core/gate/gate-guards.ts"
import type { GuardDemand, GuardOutcome, NamedGuardEvent } from "../../src/core/gate/gate-guards.ts"
import { restoreGateState } from "../../src/core/gate/gate-state.ts"
import type { GateState } from "../../src/core/gate/gate-state.ts"
import type { BucketState } from "../../src/core/limit/gcra.ts"
import type { GuardState } from "../../src/core/guard/guard-state.ts"
import { administer, recordOutcome, requestAdmission } from "../../src/core/guard/guard.ts"
import type { AdminAction, GuardDecision } from "../../src/core/guard/guard.ts"
import { admitDirect, grant, LEASE_TERMS_DEFAULT } from "../../src/core/lease/lease-grant.ts"
import {
  abandonCall,
  acceptAnswer,
  createHolder,
  decide,
  dropLease,
  startCall,
} from "../../src/core/lease/lease-holder.ts"
import type { HolderStep, LeaseHolder } from "../../src/core/lease/lease-holder.ts"
import { EMPTY_LEDGER, outstandingOf } from "../../src/core/lease/lease-ledger.ts"
import type { LeaseLedger } from "../../src/core/lease/lease-ledger.ts"
import { createLeasePool, storedOf } from "../../src/core/lease/lease-pool.ts"
import type { LeaseAnswer, LeaseCall } from "../../src/core/lease/lease-protocol.ts"
import type { NamedBucket } from "../../src/core/limit/limit.ts"
import type { OutcomeResult } from "../../src/core/guard/outcome.ts"

export const START_MS = 1_790_000_000_000
const CALL_TIMEOUT_MS = 2_500
/** Longest life of a lease of these worlds, whose ways are far below half of it, and the margin of the object. */
export const LEASE_OVER_MS = 1_100

/** What a request draws on. */
export interface Terms {
  readonly limits: readonly NamedBucket[]
  readonly guards: readonly GuardDemand[]
}

/** What becomes of one call. */
export interface Fate {
  readonly isCallLost: boolean
  readonly isAnswerLost: boolean
  readonly isDoubled: boolean
  readonly wayMs: number
}

/** A request that was let through. */
export interface Passed {
  readonly atMs: number
  readonly cost: number
  readonly names: readonly string[]
  /** An isolate alone, or the object. */
  readonly by: "isolate" | "object"
}

/** What both sides said to one step, to be compared. */
export interface Compared {
  readonly stored: unknown
  readonly reference: unknown
}

/** The object as it runs: nothing but a text survives a step. */
export class StoredGate {
  text: string | undefined

  state(nowMs: number): GateState {
    return restoreGateState(this.text, nowMs)
  }

  step<Answer>(nowMs: number, change: (state: GateState) => GateStep<Answer>): GateStep<Answer> {
    const before = this.state(nowMs)
    const step = change(before)
    if (step.state !== before) this.text = JSON.stringify(step.state)
    return step
  }

  record(
    id: string,
    result: OutcomeResult,
    outcomes: readonly GuardOutcome[],
    nowMs: number,
  ): readonly NamedGuardEvent[] {
    return this.step(nowMs, (state) => {
      const { guards, events } = recordOutcomes(state.guards, outcomes, { id, result }, nowMs, 0.5, state.lostAtMs)
      return { state: withGuards(state, guards), answer: null, events }
    }).events
  }

  administer(guard: GuardDemand, action: AdminAction, nowMs: number): readonly NamedGuardEvent[] {
    return this.step(nowMs, (state) => {
      const { guards, events } = administerGuard(state.guards, guard, action, nowMs, state.lostAtMs)
      return { state: withGuards(state, guards), answer: null, events }
    }).events
  }
}

/** The same, by the rules of leases and guards alone: every state is kept, in memory, whether or not it matters. */
class ReferenceGate {
  ledger: LeaseLedger = EMPTY_LEDGER
  buckets: Readonly<Record<string, BucketState>> = {}
  readonly guards = new Map<string, GuardState>()

  lend(call: LeaseCall, { limits, guards }: Terms, nowMs: number, jitter: number): LeaseAnswer | null {
    const asked = this.#ask(guards, call.boot, nowMs)
    const pool = createLeasePool({ buckets: this.buckets, quotas: {} }, limits, nowMs)
    const terms = {
      ...LEASE_TERMS_DEFAULT,
      names: limits.map(({ name }) => name),
      epoch: asked.reduce((sum, decision) => sum + (decision.admitted ? decision.epoch : 0), 0),
      failures: Math.max(0, ...asked.map((decision) => (decision.admitted ? decision.failures : 0))),
      blockedForMs: Math.max(0, ...asked.map(({ retryAfterMs }) => retryAfterMs ?? 0)),
      jitter,
    }
    const step = grant(this.ledger, pool, call, terms, nowMs)
    this.ledger = step.ledger
    if (step.answer !== null) this.buckets = storedOf({ buckets: this.buckets, quotas: {} }, step.pool).buckets
    return step.answer
  }

  admit(id: string, cost: number, { limits, guards }: Terms, nowMs: number) {
    const blocks = this.#ask(guards, id, nowMs).filter(({ admitted }) => !admitted)
    if (blocks.length > 0) {
      return { admitted: false, blockedMs: Math.max(...blocks.map(({ retryAfterMs }) => retryAfterMs ?? 0)) }
    }
    const pool = createLeasePool({ buckets: this.buckets, quotas: {} }, limits, nowMs)
    const names = limits.map(({ name }) => name)
    const step = admitDirect(this.ledger, pool, names, cost, nowMs)
    this.ledger = step.ledger
    this.buckets = storedOf({ buckets: this.buckets, quotas: {} }, step.pool).buckets
    if (step.isAdmitted) return { admitted: true }
    return { admitted: false, violated: step.violated, retryAfterMs: step.retryAfterMs }
  }

  record(id: string, result: OutcomeResult, outcomes: readonly GuardOutcome[], nowMs: number): void {
    for (const { name, config, admission } of outcomes) {
      this.guards.set(name, recordOutcome(this.guards.get(name), config, { id, result, admission }, nowMs, 0.5).state)
    }
  }

  administer({ name, config }: GuardDemand, action: AdminAction, nowMs: number): void {
    this.guards.set(name, administer(this.guards.get(name), config, action, nowMs).state)
  }

  #ask(guards: readonly GuardDemand[], id: string, nowMs: number): readonly GuardDecision[] {
    return guards.map(({ name, config }) => {
      const { state, decision } = requestAdmission(this.guards.get(name), config, { id }, nowMs)
      this.guards.set(name, state)
      return decision
    })
  }
}

interface Isolate {
  holder: LeaseHolder
  grant: LeaseGrant | undefined
  readonly costs: Map<number, number>
}

/** A world that a history drives. */
export class World {
  readonly object = new StoredGate()
  readonly passed: Passed[] = []
  readonly compared: Compared[] = []
  /** Level and lent tokens beyond the burst, after any step of the object. */
  overdrawn: { readonly name: string; readonly atMs: number; readonly tokens: number }[] = []
  /** What was lent when a guard opened, and what isolates let through until it was closed again. */
  readonly openings: { readonly lent: number; passed: number; untilMs: number }[] = []
  /** Calls that got tokens while a guard was open. */
  lentWhileOpen = 0
  terms: Terms
  nowMs = START_MS
  fate: Fate = { isCallLost: false, isAnswerLost: false, isDoubled: false, wayMs: 5 }
  readonly #reference = new ReferenceGate()
  readonly #isolates: Isolate[]
  #due: { readonly atMs: number; readonly run: () => void }[] = []
  #ids = 0
  #boots = 0

  constructor(terms: Terms, isolates: number) {
    this.terms = terms
    this.#isolates = Array.from({ length: isolates }, () => this.#start())
  }

  /** Lets time pass, and everything happen that is due. */
  advance(byMs: number): void {
    const untilMs = this.nowMs + byMs
    for (;;) {
      const next = this.#due.filter(({ atMs }) => atMs <= untilMs).toSorted((a, b) => a.atMs - b.atMs)[0]
      if (next === undefined) break
      this.#due = this.#due.filter((other) => other !== next)
      this.nowMs = Math.max(this.nowMs, next.atMs)
      next.run()
    }
    this.nowMs = untilMs
  }

  /** A request at an isolate; with `isFailing` its outcome is a failure. */
  request(index: number, cost: number, isFailing: boolean): void {
    const isolate = this.#isolateAt(index)
    const id = ++this.#ids
    const { holder, decision } = decide(isolate.holder, { id, cost, nowMs: this.nowMs })
    isolate.holder = holder
    if (decision.kind === "admit") {
      this.#pass(cost)
      if (isFailing) this.#fail(isolate)
      if (decision.renew) this.#call(isolate)
    } else if (decision.kind === "ask" || decision.kind === "wait") {
      isolate.costs.set(id, cost)
      if (decision.kind === "ask") this.#call(isolate)
    }
  }

  /** A request that the object decides. */
  admit(cost: number, isFailing: boolean, terms: Terms = this.terms): void {
    const id = `direct-${++this.#ids}`
    const request: GateRequest = { ...terms, cost, admissionId: id }
    const step = this.#step((state) => admitRequest(state, request, this.nowMs))
    const { admission, block, standings } = step.answer
    const reference = this.#reference.admit(id, cost, terms, this.nowMs)
    this.compared.push({
      stored:
        block !== null
          ? { admitted: false, blockedMs: block.retryAfterMs ?? 0 }
          : admission.admitted
            ? { admitted: true }
            : { admitted: false, violated: admission.violated, retryAfterMs: admission.retryAfterMs },
      reference,
    })
    if (block !== null || !admission.admitted) return
    const names = terms.limits.map(({ name }) => name)
    this.passed.push({ atMs: this.nowMs, cost, names, by: "object" })
    if (isFailing) this.#record(id, standings, terms)
  }

  administer(action: AdminAction): void {
    const [guard] = this.terms.guards
    if (guard === undefined) return
    this.#notice(this.object.administer(guard, action, this.nowMs))
    this.#reference.administer(guard, action, this.nowMs)
    if (action.action !== "block")
      for (const opening of this.openings) opening.untilMs = Math.min(opening.untilMs, this.nowMs)
  }

  restartIsolate(index: number): void {
    this.#isolates[index % this.#isolates.length] = this.#start()
  }

  #start(): Isolate {
    return { holder: createHolder(`boot-${++this.#boots}`), grant: undefined, costs: new Map() }
  }

  #isolateAt(index: number): Isolate {
    const isolate = this.#isolates[index % this.#isolates.length]
    if (isolate === undefined) throw new Error("There is no isolate")
    return isolate
  }

  #pass(cost: number): void {
    const names = this.terms.limits.map(({ name }) => name)
    this.passed.push({ atMs: this.nowMs, cost, names, by: "isolate" })
    for (const opening of this.openings) if (this.nowMs < opening.untilMs) opening.passed += cost
  }

  #fail(isolate: Isolate): void {
    const standings = (isolate.grant?.standings ?? []).map((standing) => ({ ...standing, admittedAtMs: this.nowMs }))
    isolate.holder = dropLease(isolate.holder)
    this.#record(`leased-${++this.#ids}`, standings, this.terms)
  }

  #record(id: string, standings: LeaseGrant["standings"], { guards }: Terms): void {
    const outcomes = standings.flatMap((admission): GuardOutcome[] => {
      const guard = guards.find(({ name }) => name === admission.name)
      return guard === undefined ? [] : [{ ...guard, admission }]
    })
    this.#notice(this.object.record(id, "failure", outcomes, this.nowMs))
    this.#reference.record(id, "failure", outcomes, this.nowMs)
  }

  #call(isolate: Isolate): void {
    const { holder, call } = startCall(isolate.holder, this.nowMs)
    isolate.holder = holder
    const { fate, terms } = this
    const deliver = (): void => {
      const answer = this.#lend(call, terms)
      if (fate.isAnswerLost) return
      this.#after(fate.wayMs, () => {
        if (answer === null) this.#settle(isolate, abandonCall(isolate.holder, call.seq))
        else {
          if (isolate.holder.call?.seq === call.seq) isolate.grant = answer
          this.#settle(isolate, acceptAnswer(isolate.holder, answer.lease, this.nowMs))
        }
      })
    }
    if (!fate.isCallLost) this.#after(fate.wayMs, deliver)
    if (fate.isDoubled) this.#after(3 * fate.wayMs + 1, deliver)
    this.#after(CALL_TIMEOUT_MS, () => this.#settle(isolate, abandonCall(isolate.holder, call.seq)))
  }

  #lend(call: LeaseCall, terms: Terms): LeaseGrant | null {
    const before = this.object.state(this.nowMs)
    const { answer, state } = this.#step((current) => lendTokens(current, call, terms, this.nowMs, 0.5))
    if (answer?.block !== null && answer !== null) {
      const isMore = terms.limits.some(
        ({ name }) => outstandingOf(state.ledger, name) > outstandingOf(before.ledger, name),
      )
      if (isMore) this.lentWhileOpen++
    }
    this.compared.push({
      stored: answer?.lease ?? null,
      reference: this.#reference.lend(call, terms, this.nowMs, 0.5),
    })
    return answer
  }

  #settle(isolate: Isolate, { holder, settled, ask }: HolderStep): void {
    isolate.holder = holder
    for (const { id, decision } of settled) {
      const cost = isolate.costs.get(id)
      isolate.costs.delete(id)
      if (cost !== undefined && decision.kind === "admit") this.#pass(cost)
    }
    if (ask) this.#call(isolate)
  }

  #after(delayMs: number, run: () => void): void {
    this.#due.push({ atMs: this.nowMs + delayMs, run })
  }

  #step<Answer>(change: (state: GateState) => GateStep<Answer>): GateStep<Answer> {
    const step = this.object.step(this.nowMs, change)
    this.#notice(step.events)
    for (const [name, { level, periodMs, burst }] of Object.entries(step.state.buckets)) {
      const tokens = level / periodMs + outstandingOf(step.state.ledger, name) - burst
      if (level < 0 || (level > 0 && tokens > 1e-9)) this.overdrawn.push({ name, atMs: this.nowMs, tokens })
    }
    return step
  }

  #notice(events: readonly NamedGuardEvent[]): void {
    const [limit] = this.terms.limits
    for (const { event } of events) {
      if (event.kind !== "opened" || limit === undefined) continue
      const lent = outstandingOf(this.object.state(this.nowMs).ledger, limit.name)
      this.openings.push({ lent, passed: 0, untilMs: event.untilMs })
    }
  }
}

/** Returns the tokens by which a bucket that starts full and refuses nothing is overdrawn: 0 when every window keeps its bound. */
export function overdraftOf(
  passed: readonly Passed[],
  { name, burst, rate }: Pick<NamedBucket, "name" | "burst" | "rate">,
): number {
  let tokens = burst
  let worst = 0
  let lastMs = START_MS
  for (const { atMs, cost, names } of passed) {
    if (!names.includes(name)) continue
    tokens = Math.min(burst, tokens + ((atMs - lastMs) * rate.count) / rate.periodMs) - cost
    lastMs = atMs
    worst = Math.max(worst, -tokens)
  }
  return worst > 1e-6 ? worst : 0
}

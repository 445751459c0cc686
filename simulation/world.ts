/**
 * One run: isolates, one object and the network between them, in virtual time. Drives the real decisions of `src/core` and
 * tells the checker everything that truly happens. The same scenario gives the same run, to the last decision.
 */
import { abandonCall, acceptAnswer, decide, dropLease, startCall } from "../src/core/lease/lease-holder.ts"
import type { HolderStep, LeaseDenial } from "../src/core/lease/lease-holder.ts"
import type { LeaseAnswer } from "../src/core/lease/lease-protocol.ts"
import { Checker, IdealLimits } from "./checker.ts"
import type { Violation } from "./checker.ts"
import { SimulatedIsolate } from "./isolate.ts"
import type { SimulatedHolder } from "./isolate.ts"
import { mutateHolder } from "./mutation.ts"
import type { Mutation } from "./mutation.ts"
import { namesOf, SimulatedObject } from "./object.ts"
import { createRandom } from "./random.ts"
import type { Random } from "./random.ts"
import type { Drawn, Scenario, SimulatedLimit, SimulatedQuota } from "./scenario.ts"
import { mustServeAll } from "./scenario.ts"
import { Schedule } from "./schedule.ts"

/** What happened in a run. Counts are of requests unless named otherwise. */
export interface RunReport {
  readonly seed: number
  readonly requests: number
  readonly admitted: number
  readonly refusedByLimit: number
  readonly refusedByBlock: number
  readonly unavailable: number
  /** Requests of which an isolate restart left nothing. */
  readonly vanished: number
  /** Calls to the object, first attempts and repetitions. */
  readonly calls: number
  /** Decided without waiting for the object. */
  readonly local: number
  /** What ideal central limits would have admitted. */
  readonly ideal: number
  /** Sum of the waits for the object, in ms. */
  readonly waitedMs: number
  readonly overdrawn: number
  /** Tokens of quotas that were used up, and those of them that nobody was admitted for. */
  readonly used: number
  readonly burned: number
  readonly violations: readonly Violation[]
  /** Depends on every decision and its time: equal runs have equal digests. */
  readonly digest: number
}

interface Pending {
  readonly holder: SimulatedHolder
  readonly limitSet: number
  readonly cost: number
  readonly startedMs: number
}

type Outcome = "admitted" | "limit" | "blocked" | "unavailable" | "vanished"

/** Runs a scenario to its end. */
export function runScenario(scenario: Scenario, mutation?: Mutation): RunReport {
  return new World(scenario, mutation).run()
}

class World {
  readonly #scenario: Scenario
  readonly #mutation: Mutation | undefined
  readonly #checker: Checker
  readonly #object: SimulatedObject
  readonly #schedule = new Schedule()
  readonly #ideal: IdealLimits
  readonly #arrivals: Random
  readonly #network: Random
  readonly #faults: Random
  readonly #isolates: SimulatedIsolate[] = []
  readonly #weights: readonly number[]
  readonly #pending = new Map<number, Pending>()
  readonly #counts = { requests: 0, calls: 0, local: 0, ideal: 0, waitedMs: 0 }
  readonly #outcomes: Record<Outcome, number> = { admitted: 0, limit: 0, blocked: 0, unavailable: 0, vanished: 0 }
  readonly #unspent = new Map<string, number>()
  #limits: readonly SimulatedLimit[]
  #quotas: readonly SimulatedQuota[]
  #nowMs = 0
  #boots = 0
  #digest = 0

  constructor(scenario: Scenario, mutation: Mutation | undefined) {
    const { seed, limits, quotas, isolates, zipf } = scenario
    this.#scenario = scenario
    this.#mutation = mutation
    this.#limits = limits
    this.#quotas = quotas
    this.#ideal = new IdealLimits(scenario)
    this.#arrivals = createRandom(seed, "arrivals")
    this.#network = createRandom(seed, "network")
    this.#faults = createRandom(seed, "faults")
    this.#checker = new Checker(scenario)
    this.#object = new SimulatedObject(scenario, this.#checker, createRandom(seed, "object"), mutation)
    for (let index = 0; index < isolates; index++) this.#isolates.push(this.#boot())
    this.#weights = cumulative(Array.from({ length: isolates }, (_, index) => (index + 1) ** -zipf))
  }

  run(): RunReport {
    this.#scheduleArrivals(0)
    this.#scheduleEvents()
    for (let entry = this.#schedule.take(); entry !== undefined; entry = this.#schedule.take()) {
      this.#nowMs = entry.atMs
      entry.action()
      this.#checkUnspent()
    }
    this.#checkEnd()
    return this.#report()
  }

  #scheduleArrivals(atMs: number): void {
    const { arrivals, durationMs, isolates } = this.#scenario
    if (atMs >= durationMs) return
    if (arrivals.kind === "hoarding") {
      for (let index = 0; index < isolates; index++) this.#schedule.at(atMs, () => this.#request(index))
      const fireMs = atMs + arrivals.pauseMs
      for (let index = 0; index < arrivals.burst; index++) {
        this.#schedule.at(fireMs, () => this.#request(this.#arrivals.integer(0, isolates - 1)))
      }
      this.#schedule.at(fireMs + 300, () => this.#scheduleArrivals(fireMs + 300))
      return
    }
    // In fractions of a millisecond: many requests of a fast client share one.
    const endMs = arrivals.kind === "on-off" ? Math.min(durationMs, atMs + arrivals.onMs) : durationMs
    let nextMs = atMs
    const arrive = () => {
      nextMs += this.#arrivals.exponential(1000 / arrivals.rate)
      if (nextMs < endMs) {
        this.#schedule.at(Math.floor(nextMs), () => {
          this.#request(this.#pickIsolate())
          arrive()
        })
      } else if (arrivals.kind === "on-off") this.#scheduleArrivals(endMs + arrivals.offMs)
    }
    arrive()
  }

  #scheduleEvents(): void {
    const { changes, quotaChanges, blocks, isolateRestarts, objectRestarts } = this.#scenario
    for (const { atMs, limits } of changes) this.#schedule.at(atMs, () => void (this.#limits = limits))
    for (const { atMs, quotas } of quotaChanges) this.#schedule.at(atMs, () => void (this.#quotas = quotas))
    for (const { atMs, untilMs } of blocks) this.#schedule.at(atMs, () => this.#object.block(this.#nowMs, untilMs))
    this.#repeat(isolateRestarts, () => this.#restartIsolate(this.#faults.integer(0, this.#isolates.length - 1)))
    this.#repeat(objectRestarts, () => this.#object.restart())
  }

  #repeat(perSecond: number, action: () => void): void {
    if (perSecond === 0) return
    for (let atMs = 0; ;) {
      atMs += 1 + Math.floor(this.#faults.exponential(1000 / perSecond))
      if (atMs >= this.#scenario.durationMs) return
      this.#schedule.at(atMs, action)
    }
  }

  #boot(): SimulatedIsolate {
    const sets = this.#scenario.routeLimits.length === 0 ? 1 : 2
    return new SimulatedIsolate(`boot${this.#boots++}`, sets, this.#scenario, this.#faults)
  }

  #restartIsolate(index: number): void {
    const isolate = this.#isolates[index]
    if (isolate === undefined) return
    for (const { holder } of isolate.holders) for (const { id } of holder.waiters) this.#settle(id, "vanished")
    this.#isolates[index] = this.#boot()
  }

  #pickIsolate(): number {
    const total = this.#weights.at(-1) ?? 1
    const mark = this.#arrivals.next() * total
    const index = this.#weights.findIndex((weight) => mark < weight)
    return Math.max(0, index)
  }

  #drawnBy(limitSet: number): Drawn {
    const limits = limitSet === 0 ? this.#limits : [...this.#limits, ...this.#scenario.routeLimits]
    return { limits, quotas: this.#quotas }
  }

  #request(index: number): void {
    const isolate = this.#isolates[index]
    const { routeLimits, routeShare, costs, direct, drops } = this.#scenario
    const limitSet = routeLimits.length > 0 && this.#arrivals.chance(routeShare) ? 1 : 0
    const simulated = isolate?.holders[limitSet]
    if (isolate === undefined || simulated === undefined) return
    const cost = costs.length === 1 ? costs[0] : this.#arrivals.pick(costs)
    const drawn = this.#drawnBy(limitSet)
    const id = ++this.#counts.requests
    if (!this.#object.isBlocked(this.#nowMs) && this.#ideal.admit(drawn, cost, this.#nowMs)) this.#counts.ideal += 1
    this.#pending.set(id, { holder: simulated, limitSet, cost, startedMs: this.#nowMs })
    if (this.#faults.chance(direct)) {
      this.#schedule.at(this.#nowMs + this.#delayMs(), () => {
        const isAdmitted = this.#object.admit(drawn, cost, this.#nowMs)
        if (isAdmitted && cost > 0) this.#checker.admitted(namesOf(drawn), cost, this.#nowMs)
        this.#settle(id, isAdmitted ? "admitted" : "limit")
      })
      return
    }
    const { holder, decision } = decide(simulated.holder, { id, cost, nowMs: isolate.read(this.#nowMs) })
    simulated.holder = holder
    if (decision.kind === "admit") this.#admit(isolate, simulated, id)
    if (decision.kind === "deny") this.#settle(id, outcomeOf(decision))
    if (decision.kind === "admit" || decision.kind === "deny") this.#counts.local += 1
    if (decision.kind === "ask" || (decision.kind === "admit" && decision.renew))
      this.#call(isolate, simulated, limitSet)
    if (this.#faults.chance(drops)) simulated.holder = dropLease(simulated.holder)
  }

  #call(isolate: SimulatedIsolate, simulated: SimulatedHolder, limitSet: number): void {
    const sentAtMs = isolate.read(this.#nowMs)
    const { holder, call } = startCall(simulated.holder, sentAtMs)
    const drawn = this.#drawnBy(limitSet)
    simulated.holder = holder
    simulated.sentAtMs = sentAtMs
    simulated.countedId = this.#counts.requests
    simulated.pendingTokens = 0
    this.#counts.calls += 1
    this.#send(() => {
      const answer = this.#object.call(call, drawn, this.#nowMs)
      if (answer === null) return
      const isSent = this.#send(() => this.#answer(isolate, simulated, limitSet, answer))
      if (isSent && simulated.holder.call?.seq === call.seq && this.#isAlive(isolate)) {
        simulated.pendingTokens = answer.ttlMs === 0 ? 0 : answer.granted
        simulated.pendingEndMs = simulated.sentAtMs + answer.ttlMs
      }
    })
    this.#schedule.at(this.#nowMs + this.#scenario.callTimeoutMs, () => {
      if (!this.#isAlive(isolate) || simulated.holder.call?.seq !== call.seq) return
      simulated.pendingTokens = 0
      this.#take(isolate, simulated, limitSet, abandonCall(simulated.holder, call.seq), undefined)
    })
  }

  #answer(isolate: SimulatedIsolate, simulated: SimulatedHolder, limitSet: number, answer: LeaseAnswer): void {
    if (!this.#isAlive(isolate)) return
    const readingMs = isolate.read(this.#nowMs)
    const isTaken = simulated.holder.call?.seq === answer.seq
    const holder = isTaken ? mutateHolder(simulated.holder, this.#mutation, readingMs) : simulated.holder
    if (isTaken) {
      if (answer.ttlMs > 0) simulated.leaseEndMs = simulated.sentAtMs + answer.ttlMs
      simulated.pendingTokens = 0
    }
    this.#take(isolate, simulated, limitSet, acceptAnswer(holder, answer, readingMs), answer)
  }

  #take(
    isolate: SimulatedIsolate,
    simulated: SimulatedHolder,
    limitSet: number,
    step: HolderStep,
    answer: LeaseAnswer | undefined,
  ): void {
    simulated.holder = step.holder
    let decided = answer?.ttlMs === 0 ? answer.granted : 0
    for (const { id, decision } of step.settled) {
      if (decision.kind === "admit") {
        const isDecided = answer?.ttlMs === 0 && id <= simulated.countedId
        const paid = isDecided ? Math.min(decided, this.#pending.get(id)?.cost ?? 0) : undefined
        decided -= paid ?? 0
        this.#admit(isolate, simulated, id, paid)
      } else {
        this.#checkHonesty(id, decision, simulated, answer)
        this.#settle(id, outcomeOf(decision))
      }
    }
    if (step.ask) this.#call(isolate, simulated, limitSet)
  }

  /** @param paid how much of its cost the object itself has taken for it, and was counted there; undefined for a lease */
  #admit(isolate: SimulatedIsolate, simulated: SimulatedHolder, id: number, paid?: number): void {
    const request = this.#pending.get(id)
    const cost = (request?.cost ?? 0) - (paid ?? 0)
    const readingMs = isolate.oldestReading(this.#nowMs)
    if (readingMs >= simulated.leaseEndMs && (cost > 0 || paid === undefined)) {
      this.#checker.fail(
        this.#nowMs,
        "no-admission-after-lease",
        `${readingMs - simulated.leaseEndMs} ms after its end`,
      )
    }
    if (request !== undefined && cost > 0) {
      this.#checker.admitted(namesOf(this.#drawnBy(request.limitSet)), cost, this.#nowMs)
    }
    this.#settle(id, "admitted")
  }

  #settle(id: number, outcome: Outcome): void {
    const request = this.#pending.get(id)
    if (!this.#pending.delete(id)) this.#checker.fail(this.#nowMs, "decided-once", `request ${id} is decided twice`)
    this.#outcomes[outcome] += 1
    this.#counts.waitedMs += this.#nowMs - (request?.startedMs ?? this.#nowMs)
    this.#digest = (Math.imul(this.#digest, 31) + Math.imul(id, outcome.length) + this.#nowMs) | 0
  }

  /** Sends a message once, twice or not at all; returns whether at all. */
  #send(deliver: () => void): boolean {
    const { loss, duplication } = this.#scenario.network
    const copies = (this.#network.chance(loss) ? 0 : 1) + (this.#network.chance(duplication) ? 1 : 0)
    for (let copy = 0; copy < copies; copy++) this.#schedule.at(this.#nowMs + this.#delayMs(), deliver)
    return copies > 0
  }

  #delayMs(): number {
    const { delayMs, spread, slow } = this.#scenario.network
    const factor = 1 + (2 * this.#network.next() - 1) * spread
    return Math.round(delayMs * factor * (this.#network.chance(slow) ? 10 : 1))
  }

  #isAlive(isolate: SimulatedIsolate): boolean {
    return this.#isolates.includes(isolate)
  }

  #checkUnspent(): void {
    const unspent = this.#unspent
    unspent.clear()
    const nowMs = this.#nowMs
    for (const isolate of this.#isolates) {
      for (let limitSet = 0; limitSet < isolate.holders.length; limitSet++) {
        const simulated = isolate.holders[limitSet]
        if (simulated === undefined || simulated.holder.tokens + simulated.pendingTokens === 0) continue
        const readingMs = isolate.oldestReading(nowMs)
        const { tokens, expiresMs } = simulated.holder
        const held = readingMs < expiresMs ? tokens : 0
        const coming = readingMs < simulated.pendingEndMs ? simulated.pendingTokens : 0
        if (held + coming === 0) continue
        for (const { name } of this.#limits) unspent.set(name, (unspent.get(name) ?? 0) + held + coming)
        for (const { name } of this.#quotas) unspent.set(name, (unspent.get(name) ?? 0) + held + coming)
        if (limitSet === 0) continue
        for (const { name } of this.#scenario.routeLimits) unspent.set(name, (unspent.get(name) ?? 0) + held + coming)
      }
    }
    if (unspent.size > 0) this.#checker.checkUnspent(this.#object.ledger, unspent, nowMs)
    for (const { name } of this.#quotas) {
      this.#checker.checkUsed(name, this.#object.usedOf(name, nowMs), unspent.get(name) ?? 0, nowMs)
    }
  }

  /** A waiting request is refused only if the object counted it, or had less left than it costs. */
  #checkHonesty(id: number, denial: LeaseDenial, simulated: SimulatedHolder, answer: LeaseAnswer | undefined): void {
    const cost = this.#pending.get(id)?.cost ?? 0
    if (denial.reason !== "limit" || answer === undefined) return
    if (id > simulated.countedId && cost <= answer.left) {
      this.#checker.fail(this.#nowMs, "refusal-honesty", `request ${id} was not counted, and ${answer.left} were left`)
    }
  }

  #checkEnd(): void {
    this.#checker.end()
    if (this.#pending.size > 0) this.#checker.fail(this.#nowMs, "decided-once", `${this.#pending.size} never decided`)
    const lost = this.#counts.ideal - this.#outcomes.admitted
    if (mustServeAll(this.#scenario) && lost > 5 + 0.05 * this.#counts.ideal) {
      this.#checker.fail(this.#nowMs, "liveness", `${lost} of ${this.#counts.ideal} refused within the limit`)
    }
  }

  #report(): RunReport {
    const { limit, blocked, admitted, unavailable, vanished } = this.#outcomes
    return {
      seed: this.#scenario.seed,
      ...this.#counts,
      admitted,
      refusedByLimit: limit,
      refusedByBlock: blocked,
      unavailable,
      vanished,
      overdrawn: this.#checker.overdrawn,
      used: this.#checker.used,
      burned: this.#checker.burned,
      violations: this.#checker.violations,
      digest: this.#digest >>> 0,
    }
  }
}

function outcomeOf({ reason }: LeaseDenial): Outcome {
  return reason === "too-large" ? "limit" : reason
}

function cumulative(weights: readonly number[]): readonly number[] {
  let sum = 0
  return weights.map((weight) => (sum += weight))
}

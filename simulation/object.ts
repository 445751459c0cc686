/**
 * The client's object in the simulation: the real ledger and the real buckets behind a store that survives restarts.
 *
 * It keeps only what it must: a step that need not be durable is lost at the next restart, half of the time.
 */
import { parseBucketState } from "../src/core/gcra.ts"
import type { BucketState } from "../src/core/gcra.ts"
import { admitDirect, grant, LEASE_TERMS_DEFAULT } from "../src/core/lease-grant.ts"
import { EMPTY_LEDGER, parseLedger } from "../src/core/lease-ledger.ts"
import type { LeaseLedger } from "../src/core/lease-ledger.ts"
import { createBucketPool } from "../src/core/lease-member.ts"
import type { LeaseAnswer, LeaseCall } from "../src/core/lease-protocol.ts"
import type { Checker } from "./checker.ts"
import { mutateLedger, mutateMember, mutateRestart } from "./mutation.ts"
import type { Mutation, SimulatedMember } from "./mutation.ts"
import type { Random } from "./random.ts"
import type { Scenario, SimulatedLimit } from "./scenario.ts"

interface Stored {
  readonly ledger: LeaseLedger
  readonly buckets: Readonly<Record<string, BucketState>>
}

/** The object of the one client of a run. */
export class SimulatedObject {
  /** The longest life that any answer has promised, in ms. */
  longestTtlMs: number
  readonly #scenario: Scenario
  readonly #checker: Checker
  readonly #random: Random
  readonly #mutation: Mutation | undefined
  #state: Stored = { ledger: EMPTY_LEDGER, buckets: {} }
  #durable: Stored = this.#state
  #epoch = 0
  #blockedUntilMs = 0

  constructor(scenario: Scenario, checker: Checker, random: Random, mutation: Mutation | undefined) {
    this.#scenario = scenario
    this.#checker = checker
    this.#random = random
    this.#mutation = mutation
    this.longestTtlMs = scenario.ttlMs
  }

  get ledger(): LeaseLedger {
    return this.#state.ledger
  }

  /** The longest that a lease can count from now on. */
  get longestLifeMs(): number {
    return this.longestTtlMs + this.#scenario.marginMs
  }

  isBlocked(nowMs: number): boolean {
    return nowMs < this.#blockedUntilMs
  }

  /** The guard opens. It is another program's state, so no restart forgets it. */
  block(nowMs: number, untilMs: number): void {
    this.#epoch += 1
    this.#blockedUntilMs = Math.max(this.#blockedUntilMs, untilMs)
    const names = Object.keys(this.#state.buckets)
    this.#checker.blocked(this.#state.ledger, names, { nowMs, untilMs, longestLifeMs: this.longestLifeMs })
  }

  /** The process ends and another starts from storage. */
  restart(): void {
    const { ledger, buckets } = mutateRestart(this.#durable, this.#mutation)
    const stored: unknown = JSON.parse(JSON.stringify(ledger))
    const parsed = parseLedger(stored)
    if (parsed === undefined) throw new Error("The ledger does not survive storage")
    const entries = Object.entries(buckets).map(([name, state]) => {
      const bucket = parseBucketState(JSON.parse(JSON.stringify(state)))
      if (bucket === undefined) throw new Error("The bucket does not survive storage")
      return [name, bucket] as const
    })
    this.#state = { ledger: parsed, buckets: Object.fromEntries(entries) }
    this.#durable = this.#state
  }

  /** Answers a call. */
  call(call: LeaseCall, limits: readonly SimulatedLimit[], nowMs: number): LeaseAnswer | null {
    const before = mutateLedger(this.#state.ledger, this.#mutation, call)
    const isBlocked = this.isBlocked(nowMs) && this.#mutation !== "grant-while-blocked"
    const terms = {
      ...LEASE_TERMS_DEFAULT,
      names: limits.map(({ name }) => name),
      ttlMs: this.#scenario.ttlMs,
      marginMs: this.#mutation === "without-margin" ? 0 : this.#scenario.marginMs,
      epoch: this.#epoch,
      failures: this.#scenario.troubles.some(({ atMs, untilMs }) => atMs <= nowMs && nowMs < untilMs) ? 1 : 0,
      blockedForMs: isBlocked ? this.#blockedUntilMs - nowMs : 0,
      isSingle: this.#random.chance(this.#scenario.single),
      jitter: this.#random.next(),
    }
    const step = grant(before, this.#pool(limits, nowMs), call, terms, nowMs)
    if (step.ledger === before) return step.answer
    this.#keep(step.ledger, step.pool, limits, step.mustPersist, nowMs)
    if (step.answer !== null) {
      this.longestTtlMs = Math.max(this.longestTtlMs, step.answer.ttlMs)
      const left = Math.min(...limits.map(({ name }) => step.pool[name]?.available ?? 0))
      if (!isBlocked && left !== step.answer.left) {
        this.#checker.fail(nowMs, "refusal-honesty", `says ${step.answer.left} left of ${left}`)
      }
    }
    return step.answer
  }

  /** Decides one request here. */
  admit(limits: readonly SimulatedLimit[], cost: number, nowMs: number): boolean {
    if (this.isBlocked(nowMs)) return false
    const names = limits.map(({ name }) => name)
    const step = admitDirect(this.#state.ledger, this.#pool(limits, nowMs), names, cost, nowMs)
    this.#keep(step.ledger, step.pool, limits, step.isAdmitted, nowMs)
    return step.isAdmitted
  }

  #pool(limits: readonly SimulatedLimit[], nowMs: number): Readonly<Record<string, SimulatedMember>> {
    const pool = createBucketPool(this.#state.buckets, limits, nowMs)
    const members = Object.entries(pool).map(([name, member]) => [name, mutateMember(member, this.#mutation)] as const)
    return Object.fromEntries(members)
  }

  #keep(
    ledger: LeaseLedger,
    pool: Readonly<Record<string, SimulatedMember>>,
    limits: readonly SimulatedLimit[],
    mustPersist: boolean,
    nowMs: number,
  ): void {
    const buckets = Object.fromEntries(Object.entries(pool).map(([name, { state }]) => [name, state]))
    this.#state = { ledger, buckets }
    const isDurable = (mustPersist && this.#mutation !== "forgets-grants") || this.#random.chance(0.5)
    if (isDurable) this.#durable = this.#state
    for (const limit of limits) this.#checker.configured(limit, isDurable, nowMs, this.longestLifeMs)
    for (const [name, { level, periodMs, burst }] of Object.entries(buckets)) {
      this.#checker.checkLevel(ledger, name, level / periodMs, burst, nowMs)
    }
  }
}

/**
 * The client's object in the simulation: the real ledger and the real limits behind a store that survives restarts.
 *
 * It keeps only what it must: a step that need not be durable is lost at the next restart, half of the time.
 */
import { parseBucketState } from "../src/core/limit/gcra.ts"
import type { BucketState } from "../src/core/limit/gcra.ts"
import { admitDirect, grant, LEASE_TERMS_DEFAULT } from "../src/core/lease/lease-grant.ts"
import { EMPTY_LEDGER, parseLedger } from "../src/core/lease/lease-ledger.ts"
import type { LeaseLedger } from "../src/core/lease/lease-ledger.ts"
import type { LeasePool } from "../src/core/lease/lease-member.ts"
import { createLeasePool } from "../src/core/lease/lease-pool.ts"
import type { LendableStates } from "../src/core/lease/lease-pool.ts"
import type { LeaseAnswer, LeaseCall } from "../src/core/lease/lease-protocol.ts"
import type { NamedBucket, NamedQuota } from "../src/core/limit/limit.ts"
import { parseQuotaState } from "../src/core/limit/quota.ts"
import type { QuotaState } from "../src/core/limit/quota.ts"
import type { Checker } from "./checker.ts"
import { mutateLedger, mutateMember, mutateRestart, mutateReturn } from "./mutation.ts"
import type { Mutation, SimulatedMember } from "./mutation.ts"
import type { Random } from "./random.ts"
import type { Drawn, Scenario } from "./scenario.ts"

interface Stored extends LendableStates {
  readonly ledger: LeaseLedger
}

/** The object of the one client of a run. */
export class SimulatedObject {
  /** The longest life that any answer has promised, in ms. */
  longestTtlMs: number
  readonly #scenario: Scenario
  readonly #checker: Checker
  readonly #random: Random
  readonly #mutation: Mutation | undefined
  #state: Stored = { ledger: EMPTY_LEDGER, buckets: {}, quotas: {} }
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

  /** Returns what counts as used of a quota in the window of now. */
  usedOf(name: string, nowMs: number): number {
    const quota = this.#state.quotas[name]
    return quota === undefined || quota.endMs <= this.#clock(nowMs) ? 0 : quota.used
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
    const names = [...Object.keys(this.#state.buckets), ...Object.keys(this.#state.quotas)]
    this.#checker.blocked(this.#state.ledger, names, { nowMs, untilMs, longestLifeMs: this.longestLifeMs })
  }

  /** The process ends and another starts from storage. */
  restart(): void {
    const { ledger, buckets, quotas } = mutateRestart(this.#durable, this.#mutation)
    const stored: unknown = JSON.parse(JSON.stringify(ledger))
    const parsed = parseLedger(stored)
    if (parsed === undefined) throw new Error("The ledger does not survive storage")
    this.#state = {
      ledger: parsed,
      buckets: restored(buckets, parseBucketState),
      quotas: restored(quotas, parseQuotaState),
    }
    this.#durable = this.#state
    this.#checker.restarted()
  }

  /** Answers a call. */
  call(call: LeaseCall, drawn: Drawn, nowMs: number): LeaseAnswer | null {
    const clockMs = this.#clock(nowMs)
    const names = namesOf(drawn)
    const before = mutateLedger(this.#state.ledger, this.#mutation, call)
    const isBlocked = this.isBlocked(nowMs) && this.#mutation !== "grant-while-blocked"
    const terms = {
      ...LEASE_TERMS_DEFAULT,
      names,
      ttlMs: this.#scenario.ttlMs,
      marginMs: this.#mutation === "without-margin" ? 0 : this.#scenario.marginMs,
      epoch: this.#epoch,
      failures: this.#scenario.troubles.some(({ atMs, untilMs }) => atMs <= nowMs && nowMs < untilMs) ? 1 : 0,
      blockedForMs: isBlocked ? this.#blockedUntilMs - nowMs : 0,
      isSingle: this.#random.chance(this.#scenario.single),
      jitter: this.#random.next(),
    }
    const pool = mutateReturn(this.#pool(drawn, nowMs), this.#mutation, before, call, clockMs)
    const step = grant(before, pool, call, terms, clockMs)
    if (step.ledger === before) return step.answer
    this.#keep(step.ledger, step.pool, drawn, step.mustPersist, nowMs)
    if (step.answer !== null) {
      const { ttlMs, granted, blockedForMs } = step.answer
      // Decided here and now: what the isolate makes of it comes too late to be counted.
      if (ttlMs === 0 && blockedForMs === 0 && granted > 0) this.#checker.admitted(names, granted, nowMs)
      this.longestTtlMs = Math.max(this.longestTtlMs, ttlMs)
      const left = Math.min(...names.map((name) => step.pool[name]?.available ?? 0))
      if (!isBlocked && left !== step.answer.left) {
        this.#checker.fail(nowMs, "refusal-honesty", `says ${step.answer.left} left of ${left}`)
      }
    }
    return step.answer
  }

  /** Decides one request here. */
  admit(drawn: Drawn, cost: number, nowMs: number): boolean {
    if (this.isBlocked(nowMs)) return false
    const pool = this.#pool(drawn, nowMs)
    const step = admitDirect(this.#state.ledger, pool, namesOf(drawn), cost, this.#clock(nowMs))
    this.#keep(step.ledger, step.pool, drawn, step.isAdmitted, nowMs)
    return step.isAdmitted
  }

  #clock(nowMs: number): number {
    return nowMs + this.#scenario.clockMs
  }

  #pool({ limits, quotas }: Drawn, nowMs: number): LeasePool<SimulatedMember> {
    const named = [
      ...limits.map((limit): NamedBucket => ({ kind: "bucket", ...limit })),
      ...quotas.map((quota): NamedQuota => ({ kind: "quota", ...quota, unit: "hour", timezone: "UTC" })),
    ]
    const pool = createLeasePool(this.#state, named, this.#clock(nowMs))
    const members = Object.entries(pool).map(([name, member]) => [name, mutateMember(member, this.#mutation)] as const)
    return Object.fromEntries(members)
  }

  #keep(
    ledger: LeaseLedger,
    pool: LeasePool<SimulatedMember>,
    drawn: Drawn,
    mustPersist: boolean,
    nowMs: number,
  ): void {
    const buckets: Record<string, BucketState> = {}
    const quotas: Record<string, QuotaState> = {}
    for (const [name, { state }] of Object.entries(pool)) {
      if ("level" in state) buckets[name] = state
      else quotas[name] = state
    }
    this.#state = { ledger, buckets, quotas }
    const isDurable = (mustPersist && this.#mutation !== "forgets-grants") || this.#random.chance(0.5)
    if (isDurable) this.#durable = this.#state
    for (const limit of drawn.limits) this.#checker.configured(limit, isDurable, nowMs, this.longestLifeMs)
    for (const quota of drawn.quotas) this.#checker.quotaConfigured(quota, nowMs)
    for (const [name, bucket] of Object.entries(buckets)) this.#checker.checkBucket(ledger, name, bucket, nowMs)
  }
}

/** Returns the names of what a request draws on. */
export function namesOf({ limits, quotas }: Drawn): readonly string[] {
  return [...limits, ...quotas].map(({ name }) => name)
}

function restored<State>(
  states: Readonly<Record<string, State>>,
  parse: (value: unknown) => State | undefined,
): Readonly<Record<string, State>> {
  const entries = Object.entries(states).map(([name, state]) => {
    const parsed = parse(JSON.parse(JSON.stringify(state)))
    if (parsed === undefined) throw new Error(`The limit ${name} does not survive storage`)
    return [name, parsed] as const
  })
  return Object.fromEntries(entries)
}

/**
 * One limit of any kind, asked on behalf of one request: bucket, calendar quota or concurrency lease.
 *
 * The only place that knows which kinds there are. Everything above it (`core/limit/admission.ts`) combines limits without
 * looking inside, everything below it (`core/limit/gcra.ts`, `core/limit/quota.ts`, `core/limit/concurrency.ts`) knows one kind. Pure and
 * total.
 */
import { acquireLease, isSameLeases, lostLeases, parseConcurrencyConfig, peekLeases } from "./concurrency.ts"
import type { ConcurrencyConfig, ConcurrencyState } from "./concurrency.ts"
import { acquire, ceilDiv, isAccrualOnly, parseBucketConfig, peek, settle } from "./gcra.ts"
import type { BucketConfig, BucketState } from "./gcra.ts"
import { acquireQuota, exhaustedQuota, isSameQuota, parseQuotaConfig, peekQuota } from "./quota.ts"
import type { QuotaConfig, QuotaState } from "./quota.ts"
import { membersOf } from "../untrusted.ts"

interface Named {
  /** Identifies the state across configurations and is the policy name on the wire. */
  readonly name: string
  /** `shadow`: evaluated and counted like any other, but it refuses nothing. Default `enforce`. */
  readonly mode?: "enforce" | "shadow"
}

/** A limit of the client by kind. Names are unique among all kinds of one request. */
export type NamedLimit = NamedBucket | NamedQuota | NamedConcurrency
export type NamedBucket = BucketConfig & Named & { readonly kind: "bucket" }
export type NamedQuota = QuotaConfig & Named & { readonly kind: "quota" }
export type NamedConcurrency = ConcurrencyConfig & Named & { readonly kind: "concurrency" }

/** What is stored of the limits of one client, by kind and name. */
export interface LimitStates {
  readonly buckets: Readonly<Record<string, BucketState>>
  readonly quotas: Readonly<Record<string, QuotaState>>
  readonly concurrency: Readonly<Record<string, ConcurrencyState>>
}

/** What a request asks of each of its limits. */
export interface LimitDemand {
  /** Tokens of every bucket and share of every quota, integer >= 0. Concurrency counts requests and not their cost. */
  readonly cost: number
  /** Id of the lease in every concurrency limit. */
  readonly leaseId: string
}

/** How a bucket or quota stands after the decision: what the RateLimit fields are made of. */
export interface PolicyStatus {
  readonly name: string
  /** Most at once, or most in a window. */
  readonly quota: number
  /** Time in which an empty bucket refills, or the length of a quota's unit, in whole seconds, rounded up. */
  readonly windowSec: number
  /** Whole tokens left, or what is left of the window. */
  readonly remaining: number
  /** Ms until there is more, 0 when the limit is full. */
  readonly nextMs: number
}

/** How a concurrency limit stands after the decision. */
export interface ConcurrencyStatus {
  readonly name: string
  readonly maxConcurrent: number
  /** Slots taken, the one of this request included. */
  readonly inUse: number
}

/** The answer of one limit. */
export interface LimitAnswer {
  readonly limit: NamedLimit
  readonly allowed: boolean
  readonly permanent: boolean
  readonly retryAfterMs: number | null
  /** Exactly one of the two is there. */
  readonly policy?: PolicyStatus
  readonly concurrency?: ConcurrencyStatus
  /** Returns the states with this answer in them; the very same object when there is nothing to store. */
  readonly keepIn: <States extends LimitStates>(states: States) => States
}

/** Returns true when the value is a limit of a known kind, with a name and every member in range. */
export function isNamedLimit(value: unknown): value is NamedLimit {
  const { kind, name, mode } = membersOf(value)
  if (typeof name !== "string" || (mode !== undefined && mode !== "enforce" && mode !== "shadow")) return false
  switch (kind) {
    case "bucket":
      return parseBucketConfig(value).ok
    case "quota":
      return parseQuotaConfig(value).ok
    case "concurrency":
      return parseConcurrencyConfig(value).ok
    default:
      return false
  }
}

/** Returns true when nothing is stored of the limit. */
export function isUnknownLimit(states: LimitStates, limit: NamedLimit): boolean {
  return storedState(states, limit) === undefined
}

/**
 * Asks one limit.
 *
 * @param demand what to take, or undefined to read
 * @param lostAtMs set when stored state was lost at that instant (epoch ms): a limit that is not stored had nothing to
 *   give then
 */
export function askLimit(
  states: LimitStates,
  limit: NamedLimit,
  demand: LimitDemand | undefined,
  nowMs: number,
  lostAtMs: number | undefined,
): LimitAnswer {
  switch (limit.kind) {
    case "bucket":
      return askBucket(ownMember(states.buckets, limit.name), limit, demand, nowMs, lostAtMs)
    case "quota":
      return askQuota(ownMember(states.quotas, limit.name), limit, demand, nowMs, lostAtMs)
    case "concurrency":
      return askConcurrency(ownMember(states.concurrency, limit.name), limit, demand, nowMs, lostAtMs)
  }
}

function askBucket(
  stored: BucketState | undefined,
  limit: NamedBucket,
  demand: LimitDemand | undefined,
  nowMs: number,
  lostAtMs: number | undefined,
): LimitAnswer {
  const isLost = stored === undefined && lostAtMs !== undefined
  const before = isLost ? settle(undefined, { ...limit, initial: 0 }, lostAtMs) : stored
  const { state, decision } =
    demand === undefined ? peek(before, limit, nowMs) : acquire(before, limit, demand.cost, nowMs)
  const isKept = stored !== undefined && decision.granted === 0 && isAccrualOnly(stored, state)
  return {
    ...answerOf(limit, decision),
    policy: {
      name: limit.name,
      quota: limit.burst,
      windowSec: ceilDiv(ceilDiv(limit.burst * limit.rate.periodMs, limit.rate.count), 1000),
      remaining: decision.remaining,
      nextMs: decision.nextMs,
    },
    keepIn: (states) => (isKept ? states : { ...states, buckets: { ...states.buckets, [limit.name]: state } }),
  }
}

function askQuota(
  stored: QuotaState | undefined,
  limit: NamedQuota,
  demand: LimitDemand | undefined,
  nowMs: number,
  lostAtMs: number | undefined,
): LimitAnswer {
  const isLost = stored === undefined && lostAtMs !== undefined
  const before = isLost ? exhaustedQuota(limit, lostAtMs) : stored
  const { state, decision } =
    demand === undefined ? peekQuota(before, limit, nowMs) : acquireQuota(before, limit, demand.cost, nowMs)
  const isKept = stored !== undefined && isSameQuota(stored, state)
  return {
    ...answerOf(limit, decision),
    policy: {
      name: limit.name,
      quota: limit.limit,
      // A policy is to stay the same from answer to answer: an hour or a day has its usual length, also when the clocks change.
      windowSec: { hour: 3600, day: 86_400, month: ceilDiv(state.endMs - state.startMs, 1000) }[limit.unit],
      remaining: decision.remaining,
      nextMs: decision.nextMs,
    },
    keepIn: (states) => (isKept ? states : { ...states, quotas: { ...states.quotas, [limit.name]: state } }),
  }
}

function askConcurrency(
  stored: ConcurrencyState | undefined,
  limit: NamedConcurrency,
  demand: LimitDemand | undefined,
  nowMs: number,
  lostAtMs: number | undefined,
): LimitAnswer {
  const isLost = stored === undefined && lostAtMs !== undefined
  const before = isLost ? lostLeases(limit, lostAtMs) : stored
  const { state, decision } =
    demand === undefined ? peekLeases(before, limit, nowMs) : acquireLease(before, limit, demand.leaseId, nowMs)
  const isKept = stored !== undefined && isSameLeases(stored, state)
  return {
    ...answerOf(limit, decision),
    concurrency: { name: limit.name, maxConcurrent: limit.maxConcurrent, inUse: decision.inUse },
    keepIn: (states) => (isKept ? states : { ...states, concurrency: { ...states.concurrency, [limit.name]: state } }),
  }
}

function answerOf(limit: NamedLimit, { allowed, permanent, retryAfterMs }: Omit<LimitAnswer, "limit" | "keepIn">) {
  return { limit, allowed, permanent, retryAfterMs }
}

function storedState(states: LimitStates, { kind, name }: NamedLimit) {
  switch (kind) {
    case "bucket":
      return ownMember(states.buckets, name)
    case "quota":
      return ownMember(states.quotas, name)
    case "concurrency":
      return ownMember(states.concurrency, name)
  }
}

/** Own members only: a limit may be called `constructor`. */
function ownMember<State>(record: Readonly<Record<string, State>>, name: string): State | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined
}

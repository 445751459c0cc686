/**
 * What one client meets at the gate of one route: its limits, the guards that are its own and those of other keys, and
 * whether isolates may be lent tokens or every request has to be asked for.
 *
 * Pure; the `client-gate` stage asks once per route and client and keeps the answer.
 */
import type { GuardDemand } from "./gate-guards.ts"
import type { GuardConfig } from "../guard/guard-config.ts"
import { isWorthLending } from "../lease/lease-sizing.ts"
import { limitsFor } from "../limit/limit-set.ts"
import type { ClientLimits, LimitSet } from "../limit/limit-set.ts"
import type { NamedConcurrency, NamedLimit } from "../limit/limit.ts"
import type { OutcomeRules } from "../guard/outcome.ts"

/** Whom a guard counts for: the client, its address (an IPv4 address or an IPv6 /64), or the value of a request field. */
export type GuardKey =
  | { readonly kind: "client" }
  | { readonly kind: "address" }
  | { readonly kind: "header"; readonly name: string }

/** A guard as a route names it. */
export interface RouteGuard extends GuardConfig {
  readonly name: string
  readonly key: GuardKey
  readonly outcomes: OutcomeRules
}

/** What applies, worked out. */
export interface GatePlan {
  readonly limits: readonly NamedLimit[]
  /** Guards that the client's own object holds, and the same as that object is told of them. */
  readonly own: readonly RouteGuard[]
  readonly demands: readonly GuardDemand[]
  /** Guards that objects of other keys hold, one object a guard and key. */
  readonly keyed: readonly RouteGuard[]
  /** Requests take a place among those in progress, which has to be given back. */
  readonly takesPlace: boolean
  /** Names of the limits without whose place it is refused; those in shadow mode it may pass without. */
  readonly places: readonly string[]
  /** How often the places of a request that goes on are extended, ms: two calls may fail before one ends. */
  readonly renewalMs: number | undefined
  /** Isolates decide by tokens that the object lends; else every request asks the object. Exact either way. */
  readonly isLent: boolean
}

/**
 * Returns the plan. Lent is what only buckets and quotas of some size bound: a place among the requests in progress has to be given
 * back, a limit in shadow mode is read and not spent, and a guard that reserves has to see every request.
 */
export function planGate(sets: readonly LimitSet[], guards: readonly RouteGuard[], client: ClientLimits): GatePlan {
  const limits = limitsFor(sets, client)
  const own = guards.filter(({ key }) => key.kind === "client")
  const places = limits.filter((limit) => limit.kind === "concurrency")
  return {
    limits,
    own,
    demands: own.map(demandOf),
    keyed: guards.filter(({ key }) => key.kind !== "client"),
    takesPlace: places.length > 0,
    places: places.filter(({ mode }) => mode !== "shadow").map(({ name }) => name),
    renewalMs: places.length === 0 ? undefined : renewalOf(places),
    isLent: limits.every(isLendable) && own.every(isLendableGuard),
  }
}

/** Returns whether isolates may be told that a guard is closed; a guard that reserves places has to see every request. */
export function isLendableGuard({ inFlight }: GuardConfig): boolean {
  return inFlight === "optimistic"
}

/** Returns a guard as an object is told of it: without what only the gateway needs. */
export function demandOf({
  name,
  maxFailures,
  failureDurationMs,
  backoff,
  guardResetTimeoutMs,
  inFlight,
  pendingTtlMs,
  successPolicy,
}: RouteGuard): GuardDemand {
  const times = { failureDurationMs, guardResetTimeoutMs, pendingTtlMs }
  return { name, config: { maxFailures, backoff, inFlight, successPolicy, ...times } }
}

function renewalOf(places: readonly NamedConcurrency[]): number {
  return Math.max(1, Math.floor(Math.min(...places.map(({ leaseTtlMs }) => leaseTtlMs)) / 3))
}

function isLendable(limit: NamedLimit): boolean {
  return limit.kind !== "concurrency" && limit.mode !== "shadow" && isWorthLending(limit)
}

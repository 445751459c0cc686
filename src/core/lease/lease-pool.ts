/**
 * The limits of one client that tokens can be lent from: buckets and calendar quotas, from storage and back.
 *
 * The only place that knows which kinds can be lent; requests at once cannot, because a place is freed and not spent. Pure.
 */
import { settle } from "../limit/gcra.ts"
import type { BucketState } from "../limit/gcra.ts"
import { createLostLedger } from "./lease-ledger.ts"
import { BucketMember } from "./lease-member.ts"
import type { LeasePool } from "./lease-member.ts"
import type { LimitStates, NamedBucket, NamedQuota } from "../limit/limit.ts"
import { QuotaMember } from "../limit/quota-member.ts"
import { exhaustedQuota, settleQuota } from "../limit/quota.ts"
import type { QuotaState } from "../limit/quota.ts"

/** A limit that can be lent, as the ledger sees it. */
export type LendableMember = BucketMember | QuotaMember

/** What is stored of the limits that can be lent, by name. */
export type LendableStates = Pick<LimitStates, "buckets" | "quotas">

/**
 * Returns the pool for one call: every stored bucket and quota, because leases of other calls may draw on it, and every
 * limit that the call names, a new one starting as its configuration says. A name that is stored as both kinds, because
 * its configuration changed, is the one that the call names.
 *
 * @param limits the limits of the call, each name once, each configuration valid
 * @param lostAtMs set when stored state was lost at that instant (epoch ms): a limit that is not stored had nothing to give
 *   then
 */
export function createLeasePool(
  { buckets, quotas }: LendableStates,
  limits: readonly (NamedBucket | NamedQuota)[],
  nowMs: number,
  lostAtMs?: number,
): LeasePool<LendableMember> {
  const storedQuotas = Object.entries(quotas).map(([name, state]) => [name, new QuotaMember(state)] as const)
  const storedBuckets = Object.entries(buckets).map(([name, state]) => [name, new BucketMember(state)] as const)
  const named = limits.map((limit) => {
    const member =
      limit.kind === "bucket"
        ? new BucketMember(stateOf(buckets, limit.name) ?? newBucket(limit, nowMs, lostAtMs), limit)
        : new QuotaMember(stateOf(quotas, limit.name) ?? newQuota(limit, nowMs, lostAtMs), limit)
    return [limit.name, member] as const
  })
  return Object.fromEntries<LendableMember>([...storedQuotas, ...storedBuckets, ...named])
}

/**
 * Returns what is stored after the pool was used.
 *
 * @param states what the pool was made from: of a name that is both kinds, the one that is not in the pool stays as it is
 */
export function storedOf(states: LendableStates, pool: LeasePool<LendableMember>): LendableStates {
  const buckets: [string, BucketState][] = []
  const quotas: [string, QuotaState][] = []
  for (const [name, member] of Object.entries(pool)) {
    if (member instanceof BucketMember) buckets.push([name, member.state])
    else quotas.push([name, member.state])
  }
  return {
    buckets: { ...states.buckets, ...Object.fromEntries(buckets) },
    quotas: { ...states.quotas, ...Object.fromEntries(quotas) },
  }
}

/**
 * A bucket that was lost refills from when every lease that is not known of is over, whenever it is asked for first: until then
 * all of it may have been lent, and what is lent does not refill.
 */
function newBucket(limit: NamedBucket, nowMs: number, lostAtMs: number | undefined): BucketState {
  return lostAtMs === undefined
    ? settle(undefined, limit, nowMs)
    : settle(undefined, { ...limit, initial: 0 }, createLostLedger(lostAtMs).heldUntilMs)
}

function newQuota(limit: NamedQuota, nowMs: number, lostAtMs: number | undefined): QuotaState {
  return lostAtMs === undefined ? settleQuota(undefined, limit, nowMs) : exhaustedQuota(limit, lostAtMs)
}

/** Own members only: a limit may be called `constructor`. */
function stateOf<State>(states: Readonly<Record<string, State>>, name: string): State | undefined {
  return Object.hasOwn(states, name) ? states[name] : undefined
}

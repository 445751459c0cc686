/**
 * What an answer says about refusing: for how long asking again is pointless, and when the refused request would fit.
 *
 * The wait that a client is told is exact: it fits then if nobody else takes tokens, and 1 ms earlier it does not, unless
 * unspent tokens of a quota are handed back. How long an isolate stays quiet is a matter of cost, longer and with jitter. Pure and total; `core/lease/lease-grant.ts` calls it.
 */
import { TOKEN_LEASE_BLOCK_CACHE_MS_MAX, TOKEN_LEASE_QUOTA_CACHE_MS_MAX, TOKEN_LEASE_TOKENS_MAX } from "../bounds.ts"
import { memberOf } from "./lease-ledger.ts"
import type { Loan } from "./lease-ledger.ts"
import { isRefilling } from "./lease-member.ts"
import type { LeaseMember, LeasePool } from "./lease-member.ts"
import type { LeaseAnswer, LeaseCall } from "./lease-protocol.ts"
import { fitWaiting, paceMs } from "./lease-sizing.ts"
import type { MemberView } from "./lease-sizing.ts"

/** What is lent, the caller's own lease included. */
export interface Lent {
  readonly loans: readonly Loan[]
  /** Epoch ms until which everything counts as lent, 0 for not. */
  readonly heldUntilMs: number
}

/** What is already decided about a call. */
export interface Decided {
  readonly call: LeaseCall
  readonly blockedForMs: number
  /** Random, 0 inclusive to 1 exclusive. */
  readonly jitter: number
  /** Life in ms that refusals are paced by: of this lease, or of a full one where the object decides itself. */
  readonly pacedByMs: number
  /** The limits before the grant, in the order of their names. */
  readonly views: readonly MemberView[]
  readonly fixed: Pick<LeaseAnswer, "granted" | "carry" | "ttlMs">
}

/** The part of an answer that {@link outlookOf} works out. */
export type LeaseOutlook = Pick<
  LeaseAnswer,
  "left" | "capacity" | "denyForMs" | "denyCost" | "retryAfterMs" | "violated" | "blockedForMs"
>

/**
 * Returns what is left after a grant and what is refused. The smallest refused request decides, so a larger one that is
 * refused with it may come back too early, never too late.
 *
 * @param pool the limits after the grant
 */
export function outlookOf<M extends LeaseMember<M>>(
  pool: LeasePool<M>,
  names: readonly string[],
  lent: Lent,
  { call, blockedForMs, jitter, pacedByMs, views, fixed }: Decided,
  nowMs: number,
): LeaseOutlook {
  const members = names.flatMap((name) => memberOf(pool, name) ?? [])
  const capacity = Math.min(TOKEN_LEASE_TOKENS_MAX, ...members.map((member) => member.capacity))
  const left = Math.min(TOKEN_LEASE_TOKENS_MAX, ...members.map(({ available }) => available))
  const quiet = { left, capacity, denyForMs: 0, denyCost: call.cost, retryAfterMs: 0, violated: [], blockedForMs: 0 }
  if (blockedForMs > 0) {
    const cachedForMs = Math.ceil(Math.min(blockedForMs, TOKEN_LEASE_BLOCK_CACHE_MS_MAX))
    return { ...quiet, left: 0, retryAfterMs: Math.ceil(blockedForMs), blockedForMs: cachedForMs }
  }
  const tokens = fixed.granted + fixed.carry
  const unserved = unservedOf(call.waiting, tokens)
  const possible = unserved.filter((cost) => cost <= capacity)
  const isShort = possible.length > 0
  const denyCost = isShort ? Math.min(...possible) : Math.max(1, call.cost)
  if (denyCost > capacity) {
    const violated = violatedBy(pool, names, denyCost)
    return { ...quiet, denyCost, denyForMs: pacedByMs, retryAfterMs: null, violated }
  }
  // What is left over of the tokens helps the refused request only if it is this very isolate that asks again.
  const spare = isShort ? tokens - fitWaiting(call.waiting, tokens) : 0
  const missing = denyCost - spare
  const isExhausted = left < missing
  if (!isExhausted && !isShort) return { ...quiet, denyCost }
  const waitMs = isExhausted
    ? Math.max(...members.map((member, index) => quietFor(member, views[index], missing, pacedByMs)))
    : 0
  // Whoever was refused is quiet for longer, also while tokens are left for others; it would come back for every single
  // one. Whoever was not may ask as soon as its call would find a token.
  const pacedMs = Math.max(waitMs, ...views.map((view) => paceMs(view, call.demand, pacedByMs)))
  const quietMs = isShort ? Math.max(waitMs, pacedMs * (0.75 + 0.5 * jitter)) : Math.max(0, waitMs - call.roundTripMs)
  return {
    ...quiet,
    denyCost,
    denyForMs: Math.ceil(quietMs),
    retryAfterMs: isExhausted ? fitMs(pool, names, lent, missing, nowMs) : 0,
    violated: isExhausted ? violatedBy(pool, names, missing) : names,
  }
}

/**
 * How long asking a limit for what it has not is pointless. A used-up quota has nothing until its window ends, unless its
 * limit is raised or somebody hands back what is lent.
 */
function quietFor(
  member: LeaseMember<unknown>,
  view: MemberView | undefined,
  missing: number,
  pacedByMs: number,
): number {
  const waitMs = member.waitMs(missing)
  if (isRefilling(member)) return waitMs
  return Math.min(waitMs, (view?.outstanding ?? 0) > 0 ? 0.5 * pacedByMs : TOKEN_LEASE_QUOTA_CACHE_MS_MAX)
}

function unservedOf(costs: readonly number[], budget: number): readonly number[] {
  let rest = budget
  return costs.filter((cost) => {
    if (cost > rest) return true
    rest -= cost
    return false
  })
}

/** Returns the names of the limits that have fewer than `cost` tokens. */
export function violatedBy<M extends LeaseMember<M>>(
  pool: LeasePool<M>,
  names: readonly string[],
  cost: number,
): readonly string[] {
  return names.filter((name) => (memberOf(pool, name)?.available ?? 0) < cost)
}

/**
 * Returns the ms until `cost` tokens are in every limit if leases only end and nobody takes any, or null when they never
 * are. Exact: 1 ms earlier they are not.
 */
export function fitMs<M extends LeaseMember<M>>(
  pool: LeasePool<M>,
  names: readonly string[],
  lent: Lent,
  cost: number,
  nowMs: number,
): number | null {
  const waits = names.map((name) => memberFitMs(memberOf(pool, name), name, lent, cost, nowMs))
  return waits.includes(null) ? null : Math.max(0, ...waits.map((waitMs) => waitMs ?? 0))
}

function memberFitMs<M extends LeaseMember<M>>(
  member: M | undefined,
  name: string,
  { loans, heldUntilMs }: Lent,
  cost: number,
  nowMs: number,
): number | null {
  if (member === undefined || cost > member.capacity) return null
  if (!isRefilling(member)) return member.waitMs(cost)
  const isHeld = heldUntilMs > 0
  let atMs = isHeld ? heldUntilMs : nowMs
  let settled = isHeld ? member.settle(Number.POSITIVE_INFINITY, atMs) : member
  const mine = loans.filter(({ names, expiresMs }) => names.includes(name) && expiresMs > atMs)
  let outstanding = mine.reduce((sum, { tokens }) => sum + tokens, 0)
  for (const { tokens, expiresMs } of mine.toSorted((a, b) => a.expiresMs - b.expiresMs)) {
    // Once it fits beside what is lent, later ends change nothing: the limit is refilling up to it already.
    if (cost <= settled.capacity - outstanding) break
    settled = settled.settle(outstanding, expiresMs)
    atMs = expiresMs
    outstanding -= tokens
  }
  return atMs + settled.waitMs(cost) - nowMs
}

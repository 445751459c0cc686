/**
 * How many tokens a lease gets, and how long an isolate that got too few stays quiet.
 *
 * Large enough that a busy isolate calls rarely, small enough that all leases together hold at most half the burst, and
 * speculative only with rate that nobody asks for. Nothing here affects exactness: whatever the answer is, the ledger
 * takes it from every member at once and never more than is there. Pure and total.
 */
import {
  TOKEN_LEASE_BURST_MIN,
  TOKEN_LEASE_FILL_MS_MIN,
  TOKEN_LEASE_QUOTA_MIN,
  TOKEN_LEASE_TOKENS_MAX,
} from "../bounds.ts"
import type { BucketConfig } from "../limit/gcra.ts"
import type { QuotaConfig } from "../limit/quota.ts"

/** One member at the moment of the call. */
export interface MemberView {
  /** Whole tokens that can be taken now. */
  readonly available: number
  /** Most tokens at once; of a limit that does not refill, what is not spent yet: it is shared out like an emptying bucket. */
  readonly capacity: number
  /** Tokens per second that come back, 0 for a quota. */
  readonly rate: number
  /** Tokens lent out, those that this holder carries included. */
  readonly outstanding: number
  /** Tokens per second that all holders of this member ask for, this one included. */
  readonly demand: number
}

/** What the holder asks for. */
export interface SizeRequest {
  /** Costs of its waiting requests, in order. */
  readonly waiting: readonly number[]
  /** Tokens that it keeps from before. */
  readonly carry: number
  /** Tokens per second. */
  readonly demand: number
  readonly ttlMs: number
  /** Nothing ahead of need: only what the waiting requests use. */
  readonly isSingle: boolean
}

/** Share of its life that a lease is expected to be spent in; the rest is slack for a demand that slows down. */
const SPENT_LIFE_RATIO = 0.8
/** Share of the burst that all leases together may hold ahead of need. */
const LENT_BURST_RATIO = 0.5
/** Seconds of demand that must be at hand, else holders get shares. */
const CONTENDED_SECONDS = 0.1

/**
 * Returns whether lending a limit pays. Exact either way, and a limit of which it does not is better decided one by one.
 *
 * Of a bucket: requests that gather while one call is under way ask for all their tokens at once, so a bucket that holds
 * less than a few trips' worth refuses what single requests would get; and one of a few tokens does not refill up to what is
 * lent. Of a quota: an isolate that ends without another
 * call takes what it holds with it until the next window. The time left of a window does not matter: near its end the
 * object decides by itself.
 */
export function isWorthLending(config: BucketConfig | QuotaConfig): boolean {
  if ("limit" in config) return config.limit >= TOKEN_LEASE_QUOTA_MIN
  const { burst, rate } = config
  return burst >= TOKEN_LEASE_BURST_MIN && (burst * rate.periodMs) / rate.count >= TOKEN_LEASE_FILL_MS_MIN
}

/** Returns the tokens to grant: 0 to the least that any member has available. */
export function sizeLease(members: readonly MemberView[], request: SizeRequest): number {
  const { waiting, carry, ttlMs, isSingle } = request
  const available = least(members.map((member) => member.available))
  const needed = waiting.reduce((sum, cost) => sum + cost, 0)
  const isContended = members.some((member) => member.available < contendedBelow(member, needed, ttlMs))
  const first = waiting.length === 0 ? 1 : Math.max(1, Math.min(...waiting) - carry)
  const budget = isContended
    ? Math.min(available, ...members.map((member) => Math.max(first, shareOf(member, request))))
    : available
  const served = fitWaiting(waiting, budget + carry) - carry
  if (isSingle) return Math.max(0, served)
  const ahead = least(members.map((member) => aheadOf(member, request))) - carry
  const room = least(members.map((member) => Math.floor(LENT_BURST_RATIO * member.capacity) - member.outstanding))
  return Math.max(0, served, Math.min(ahead, isContended ? budget : Math.min(room, available)))
}

/**
 * Returns how many of `budget` tokens requests of these costs use, served in order, a request that does not fit being
 * passed over.
 */
export function fitWaiting(costs: readonly number[], budget: number): number {
  return costs.reduce((used, cost) => (used + cost <= budget ? used + cost : used), 0)
}

/**
 * Returns for how long, in ms, a holder stays quiet whose requests were refused: a refused isolate that asks again for
 * every token would cost one call per request. At least 0; the ledger applies the jitter and the wait for the token.
 */
export function paceMs(member: MemberView, demand: number, ttlMs: number): number {
  // Nothing comes back by itself; half a life later others may have handed something back.
  if (member.rate === 0) return 0.5 * ttlMs
  const fillMs = (0.1 * member.capacity * 1000) / member.rate
  const share = member.demand > 0 && demand > 0 ? (member.rate * demand) / member.demand : member.rate
  return Math.min(0.5 * ttlMs, fillMs, 3000 / share)
}

function horizonSeconds(member: MemberView, ttlMs: number): number {
  const life = (SPENT_LIFE_RATIO * ttlMs) / 1000
  return member.demand > 0 ? Math.min(life, (LENT_BURST_RATIO * member.capacity) / member.demand) : life
}

/**
 * Tokens for the near future: as many as are likely to be spent, or few where only unused rate may be lent. A quota has no
 * unused rate, so a slow client, whose isolates rarely call twice within one lease, is lent nothing that it could lose.
 */
function aheadOf(member: MemberView, { demand, ttlMs }: SizeRequest): number {
  const horizon = horizonSeconds(member, ttlMs)
  const likely = Math.floor((demand - 1) * horizon)
  if (likely >= 2) return likely
  const unused = (LENT_BURST_RATIO * (member.rate - member.demand) * ttlMs) / 1000
  return member.outstanding + 1 <= unused ? Math.ceil(demand * horizon) : 0
}

function contendedBelow(member: MemberView, needed: number, ttlMs: number): number {
  return Math.max(needed, member.demand * Math.min(horizonSeconds(member, ttlMs), CONTENDED_SECONDS))
}

function shareOf(member: MemberView, { demand }: SizeRequest): number {
  return member.demand > 0 ? Math.floor((member.available * demand) / member.demand) : member.available
}

function least(values: readonly number[]): number {
  return Math.min(TOKEN_LEASE_TOKENS_MAX, ...values)
}

/**
 * What a call for tokens gets, on the object's side.
 *
 * Promises that isolates together can never spend more than the ledger counts as lent, so no span `[s, t]` ever sees more
 * than `burst + rate * (t - s)` tokens of a bucket admitted and no window more than the limit of a quota, whatever messages
 * and processes do. A quota loses what an isolate holds that never calls again, about 0.8 s of its demand at most, and what
 * is handed back after the isolate was forgotten; everything else that is not spent comes back to it. Pure and total. Called by the
 * client's object, which makes every step durable before it answers. `mustPersist` says which of them has to be: a step with it
 * that is forgotten afterwards breaks the promise, any other one may be forgotten; the simulation forgets those.
 */
import {
  TOKEN_LEASE_HOLDERS_MAX,
  TOKEN_LEASE_MARGIN_MS,
  TOKEN_LEASE_TTL_GUARDED_MS,
  TOKEN_LEASE_TTL_MS,
  TOKEN_LEASE_TTL_MS_MAX,
} from "../bounds.ts"
import { changeMembers, lendUnnamed, loansOf, memberOf, outstandingOf, settleLedger } from "./lease-ledger.ts"
import type { LeaseLedger, LeaseRecord, Loan } from "./lease-ledger.ts"
import { fitMs, outlookOf, violatedBy } from "./lease-outlook.ts"
import { isRefilling } from "./lease-member.ts"
import type { LeaseMember, LeasePool } from "./lease-member.ts"
import { isLeaseCall } from "./lease-protocol.ts"
import type { LeaseAnswer, LeaseCall } from "./lease-protocol.ts"
import { backTo, lastReturnOf, reconcile } from "./lease-reconcile.ts"
import { fitWaiting, sizeLease } from "./lease-sizing.ts"
import type { MemberView } from "./lease-sizing.ts"
import { isCount } from "../untrusted.ts"

/** What the object knows beside the tokens, at the moment of a call. */
export interface LeaseTerms {
  /** The limits of the call, all in the pool. Without any, the lease says only that the client is not blocked. */
  readonly names: readonly string[]
  readonly ttlMs: number
  readonly marginMs: number
  /** The guard's epoch, an integer >= 0. */
  readonly epoch: number
  /** Failures that the guard counts. While there are any, leases are short. */
  readonly failures: number
  /** Ms for which the guard blocks the client, 0 when it does not. Nothing is granted then. */
  readonly blockedForMs: number
  /** Lend only what waiting requests use: one call per request, where every failure must be seen before the next. */
  readonly isSingle: boolean
  /** Random, 0 inclusive to 1 exclusive. */
  readonly jitter: number
}

/** What one call does. */
export interface GrantStep<M> {
  /** The very object that was passed in when the call changed nothing. */
  readonly ledger: LeaseLedger
  readonly pool: LeasePool<M>
  /** Null when the call is out of range or older than the last one: nobody waits for an answer. */
  readonly answer: LeaseAnswer | null
  /** Ledger and pool, together, have to be durable before the answer leaves. */
  readonly mustPersist: boolean
}

/** What one request does that is decided here and not lent for. */
export interface DirectStep<M> {
  readonly ledger: LeaseLedger
  readonly pool: LeasePool<M>
  readonly isAdmitted: boolean
  /** Names of the limits that have too few, sorted. */
  readonly violated: readonly string[]
  /** Ms until it fits if nobody else takes any: not 1 ms earlier. Null when admitted, and when it never fits. */
  readonly retryAfterMs: number | null
}

/** Terms of an untroubled client; spread them and name the limits. */
export const LEASE_TERMS_DEFAULT: LeaseTerms = {
  names: [],
  ttlMs: TOKEN_LEASE_TTL_MS,
  marginMs: TOKEN_LEASE_MARGIN_MS,
  epoch: 0,
  failures: 0,
  blockedForMs: 0,
  isSingle: false,
  jitter: 0.5,
}

/**
 * Answers one call: takes what it gets from every named limit at once, or nothing from any. The same call again gets the
 * same answer and changes nothing; an older one gets none.
 *
 * @param pool every limit that the ledger may have lent from; those of the call with their present configuration
 */
export function grant<M extends LeaseMember<M>>(
  ledger: LeaseLedger,
  pool: LeasePool<M>,
  call: LeaseCall,
  terms: LeaseTerms,
  nowMs: number,
): GrantStep<M> {
  const unchanged = { ledger, pool, answer: null, mustPersist: false }
  const names = uniqueNames(terms.names)
  if (!isLeaseCall(call) || !names.every((name) => Object.hasOwn(pool, name))) return unchanged
  const isCaller = (holder: LeaseRecord) => holder.boot === call.boot && isSameNames(holder.names, names)
  const last = ledger.holders.find(isCaller)
  if (last !== undefined && call.seq <= last.seq) {
    return call.seq === last.seq ? { ...unchanged, answer: last.answer } : unchanged
  }

  const now = settleLedger(ledger, pool, names, nowMs)
  const record = now.ledger.holders.find(isCaller)
  const others = { ...now.ledger, holders: now.ledger.holders.filter((holder) => holder !== record) }
  const isRemembered = record !== undefined || others.holders.length < TOKEN_LEASE_HOLDERS_MAX
  const reconciled = reconcile(record, call)
  const { held } = reconciled
  const members = changeMembers(now.pool, names, (member, name) => {
    const back = backTo(member, record?.since[names.indexOf(name)], reconciled)
    return back === 0 ? member : member.give(back).settle(outstandingOf(others, name) + held, now.nowMs)
  })
  const views = viewsOf(members, names, others, held, call.demand)
  const since = names.map((name) => memberOf(members, name)?.sinceMs ?? 0)
  const fullMs = fullLifeMs(terms, call)
  const ttlMs = lendableMs(members, names, fullMs, terms, call)
  const isDecidedHere = ttlMs === 0
  // While more is lent than a limit holds, because it was lowered, nothing is prolonged; so that ends within one life.
  const isLowered = names.some((name, index) => memberOf(members, name)?.isOverdrawn(views[index]?.outstanding ?? 0))
  const isStopped = terms.blockedForMs > 0 || isLowered
  const isSameWindow = record === undefined || since.every((sinceMs, index) => sinceMs === record.since[index])
  const isSingle = terms.isSingle || !isRemembered || isDecidedHere
  const granted = isStopped ? 0 : sizeLease(views, { ...call, carry: held, ttlMs, isSingle })
  const carry = isStopped || !isSameWindow ? 0 : held

  const taken = changeMembers(members, names, (member) => member.take(granted))
  const isSpentAtOnce = held === 0 && fitWaiting(call.waiting, granted) === granted
  const lifeMs = isSpentAtOnce && !isDecidedHere ? tripLifeMs(ttlMs, call) : ttlMs
  const endMs = now.nowMs + lifeMs + terms.marginMs
  const heldEndMs = held > 0 ? (record?.expiresMs ?? 0) : 0
  // Never earlier than before: if this answer is lost, the isolate goes on spending until its old lease ends.
  const loan: Loan =
    isStopped || isDecidedHere
      ? { names, tokens: held, expiresMs: heldEndMs }
      : { names, tokens: held + granted, expiresMs: Math.max(endMs, heldEndMs) }
  const fixed = { seq: call.seq, granted, carry, ttlMs: lifeMs, epoch: terms.epoch }
  const lent = { loans: [...loansOf(others), loan], heldUntilMs: others.heldUntilMs }
  const { blockedForMs, jitter } = terms
  const outlook = outlookOf(
    taken,
    names,
    lent,
    { call, blockedForMs, jitter, pacedByMs: isDecidedHere ? fullMs : lifeMs, views, fixed },
    now.nowMs,
  )
  const answer: LeaseAnswer = { ...fixed, ...outlook }
  const { boot, seq, demand } = call
  const holder: LeaseRecord = {
    boot,
    names,
    seq,
    answer,
    carried: held,
    granted: loan.tokens - held,
    expiresMs: loan.expiresMs,
    since,
    returned: lastReturnOf(record, call),
    demand,
    seenMs: now.nowMs,
  }
  return {
    ledger: isRemembered
      ? { ...others, holders: [...others.holders, holder] }
      : {
          ...others,
          unnamed: loan.tokens > 0 ? lendUnnamed(others.unnamed, names, loan.tokens, endMs) : others.unnamed,
        },
    pool: taken,
    answer,
    mustPersist: granted > 0 || carry > 0,
  }
}

/**
 * Admits one request at once, out of what is not lent: what `core/gate/client-gate.ts` decides for limits and guards together, for
 * limits alone. The simulation asks for it, and tests hold the two against each other.
 *
 * The step has to be durable before the request passes. Discard it to take nothing.
 *
 * @param names the limits of the request, all in the pool
 * @param cost integer >= 0; anything else is refused for good
 */
export function admitDirect<M extends LeaseMember<M>>(
  ledger: LeaseLedger,
  pool: LeasePool<M>,
  names: readonly string[],
  cost: number,
  nowMs: number,
): DirectStep<M> {
  const drawn = uniqueNames(names)
  if (!isCount(cost) || !drawn.every((name) => Object.hasOwn(pool, name))) {
    return { ledger, pool, isAdmitted: false, violated: [], retryAfterMs: null }
  }
  const now = settleLedger(ledger, pool, drawn, nowMs)
  const violated = violatedBy(now.pool, drawn, cost)
  if (violated.length > 0) {
    const lent = { loans: loansOf(now.ledger), heldUntilMs: now.ledger.heldUntilMs }
    const retryAfterMs = fitMs(now.pool, drawn, lent, cost, now.nowMs)
    return { ledger: now.ledger, pool: now.pool, isAdmitted: false, violated, retryAfterMs }
  }
  const taken = changeMembers(now.pool, drawn, (member) => member.take(cost))
  return { ledger: now.ledger, pool: taken, isAdmitted: true, violated, retryAfterMs: null }
}

/** A lease that is over on arrival is no use, so a distant isolate gets a longer one. */
function fullLifeMs(terms: LeaseTerms, call: LeaseCall): number {
  const ttlMs = terms.failures > 0 ? Math.min(terms.ttlMs, TOKEN_LEASE_TTL_GUARDED_MS) : terms.ttlMs
  return Math.floor(Math.max(ttlMs, Math.min(2 * call.roundTripMs, TOKEN_LEASE_TTL_MS_MAX)))
}

/**
 * The life that a lease can have within the windows of its quotas, so that no token of one is spent in the next. 0 where
 * that is too short for the way: then the object decides what waits, else requests would be refused before every midnight.
 */
function lendableMs<M extends LeaseMember<M>>(
  pool: LeasePool<M>,
  names: readonly string[],
  fullMs: number,
  terms: LeaseTerms,
  call: LeaseCall,
): number {
  const validMs = Math.min(...names.map((name) => memberOf(pool, name)?.validMs ?? 0))
  const lifeMs = Math.floor(Math.min(fullMs, validMs - terms.marginMs))
  return lifeMs < Math.min(fullMs, tripMs(call)) ? 0 : lifeMs
}

/**
 * Tokens that waiting requests use up on arrival need to live no longer than the way there; counted as lent for longer,
 * they would keep the limit from refilling. Nobody knows the way of a first call.
 */
function tripLifeMs(ttlMs: number, call: LeaseCall): number {
  return call.roundTripMs === 0 ? ttlMs : Math.min(ttlMs, tripMs(call))
}

/** Longest that a call is expected to take, with slack. */
function tripMs({ roundTripMs }: LeaseCall): number {
  return Math.max(TOKEN_LEASE_TTL_GUARDED_MS, Math.ceil(2 * roundTripMs))
}

function viewsOf<M extends LeaseMember<M>>(
  pool: LeasePool<M>,
  names: readonly string[],
  others: LeaseLedger,
  held: number,
  demand: number,
): readonly MemberView[] {
  return names.flatMap((name) => {
    const member = memberOf(pool, name)
    if (member === undefined) return []
    const { available, ratePerMs } = member
    const total = demandOf(others, name) + demand
    const lent = outstandingOf(others, name) + held
    // What a lost ledger lent of a quota is unknown but used, so it does not matter.
    const outstanding = isRefilling(member) || Number.isFinite(lent) ? lent : held
    const capacity = isRefilling(member) ? member.capacity : available + outstanding
    return [{ available, capacity, rate: ratePerMs * 1000, outstanding, demand: total }]
  })
}

function demandOf(ledger: LeaseLedger, name: string): number {
  const isSeen = ({ names, seenMs }: LeaseRecord) =>
    ledger.lastMs - seenMs < 2 * TOKEN_LEASE_TTL_MS && names.includes(name)
  return ledger.holders.reduce((sum, holder) => (isSeen(holder) ? sum + holder.demand : sum), 0)
}

function uniqueNames(names: readonly string[]): readonly string[] {
  return [...new Set(names)].toSorted()
}

function isSameNames(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name, index) => name === b[index])
}

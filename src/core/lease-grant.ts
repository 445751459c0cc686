/**
 * What a call for tokens gets, on the object's side.
 *
 * Promises that isolates together can never spend more than the ledger counts as lent, so no window `[s, t]` ever sees
 * more than `burst + rate * (t - s)` tokens admitted, whatever messages and processes do. Pure and total. Called by the
 * client's object, which makes a step durable before it answers: a step with `mustPersist` that is forgotten afterwards
 * breaks the promise, any other step may be forgotten.
 */
import {
  TOKEN_LEASE_HOLDERS_MAX,
  TOKEN_LEASE_MARGIN_MS,
  TOKEN_LEASE_TTL_GUARDED_MS,
  TOKEN_LEASE_TTL_MS,
  TOKEN_LEASE_TTL_MS_MAX,
} from "./bounds.ts"
import { changeMembers, lendUnnamed, loansOf, memberOf, outstandingOf, settleLedger } from "./lease-ledger.ts"
import type { LeaseLedger, LeaseRecord, Loan } from "./lease-ledger.ts"
import { fitMs, outlookOf, violatedBy } from "./lease-outlook.ts"
import type { LeaseMember, LeasePool } from "./lease-member.ts"
import { isLeaseCall } from "./lease-protocol.ts"
import type { LeaseAnswer, LeaseCall } from "./lease-protocol.ts"
import { fitWaiting, sizeLease } from "./lease-sizing.ts"
import type { MemberView } from "./lease-sizing.ts"
import { isCount } from "./untrusted.ts"

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
  const { held, reclaimed } = reconcile(record, call)
  const members = changeMembers(now.pool, names, (member, name) =>
    reclaimed === 0 ? member : member.give(reclaimed).settle(outstandingOf(others, name) + held, now.nowMs),
  )
  const views = viewsOf(members, names, others, held, call.demand)
  const ttlMs = fullLifeMs(members, names, terms, call)
  // While more is lent than a limit holds, because it was lowered, nothing is prolonged; so that ends within one life.
  const isStopped = terms.blockedForMs > 0 || views.some(({ outstanding, capacity }) => outstanding > capacity)
  const request = { ...call, carry: held, ttlMs, isSingle: terms.isSingle || !isRemembered }
  const granted = isStopped ? 0 : sizeLease(views, request)
  const carry = isStopped ? 0 : held

  const taken = changeMembers(members, names, (member) => member.take(granted))
  const isSpentAtOnce = held === 0 && fitWaiting(call.waiting, granted) === granted
  const lifeMs = isSpentAtOnce ? tripLifeMs(ttlMs, call) : ttlMs
  const endMs = now.nowMs + lifeMs + terms.marginMs
  const heldEndMs = held > 0 ? (record?.expiresMs ?? 0) : 0
  // Never earlier than before: if this answer is lost, the isolate goes on spending until its old lease ends.
  const loan: Loan = { names, tokens: held + granted, expiresMs: isStopped ? heldEndMs : Math.max(endMs, heldEndMs) }
  const fixed = { seq: call.seq, granted, carry, ttlMs: lifeMs, epoch: terms.epoch }
  const lent = { loans: [...loansOf(others), loan], heldUntilMs: others.heldUntilMs }
  const { blockedForMs, jitter } = terms
  const outlook = outlookOf(taken, names, lent, { call, blockedForMs, jitter, views, fixed }, now.nowMs)
  const answer: LeaseAnswer = { ...fixed, ...outlook }
  return {
    ledger: isRemembered
      ? { ...others, holders: [...others.holders, recordOf(call, answer, loan, held, now.nowMs)] }
      : { ...others, unnamed: granted > 0 ? lendUnnamed(others.unnamed, names, granted, endMs) : others.unnamed },
    pool: taken,
    answer,
    mustPersist: granted > 0 || carry > 0,
  }
}

/**
 * Admits one request at once, out of what is not lent: for a request that also depends on limits which cannot be lent.
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

/**
 * What the caller may still hold of its last lease, and what of it can go back. An answer younger than the last one it
 * took never reached it and never will be taken; older tokens beyond those it names are spent.
 */
function reconcile(
  record: LeaseRecord | undefined,
  call: LeaseCall,
): { readonly held: number; readonly reclaimed: number } {
  if (record === undefined) return { held: 0, reclaimed: 0 }
  const isTaken = call.lease >= record.seq
  const lent = isTaken ? record.carried + record.granted : record.carried
  return { held: Math.min(call.unused, lent), reclaimed: isTaken ? 0 : record.granted }
}

/** A lease that is over on arrival is no use, so a distant isolate gets a longer one. */
function fullLifeMs<M extends LeaseMember<M>>(
  pool: LeasePool<M>,
  names: readonly string[],
  terms: LeaseTerms,
  call: LeaseCall,
): number {
  const ttlMs = terms.failures > 0 ? Math.min(terms.ttlMs, TOKEN_LEASE_TTL_GUARDED_MS) : terms.ttlMs
  const validMs = names.map((name) => memberOf(pool, name)?.validMs ?? 0)
  const reachingMs = Math.min(2 * call.roundTripMs, TOKEN_LEASE_TTL_MS_MAX)
  return Math.floor(Math.min(Math.max(ttlMs, reachingMs), ...validMs))
}

/**
 * Tokens that waiting requests use up on arrival need to live no longer than the way there; counted as lent for longer,
 * they would keep the limit from refilling. Nobody knows the way of a first call.
 */
function tripLifeMs(ttlMs: number, { roundTripMs }: LeaseCall): number {
  return roundTripMs === 0 ? ttlMs : Math.min(ttlMs, Math.max(TOKEN_LEASE_TTL_GUARDED_MS, Math.ceil(2 * roundTripMs)))
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
    const { available, capacity, ratePerMs } = member
    const total = demandOf(others, name) + demand
    return [
      { available, capacity, rate: ratePerMs * 1000, outstanding: outstandingOf(others, name) + held, demand: total },
    ]
  })
}

function demandOf(ledger: LeaseLedger, name: string): number {
  const isSeen = ({ names, seenMs }: LeaseRecord) =>
    ledger.lastMs - seenMs < 2 * TOKEN_LEASE_TTL_MS && names.includes(name)
  return ledger.holders.reduce((sum, holder) => (isSeen(holder) ? sum + holder.demand : sum), 0)
}

function recordOf(call: LeaseCall, answer: LeaseAnswer, loan: Loan, carried: number, nowMs: number): LeaseRecord {
  const { boot, seq, demand } = call
  const { names, expiresMs } = loan
  return { boot, names, seq, answer, carried, granted: answer.granted, expiresMs, demand, seenMs: nowMs }
}

function uniqueNames(names: readonly string[]): readonly string[] {
  return [...new Set(names)].toSorted()
}

function isSameNames(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name, index) => name === b[index])
}

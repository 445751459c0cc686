/**
 * What a caller still has of its last lease, and which of its tokens come back to the limits they were taken from.
 *
 * Promises that a token comes back once, only if it certainly was not and will not be spent, and only to what still counts
 * it: a bucket as lent, a quota as used of its present window. All of it is decided from the object's own record, without
 * any clock of the isolate. Pure and total; `core/lease/lease-grant.ts` calls it.
 */
import { isRefilling } from "./lease-member.ts"
import type { LeaseRecord } from "./lease-ledger.ts"
import type { LeaseCall } from "./lease-protocol.ts"

/** What is known of one limit of the caller. */
type Window = { readonly sinceMs: number; readonly ratePerMs: number }

/** The state of a caller's last lease at its next call. */
export interface Reconciled {
  /** Tokens that it may still spend. */
  readonly held: number
  /** Tokens of an answer that was never taken, as far as they still count as lent. */
  readonly reclaimed: number
  /** Tokens that were used up for nothing and are no longer lent: of such an answer, and handed back. */
  readonly unspent: number
}

/** A caller without a lease. */
const NOTHING: Reconciled = { held: 0, reclaimed: 0, unspent: 0 }

/**
 * Returns what a caller has. An answer younger than the last one it took never reached it and never will be taken; older
 * tokens beyond those it names are spent or handed back.
 */
export function reconcile(record: LeaseRecord | undefined, call: LeaseCall): Reconciled {
  if (record === undefined) return NOTHING
  const { seq, carried, granted, answer } = record
  const isTaken = call.lease >= seq
  const held = Math.min(call.unused, isTaken ? carried + granted : carried)
  const lent = lentBy(answer)
  const unheld = answer.carry + (isTaken ? lent : 0) - held
  const returned = Math.max(0, Math.min(handedBack(record, call), unheld))
  return { held, reclaimed: isTaken ? 0 : granted, unspent: (isTaken ? 0 : lent) + returned }
}

/**
 * Returns how much of it goes to one limit: nothing to a quota whose window is another one by now.
 *
 * @param sinceMs the window that the record's tokens were taken in
 */
export function backTo(member: Window, sinceMs: number | undefined, { reclaimed, unspent }: Reconciled): number {
  if (sinceMs !== member.sinceMs) return 0
  return isRefilling(member) ? reclaimed : unspent
}

/** Returns the last lease after this call that nothing more is given back for. */
export function lastReturnOf(record: LeaseRecord | undefined, { lease, returned }: LeaseCall): number {
  // Of an isolate that was forgotten, nobody knows what it gave back before.
  return Math.max(record?.returned ?? lease, returned?.lease ?? 0)
}

/** Returns the tokens of an answer that were lent: what the object decided itself is spent. */
function lentBy({ ttlMs, granted }: LeaseRecord["answer"]): number {
  return ttlMs > 0 ? granted : 0
}

function handedBack(record: LeaseRecord, { returned }: LeaseCall): number {
  const { seq, answer } = record
  if (returned === null || returned.lease <= record.returned || returned.lease > seq) return 0
  // Of a lease before the last answer, no more than that answer let the isolate keep: the rest may be of a window that is
  // over, or was given back already.
  const most = returned.lease === seq ? answer.carry + lentBy(answer) : answer.carry
  return Math.min(returned.tokens, most)
}

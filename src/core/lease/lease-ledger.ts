/**
 * The object's record of what is lent: which tokens of one client's limits are at which isolate, and until when.
 *
 * Promises that `level + lent <= burst` holds for every bucket while time passes: it refills only up to what is not lent,
 * and a lease that ends raises that bound from its end on and not before. Of a quota, what is lent counts as used. Pure, total and bounded.
 * `core/lease/lease-grant.ts` lends from it; the client's object stores it together with the limits, as JSON.
 */
import {
  TOKEN_LEASE_HOLDERS_MAX,
  TOKEN_LEASE_MARGIN_MS,
  TOKEN_LEASE_RETURN_MS,
  TOKEN_LEASE_SLICE_MS,
  TOKEN_LEASE_TTL_MS,
  TOKEN_LEASE_TTL_MS_MAX,
} from "../bounds.ts"
import { effectiveTimeMs } from "../clock.ts"
import type { LeaseMember, LeasePool } from "./lease-member.ts"
import { isNames, parseLeaseAnswer } from "./lease-protocol.ts"
import type { LeaseAnswer } from "./lease-protocol.ts"
import { isCount, isInstant, membersOf } from "../untrusted.ts"

/** Tokens that some isolate may spend until a time. */
export interface Loan {
  /** The limits that they were taken from, `tokens` from each; sorted. */
  readonly names: readonly string[]
  readonly tokens: number
  /** Epoch ms at which they stop being counted: after the isolate has stopped spending them. */
  readonly expiresMs: number
}

/** One isolate incarnation that draws on one set of limits. Its identity is both. */
export interface LeaseRecord {
  readonly boot: string
  /** Names of the limits, sorted. */
  readonly names: readonly string[]
  /** Number of its last call, and what that was answered: the same call again gets the same answer. */
  readonly seq: number
  readonly answer: LeaseAnswer
  /** Tokens counted as lent that it held before its last call. */
  readonly carried: number
  /** Tokens of its last answer. */
  readonly granted: number
  /** Epoch ms at which both stop being counted. */
  readonly expiresMs: number
  /** Of each of `names`, the start of the window that the tokens were taken in, epoch ms; 0 for a limit without windows. */
  readonly since: readonly number[]
  /** Number of the last lease whose unspent tokens were handed back: nothing more comes back of it or of one before. */
  readonly returned: number
  /** Tokens per second that it asked for, and epoch ms of its last call. */
  readonly demand: number
  readonly seenMs: number
}

/** Everything that is lent of one client. Valid JSON. */
export interface LeaseLedger {
  readonly version: 1
  /** The latest time seen, epoch ms. */
  readonly lastMs: number
  /** At most 128. */
  readonly holders: readonly LeaseRecord[]
  /** Loans to isolates beyond those, one limit each, ends rounded up to a grid. */
  readonly unnamed: readonly Loan[]
  /** Epoch ms until which every token counts as lent, 0 for not: the ledger before this one was lost. */
  readonly heldUntilMs: number
}

/** A ledger, the limits it lends from, and the time that both have reached. */
export interface SettledLedger<M> {
  readonly ledger: LeaseLedger
  readonly pool: LeasePool<M>
  /** Epoch ms: the latest of now and what was seen before, unless the clock was far ahead. */
  readonly nowMs: number
}

/** A ledger with nothing lent. */
export const EMPTY_LEDGER: LeaseLedger = { version: 1, lastMs: 0, holders: [], unnamed: [], heldUntilMs: 0 }

/**
 * Returns the ledger to start from when the stored one is unreadable: everything counts as lent until every lease that it
 * may have held is over. Refuses for that time rather than admit twice.
 */
export function createLostLedger(nowMs: number): LeaseLedger {
  return { ...EMPTY_LEDGER, lastMs: nowMs, heldUntilMs: nowMs + TOKEN_LEASE_TTL_MS_MAX + TOKEN_LEASE_MARGIN_MS }
}

/** Returns all that is lent, in no order; a lost ledger's hold is not among it. */
export function loansOf(ledger: LeaseLedger): readonly Loan[] {
  const named = ledger.holders.map(({ names, carried, granted, expiresMs }) => ({
    names,
    tokens: carried + granted,
    expiresMs,
  }))
  return [...named, ...ledger.unnamed].filter(({ tokens }) => tokens > 0)
}

/** Returns the tokens of one limit that count as lent; infinite while a lost ledger is waited for. */
export function outstandingOf(ledger: LeaseLedger, name: string): number {
  if (ledger.heldUntilMs > 0) return Number.POSITIVE_INFINITY
  let sum = 0
  for (const { names, carried, granted } of ledger.holders) if (names.includes(name)) sum += carried + granted
  for (const { names, tokens } of ledger.unnamed) if (names.includes(name)) sum += tokens
  return sum
}

/**
 * Lets time pass: leases end one after the other, each limit having refilled up to then only to what was not lent. Holders
 * that nothing is lent to are forgotten two lease lives after their last call, or 10 s after it when they may have tokens
 * of a quota to hand back and there is room. What a forgotten one hands back is ignored, so forgetting is always safe.
 *
 * A clock up to 60 s behind counts as no time passing; one further behind shifts every instant, so that ages are kept.
 *
 * @param pool every limit that the ledger may have lent from; one that is missing refills as if nothing were lent
 * @param names the limits to bring to `nowMs`; others are brought to the end of the last lease on them
 */
export function settleLedger<M extends LeaseMember<M>>(
  ledger: LeaseLedger,
  pool: LeasePool<M>,
  names: readonly string[],
  nowMs: number,
): SettledLedger<M> {
  let current = moveClock(ledger, nowMs)
  let members = pool
  for (const endMs of endsUntil(current, current.lastMs)) {
    const before = current
    const touched = namesEndingAt(before, members, endMs)
    members = changeMembers(members, touched, (member, name) => member.settle(outstandingOf(before, name), endMs))
    current = endLeases(before, endMs)
  }
  const after = forgetIdle(current)
  members = changeMembers(members, names, (member, name) => {
    const outstanding = outstandingOf(after, name)
    // A new configuration counts from now on, not from the end of a lease that is only noticed now.
    return member.settle(outstanding, after.lastMs).adopt(outstanding)
  })
  return { ledger: after, pool: members, nowMs: after.lastMs }
}

/** Returns the pool with the named members changed; a name that is not in it is passed over. */
export function changeMembers<M>(
  pool: LeasePool<M>,
  names: readonly string[],
  change: (member: M, name: string) => M,
): LeasePool<M> {
  const changed = names.flatMap((name): [string, M][] => {
    const member = memberOf(pool, name)
    return member === undefined ? [] : [[name, change(member, name)]]
  })
  return changed.length === 0 ? pool : { ...pool, ...Object.fromEntries(changed) }
}

/** Returns a limit of the pool. Own members only: a limit may be called `constructor`. */
export function memberOf<M>(pool: LeasePool<M>, name: string): M | undefined {
  return Object.hasOwn(pool, name) ? pool[name] : undefined
}

/**
 * Returns the loans with `tokens` more of each limit until `endMs` or a little later. Loans of one limit that end in the
 * same slice are one, so their number is bounded by the longest lease and not by the number of isolates.
 */
export function lendUnnamed(
  unnamed: readonly Loan[],
  names: readonly string[],
  tokens: number,
  endMs: number,
): readonly Loan[] {
  const expiresMs = Math.ceil(endMs / TOKEN_LEASE_SLICE_MS) * TOKEN_LEASE_SLICE_MS
  return names.reduce((loans, name) => {
    const isSame = (loan: Loan) => loan.expiresMs === expiresMs && loan.names[0] === name
    const lent = loans.find(isSame)?.tokens ?? 0
    return [...loans.filter((loan) => !isSame(loan)), { names: [name], tokens: lent + tokens, expiresMs }]
  }, unnamed)
}

/** Returns the ledger in an untrusted value, or undefined unless all of it is in range and of this version. */
export function parseLedger(value: unknown): LeaseLedger | undefined {
  const { version, lastMs, holders, unnamed, heldUntilMs } = membersOf(value)
  if (version !== 1 || !isCount(lastMs) || !isCount(heldUntilMs)) return undefined
  if (!Array.isArray(holders) || holders.length > TOKEN_LEASE_HOLDERS_MAX || !Array.isArray(unnamed)) return undefined
  const records = holders.flatMap((holder) => parseRecord(holder) ?? [])
  const loans = unnamed.flatMap((loan) => parseLoan(loan) ?? [])
  // One damaged lease is a lost ledger: what it lent would be lent again.
  if (records.length !== holders.length || loans.length !== unnamed.length) return undefined
  return { version, lastMs, holders: records, unnamed: loans, heldUntilMs }
}

function parseRecord(value: unknown): LeaseRecord | undefined {
  const { boot, names, seq, answer, carried, granted, expiresMs, demand, seenMs, ...later } = membersOf(value)
  const parsed = parseLeaseAnswer(answer)
  if (typeof boot !== "string" || !isNames(names) || !isCount(seq) || parsed === undefined) return undefined
  if (!isCount(carried) || !isCount(granted) || !isCount(expiresMs) || !isCount(seenMs)) return undefined
  if (typeof demand !== "number" || !Number.isFinite(demand) || demand < 0) return undefined
  // Rows from before quotas could be lent have neither: then all limits are without windows, and nothing came back.
  const { since = names.map(() => 0), returned = 0 } = later
  if (!Array.isArray(since) || since.length !== names.length || !since.every(isInstant) || !isCount(returned))
    return undefined
  return { boot, names, seq, answer: parsed, carried, granted, expiresMs, since, returned, demand, seenMs }
}

function parseLoan(value: unknown): Loan | undefined {
  const { names, tokens, expiresMs } = membersOf(value)
  return isNames(names) && isCount(tokens) && isCount(expiresMs) ? { names, tokens, expiresMs } : undefined
}

function moveClock(ledger: LeaseLedger, nowMs: number): LeaseLedger {
  const lastMs = effectiveTimeMs(ledger.lastMs, nowMs)
  const shiftMs = lastMs - ledger.lastMs
  if (shiftMs >= 0) return shiftMs === 0 ? ledger : { ...ledger, lastMs }
  const shifted = (instantMs: number) => Math.max(0, instantMs + shiftMs)
  return {
    ...ledger,
    lastMs,
    holders: ledger.holders.map((holder) => ({
      ...holder,
      expiresMs: shifted(holder.expiresMs),
      seenMs: shifted(holder.seenMs),
    })),
    unnamed: ledger.unnamed.map((loan) => ({ ...loan, expiresMs: shifted(loan.expiresMs) })),
    heldUntilMs: ledger.heldUntilMs > 0 ? shifted(ledger.heldUntilMs) : 0,
  }
}

/** Instants up to `untilMs` at which something lent ends, each once, in order. */
function endsUntil(ledger: LeaseLedger, untilMs: number): readonly number[] {
  const ends = new Set<number>()
  for (const { carried, granted, expiresMs } of ledger.holders) {
    if (expiresMs <= untilMs && carried + granted > 0) ends.add(expiresMs)
  }
  for (const { expiresMs } of ledger.unnamed) if (expiresMs <= untilMs) ends.add(expiresMs)
  if (ledger.heldUntilMs > 0 && ledger.heldUntilMs <= untilMs) ends.add(ledger.heldUntilMs)
  return [...ends].toSorted((a, b) => a - b)
}

function namesEndingAt<M>(ledger: LeaseLedger, pool: LeasePool<M>, endMs: number): readonly string[] {
  if (ledger.heldUntilMs === endMs) return Object.keys(pool)
  const ending = loansOf(ledger).filter(({ expiresMs }) => expiresMs === endMs)
  return [...new Set(ending.flatMap(({ names }) => names))]
}

function endLeases(ledger: LeaseLedger, endMs: number): LeaseLedger {
  return {
    ...ledger,
    holders: ledger.holders.map((holder) =>
      holder.expiresMs === endMs ? { ...holder, carried: 0, granted: 0 } : holder,
    ),
    unnamed: ledger.unnamed.filter(({ expiresMs }) => expiresMs !== endMs),
    heldUntilMs: ledger.heldUntilMs === endMs ? 0 : ledger.heldUntilMs,
  }
}

function forgetIdle(ledger: LeaseLedger): LeaseLedger {
  const hasRoom = ledger.holders.length < TOKEN_LEASE_HOLDERS_MAX
  const isKept = ({ carried, granted, seenMs, since, answer }: LeaseRecord) => {
    const mayReturn = hasRoom && answer.granted + answer.carry > 0 && since.some((sinceMs) => sinceMs !== 0)
    const keptForMs = mayReturn ? TOKEN_LEASE_RETURN_MS : 2 * TOKEN_LEASE_TTL_MS
    return carried + granted > 0 || ledger.lastMs - seenMs < keptForMs
  }
  return ledger.holders.every(isKept) ? ledger : { ...ledger, holders: ledger.holders.filter(isKept) }
}

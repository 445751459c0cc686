/**
 * Deliberate mistakes. A checker that finds none of them proves nothing by finding nothing in the real code.
 */
import type { BucketState } from "../src/core/limit/gcra.ts"
import { EMPTY_LEDGER } from "../src/core/lease/lease-ledger.ts"
import type { LeaseLedger } from "../src/core/lease/lease-ledger.ts"
import { isRefilling } from "../src/core/lease/lease-member.ts"
import type { LeaseMember, LeasePool } from "../src/core/lease/lease-member.ts"
import type { LendableMember } from "../src/core/lease/lease-pool.ts"
import type { LeaseCall } from "../src/core/lease/lease-protocol.ts"
import type { LeaseHolder } from "../src/core/lease/lease-holder.ts"
import type { QuotaState } from "../src/core/limit/quota.ts"

/** A mistake: what is left out or done differently. */
export const MUTATIONS = [
  // Refill up to the burst, whatever is lent.
  "without-outstanding-cap",
  // Count the lease at the isolate from the answer's arrival.
  "lease-from-receipt",
  // A restarted object remembers its limits but not what it lent.
  "restart-forgets-leases",
  // A restarted object starts from nothing.
  "restart-forgets-all",
  // A call that comes twice is answered twice.
  "duplicate-regranted",
  // The object stops counting a lease when the isolate should, without regard to clocks.
  "without-margin",
  // Grants go on while the client is blocked.
  "grant-while-blocked",
  // A step that had to be durable is not.
  "forgets-grants",
  // What is handed back is credited whenever it is named.
  "return-credited-twice",
  // What is handed back is credited to a quota whose next window has begun.
  "return-of-old-window",
  // What is handed back is credited to buckets, which have refilled for it.
  "return-to-buckets",
  // The tokens of an answer that was never taken are credited to a quota whose next window has begun.
  "reclaim-across-windows",
  // A lease on a quota outlives its window.
  "lease-across-windows",
] as const

export type Mutation = (typeof MUTATIONS)[number]

/** A limit, right or wrong, with what is stored of it. */
export interface SimulatedMember extends LeaseMember<SimulatedMember> {
  readonly state: BucketState | QuotaState
}

/** Returns the member as the mistake makes it. */
export function mutateMember(member: LendableMember, mutation: Mutation | undefined): SimulatedMember {
  if (mutation === "without-outstanding-cap" && isRefilling(member)) return new MutantMember(member, mutation)
  return mutation === "lease-across-windows" ? new MutantMember(member, mutation) : member
}

/** Returns the pool as the mistake makes it, right before it gets a call. */
export function mutateReturn(
  pool: LeasePool<SimulatedMember>,
  mutation: Mutation | undefined,
  ledger: LeaseLedger,
  call: LeaseCall,
  nowMs: number,
): LeasePool<SimulatedMember> {
  const record = ledger.holders.find(({ boot }) => boot === call.boot)
  if (mutation === undefined || record === undefined || call.seq <= record.seq) return pool
  const returned = call.returned?.tokens ?? 0
  const isNew = (call.returned?.lease ?? 0) > record.returned
  const untaken = call.lease < record.seq ? record.answer.granted : 0
  const mutated = record.names.map((name, index) => {
    const member = pool[name]
    if (member === undefined) return []
    if (isRefilling(member)) return [[name, mutation === "return-to-buckets" && isNew ? member.give(returned) : member]]
    const settled = member.settle(0, nowMs)
    const isOld = settled.sinceMs !== record.since[index]
    const isTwice = mutation === "return-credited-twice" && !isNew && !isOld
    const isLate = mutation === "return-of-old-window" && isNew && isOld
    const isReclaimed = mutation === "reclaim-across-windows" && isOld
    return [[name, settled.give((isTwice || isLate ? returned : 0) + (isReclaimed ? untaken : 0))]]
  })
  return { ...pool, ...Object.fromEntries(mutated.flat()) }
}

/** Returns the holder as the mistake makes it, right before it takes an answer. */
export function mutateHolder(holder: LeaseHolder, mutation: Mutation | undefined, nowMs: number): LeaseHolder {
  if (mutation !== "lease-from-receipt" || holder.call === null) return holder
  return { ...holder, call: { ...holder.call, sentAtMs: nowMs } }
}

/** Returns the ledger as the mistake makes it, right before it gets a call. */
export function mutateLedger(ledger: LeaseLedger, mutation: Mutation | undefined, call: LeaseCall): LeaseLedger {
  if (mutation !== "duplicate-regranted") return ledger
  const holders = ledger.holders.map((holder) =>
    holder.boot === call.boot && holder.seq === call.seq ? { ...holder, seq: call.seq - 1 } : holder,
  )
  return { ...ledger, holders }
}

/** Returns what a restarted object starts from. */
export function mutateRestart<
  T extends { readonly ledger: LeaseLedger; readonly buckets: object; readonly quotas: object },
>(durable: T, mutation: Mutation | undefined): T {
  if (mutation === "restart-forgets-leases") return { ...durable, ledger: EMPTY_LEDGER }
  if (mutation === "restart-forgets-all") return { ...durable, ledger: EMPTY_LEDGER, buckets: {}, quotas: {} }
  return durable
}

class MutantMember implements SimulatedMember {
  readonly #member: SimulatedMember
  readonly #mutation: Mutation

  constructor(member: SimulatedMember, mutation: Mutation) {
    this.#member = member
    this.#mutation = mutation
  }

  get state(): BucketState | QuotaState {
    return this.#member.state
  }

  get capacity(): number {
    return this.#member.capacity
  }

  get ratePerMs(): number {
    return this.#member.ratePerMs
  }

  get available(): number {
    return this.#member.available
  }

  get validMs(): number {
    return this.#mutation === "lease-across-windows" ? Number.POSITIVE_INFINITY : this.#member.validMs
  }

  get sinceMs(): number {
    return this.#member.sinceMs
  }

  settle(outstanding: number, nowMs: number): SimulatedMember {
    return this.#with(this.#member.settle(this.#lent(outstanding), nowMs))
  }

  adopt(outstanding: number): SimulatedMember {
    return this.#with(this.#member.adopt(this.#lent(outstanding)))
  }

  take(n: number): SimulatedMember {
    return this.#with(this.#member.take(n))
  }

  give(n: number): SimulatedMember {
    return this.#with(this.#member.give(n))
  }

  isOverdrawn(outstanding: number): boolean {
    return this.#member.isOverdrawn(outstanding)
  }

  waitMs(n: number): number {
    return this.#member.waitMs(n)
  }

  #lent(outstanding: number): number {
    return this.#mutation === "without-outstanding-cap" ? 0 : outstanding
  }

  #with(member: SimulatedMember): SimulatedMember {
    return new MutantMember(member, this.#mutation)
  }
}

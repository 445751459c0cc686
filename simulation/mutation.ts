/**
 * Deliberate mistakes. A checker that finds none of them proves nothing by finding nothing in the real code.
 */
import type { BucketState } from "../src/core/gcra.ts"
import { EMPTY_LEDGER } from "../src/core/lease-ledger.ts"
import type { LeaseLedger } from "../src/core/lease-ledger.ts"
import type { BucketMember } from "../src/core/lease-member.ts"
import type { LeaseMember } from "../src/core/lease-member.ts"
import type { LeaseCall } from "../src/core/lease-protocol.ts"
import type { LeaseHolder } from "../src/core/lease-holder.ts"

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
] as const

export type Mutation = (typeof MUTATIONS)[number]

/** A bucket member, right or wrong, with what is stored of it. */
export interface SimulatedMember extends LeaseMember<SimulatedMember> {
  readonly state: BucketState
}

/** Returns the member as the mistake makes it. */
export function mutateMember(member: BucketMember, mutation: Mutation | undefined): SimulatedMember {
  return mutation === "without-outstanding-cap" ? new UncappedMember(member) : member
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
export function mutateRestart<T extends { readonly ledger: LeaseLedger; readonly buckets: object }>(
  durable: T,
  mutation: Mutation | undefined,
): T {
  if (mutation === "restart-forgets-leases") return { ...durable, ledger: EMPTY_LEDGER }
  if (mutation === "restart-forgets-all") return { ...durable, ledger: EMPTY_LEDGER, buckets: {} }
  return durable
}

class UncappedMember implements SimulatedMember {
  readonly #member: BucketMember

  constructor(member: BucketMember) {
    this.#member = member
  }

  get state(): BucketState {
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
    return this.#member.validMs
  }

  settle(_outstanding: number, nowMs: number): UncappedMember {
    return new UncappedMember(this.#member.settle(0, nowMs))
  }

  adopt(_outstanding: number): UncappedMember {
    return new UncappedMember(this.#member.adopt(0))
  }

  take(n: number): UncappedMember {
    return new UncappedMember(this.#member.take(n))
  }

  give(n: number): UncappedMember {
    return new UncappedMember(this.#member.give(n))
  }

  waitMs(n: number): number {
    return this.#member.waitMs(n)
  }
}

/**
 * How one client stands, for an administrator: its limits, what is lent, its guards, and what was stopped. Reading changes
 * nothing. Pure and total.
 */
import { settleLeases } from "../limit/concurrency.ts"
import { settleGuards } from "./gate-guards.ts"
import type { GateState } from "./gate-state.ts"
import { outstandingOf, settleLedger } from "../lease/lease-ledger.ts"
import { BucketMember } from "../lease/lease-member.ts"
import { settleQuota } from "../limit/quota.ts"
import type { StoppedState, StoppedTotal } from "./stopped.ts"

/** One client at one instant. Times are epoch ms. */
export interface GateReport {
  /** Whole tokens that could be taken, and those that isolates have. */
  readonly buckets: readonly {
    readonly name: string
    readonly burst: number
    readonly remaining: number
    readonly lent: number
  }[]
  readonly quotas: readonly { readonly name: string; readonly used: number; readonly endsMs: number }[]
  /** Requests in progress by limit. */
  readonly concurrency: readonly { readonly name: string; readonly inUse: number }[]
  /** Isolates that have leases, and how often each of them has called. */
  readonly holders: readonly { readonly boot: string; readonly calls: number; readonly lent: number }[]
  readonly guards: readonly {
    readonly name: string
    readonly isOpen: boolean
    readonly blockedUntilMs: number | null
    readonly failures: number
    readonly attempt: number
    readonly openedTotal: number
  }[]
  /** By problem code. */
  readonly stopped: Readonly<Record<string, StoppedTotal>>
  readonly stoppedDays: StoppedState["days"]
}

/** Returns the report at `nowMs`. */
export function inspectGate(state: GateState, stopped: StoppedState, nowMs: number): GateReport {
  const names = Object.keys(state.buckets)
  const pool = Object.fromEntries(
    Object.entries(state.buckets).map(([name, bucket]) => [name, new BucketMember(bucket)] as const),
  )
  const settled = settleLedger(state.ledger, pool, names, nowMs)
  return {
    buckets: Object.entries(settled.pool).map(([name, member]) => ({
      name,
      burst: member.capacity,
      remaining: member.available,
      lent: Math.min(member.capacity, outstandingOf(settled.ledger, name)),
    })),
    quotas: Object.entries(state.quotas).map(([name, quota]) => {
      // The limit is the configuration's; what is used of the window does not depend on it.
      const { used, endMs } = settleQuota(quota, { ...quota, limit: 0 }, nowMs)
      return { name, used, endsMs: endMs }
    }),
    concurrency: Object.entries(state.concurrency).map(([name, leases]) => ({
      name,
      inUse: settleLeases(leases, nowMs).leases.length,
    })),
    holders: settled.ledger.holders.map(({ boot, seq, carried, granted }) => ({
      boot,
      calls: seq,
      lent: carried + granted,
    })),
    guards: Object.entries(settleGuards(state.guards, nowMs).guards).map(([name, { state: guard }]) => ({
      name,
      isOpen: guard.openUntilMs !== null,
      blockedUntilMs: guard.openUntilMs,
      failures: guard.failures.length,
      attempt: guard.attempt,
      openedTotal: guard.openedTotal,
    })),
    stopped: stopped.total,
    stoppedDays: stopped.days,
  }
}

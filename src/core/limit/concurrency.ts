/**
 * The concurrency limit: how many requests of a client may be in flight at once.
 *
 * A request takes a lease under its id and gives it back when it is done. A lease that is not given back, because the
 * isolate that held it is gone, ends by itself after its time to live; whatever comes later for it finds nothing and
 * changes nothing, so the count never falls below what runs. Pure and total; same shape as `core/limit/gcra.ts`.
 * `core/limit/limit.ts` calls it.
 */
import { CONCURRENCY_MAX, LEASE_ID_LENGTH_MAX } from "../bounds.ts"
import { CLOCK_MS_MAX, effectiveTimeMs, isEffectiveTime } from "../clock.ts"
import { isInstant, isPositiveInteger, membersOf } from "../untrusted.ts"

/** What a concurrency limit allows. */
export interface ConcurrencyConfig {
  /** Most leases at once, integer from 1 to 1,000. */
  readonly maxConcurrent: number
  /** How long a lease lasts unless it is renewed or released, ms, integer >= 1: longer than any request may take. */
  readonly leaseTtlMs: number
}

/** One slot that is taken. */
export interface Lease {
  /** 1 to 64 characters. Given by the gateway: who repeats an id takes no second slot. */
  readonly id: string
  /** Epoch ms from which the lease is gone. */
  readonly expiresMs: number
}

/** The leases at one instant. */
export interface ConcurrencyState {
  /** In the order in which they were taken, each id once. */
  readonly leases: readonly Lease[]
  /** Effective time of the last operation, epoch ms. */
  readonly lastMs: number
  /** Set after a loss: until then (epoch ms) leases that nobody knows of may be running, and no slot is free. */
  readonly heldUntilMs?: number
}

/** The answer to one operation on the leases. */
export interface ConcurrencyDecision {
  /** Whether the lease that was asked for is held now. */
  readonly allowed: boolean
  /** Refused, and no waiting helps: the id is none. */
  readonly permanent: boolean
  /** Slots taken; all of them after a loss. More than `maxConcurrent` once that was lowered. */
  readonly inUse: number
  /** Slots free. */
  readonly remaining: number
  /** Ms until a slot is free unless leases are renewed; earlier when one is released. Null when allowed or permanent. */
  readonly retryAfterMs: number | null
  /** Present when the id is out of range; the leases are then unchanged. */
  readonly error?: "invalid-id"
}

/** What every operation returns. */
export interface ConcurrencyStep {
  readonly state: ConcurrencyState
  readonly decision: ConcurrencyDecision
}

/** A concurrency configuration, or everything that is wrong with it: one text per member, naming it first. */
export type ConcurrencyConfigResult =
  | { readonly ok: true; readonly config: ConcurrencyConfig }
  | { readonly ok: false; readonly problems: readonly string[] }

/** Returns the concurrency configuration in an untrusted value, or all its problems. Unknown members are ignored. */
export function parseConcurrencyConfig(value: unknown): ConcurrencyConfigResult {
  const { maxConcurrent, leaseTtlMs } = membersOf(value)
  const problems: string[] = []
  const isMax = isPositiveInteger(maxConcurrent) && maxConcurrent <= CONCURRENCY_MAX
  if (!isMax) problems.push(`maxConcurrent must be an integer from 1 to ${CONCURRENCY_MAX}`)
  if (!isPositiveInteger(leaseTtlMs)) problems.push("leaseTtlMs must be an integer of at least 1")
  if (!isMax || !isPositiveInteger(leaseTtlMs)) return { ok: false, problems }
  return { ok: true, config: { maxConcurrent, leaseTtlMs } }
}

/** Returns the leases in an untrusted value, or undefined unless every one is in range, ids are unique and none too many. */
export function parseConcurrencyState(value: unknown): ConcurrencyState | undefined {
  const { leases, lastMs, heldUntilMs } = membersOf(value)
  if (!Array.isArray(leases) || leases.length > CONCURRENCY_MAX || !isEffectiveTime(lastMs)) return undefined
  const parsed = new Map<string, Lease>()
  for (const lease of leases) {
    const { id, expiresMs } = membersOf(lease)
    if (!isLeaseId(id) || !isInstant(expiresMs) || parsed.has(id)) return undefined
    parsed.set(id, { id, expiresMs })
  }
  const state = { leases: [...parsed.values()], lastMs }
  if (heldUntilMs === undefined) return state
  return isInstant(heldUntilMs) ? { ...state, heldUntilMs } : undefined
}

/** Returns true for what can be the id of a lease: a string of 1 to 64 characters. */
export function isLeaseId(value: unknown): value is string {
  return typeof value === "string" && value.length > 0 && value.length <= LEASE_ID_LENGTH_MAX
}

/**
 * Returns the leases as they stand at `nowMs`: those that have expired are gone. A limit that does not exist yet has none.
 *
 * The clock rule is that of `core/clock.ts`. When the clock is put back for good, every expiry moves with it: a lease
 * lasts its time and not that plus the step.
 */
export function settleLeases(state: ConcurrencyState | undefined, nowMs: number): ConcurrencyState {
  // An unreadable clock anchors in the far future: the first readable one re-anchors, and leases keep their time.
  if (state === undefined) return { leases: [], lastMs: effectiveTimeMs(CLOCK_MS_MAX, nowMs) }
  const lastMs = effectiveTimeMs(state.lastMs, nowMs)
  const shiftMs = Math.min(0, lastMs - state.lastMs)
  const isUnchanged = shiftMs === 0 && state.leases.every(({ expiresMs }) => expiresMs > lastMs)
  const leases = isUnchanged
    ? state.leases
    : state.leases
        .map(({ id, expiresMs }) => ({ id, expiresMs: expiresMs + shiftMs }))
        .filter(({ expiresMs }) => expiresMs > lastMs)
  const heldUntilMs = (state.heldUntilMs ?? lastMs) + shiftMs
  return heldUntilMs > lastMs ? { leases, lastMs, heldUntilMs } : { leases, lastMs }
}

/** Returns the leases after a loss at `nowMs`: whatever ran then is over one time to live later, and not known earlier. */
export function lostLeases({ leaseTtlMs }: ConcurrencyConfig, nowMs: number): ConcurrencyState {
  const settled = settleLeases(undefined, nowMs)
  return { ...settled, heldUntilMs: expiryOf(settled, leaseTtlMs) }
}

/**
 * Returns true when `after` holds nothing over `before` that {@link settleLeases} would not work out again from it. Such a
 * state need not be stored. Whatever changes a lease, a clock that is put back included, makes a new list of them.
 *
 * @param after a state made from `before` by any operation
 */
export function isSameLeases(before: ConcurrencyState, after: ConcurrencyState): boolean {
  return after.leases === before.leases && after.heldUntilMs === before.heldUntilMs
}

/**
 * Takes a slot until `leaseTtlMs` from now. Repeating it with the id of a live lease is allowed, takes no second slot and
 * does not extend the first.
 *
 * @param config one that {@link parseConcurrencyConfig} accepts, here and in every operation below
 */
export function acquireLease(
  state: ConcurrencyState | undefined,
  config: ConcurrencyConfig,
  id: string,
  nowMs: number,
): ConcurrencyStep {
  const settled = settleLeases(state, nowMs)
  const observed = observe(settled, config)
  if (!isLeaseId(id)) {
    const decision: ConcurrencyDecision = { ...observed, allowed: false, permanent: true, error: "invalid-id" }
    return { state: state ?? settled, decision }
  }
  if (isHeld(settled, id)) return { state: settled, decision: observed }
  if (observed.remaining === 0) {
    const retryAfterMs = waitMs(settled, config)
    return { state: settled, decision: { ...observed, allowed: false, retryAfterMs } }
  }
  const taken = { ...settled, leases: [...settled.leases, { id, expiresMs: expiryOf(settled, config.leaseTtlMs) }] }
  return { state: taken, decision: observe(taken, config) }
}

/** Extends a live lease to `leaseTtlMs` from now; of any other it changes nothing and says so. */
export function renewLease(
  state: ConcurrencyState | undefined,
  config: ConcurrencyConfig,
  id: string,
  nowMs: number,
): ConcurrencyStep & { readonly renewed: boolean } {
  const settled = settleLeases(state, nowMs)
  const renewed = isHeld(settled, id)
  const expiresMs = expiryOf(settled, config.leaseTtlMs)
  const leases = settled.leases.map((lease) => (lease.id === id ? { id, expiresMs } : lease))
  return { state: renewed ? { ...settled, leases } : settled, decision: observe(settled, config), renewed }
}

/**
 * Frees the slot of a live lease; of any other it changes nothing and says so. A request may have ended under another
 * configuration than it began, so none is asked for.
 */
export function releaseLease(
  state: ConcurrencyState | undefined,
  id: string,
  nowMs: number,
): { readonly state: ConcurrencyState; readonly released: boolean } {
  const settled = settleLeases(state, nowMs)
  if (!isHeld(settled, id)) return { state: settled, released: false }
  return { state: { ...settled, leases: settled.leases.filter((lease) => lease.id !== id) }, released: true }
}

/** Reads the leases. A changed configuration evicts none of them: it holds for new and renewed ones. */
export function peekLeases(
  state: ConcurrencyState | undefined,
  config: ConcurrencyConfig,
  nowMs: number,
): ConcurrencyStep {
  const settled = settleLeases(state, nowMs)
  return { state: settled, decision: observe(settled, config) }
}

function isHeld({ leases }: ConcurrencyState, id: string): boolean {
  return leases.some((lease) => lease.id === id)
}

function expiryOf({ lastMs }: ConcurrencyState, leaseTtlMs: number): number {
  return Math.min(lastMs + leaseTtlMs, Number.MAX_SAFE_INTEGER)
}

/** Returns the time until so many leases have expired that one more fits. */
function waitMs({ leases, lastMs, heldUntilMs }: ConcurrencyState, { maxConcurrent }: ConcurrencyConfig): number {
  const expiries = leases.map(({ expiresMs }) => expiresMs).toSorted((a, b) => a - b)
  const freeMs = expiries[leases.length - maxConcurrent] ?? lastMs
  return Math.max(freeMs, heldUntilMs ?? lastMs) - lastMs
}

function observe({ leases, heldUntilMs }: ConcurrencyState, { maxConcurrent }: ConcurrencyConfig): ConcurrencyDecision {
  const inUse = heldUntilMs === undefined ? leases.length : Math.max(leases.length, maxConcurrent)
  return {
    allowed: true,
    permanent: false,
    inUse,
    remaining: Math.max(0, maxConcurrent - inUse),
    retryAfterMs: null,
  }
}

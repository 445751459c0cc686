/**
 * What the object of one client decides: whether a request passes all of its guards and limits, what an isolate is lent to
 * decide by itself, and what an outcome does.
 *
 * One state, one decision at a time. A limit that is lent to isolates is never decided on without counting what is lent, so
 * requests that are asked for one by one and requests that isolates admit share every limit exactly. Pure and total; the
 * object stores a returned state that is not the very one it passed in before the answer leaves.
 */
import { decideAdmission, releaseLeases } from "../limit/admission.ts"
import type { AdmissionDecision, AdmissionRequest } from "../limit/admission.ts"
import { isAccrualOnly } from "../limit/gcra.ts"
import { askGuards } from "./gate-guards.ts"
import type { GuardBlock, GuardDemand, GuardStanding, NamedGuardEvent } from "./gate-guards.ts"
import { isLendableGuard } from "./gate-plan.ts"
import type { GateState } from "./gate-state.ts"
import { grant, LEASE_TERMS_DEFAULT } from "../lease/lease-grant.ts"
import { loansOf, settleLedger } from "../lease/lease-ledger.ts"
import { fitMs } from "../lease/lease-outlook.ts"
import { createLeasePool, storedOf } from "../lease/lease-pool.ts"
import type { LeaseAnswer, LeaseCall } from "../lease/lease-protocol.ts"
import { askLimit, isNamedLimit, isUnknownLimit } from "../limit/limit.ts"
import type { NamedBucket, NamedLimit, NamedQuota, PolicyStatus } from "../limit/limit.ts"
import { isSameQuota } from "../limit/quota.ts"

/** What an isolate is told beside the tokens: how the limits stand, and what outcomes of the guards have to name. */
export interface LeaseGrant {
  readonly lease: LeaseAnswer
  /** In the order of the limits, what is lent already taken. */
  readonly policies: readonly PolicyStatus[]
  readonly standings: readonly GuardStanding[]
  /** The guard that is open; then nothing is lent. */
  readonly block: GuardBlock | null
  /** What was lent was lost with the stored state, so there is nothing to give for a while. */
  readonly isLost: boolean
}

/** One request that is decided here and not by an isolate. */
export interface GateRequest extends AdmissionRequest {
  /** Minted by the gateway, unique to the request: under it an outcome is recorded. */
  readonly admissionId: string
  readonly guards: readonly GuardDemand[]
}

/** Whether it may pass. `admission` of one that a guard refuses reads the limits and takes nothing. */
export interface GateDecision {
  readonly admission: AdmissionDecision
  readonly standings: readonly GuardStanding[]
  readonly block: GuardBlock | null
}

/** What an operation leaves behind. */
export interface GateStep<Answer> {
  /** The very object that was passed in when nothing has to be stored. */
  readonly state: GateState
  readonly answer: Answer
  /** To be reported, once each. */
  readonly events: readonly NamedGuardEvent[]
}

/**
 * Lends tokens to an isolate. Null for a call that is out of range or was overtaken: nobody waits for its answer. Null also
 * for limits and guards that cannot be lent; nothing changes then.
 *
 * @param limits buckets and quotas that are enforced, each name once
 * @param guards none that reserves places
 * @param jitter random in [0, 1)
 */
export function lendTokens(
  state: GateState,
  call: LeaseCall,
  { limits, guards }: { readonly limits: readonly NamedLimit[]; readonly guards: readonly GuardDemand[] },
  nowMs: number,
  jitter: number,
): GateStep<LeaseGrant | null> {
  const lendable = limits.filter(isLendableLimit)
  const isLent = lendable.length === limits.length && guards.every(({ config }) => isLendableGuard(config))
  if (!isLent) return { state, answer: null, events: [] }
  // Whatever the call is for, the guards see that somebody asked.
  const asked = askGuards(state.guards, guards, call.boot, nowMs, state.lostAtMs)
  const pool = createLeasePool(state, lendable, nowMs, state.lostAtMs)
  const step = grant(
    state.ledger,
    pool,
    call,
    {
      ...LEASE_TERMS_DEFAULT,
      names: lendable.map(({ name }) => name),
      // A change of any guard changes the sum; one that is open lends nothing anyway.
      epoch: asked.standings.reduce((sum, { epoch }) => sum + epoch, 0),
      failures: Math.max(0, ...asked.standings.map(({ failures }) => failures)),
      blockedForMs: asked.block?.retryAfterMs ?? 0,
      jitter,
    },
    nowMs,
  )
  const stored = storedOf(state, step.pool)
  // Whoever asked in vain is remembered too: shares are worked out from what everybody asks for.
  const lent: GateState =
    step.ledger === state.ledger
      ? withGuards(state, asked.refused)
      : { ...state, ...stored, ledger: step.ledger, guards: asked.refused }
  if (step.answer === null) return { state: lent, answer: null, events: asked.events }
  const standing: GateState = { ...state, ...stored }
  const policies = lendable.flatMap((limit) => askLimit(standing, limit, undefined, nowMs, undefined).policy ?? [])
  return {
    state: lent,
    answer: {
      lease: step.answer,
      policies,
      standings: asked.standings,
      block: asked.block ?? null,
      isLost: step.ledger.heldUntilMs > 0,
    },
    events: asked.events,
  }
}

/** Decides one request, all or nothing: every guard is closed and every limit admits, or nothing is taken. */
export function admitRequest(state: GateState, request: GateRequest, nowMs: number): GateStep<GateDecision> {
  const { admissionId, guards, ...admission } = request
  const asked = askGuards(state.guards, guards, admissionId, nowMs, state.lostAtMs)
  const { block, events } = asked
  if (block !== undefined || asked.isInvalid) {
    const read = decideLent(state, { ...admission, cost: 0, limits: readable(admission.limits) }, nowMs).decision
    const decision = asked.isInvalid ? { ...read, ...INVALID } : read
    return {
      state: withGuards(withoutPlace(state, admission, nowMs), asked.refused),
      answer: { admission: decision, standings: [], block: block ?? null },
      events,
    }
  }
  const { state: after, decision } = decideLent(state, admission, nowMs)
  const kept = decision.admitted ? after : withoutPlace(after, admission, nowMs)
  return {
    state: withGuards(kept, decision.admitted ? asked.passed : asked.refused),
    answer: { admission: decision, standings: decision.admitted ? asked.standings : [], block: null },
    events,
  }
}

const INVALID = {
  admitted: false,
  reason: "invalid-request",
  violated: [],
  permanent: true,
  retryAfterMs: null,
} as const

/** Decides on limits of which some is lent: what is lent counts as taken until its lease is over. */
function decideLent(
  state: GateState,
  request: AdmissionRequest,
  nowMs: number,
): { readonly state: GateState; readonly decision: AdmissionDecision } {
  // What is out of range must not reach a limit: what is stored of it could not be read back.
  const lendable = request.limits.filter(isLendableKind)
  const names = lendable.map(({ name }) => name)
  const pool = createLeasePool(state, lendable, nowMs, state.lostAtMs)
  const settled = settleLedger(state.ledger, pool, names, nowMs)
  const before: GateState = { ...state, ...storedOf(state, settled.pool), ledger: settled.ledger }
  const step = decideAdmission(before, request, settled.nowMs)
  const decision = { ...step.decision, lost: lostOf(state, request) }
  if (!decision.admitted && decision.reason === "invalid-request") return { state, decision }
  const kept = step.state === before && isTimeOnly(state, before) ? state : step.state
  if (decision.admitted || decision.retryAfterMs === null) {
    return { state: kept, decision }
  }
  // What is lent comes back later than a bucket alone would refill, or sooner.
  const short = decision.violated.filter((name) => names.includes(name))
  const lent = { loans: loansOf(settled.ledger), heldUntilMs: settled.ledger.heldUntilMs }
  if (short.length === 0 || (lent.loans.length === 0 && lent.heldUntilMs === 0)) return { state: kept, decision }
  const waitMs = fitMs(settled.pool, short, lent, request.cost, settled.nowMs) ?? 0
  if (waitMs <= decision.retryAfterMs) return { state: kept, decision }
  return { state: kept, decision: { ...decision, refusedBy: "bucket", retryAfterMs: waitMs } }
}

/** A limit that tokens can be lent of, in any mode. */
function isLendableKind(limit: NamedLimit): limit is NamedBucket | NamedQuota {
  return isNamedLimit(limit) && limit.kind !== "concurrency"
}

/** Names of the limits that start with nothing to give because what was stored of them was lost. */
function lostOf(state: GateState, { limits }: AdmissionRequest): readonly string[] {
  if (state.lostAtMs === undefined || !Array.isArray(limits)) return []
  return limits.filter((limit) => isUnknownLimit(state, limit)).map(({ name }) => name)
}

/** Whether what was settled to now would be worked out again by the next call: nothing but time has passed. */
function isTimeOnly(stored: GateState, settled: GateState): boolean {
  const isAccrued = Object.entries(settled.buckets).every(([name, bucket]) => {
    const before = Object.hasOwn(stored.buckets, name) ? stored.buckets[name] : undefined
    return before !== undefined && isAccrualOnly(before, bucket)
  })
  return (
    isAccrued &&
    Object.entries(settled.quotas).every(([name, quota]) => {
      const before = Object.hasOwn(stored.quotas, name) ? stored.quotas[name] : undefined
      return before !== undefined && isSameQuota(before, quota)
    })
  )
}

/** Returns the state with these guards: the very same one when they are its own. */
export function withGuards(state: GateState, guards: GateState["guards"]): GateState {
  return state.guards === guards ? state : { ...state, guards }
}

/**
 * Returns the state without the place of a request that is refused: one that is asked for again, because the answer was
 * lost, may have taken it the first time, and nobody will give it back.
 */
function withoutPlace(state: GateState, { leaseId }: AdmissionRequest, nowMs: number): GateState {
  if (leaseId === undefined) return state
  const { state: after, released } = releaseLeases(state, leaseId, nowMs)
  return released.length > 0 ? after : state
}

function isLendableLimit(limit: NamedLimit): limit is NamedBucket | NamedQuota {
  return isLendableKind(limit) && limit.mode !== "shadow"
}

/** Limits that can be read without taking: a place among the requests in progress is taken whatever it costs. */
function readable(limits: readonly NamedLimit[]): readonly NamedLimit[] {
  return limits.filter(({ kind }) => kind !== "concurrency")
}

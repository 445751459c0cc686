/**
 * Whether one request of one client is admitted: every limit of the request is tried, and if any refuses, none is
 * consumed.
 *
 * Called by `core/gate/client-gate.ts`, which knows what is lent of these limits and what guards say; what one limit says is
 * `core/limit/limit.ts`. Pure and total.
 */
import { isLeaseId, isSameLeases, releaseLease, renewLease } from "./concurrency.ts"
import type { ConcurrencyState } from "./concurrency.ts"
import { askLimit, isNamedLimit, isUnknownLimit } from "./limit.ts"
import type {
  ConcurrencyStatus,
  LimitAnswer,
  LimitStates,
  NamedConcurrency,
  NamedLimit,
  PolicyStatus,
} from "./limit.ts"
import { isCount } from "../untrusted.ts"

/** One request, as the object sees it. */
export interface AdmissionRequest {
  /** The limits that apply, each name once. Without any the request is admitted. */
  readonly limits: readonly NamedLimit[]
  /** What the request takes from every bucket and quota, integer >= 0. 0 takes nothing from them. */
  readonly cost: number
  /**
   * Id of the lease that the request takes, whatever it costs, from every concurrency limit: required when there is one.
   * The gateway mints it for each request. It is never an id that a client may choose: a client that repeated its id would
   * have one slot for all its requests.
   */
  readonly leaseId?: string
}

/** The limits of one client, as much of what is stored as an admission needs. */
export interface AdmissionState extends LimitStates {
  /** Set once stored state was unreadable, to that instant (epoch ms): a limit that is missing had nothing to give then. */
  readonly lostAtMs?: number
}

interface AdmissionReport {
  /** Enforced buckets and quotas in the order of the request. */
  readonly policies: readonly PolicyStatus[]
  /** The same of shadow limits. */
  readonly shadowPolicies: readonly PolicyStatus[]
  /**
   * Enforced concurrency limits in the order of the request. Not for the RateLimit field: that has no unit, so a client
   * would read the slot that its answered request still holds as quota that is gone.
   */
  readonly concurrency: readonly ConcurrencyStatus[]
  /** The smallest remaining of all `policies`; null without any. */
  readonly remaining: number | null
  /** Names of the shadow limits that would refuse, sorted by code unit. For the log. */
  readonly shadowed: readonly string[]
  /** Limits that this decision started with nothing to give because their stored state was unreadable. For the log. */
  readonly lost: readonly string[]
}

/** Whether the request may pass. A refusal by no limit (`invalid-request`) is the gateway's fault, not the client's. */
export type AdmissionDecision =
  | (AdmissionReport & { readonly admitted: true })
  | (AdmissionReport & LimitRefusal & { readonly admitted: false; readonly reason: "limit" })
  | (AdmissionReport & {
      readonly admitted: false
      /** A limit, the cost or the lease id is out of range, or a name is twice. Nothing was asked and nothing changed. */
      readonly reason: "invalid-request"
      readonly violated: readonly string[]
      readonly permanent: true
      readonly retryAfterMs: null
    })

interface LimitRefusal {
  /** Names of all limits that refuse, sorted by code unit. */
  readonly violated: readonly string[]
  /** The kind of the limit that decides how long: a permanent refusal before the longest wait, then the first named. */
  readonly refusedBy: NamedLimit["kind"]
  /** No waiting helps: the cost exceeds a burst or a quota. */
  readonly permanent: boolean
  /** Ms until every refusing limit would admit the request, the longest wait among them. Null when permanent. */
  readonly retryAfterMs: number | null
}

/**
 * Decides on one request. The returned state is the very object that was passed in when nothing has to be stored: a
 * refusal or an observation that only let time pass, which the next call works out again. An admission that took
 * anything always returns a new state, so no instance can admit without a write that its storage accepts.
 *
 * A limit whose configuration differs from the stored one changes at `nowMs`, before it is asked; that is stored.
 *
 * A shadow limit is asked like the others and refuses nothing; it is reported apart. When the request is admitted, it takes
 * what it can give, each one by itself.
 */
export function decideAdmission<State extends AdmissionState>(
  state: State,
  request: AdmissionRequest,
  nowMs: number,
): { readonly state: State; readonly decision: AdmissionDecision } {
  if (!isValidRequest(request)) return { state, decision: INVALID_REQUEST }

  const { limits, cost, leaseId = "" } = request
  const tried = limits.map((limit) => askLimit(state, limit, { cost, leaseId }, nowMs, state.lostAtMs))
  const refusing = tried.filter(({ limit, allowed }) => !allowed && isEnforced(limit))
  const longest = longestRefusal(refusing)
  // All or nothing: when one refuses, what the others gave is not taken.
  const settled =
    longest === undefined ? tried : limits.map((limit) => askLimit(state, limit, undefined, nowMs, state.lostAtMs))

  const enforced = settled.filter(({ limit }) => isEnforced(limit))
  const policies = enforced.flatMap(({ policy }) => policy ?? [])
  const report: AdmissionReport = {
    policies,
    shadowPolicies: settled.filter(({ limit }) => !isEnforced(limit)).flatMap(({ policy }) => policy ?? []),
    concurrency: enforced.flatMap(({ concurrency }) => concurrency ?? []),
    remaining: policies.length === 0 ? null : Math.min(...policies.map(({ remaining }) => remaining)),
    shadowed: sortedNames(tried.filter(({ limit, allowed }) => !allowed && !isEnforced(limit))),
    lost: limits
      .filter((limit) => state.lostAtMs !== undefined && isUnknownLimit(state, limit))
      .map(({ name }) => name),
  }
  const next = settled.reduce((kept, answer) => answer.keepIn(kept), state)
  if (longest === undefined) return { state: next, decision: { admitted: true, ...report } }
  return {
    state: next,
    decision: {
      admitted: false,
      reason: "limit",
      ...report,
      violated: sortedNames(refusing),
      refusedBy: longest.limit.kind,
      permanent: longest.permanent,
      retryAfterMs: longest.retryAfterMs,
    },
  }
}

/**
 * Gives back every slot that a request holds, when it is done. Returns the names of the limits that had a live lease; for
 * a late or repeated release there is none, and the returned state is the very object that was passed in unless other
 * leases have expired meanwhile.
 */
export function releaseLeases<State extends AdmissionState>(
  state: State,
  leaseId: string,
  nowMs: number,
): { readonly state: State; readonly released: readonly string[] } {
  const released: string[] = []
  let next = state
  for (const [name, stored] of Object.entries(state.concurrency)) {
    const step = releaseLease(stored, leaseId, nowMs)
    if (step.released) released.push(name)
    next = keepLeases(next, name, stored, step.state)
  }
  return { state: next, released }
}

/**
 * Extends the slots that a request holds, while it still runs. Returns the names of the limits that had a live lease: one
 * that is missing has expired, and its slot may be another's by now.
 *
 * @param limits those that the request was admitted with; other kinds and what is out of range is passed over
 */
export function renewLeases<State extends AdmissionState>(
  state: State,
  limits: readonly NamedLimit[],
  leaseId: string,
  nowMs: number,
): { readonly state: State; readonly renewed: readonly string[] } {
  const renewed: string[] = []
  let next = state
  for (const limit of limits.filter(isNamedConcurrency)) {
    const stored = Object.hasOwn(state.concurrency, limit.name) ? state.concurrency[limit.name] : undefined
    if (stored === undefined) continue
    const step = renewLease(stored, limit, leaseId, nowMs)
    if (step.renewed) renewed.push(limit.name)
    next = keepLeases(next, limit.name, stored, step.state)
  }
  return { state: next, renewed }
}

const INVALID_REQUEST: AdmissionDecision = {
  admitted: false,
  reason: "invalid-request",
  policies: [],
  shadowPolicies: [],
  concurrency: [],
  remaining: null,
  shadowed: [],
  lost: [],
  violated: [],
  permanent: true,
  retryAfterMs: null,
}

function isValidRequest({ limits, cost, leaseId }: AdmissionRequest): boolean {
  if (!isCount(cost) || !Array.isArray(limits) || !limits.every(isNamedLimit)) return false
  const isLeaseValid = leaseId === undefined ? limits.every(({ kind }) => kind !== "concurrency") : isLeaseId(leaseId)
  return isLeaseValid && new Set(limits.map(({ name }) => name)).size === limits.length
}

function isNamedConcurrency(limit: NamedLimit): limit is NamedConcurrency {
  return isNamedLimit(limit) && limit.kind === "concurrency"
}

function isEnforced({ mode }: NamedLimit): boolean {
  return mode !== "shadow"
}

function longestRefusal(refusing: readonly LimitAnswer[]): LimitAnswer | undefined {
  const waitOf = ({ permanent, retryAfterMs }: LimitAnswer) => (permanent ? Infinity : (retryAfterMs ?? 0))
  return refusing.reduce<LimitAnswer | undefined>(
    (longest, answer) => (longest !== undefined && waitOf(longest) >= waitOf(answer) ? longest : answer),
    undefined,
  )
}

function sortedNames(answers: readonly LimitAnswer[]): readonly string[] {
  return answers.map(({ limit }) => limit.name).toSorted()
}

function keepLeases<State extends AdmissionState>(
  state: State,
  name: string,
  before: ConcurrencyState,
  after: ConcurrencyState,
): State {
  if (isSameLeases(before, after)) return state
  return { ...state, concurrency: { ...state.concurrency, [name]: after } }
}

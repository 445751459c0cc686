/**
 * Whether one request of one client is admitted: every limit of the request is tried, and if any refuses, none is
 * consumed.
 *
 * Called by the client's object (`durable-objects/client-gate.ts`), which loads, asks, stores and returns. Pure and
 * total. What is stored carries a version and is validated when read; what cannot be read admits nothing until it has
 * refilled, so a damaged row never mints tokens.
 *
 * Stored shape, one JSON text per client: {@link GateState}.
 */
import { acquire, ceilDiv, isAccrualOnly, parseBucketConfig, parseBucketState, peek, settle } from "./gcra.ts"
import type { BucketConfig, BucketDecision, BucketState } from "./gcra.ts"

/** A bucket of the client. The name identifies its state across configurations and is the policy name on the wire. */
export interface NamedBucket extends BucketConfig {
  readonly name: string
}

/** One request, as the object sees it. */
export interface AdmissionRequest {
  /** The limits that apply, each name once. Without any the request is admitted. */
  readonly limits: readonly NamedBucket[]
  /** Tokens the request takes from every limit, integer >= 0. 0 observes: it is admitted and takes nothing. */
  readonly cost: number
}

/** Everything that the gate remembers about one client. */
export interface GateState {
  readonly version: 1
  /**
   * By name of the limit. A bucket stays when a request does not name it: two versions of the Worker may take turns with
   * different limits, and forgetting would give the client a full bucket each time.
   */
  readonly buckets: Readonly<Record<string, BucketState>>
  /** Set once stored state was unreadable, to that instant (epoch ms): a bucket missing above was empty then. */
  readonly lostAtMs?: number
}

/** How one limit stands after the decision: what the RateLimit fields are made of. */
export interface PolicyStatus {
  readonly name: string
  /** Most tokens at once. */
  readonly quota: number
  /** Time in which an empty bucket refills, in whole seconds, rounded up. */
  readonly windowSec: number
  /** Whole tokens left. */
  readonly remaining: number
  /** Ms until the next token, 0 when the limit is full. */
  readonly nextMs: number
}

interface AdmissionReport {
  /** In the order of the request. */
  readonly policies: readonly PolicyStatus[]
  /** The smallest remaining of all limits; null without limits. */
  readonly remaining: number | null
  /** Limits that this decision started empty because their stored state was unreadable. For the log. */
  readonly lost: readonly string[]
}

/** Whether the request may pass. A refusal by no limit (`invalid-request`) is the gateway's fault, not the client's. */
export type AdmissionDecision =
  | (AdmissionReport & { readonly admitted: true })
  | (AdmissionReport & {
      readonly admitted: false
      /** `limit`: the limits in `violated`. `invalid-request`: a limit or the cost is out of range, or a name is twice. */
      readonly reason: "limit" | "invalid-request"
      /** Names of all limits that refuse the full cost, sorted by code unit. */
      readonly violated: readonly string[]
      /** No waiting helps: the cost exceeds a burst. */
      readonly permanent: boolean
      /** Ms until every refusing limit would admit the cost, the longest wait among them. Null when permanent. */
      readonly retryAfterMs: number | null
    })

/** The state of a client that the gate has never seen: every bucket starts as its configuration says. */
export const EMPTY_GATE_STATE: GateState = { version: 1, buckets: {} }

/** Returns the state in an untrusted value, or undefined unless all of it is in range and of this version. */
export function parseGateState(value: unknown): GateState | undefined {
  if (typeof value !== "object" || value === null) return undefined
  const { version, buckets, lostAtMs } = value as Partial<Record<keyof GateState, unknown>>
  if (version !== 1 || typeof buckets !== "object" || buckets === null || Array.isArray(buckets)) return undefined
  const parsed: [string, BucketState][] = []
  for (const [name, member] of Object.entries(buckets)) {
    const bucket = parseBucketState(member)
    if (bucket === undefined) return undefined
    parsed.push([name, bucket])
  }
  const state: GateState = { version, buckets: Object.fromEntries(parsed) }
  if (lostAtMs === undefined) return state
  return typeof lostAtMs === "number" && Number.isSafeInteger(lostAtMs) ? { ...state, lostAtMs } : undefined
}

/**
 * Returns the state to decide on from what storage holds. Nothing stored is a new client. A text that is no state of
 * this version is a loss: every bucket then counts as empty at `nowMs`, because whatever was in it may have been spent.
 *
 * @param stored the stored text, undefined when there is none
 */
export function restoreGateState(stored: unknown, nowMs: number): GateState {
  if (stored === undefined) return EMPTY_GATE_STATE
  return parseGateState(parseJson(stored)) ?? { ...EMPTY_GATE_STATE, lostAtMs: nowMs }
}

/**
 * Decides on one request. The returned state is the very object that was passed in when nothing has to be stored: a
 * refusal or an observation that only let time pass, which the next call works out again. An admission that took
 * anything always returns a new state, so no instance can admit without a write that its storage accepts.
 *
 * A limit whose configuration differs from the stored one changes at `nowMs`, before it is asked; that is stored.
 */
export function decideAdmission(
  state: GateState,
  request: AdmissionRequest,
  nowMs: number,
): { readonly state: GateState; readonly decision: AdmissionDecision } {
  const { limits, cost } = request
  if (!isValidRequest(request)) return { state, decision: INVALID_REQUEST }

  const tried = limits.map((limit) => ({ limit, ...acquire(bucketOf(state, limit), limit, cost, nowMs) }))
  const refusing = tried.filter(({ decision }) => !decision.allowed)
  // All or nothing: when one refuses, the tokens that the others gave are not taken.
  const settled =
    refusing.length === 0 ? tried : limits.map((limit) => ({ limit, ...peek(bucketOf(state, limit), limit, nowMs) }))

  const policies = settled.map(({ limit, decision }) => statusOf(limit, decision))
  const report: AdmissionReport = {
    policies,
    remaining: policies.length === 0 ? null : Math.min(...policies.map(({ remaining }) => remaining)),
    lost: limits.filter(({ name }) => isLost(state, name)).map(({ name }) => name),
  }
  const isTaken = cost > 0 && refusing.length === 0
  const next = settled.reduce((merged, step) => mergeBucket(merged, step.limit.name, step.state, isTaken), state)
  if (refusing.length === 0) return { state: next, decision: { admitted: true, ...report } }

  const permanent = refusing.some(({ decision }) => decision.permanent)
  return {
    state: next,
    decision: {
      admitted: false,
      reason: "limit",
      ...report,
      violated: refusing.map(({ limit }) => limit.name).toSorted(),
      permanent,
      retryAfterMs: permanent ? null : Math.max(...refusing.map(({ decision }) => decision.retryAfterMs ?? 0)),
    },
  }
}

const INVALID_REQUEST: AdmissionDecision = {
  admitted: false,
  reason: "invalid-request",
  policies: [],
  remaining: null,
  lost: [],
  violated: [],
  permanent: true,
  retryAfterMs: null,
}

function isValidRequest({ limits, cost }: AdmissionRequest): boolean {
  if (!Number.isSafeInteger(cost) || cost < 0 || !Array.isArray(limits)) return false
  const isEachValid = limits.every((limit) => parseBucketConfig(limit).ok && typeof limit.name === "string")
  return isEachValid && new Set(limits.map(({ name }) => name)).size === limits.length
}

/** Returns what is stored for a limit. Own members only: a limit may be called `constructor`. */
function storedBucket(state: GateState, name: string): BucketState | undefined {
  return Object.hasOwn(state.buckets, name) ? state.buckets[name] : undefined
}

function isLost(state: GateState, name: string): boolean {
  return state.lostAtMs !== undefined && storedBucket(state, name) === undefined
}

function bucketOf(state: GateState, limit: NamedBucket): BucketState | undefined {
  const stored = storedBucket(state, limit.name)
  if (stored !== undefined || state.lostAtMs === undefined) return stored
  return settle(undefined, { ...limit, initial: 0 }, state.lostAtMs)
}

function mergeBucket(state: GateState, name: string, bucket: BucketState, isTaken: boolean): GateState {
  const stored = storedBucket(state, name)
  if (stored !== undefined && !isTaken && isAccrualOnly(stored, bucket)) return state
  return { ...state, buckets: { ...state.buckets, [name]: bucket } }
}

function statusOf(limit: NamedBucket, decision: BucketDecision): PolicyStatus {
  const { burst, rate } = limit
  return {
    name: limit.name,
    quota: burst,
    windowSec: ceilDiv(ceilDiv(burst * rate.periodMs, rate.count), 1000),
    remaining: decision.remaining,
    nextMs: decision.nextMs,
  }
}

function parseJson(text: unknown): unknown {
  if (typeof text !== "string") return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

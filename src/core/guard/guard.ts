/**
 * Whether a client that keeps failing may try again: opens after repeated failures, stays open for a while, and longer
 * each time. One guard per client or per any other key.
 *
 * Only time and an administrator end a block; an outcome counts only for an admission of the current epoch, once, and
 * in time. Pure and total: `(state, config, input, now) -> { state, decision, events }`, to be stored before the decision
 * is acted on. Called by the client's object.
 */
import { blockMs, isGuardDuration } from "./backoff.ts"
import { CLOCK_REGRESSION_MS_MAX, GUARD_OUTCOMES_MAX } from "../bounds.ts"
import type { GuardConfig } from "./guard-config.ts"
import { increment, isAdmissionId, startEpoch, statusOf } from "./guard-state.ts"
import type { GuardEvent, GuardState, GuardStatus } from "./guard-state.ts"
import { settleGuard } from "./guard-time.ts"
import type { OutcomeResult } from "./outcome.ts"

/** What an outcome must name to count: the epoch and the instant of its admission, as the guard counts time. */
export interface Admission {
  readonly epoch: number
  readonly admittedAtMs: number
}

/** Whether a request may pass. */
export type GuardDecision =
  | (GuardStatus & { readonly admitted: true; readonly admission: Admission })
  | (GuardStatus & {
      readonly admitted: false
      /**
       * `open`: blocked. `inflight`: as many requests as failures are left await their outcome; there is no retry time.
       * `invalid-request`: the id is no id or its outcome is recorded, the gateway's fault and not the client's.
       */
      readonly reason: "open" | "inflight" | "invalid-request"
    })

/** The outcome of an admitted request. */
export interface Outcome {
  readonly id: string
  readonly result: OutcomeResult
  /** As the decision named it. Optimistic mode stores no admissions and ignores an outcome without; reserve mode has its own. */
  readonly admission?: Admission
}

/** What an administrator does to a guard. Each voids every admission and clears the failures. */
export type AdminAction =
  /** Closes and forgets the escalation. */
  | { readonly action: "reset" }
  /** Closes and keeps the escalation. */
  | { readonly action: "unblock" }
  /** Opens for at least this long, 1 ms to a year; never shortens a block and does not escalate. */
  | { readonly action: "block"; readonly durationMs: number }

/** What every operation returns. The state has to be stored, the events reported once. */
export interface GuardStep<Decision> {
  readonly state: GuardState
  readonly decision: Decision
  readonly events: readonly GuardEvent[]
}

/**
 * Decides on one request. While open it is refused, not counted, and does not prolong the block.
 *
 * @param request `id` is unique to the request and made by the gateway, never taken from its caller: requests that share
 *   an id count once. A call repeated because its answer was lost is answered as the first was, and takes no second
 *   place of reserve mode.
 * @param config one that `parseGuardConfig` accepts, here and in every operation below
 */
export function requestAdmission(
  state: GuardState | undefined,
  config: GuardConfig,
  { id }: { readonly id: string },
  nowMs: number,
): GuardStep<GuardDecision> {
  const settled = settleGuard(state, config, nowMs)
  const { lastSeenMs } = settled.state
  const asked = { ...settled.state, lastRequestMs: lastSeenMs }
  const refuse = (reason: "open" | "inflight" | "invalid-request"): GuardStep<GuardDecision> => ({
    ...settled,
    state: asked,
    decision: { ...statusOf(asked), admitted: false, reason },
  })
  if (asked.openUntilMs !== null) return refuse("open")
  if (!isAdmissionId(id) || hasId(asked.recorded, id)) return refuse("invalid-request")
  const admit = (admitted: GuardState, admittedAtMs: number): GuardStep<GuardDecision> => ({
    ...settled,
    state: admitted,
    decision: { ...statusOf(admitted), admitted: true, admission: { epoch: admitted.epoch, admittedAtMs } },
  })
  if (config.inFlight === "optimistic") return admit(asked, lastSeenMs)
  const reserved = asked.pending.find((request) => request.id === id)
  if (reserved !== undefined) return admit(asked, reserved.admittedAtMs)
  if (asked.failures.length + asked.pending.length >= config.maxFailures) return refuse("inflight")
  return admit({ ...asked, pending: [...asked.pending, { id, admittedAtMs: lastSeenMs }] }, lastSeenMs)
}

/**
 * Records how an admitted request ended. An outcome of another epoch, of an unknown id, a duplicate, one that is
 * `pendingTtlMs` or more behind its admission and one whose admission is more than 60 s ahead changes nothing.
 *
 * Optimistic mode remembers at most {@link GUARD_OUTCOMES_MAX} outcomes of the epoch and then drops the oldest: one that
 * is reported again behind that many others, still in time, counts twice. That can open a guard one failure early; a
 * second success clears nothing that the first left, except a failure of the very ms of its admission.
 *
 * @param random uniform in [0, 1): the jitter of the block, should this failure open the guard
 */
export function recordOutcome(
  state: GuardState | undefined,
  config: GuardConfig,
  outcome: Outcome,
  nowMs: number,
  random: number,
): GuardStep<GuardStatus & { readonly isRecorded: boolean }> {
  const settled = settleGuard(state, config, nowMs)
  const admittedAtMs = admittedAtOf(settled.state, config, outcome)
  if (admittedAtMs === undefined) {
    return { ...settled, decision: { ...statusOf(settled.state), isRecorded: false } }
  }
  const { id, result } = outcome
  const { lastRequestMs, lastSeenMs } = settled.state
  const askedAtMs = Math.min(admittedAtMs, lastSeenMs)
  const known = {
    ...settled.state,
    // Whoever keeps the state need not have kept the request itself. An isolate that admitted may be ahead.
    lastRequestMs: Math.max(lastRequestMs ?? askedAtMs, askedAtMs),
    pending: settled.state.pending.filter((request) => request.id !== id),
    recorded:
      config.inFlight === "optimistic"
        ? [...settled.state.recorded, { id, admittedAtMs }].slice(-GUARD_OUTCOMES_MAX)
        : settled.state.recorded,
  }
  const { state: next, events } = applyResult(known, config, result, admittedAtMs, random)
  return { state: next, decision: { ...statusOf(next), isRecorded: true }, events: [...settled.events, ...events] }
}

/**
 * Returns true unless the outcome would change nothing, so that a call to the object can be spared. In optimistic mode
 * an honest client's successes need none. Spared for good: failures recorded in the very ms of the admission, but after
 * it, are then not cleared.
 *
 * @param admitted the decision that admitted the request
 */
export function needsOutcome(
  config: GuardConfig,
  admitted: Pick<GuardStatus, "failures">,
  result: OutcomeResult,
): boolean {
  // A reserved place has to be given back.
  if (config.inFlight === "reserve" || result === "failure" || result === "error") return true
  return result === "success" && config.successPolicy === "reset" && admitted.failures > 0
}

/** Does what an administrator asks. An action that does not exist, or a duration out of range, changes nothing. */
export function administer(
  state: GuardState | undefined,
  config: GuardConfig,
  action: AdminAction,
  nowMs: number,
): GuardStep<GuardStatus & { readonly error?: "invalid-action" }> {
  const settled = settleGuard(state, config, nowMs)
  const applied = applyAction(settled.state, config, action)
  if (applied === undefined) {
    return { ...settled, decision: { ...statusOf(settled.state), error: "invalid-action" } }
  }
  const { state: next, events } = applied
  return { state: next, decision: statusOf(next), events: [...settled.events, ...events] }
}

/** Reads the guard; what time has ended is ended. For an alarm, an administrator and a metric. */
export function observe(state: GuardState | undefined, config: GuardConfig, nowMs: number): GuardStep<GuardStatus> {
  const settled = settleGuard(state, config, nowMs)
  return { ...settled, decision: statusOf(settled.state) }
}

interface Applied {
  readonly state: GuardState
  readonly events: readonly GuardEvent[]
}

/** Returns when the request of an outcome was admitted, or undefined if the outcome does not count. */
function admittedAtOf(state: GuardState, config: GuardConfig, { id, result, admission }: Outcome): number | undefined {
  // Nothing is admitted while open, so no outcome can belong to an open guard's epoch, whatever it claims.
  if (state.openUntilMs !== null || !isAdmissionId(id) || !isResult(result) || hasId(state.recorded, id))
    return undefined
  const reserved = state.pending.find((request) => request.id === id)
  if (reserved !== undefined) return reserved.admittedAtMs
  if (config.inFlight === "reserve" || admission?.epoch !== state.epoch) return undefined
  const { admittedAtMs } = admission
  const ageMs = state.lastSeenMs - admittedAtMs
  // The clock of the isolate that admitted may be ahead: a failure must not be lost over that.
  const isInTime = ageMs >= -CLOCK_REGRESSION_MS_MAX && ageMs < config.pendingTtlMs
  return Number.isSafeInteger(admittedAtMs) && isInTime ? admittedAtMs : undefined
}

function applyResult(
  state: GuardState,
  config: GuardConfig,
  result: OutcomeResult,
  admittedAtMs: number,
  random: number,
): Applied {
  switch (result) {
    case "failure":
    case "error": {
      const failures = [...state.failures, state.lastSeenMs]
      if (failures.length >= config.maxFailures) return open(state, config, random)
      return { state: { ...state, failures }, events: [] }
    }
    case "success": {
      if (config.successPolicy === "ignore") return { state, events: [] }
      // A success says nothing about failures that came after its own admission.
      const failures = state.failures.filter((failedAtMs) => failedAtMs > admittedAtMs)
      return { state: { ...state, failures }, events: [] }
    }
    case "neutral":
      return { state, events: [] }
  }
}

function open(state: GuardState, config: GuardConfig, random: number): Applied {
  const attempt = increment(state.attempt)
  const untilMs = state.lastSeenMs + blockMs(config.backoff, attempt, random)
  return {
    state: { ...startEpoch(state), attempt, openUntilMs: untilMs, openedTotal: increment(state.openedTotal) },
    events: [{ kind: "opened", atMs: state.lastSeenMs, untilMs, attempt, reason: "failures" }],
  }
}

function applyAction(state: GuardState, config: GuardConfig, action: AdminAction): Applied | undefined {
  const { openUntilMs, lastSeenMs: atMs, attempt } = state
  const fresh = startEpoch(state)
  const closedBy = (reason: "unblock" | "reset"): readonly GuardEvent[] =>
    openUntilMs === null ? [] : [{ kind: "closed", atMs, untilMs: openUntilMs, attempt, reason }]
  switch (action.action) {
    case "reset":
      return { state: { ...fresh, openUntilMs: null, lastClosedMs: null, attempt: 0 }, events: closedBy("reset") }
    case "unblock": {
      if (openUntilMs === null) return { state: fresh, events: [] }
      // Constant blocks have no escalation to keep.
      const kept = config.backoff.kind === "lineal" ? 0 : attempt
      return { state: { ...fresh, openUntilMs: null, lastClosedMs: atMs, attempt: kept }, events: closedBy("unblock") }
    }
    case "block": {
      if (!isGuardDuration(action.durationMs)) return undefined
      const untilMs = Math.max(openUntilMs ?? 0, atMs + action.durationMs)
      const opened: GuardEvent = { kind: "opened", atMs, untilMs, attempt, reason: "admin" }
      return { state: { ...fresh, openUntilMs: untilMs }, events: openUntilMs === null ? [opened] : [] }
    }
    default:
      return undefined
  }
}

function hasId(requests: readonly { readonly id: string }[], id: string): boolean {
  return requests.some((request) => request.id === id)
}

function isResult(value: string): value is OutcomeResult {
  return value === "success" || value === "failure" || value === "error" || value === "neutral"
}

/**
 * The token bucket of one limit: may `n` tokens be taken now, and if not, when exactly.
 *
 * Equal to GCRA with emission interval `periodMs / count` and burst tolerance `burst` intervals, but kept as a level in
 * units of 1/periodMs token, so that every quantity is an integer below 2^53 and nothing is ever rounded in favour of
 * the client. Pure and total; the state is a plain object that survives serialisation. `core/limit/limit.ts` calls it for
 * every bucket of a request.
 */
import { CLOCK_REGRESSION_MS_MAX } from "../bounds.ts"
import { isCount, isInstant, isPositiveInteger, isWholeNumber, membersOf } from "../untrusted.ts"

/** What a bucket allows: `burst` tokens at once and `rate.count` more per `rate.periodMs`. */
export interface BucketConfig {
  /** Most tokens the bucket holds. Integer >= 1; `burst * periodMs` stays below 2^53. */
  readonly burst: number
  /** Refill, spread evenly over the period. Both integers >= 1. */
  readonly rate: { readonly count: number; readonly periodMs: number }
  /** Tokens at the start, integer >= 0, default `burst`; more than `burst` means `burst`. */
  readonly initial?: number
}

/**
 * A bucket at one instant. It names the configuration it accrues under, so that a change of configuration takes effect
 * at the instant it is first seen and not retroactively.
 */
export interface BucketState {
  /** Tokens in units of 1/periodMs token: 0 to `burst * periodMs`. */
  readonly level: number
  /** Epoch ms up to which time has been credited. */
  readonly lastMs: number
  readonly burst: number
  readonly count: number
  readonly periodMs: number
}

/** The answer to one operation on a bucket. */
export interface BucketDecision {
  /** Whether the operation took (or gave back) what it asked for. */
  readonly allowed: boolean
  /** Refused, and no waiting helps: more than `burst` was asked for, or `n` is not a count. */
  readonly permanent: boolean
  /** Tokens taken: `n` or 0, and anything in between for a partial acquire. */
  readonly granted: number
  /** Whole tokens left after the operation. */
  readonly remaining: number
  /** Ms until the refused request fits: allowed exactly then, refused 1 ms earlier. Null when allowed or permanent. */
  readonly retryAfterMs: number | null
  /** Ms until the bucket is full, 0 when it is. */
  readonly resetAfterMs: number
  /** Ms until the next whole token, 0 when the bucket is full. */
  readonly nextMs: number
  /** Present when `n` is not a non-negative integer; the bucket is then unchanged. */
  readonly error?: "invalid-n"
}

/** What every operation returns. */
export interface BucketStep {
  readonly state: BucketState
  readonly decision: BucketDecision
}

/** A bucket configuration, or everything that is wrong with it: one text per member, naming it first. */
export type BucketConfigResult =
  | { readonly ok: true; readonly config: BucketConfig }
  | { readonly ok: false; readonly problems: readonly string[] }

/**
 * Returns the bucket configuration in an untrusted value, or all its problems. Unknown members are ignored. The product
 * of burst and period is bounded so that no later step can leave the exact integers.
 */
export function parseBucketConfig(value: unknown): BucketConfigResult {
  const { burst, rate, initial } = membersOf(value)
  const { count, periodMs } = membersOf(rate)
  const problems: string[] = []
  const isBurst = isPositiveInteger(burst)
  const isPeriod = isPositiveInteger(periodMs)
  if (!isBurst) problems.push("burst must be an integer of at least 1")
  if (!isPositiveInteger(count)) problems.push("rate.count must be an integer of at least 1")
  if (!isPeriod) problems.push("rate.periodMs must be an integer of at least 1")
  if (isBurst && isPeriod && !Number.isSafeInteger(burst * periodMs)) {
    problems.push("burst times rate.periodMs must be below 2^53")
  }
  if (initial !== undefined && !isCount(initial)) problems.push("initial must be an integer of at least 0")
  if (problems.length > 0 || !isBurst || !isPeriod || !isPositiveInteger(count)) return { ok: false, problems }
  const config = { burst, rate: { count, periodMs } }
  return { ok: true, config: isCount(initial) ? { ...config, initial } : config }
}

/**
 * Returns the bucket in an untrusted value, or undefined unless every member is in its range: a level above capacity
 * would be tokens that nobody granted.
 */
export function parseBucketState(value: unknown): BucketState | undefined {
  const { level, lastMs, burst, count, periodMs } = membersOf(value)
  if (!isPositiveInteger(burst) || !isPositiveInteger(count) || !isPositiveInteger(periodMs)) return undefined
  const capacity = burst * periodMs
  if (!Number.isSafeInteger(capacity) || !isCount(level) || level > capacity) return undefined
  if (!isInstant(lastMs)) return undefined
  return { level, lastMs, burst, count, periodMs }
}

/**
 * Returns the bucket as it stands at `nowMs` under `config`, without any token taken. A bucket that does not exist yet
 * starts with `initial` tokens and its clock at `nowMs`. Time is credited under the old configuration first; then the
 * token count is kept and clipped to the new burst, so raising a limit mints nothing.
 *
 * A clock up to 60 s behind the state credits no time; one further behind re-anchors the state and keeps the tokens, so
 * a clock that was once far ahead cannot starve the client. A `nowMs` that is no safe integer credits no time.
 *
 * @param config one that {@link parseBucketConfig} accepts, here and in every operation below
 */
export function settle(state: BucketState | undefined, config: BucketConfig, nowMs: number): BucketState {
  if (state === undefined) {
    const level = Math.min(config.initial ?? config.burst, config.burst) * config.rate.periodMs
    // An unreadable clock anchors in the far future: the first readable one re-anchors, and nothing is credited for it.
    return createState(level, Number.isSafeInteger(nowMs) ? nowMs : Number.MAX_SAFE_INTEGER, config)
  }
  return reconfigure(accrue(state, nowMs), config)
}

/**
 * Returns true when `after` holds nothing over `before` that {@link settle} would not work out again from it: the same
 * configuration, no token taken or given, no clock re-anchored. Such a state need not be stored.
 *
 * @param after a state made from `before` by {@link settle}
 */
export function isAccrualOnly(before: BucketState, after: BucketState): boolean {
  return (
    after.lastMs >= before.lastMs &&
    after.burst === before.burst &&
    after.count === before.count &&
    after.periodMs === before.periodMs
  )
}

/**
 * Takes `n` tokens or none. A refused acquire consumes, reserves and postpones nothing; `n = 0` observes. More than
 * `burst` is refused for good, also when the bucket is full.
 */
export function acquire(state: BucketState | undefined, config: BucketConfig, n: number, nowMs: number): BucketStep {
  const settled = settle(state, config, nowMs)
  if (!isWholeNumber(n)) return refuseInvalid(state, settled)
  if (n > settled.burst) return { state: settled, decision: { ...observe(settled), allowed: false, permanent: true } }
  const cost = n * settled.periodMs
  if (settled.level >= cost) return take(settled, n)
  return { state: settled, decision: { ...observe(settled), allowed: false, retryAfterMs: waitMs(settled, cost) } }
}

/**
 * Takes as many of `n` tokens as are whole, and is refused only if `n` is positive and none is. The wait of a refusal is
 * the wait for one token.
 */
export function acquirePartial(
  state: BucketState | undefined,
  config: BucketConfig,
  n: number,
  nowMs: number,
): BucketStep {
  const settled = settle(state, config, nowMs)
  if (!isWholeNumber(n)) return refuseInvalid(state, settled)
  const granted = Math.min(n, wholeTokens(settled))
  return granted > 0 ? take(settled, granted) : acquire(settled, config, Math.min(n, 1), nowMs)
}

/** Reads the bucket; a changed configuration takes effect. */
export function peek(state: BucketState | undefined, config: BucketConfig, nowMs: number): BucketStep {
  const settled = settle(state, config, nowMs)
  return { state: settled, decision: observe(settled) }
}

/** Gives `n` tokens back; the bucket never exceeds `burst`. */
export function refund(state: BucketState | undefined, config: BucketConfig, n: number, nowMs: number): BucketStep {
  const settled = settle(state, config, nowMs)
  if (!isWholeNumber(n)) return refuseInvalid(state, settled)
  const refunded = { ...settled, level: Math.min(capacityOf(settled), settled.level + n * settled.periodMs) }
  return { state: refunded, decision: observe(refunded) }
}

/** Fills the bucket. */
export function reset(state: BucketState | undefined, config: BucketConfig, nowMs: number): BucketStep {
  const settled = settle(state, config, nowMs)
  const full = { ...settled, level: capacityOf(settled) }
  return { state: full, decision: observe(full) }
}

/**
 * Returns the smallest integer that is not less than `a / b`, exactly. The quotient of two integers below 2^53 lies at
 * least 1/b from any integer it does not equal, and its rounding error is smaller than that; so it never rounds onto or
 * across one, and neither `ceil` nor `floor` can slip.
 *
 * @param a 0 to 2^53 - 1
 * @param b 1 to 2^53 - 1
 */
export function ceilDiv(a: number, b: number): number {
  return Math.ceil(a / b)
}

function createState(level: number, lastMs: number, config: BucketConfig): BucketState {
  return { level, lastMs, burst: config.burst, count: config.rate.count, periodMs: config.rate.periodMs }
}

function capacityOf(state: BucketState): number {
  return state.burst * state.periodMs
}

function wholeTokens(state: BucketState): number {
  return Math.floor(state.level / state.periodMs)
}

function waitMs(state: BucketState, level: number): number {
  return ceilDiv(level - state.level, state.count)
}

function accrue(state: BucketState, nowMs: number): BucketState {
  if (!Number.isSafeInteger(nowMs)) return state
  const elapsedMs = nowMs - state.lastMs
  if (elapsedMs <= 0) return elapsedMs < -CLOCK_REGRESSION_MS_MAX ? { ...state, lastMs: nowMs } : state
  const capacity = capacityOf(state)
  // Compared before multiplied: elapsed times count of a long idle period is no exact integer.
  const level = elapsedMs >= waitMs(state, capacity) ? capacity : state.level + elapsedMs * state.count
  return { ...state, level, lastMs: nowMs }
}

function reconfigure(state: BucketState, config: BucketConfig): BucketState {
  const { burst, rate } = config
  if (state.periodMs === rate.periodMs) {
    if (state.burst === burst && state.count === rate.count) return state
    return createState(Math.min(state.level, burst * rate.periodMs), state.lastMs, config)
  }
  // The product can exceed 2^53. Rounded down: a change of unit never mints.
  const converted = (BigInt(state.level) * BigInt(rate.periodMs)) / BigInt(state.periodMs)
  return createState(Math.min(Number(converted), burst * rate.periodMs), state.lastMs, config)
}

function take(state: BucketState, n: number): BucketStep {
  const taken = { ...state, level: state.level - n * state.periodMs }
  return { state: taken, decision: { ...observe(taken), granted: n } }
}

function observe(state: BucketState): BucketDecision {
  const capacity = capacityOf(state)
  const remaining = wholeTokens(state)
  return {
    allowed: true,
    permanent: false,
    granted: 0,
    remaining,
    retryAfterMs: null,
    resetAfterMs: waitMs(state, capacity),
    nextMs: state.level === capacity ? 0 : waitMs(state, (remaining + 1) * state.periodMs),
  }
}

function refuseInvalid(state: BucketState | undefined, settled: BucketState): BucketStep {
  const decision: BucketDecision = { ...observe(settled), allowed: false, permanent: true, error: "invalid-n" }
  return { state: state ?? settled, decision }
}

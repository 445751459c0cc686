/**
 * The isolate's side of token leasing: which requests of one client it may admit by itself, and when it has to ask.
 *
 * Promises never to admit more than the object has lent it, and nothing at or after the end of the lease by its own clock,
 * counted from when it sent the call, but for requests that the object itself has decided. Hands back what it did not spend
 * of a lease that is over, with its next call. Holds the waiting requests as data: the stage keeps a promise per id and
 * settles it. Pure, total and bounded; a holder is per client and per set of limits, and lives as long as its isolate.
 */
import { TOKEN_LEASE_ANSWERS_MAX, TOKEN_LEASE_ATTEMPTS_MAX, TOKEN_LEASE_WAITERS_MAX } from "../bounds.ts"
import type { LeaseAnswer, LeaseCall, LeaseReturn } from "./lease-protocol.ts"
import { isCount } from "../untrusted.ts"

/** A request that waits for an answer. */
export interface Waiter {
  /** The stage's own name for it. */
  readonly id: number
  readonly cost: number
  /** Answers that counted it and left it waiting. */
  readonly answers: number
}

/** A refusal that holds for a while without asking again. */
export interface DenyCache {
  readonly untilMs: number
  /** Requests of this cost or more are refused. */
  readonly cost: number
  readonly refusal: LeaseRefusal
  /** When a retry may succeed, by this isolate's clock; null for never. */
  readonly retryAtMs: number | null
}

/**
 * Why a request is refused. `limit`: too few tokens. `too-large`: it can never fit. `blocked`: the guard. `unavailable`: the
 * object did not answer, or too many requests wait for it; the gateway's fault, not the client's.
 */
export type LeaseRefusal =
  | { readonly reason: "limit" | "too-large"; readonly violated: readonly string[] }
  | { readonly reason: "blocked" | "unavailable" }

/** A refusal with the wait for the client: ms, at least 1, or null when waiting does not help or nothing is known. */
export type LeaseDenial = LeaseRefusal & { readonly kind: "deny"; readonly retryAfterMs: number | null }

/** What a new request does. */
export type HolderDecision =
  /** Passes; with `renew`, the lease runs low and a call should start in the background. */
  | { readonly kind: "admit"; readonly renew: boolean }
  /** Waits, and a call has to start for it. */
  | { readonly kind: "ask" }
  /** Waits for the running call. */
  | { readonly kind: "wait" }
  | LeaseDenial

/** How the wait of a request ends. */
export interface SettledWaiter {
  readonly id: number
  readonly decision: { readonly kind: "admit" } | LeaseDenial
}

/** What an answer, or its absence, does. */
export interface HolderStep {
  readonly holder: LeaseHolder
  /** Requests that no longer wait, in order of arrival. */
  readonly settled: readonly SettledWaiter[]
  /** Requests still wait and no call is running: one has to start. */
  readonly ask: boolean
}

/** A call without an answer so far. */
export interface RunningCall {
  readonly seq: number
  /** By this isolate's clock; -Infinity once that can no longer be told. */
  readonly sentAtMs: number
  /** How many of the waiting requests, from the first, it names. */
  readonly counted: number
  /** Number of the lease that it hands something back of, 0 for none. */
  readonly returns: number
  /** The lease was dropped since it was sent: what is left of its answer, once the waiting are served, is dropped as well. */
  readonly isOutdated?: true
}

/** One isolate's lease of one client. */
export interface LeaseHolder {
  /** This incarnation of this isolate: random, never used again. */
  readonly boot: string
  /** Number of the last call, and of the last answer taken. */
  readonly seq: number
  readonly lease: number
  /** Tokens at hand, worthless from `expiresMs` on; what they were when the last answer was taken. */
  readonly tokens: number
  readonly expiresMs: number
  readonly size: number
  /** The guard's epoch, null before the first answer. */
  readonly epoch: number | null
  readonly deny: DenyCache | null
  /** Tokens per second that were asked for lately, weighted over a second. */
  readonly demand: number
  /** The last clock reading, epoch ms. */
  readonly lastMs: number
  readonly roundTripMs: number
  /** Cost of the last request. */
  readonly cost: number
  readonly waiters: readonly Waiter[]
  /** The only call that an answer is taken for. */
  readonly call: RunningCall | null
  /** Calls in a row that brought nothing in time. */
  readonly failedCalls: number
  /** Unspent tokens of a lease that is over, until the object has heard of them. One lease: of two, the larger part. */
  readonly returned: LeaseReturn | null
}

/** Share of a lease at which it is renewed, and the size in requests below which that is not worth a call. */
const RENEW_RATIO = 0.3
const RENEW_REQUESTS_MIN = 3
/** Time over which demand is averaged, in ms. */
const DEMAND_TAU_MS = 1_000

/** Returns a holder without a lease. @param boot random per isolate start, 1 to 64 characters */
export function createHolder(boot: string): LeaseHolder {
  return {
    boot,
    seq: 0,
    lease: 0,
    tokens: 0,
    expiresMs: 0,
    size: 0,
    epoch: null,
    deny: null,
    demand: 0,
    lastMs: 0,
    roundTripMs: 0,
    cost: 1,
    waiters: [],
    call: null,
    failedCalls: 0,
    returned: null,
  }
}

/**
 * Decides one request. With `ask` or `wait` it now waits under its id.
 *
 * @param request `cost` in tokens, an integer >= 0; `nowMs` read when the request starts, never cached across an await
 */
export function decide(
  holder: LeaseHolder,
  request: { readonly id: number; readonly cost: number; readonly nowMs: number },
): { readonly holder: LeaseHolder; readonly decision: HolderDecision } {
  const { id, cost, nowMs } = request
  if (!isCount(cost)) return { holder, decision: denyOf({ reason: "too-large", violated: [] }, null) }
  const moved = advance(holder, nowMs)
  const now = { ...moved, cost, demand: moved.demand + (cost * 1000) / DEMAND_TAU_MS }
  if (now.expiresMs > now.lastMs && now.tokens >= cost) {
    const spent = { ...now, tokens: now.tokens - cost }
    return { holder: spent, decision: { kind: "admit", renew: isLow(spent) } }
  }
  if (now.deny !== null && cost >= now.deny.cost) return { holder: now, decision: denyFrom(now.deny, now.lastMs) }
  if (now.waiters.length >= TOKEN_LEASE_WAITERS_MAX) return { holder: now, decision: UNAVAILABLE }
  const waiting = { ...now, waiters: [...now.waiters, { id, cost, answers: 0 }] }
  return { holder: waiting, decision: { kind: now.call === null ? "ask" : "wait" } }
}

/**
 * Starts a call; one that is running is given up. Send it at once, or again unchanged; take its answer with
 * {@link acceptAnswer}, or tell {@link abandonCall} that none came.
 *
 * @param nowMs read before the call is sent, never after: the lease counts from it
 */
export function startCall(
  holder: LeaseHolder,
  nowMs: number,
): { readonly holder: LeaseHolder; readonly call: LeaseCall } {
  const now = advance(holder, nowMs)
  const waiting = now.waiters.map(({ cost }) => cost)
  const call: LeaseCall = {
    boot: now.boot,
    seq: now.seq + 1,
    lease: now.lease,
    unused: now.tokens,
    waiting,
    cost: waiting.length === 0 ? now.cost : Math.min(...waiting),
    demand: now.demand,
    roundTripMs: now.roundTripMs,
    returned: now.returned,
  }
  const running = {
    seq: call.seq,
    sentAtMs: now.lastMs,
    counted: waiting.length,
    returns: now.returned?.lease ?? 0,
  }
  return { holder: { ...now, seq: call.seq, call: running }, call }
}

/**
 * Takes an answer and settles the requests that it decides: those its tokens cover are admitted, in order; those that the
 * object could not cover either are refused. An answer to any other than the running call changes nothing.
 */
export function acceptAnswer(holder: LeaseHolder, answer: LeaseAnswer, nowMs: number): HolderStep {
  if (holder.call?.seq !== answer.seq) return { holder, settled: [], ask: false }
  const now = advance(holder, nowMs)
  const { sentAtMs, counted, returns, isOutdated = false } = now.call ?? holder.call
  const isBlocked = answer.blockedForMs > 0
  const isSameEpoch = now.epoch === null || now.epoch === answer.epoch
  const isDecided = answer.ttlMs === 0 && !isBlocked
  const kept = isSameEpoch && !isBlocked ? Math.min(now.tokens, answer.carry) : 0
  const lent = isDecided ? 0 : answer.granted
  const endMs = isDecided ? now.expiresMs : sentAtMs + answer.ttlMs
  const expiresMs = isBlocked ? 0 : Math.max(0, endMs)
  const isLate = expiresMs <= now.lastMs && !isDecided
  const isHeard = now.returned !== null && now.returned.lease === returns
  const dropped = keepReturn(isHeard ? null : now.returned, now.lease, now.tokens - kept)
  // What is over on arrival admits nobody, not even for nothing, and proves nothing about the requests that wait for it.
  const isUseless = isLate && !isBlocked && (answer.granted > 0 || now.waiters.some(({ cost }) => cost === 0))
  const tripMs = Number.isFinite(sentAtMs) ? now.lastMs - sentAtMs : null
  const taken: LeaseHolder = {
    ...now,
    call: null,
    lease: answer.seq,
    tokens: isLate ? 0 : kept + lent,
    expiresMs,
    size: kept + lent,
    epoch: answer.epoch,
    deny: denyCacheOf(answer, now.lastMs),
    // Follows a slow trip at once and a fast one slowly: a lease must outlive the slow ones.
    roundTripMs: Math.max(tripMs ?? 0, Math.floor(0.9 * now.roundTripMs)),
    failedCalls: isUseless ? now.failedCalls + 1 : 0,
    returned: isLate ? keepReturn(dropped, answer.seq, kept + lent) : dropped,
  }
  if (isUseless) return giveUpOrAsk(taken)
  const step = serve(taken, answer, counted)
  return isOutdated ? { ...step, holder: dropLease(step.holder) } : step
}

/**
 * Gives up the running call: no answer came in time, or the call failed. After the second in a row, all waiting requests
 * are refused; the first is repeated with a new call. A late answer to it is not taken any more.
 *
 * @param seq the number of the call; any other changes nothing
 * @param isFinal calling again would not help, or would make it worse: the waiting requests are refused now
 */
export function abandonCall(holder: LeaseHolder, seq: number, isFinal = false): HolderStep {
  if (holder.call?.seq !== seq) return { holder, settled: [], ask: false }
  const failedCalls = isFinal ? TOKEN_LEASE_ATTEMPTS_MAX : holder.failedCalls + 1
  return giveUpOrAsk({ ...holder, call: null, failedCalls })
}

/** Forgets a waiting request, whose client went away. */
export function removeWaiter(holder: LeaseHolder, id: number): LeaseHolder {
  const { call, waiters } = holder
  const index = waiters.findIndex((waiter) => waiter.id === id)
  if (index < 0) return holder
  const isCounted = call !== null && index < call.counted
  return {
    ...holder,
    waiters: waiters.toSpliced(index, 1),
    call: isCounted ? { ...call, counted: call.counted - 1 } : call,
  }
}

/**
 * Drops the tokens at hand, after an outcome that the guard counts as a failure: the next request asks the object, which may
 * know better by then. They go back with that call, to quotas. A call that is running was answered without that outcome: it
 * still serves those who wait for it, and leaves nothing at hand.
 */
export function dropLease(holder: LeaseHolder): LeaseHolder {
  const { call } = holder
  return { ...endLease(holder), size: 0, call: call === null ? null : { ...call, isOutdated: true } }
}

const UNAVAILABLE: LeaseDenial = { kind: "deny", reason: "unavailable", retryAfterMs: null }

function serve(holder: LeaseHolder, answer: LeaseAnswer, counted: number): HolderStep {
  const { deny, lastMs } = holder
  const isAlive = holder.expiresMs > lastMs
  let { tokens } = holder
  // Spent by the object on the requests that the call counted, and on nothing else: what of it finds none is gone.
  let decided = answer.ttlMs === 0 ? answer.granted : 0
  const settled: SettledWaiter[] = []
  const waiters: Waiter[] = []
  for (const [index, waiter] of holder.waiters.entries()) {
    const { id, cost } = waiter
    const isBlocked = answer.blockedForMs > 0
    const isDecided = index < counted && answer.ttlMs === 0
    const ready = isDecided ? tokens + decided : tokens
    const isCovered = cost <= ready + answer.left && !isBlocked
    // What joined after the call was sent may find tokens that have come back since; that is for another call to say.
    const isRefused =
      index < counted ? answer.denyForMs > 0 && cost >= answer.denyCost : deny !== null && cost >= deny.cost
    const answers = waiter.answers + (index < counted ? 1 : 0)
    if (cost <= ready && isCovered && (isAlive || isDecided)) {
      const paid = isDecided ? Math.min(decided, cost) : 0
      decided -= paid
      tokens -= cost - paid
      settled.push({ id, decision: { kind: "admit" } })
    } else if (cost > answer.capacity && !isBlocked) {
      settled.push({ id, decision: denyOf({ reason: "too-large", violated: answer.violated }, null) })
    } else if (isBlocked || (isRefused && !isCovered) || answers >= TOKEN_LEASE_ANSWERS_MAX) {
      settled.push({ id, decision: denyFrom(refusalOf(answer, lastMs), lastMs) })
    } else waiters.push({ ...waiter, answers })
  }
  return { holder: { ...holder, tokens, waiters }, settled, ask: waiters.length > 0 }
}

function giveUpOrAsk(holder: LeaseHolder): HolderStep {
  if (holder.failedCalls < TOKEN_LEASE_ATTEMPTS_MAX) return { holder, settled: [], ask: holder.waiters.length > 0 }
  const settled = holder.waiters.map(({ id }) => ({ id, decision: UNAVAILABLE }))
  return { holder: { ...holder, waiters: [], failedCalls: 0 }, settled, ask: false }
}

/**
 * Moves the clock. A lease and a cached refusal end by it; a clock that steps back says nothing about how much time has
 * passed, so it ends both, and the tokens of a running call with them.
 */
function advance(holder: LeaseHolder, nowMs: number): LeaseHolder {
  const elapsedMs = nowMs - holder.lastMs
  if (!(elapsedMs >= 0)) {
    const call = holder.call === null ? null : { ...holder.call, sentAtMs: Number.NEGATIVE_INFINITY }
    const lastMs = Number.isFinite(nowMs) ? nowMs : holder.lastMs
    return { ...endLease(holder), deny: null, lastMs, call }
  }
  return {
    ...(nowMs < holder.expiresMs ? holder : endLease(holder)),
    deny: holder.deny !== null && nowMs < holder.deny.untilMs ? holder.deny : null,
    demand: elapsedMs === 0 ? holder.demand : holder.demand * Math.exp(-elapsedMs / DEMAND_TAU_MS),
    lastMs: nowMs,
  }
}

/** Ends the lease. What is left of it is out of reach before anyone hears of it: only so it can be given to others. */
function endLease(holder: LeaseHolder): LeaseHolder {
  const { tokens, lease, returned } = holder
  return tokens === 0 && holder.expiresMs === 0
    ? holder
    : { ...holder, tokens: 0, expiresMs: 0, returned: keepReturn(returned, lease, tokens) }
}

function keepReturn(returned: LeaseReturn | null, lease: number, tokens: number): LeaseReturn | null {
  return tokens > (returned?.tokens ?? 0) ? { lease, tokens } : returned
}

/** Whether a renewal pays: the lease was worth one, little is left, and the object is not known to have none. */
function isLow({ call, deny, size, tokens, cost }: LeaseHolder): boolean {
  return call === null && deny === null && size >= RENEW_REQUESTS_MIN * cost && tokens <= RENEW_RATIO * size
}

/** What is refused without asking, and for how long. */
function denyCacheOf(answer: LeaseAnswer, nowMs: number): DenyCache | null {
  const { blockedForMs, denyForMs, denyCost } = answer
  const untilMs = nowMs + (blockedForMs > 0 ? blockedForMs : denyForMs)
  return untilMs > nowMs ? { untilMs, cost: blockedForMs > 0 ? 0 : denyCost, ...refusalOf(answer, nowMs) } : null
}

function refusalOf(answer: LeaseAnswer, nowMs: number): Pick<DenyCache, "refusal" | "retryAtMs"> {
  const { blockedForMs, denyForMs, retryAfterMs, violated } = answer
  if (blockedForMs > 0) return { refusal: { reason: "blocked" }, retryAtMs: nowMs + (retryAfterMs ?? blockedForMs) }
  if (retryAfterMs === null) return { refusal: { reason: "too-large", violated }, retryAtMs: null }
  // Not before this isolate asks again, else the client is refused once more for having obeyed.
  return { refusal: { reason: "limit", violated }, retryAtMs: nowMs + Math.max(denyForMs, retryAfterMs) }
}

function denyFrom({ refusal, retryAtMs }: Pick<DenyCache, "refusal" | "retryAtMs">, nowMs: number): LeaseDenial {
  return denyOf(refusal, retryAtMs === null ? null : Math.max(1, retryAtMs - nowMs))
}

function denyOf(refusal: LeaseRefusal, retryAfterMs: number | null): LeaseDenial {
  return { kind: "deny", ...refusal, retryAfterMs }
}

/**
 * The two messages of a token lease: what an isolate asks its client's object, and what the object answers.
 *
 * Pure data without secrets, valid JSON. `core/lease/lease-holder.ts` makes calls and takes answers; `core/lease/lease-ledger.ts`
 * takes calls and makes answers. Any message may be lost, late, doubled or overtaken: the sequence number says which
 * of them still count. All durations are relative, so the two sides need no common clock.
 */
import { TOKEN_LEASE_BOOT_LENGTH_MAX, TOKEN_LEASE_WAITERS_MAX } from "../bounds.ts"
import { isCount, isPositiveInteger, membersOf } from "../untrusted.ts"

/**
 * Tokens of one lease that were never spent and never will be. The object gives them back to quotas, once; a bucket has
 * refilled for them when they stopped counting as lent.
 */
export interface LeaseReturn {
  /** Number of the answer that the tokens were held under. */
  readonly lease: number
  /** At least 1. */
  readonly tokens: number
}

/** What an isolate asks. Sending the same call again is safe; a call that is given up is replaced by one with the next `seq`. */
export interface LeaseCall {
  /** One incarnation of one isolate: random, never used again. 1 to 64 characters. */
  readonly boot: string
  /** Number of this call, counted from 1 by the incarnation. */
  readonly seq: number
  /** Number of the last answer that it took, 0 for none. An answer between this one and `seq` was never taken. */
  readonly lease: number
  /** Tokens that it still holds while it sends. It may spend them before the answer arrives. */
  readonly unused: number
  /** Costs of the requests that wait, in order of arrival; at most 1,000. */
  readonly waiting: readonly number[]
  /** Tokens of a typical request: the smallest waiting one, or the last one. */
  readonly cost: number
  /** Tokens per second that requests of this client asked for here lately. */
  readonly demand: number
  /** Longest recent time from a call to its answer, in ms, 0 when unknown. */
  readonly roundTripMs: number
  /** What it hands back, null for nothing. Named again in every call until an answer to one of them is taken. */
  readonly returned: LeaseReturn | null
}

/** What the object answers. Only the isolate that waits for exactly this `seq` may use it, and only once. */
export interface LeaseAnswer {
  readonly seq: number
  /** New tokens. */
  readonly granted: number
  /** Tokens that the isolate may keep of what it held: `unused`, or 0 when its lease ends now. */
  readonly carry: number
  /**
   * Life of all these tokens in ms, counted from when the isolate **sent** the call. 0: a lease would be over on arrival,
   * so the object itself has decided. `granted` is spent already, on those of the call's waiting requests that it covers
   * in order together with `carry`, and what `carry` names keeps the life it had.
   */
  readonly ttlMs: number
  /** Whole tokens that the object could still give: a request that these and its own do not cover is refused. */
  readonly left: number
  /** The largest cost that can ever be admitted. */
  readonly capacity: number
  /** Ms for which asking again for `denyCost` tokens or more is pointless; 0 when it is not. */
  readonly denyForMs: number
  /** Tokens. The smallest request that is refused from memory for `denyForMs`. */
  readonly denyCost: number
  /** Ms until `denyCost` more tokens fit if nobody else takes any: not 1 ms earlier. Null when they never do. */
  readonly retryAfterMs: number | null
  /** Names of the limits that have too few for `denyCost`, sorted. */
  readonly violated: readonly string[]
  /** The guard's epoch. An isolate that knew another one drops what it held. */
  readonly epoch: number
  /** Ms for which the client counts as blocked, 0 when it is not. */
  readonly blockedForMs: number
}

const COUNTS_OF_ANSWER = [
  "seq",
  "granted",
  "carry",
  "ttlMs",
  "left",
  "capacity",
  "denyForMs",
  "denyCost",
  "epoch",
  "blockedForMs",
] as const satisfies readonly (keyof LeaseAnswer)[]

/** Returns whether the value is a call whose every member is in its range. A call that is not changes nothing. */
export function isLeaseCall(value: unknown): value is LeaseCall {
  const { boot, seq, lease, unused, waiting, cost, demand, roundTripMs, returned } = membersOf(value)
  return (
    typeof boot === "string" &&
    boot.length > 0 &&
    boot.length <= TOKEN_LEASE_BOOT_LENGTH_MAX &&
    isCount(seq) &&
    isCount(lease) &&
    lease < seq &&
    isCount(unused) &&
    isCount(cost) &&
    isAmount(demand) &&
    isAmount(roundTripMs) &&
    Array.isArray(waiting) &&
    waiting.length <= TOKEN_LEASE_WAITERS_MAX &&
    waiting.every(isCount) &&
    (returned === null || isReturn(returned, lease))
  )
}

/** Returns the answer in a stored value, or undefined unless every member is a number of its kind. */
export function parseLeaseAnswer(value: unknown): LeaseAnswer | undefined {
  const members = membersOf(value)
  const { retryAfterMs, violated } = members
  if (!COUNTS_OF_ANSWER.every((name) => isCount(members[name])) || !isNames(violated)) return undefined
  if (retryAfterMs !== null && !isCount(retryAfterMs)) return undefined
  const counts = Object.fromEntries(COUNTS_OF_ANSWER.map((name) => [name, members[name]]))
  return { ...(counts as unknown as Omit<LeaseAnswer, "retryAfterMs" | "violated">), retryAfterMs, violated }
}

/** Returns whether the value is a list of names. */
export function isNames(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((name) => typeof name === "string")
}

function isReturn(value: unknown, taken: number): value is LeaseReturn {
  const { lease, tokens } = membersOf(value)
  return isPositiveInteger(lease) && lease <= taken && isPositiveInteger(tokens)
}

function isAmount(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0
}

/**
 * What an isolate says about limits that it decides on by itself: what the object said last, and the tokens at hand.
 *
 * A hint, like all RateLimit fields: other isolates spend too. It is never more than the limit gives at once, and after a
 * refusal never as much as was refused. Pure and total; the `client-gate` stage puts it on answers.
 */
import type { PolicyStatus } from "../limit/limit.ts"

/** What is known beside the object's last word. */
export interface Standing {
  /** Ms since that word. */
  readonly elapsedMs: number
  /** Tokens at hand after this request. */
  readonly tokens: number
  /** Set when this request was refused: what it cost, which limits refused it, and the ms it is told to wait. */
  readonly refused?:
    | { readonly cost: number; readonly violated: readonly string[]; readonly retryAfterMs: number | null }
    | undefined
}

/** Returns the policies as they are told to the client. */
export function standingOf(
  policies: readonly PolicyStatus[],
  { elapsedMs, tokens, refused }: Standing,
): readonly PolicyStatus[] {
  return policies.map(({ name, nextMs: lentNextMs, quota, remaining: lentRemaining, windowSec }) => {
    const isRefusing = refused?.violated.includes(name) === true
    const known = Math.min(quota, lentRemaining + tokens)
    const remaining = isRefusing ? Math.max(0, Math.min(known, refused.cost - 1)) : known
    if (remaining >= quota) return { name, quota, windowSec, remaining, nextMs: 0 }
    const laterMs = Math.max(1, lentNextMs - Math.max(0, elapsedMs))
    // Retry-After is the later word of the two: more quota is not announced for later than it.
    const nextMs = isRefusing ? Math.min(laterMs, refused.retryAfterMs ?? laterMs) : laterMs
    return { name, quota, windowSec, remaining, nextMs }
  })
}

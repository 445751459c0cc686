/**
 * A guard's block that an isolate refuses from memory, so that a blocked client costs its object next to nothing.
 *
 * Short, as the object says, so that an administrator's unblock is soon heard of. Shortly before the end one request asks
 * again, so that not all of them have to when the time is over. Pure and total; called by the `client-gate` stage, which keeps
 * one for each set of guards that it asks.
 */
import type { GateVerdict } from "../gate/gate-verdict.ts"

/** What is remembered. Instants are epoch ms. */
export interface BlockMemory {
  readonly verdict: GateVerdict
  readonly atMs: number
  readonly untilMs: number
  /** Somebody has been sent to ask again. */
  readonly isAsked: boolean
}

/** Part of the memory's life after which one request asks again. */
const ASK_RATIO = 0.9

/** Returns the memory of a verdict that the object gave at `nowMs`. @param forMs how long it may be kept, > 0 */
export function rememberBlock(verdict: GateVerdict, forMs: number, nowMs: number): BlockMemory {
  return { verdict: { ...verdict, decidedBy: "local" }, atMs: nowMs, untilMs: nowMs + forMs, isAsked: false }
}

/**
 * Returns the verdict on a request at `nowMs`, or none when the object has to be asked, and the memory afterwards. A clock
 * that was set back makes a memory neither younger nor older: the object is asked.
 */
export function recallBlock(
  memory: BlockMemory,
  nowMs: number,
): { readonly memory: BlockMemory; readonly verdict: GateVerdict | undefined } {
  const { atMs, untilMs, isAsked, verdict } = memory
  if (nowMs < atMs || nowMs >= untilMs) return { memory, verdict: undefined }
  if (!isAsked && nowMs >= atMs + ASK_RATIO * (untilMs - atMs)) {
    return { memory: { ...memory, isAsked: true }, verdict: undefined }
  }
  return { memory, verdict: later(verdict, nowMs - atMs) }
}

function later(verdict: GateVerdict, elapsedMs: number): GateVerdict {
  const { refusal } = verdict
  if (refusal?.kind !== "blocked" || refusal.retryAfterMs === null) return verdict
  return { ...verdict, refusal: { ...refusal, retryAfterMs: Math.max(1, refusal.retryAfterMs - elapsedMs) } }
}

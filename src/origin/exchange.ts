/**
 * Asks an origin until it answers, a rule says that it was asked often enough, or time or the caller ends it.
 *
 * Which URL is asked is `core/origin/origin-choice.ts` and `core/origin/origin-breaker.ts`, how often in all `core/origin/retry-budget.ts`. A request is
 * sent again only before the header of an answer, only when it can be (`isRepeatable()`), and never once the caller has left
 * or time is up: the time of all attempts together is that of one.
 */
import type { Origin, OriginUrl } from "../config/config.ts"
import type { OriginAttempt, OriginHealth } from "../context.ts"
import { classifyOriginAnswer, type OriginAnswer } from "../core/origin/origin-health.ts"
import type { OriginRequest } from "./request.ts"

/** Why calls of the origin are ended from this side. */
export type Ended = "late" | "caller-gone" | "too-large"

/** How an exchange ended. */
export type Exchanged =
  | { readonly kind: "answered"; readonly answer: Response; readonly url: OriginUrl; readonly endedMs: number }
  /** Every URL is skipped. Nothing was sent. */
  | { readonly kind: "skipped"; readonly retryAfterMs: number | null }
  | {
      readonly kind: "failed"
      readonly cause: Ended | "unreachable"
      readonly error: unknown
      readonly endedMs: number
    }

/** What an exchange is made of. */
export interface ExchangeParts {
  readonly origin: Origin
  readonly health: OriginHealth
  /** The request may be sent more than once. */
  readonly isRepeatable: boolean
  /** Makes the request for a URL, anew each time. Throws only what is the gateway's own fault. */
  readonly prepare: (url: OriginUrl) => OriginRequest
  readonly ask: (request: OriginRequest) => Promise<Response>
  /** Says whether, and why, calls have been ended. */
  readonly ended: () => Ended | undefined
  /** When the first attempt starts, epoch ms. */
  readonly startedMs: number
  readonly nowMs: () => number
  /** Called before each sending. */
  readonly onAttempt: () => void
}

const END_ANSWERS: Readonly<Record<Ended | "unreachable", OriginAnswer>> = {
  late: { problem: "origin-timeout", status: null, isAborted: false },
  "caller-gone": { problem: "origin-unreachable", status: null, isAborted: true },
  "too-large": { problem: "body-too-large", status: null, isAborted: false },
  unreachable: { problem: "origin-unreachable", status: null, isAborted: false },
}

/** Returns how it ended. Every attempt is on the register of the origin's health when it does. */
export async function exchangeWithOrigin(parts: ExchangeParts): Promise<Exchanged> {
  const { health, isRepeatable, origin, startedMs } = parts
  const { retriesMax } = origin.retry
  if (retriesMax > 0) health.countRequest(origin, startedMs)
  const tried = new Set<number>()
  let chosen = health.choose(origin, tried, startedMs)
  for (let attempts = 1; chosen.kind === "chosen"; attempts += 1) {
    const result = await attempt(parts, chosen)
    if (!isRepeatable || attempts > retriesMax || !isWorthRepeating(result, origin)) return result
    if (parts.ended() !== undefined || !health.takeRetry(origin, result.endedMs)) return result
    tried.add(chosen.index)
    chosen = health.choose(origin, tried, result.endedMs)
    if (chosen.kind === "open") return result
    // An answer that is not handed on holds its connection until it is read or given up.
    if (result.kind === "answered") await result.answer.body?.cancel().catch(() => {})
  }
  return { kind: "skipped", retryAfterMs: chosen.retryAfterMs }
}

async function attempt(
  { ask, ended, health, nowMs, onAttempt, origin, prepare }: ExchangeParts,
  chosen: OriginAttempt,
): Promise<Exclude<Exchanged, { kind: "skipped" }>> {
  const record = (answer: OriginAnswer): number => {
    const endedMs = nowMs()
    health.record(origin, chosen, classifyOriginAnswer(answer), endedMs)
    return endedMs
  }
  const url = origin.urls[chosen.index]
  if (url === undefined) throw new Error(`Origin ${origin.name} has no URL ${chosen.index}`)
  const request = prepare(url)
  onAttempt()
  try {
    const answer = await ask(request)
    return { kind: "answered", answer, url, endedMs: record({ status: answer.status, isAborted: false }) }
  } catch (error) {
    const cause = ended() ?? "unreachable"
    return { kind: "failed", cause, error, endedMs: record(END_ANSWERS[cause]) }
  }
}

/** No header at all, or a status that is as good as none. Whether it was ended from here is asked beside this. */
function isWorthRepeating(result: Exchanged, { retry }: Origin): boolean {
  return result.kind === "failed" || (result.kind === "answered" && retry.statuses.has(result.answer.status))
}

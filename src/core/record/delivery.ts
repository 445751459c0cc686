/**
 * What a sink's answer means for a batch of events: delivered, worth another try, or never. Pure; called by `observe/sink.ts`.
 *
 * @see OTLP/HTTP §"Failures": only 429, 502, 503 and 504 are retryable
 */
import { SINK_RETRY_SECONDS_MAX } from "../bounds.ts"
import { membersOf } from "../untrusted.ts"

/** What to do with a batch. Without `delaySeconds` the queue's own back-off applies. */
export type Delivery =
  /** `dropped` records have been received and not taken: sending them again would change nothing. */
  | { readonly kind: "delivered"; readonly dropped: number }
  | { readonly kind: "retry"; readonly reason: string; readonly delaySeconds: number | undefined }
  /** `isContent`: the sink finds fault with the records, not with who sends them, so that others may pass. */
  | { readonly kind: "rejected"; readonly reason: string; readonly isContent: boolean }

const RETRYABLE: ReadonlySet<number> = new Set([429, 502, 503, 504])
/** Bad request, content too large, content not processable. */
const ABOUT_CONTENT: ReadonlySet<number> = new Set([400, 413, 422])
/** The two forms of an HTTP date with a zone and the one without; `Date.parse` alone reads a date into nearly any text. */
const HTTP_DATE =
  /^(?:[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4}|[A-Z][a-z]{5,8}, [0-9]{2}-[A-Z][a-z]{2}-[0-9]{2}) [0-9]{2}:[0-9]{2}:[0-9]{2} GMT$/
const ASCTIME_DATE = /^[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} [0-9]{4}$/

/**
 * Decides on an answer.
 *
 * @param status HTTP status, or undefined when there was no answer
 * @param retryAfter value of Retry-After: whole seconds or an HTTP date in any of its three forms; anything else is ignored
 * @see RFC 9110 §10.2.3, §5.6.7
 */
export function decideDelivery(status: number | undefined, retryAfter: string | null, nowMs: number): Delivery {
  if (status === undefined) return { kind: "retry", reason: "no_answer", delaySeconds: undefined }
  if (status >= 200 && status < 300) return { kind: "delivered", dropped: 0 }
  // A redirect would send events to a place that nobody configured.
  if (!RETRYABLE.has(status))
    return { kind: "rejected", reason: `status_${status}`, isContent: ABOUT_CONTENT.has(status) }
  return { kind: "retry", reason: `status_${status}`, delaySeconds: parseRetryAfter(retryAfter, nowMs) }
}

/**
 * Returns how many records an OTLP receiver says that it has not taken, of at most `sent`; 0 for an answer that says nothing of
 * the kind.
 *
 * @see OTLP/HTTP §"Partial Success": the sender must not send the request again
 */
export function countNotTaken(answer: string, sent: number): number {
  try {
    const { rejectedLogRecords, rejectedSpans } = membersOf(membersOf(JSON.parse(answer))["partialSuccess"])
    const count = Number(rejectedLogRecords ?? rejectedSpans ?? 0)
    return Number.isSafeInteger(count) && count > 0 ? Math.min(count, sent) : 0
  } catch {
    return 0
  }
}

function parseRetryAfter(value: string | null, nowMs: number): number | undefined {
  if (value === null) return undefined
  const seconds = /^[0-9]+$/.test(value) ? Number(value) : Math.ceil((parseHttpDate(value) - nowMs) / 1_000)
  return Number.isNaN(seconds) ? undefined : Math.min(Math.max(seconds, 0), SINK_RETRY_SECONDS_MAX)
}

function parseHttpDate(value: string): number {
  if (ASCTIME_DATE.test(value)) return Date.parse(`${value} GMT`)
  return HTTP_DATE.test(value) ? Date.parse(value) : Number.NaN
}

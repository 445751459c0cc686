/**
 * What a sink's answer means for a batch of events: delivered, worth another try, or never. Pure; called by `observe/sink.ts`.
 *
 * @see OTLP/HTTP §"Failures": only 429, 502, 503 and 504 are retryable
 */
import { SINK_RETRY_SECONDS_MAX } from "./bounds.ts"

/** What to do with a batch. Without `delaySeconds` the queue's own back-off applies. */
export type Delivery =
  | { readonly kind: "delivered" }
  | { readonly kind: "retry"; readonly reason: string; readonly delaySeconds: number | undefined }
  | { readonly kind: "rejected"; readonly reason: string }

const RETRYABLE: ReadonlySet<number> = new Set([429, 502, 503, 504])
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
  if (status >= 200 && status < 300) return { kind: "delivered" }
  // A redirect would send events to a place that nobody configured.
  if (!RETRYABLE.has(status)) return { kind: "rejected", reason: `status_${status}` }
  return { kind: "retry", reason: `status_${status}`, delaySeconds: parseRetryAfter(retryAfter, nowMs) }
}

/** Returns the worst of several deliveries of one batch: it is done only when every sink has it. */
export function combineDeliveries(deliveries: readonly Delivery[]): Delivery {
  return (
    deliveries.find((delivery) => delivery.kind === "retry") ??
    deliveries.find((delivery) => delivery.kind === "rejected") ?? { kind: "delivered" }
  )
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

/**
 * What travels through the queue: records of one isolate, packed.
 *
 * Isolates send it as text, which they put together of records that are text already; objects and deliveries, which send few, as it is.
 */
import type { GatewayEvent } from "../core/record/event.ts"
import type { Span } from "../core/record/span.ts"
import { parseJson } from "../core/untrusted.ts"

/** One queue message. `version` lets a newer consumer read what an older producer has left in the queue. */
export interface EventMessage {
  readonly version: 1
  /** At most 100 events, below 128 KB as JSON. */
  readonly events: readonly GatewayEvent[]
  /** Events that this isolate had to drop since its last message. */
  readonly dropped: number
  /** Spans of sampled requests; at most 100 records with the events. Absent: none. */
  readonly spans?: readonly Span[]
  /** Only these sinks lack it (`sinkId()`); absent: all of them. */
  readonly sinks?: readonly string[]
}

/** Returns the text of a message of records that are JSON. Read by {@link parseEventMessage}. */
export function formatEventMessage(events: readonly string[], spans: readonly string[], dropped: number): string {
  const traced = spans.length === 0 ? "" : `,"spans":[${spans.join(",")}]`
  return `{"version":1,"events":[${events.join(",")}],"dropped":${dropped}${traced}}`
}

/**
 * Returns the message in an untrusted body, or undefined. Its events were made by this gateway, by this version or
 * another, so no member of theirs is relied on.
 */
export function parseEventMessage(input: unknown): EventMessage | undefined {
  const body = typeof input === "string" ? parseJson(input) : input
  if (typeof body !== "object" || body === null) return undefined
  const { version, events, dropped, sinks, spans = [] } = body as Partial<Record<keyof EventMessage, unknown>>
  if (version !== 1 || !isListOf(events, isTable) || typeof dropped !== "number") return undefined
  if (sinks !== undefined && !isListOf(sinks, (item) => typeof item === "string")) return undefined
  if (!isListOf(spans, isTable)) return undefined
  const filter = sinks === undefined ? {} : { sinks: sinks as string[] }
  return { version, events: events as GatewayEvent[], dropped, spans: spans as unknown as Span[], ...filter }
}

function isListOf(value: unknown, isItem: (item: unknown) => boolean): value is unknown[] {
  return Array.isArray(value) && value.every(isItem)
}

function isTable(value: unknown): boolean {
  return typeof value === "object" && value !== null
}

/**
 * The other end of the queue: pushes records to the configured sinks.
 *
 * Each message is offered to every sink that lacks it. Sinks do not depend on each other: what one of them does not take comes again for
 * that one alone (`core/record/sink-remainder.ts`). A batch with which a sink finds fault is offered in halves until the bad records are
 * alone; they end in the dead-letter queue by themselves.
 */
import type { Config, Sink } from "../config/config.ts"
import { SINK_POSTS_MAX } from "../core/bounds.ts"
import type { MetricsRecorder } from "../context.ts"
import type { Delivery } from "../core/record/delivery.ts"
import { formatEventJson, type GatewayEvent } from "../core/record/event.ts"
import { formatLokiPush } from "../core/record/loki.ts"
import { formatOtlpLogs } from "../core/record/otlp-logs.ts"
import { formatOtlpTraces } from "../core/record/otlp-traces.ts"
import { sinkId, sinkRecordOf, type SinkOccurrence } from "../core/record/sink-record.ts"
import { joinLeftovers, settleMessage, type Leftover, type SinkResult } from "../core/record/sink-remainder.ts"
import type { Span } from "../core/record/span.ts"
import { postToSink, type SinkContent } from "../sinks/post.ts"
import { parseEventMessage, type EventMessage } from "./event-message.ts"

/** What a batch is delivered with. */
export interface SinkSurroundings {
  /** Who is told of deliveries that a sink did not take. */
  readonly metrics?: Env["METRICS"]
  /** Where what is left goes; undefined: it comes again as it was. */
  readonly queue: Env["EVENTS"]
  readonly secrets: Readonly<Record<string, unknown>>
}

/** Delivers one batch of the queue. Never throws: what cannot be delivered comes again or is dead-lettered by message. */
export type DeliverBatch = (batch: MessageBatch, surroundings: SinkSurroundings) => Promise<void>

/**
 * Returns the delivery of one isolate, which remembers whom it has called down.
 *
 * @param metrics counts every post that a sink did not take
 */
export function createSinkDelivery(
  config: Config,
  nowMs: () => number,
  metrics?: Pick<MetricsRecorder, "add" | "report">,
): DeliverBatch {
  const down = new Set<string>()
  const queueSinks = config.sinks.filter(({ takes }) => takes.has("events") || takes.has("traces"))

  return async (batch, { metrics: object, queue, secrets }) => {
    const occurrences: SinkOccurrence[] = []
    let failures = 0
    const post = async (sink: Sink, records: readonly SinkItem[]): Promise<Delivery> => {
      const delivery = await postToSink(sink, contentOf(sink, records, config.version), secrets)
      if (delivery.kind === "delivered") return delivery
      failures += 1
      metrics?.add("sekisho_sink_failures", 1, `${config.sinks.indexOf(sink)} ${sink.kind}`)
      return delivery
    }
    await Promise.all(
      batch.messages.map(async (message) => {
        const parsed = parseEventMessage(message.body)
        if (parsed === undefined) {
          logDelivery(batch, "sink_rejected", "unknown_message")
          // Its retries end in the dead-letter queue, where nothing is lost.
          return message.retry()
        }
        const results = await Promise.all(
          queueSinks
            .filter((sink) => parsed.sinks?.includes(sinkId(sink)) ?? true)
            .map((sink) =>
              offer(
                sink,
                recordsFor(sink, parsed),
                async (records) => post(sink, records),
                (occurrence) => void occurrences.push(occurrence),
              ),
            ),
        )
        await settle(batch, message, parsed, results, queue)
      }),
    )
    await tell(occurrences.filter(isNews), queue)
    // Here and now: what a batch leaves for later keeps the next one waiting.
    if (failures > 0) await metrics?.report(object)
  }

  /** An outage is told once by each isolate, however many messages meet it. */
  function isNews(occurrence: SinkOccurrence): boolean {
    if (occurrence.kind === "up") return down.delete(sinkId(occurrence.sink))
    if (occurrence.kind !== "down") return true
    const id = sinkId(occurrence.sink)
    if (down.has(id)) return false
    down.add(id)
    return true
  }

  /** Puts on the record what happened to records. A queue that does not take it leaves the console. */
  async function tell(occurrences: readonly SinkOccurrence[], queue: Env["EVENTS"]): Promise<void> {
    if (occurrences.length === 0) return
    const events = occurrences.map((occurrence) => sinkRecordOf(occurrence, nowMs()))
    for (const record of events) console.error(formatEventJson(record))
    await queue?.send({ version: 1, events, dropped: 0 }).catch(() => undefined)
  }
}

/** What a sink takes of messages. */
type SinkItem = GatewayEvent | Span

async function settle(
  batch: MessageBatch,
  message: Message,
  parsed: EventMessage,
  results: readonly SinkResult<SinkItem>[],
  queue: Env["EVENTS"],
): Promise<void> {
  for (const { kind, reason } of results.flatMap(({ left }) => left))
    logDelivery(batch, kind === "retry" ? "sink_unavailable" : "sink_rejected", reason)
  const settlement = settleMessage(results)
  if (settlement.kind === "again") return message.retry(delayOf(settlement.delaySeconds))
  if (settlement.kind === "replaced") {
    try {
      if (queue === undefined) return message.retry()
      for (const { delaySeconds, records, sink } of settlement.by)
        await queue.send(messageOf(records, sink), delayOf(delaySeconds))
    } catch {
      // Sinks that have it get it twice: better than one that never gets it.
      return message.retry()
    }
  }
  if (parsed.dropped > 0) logDelivery(batch, "events_dropped", `${parsed.dropped}`)
  return message.ack()
}

/** Offers records to a sink, and says what of them it lacks then. */
async function offer(
  sink: Sink,
  records: readonly SinkItem[],
  post: (records: readonly SinkItem[]) => Promise<Delivery>,
  note: (occurrence: SinkOccurrence) => void,
): Promise<SinkResult<SinkItem>> {
  let posts = 0
  /** Set by an answer after which the sink is left alone. */
  let stopped: Exclude<Delivery, { readonly kind: "delivered" }> | undefined

  async function halve(part: readonly SinkItem[]): Promise<readonly Leftover<SinkItem>[]> {
    if (stopped !== undefined) return [leftoverOf(part, stopped, stopped.kind)]
    const delivery = await post(part)
    posts += 1
    if (delivery.kind === "delivered") {
      const { dropped: count } = delivery
      // A record about lost records that is lost itself would be told of for ever.
      if (count > 0 && !part.every(isSinkRecord)) note({ kind: "dropped", sink, reason: "partial_success", count })
      return []
    }
    const isContent = delivery.kind === "rejected" && delivery.isContent
    if (isContent && part.length === 1) return [leftoverOf(part, delivery, "poison")]
    if (!isContent || posts >= SINK_POSTS_MAX) {
      stopped = delivery
      return [leftoverOf(part, delivery, delivery.kind)]
    }
    const middle = Math.ceil(part.length / 2)
    return [...(await halve(part.slice(0, middle))), ...(await halve(part.slice(middle)))]
  }

  const left = records.length === 0 ? [] : joinLeftovers(await halve(records))
  if (stopped !== undefined) note({ kind: "down", sink, reason: stopped.reason })
  else if (records.length > 0) note({ kind: "up", sink })
  const [poison, ...others] = left.filter(({ kind }) => kind === "poison")
  // One that comes alone has been told of before.
  if (poison !== undefined && records.length > 1)
    note({ kind: "rejected", sink, reason: poison.reason, count: others.length + 1 })
  return { sink: sinkId(sink), offered: records.length, left }
}

function leftoverOf(
  records: readonly SinkItem[],
  delivery: Exclude<Delivery, { readonly kind: "delivered" }>,
  kind: Leftover<SinkItem>["kind"],
): Leftover<SinkItem> {
  const delaySeconds = delivery.kind === "retry" ? delivery.delaySeconds : undefined
  return { records, reason: delivery.reason, delaySeconds, kind }
}

/** Returns what a sink is to get of a message. */
function recordsFor({ takes }: Sink, { events, spans = [] }: EventMessage): readonly SinkItem[] {
  return [...(takes.has("events") ? events : []), ...(takes.has("traces") ? spans : [])]
}

/** Returns the message that one sink gets what it lacks with. */
function messageOf(records: readonly SinkItem[], sink: string): EventMessage {
  const spans = records.filter(isSpan)
  const events = records.filter(isEvent)
  return { version: 1, events, dropped: 0, sinks: [sink], ...(spans.length === 0 ? {} : { spans }) }
}

/** Returns the records as the sink takes them. */
function contentOf({ kind }: Sink, records: readonly SinkItem[], serviceVersion: string): SinkContent {
  const spans = records.filter(isSpan)
  const events = records.filter(isEvent)
  const size = records.length
  switch (kind) {
    case "otlp": {
      const request =
        spans.length > 0 ? formatOtlpTraces(spans, serviceVersion) : formatOtlpLogs(events, serviceVersion)
      return { mediaType: "application/json", text: formatEventJson(request), records: size }
    }
    case "loki":
      return { mediaType: "application/json", text: formatEventJson(formatLokiPush(events)), records: size }
    case "ndjson": {
      const text = events.map((event) => `${formatEventJson(event)}\n`).join("")
      return { mediaType: "application/x-ndjson", text, records: size }
    }
  }
}

function isSpan(record: SinkItem): record is Span {
  return !("event" in record)
}

function isEvent(record: SinkItem): record is GatewayEvent {
  return "event" in record
}

function isSinkRecord(record: SinkItem): boolean {
  return "event" in record && typeof record.event === "string" && record.event.startsWith("sink.")
}

function delayOf(delaySeconds: number | undefined): { readonly delaySeconds?: number } {
  return delaySeconds === undefined ? {} : { delaySeconds }
}

function logDelivery(batch: MessageBatch, event: string, reason: string): void {
  console.error(JSON.stringify({ level: "error", event, queue: batch.queue, reason }))
}

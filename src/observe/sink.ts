/**
 * The other end of the queue: pushes events to the configured sinks.
 *
 * Each message is offered to every sink. It is acknowledged when all have it, offered again when one asks for patience,
 * and left to the dead-letter queue when one will never take it.
 */
import type { Config, Sink } from "../config/config.ts"
import type { MetricsRecorder } from "../context.ts"
import { combineDeliveries, type Delivery } from "../core/delivery.ts"
import { formatEventJson, type GatewayEvent } from "../core/event.ts"
import { formatOtlpLogs } from "../core/otlp-logs.ts"
import { postToSink, type SinkContent } from "../sinks/post.ts"
import { parseEventMessage } from "./event-message.ts"

/**
 * Delivers one batch of the queue. Never throws: what cannot be delivered is retried or dead-lettered by message.
 *
 * @param metrics told of every delivery that a sink did not take
 */
export async function deliverBatch(
  batch: MessageBatch,
  config: Config,
  secrets: Readonly<Record<string, unknown>>,
  metrics?: Pick<MetricsRecorder, "add">,
): Promise<void> {
  const eventSinks = config.sinks.filter(({ takes }) => takes.has("events"))
  const deliver = async (sink: Sink, place: number, events: readonly GatewayEvent[]): Promise<Delivery> => {
    const delivery = await postToSink(sink, contentOf(sink.kind, events, config.version), secrets)
    if (delivery.kind !== "delivered") metrics?.add("sekisho_sink_failures", 1, `${place} ${sink.kind}`)
    return delivery
  }
  await Promise.all(
    batch.messages.map(async (message) => {
      const parsed = parseEventMessage(message.body)
      const delivery: Delivery =
        parsed === undefined
          ? { kind: "rejected", reason: "unknown_message" }
          : combineDeliveries(await Promise.all(eventSinks.map((sink, place) => deliver(sink, place, parsed.events))))
      if (parsed !== undefined && parsed.dropped > 0) logDelivery(batch, "events_dropped", `${parsed.dropped}`)
      if (delivery.kind === "delivered") return message.ack()
      logDelivery(batch, delivery.kind === "retry" ? "sink_unavailable" : "sink_rejected", delivery.reason)
      // A rejected message goes the same way: its retries end in the dead-letter queue, where nothing is lost.
      message.retry(
        delivery.kind === "retry" && delivery.delaySeconds !== undefined ? { delaySeconds: delivery.delaySeconds } : {},
      )
    }),
  )
}

/** Returns the events as the sink takes them. */
function contentOf(kind: Sink["kind"], events: readonly GatewayEvent[], serviceVersion: string): SinkContent {
  return kind === "otlp"
    ? { mediaType: "application/json", text: formatEventJson(formatOtlpLogs(events, serviceVersion)) }
    : {
        mediaType: "application/x-ndjson",
        text: events.map((event) => `${formatEventJson(event)}\n`).join(""),
      }
}

function logDelivery(batch: MessageBatch, event: string, reason: string): void {
  console.error(JSON.stringify({ level: "error", event, queue: batch.queue, reason }))
}

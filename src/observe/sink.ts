/**
 * The other end of the queue: pushes events to the configured sinks.
 *
 * Each message is offered to every sink. It is acknowledged when all have it, offered again when one asks for patience,
 * and left to the dead-letter queue when one will never take it. Nothing of a sink's answer but its status and
 * Retry-After is used, and no more than 64 KB of it is read.
 */
import type { Config, Sink } from "../config/config.ts"
import { SINK_RESPONSE_BYTES_MAX, SINK_TIMEOUT_MS } from "../core/bounds.ts"
import { combineDeliveries, decideDelivery, type Delivery } from "../core/delivery.ts"
import { formatEventJson, type GatewayEvent } from "../core/event.ts"
import { formatOtlpLogs } from "../core/otlp-logs.ts"
import { parseEventMessage } from "./event-message.ts"

/** Delivers one batch of the queue. Never throws: what cannot be delivered is retried or dead-lettered by message. */
export async function deliverBatch(
  batch: MessageBatch,
  config: Config,
  secrets: Readonly<Record<string, unknown>>,
): Promise<void> {
  await Promise.all(
    batch.messages.map(async (message) => {
      const parsed = parseEventMessage(message.body)
      const delivery: Delivery =
        parsed === undefined
          ? { kind: "rejected", reason: "unknown_message" }
          : combineDeliveries(
              await Promise.all(config.sinks.map((sink) => push(sink, parsed.events, config.version, secrets))),
            )
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

async function push(
  sink: Sink,
  events: readonly GatewayEvent[],
  serviceVersion: string,
  secrets: Readonly<Record<string, unknown>>,
): Promise<Delivery> {
  const headers = new Headers({ "Content-Type": sink.kind === "otlp" ? "application/json" : "application/x-ndjson" })
  if (sink.authorizationSecret !== undefined) {
    const secret = secrets[sink.authorizationSecret]
    // Without the secret the sink would refuse, or worse, accept from anybody: keep the events until it is there.
    if (typeof secret !== "string") return { kind: "retry", reason: "authorization_secret_missing", delaySeconds: 60 }
    headers.set("Authorization", secret)
  }
  const body =
    sink.kind === "otlp"
      ? formatEventJson(formatOtlpLogs(events, serviceVersion))
      : events.map((event) => `${formatEventJson(event)}\n`).join("")
  try {
    const response = await fetch(sink.url, {
      method: "POST",
      headers,
      body,
      redirect: "manual",
      signal: AbortSignal.timeout(SINK_TIMEOUT_MS),
    })
    // The status has decided: events whose acceptance breaks off in mid-answer would be sent twice.
    await drain(response).catch(() => undefined)
    return decideDelivery(response.status, response.headers.get("retry-after"), Date.now())
  } catch {
    return decideDelivery(undefined, null, Date.now())
  }
}

/** Reads an answer to its end so that the connection can be used again, or gives up on it at the bound. */
async function drain(response: Response): Promise<void> {
  if (response.body === null) return
  const reader = response.body.getReader()
  for (let bytes = 0; bytes <= SINK_RESPONSE_BYTES_MAX;) {
    const { done, value } = await reader.read()
    if (done) return
    bytes += (value as Uint8Array).length
  }
  await reader.cancel()
}

function logDelivery(batch: MessageBatch, event: string, reason: string): void {
  console.error(JSON.stringify({ level: "error", event, queue: batch.queue, reason }))
}

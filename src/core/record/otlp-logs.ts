/**
 * Events as OTLP/HTTP JSON logs. Pure, and total also on events of another version of the gateway, which the queue may still
 * hold: what cannot be said of one in the terms of OTLP is left out. Called by the sink.
 *
 * @see https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding (hex ids, integers as decimal strings, enums as numbers)
 */
import type { GatewayEvent } from "./event.ts"

/** SeverityNumber of each level. @see OpenTelemetry logs data model, SeverityNumber */
const SEVERITY: ReadonlyMap<string, number> = new Map([
  ["debug", 5],
  ["info", 9],
  ["warn", 13],
  ["error", 17],
])

/** An attribute value: exactly one member. 64-bit integers are strings on this wire. */
type AnyValue =
  | { readonly stringValue: string }
  | { readonly intValue: string }
  | { readonly doubleValue: number }
  | { readonly boolValue: boolean }

/** The body of `POST /v1/logs`. */
export interface ExportLogsServiceRequest {
  readonly resourceLogs: readonly unknown[]
}

/** Returns one export request for the events: one resource, one scope, one record per event. */
export function formatOtlpLogs(events: readonly GatewayEvent[], serviceVersion: string): ExportLogsServiceRequest {
  return {
    resourceLogs: [
      {
        resource: resourceOf(serviceVersion),
        scopeLogs: [{ scope: { name: "sekisho.access-log" }, logRecords: events.map(logRecord) }],
      },
    ],
  }
}

/** Returns who exports. */
export function resourceOf(serviceVersion: string): { readonly attributes: readonly unknown[] } {
  return { attributes: [attribute("service.name", "sekisho"), attribute("service.version", serviceVersion)] }
}

function logRecord(event: GatewayEvent): unknown {
  const instantMs = Date.parse(event.timestamp)
  // 0 means that the time is not known.
  const timeUnixNano = Number.isNaN(instantMs) ? "0" : `${instantMs}000000`
  const severityNumber = SEVERITY.get(event.level)
  return {
    timeUnixNano,
    observedTimeUnixNano: timeUnixNano,
    ...(severityNumber === undefined ? {} : { severityNumber, severityText: event.level.toUpperCase() }),
    // An event without a trace has no ids: an empty one would be neither hex nor of the right length.
    ...("trace_id" in event && typeof event.trace_id === "string" && event.trace_id !== ""
      ? { traceId: event.trace_id, spanId: event.span_id }
      : {}),
    body: { stringValue: bodyOf(event) },
    attributes: Object.entries(event).map(([key, value]) => attribute(key, value)),
  }
}

/** What a person reads first: the request and its status, or what happened to whom. */
function bodyOf(event: GatewayEvent): string {
  const { event: name } = event
  if (event.event === "request") return `${event.method} ${event.path ?? "-"} ${event.status}`
  if (event.event === "certificate.expiring") return `${event.event} ${event.client_id} ${event.days_left}`
  if (event.event === "websocket.closed") return `${event.event} ${event.client_id ?? "-"} ${event.code}`
  if ("sink" in event || "records" in event) return `${event.event} ${event.sink ?? "-"}`
  if ("trail" in event) return `${event.event} ${event.trail} ${event.waiting}`
  if ("issuer" in event) return `${event.event} ${event.issuer}`
  if (name === "guard.opened" || name === "guard.closed")
    return `${name} ${event.guard} ${event.client_id ?? event.key_kind}`
  return name ?? "-"
}

/** Returns an attribute with its value typed. */
export function attribute(key: string, value: unknown): { readonly key: string; readonly value: AnyValue } {
  if (typeof value === "string") return { key, value: { stringValue: value } }
  if (typeof value === "boolean") return { key, value: { boolValue: value } }
  if (typeof value !== "number") return { key, value: { stringValue: JSON.stringify(value) ?? "" } }
  return { key, value: Number.isSafeInteger(value) ? { intValue: String(value) } : { doubleValue: value } }
}

/**
 * Spans as OTLP/HTTP JSON. Pure, and total also on spans of another version of the gateway, which the queue may still hold.
 * Called by the sink.
 *
 * @see https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding (hex ids, integers as decimal strings, enums as numbers)
 */
import { attribute, resourceOf } from "./otlp-logs.ts"
import type { Span } from "./span.ts"

/** SpanKind. @see opentelemetry/proto/trace/v1/trace.proto */
const KINDS: ReadonlyMap<string, number> = new Map([
  ["internal", 1],
  ["server", 2],
  ["client", 3],
])
const STATUS_ERROR = 2

/** The body of `POST /v1/traces`. */
export interface ExportTraceServiceRequest {
  readonly resourceSpans: readonly unknown[]
}

/** Returns one export request for the spans: one resource, one scope. */
export function formatOtlpTraces(spans: readonly Span[], serviceVersion: string): ExportTraceServiceRequest {
  return {
    resourceSpans: [
      {
        resource: resourceOf(serviceVersion),
        scopeSpans: [{ scope: { name: "sekisho.trace" }, spans: spans.map(formatSpan) }],
      },
    ],
  }
}

function formatSpan(span: Span): unknown {
  const { attributes, flags, isError, kind, name, parentSpanId, spanId, traceId, tracestate } = span
  return {
    traceId,
    spanId,
    ...(tracestate === undefined ? {} : { traceState: tracestate }),
    ...(parentSpanId === undefined ? {} : { parentSpanId }),
    flags,
    name,
    kind: KINDS.get(kind) ?? 0,
    startTimeUnixNano: nanoseconds(span.startMs),
    endTimeUnixNano: nanoseconds(span.endMs),
    attributes: Object.entries(attributes).map(([key, value]) => attribute(key, value)),
    status: isError ? { code: STATUS_ERROR } : {},
  }
}

/** 0 means that the time is not known. */
function nanoseconds(ms: number): string {
  return Number.isSafeInteger(ms) && ms > 0 ? `${ms}000000` : "0"
}

/**
 * Reads an OTLP/HTTP export of spans in its JSON encoding, and writes a span as a line for a person. Pure and total; a span that is none is
 * counted, not guessed at.
 *
 * @see https://opentelemetry.io/docs/specs/otlp/ (JSON Protobuf Encoding), opentelemetry/proto/trace/v1/trace.proto
 */
import { plain } from "./format.ts"
import { isRecord, listOf, parseKeyValues, type SinkEvent } from "./otlp.ts"

/** A span, as much of it as a line needs. */
export interface SinkSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | undefined
  readonly name: string
  readonly kind: number
  /** Epoch ms. */
  readonly startMs: number
  readonly endMs: number
  readonly isError: boolean
  readonly attributes: SinkEvent
}

/** What an export holds. `rejected` counts spans without valid ids or attributes. */
export interface TracesExport {
  readonly spans: readonly SinkSpan[]
  readonly rejected: number
}

const VALUE_DEPTH_MAX = 8
const KINDS = ["span", "internal", "server", "client", "producer", "consumer"] as const

/** Returns the spans of an ExportTraceServiceRequest, or undefined when `value` is not shaped like one. */
export function parseTracesExport(value: unknown): TracesExport | undefined {
  if (!isRecord(value)) return undefined
  const items = listOf(value["resourceSpans"])?.flatMap((resource) => {
    const scopes = isRecord(resource) ? listOf(resource["scopeSpans"]) : undefined
    return scopes?.flatMap((scope) => (isRecord(scope) ? listOf(scope["spans"]) : undefined)) ?? [undefined]
  })
  if (items === undefined) return undefined
  const spans = items.map(parseSpan).filter((span) => span !== undefined)
  return { spans, rejected: items.length - spans.length }
}

function parseSpan(item: unknown): SinkSpan | undefined {
  if (!isRecord(item)) return undefined
  const { attributes, endTimeUnixNano, kind, name, parentSpanId, spanId, startTimeUnixNano, status, traceId } = item
  const pairs = parseKeyValues(attributes, VALUE_DEPTH_MAX)
  if (!isHex(traceId, 32) || !isHex(spanId, 16) || pairs === undefined || typeof name !== "string") return undefined
  return {
    traceId,
    spanId,
    parentSpanId: isHex(parentSpanId, 16) ? parentSpanId : undefined,
    name,
    kind: typeof kind === "number" ? kind : 0,
    startMs: millisecondsOf(startTimeUnixNano),
    endMs: millisecondsOf(endTimeUnixNano),
    isError: isRecord(status) && status["code"] === 2,
    attributes: Object.fromEntries(pairs),
  }
}

function isHex(value: unknown, digits: number): value is string {
  return typeof value === "string" && value.length === digits && /^[0-9a-f]+$/i.test(value)
}

/** NaN for what is no count of nanoseconds. */
function millisecondsOf(nanoseconds: unknown): number {
  return typeof nanoseconds === "string" && /^[0-9]{1,20}$/.test(nanoseconds)
    ? Number(BigInt(nanoseconds) / 1_000_000n)
    : Number.NaN
}

/** Returns the line of a span: its trace, what it is, what it is called, how long it took, and what went wrong. Children are indented. */
export function formatSpanLine(span: SinkSpan, { color }: { readonly color: boolean }): string {
  const { attributes, endMs, isError, kind, name, spanId, startMs, traceId } = span
  const isServer = kind === 2
  const durationMs = endMs - startMs
  const status = attributes["http.response.status_code"]
  const error = attributes["error.type"]
  const text = [
    `trace ${traceId.slice(-8)}`,
    `${isServer ? "" : "  "}${plain(name)}`.padEnd(36),
    (KINDS[kind] ?? "span").padEnd(8),
    (Number.isNaN(durationMs) ? "-" : `${durationMs} ms`).padStart(9),
    spanId,
    ...(typeof status === "number" ? [String(status)] : []),
    ...(typeof error === "string" && error !== String(status) ? [plain(error)] : []),
  ]
    .join("  ")
    .trimEnd()
  return color ? `\u001b[${isError ? 31 : 2}m${text}\u001b[0m` : text
}

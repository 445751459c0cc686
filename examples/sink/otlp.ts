/**
 * Reads an OTLP/HTTP export of logs in its JSON encoding and gives back the events that the gateway put in: one log record is
 * one event, one attribute is one field. Pure and total; a record that is none is counted, not guessed at.
 *
 * @see https://opentelemetry.io/docs/specs/otlp/ (JSON Protobuf Encoding), opentelemetry/proto/logs/v1/logs.proto
 */

/** A canonical event: field names in snake_case. */
export type SinkEvent = Record<string, unknown>

/** What an export holds. `rejected` counts log records that are no objects or have attributes of a wrong shape. */
export interface LogsExport {
  readonly events: readonly SinkEvent[]
  readonly rejected: number
}

/** Deepest nesting of an attribute's value that is read; deeper ones become null. */
const VALUE_DEPTH_MAX = 8

/** Returns the events of an ExportLogsServiceRequest, or undefined when `value` is not shaped like one. */
export function parseLogsExport(value: unknown): LogsExport | undefined {
  if (!isRecord(value)) return undefined
  const records = listOf(value["resourceLogs"])?.flatMap((resource) => {
    const scopes = isRecord(resource) ? listOf(resource["scopeLogs"]) : undefined
    return scopes?.flatMap((scope) => (isRecord(scope) ? listOf(scope["logRecords"]) : undefined)) ?? [undefined]
  })
  if (records === undefined) return undefined
  const events = records.map(parseLogRecord).filter((event) => event !== undefined)
  return { events, rejected: records.length - events.length }
}

/** Returns a record's event. What a record says outside its attributes fills in for attributes that are missing. */
function parseLogRecord(record: unknown): SinkEvent | undefined {
  if (!isRecord(record)) return undefined
  const attributes = parseKeyValues(record["attributes"], VALUE_DEPTH_MAX)
  if (attributes === undefined) return undefined
  const { timeUnixNano, severityText, traceId, spanId, body } = record
  const around = {
    timestamp: parseNanoseconds(timeUnixNano),
    level: typeof severityText === "string" ? severityText.toLowerCase() : undefined,
    trace_id: nonEmpty(traceId),
    span_id: nonEmpty(spanId),
    message: isRecord(body) ? parseValue(body, VALUE_DEPTH_MAX) : undefined,
  }
  // Object.fromEntries defines own properties only, so an attribute named __proto__ stays an attribute.
  return Object.fromEntries([...Object.entries(around).filter(([, field]) => field !== undefined), ...attributes])
}

/** Returns the pairs of a list of attributes, or undefined when it is none. @param depth of nested values that is read */
export function parseKeyValues(value: unknown, depth: number): [key: string, value: unknown][] | undefined {
  const pairs: [string, unknown][] = []
  for (const pair of listOf(value) ?? [undefined]) {
    if (!isRecord(pair) || typeof pair["key"] !== "string") return undefined
    pairs.push([pair["key"], isRecord(pair["value"]) ? parseValue(pair["value"], depth) : null])
  }
  return pairs
}

/** Returns the value of an AnyValue; null when it has none that JSON can say. */
function parseValue(value: Readonly<Record<string, unknown>>, depth: number): unknown {
  const { stringValue, boolValue, intValue, doubleValue, arrayValue, kvlistValue } = value
  if (typeof stringValue === "string") return stringValue
  if (typeof boolValue === "boolean") return boolValue
  if (typeof doubleValue === "number") return doubleValue
  if (intValue !== undefined) return parseInteger(intValue)
  if (depth === 0) return null
  if (isRecord(arrayValue)) {
    return (listOf(arrayValue["values"]) ?? []).map((item) => (isRecord(item) ? parseValue(item, depth - 1) : null))
  }
  if (isRecord(kvlistValue)) return Object.fromEntries(parseKeyValues(kvlistValue["values"], depth - 1) ?? [])
  return null
}

/** 64-bit integers travel as strings; one that a number cannot hold exactly stays a string. */
function parseInteger(value: unknown): number | string | null {
  if (typeof value === "number") return Number.isSafeInteger(value) ? value : null
  if (typeof value !== "string" || !/^-?[0-9]{1,19}$/.test(value)) return null
  return Number.isSafeInteger(Number(value)) ? Number(value) : value
}

/** Returns nanoseconds since the epoch as an ISO instant with milliseconds; 0 means unknown in OTLP. */
function parseNanoseconds(value: unknown): string | undefined {
  const text = typeof value === "number" ? value.toFixed(0) : value
  if (typeof text !== "string" || !/^[1-9][0-9]{0,19}$/.test(text)) return undefined
  return new Date(Number(BigInt(text) / 1_000_000n)).toISOString()
}

/** A repeated field: absent means empty, anything but a list is undefined. */
export function listOf(value: unknown): readonly unknown[] | undefined {
  if (value === undefined) return []
  return Array.isArray(value) ? value : undefined
}

function nonEmpty(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined
}

/** Whether a value is a JSON object. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

/**
 * The JSON rules of OTLP, applied to each member of a document by its name.
 *
 * @see https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
 */

/** What OTLP asks of a member by its name; every other member must be a table or an array. */
const RULES: Readonly<Record<string, (value: unknown) => boolean>> = {
  traceId: (value) => typeof value === "string" && /^(?!0{32})[0-9a-f]{32}$/i.test(value),
  spanId: isSpanId,
  parentSpanId: isSpanId,
  timeUnixNano: isInt64,
  observedTimeUnixNano: isInt64,
  startTimeUnixNano: isInt64,
  endTimeUnixNano: isInt64,
  kind: Number.isInteger,
  severityNumber: (value) => Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 24,
  intValue: isInt64,
  doubleValue: (value) => typeof value === "number",
  boolValue: (value) => typeof value === "boolean",
  stringValue: (value) => typeof value === "string",
  severityText: (value) => typeof value === "string",
  key: (value) => typeof value === "string" && value !== "",
  name: (value) => typeof value === "string",
  traceState: (value) => typeof value === "string",
  flags: Number.isInteger,
  code: Number.isInteger,
  version: (value) => typeof value === "string",
  value: (value) => typeof value === "object" && value !== null && Object.keys(value).length === 1,
}

function isSpanId(value: unknown): boolean {
  return typeof value === "string" && /^(?!0{16})[0-9a-f]{16}$/i.test(value)
}

function isInt64(value: unknown): boolean {
  return typeof value === "string" && /^-?[0-9]+$/.test(value) && BigInt.asIntN(64, BigInt(value)) === BigInt(value)
}

/** Returns the places of a document that break a rule. OT-1: ids; OT-2: names, enums, 64-bit integers, typed values. */
export function faults(node: unknown, path = "$"): string[] {
  if (Array.isArray(node)) return node.flatMap((item, index) => faults(item, `${path}[${index}]`))
  if (typeof node !== "object" || node === null) return [path]
  return Object.entries(node).flatMap(([name, value]) => {
    const place = `${path}.${name}`
    if (!/^[a-z][A-Za-z0-9]*$/.test(name)) return [place]
    const rule = RULES[name]
    if (rule !== undefined && !rule(value)) return [place]
    return rule === undefined || name === "value" ? faults(value, place) : []
  })
}

/** Returns the names of the members of a document with their depth, each once. */
export function shape(node: unknown, depth = 0): ReadonlySet<string> {
  if (Array.isArray(node)) return new Set(node.flatMap((item) => [...shape(item, depth)]))
  if (typeof node !== "object" || node === null) return new Set()
  return new Set(Object.entries(node).flatMap(([name, value]) => [`${depth} ${name}`, ...shape(value, depth + 1)]))
}

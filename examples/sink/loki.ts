/**
 * Reads a push to Loki in its JSON encoding and gives back the events: one line of a stream is the JSON of one. Pure and total.
 *
 * @see https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs
 */
import { isRecord, listOf, type SinkEvent } from "./otlp.ts"

/** Returns the events of a push in the order of its streams, or undefined when something in it is none. */
export function parseLokiPush(value: unknown): readonly SinkEvent[] | undefined {
  const streams = isRecord(value) ? listOf(value["streams"]) : undefined
  const events = streams?.flatMap((stream) => {
    if (!isRecord(stream) || !isRecord(stream["stream"])) return [undefined]
    return listOf(stream["values"])?.map(parseValue) ?? [undefined]
  })
  if (events === undefined) return undefined
  const good = events.filter((event) => event !== undefined)
  return good.length === events.length ? good : undefined
}

/** An instant in nanoseconds and a line. */
function parseValue(value: unknown): SinkEvent | undefined {
  const [instant, line] = Array.isArray(value) ? (value as readonly unknown[]) : []
  if (typeof instant !== "string" || !/^[0-9]{1,20}$/.test(instant) || typeof line !== "string") return undefined
  try {
    const event: unknown = JSON.parse(line)
    return isRecord(event) ? { ...event } : undefined
  } catch {
    return undefined
  }
}

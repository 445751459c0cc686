/**
 * Events as Loki's push API takes them. Pure, and total also on events of another version of the gateway, which the queue may
 * still hold. Called by the sink.
 *
 * Labels are few and have few values, because each set of them is a stream of its own: service, level, event. Everything else is
 * in the line, which is the event's JSON.
 *
 * @see https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs
 */
import { formatEventJson, type GatewayEvent } from "./event.ts"

const LEVELS: ReadonlySet<string> = new Set(["debug", "info", "warn", "error"])
/** What names of events look like here; they are a closed list in every version. */
const EVENT_NAME = /^[a-z]+(?:\.[a-z_]+)?$/

/** The body of `POST /loki/api/v1/push`. */
export interface LokiPush {
  readonly streams: readonly {
    readonly stream: Readonly<Record<string, string>>
    /** Nanoseconds since the epoch, and the line. */
    readonly values: readonly (readonly [nanoseconds: string, line: string])[]
  }[]
}

/** Returns one push for the events: a stream for each level and event name, in the order of their first event. */
export function formatLokiPush(events: readonly GatewayEvent[]): LokiPush {
  const streams = new Map<string, { stream: Record<string, string>; values: [string, string][] }>()
  for (const event of events) {
    const level = LEVELS.has(event.level) ? event.level : "unknown"
    const name = typeof event.event === "string" && EVENT_NAME.test(event.event) ? event.event : "other"
    const key = `${level} ${name}`
    const known = streams.get(key) ?? { stream: { service_name: "sekisho", level, event: name }, values: [] }
    streams.set(key, known)
    const instantMs = Date.parse(event.timestamp)
    known.values.push([Number.isNaN(instantMs) ? "0" : `${instantMs}000000`, formatEventJson(event)])
  }
  return { streams: [...streams.values()] }
}

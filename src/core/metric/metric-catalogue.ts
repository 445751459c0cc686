/**
 * The metrics of the gateway: every family, what it counts, and what may tell its series apart. The list is closed.
 *
 * Labels are names of the configuration and words of a list, never what a caller typed, so that nobody outside can make
 * series; beyond `seriesMax` of a family, what is left is counted in one series more, whose labels all are
 * {@link OTHER_SERIES}. README's table of families is compared with this one. Pure data; everything is counted in whole
 * numbers and whole ms, so that the order in which isolates report changes no sum.
 *
 * @see OpenMetrics 1.0
 */
import { METRIC_CLIENTS_MAX, METRIC_SERIES_MAX } from "../bounds.ts"

/** One family. */
export interface MetricFamily {
  readonly type: "counter" | "gauge" | "histogram" | "info"
  /** In which the value is shown. Durations are counted in ms and shown in seconds. */
  readonly unit?: "seconds" | "days"
  /** One sentence. */
  readonly help: string
  readonly labels: readonly string[]
  /** Counted by the local edge and shown from its own word; everything else is counted by isolates. */
  readonly source?: "edge"
  /** Most series that have labels of their own. */
  readonly seriesMax: number
}

/** Label value of everything beyond `seriesMax`. No name of the configuration begins like it. */
export const OTHER_SERIES = "_other"
/** Route of requests that none was found for. Patterns of routes begin with `/` or `~`. */
export const UNMATCHED_ROUTE = "unmatched"
/** Method of requests with none that a route may name. */
export const OTHER_METHOD = "OTHER"

/** Words of a list, and names that an operator writes one by one. */
const SHORT_LIST = 64
const NAMES = 256

/** Every family by its name, without the suffixes of samples. */
export const METRIC_FAMILIES = {
  sekisho_requests: {
    type: "counter",
    help: "Requests by route, method and class of the answer's status.",
    labels: ["route", "method", "status_class"],
    seriesMax: METRIC_SERIES_MAX,
  },
  sekisho_refusals: {
    type: "counter",
    help: "Requests that the gateway answered with a problem, by its code.",
    labels: ["code"],
    seriesMax: SHORT_LIST,
  },
  sekisho_request_duration_seconds: {
    type: "histogram",
    unit: "seconds",
    help: "Time from arrival to the header of the answer, without the wait for the origin.",
    labels: [],
    seriesMax: 1,
  },
  sekisho_origin_duration_seconds: {
    type: "histogram",
    unit: "seconds",
    help: "Wait for the header of the origin's answer, all attempts of a request together.",
    labels: ["origin"],
    seriesMax: NAMES,
  },
  sekisho_gate_decisions: {
    type: "counter",
    help: "Decisions on limits and guards: by the isolate from tokens it was lent, or by the client's object, asked.",
    labels: ["decided_by", "result"],
    seriesMax: SHORT_LIST,
  },
  sekisho_guard_openings: {
    type: "counter",
    help: "Blocks that began, by guard.",
    labels: ["guard"],
    seriesMax: NAMES,
  },
  sekisho_guard_untold: {
    type: "counter",
    help: "Requests whose outcome a guard could not be told.",
    labels: [],
    seriesMax: 1,
  },
  sekisho_origin_attempts: {
    type: "counter",
    help: "Times that requests were sent to the origin.",
    labels: ["origin"],
    seriesMax: NAMES,
  },
  sekisho_origin_timeouts: {
    type: "counter",
    help: "Requests that the origin did not answer in time.",
    labels: ["origin"],
    seriesMax: NAMES,
  },
  sekisho_breaker_open: {
    type: "counter",
    help: "Requests that were not sent, because the breaker of every URL of the origin was open.",
    labels: ["origin"],
    seriesMax: NAMES,
  },
  sekisho_origin_unhealthy: {
    type: "gauge",
    help: "Isolates in which the origin lately answered badly too often.",
    labels: ["origin"],
    seriesMax: NAMES,
  },
  sekisho_idempotency: {
    type: "counter",
    help: "Requests with an idempotency key, by what became of them.",
    labels: ["outcome"],
    seriesMax: 16,
  },
  sekisho_ip_limit_unavailable: {
    type: "counter",
    help: "Requests that passed uncounted, because the limit per address did not answer.",
    labels: [],
    seriesMax: 1,
  },
  sekisho_token_keys_unavailable: {
    type: "counter",
    help: "Requests that were refused, because the keys of an authorization server could not be had.",
    labels: [],
    seriesMax: 1,
  },
  sekisho_revocation_unknown: {
    type: "counter",
    help: "Requests that passed although nobody knew whether the certificate is revoked.",
    labels: ["reason"],
    seriesMax: 8,
  },
  sekisho_certificate_expiry_days: {
    type: "gauge",
    unit: "days",
    help: "Days until the first of the certificates ends that the client used lately.",
    labels: ["client"],
    seriesMax: METRIC_CLIENTS_MAX,
  },
  sekisho_events_waiting: {
    type: "gauge",
    help: "Events that wait in isolates for the queue.",
    labels: [],
    seriesMax: 1,
  },
  sekisho_events_dropped: {
    type: "counter",
    help: "Events that were given up, because the queue did not take them.",
    labels: [],
    seriesMax: 1,
  },
  sekisho_spans_dropped: {
    type: "counter",
    help: "Spans that were given up, because the queue did not take them.",
    labels: [],
    seriesMax: 1,
  },
  sekisho_sink_failures: {
    type: "counter",
    help: "Deliveries that a sink did not take, by its place in SINKS and its kind.",
    labels: ["sink"],
    seriesMax: SHORT_LIST,
  },
  sekisho_websocket_open: {
    type: "gauge",
    help: "WebSockets that are open.",
    labels: [],
    seriesMax: 1,
  },
  sekisho_websocket_opened: {
    type: "counter",
    help: "WebSockets that were opened.",
    labels: [],
    seriesMax: 1,
  },
  sekisho_edge_connections: {
    type: "counter",
    help: "Connections that the local edge accepted.",
    labels: [],
    source: "edge",
    seriesMax: 1,
  },
  sekisho_edge_connections_open: {
    type: "gauge",
    help: "Connections that the local edge holds open, handshakes in progress among them.",
    labels: [],
    source: "edge",
    seriesMax: 1,
  },
  sekisho_edge_connections_dropped: {
    type: "counter",
    help: "Connections that the local edge closed at once, because it held as many as it may.",
    labels: [],
    source: "edge",
    seriesMax: 1,
  },
  sekisho_edge_handshake_failures: {
    type: "counter",
    help: "TLS handshakes with the local edge that failed, by reason.",
    labels: ["reason"],
    source: "edge",
    seriesMax: SHORT_LIST,
  },
  sekisho_edge_refusals: {
    type: "counter",
    help: "Requests that the local edge answered with a problem itself, by its code.",
    labels: ["code"],
    source: "edge",
    seriesMax: SHORT_LIST,
  },
  sekisho_isolates: {
    type: "gauge",
    help: "Isolates that reported lately.",
    labels: [],
    seriesMax: 1,
  },
  sekisho_build: {
    type: "info",
    help: "Version of the gateway and of its configuration.",
    labels: ["version", "config_version"],
    seriesMax: 1,
  },
} as const satisfies Readonly<Record<string, MetricFamily>>

/** The name of a family. */
export type FamilyName = keyof typeof METRIC_FAMILIES
type OfType<T extends MetricFamily["type"]> = {
  [N in FamilyName]: (typeof METRIC_FAMILIES)[N]["type"] extends T ? N : never
}[FamilyName]
/** The name of a family that the local edge counts. */
type EdgeFamilyName = {
  [N in FamilyName]: (typeof METRIC_FAMILIES)[N] extends { readonly source: "edge" } ? N : never
}[FamilyName]
/** The name of a counter that isolates count. */
export type CounterName = Exclude<OfType<"counter">, EdgeFamilyName>
/** What isolates report as it is, and what is added up over them; other gauges are worked out when they are shown. */
export type GaugeName = Extract<
  OfType<"gauge">,
  "sekisho_origin_unhealthy" | "sekisho_events_waiting" | "sekisho_websocket_open"
>
/** The name of a histogram. */
export type HistogramName = OfType<"histogram">

/** Upper bounds of the buckets of each histogram, in ms; an origin takes longer than the gateway. */
export const METRIC_BUCKETS_MS: Readonly<Record<HistogramName, readonly number[]>> = {
  sekisho_request_duration_seconds: [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000],
  sekisho_origin_duration_seconds: [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000],
}

/** Returns the family of a name that may be anything. */
export function familyOf(name: string): MetricFamily | undefined {
  return Object.hasOwn(METRIC_FAMILIES, name) ? METRIC_FAMILIES[name as FamilyName] : undefined
}

/** Returns the index of the bucket that a duration falls into; the last one has no bound. */
export function bucketOf(name: HistogramName, durationMs: number): number {
  const bounds = METRIC_BUCKETS_MS[name]
  let index = 0
  while (index < bounds.length && durationMs > (bounds[index] ?? 0)) index += 1
  return index
}

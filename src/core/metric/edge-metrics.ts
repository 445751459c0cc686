/**
 * What the local edge counts of itself: connections and handshakes, which end before the Worker sees anything of them.
 *
 * The edge hands its report to the Worker with requests to the admin room, inside the connection details that it signs
 * (`core/assertion/edge-assertion.ts`), so nobody else can write one. Reasons are words of a list, whatever a caller provokes. Pure
 * and total.
 */
import { METRIC_FAMILIES, type FamilyName, type MetricFamily } from "./metric-catalogue.ts"
import { readCounted, type CountedSeries } from "./metric-report.ts"
import { membersOf } from "../untrusted.ts"

/** Everything that an edge has counted since it started, and how it stands: each series once, in the order of its labels. */
export interface EdgeReport {
  readonly series: readonly CountedSeries[]
}

/** Why a handshake failed: the values of the label `reason`. */
export const HANDSHAKE_FAILURES = [
  "timeout",
  "closed",
  "not_tls",
  "version",
  "nothing_in_common",
  "host_not_served",
  "client_alert",
  "other",
] as const

/** One of {@link HANDSHAKE_FAILURES}. */
export type HandshakeFailure = (typeof HANDSHAKE_FAILURES)[number]

/** What the edge itself says of a handshake that names a host which it does not serve. */
export const HOST_NOT_SERVED = "host name not served"

const FAILURE_OF: ReadonlyMap<string, HandshakeFailure> = new Map([
  [HOST_NOT_SERVED, "host_not_served"],
  ["ERR_TLS_HANDSHAKE_TIMEOUT", "timeout"],
  ["ECONNRESET", "closed"],
  ["EPIPE", "closed"],
  ["ERR_SSL_UNEXPECTED_EOF_WHILE_READING", "closed"],
  ["ERR_SSL_HTTP_REQUEST", "not_tls"],
  ["ERR_SSL_HTTPS_PROXY_REQUEST", "not_tls"],
  ["ERR_SSL_WRONG_VERSION_NUMBER", "not_tls"],
  ["ERR_SSL_UNSUPPORTED_PROTOCOL", "version"],
  ["ERR_SSL_VERSION_TOO_LOW", "version"],
  ["ERR_SSL_NO_SHARED_CIPHER", "nothing_in_common"],
  ["ERR_SSL_NO_SHARED_GROUP", "nothing_in_common"],
  ["ERR_SSL_NO_SUITABLE_KEY_SHARE", "nothing_in_common"],
  ["ERR_SSL_NO_SUITABLE_SIGNATURE_ALGORITHM", "nothing_in_common"],
  ["ERR_SSL_NO_SHARED_SIGNATURE_ALGORITHMS", "nothing_in_common"],
  ["ERR_SSL_NO_APPLICATION_PROTOCOL", "nothing_in_common"],
])

/** Returns the reason for what Node or OpenSSL calls an error of a handshake. */
export function reasonOfHandshakeError(error: string): HandshakeFailure {
  // An alert that the client sent: it does not trust the server's certificate, for instance.
  if (/^ERR_SSL_(?:SSLV3|TLSV1|TLSV13|SSL\/TLS)_ALERT_/.test(error)) return "client_alert"
  return FAILURE_OF.get(error) ?? "other"
}

/** Returns what is readable of an edge's report; undefined when it is none. As many series as each family may have. */
export function readEdgeReport(value: unknown): EdgeReport | undefined {
  const { series } = membersOf(value)
  if (!Array.isArray(series)) return undefined
  const read = new Map<string, CountedSeries>()
  for (const item of series as readonly unknown[]) {
    for (const one of [...readCounted(item, "counter"), ...readCounted(item, "gauge")]) {
      const [name, labels] = one
      const { seriesMax, source }: MetricFamily = METRIC_FAMILIES[name as FamilyName]
      const known = [...read.values()].filter(([other]) => other === name).length
      if (source === "edge" && known < seriesMax) read.set(JSON.stringify([name, labels]), one)
    }
  }
  return { series: [...read].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, one]) => one) }
}

/**
 * The metrics of the whole gateway: what every isolate has reported, added up.
 *
 * A report counts once however often it arrives, and the order in which reports arrive changes no sum. Counters only grow;
 * what a family has no room for is counted in one series more, so nothing is lost and nothing grows without bound. A series
 * that nobody has counted for a week makes room when its family is full: names of a configuration come and go. Pure and total;
 * the object `Metrics` stores it as JSON. What is unreadable begins again at nothing, which readers of counters know from
 * restarts: metrics decide nothing.
 */
import {
  METRIC_CERTIFICATE_SEEN_MS,
  METRIC_CLIENTS_MAX,
  METRIC_GAUGE_MS,
  METRIC_REPORTER_MEMORY_MS,
  METRIC_REPORTERS_MAX,
  METRIC_SERIES_MEMORY_MS,
} from "../bounds.ts"
import { familyOf, METRIC_BUCKETS_MS, OTHER_SERIES, type HistogramName } from "./metric-catalogue.ts"
import { readCounts, readReport, type CountedSeries, type MetricCounts } from "./metric-report.ts"
import { isCount, isInstant, membersOf, parseJson } from "../untrusted.ts"

/** One series. Of a counter there is one count, of a histogram one for each bucket, and the sum of the durations in ms. */
export interface MetricSeries {
  readonly labels: readonly string[]
  readonly counts: readonly number[]
  readonly sumMs: number
  /** When it last grew, epoch ms. */
  readonly changedMs: number
}

/** The first end of a client's certificates in use. */
export interface CertificateEnd {
  readonly clientId: string
  readonly endsMs: number
  readonly seenMs: number
}

/** An isolate, its last number, and how it said it stands. */
interface Reporter {
  readonly boot: string
  readonly seq: number
  readonly seenMs: number
  readonly gauges: readonly CountedSeries[]
}

/** Everything that was counted. Series by family, then by the JSON of their labels. */
export interface MetricState {
  readonly families: ReadonlyMap<string, ReadonlyMap<string, MetricSeries>>
  readonly certificates: readonly CertificateEnd[]
  /** Least lately heard first. */
  readonly reporters: readonly Reporter[]
}

/** Nothing was ever counted. */
export const NO_METRICS: MetricState = { families: new Map(), certificates: [], reporters: [] }

/** Adds a report. One that was added already, and one that is no report, changes nothing: the very same state is returned. */
export function recordReport(state: MetricState, value: unknown, nowMs: number): MetricState {
  const report = readReport(value)
  if (report === undefined) return state
  const { boot, seq, gauges } = report
  const known = state.reporters.find((reporter) => reporter.boot === boot)
  if (known !== undefined && seq <= known.seq) return state
  return {
    families: addAll(state.families, report, nowMs),
    certificates: noteCertificates(state.certificates, report.certificates, nowMs),
    reporters: [
      ...state.reporters
        .filter((reporter) => reporter.boot !== boot && nowMs - reporter.seenMs < METRIC_REPORTER_MEMORY_MS)
        .map((reporter) => (isCurrent(reporter, nowMs) ? reporter : { ...reporter, gauges: [] })),
      { boot, seq, seenMs: nowMs, gauges },
    ].slice(-METRIC_REPORTERS_MAX),
  }
}

/** Adds counts that are told once and never repeated. */
export function recordCounts(state: MetricState, value: unknown, nowMs: number): MetricState {
  return { ...state, families: addAll(state.families, readCounts(value), nowMs) }
}

/** Returns true while what an isolate said of the moment still counts. */
export function isCurrent({ seenMs }: { readonly seenMs: number }, nowMs: number): boolean {
  return nowMs - seenMs < METRIC_GAUGE_MS
}

function addAll(
  families: MetricState["families"],
  { counters, histograms }: MetricCounts,
  nowMs: number,
): MetricState["families"] {
  const touched = new Map<string, Map<string, MetricSeries>>()
  const add = (name: string, labels: readonly string[], counts: readonly number[], sumMs: number): void => {
    const series = touched.get(name) ?? new Map(families.get(name))
    touched.set(name, series)
    const key = roomFor(series, name, labels, nowMs)
    const before = series.get(key)
    series.set(key, {
      labels: before?.labels ?? (JSON.parse(key) as readonly string[]),
      counts: counts.map((count, index) => sumOf(before?.counts[index], count)),
      sumMs: sumOf(before?.sumMs, sumMs),
      changedMs: nowMs,
    })
  }
  for (const [name, labels, count] of counters) add(name, labels, [count], 0)
  for (const [name, labels, buckets, sumMs] of histograms) add(name, labels, buckets, sumMs)
  return new Map([...families, ...touched])
}

/** Returns the key of the series that labels are counted in; makes room by forgetting one that rests, where there is one. */
function roomFor(series: Map<string, MetricSeries>, name: string, labels: readonly string[], nowMs: number): string {
  const key = JSON.stringify(labels)
  const other = JSON.stringify(labels.map(() => OTHER_SERIES))
  const owned = series.size - (series.has(other) ? 1 : 0)
  if (series.has(key) || owned < (familyOf(name)?.seriesMax ?? 0)) return key
  const [oldest] = [...series].filter(([held]) => held !== other).toSorted(([, a], [, b]) => a.changedMs - b.changedMs)
  if (oldest === undefined || nowMs - oldest[1].changedMs < METRIC_SERIES_MEMORY_MS) return other
  series.delete(oldest[0])
  return key
}

/** Stops at the largest exact integer, which can still be read back. */
function sumOf(before: number | undefined, count: number): number {
  return Math.min((before ?? 0) + count, Number.MAX_SAFE_INTEGER)
}

/**
 * Of each client the certificate that ends first, until it has not been used for a while: who rotates certificates one machine
 * after the other has forgotten one when it ends.
 */
function noteCertificates(
  known: readonly CertificateEnd[],
  used: readonly (readonly [clientId: string, endsMs: number])[],
  nowMs: number,
): readonly CertificateEnd[] {
  const ends = new Map(known.map((end) => [end.clientId, end]))
  for (const [clientId, endsMs] of used) {
    const held = ends.get(clientId)
    if (held === undefined || endsMs <= held.endsMs || nowMs - held.seenMs >= METRIC_CERTIFICATE_SEEN_MS)
      ends.set(clientId, { clientId, endsMs, seenMs: nowMs })
  }
  return [...ends.values()]
    .filter(({ endsMs, seenMs }) => Math.max(endsMs, seenMs) + METRIC_SERIES_MEMORY_MS > nowMs)
    .toSorted((a, b) => a.endsMs - b.endsMs)
    .slice(0, METRIC_CLIENTS_MAX)
}

/** Returns the state as it is stored. */
export function storeMetrics({ families, certificates, reporters }: MetricState): string {
  const stored = [...families].map(([name, series]) => [
    name,
    [...series.values()].map(({ labels, counts, sumMs, changedMs }) => [labels, counts, sumMs, changedMs]),
  ])
  return JSON.stringify({ version: 1, families: stored, certificates, reporters })
}

/** Returns what is stored, or that nothing was counted when that is unreadable. Families that are no more are left away. */
export function restoreMetrics(stored: unknown): MetricState {
  const { version, families, certificates, reporters } = membersOf(parseJson(stored))
  if (version !== 1 || !Array.isArray(families)) return NO_METRICS
  if (!Array.isArray(certificates) || !certificates.every(isCertificateEnd)) return NO_METRICS
  if (!Array.isArray(reporters) || !reporters.every(isReporter)) return NO_METRICS
  const read = new Map<string, ReadonlyMap<string, MetricSeries>>()
  for (const entry of families as readonly unknown[]) {
    const [name, series]: readonly unknown[] = Array.isArray(entry) ? entry : []
    if (typeof name !== "string" || !Array.isArray(series)) return NO_METRICS
    const restored = (series as readonly unknown[]).map((item) => restoreSeries(name, item))
    if (restored.includes(undefined)) return NO_METRICS
    const kept = restored.flatMap((item) => item ?? [])
    if (familyOf(name) !== undefined) read.set(name, new Map(kept.map((item) => [JSON.stringify(item.labels), item])))
  }
  return { families: read, certificates, reporters }
}

/** Null for one that fits no family of today. */
function restoreSeries(name: string, item: unknown): MetricSeries | null | undefined {
  const [labels, counts, sumMs, changedMs]: readonly unknown[] = Array.isArray(item) ? item : []
  if (!Array.isArray(labels) || !labels.every((label): label is string => typeof label === "string")) return undefined
  if (!Array.isArray(counts) || !counts.every(isCount) || !isCount(sumMs) || !isInstant(changedMs)) return undefined
  const family = familyOf(name)
  const length = family?.type === "histogram" ? METRIC_BUCKETS_MS[name as HistogramName].length + 1 : 1
  if (labels.length !== family?.labels.length || counts.length !== length) return null
  return { labels, counts, sumMs, changedMs }
}

function isCertificateEnd(value: unknown): value is CertificateEnd {
  const { clientId, endsMs, seenMs } = membersOf(value)
  return typeof clientId === "string" && isInstant(endsMs) && isInstant(seenMs)
}

function isReporter(value: unknown): value is Reporter {
  const { boot, seq, seenMs, gauges } = membersOf(value)
  return typeof boot === "string" && isCount(seq) && isInstant(seenMs) && Array.isArray(gauges) && gauges.every(isGauge)
}

function isGauge(value: unknown): value is CountedSeries {
  const [name, labels, count]: readonly unknown[] = Array.isArray(value) ? value : []
  return (
    typeof name === "string" && Array.isArray(labels) && labels.every((l) => typeof l === "string") && isCount(count)
  )
}

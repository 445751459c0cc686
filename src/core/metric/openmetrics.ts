/**
 * The metrics as text: OpenMetrics 1.0, or the older format of Prometheus for readers that ask for it.
 *
 * Every family stands together with its HELP, TYPE and UNIT, samples in the order that the format asks for, and one `# EOF`.
 * Values of labels are escaped, so that no name can end its line or look like another sample. A family without labels shows
 * zero before anything was counted: a reader tells "never" from "not measured". Pure and total.
 *
 * @see OpenMetrics 1.0 §"Text format"; Prometheus text format 0.0.4
 */
import type { EdgeReport } from "./edge-metrics.ts"
import {
  METRIC_BUCKETS_MS,
  METRIC_FAMILIES,
  type FamilyName,
  type HistogramName,
  type MetricFamily,
} from "./metric-catalogue.ts"
import { isCurrent, type MetricSeries, type MetricState } from "./metric-state.ts"

/** The two formats, by what stands in Content-Type. */
export const METRIC_MEDIA_TYPES = {
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
  text: "text/plain; version=0.0.4; charset=utf-8",
} as const

/** A format of the exposition. */
export type MetricFormat = keyof typeof METRIC_MEDIA_TYPES

/** What is shown beside the state. */
export interface MetricBuild {
  readonly version: string
  readonly configVersion: string
  /** What the local edge says of itself; undefined where there is none, and then its families have no samples. */
  readonly edge?: EdgeReport | undefined
}

/** Returns the format for an Accept field, null when there is none: the older one only for who asks for it and not for the other. */
export function chooseFormat(accept: string | null): MetricFormat {
  const asked = (accept ?? "").toLowerCase()
  return asked.includes("text/plain") && !asked.includes("application/openmetrics-text") ? "text" : "openmetrics"
}

type Labels = readonly (readonly [name: string, value: string])[]
interface Sample {
  readonly suffix: string
  readonly labels: Labels
  readonly value: number
}

const DAY_MS = 86_400_000

/** Returns the exposition. */
export function formatMetrics(state: MetricState, build: MetricBuild, nowMs: number, format: MetricFormat): string {
  const lines: string[] = []
  for (const name of Object.keys(METRIC_FAMILIES) as FamilyName[]) {
    const family: MetricFamily = METRIC_FAMILIES[name]
    const samples = samplesOf(name, family, state, build, nowMs)
    const shown = format === "text" ? `${name}${family.type === "counter" ? "_total" : ""}${infoSuffix(family)}` : name
    lines.push(`# HELP ${shown} ${escape(family.help)}`)
    lines.push(`# TYPE ${shown} ${format === "text" && family.type === "info" ? "gauge" : family.type}`)
    if (format === "openmetrics" && family.unit !== undefined) lines.push(`# UNIT ${shown} ${family.unit}`)
    for (const sample of samples) lines.push(formatSample(name, sample))
  }
  if (format === "openmetrics") lines.push("# EOF")
  return `${lines.join("\n")}\n`
}

function infoSuffix({ type }: MetricFamily): string {
  return type === "info" ? "_info" : ""
}

function samplesOf(
  name: FamilyName,
  family: MetricFamily,
  state: MetricState,
  { version, configVersion, edge }: MetricBuild,
  nowMs: number,
): readonly Sample[] {
  const named = (labels: readonly string[]): Labels => labels.map((value, i) => [family.labels[i] ?? "", value])
  // Never from the state: what an isolate reports cannot pass for the edge's word.
  if (family.source === "edge") {
    const suffix = family.type === "counter" ? "_total" : ""
    const own = (edge?.series ?? []).filter(([counted]) => counted === name)
    return own.map(([, labels, value]) => ({ suffix, labels: named(labels), value }))
  }
  switch (family.type) {
    case "info":
      return [{ suffix: "_info", labels: named([version, configVersion]), value: 1 }]
    case "gauge":
      return gaugesOf(name, state, nowMs).map(([labels, value]) => ({ suffix: "", labels: named(labels), value }))
    case "counter":
      return seriesOf(name, family, state, 1).map(({ labels, counts }) => ({
        suffix: "_total",
        labels: named(labels),
        value: counts[0] ?? 0,
      }))
    case "histogram": {
      const bounds = METRIC_BUCKETS_MS[name as HistogramName]
      return seriesOf(name, family, state, bounds.length + 1).flatMap((series) =>
        histogramSamples(series, named(series.labels), bounds),
      )
    }
  }
}

/** In the order of their labels, so that two readings are compared line by line. */
function seriesOf(
  name: FamilyName,
  { labels }: MetricFamily,
  { families }: MetricState,
  length: number,
): readonly MetricSeries[] {
  const series = families.get(name)
  if (series === undefined || series.size === 0)
    return labels.length > 0 ? [] : [{ labels: [], counts: Array.from({ length }, () => 0), sumMs: 0, changedMs: 0 }]
  return [...series].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, item]) => item)
}

function histogramSamples(series: MetricSeries, labels: Labels, bounds: readonly number[]): readonly Sample[] {
  let seen = 0
  const buckets = series.counts.map((count, index) => {
    seen += count
    const boundMs = bounds[index]
    const le = boundMs === undefined ? "+Inf" : formatBound(boundMs / 1_000)
    return { suffix: "_bucket", labels: [...labels, ["le", le] as const], value: seen }
  })
  return [
    ...buckets,
    { suffix: "_count", labels, value: seen },
    { suffix: "_sum", labels, value: series.sumMs / 1_000 },
  ]
}

/** The canonical number of a bound. */
function formatBound(seconds: number): string {
  return Number.isInteger(seconds) ? `${seconds}.0` : String(seconds)
}

type Gauge = readonly [labels: readonly string[], value: number]

function gaugesOf(name: FamilyName, { certificates, reporters }: MetricState, nowMs: number): readonly Gauge[] {
  const current = reporters.filter((reporter) => isCurrent(reporter, nowMs))
  if (name === "sekisho_isolates") return [[[], current.length]]
  if (name === "sekisho_certificate_expiry_days") {
    return certificates
      .map(({ clientId, endsMs }): Gauge => [[clientId], Math.floor(((endsMs - nowMs) / DAY_MS) * 100) / 100])
      .toSorted(([[a = ""]], [[b = ""]]) => (a < b ? -1 : 1))
  }
  const sums = new Map<string, Gauge>()
  if (METRIC_FAMILIES[name].labels.length === 0) sums.set("[]", [[], 0])
  for (const [reported, labels, value] of current.flatMap(({ gauges }) => gauges)) {
    if (reported !== name) continue
    const key = JSON.stringify(labels)
    sums.set(key, [labels, (sums.get(key)?.[1] ?? 0) + value])
  }
  return [...sums]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .slice(0, METRIC_FAMILIES[name].seriesMax)
    .map(([, gauge]) => gauge)
}

function formatSample(name: string, { suffix, labels, value }: Sample): string {
  const text = labels.map(([label, of]) => `${label}="${escape(of)}"`).join(",")
  return `${name}${suffix}${text === "" ? "" : `{${text}}`} ${value}`
}

function escape(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"')
}

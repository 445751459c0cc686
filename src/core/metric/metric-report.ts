/**
 * What isolates tell the object of the metrics, and what it makes of a report that it cannot read in full.
 *
 * A report holds what an isolate has counted since its last one, under a number, and repeats that until it is heard. Versions
 * of the Worker run side by side during a deployment, so what a report says of a family that is not known here is left away,
 * and the rest counts. Pure and total.
 */
import { METRIC_LABEL_LENGTH_MAX, TOKEN_LEASE_BOOT_LENGTH_MAX } from "../bounds.ts"
import { familyOf, METRIC_BUCKETS_MS, type HistogramName, type MetricFamily } from "./metric-catalogue.ts"
import { isCount, isInstant, isPositiveInteger, membersOf } from "../untrusted.ts"

/** One series that was counted: its family, its labels, and how much is new. */
export type CountedSeries = readonly [name: string, labels: readonly string[], count: number]
/** One series of durations: how many are new in each bucket, and their sum in ms. */
export type TimedSeries = readonly [name: string, labels: readonly string[], buckets: readonly number[], sumMs: number]

/** New counts, in any order; no series twice. */
export interface MetricCounts {
  readonly counters: readonly CountedSeries[]
  readonly histograms: readonly TimedSeries[]
}

/** What one isolate has counted since its last report, and how it stands. */
export interface MetricReport extends MetricCounts {
  /** The incarnation of the isolate: random, 1 to 64 characters. */
  readonly boot: string
  /** From 1 on; a repeated report has the number and the counts of the first. */
  readonly seq: number
  /** As things are, not since when. */
  readonly gauges: readonly CountedSeries[]
  /** Which certificates clients used, by when these end, epoch ms. */
  readonly certificates: readonly (readonly [clientId: string, endsMs: number])[]
}

/** Nothing was counted. */
export const NO_COUNTS: MetricCounts = { counters: [], histograms: [] }

/** Returns what is readable of a report; undefined when nobody knows whose it is. */
export function readReport(value: unknown): MetricReport | undefined {
  const { boot, seq, gauges, certificates } = membersOf(value)
  if (typeof boot !== "string" || boot === "" || boot.length > TOKEN_LEASE_BOOT_LENGTH_MAX) return undefined
  if (!isPositiveInteger(seq)) return undefined
  return {
    boot,
    seq,
    ...readCounts(value),
    gauges: itemsOf(gauges).flatMap((item) => readCounted(item, "gauge")),
    certificates: itemsOf(certificates).flatMap((item) => {
      const [clientId, endsMs]: readonly unknown[] = itemsOf(item)
      return typeof clientId === "string" && isInstant(endsMs) ? [[cutLabel(clientId), endsMs] as const] : []
    }),
  }
}

/** Returns what is readable of counts. */
export function readCounts(value: unknown): MetricCounts {
  const { counters, histograms } = membersOf(value)
  return {
    counters: itemsOf(counters).flatMap((item) => readCounted(item, "counter")),
    histograms: itemsOf(histograms).flatMap(readTimed),
  }
}

/** Returns a series of a known family of this type, as a list of one; an empty one for everything else. */
export function readCounted(item: unknown, type: MetricFamily["type"]): readonly CountedSeries[] {
  const [name, labels, count]: readonly unknown[] = itemsOf(item)
  const read = readSeries(name, labels, type)
  return read === undefined || !isCount(count) ? [] : [[...read, count]]
}

function readTimed(item: unknown): readonly TimedSeries[] {
  const [name, labels, buckets, sumMs]: readonly unknown[] = itemsOf(item)
  const read = readSeries(name, labels, "histogram")
  if (read === undefined || !isCount(sumMs)) return []
  const counts = itemsOf(buckets)
  // Buckets of another version mean other durations.
  if (counts.length !== METRIC_BUCKETS_MS[read[0] as HistogramName].length + 1 || !counts.every(isCount)) return []
  return [[...read, counts, sumMs]]
}

function readSeries(
  name: unknown,
  labels: unknown,
  type: MetricFamily["type"],
): readonly [name: string, labels: readonly string[]] | undefined {
  const family = typeof name === "string" ? familyOf(name) : undefined
  const values = itemsOf(labels)
  if (typeof name !== "string" || family?.type !== type || values.length !== family.labels.length) return undefined
  if (!values.every((value) => typeof value === "string")) return undefined
  return [name, values.map(cutLabel)]
}

/** Returns a label as it is kept: bounded, and a text that can be written as UTF-8. */
export function cutLabel(value: string): string {
  const cut = value.length > METRIC_LABEL_LENGTH_MAX ? value.slice(0, METRIC_LABEL_LENGTH_MAX) : value
  // Half a character, cut or typed, would come out of every encoder as something else.
  return cut.replace(/\p{Surrogate}/gu, "\ufffd")
}

function itemsOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

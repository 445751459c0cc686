/**
 * What one isolate has counted since its last report, in plain numbers: a request costs a few look-ups and additions.
 *
 * Series stay once they are there and start again at zero with every report, so the same requests allocate nothing. As many
 * series as a family may have; what goes beyond is counted in one more.
 */
import { METRIC_CLIENTS_MAX } from "../core/bounds.ts"
import {
  bucketOf,
  METRIC_BUCKETS_MS,
  METRIC_FAMILIES,
  OTHER_SERIES,
  type CounterName,
  type HistogramName,
} from "../core/metric/metric-catalogue.ts"
import { cutLabel, type CountedSeries, type TimedSeries } from "../core/metric/metric-report.ts"
import type { Tally } from "../core/metric/metrics.ts"

/** What was taken out of a tally. */
export interface TallyContent {
  readonly counters: readonly CountedSeries[]
  readonly histograms: readonly TimedSeries[]
  readonly certificates: readonly (readonly [clientId: string, endsMs: number])[]
}

/** A tally, and how to empty it. */
export interface IsolateTally extends Tally {
  /** True when anything was counted since the last {@link take}. */
  readonly hasNews: () => boolean
  /** Returns what was counted, and starts again at zero. */
  readonly take: () => TallyContent
}

interface Series {
  readonly name: string
  readonly labels: readonly string[]
  /** One count of a counter; of a histogram one for each bucket. */
  readonly counts: number[]
  sumMs: number
  isNew: boolean
}
/** Series by up to three labels, "" for those that a family does not have. */
type Level<T> = Map<string, T>
interface Family {
  readonly series: Level<Level<Level<Series>>>
  readonly other: Series
  room: number
}

/** Returns a tally that has counted nothing. */
export function createTally(): IsolateTally {
  const families = new Map<string, Family>()
  const all: Series[] = []
  const certificates = new Map<string, number>()
  let hasNews = false

  function createSeries(name: CounterName | HistogramName, labels: readonly string[]): Series {
    const length = name in METRIC_BUCKETS_MS ? METRIC_BUCKETS_MS[name as HistogramName].length + 1 : 1
    const series = { name, labels, counts: Array.from({ length }, () => 0), sumMs: 0, isNew: false }
    all.push(series)
    return series
  }

  function familyOf(name: CounterName | HistogramName): Family {
    let family = families.get(name)
    if (family === undefined) {
      const { labels, seriesMax } = METRIC_FAMILIES[name]
      const other = createSeries(
        name,
        labels.map(() => OTHER_SERIES),
      )
      family = { series: new Map(), other, room: seriesMax }
      families.set(name, family)
    }
    return family
  }

  function seriesOf(name: CounterName | HistogramName, a: string, b: string, c: string): Series {
    const family = familyOf(name)
    const known = family.series.get(a)?.get(b)?.get(c)
    if (known !== undefined) return known
    if (family.room <= 0) return family.other
    family.room -= 1
    const series = createSeries(name, [a, b, c].slice(0, METRIC_FAMILIES[name].labels.length).map(cutLabel))
    levelOf(levelOf(family.series, a), b).set(c, series)
    return series
  }

  return {
    hasNews: () => hasNews,
    add(name, count, a = "", b = "", c = "") {
      const series = seriesOf(name, a, b, c)
      series.counts[0] = (series.counts[0] ?? 0) + count
      series.isNew = true
      hasNews = true
    },
    time(name, durationMs, a = "") {
      const series = seriesOf(name, a, "", "")
      const bucket = bucketOf(name, durationMs)
      series.counts[bucket] = (series.counts[bucket] ?? 0) + 1
      // Whole ms, so that sums do not depend on the order in which they are made.
      series.sumMs += Math.round(durationMs)
      series.isNew = true
      hasNews = true
    },
    noteCertificate(clientId, endsMs) {
      const known = certificates.get(clientId)
      if (known === undefined && certificates.size >= METRIC_CLIENTS_MAX) return
      if (known === undefined || endsMs < known) certificates.set(clientId, endsMs)
      hasNews = true
    },
    take() {
      const counters: CountedSeries[] = []
      const histograms: TimedSeries[] = []
      for (const series of all) {
        if (!series.isNew) continue
        const { counts, labels, name, sumMs } = series
        if (name in METRIC_BUCKETS_MS) histograms.push([name, labels, [...counts], sumMs])
        else counters.push([name, labels, counts[0] ?? 0])
        counts.fill(0)
        series.sumMs = 0
        series.isNew = false
      }
      const content = { counters, histograms, certificates: [...certificates] }
      certificates.clear()
      hasNews = false
      return content
    },
  }
}

function levelOf<T>(level: Level<Level<T>>, key: string): Level<T> {
  const known = level.get(key)
  if (known !== undefined) return known
  const fresh: Level<T> = new Map()
  level.set(key, fresh)
  return fresh
}

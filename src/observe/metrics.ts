/**
 * Counts what happens in one isolate and tells the object of the metrics: the first time at once, then about every ten seconds,
 * behind responses. No request waits for it.
 *
 * A report has a number and is repeated until it is heard, so it counts once; meanwhile counting goes on. What an isolate has
 * not told when it ends is lost: at most what it counted since its last report. The events of those requests are on the record.
 */
import type { Gateway, MetricsRecorder } from "../context.ts"
import { METRIC_REPEAT_MS_MAX, METRIC_REPORT_FLUSHES, METRIC_REPORT_MS_MAX, METRIC_TIMEOUT_MS } from "../core/bounds.ts"
import { formatHex } from "../core/hex.ts"
import type { GaugeName } from "../core/metric/metric-catalogue.ts"
import type { CountedSeries, MetricReport } from "../core/metric/metric-report.ts"
import { decideObjectError } from "../core/gate/object-error.ts"
import { LATE, withDeadline } from "../deadline.ts"
import { createTally } from "./metric-tally.ts"

/** The one object of the metrics. */
export const METRICS_OBJECT = "gateway"

/** Returns the metrics of an isolate that has counted nothing. */
export function createMetrics({
  config,
  fillRandom,
  nowMs,
  originHealth,
}: Pick<Gateway, "config" | "fillRandom" | "nowMs" | "originHealth">): MetricsRecorder {
  const tally = createTally()
  const intervalMs = Math.min(METRIC_REPORT_MS_MAX, config.flushMs * METRIC_REPORT_FLUSHES)
  const gauges = new Map<GaugeName, number>()
  const toldGauges = new Map<GaugeName, number>()
  let boot: string | undefined
  let seq = 0
  /** A report that was sent and not heard, and when it was sent first, epoch ms. */
  let unheard: MetricReport | undefined
  let unheardSinceMs = 0
  /** When the last report was sent, and until when another one is on its way, epoch ms. */
  let reportedMs = -Infinity
  let busyUntilMs = -Infinity

  function takeReport(): MetricReport {
    // Drawn late: there is no randomness while a module loads.
    boot ??= formatHex(fillRandom(new Uint8Array(16)))
    const now = nowMs()
    const unhealthy = config.origins
      .filter(({ name }) => originHealth.isUnhealthy(name, now))
      .map(({ name }): CountedSeries => ["sekisho_origin_unhealthy", [name], 1])
    for (const [name, value] of gauges) toldGauges.set(name, value)
    const stands = [...gauges].map(([name, value]): CountedSeries => [name, [], value])
    return { boot, seq: ++seq, ...tally.take(), gauges: [...stands, ...unhealthy] }
  }

  function hasNews(): boolean {
    return tally.hasNews() || [...gauges].some(([name, value]) => toldGauges.get(name) !== value)
  }

  /** Returns whether the object has heard. */
  async function tell(object: NonNullable<Env["METRICS"]>): Promise<boolean> {
    const now = nowMs()
    // By now the object may have counted it and forgotten its number: rather not counted than counted twice.
    if (now - unheardSinceMs >= METRIC_REPEAT_MS_MAX) unheard = undefined
    if (unheard === undefined) {
      unheard = takeReport()
      unheardSinceMs = now
    }
    const told = unheard
    reportedMs = now
    try {
      const answer = await withDeadline(object.getByName(METRICS_OBJECT).report(told), METRIC_TIMEOUT_MS)
      if (answer === LATE) return untold("object_timeout")
      if (unheard === told) unheard = undefined
      return true
    } catch (error) {
      return untold(decideObjectError(error, 1).reason)
    }
  }

  function untold(reason: string): false {
    console.error(JSON.stringify({ level: "error", event: "metrics_untold", reason }))
    return false
  }

  async function tellLater(
    object: NonNullable<Env["METRICS"]>,
    ctx: Pick<ExecutionContext, "waitUntil">,
    waitMs: number,
  ): Promise<void> {
    if (waitMs > 0) await scheduler.wait(waitMs)
    await tell(object)
    busyUntilMs = -Infinity
    if (hasNews()) reportSoon(object, ctx)
  }

  function reportSoon(object: Env["METRICS"], ctx: Pick<ExecutionContext, "waitUntil">): void {
    if (object === undefined) return
    const now = nowMs()
    if (now < busyUntilMs) return
    const waitMs = Math.max(0, reportedMs + intervalMs - now)
    // A report ends with the request that carries it, also when nobody is told: then the next request starts another.
    busyUntilMs = now + waitMs + 2 * METRIC_TIMEOUT_MS
    ctx.waitUntil(tellLater(object, ctx, waitMs))
  }

  return {
    add: (name, count, a, b, c) => tally.add(name, count, a, b, c),
    time: (name, durationMs, a) => tally.time(name, durationMs, a),
    noteCertificate: (clientId, endsMs) => tally.noteCertificate(clientId, endsMs),
    setGauge: (name, value) => void gauges.set(name, value),
    reportSoon,
    async report(object) {
      if (object === undefined) return
      // What is on its way goes first, under its own number.
      const isRepeat = unheard !== undefined
      if ((await tell(object)) && isRepeat && hasNews()) await tell(object)
    },
  }
}

/**
 * `/metrics` of the admin room: what every isolate has reported, as text for a scraper.
 *
 * This isolate reports first, so that whoever asks sees the requests that he has just made here. When the object does not answer,
 * neither does this: half of the numbers would look like a loss. Behind the local edge every request has to bring the edge's own
 * signed word, which says what the edge has counted; one that came another way is refused for the same reason.
 */
import type { Gateway, GatewayContext } from "../context.ts"
import { METRIC_TIMEOUT_MS } from "../core/bounds.ts"
import { readEdgeReport } from "../core/metric/edge-metrics.ts"
import { decideObjectError } from "../core/gate/object-error.ts"
import { chooseFormat, METRIC_MEDIA_TYPES } from "../core/metric/openmetrics.ts"
import { VERSION } from "../core/version.ts"
import { LATE, withDeadline } from "../deadline.ts"
import { createAssertionCheck } from "../edge-assertions.ts"
import { METRICS_OBJECT } from "../observe/metrics.ts"
import { refuse, refuseUnavailable } from "../reply.ts"

/** Returns the handler. */
export function createMetricsPage({
  config,
  metrics,
  nowMs,
  trust,
}: Gateway): (c: GatewayContext) => Promise<Response> {
  const checkAssertion = trust.kind === "edge" ? createAssertionCheck(trust.key, nowMs) : undefined
  return async function metricsPage(c) {
    const cf: Readonly<Record<string, unknown>> | undefined = c.req.raw.cf
    // Anybody who reaches this port writes request.cf, so without the edge's signature nothing in it is looked at.
    const assertion = await checkAssertion?.(c, cf)
    if (assertion?.accepted === false) return refuse(c, "edge-assertion-invalid", { reason: assertion.reason })
    const edge = assertion === undefined ? undefined : readEdgeReport(cf?.["edgeMetrics"])
    const binding = c.env.METRICS
    if (binding === undefined) return refuseUnavailable(c, "binding_missing METRICS")
    await metrics?.report(binding)
    const format = chooseFormat(c.req.raw.headers.get("accept"))
    try {
      const build = { version: VERSION, configVersion: config.version, edge }
      const text = await withDeadline(binding.getByName(METRICS_OBJECT).expose(build, format), METRIC_TIMEOUT_MS)
      if (text === LATE) return refuseUnavailable(c, "metrics_timeout")
      c.get("exchange").outcome = "answered"
      return new Response(c.req.raw.method === "HEAD" ? null : text, {
        headers: {
          "Content-Type": METRIC_MEDIA_TYPES[format],
          "Cache-Control": "no-store",
          "X-Content-Type-Options": "nosniff",
        },
      })
    } catch (error) {
      return refuseUnavailable(c, `metrics_${decideObjectError(error, 1).reason}`)
    }
  }
}

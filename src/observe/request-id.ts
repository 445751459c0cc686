/**
 * Stage `request-id`: mints the id and the trace of a request, and puts the id on its answer.
 *
 * Behind the local edge the `certificate` stage replaces the minted id by the edge's, so that both speak of one request.
 */
import type { Gateway, StageHandler } from "../context.ts"
import { mintRequestId } from "../core/message/request-id.ts"
import { isSampled, placeOfTrace } from "../core/record/sampling.ts"
import { startTrace } from "../core/record/trace-context.ts"
import { collectorOf } from "./span-collector.ts"

/** Returns the stage. */
export function createRequestIdStage({ config, fillRandom }: Gateway): StageHandler {
  return function requestId(c, next) {
    const exchange = c.get("exchange")
    const random = fillRandom(new Uint8Array(34))
    exchange.requestId = mintRequestId(exchange.arrivedMs, random)
    exchange.trace = startTrace(random.subarray(10), (traceId) => {
      exchange.tracePlace = placeOfTrace(traceId)
      return !config.hasTraces || isSampled(exchange.tracePlace, config.traceRatio)
    })
    exchange.spans = collectorOf(exchange, config, fillRandom)
    return next().then(() => c.res.headers.set("X-Request-Id", exchange.requestId))
  }
}

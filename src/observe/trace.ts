/**
 * Stage `trace`: a client with a name may name its request and continue its trace, and then decides whether that is sampled.
 */
import { required, type Gateway, type StageHandler } from "../context.ts"
import { redactText } from "../core/record/redaction.ts"
import { isRequestId } from "../core/message/request-id.ts"
import { continueTrace } from "../core/record/trace-context.ts"
import { collectorOf } from "./span-collector.ts"

/** Returns the stage. */
export function createTraceStage({ config, fillRandom }: Gateway): StageHandler {
  return function trace(c, next) {
    const exchange = c.get("exchange")
    if (exchange.client !== undefined) {
      const received = required(exchange.received, "received")
      const requestId = received.get("x-request-id")
      // An id is written everywhere as it is: one that would have to be masked is none.
      if (requestId !== undefined && isRequestId(requestId) && redactText(requestId) === requestId)
        exchange.requestId = requestId
      exchange.trace = continueTrace(
        exchange.trace,
        received.get("traceparent") ?? null,
        received.get("tracestate") ?? null,
      )
      exchange.spans = collectorOf(exchange, config, fillRandom)
    }
    return next()
  }
}

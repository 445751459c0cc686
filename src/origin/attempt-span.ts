/**
 * The span of each sending of a request to an origin: its id is the parent that the origin reads in `traceparent`.
 */
import type { Exchange } from "../context.ts"
import { redactText } from "../core/record/redaction.ts"
import { isErrorStatus, methodAttributes, serverAttributes, type SpanAttributes } from "../core/record/span.ts"
import { formatTraceparent } from "../core/record/trace-context.ts"
import type { Ended, ExchangeParts } from "./exchange.ts"

const ERROR_TYPES = { late: "timeout", "too-large": "body_too_large", unreachable: "unreachable" } as const

/**
 * Returns `ask` with a span around each call, or `ask` itself when the request is not sampled.
 *
 * @param ended says whether, and why, calls have been ended from this side
 */
export function traceAttempts(
  { spans, trace }: Exchange,
  origin: string,
  ask: ExchangeParts["ask"],
  ended: () => Ended | undefined,
  nowMs: () => number,
): ExchangeParts["ask"] {
  if (spans === undefined) return ask
  let sent = 0
  return async (request) => {
    const spanId = spans.mintId()
    const startMs = nowMs()
    const { init, target } = request
    const { method } = init
    const [full = ""] = target.split("?", 1)
    const [scheme = "", authority = ""] = full.split(/:\/\/|\//)
    const about: SpanAttributes = {
      ...methodAttributes(method),
      "url.full": redactText(full),
      ...serverAttributes(scheme, authority),
      ...(sent === 0 ? {} : { "http.request.resend_count": sent }),
      "sekisho.origin": origin,
    }
    const end = (isError: boolean, attributes: SpanAttributes): void =>
      spans.add({
        spanId,
        name: method,
        kind: "client",
        startMs,
        endMs: nowMs(),
        attributes: { ...about, ...attributes },
        isError,
      })
    sent += 1
    init.headers.set("traceparent", formatTraceparent({ ...trace, spanId }))
    try {
      const answer = await ask(request)
      const isError = isErrorStatus("client", answer.status)
      const status = { "http.response.status_code": answer.status }
      end(isError, isError ? { ...status, "error.type": String(answer.status) } : status)
      return answer
    } catch (error) {
      const cause = ended() ?? "unreachable"
      // A caller that leaves is no error of anybody here.
      if (cause === "caller-gone") end(false, {})
      else end(true, { "error.type": ERROR_TYPES[cause] })
      throw error
    }
  }
}

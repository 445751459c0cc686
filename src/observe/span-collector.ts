/**
 * The spans of one request: collected while it goes on, and completed by the server's span when its event is made.
 *
 * Nothing is collected of a trace that is not sampled, or when no sink takes spans.
 */
import type { Config } from "../config/config.ts"
import type { Exchange, Gateway, SpanCollector } from "../context.ts"
import { SPANS_PER_REQUEST_MAX } from "../core/bounds.ts"
import { decisivePolicy } from "../core/gate/gate-verdict.ts"
import { formatHex } from "../core/hex.ts"
import { redactText } from "../core/record/redaction.ts"
import {
  isErrorStatus,
  methodAttributes,
  spanName,
  type ChildSpan,
  type Span,
  type SpanAttributes,
} from "../core/record/span.ts"
import { rawPathOf } from "../core/route/target.ts"
import { isTraceSampled } from "../core/record/trace-context.ts"

/** Returns what collects the spans of the request now: what did so before, where its trace is still sampled. */
export function collectorOf(
  { spans, trace }: Exchange,
  { hasTraces }: Config,
  fillRandom: Gateway["fillRandom"],
): SpanCollector | undefined {
  return hasTraces && isTraceSampled(trace) ? (spans ?? createCollector(fillRandom)) : undefined
}

function createCollector(fillRandom: Gateway["fillRandom"]): SpanCollector {
  const mintId = (): string => formatHex(fillRandom(new Uint8Array(8)))
  let spans: ChildSpan[] | undefined = []
  return {
    mintId,
    add(span) {
      if (spans !== undefined && spans.length < SPANS_PER_REQUEST_MAX) spans.push({ spanId: mintId(), ...span })
    },
    take() {
      const taken = spans ?? []
      spans = undefined
      return taken
    },
  }
}

/** Returns the spans of a request that is over, the server's first; none when it is not sampled. */
export function spansOf(exchange: Exchange, request: Request, status: number, endMs: number): readonly Span[] {
  const { arrivedMs, route, spans, trace } = exchange
  if (spans === undefined) return []
  const { flags, parentSpanId, spanId, traceId, tracestate } = trace
  const shared = { traceId, flags, ...(tracestate === undefined ? {} : { tracestate }) }
  const isError = isErrorStatus("server", status)
  const server: Span = {
    ...shared,
    spanId,
    ...(parentSpanId === undefined ? {} : { parentSpanId }),
    name: spanName(request.method, route?.label),
    kind: "server",
    startMs: arrivedMs,
    endMs,
    attributes: serverSpanAttributes(exchange, request, status),
    isError,
  }
  return [server, ...spans.take().map((child) => ({ ...shared, ...child, parentSpanId: spanId }))]
}

/** Returns what the server's span says of a request: the gateway's own one and the platform's. */
export function serverSpanAttributes(exchange: Exchange, request: Request, status: number): SpanAttributes {
  const { client, gate, guardOutcome, host, outcome, path, problem, requestId, route } = exchange
  const address = request.headers.get("cf-connecting-ip")
  const policy = gate === undefined ? undefined : decisivePolicy(gate)
  return {
    ...methodAttributes(redactText(request.method)),
    "url.scheme": "https",
    "url.path": redactText(path ?? rawPathOf(request.url)),
    ...(route === undefined ? {} : { "http.route": route.label }),
    ...(host === undefined ? {} : { "server.address": host }),
    ...(address === null ? {} : { "client.address": redactText(address) }),
    // A status that was never sent is none.
    ...(outcome === "aborted" ? {} : { "http.response.status_code": status }),
    ...(isErrorStatus("server", status) ? { "error.type": problem ?? String(status) } : {}),
    ...(gate === undefined ? {} : { "rate_limit.hit": gate.refusal?.kind === "limit", "sekisho.gate": gate.decidedBy }),
    ...(policy === undefined ? {} : { "rate_limit.policy": policy.name, "rate_limit.remaining": policy.remaining }),
    ...(gate === undefined || (route?.guards.length ?? 0) === 0
      ? {}
      : { "guard.hit": gate.refusal?.kind === "blocked" }),
    ...(gate?.refusal?.kind === "blocked" ? { "guard.name": gate.refusal.guard } : {}),
    ...(guardOutcome === undefined ? {} : { "guard.outcome": guardOutcome }),
    "sekisho.request_id": requestId,
    ...(client === undefined ? {} : { "sekisho.client_id": client.id }),
    "sekisho.outcome": outcome,
    ...(problem === undefined ? {} : { "sekisho.problem": problem }),
  }
}

/**
 * The span of a decision of the gate that left the isolate, in the trace of the request that waited for it.
 */
import type { SpanCollector } from "../context.ts"
import type { GateVerdict } from "../core/gate/gate-verdict.ts"

/** Adds the span, whoever made the call; a decision that the isolate made by itself has none. */
export function noteGateSpan(
  spans: SpanCollector,
  { decidedBy, refusal }: GateVerdict,
  startMs: number,
  endMs: number,
): void {
  if (decidedBy === "local") return
  const isError = refusal?.kind === "unavailable" || refusal?.kind === "fault"
  spans.add({
    name: "client-gate",
    kind: "client",
    startMs,
    endMs,
    attributes: {
      "rate_limit.hit": refusal?.kind === "limit",
      "guard.hit": refusal?.kind === "blocked",
      ...(refusal?.kind === "blocked" ? { "guard.name": refusal.guard } : {}),
      ...(isError ? { "error.type": refusal.kind } : {}),
    },
    isError,
  })
}

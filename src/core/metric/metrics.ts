/**
 * What one request adds to the metrics: the only place that turns facts of a request into counts.
 *
 * Every request is counted once in its route, also one that was refused before it had any. What a caller typed is never a
 * label: a path becomes the pattern of its route, a method one of a list. Pure up to the tally that it is given, and without
 * an allocation, because it runs with every request; called by the `access-log` stage.
 */
import { OTHER_METHOD, UNMATCHED_ROUTE, type CounterName, type HistogramName } from "./metric-catalogue.ts"
import type { ProblemCode } from "../problem.ts"
import { METHODS } from "../route/route.ts"

/** Takes counts. Labels stand in the order of the family's; what is left away the family does not have. */
export interface Tally {
  /** Adds to a counter. @param count a whole number from 0 on */
  add(name: CounterName, count: number, a?: string, b?: string, c?: string): void
  /** Takes a duration, in ms. */
  time(name: HistogramName, durationMs: number, a?: string): void
  /** Notes when the certificate that a client uses ends, epoch ms. */
  noteCertificate(clientId: string, endsMs: number): void
}

/** One request at its end. Members are undefined where the request did not get that far. */
export interface RequestFacts {
  /** Label of the route. */
  readonly route: string | undefined
  /** As sent. */
  readonly method: string
  readonly status: number
  readonly problem: ProblemCode | undefined
  /** Reason of a refusal, as the event has it. */
  readonly reason: string | undefined
  /** From arrival to the header of the answer. */
  readonly latencyMs: number
  /** Name of the origin of the route. */
  readonly origin: string | undefined
  readonly originMs: number | undefined
  readonly originAttempts: number | undefined
  readonly gate: GateFacts | undefined
  readonly isGuardUntold: boolean
  readonly isIpLimitUnavailable: boolean
  readonly revocationUnknown: string | undefined
  /** What became of the request's idempotency key: a word of the gateway's, not the key. */
  readonly idempotency: string | undefined
  /** Set once both sides of a WebSocket are connected. */
  readonly isWebSocket: boolean
  /** The client of the certificate, and the instants at which that certificate and its overlap window end, epoch ms. */
  readonly clientId: string | undefined
  readonly certificateEndsMs: number | undefined
  readonly certificateRetiresAtMs: number | undefined
}

/** What the gate decided. */
interface GateFacts {
  readonly decidedBy: "local" | "asked"
  readonly refusal: { readonly kind: "limit" | "blocked" | "unavailable" | "fault" } | undefined
}

const STATUS_CLASSES: readonly string[] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"]
const KNOWN_METHODS: ReadonlySet<string> = new Set(METHODS)

/** Counts one request. */
export function observeRequest(facts: RequestFacts, tally: Tally): void {
  const { clientId, gate, origin, originMs, problem } = facts
  tally.add(
    "sekisho_requests",
    1,
    facts.route ?? UNMATCHED_ROUTE,
    KNOWN_METHODS.has(facts.method) ? facts.method : OTHER_METHOD,
    STATUS_CLASSES[Math.floor(facts.status / 100)] ?? "other",
  )
  // Clocks of isolates may be put back.
  tally.time("sekisho_request_duration_seconds", Math.max(0, facts.latencyMs - (originMs ?? 0)))
  if (problem !== undefined) tally.add("sekisho_refusals", 1, problem)
  if (gate !== undefined) tally.add("sekisho_gate_decisions", 1, gate.decidedBy, gateResult(gate))
  if (facts.isGuardUntold) tally.add("sekisho_guard_untold", 1)
  if (facts.isIpLimitUnavailable) tally.add("sekisho_ip_limit_unavailable", 1)
  if (facts.reason === "token_keys_unavailable") tally.add("sekisho_token_keys_unavailable", 1)
  if (facts.revocationUnknown !== undefined) tally.add("sekisho_revocation_unknown", 1, facts.revocationUnknown)
  if (facts.idempotency !== undefined) tally.add("sekisho_idempotency", 1, facts.idempotency)
  if (facts.isWebSocket) tally.add("sekisho_websocket_opened", 1)
  if (origin !== undefined) {
    if (originMs !== undefined) tally.time("sekisho_origin_duration_seconds", Math.max(0, originMs), origin)
    if (facts.originAttempts !== undefined) tally.add("sekisho_origin_attempts", facts.originAttempts, origin)
    if (problem === "origin-timeout") tally.add("sekisho_origin_timeouts", 1, origin)
    if (facts.reason === "breaker_open") tally.add("sekisho_breaker_open", 1, origin)
  }
  if (clientId !== undefined && facts.certificateEndsMs !== undefined)
    tally.noteCertificate(clientId, Math.min(facts.certificateEndsMs, facts.certificateRetiresAtMs ?? Infinity))
}

function gateResult({ refusal }: GateFacts): string {
  if (refusal === undefined) return "admitted"
  return refusal.kind === "limit" || refusal.kind === "blocked" ? "refused" : "unavailable"
}

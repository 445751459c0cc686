/**
 * Stage `access-log`: one canonical event per request, whatever the outcome, unless its route leaves out what went well; and
 * the spans of requests whose trace is sampled.
 *
 * Both are made when the response header is ready. The event goes to the console as one line of JSON and to the buffer that
 * feeds the queue; neither can delay or fail the request. The request is counted in the metrics in the same place.
 */
import type { Exchange, Gateway, OpenSocket, SocketEnd, StageHandler } from "../context.ts"
import { withAlert } from "../core/record/alert.ts"
import { METRIC_GAUGE_MS } from "../core/bounds.ts"
import { daysLeft } from "../core/certificate/certificate.ts"
import {
  formatEventJson,
  formatInstant,
  levelOf,
  type AccessEvent,
  type GatewayEvent,
  type SocketRecord,
} from "../core/record/event.ts"
import { decisivePolicy } from "../core/gate/gate-verdict.ts"
import { observeRequest, type RequestFacts } from "../core/metric/metrics.ts"
import { redactText } from "../core/record/redaction.ts"
import { levelOnRecord } from "../core/record/sampling.ts"
import { socketRecordOf } from "../core/record/socket-record.ts"
import { rawPathOf } from "../core/route/target.ts"
import { LATE, withDeadline } from "../deadline.ts"
import { refuse } from "../reply.ts"
import type { AuditTrails } from "./audit-trails.ts"
import { createEventBuffer } from "./event-buffer.ts"
import { serverSpanAttributes, spansOf } from "./span-collector.ts"

const NO_TRACE = { traceId: "", spanId: "", parentSpanId: undefined, flags: 0, tracestate: undefined } as const

/**
 * Returns the stage. It is also the one that sees every refusal, so it is here that trails learn of them.
 *
 * @param trails undefined where no request is a client's
 */
export function createAccessLogStage(
  { config, metrics, nowMs, platformSpan }: Gateway,
  _?: unknown,
  trails?: Pick<AuditTrails, "note">,
): StageHandler {
  const hasSink = config.sinks.some(({ takes }) => takes.has("events") || takes.has("traces"))
  const buffer = hasSink ? createEventBuffer(config.flushMs, nowMs, metrics) : undefined
  let openSockets = 0
  return async function accessLog(c, next) {
    const exchange: Exchange = { arrivedMs: nowMs(), requestId: "", trace: NO_TRACE, tracePlace: 1, outcome: "failed" }
    c.set("exchange", exchange)
    const recorded = record()
    // When the caller leaves, the platform drops what nobody waits for, and with it the event.
    c.executionCtx.waitUntil(recorded)
    return recorded

    async function record(): Promise<void> {
      try {
        await next()
      } catch (error) {
        // The chain answers for thrown errors; whatever else is thrown ends here.
        c.res = refuse(c, "internal-error", { reason: `threw_${typeof error}` })
      }
      const endedMs = nowMs()
      const { socket } = exchange
      if (socket !== undefined) c.executionCtx.waitUntil(watchSocket(socket))
      if (metrics !== undefined) {
        observeRequest(factsOf(exchange, c.req.raw.method, c.res.status, endedMs), metrics)
        metrics.reportSoon(c.env.METRICS, c.executionCtx)
      }
      trails?.note(c)
      platformSpan?.()?.setAttributes(serverSpanAttributes(exchange, c.req.raw, c.res.status))
      if (!config.logsToConsole && buffer === undefined) return
      const spans = spansOf(exchange, c.req.raw, c.res.status, endedMs)
      if (spans.length > 0 && c.env.EVENTS !== undefined) buffer?.addSpans(spans, c.env.EVENTS, c.executionCtx)
      const level = levelOnRecord(levelOfExchange(exchange, c.res.status), exchange.route?.log, exchange.tracePlace)
      if (level !== undefined) write(createEvent(exchange, c.req.raw, c.res.status, level, config.version, endedMs))
    }

    /** Counts a WebSocket while it is open, then records its end. An isolate that is silent for long counts for nothing. */
    async function watchSocket(socket: OpenSocket): Promise<void> {
      if (metrics === undefined) return recordEnd(socket)
      metrics.setGauge("sekisho_websocket_open", (openSockets += 1))
      while ((await withDeadline(socket.closed, METRIC_GAUGE_MS / 2)) === LATE)
        metrics.reportSoon(c.env.METRICS, c.executionCtx)
      metrics.setGauge("sekisho_websocket_open", (openSockets -= 1))
      metrics.reportSoon(c.env.METRICS, c.executionCtx)
      return recordEnd(socket)
    }

    /** The last word on a request that became a WebSocket, once it is closed. */
    async function recordEnd(socket: OpenSocket): Promise<void> {
      if (!config.logsToConsole && buffer === undefined) return
      const closed = createSocketRecord(exchange, await socket.closed)
      // Left out together with the event of its request, unless there is something wrong with it.
      if (levelOnRecord(closed.level, exchange.route?.log, exchange.tracePlace) !== undefined) write(closed)
    }

    function write(record: GatewayEvent): void {
      const event = formatEventJson(withAlert(record))
      if (config.logsToConsole) console.log(event)
      if (c.env.EVENTS !== undefined) buffer?.add(event, c.env.EVENTS, c.executionCtx)
    }
  }
}

function factsOf(exchange: Exchange, method: string, status: number, endedMs: number): RequestFacts {
  const { certificate, client, route } = exchange
  return {
    route: route?.label,
    method,
    status,
    problem: exchange.problem,
    reason: exchange.reason,
    latencyMs: endedMs - exchange.arrivedMs,
    origin: route?.action.kind === "forward" ? route.action.origin.name : undefined,
    originMs: exchange.originMs,
    originAttempts: exchange.originAttempts,
    gate: exchange.gate,
    isGuardUntold: exchange.guardUntold !== undefined,
    isIpLimitUnavailable: exchange.ipLimit !== undefined,
    revocationUnknown: exchange.revocationUnknown,
    idempotency: exchange.idempotency,
    isWebSocket: exchange.socket !== undefined,
    clientId: client?.id,
    certificateEndsMs: certificate?.notAfterMs,
    certificateRetiresAtMs: exchange.certificateRetiresAtMs,
  }
}

function createSocketRecord({ client, requestId, route, trace }: Exchange, end: SocketEnd): SocketRecord {
  return socketRecordOf({
    ...end,
    requestId,
    traceId: trace.traceId,
    spanId: trace.spanId,
    clientId: client?.id,
    route: route?.label,
    origin: route?.action.kind === "forward" ? route.action.origin.name : undefined,
  })
}

function levelOfExchange(exchange: Exchange, status: number): AccessEvent["level"] {
  const { audit, guardUntold, ipLimit, outcome, revocationUnknown } = exchange
  const isDegraded =
    ipLimit !== undefined || guardUntold !== undefined || revocationUnknown !== undefined || audit === "delayed"
  return levelOf(outcome, status, isDegraded)
}

function createEvent(
  exchange: Exchange,
  request: Request,
  status: number,
  level: AccessEvent["level"],
  configVersion: string,
  nowMs: number,
): AccessEvent {
  const {
    audit,
    certificate,
    certificateRetiresAtMs,
    client,
    host,
    idempotency,
    ipLimit,
    originAttempts,
    originMs,
    originUnhealthy,
    path,
    problem,
    reason,
    revocationUnknown,
    route,
  } = exchange
  const address = request.headers.get("cf-connecting-ip")
  return {
    timestamp: formatInstant(exchange.arrivedMs),
    level,
    event: "request",
    request_id: exchange.requestId,
    trace_id: exchange.trace.traceId,
    span_id: exchange.trace.spanId,
    outcome: exchange.outcome,
    status,
    method: redactText(request.method),
    ...(host === undefined ? {} : { host }),
    path: redactText(path ?? rawPathOf(request.url)),
    ...(route === undefined ? {} : { route: redactText(route.label) }),
    ...(client === undefined ? {} : { client_id: client.id }),
    ...(address === null ? {} : { client_address: redactText(address) }),
    ...(problem === undefined ? {} : { problem }),
    ...(reason === undefined ? {} : { reason: redactText(reason) }),
    latency_ms: nowMs - exchange.arrivedMs,
    ...(route?.action.kind === "forward" && originMs !== undefined
      ? { origin: route.action.origin.name, origin_ms: originMs }
      : {}),
    ...(originAttempts === undefined || originAttempts === 1 ? {} : { origin_attempts: originAttempts }),
    ...(idempotency === undefined ? {} : { idempotency }),
    ...(certificate === undefined
      ? {}
      : {
          certificate_fingerprint: certificate.fingerprint,
          certificate_days_left: daysLeft(certificate.notAfterMs, nowMs),
        }),
    ...(certificateRetiresAtMs === undefined ? {} : { certificate_retires_at: formatInstant(certificateRetiresAtMs) }),
    ...(revocationUnknown === undefined ? {} : { revocation_unknown: revocationUnknown }),
    ...tokenFacts(exchange),
    ...(ipLimit === undefined ? {} : { ip_limit: ipLimit }),
    ...gateFacts(exchange),
    ...(originUnhealthy === undefined ? {} : { origin_unhealthy: originUnhealthy }),
    ...(audit === undefined ? {} : { audit }),
    config_version: configVersion,
  }
}

/** What a verified token names, as the event says it. */
function tokenFacts({ token }: Exchange): Partial<AccessEvent> {
  if (token === undefined) return {}
  const { clientId, server, tokenId } = token
  return {
    token: server,
    ...(clientId === null ? {} : { token_client: redactText(clientId) }),
    ...(tokenId === null ? {} : { token_id: redactText(tokenId) }),
  }
}

/** What the gate decided and was told, as the event says it. */
function gateFacts({ gate, guardOutcome, guardUntold }: Exchange): Partial<AccessEvent> {
  if (gate === undefined) return {}
  const { decidedBy, refusal, shadowed, softened } = gate
  const policy = decisivePolicy(gate)
  const waitMs = refusal !== undefined && "retryAfterMs" in refusal ? refusal.retryAfterMs : null
  return {
    gate: decidedBy,
    ...(policy === undefined ? {} : { rate_limit_policy: policy.name, rate_limit_remaining: policy.remaining }),
    ...(refusal?.kind === "limit" && waitMs !== null ? { rate_limit_retry_after_ms: waitMs } : {}),
    ...(shadowed.length === 0 ? {} : { rate_limit_shadowed: redactText(shadowed.join(",")) }),
    ...(softened.length === 0 ? {} : { rate_limit_soft: redactText(softened.join(",")) }),
    ...(refusal?.kind === "blocked" ? { guard: refusal.guard } : {}),
    ...(refusal?.kind === "blocked" && waitMs !== null ? { guard_retry_after_ms: waitMs } : {}),
    ...(guardOutcome === undefined ? {} : { guard_outcome: guardOutcome }),
    ...(guardUntold === undefined ? {} : { guard_untold: redactText(guardUntold) }),
  }
}

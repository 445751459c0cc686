/**
 * Stage `access-log`: one canonical event per request, whatever the outcome, unless its route leaves out what went well; and
 * the spans of requests whose trace is sampled.
 *
 * Both are made when the response header is ready. The event goes to the console as one line of JSON and to the buffer that
 * feeds the queue; neither can delay or fail the request.
 */
import type { Exchange, Gateway, OpenSocket, SocketEnd, StageHandler } from "../context.ts"
import { withAlert } from "../core/alert.ts"
import { daysLeft } from "../core/certificate.ts"
import {
  formatEventJson,
  formatInstant,
  levelOf,
  type AccessEvent,
  type GatewayEvent,
  type SocketRecord,
} from "../core/event.ts"
import { decisivePolicy } from "../core/gate-verdict.ts"
import { redactText } from "../core/redaction.ts"
import { levelOnRecord } from "../core/sampling.ts"
import { socketRecordOf } from "../core/socket-record.ts"
import { rawPathOf } from "../core/target.ts"
import { refuse } from "../reply.ts"
import { createEventBuffer } from "./event-buffer.ts"
import { serverSpanAttributes, spansOf } from "./span-collector.ts"

const NO_TRACE = { traceId: "", spanId: "", parentSpanId: undefined, flags: 0, tracestate: undefined } as const

/** Returns the stage. */
export function createAccessLogStage({ config, nowMs, platformSpan }: Gateway): StageHandler {
  const buffer = config.sinks.length === 0 ? undefined : createEventBuffer(config.flushMs, nowMs)
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
        // Hono answers for thrown errors; whatever else is thrown ends here.
        c.res = refuse(c, "internal-error", { reason: `threw_${typeof error}` })
      }
      platformSpan?.()?.setAttributes(serverSpanAttributes(exchange, c.req.raw, c.res.status))
      if (!config.logsToConsole && buffer === undefined) return
      const endMs = nowMs()
      const spans = spansOf(exchange, c.req.raw, c.res.status, endMs)
      if (spans.length > 0 && c.env.EVENTS !== undefined) buffer?.addSpans(spans, c.env.EVENTS, c.executionCtx)
      const level = levelOnRecord(levelOfExchange(exchange, c.res.status), exchange.route?.log, exchange.tracePlace)
      if (level !== undefined) write(createEvent(exchange, c.req.raw, c.res.status, level, config.version, endMs))
      if (exchange.socket !== undefined) c.executionCtx.waitUntil(recordEnd(exchange.socket))
    }

    /** The last word on a request that became a WebSocket, once it is closed. */
    async function recordEnd(socket: OpenSocket): Promise<void> {
      const closed = createSocketRecord(exchange, await socket.closed)
      // Left out together with the event of its request, unless there is something wrong with it.
      if (levelOnRecord(closed.level, exchange.route?.log, exchange.tracePlace) !== undefined) write(closed)
    }

    function write(record: GatewayEvent): void {
      const event = withAlert(record)
      if (config.logsToConsole) console.log(formatEventJson(event))
      if (c.env.EVENTS !== undefined) buffer?.add(event, c.env.EVENTS, c.executionCtx)
    }
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
  const { guardUntold, ipLimit, outcome, revocationUnknown } = exchange
  const isDegraded = ipLimit !== undefined || guardUntold !== undefined || revocationUnknown !== undefined
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
    certificate,
    certificateRetiresAtMs,
    client,
    host,
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

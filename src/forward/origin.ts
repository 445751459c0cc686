/**
 * Stage `origin`: forwards the request and hands the answer back, both as streams.
 *
 * What the two messages are made of, and how often and where the request is sent, is `src/origin/`. An origin that asks for assertions gets no request without one.
 */
import type { ForwardAction, Origin, OriginUrl } from "../config/config.ts"
import type { BaseUrl } from "../config/schema-names.ts"
import { required, type Gateway, type GatewayContext, type StageHandler } from "../context.ts"
import { decideLength } from "../core/message/body-limit.ts"
import type { CorsDecision } from "../core/message/cors.ts"
import { isContentUnexpected } from "../core/message/forwarding.ts"
import { findAnswerFault } from "../core/message/header-section.ts"
import { decideMaxForwards } from "../core/message/max-forwards.ts"
import { isRepeatable } from "../core/origin/origin-choice.ts"
import { matchHostRoute } from "../core/route/virtual-host.ts"
import { chosenProtocol, handshakeFields } from "../core/message/websocket.ts"
import { signAssertion } from "../origin/assertion.ts"
import { traceAttempts } from "../origin/attempt-span.ts"
import { limitBody } from "../origin/body-counter.ts"
import { limitBodyTime } from "../origin/body-deadline.ts"
import { decideRequestCors, setCorsFields } from "../origin/cors.ts"
import { exchangeWithOrigin, type Ended, type Exchanged, type ExchangeParts } from "../origin/exchange.ts"
import { createGatewayFields, createOriginRequest } from "../origin/request.ts"
import { createCallerResponse, createSwitchingResponse } from "../origin/response.ts"
import { openBridge } from "../origin/websocket.ts"
import { refuse, refuseUnavailable } from "../reply.ts"

/** nginx's status for a caller that left; only the event ever shows it. */
const CLIENT_CLOSED_REQUEST = 499

/** Returns the stage. */
export function createOriginStage({ assertionKeys, config, nowMs, originHealth }: Gateway): StageHandler {
  return function origin(c) {
    const { action } = required(c.get("exchange").route, "route")
    if (action.kind !== "forward") throw new Error("Stage order broken: a respond route reached the origin stage")
    const { cors } = action.messages
    if (cors === undefined) return forward(c, action)
    const decision = decideRequestCors(cors, c.req.raw)
    return answerPage(c, action, decision).then((response) => {
      setCorsFields(response.headers, decision)
      return response
    })
  }

  /** Answers a request on a route that says which web origins may use it. */
  async function answerPage(c: GatewayContext, action: ForwardAction, { kind }: CorsDecision): Promise<Response> {
    if (kind === "refused") return refuse(c, "origin-not-allowed", { reason: "web_origin_not_listed" })
    if (kind !== "preflight") return forward(c, action)
    c.get("exchange").outcome = "answered"
    return new Response(null, { status: 204 })
  }

  /** Answers OPTIONS in the origin's place: whoever asks wants to know how far the request gets. */
  function answerOptions(c: GatewayContext): Response {
    const { host, path } = c.get("exchange")
    const found = matchHostRoute(config.routeTable, required(host, "host"), "", required(path, "path"))
    c.get("exchange").outcome = "answered"
    return new Response(null, {
      status: 204,
      headers: found.kind === "method-not-allowed" ? { Allow: found.allow.join(", ") } : {},
    })
  }

  /** Joins both ends of a socket that the origin has agreed to. */
  function switchProtocols(
    c: GatewayContext,
    action: ForwardAction,
    answer: Response,
    webSocket: WebSocket,
    offered: readonly string[],
  ): Response {
    const exchange = c.get("exchange")
    const fault = findAnswerFault(answer.headers)
    const protocol = chosenProtocol(answer.headers.get("sec-websocket-protocol"), offered)
    if (fault !== undefined || protocol === null) {
      webSocket.accept()
      webSocket.close(1002)
      return refuse(c, "origin-invalid-response", { reason: fault ?? "websocket_protocol_not_offered" })
    }
    exchange.outcome = "forwarded"
    const terms = required(action.webSocket, "webSocket")
    const { client, socket } = openBridge(webSocket, { terms, rechecks: exchange.rechecks ?? [], nowMs })
    exchange.socket = socket
    return createSwitchingResponse(answer, protocol, client)
  }

  async function forward(c: GatewayContext, action: ForwardAction): Promise<Response> {
    const exchange = c.get("exchange")
    const { messages } = action
    const { method } = c.req.raw
    const received = required(exchange.received, "received")
    const announced = received.get("content-length") ?? null
    const body = exchange.body ?? c.req.raw.body
    if (body !== null && isContentUnexpected(method, announced))
      return refuse(c, "malformed-request", { reason: "content_not_expected" })
    const hops = decideMaxForwards(method, received.get("max-forwards") ?? null)
    if (hops.kind === "malformed") return refuse(c, "malformed-request", { reason: "max_forwards" })
    if (hops.kind === "answer") return answerOptions(c)
    const length =
      body === null || body instanceof Uint8Array ? "fits" : decideLength(announced, messages.requestBytesMax)
    if (length === "too-large") return refuse(c, "body-too-large", { reason: "content_length" })
    const assertion = await signAssertion(exchange, action.origin, method, assertionKeys, config.version, nowMs)
    if (assertion?.ok === false) return refuseUnavailable(c, assertion.reason)
    const { origin } = action
    const ask = fetcherOf(c, origin)
    if (ask === undefined) return refuseUnavailable(c, `binding_missing ${origin.binding}`)
    const offered = exchange.upgrade?.kind === "accepted" ? exchange.upgrade.protocols : []
    const handshake = exchange.upgrade === undefined ? [] : handshakeFields(offered)
    const deadline = new AbortController()
    let isTooLarge = false
    let isLate = false
    const sent =
      body === null || body instanceof Uint8Array || length === "fits"
        ? body
        : limitBody(body, messages.requestBytesMax, () => {
            isTooLarge = true
            // Ends the call of the origin, before or after its answer has begun: a part of a request is none.
            deadline.abort()
          })
    // What has a key goes on to its end, which is recorded: a caller that has left asks again what became of it.
    const caller = exchange.idempotency === undefined ? c.req.raw.signal : undefined
    const fields = [...createGatewayFields(exchange, origin, config, assertion?.text), ...handshake]
    // The caller's departure ends the call of the origin, too.
    const signal = AbortSignal.any([...(caller === undefined ? [] : [caller]), deadline.signal])
    const baseOf = ({ base }: OriginUrl): BaseUrl =>
      origin.preservesHost ? { ...base, authority: required(exchange.host, "host") } : base
    const startedMs = nowMs()
    const timer = setTimeout(() => {
      isLate = true
      deadline.abort()
    }, origin.timeoutMs)
    const ended = (): Ended | undefined =>
      isTooLarge ? "too-large" : isLate ? "late" : caller?.aborted === true ? "caller-gone" : undefined
    const exchanged = await exchangeWithOrigin({
      origin,
      health: originHealth,
      isRepeatable: isRepeatable(method, body !== null, origin.retry),
      prepare: (url) => createOriginRequest(c.req.raw, exchange, baseOf(url), action, { body: sent, fields, signal }),
      ask: traceAttempts(exchange, origin.name, ask, ended, nowMs),
      ended,
      startedMs,
      nowMs,
      onAttempt: () => (exchange.originAttempts = (exchange.originAttempts ?? 0) + 1),
    })
    clearTimeout(timer)
    if (exchanged.kind === "skipped")
      return refuseUnavailable(c, "breaker_open", { retryAfterMs: exchanged.retryAfterMs })
    exchange.originMs = exchanged.endedMs - startedMs
    if (exchanged.kind === "failed") return answerFailure(c, origin, exchanged)
    const { answer, url } = exchanged
    const { webSocket } = answer
    // Only an origin that says so switches; every other answer to a handshake is an answer like any other.
    if (webSocket !== null) return switchProtocols(c, action, answer, webSocket, offered)
    const scope = { base: baseOf(url), host: received.get("host") ?? required(exchange.host, "host") }
    const created = createCallerResponse(answer, method, messages, scope, () => deadline.abort())
    if (!created.ok) {
      await answer.body?.cancel().catch(() => {})
      return refuse(c, "origin-invalid-response", { reason: created.reason })
    }
    exchange.outcome = "forwarded"
    if (origin.totalTimeoutMs === undefined) return created.response
    const restMs = startedMs + origin.totalTimeoutMs - nowMs()
    const bounded = limitBodyTime(created.response, restMs)
    // The pipe and its timer are work of this request until the body is out.
    c.executionCtx.waitUntil(bounded.delivered)
    return bounded.response
  }
}

/** What sends requests to the origin; undefined when its binding is none. */
function fetcherOf(c: GatewayContext, { binding }: Origin): ExchangeParts["ask"] | undefined {
  if (binding === undefined) return ({ init, target }) => fetch(target, init)
  // Configuration names it, so no type knows it. What is there may be anything.
  const bound = (c.env as unknown as Readonly<Record<string, unknown>>)[binding]
  return isFetcher(bound) ? ({ init, target }) => bound.fetch(target, init) : undefined
}

function isFetcher(bound: unknown): bound is Fetcher {
  return typeof bound === "object" && bound !== null && typeof (bound as Partial<Fetcher>).fetch === "function"
}

/** Answers in the place of an origin that did not. */
function answerFailure(
  c: GatewayContext,
  { timeoutMs }: Origin,
  { cause, error }: Extract<Exchanged, { readonly kind: "failed" }>,
): Response {
  switch (cause) {
    case "too-large":
      return refuse(c, "body-too-large", { reason: "chunked" })
    case "late":
      return refuse(c, "origin-timeout", { reason: `no_answer_in_${timeoutMs}_ms` })
    case "caller-gone":
      c.get("exchange").outcome = "aborted"
      c.get("exchange").reason = "client_gone"
      return new Response(null, { status: CLIENT_CLOSED_REQUEST })
    case "unreachable":
      return refuse(c, "origin-unreachable", { reason: error instanceof Error ? error.message : "fetch_failed" })
  }
}

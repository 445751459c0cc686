/**
 * Stage `origin`: forwards the request once and hands the answer back, both as streams.
 *
 * What the two messages are made of is `src/origin/`. How each request ended is told to the register of the origins' health,
 * by the rule of `core/origin-health.ts`. An origin that asks for assertions gets no request without one.
 */
import { required, type Gateway, type StageHandler } from "../context.ts"
import { RETRY_AFTER_SECONDS_DEFAULT } from "../core/bounds.ts"
import { isContentUnexpected } from "../core/forwarding.ts"
import { classifyOriginAnswer, type OriginAnswer } from "../core/origin-health.ts"
import { chosenProtocol, handshakeFields } from "../core/websocket.ts"
import { signAssertion } from "../origin/assertion.ts"
import { createGatewayFields, createOriginRequest } from "../origin/request.ts"
import { createCallerResponse, createSwitchingResponse } from "../origin/response.ts"
import { openBridge } from "../origin/websocket.ts"
import { refuse } from "../reply.ts"

/** nginx's status for a caller that left; only the event ever shows it. */
const CLIENT_CLOSED_REQUEST = 499

/**
 * Octets as they came, also when the answer is read on its way: decoded and encoded again they would be others. As a member
 * of the request it has no effect.
 */
const AS_ENCODED = { encodeResponseBody: "manual" } as const

/** Returns the stage. */
export function createOriginStage({ assertionKeys, config, nowMs, originHealth }: Gateway): StageHandler {
  return async function origin(c) {
    const { exchange } = c.var
    const { action } = required(exchange.route, "route")
    if (action.kind !== "forward") throw new Error("Stage order broken: a respond route reached the origin stage")
    const { body, headers, method } = c.req.raw
    if (body !== null && isContentUnexpected(method, headers.get("content-length")))
      return refuse(c, "malformed-request", { reason: "content_not_expected" })
    const assertion = await signAssertion(exchange, action.origin, method, assertionKeys, config.version, nowMs)
    if (assertion?.ok === false) {
      return refuse(c, "service-unavailable", {
        reason: assertion.reason,
        fields: [["Retry-After", String(RETRY_AFTER_SECONDS_DEFAULT)]],
      })
    }
    const offered = exchange.upgrade?.kind === "accepted" ? exchange.upgrade.protocols : []
    const handshake = exchange.upgrade === undefined ? [] : handshakeFields(offered)
    const deadline = new AbortController()
    const caller = c.req.raw.signal
    const request = createOriginRequest(
      c.req.raw,
      exchange,
      action.origin,
      action.forwardHeaders,
      [...createGatewayFields(c.req.raw, exchange, action.origin, config, assertion?.text), ...handshake],
      // The caller's departure ends the call of the origin, too.
      AbortSignal.any([caller, deadline.signal]),
    )
    const startedMs = nowMs()
    const recordEnd = (answer: OriginAnswer): void => {
      const endedMs = nowMs()
      exchange.originMs = endedMs - startedMs
      originHealth.record(action.origin.name, classifyOriginAnswer(answer), startedMs, endedMs)
    }
    let isLate = false
    const timer = setTimeout(() => {
      isLate = true
      deadline.abort()
    }, action.origin.timeoutMs)
    try {
      const answer = await fetch(request, AS_ENCODED)
      const { webSocket } = answer
      const protocol =
        webSocket === null ? undefined : chosenProtocol(answer.headers.get("sec-websocket-protocol"), offered)
      if (protocol === null) throw new Error("websocket_protocol_not_offered")
      recordEnd({ status: answer.status, isAborted: false })
      exchange.outcome = "forwarded"
      // Only an origin that says so switches; every other answer to a handshake is an answer like any other.
      if (webSocket === null) return createCallerResponse(answer)
      const terms = required(action.webSocket, "webSocket")
      const { client, socket } = openBridge(webSocket, { terms, rechecks: exchange.rechecks ?? [], nowMs })
      exchange.socket = socket
      return createSwitchingResponse(answer, protocol, client)
    } catch (error) {
      const problem = isLate ? "origin-timeout" : "origin-unreachable"
      recordEnd({ problem, status: null, isAborted: !isLate && caller.aborted })
      if (isLate) return refuse(c, "origin-timeout", { reason: `no_answer_in_${action.origin.timeoutMs}_ms` })
      if (caller.aborted) {
        exchange.outcome = "aborted"
        exchange.reason = "client_gone"
        return new Response(null, { status: CLIENT_CLOSED_REQUEST })
      }
      return refuse(c, "origin-unreachable", { reason: error instanceof Error ? error.message : "fetch_failed" })
    } finally {
      clearTimeout(timer)
    }
  }
}

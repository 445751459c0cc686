/**
 * Stage `origin`: forwards the request once and hands the answer back, both as streams.
 *
 * Which fields pass is `core/forwarding.ts`. The URL is built by joining the origin's fixed base with a path that the
 * `target` stage has made canonical: it starts with exactly one slash and holds no backslash, so it can change neither
 * host nor scheme. Redirects are the caller's to follow, and no answer is ever stored. How each request ended is told to
 * the register of the origins' health, by the rule of `core/origin-health.ts`.
 */
import type { Origin } from "../config/config.ts"
import { required, type Exchange, type Gateway, type StageHandler } from "../context.ts"
import {
  gatewayFields,
  isContentless,
  isContentUnexpected,
  isRequestFieldForwarded,
  isResponseFieldForwarded,
  parseConnection,
  variesOnCertificate,
} from "../core/forwarding.ts"
import { formatForwardedNode, formatIpAddress, parseIpAddress } from "../core/ip-address.ts"
import { classifyOriginAnswer, type OriginAnswer } from "../core/origin-health.ts"
import { formatTraceparent } from "../core/trace-context.ts"
import { refuse } from "../reply.ts"

/** nginx's status for a caller that left; only the event ever shows it. */
const CLIENT_CLOSED_REQUEST = 499

/**
 * Octets as they came, also when the answer is read on its way: decoded and encoded again they would be others. As a member
 * of the request it has no effect.
 */
const AS_ENCODED = { encodeResponseBody: "manual" } as const

/** Returns the stage. */
export function createOriginStage({ config, nowMs, originHealth }: Gateway): StageHandler {
  return async function origin(c) {
    const { exchange } = c.var
    const route = required(exchange.route, "route")
    const { action } = route
    if (action.kind !== "forward") throw new Error("Stage order broken: a respond route reached the origin stage")
    const { body, headers, method } = c.req.raw
    if (body !== null && isContentUnexpected(method, headers.get("content-length")))
      return refuse(c, "malformed-request", { reason: "content_not_expected" })
    const deadline = new AbortController()
    const caller = c.req.raw.signal
    const request = createOriginRequest(
      c.req.raw,
      exchange,
      action.origin,
      action.forwardHeaders,
      route.token === undefined || route.token.isForwarded,
      config.via,
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
      const response = createResponse(await fetch(request, AS_ENCODED))
      recordEnd({ status: response.status, isAborted: false })
      exchange.outcome = "forwarded"
      return response
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

function createOriginRequest(
  inbound: Request,
  exchange: Exchange,
  origin: Origin,
  allowed: ReadonlySet<string> | undefined,
  forwardsAuthorization: boolean,
  pseudonym: string,
  signal: AbortSignal,
): Request {
  const { url } = origin
  const target = `${url.scheme}://${url.authority}${url.path}${required(exchange.path, "path")}${exchange.query ?? ""}`
  const request = new Request(target, {
    method: inbound.method,
    headers: inbound.headers,
    body: isContentless(inbound.method) ? null : inbound.body,
    redirect: "manual",
    // What `cache: "no-store"` means to the platform, without the Cache-Control and Pragma that it would add to the request.
    cf: { cacheTtl: -1, cacheLevel: "bypass" },
    signal,
  })
  const nominated = parseConnection(inbound.headers.get("connection"))
  for (const name of inbound.headers.keys()) {
    // The origin's own host follows from the URL; the caller's is in X-Forwarded-Host.
    if (name === "host" || !isRequestFieldForwarded(name, nominated, allowed)) request.headers.delete(name)
  }
  // A token that was meant for the gateway ends here: whoever logs it behind us could present it.
  if (!forwardsAuthorization) request.headers.delete("authorization")
  const address = parseIpAddress(inbound.headers.get("cf-connecting-ip") ?? "")
  const fields = gatewayFields({
    requestId: exchange.requestId,
    clientId: required(exchange.client, "client").id,
    clientCertificate: required(exchange.certificate, "certificate").rfc9440,
    clientAddress: address && formatIpAddress(address),
    forwardedNode: address && formatForwardedNode(address),
    host: required(exchange.host, "host"),
    traceparent: formatTraceparent(exchange.trace),
    tracestate: exchange.trace.tracestate,
    via: inbound.headers.get("via"),
    pseudonym,
  })
  for (const [name, value] of fields) request.headers.set(name, value)
  return request
}

/** Returns the origin's answer with fields that may be changed, without those that end at the gateway. */
function createResponse(answer: Response): Response {
  const { headers, status, statusText } = answer
  const response = new Response(answer.body, { headers, status, statusText, encodeBody: "manual" })
  const nominated = parseConnection(answer.headers.get("connection"))
  for (const name of answer.headers.keys()) {
    if (!isResponseFieldForwarded(name, nominated)) response.headers.delete(name)
  }
  if (variesOnCertificate(answer.headers.get("vary"))) response.headers.set("Vary", "*")
  return response
}

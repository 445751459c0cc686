/**
 * Stage `origin`: forwards the request once and hands the answer back, both as streams.
 *
 * Which fields pass is `core/forwarding.ts`. The URL is built by joining the origin's fixed base with a path that the
 * `target` stage has made canonical: it starts with exactly one slash and holds no backslash, so it can change neither
 * host nor scheme. Redirects are the caller's to follow, and no answer is ever stored. How each request ended is told to
 * the register of the origins' health, by the rule of `core/origin-health.ts`. An origin that asks for assertions gets no
 * request without one.
 */
import type { Config, Origin } from "../config/config.ts"
import {
  required,
  type AssertionKeys,
  type Exchange,
  type Gateway,
  type KeyResult,
  type StageHandler,
} from "../context.ts"
import { RETRY_AFTER_SECONDS_DEFAULT } from "../core/bounds.ts"
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
import { assertionClaims, signedQuery } from "../core/gateway-assertion.ts"
import { classifyOriginAnswer, type OriginAnswer } from "../core/origin-health.ts"
import { formatTraceparent } from "../core/trace-context.ts"
import { formatXfcc } from "../core/xfcc.ts"
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
    const assertion = await assert(exchange, action.origin, method, assertionKeys, config.version, nowMs)
    if (assertion?.ok === false) {
      return refuse(c, "service-unavailable", {
        reason: assertion.reason,
        fields: [["Retry-After", String(RETRY_AFTER_SECONDS_DEFAULT)]],
      })
    }
    const deadline = new AbortController()
    const caller = c.req.raw.signal
    const request = createOriginRequest(
      c.req.raw,
      exchange,
      action.origin,
      action.forwardHeaders,
      createGatewayFields(c.req.raw, exchange, action.origin, config, assertion?.text),
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
  fields: readonly (readonly [name: string, value: string])[],
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
  for (const [name, value] of fields) request.headers.set(name, value)
  return request
}

/** Returns the signed assertion about this request, why there is none, or undefined when the origin asks for none. */
async function assert(
  exchange: Exchange,
  { assertion }: Origin,
  method: string,
  keys: AssertionKeys | undefined,
  configVersion: string,
  nowMs: () => number,
): Promise<KeyResult | undefined> {
  if (assertion === undefined) return undefined
  const query = signedQuery(exchange.query ?? "")
  const queryDigest = query === undefined ? undefined : await crypto.subtle.digest("SHA-256", encoder.encode(query))
  const claims = assertionClaims(
    {
      ...assertion,
      clientId: required(exchange.client, "client").id,
      // What a token of the request grants stands here once a stage in front of this one reads tokens.
      scopes: undefined,
      certificateFingerprint: required(exchange.certificate, "certificate").fingerprint,
      requestId: exchange.requestId,
      method,
      host: required(exchange.host, "host"),
      path: required(exchange.path, "path"),
      queryDigest: queryDigest && new Uint8Array(queryDigest),
      configVersion,
    },
    nowMs(),
  )
  return required(keys, "assertionKeys").sign(claims)
}
const encoder = new TextEncoder()

function createGatewayFields(
  inbound: Request,
  exchange: Exchange,
  { clientCert }: Origin,
  config: Config,
  assertion: string | undefined,
): ReturnType<typeof gatewayFields> {
  const address = parseIpAddress(inbound.headers.get("cf-connecting-ip") ?? "")
  const certificate = required(exchange.certificate, "certificate")
  return gatewayFields({
    requestId: exchange.requestId,
    clientId: required(exchange.client, "client").id,
    clientCertificate: clientCert === "rfc9440" || clientCert === "both" ? certificate.rfc9440 : undefined,
    xfcc: clientCert === "xfcc" || clientCert === "both" ? formatXfcc(certificate) : undefined,
    assertion,
    clientAddress: address && formatIpAddress(address),
    forwardedNode: address && formatForwardedNode(address),
    host: required(exchange.host, "host"),
    traceparent: formatTraceparent(exchange.trace),
    tracestate: exchange.trace.tracestate,
    via: inbound.headers.get("via"),
    pseudonym: config.via,
  })
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

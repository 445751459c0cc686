/**
 * Stage `client-gate`: asks the client's own object for admission, and gives back what a request holds while it runs.
 *
 * The rule is `core/admission.ts`, inside the object; what a call of the object can do wrong is `client-object.ts`, and
 * when it is not known what the object said, the request is refused. A place among the requests that run at once is given
 * back when the answer has reached the caller; should that fail, it ends by itself.
 */
import { callClientObject } from "../client-object.ts"
import type { ConfiguredClient, Route } from "../config/config.ts"
import { required, type Gateway, type GatewayContext, type StageHandler } from "../context.ts"
import type { AdmissionDecision, AdmissionRequest } from "../core/admission.ts"
import { RETRY_AFTER_SECONDS_DEFAULT } from "../core/bounds.ts"
import { formatHex } from "../core/hex.ts"
import { limitsFor } from "../core/limit-set.ts"
import type { NamedLimit } from "../core/limit.ts"
import type { ProblemCode } from "../core/problem.ts"
import {
  formatRateLimit,
  formatRateLimitPolicy,
  formatRateLimitShadow,
  formatRetryAfter,
} from "../core/ratelimit-fields.ts"
import { refuse } from "../reply.ts"

/** What is refused, by the kind of the limit that decides how long. */
const CODES: Readonly<Record<NamedLimit["kind"], ProblemCode>> = {
  bucket: "rate-limited",
  quota: "quota-exceeded",
  concurrency: "concurrency-exceeded",
}

/** Returns the stage. */
export function createClientGateStage({ fillRandom }: Gateway): StageHandler {
  const limitsOf = createLimitCache()
  return async function clientGate(c, next) {
    const { exchange } = c.var
    const route = required(exchange.route, "route")
    if (route.limitSets.length === 0) return next()
    const client = required(exchange.client, "client")
    const limits = limitsOf(route, client)
    // Minted here: under an id that callers may choose, all their requests would share one place.
    const leaseId = limits.some(({ kind }) => kind === "concurrency")
      ? formatHex(fillRandom(new Uint8Array(16)))
      : undefined
    const request: AdmissionRequest = { limits, cost: route.cost, ...(leaseId === undefined ? {} : { leaseId }) }
    const asked = await callClientObject(c, client.id, async (gate): Promise<AdmissionDecision> => gate.admit(request))
    if ("failure" in asked) {
      // The object may have admitted before its answer was lost. One that is overloaded has not, and is left alone.
      if (leaseId !== undefined && !asked.overloaded) giveBack(c, client.id, leaseId)
      return refuseUnknown(c, asked.failure, asked.overloaded)
    }
    exchange.admission = asked.answer
    const refusal = asked.answer.admitted ? undefined : refuseLimited(c, asked.answer)
    if (refusal !== undefined) c.res = refusal
    else if (leaseId === undefined) await next()
    else await hold(c, next, () => giveBack(c, client.id, leaseId))
    setFields(c, asked.answer)
    return undefined
  }
}

/** Returns a function that works out the limits of a client on a route once: there are as many answers as pairs of them. */
function createLimitCache(): (route: Route, client: ConfiguredClient) => readonly NamedLimit[] {
  const cache = new WeakMap<Route, WeakMap<ConfiguredClient, readonly NamedLimit[]>>()
  return (route, client) => {
    const known = cache.get(route)?.get(client)
    if (known !== undefined) return known
    const limits = limitsFor(route.limitSets, client)
    cache.set(route, (cache.get(route) ?? new WeakMap()).set(client, limits))
    return limits
  }
}

/** Lets the request go on, and calls `release` exactly once: when its answer has been delivered or never will be. */
async function hold(c: GatewayContext, next: () => Promise<void>, release: () => void): Promise<void> {
  let isHeld = true
  const releaseOnce = (): void => {
    if (isHeld) release()
    isHeld = false
  }
  const caller = c.req.raw.signal
  caller.addEventListener("abort", releaseOnce, { once: true })
  let isStreaming = false
  try {
    await next()
    // What the gateway answers by itself is written at once. Of HEAD there is nothing to deliver.
    const { body, headers, status, statusText } = c.res
    if (c.var.exchange.outcome !== "forwarded" || body === null || c.req.raw.method === "HEAD") return
    const { readable, writable } = createPassage(headers)
    // The octets are the origin's own: what it encoded is not encoded again.
    const answer = new Response(readable, { headers, status, statusText, encodeBody: "manual" })
    // Hono merges a second answer into the first one; this one is the first with another body.
    c.res = undefined
    c.res = answer
    isStreaming = true
    const delivered = body.pipeTo(writable).then(releaseOnce, releaseOnce)
    // Without this the platform would drop the pipe with the caller, and nobody would be told.
    c.executionCtx.waitUntil(delivered)
  } finally {
    if (!isStreaming || caller.aborted) releaseOnce()
  }
}

/** Returns a stream that hands octets on as they are. A length that the origin announced stays announced. */
function createPassage(headers: Headers): TransformStream<Uint8Array, Uint8Array> {
  const length = headers.get("content-length") ?? ""
  return /^[0-9]{1,15}$/.test(length) ? new FixedLengthStream(Number(length)) : new IdentityTransformStream()
}

/** Tells the object that a request is over. Nobody waits for it; when it fails, the lease ends by itself. */
function giveBack(c: GatewayContext, clientId: string, leaseId: string): void {
  c.executionCtx.waitUntil(callClientObject(c, clientId, async (gate) => gate.release(leaseId)))
}

function refuseLimited(c: GatewayContext, decision: Extract<AdmissionDecision, { admitted: false }>): Response {
  // A request that the object finds out of range is the configuration's fault, not the client's.
  if (decision.reason === "invalid-request") return refuse(c, "internal-error", { reason: "admission_invalid_request" })
  return refuse(c, CODES[decision.refusedBy], {
    reason: decision.lost.length > 0 ? "limit_state_lost" : "limit",
    violatedPolicies: decision.violated,
    fields: decision.retryAfterMs === null ? [] : [["Retry-After", formatRetryAfter(decision.retryAfterMs)]],
  })
}

function refuseUnknown(c: GatewayContext, reason: string, overloaded: boolean): Response {
  return refuse(c, "service-unavailable", {
    reason,
    overloaded,
    fields: [["Retry-After", String(RETRY_AFTER_SECONDS_DEFAULT)]],
  })
}

function setFields(c: GatewayContext, { policies, shadowPolicies, shadowed }: AdmissionDecision): void {
  const advertised = [...policies, ...shadowPolicies]
  const fields = {
    "RateLimit-Policy": formatRateLimitPolicy(advertised),
    RateLimit: formatRateLimit(advertised),
    "RateLimit-Shadow": formatRateLimitShadow(shadowed),
  }
  for (const [name, value] of Object.entries(fields)) if (value !== undefined) c.res.headers.set(name, value)
}

/**
 * Stage `client-gate`: asks the client's own object for admission, and gives back what a request holds while it runs.
 *
 * The rule is `core/admission.ts`, inside the object. This stage knows what an object call can do wrong: it waits a bounded
 * time, repeats on one fresh stub where that is safe, and refuses when it does not know. A place among the requests that
 * run at once is given back when the answer has reached the caller; should that fail, it ends by itself.
 */
import type { ConfiguredClient, Route } from "../config/config.ts"
import { required, type Gateway, type GatewayContext, type StageHandler } from "../context.ts"
import type { AdmissionDecision, AdmissionRequest } from "../core/admission.ts"
import { CLIENT_GATE_TIMEOUT_MS, RETRY_AFTER_SECONDS_DEFAULT } from "../core/bounds.ts"
import { formatHex } from "../core/hex.ts"
import { limitsFor } from "../core/limit-set.ts"
import type { NamedLimit } from "../core/limit.ts"
import { decideObjectError } from "../core/object-error.ts"
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
    const asked = await callObject(c, client.id, async (gate): Promise<AdmissionDecision> => gate.admit(request))
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
  c.executionCtx.waitUntil(callObject(c, clientId, async (gate) => gate.release(leaseId)))
}

type Asked<T> = { readonly answer: T } | { readonly failure: string; readonly overloaded: boolean }
type Gate = ReturnType<Env["CLIENT_GATE"]["getByName"]>

async function callObject<T>(c: GatewayContext, clientId: string, call: (gate: Gate) => Promise<T>): Promise<Asked<T>> {
  for (let attempt = 1; ; attempt++) {
    try {
      // A fresh stub each time: after a reset the old one keeps failing.
      const answer = await withDeadline(call(c.env.CLIENT_GATE.getByName(clientId)), CLIENT_GATE_TIMEOUT_MS)
      return answer === LATE ? { failure: "object_timeout", overloaded: false } : { answer }
    } catch (error) {
      const { retry, overloaded, reason } = decideObjectError(error, attempt)
      if (!retry) return { failure: reason, overloaded }
    }
  }
}

const LATE = Symbol("late")

/** Returns what the promise gives, or LATE. A late answer of the object is dropped; its tokens are lost, never doubled. */
async function withDeadline<T>(promise: Promise<T>, timeoutMs: number): Promise<T | typeof LATE> {
  let timer: number | null = null
  try {
    return await Promise.race([
      promise,
      new Promise<typeof LATE>((resolve) => {
        timer = setTimeout(() => resolve(LATE), timeoutMs)
      }),
    ])
  } finally {
    clearTimeout(timer)
  }
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

/**
 * Stage `client-gate`: asks the client's own object for admission.
 *
 * The rule is `core/admission.ts`, inside the object. This stage knows what an object call can do wrong: it waits a bounded
 * time, repeats on one fresh stub where that is safe, and refuses when it does not know.
 */
import { required, type GatewayContext, type StageHandler } from "../context.ts"
import type { AdmissionDecision, AdmissionRequest } from "../core/admission.ts"
import { CLIENT_GATE_TIMEOUT_MS, RETRY_AFTER_SECONDS_DEFAULT } from "../core/bounds.ts"
import { decideObjectError } from "../core/object-error.ts"
import { formatRateLimit, formatRateLimitPolicy, formatRetryAfter } from "../core/ratelimit-fields.ts"
import { refuse } from "../reply.ts"

/** Returns the stage. */
export function createClientGateStage(): StageHandler {
  return async function clientGate(c, next) {
    const { exchange } = c.var
    const { limit, cost } = required(exchange.route, "route")
    if (limit === undefined) return next()
    const client = required(exchange.client, "client")
    const request: AdmissionRequest = {
      limits: [{ kind: "bucket", name: limit.name, burst: limit.burst, rate: limit.rate }],
      cost,
    }
    const asked = await askObject(c, client.id, request)
    if ("failure" in asked) return refuseUnknown(c, asked.failure, asked.overloaded)
    exchange.admission = asked.decision
    const refusal = asked.decision.admitted ? undefined : refuseLimited(c, asked.decision)
    if (refusal === undefined) await next()
    else c.res = refusal
    setFields(c, asked.decision)
    return undefined
  }
}

type Asked = { readonly decision: AdmissionDecision } | { readonly failure: string; readonly overloaded: boolean }

async function askObject(c: GatewayContext, clientId: string, request: AdmissionRequest): Promise<Asked> {
  for (let attempt = 1; ; attempt++) {
    try {
      // A fresh stub each time: after a reset the old one keeps failing.
      const answer: Promise<AdmissionDecision> = Promise.resolve(c.env.CLIENT_GATE.getByName(clientId).admit(request))
      const decision = await withDeadline(answer, CLIENT_GATE_TIMEOUT_MS)
      return decision === "late" ? { failure: "object_timeout", overloaded: false } : { decision }
    } catch (error) {
      const { retry, overloaded, reason } = decideObjectError(error, attempt)
      if (!retry) return { failure: reason, overloaded }
    }
  }
}

/** Returns what the promise gives, or "late". A late answer of the object is dropped; its tokens are lost, never doubled. */
async function withDeadline<T>(promise: Promise<T>, timeoutMs: number): Promise<T | "late"> {
  let timer: number | null = null
  try {
    return await Promise.race([
      promise,
      new Promise<"late">((resolve) => {
        timer = setTimeout(() => resolve("late"), timeoutMs)
      }),
    ])
  } finally {
    clearTimeout(timer)
  }
}

function refuseLimited(c: GatewayContext, decision: Extract<AdmissionDecision, { admitted: false }>): Response {
  // A request that the object finds out of range is the configuration's fault, not the client's.
  if (decision.reason === "invalid-request") return refuse(c, "internal-error", { reason: "admission_invalid_request" })
  return refuse(c, "rate-limited", {
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

function setFields(c: GatewayContext, decision: AdmissionDecision): void {
  const policy = formatRateLimitPolicy(decision.policies)
  const limit = formatRateLimit(decision.policies)
  if (policy !== undefined) c.res.headers.set("RateLimit-Policy", policy)
  if (limit !== undefined) c.res.headers.set("RateLimit", limit)
}

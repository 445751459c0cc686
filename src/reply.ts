/**
 * From a refusal to bytes: the only place of the Worker where that happens.
 */
import type { GatewayContext } from "./context.ts"
import { RETRY_AFTER_SECONDS_DEFAULT } from "./core/bounds.ts"
import { createProblem, PROBLEM_FIELDS, type ProblemCode, type ProblemOptions } from "./core/problem.ts"

/** What a stage may say about a refusal beside its code. */
export interface RefusalOptions extends ProblemOptions {
  /** Exact reason for the event; never sent. */
  readonly reason: string
  /** A status other than the code's usual one. */
  readonly status?: number
  /** Further fields, such as Allow or Retry-After. */
  readonly fields?: readonly (readonly [name: string, value: string])[]
}

/** Returns the answer to a refused request and notes the refusal for the event. A HEAD request gets the fields only. */
export function refuse(c: GatewayContext, code: ProblemCode, options: RefusalOptions): Response {
  const exchange = c.get("exchange")
  exchange.outcome = code === "internal-error" ? "failed" : "refused"
  exchange.problem = code
  exchange.reason = options.reason
  const problem = createProblem(code, exchange.requestId, options)
  const status = options.status ?? problem.status
  const headers = new Headers()
  for (const [name, value] of PROBLEM_FIELDS) headers.set(name, value)
  for (const [name, value] of options.fields ?? []) headers.set(name, value)
  return new Response(c.req.raw.method === "HEAD" ? null : JSON.stringify({ ...problem, status }), { status, headers })
}

/**
 * Returns the answer to a request that the gateway cannot decide on now: nothing is known against the client, and the next
 * attempt may find out.
 */
export function refuseUnavailable(
  c: GatewayContext,
  reason: string,
  { isOverloaded = false, retryAfterMs = null }: UnavailableTerms = {},
): Response {
  const seconds = retryAfterMs === null ? RETRY_AFTER_SECONDS_DEFAULT : Math.max(1, Math.ceil(retryAfterMs / 1_000))
  return refuse(c, "service-unavailable", {
    reason,
    overloaded: isOverloaded,
    fields: [["Retry-After", String(seconds)]],
  })
}

/** What is known of a refusal that may pass later. */
interface UnavailableTerms {
  /** The part that would decide has too much to do. */
  readonly isOverloaded?: boolean
  /** When to try again, in ms; null or absent where nobody knows. */
  readonly retryAfterMs?: number | null
}

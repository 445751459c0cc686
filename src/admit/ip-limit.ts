/**
 * Stage `ip-limit`: a coarse limit per address, counted by the platform before anything is known about the client.
 *
 * The rule is `core/limit/ip-limit.ts`. This stage waits a short, bounded time for the binding `IP_LIMIT`; without the binding it
 * passes, and what the binding gets wrong costs no request: it is noted for the event.
 */
import type { GatewayContext, StageHandler } from "../context.ts"
import { IP_LIMIT_PERIOD_SECONDS, IP_LIMIT_TIMEOUT_MS } from "../core/bounds.ts"
import { decideIpLimit, ipLimitKey, type IpLimitAsked } from "../core/limit/ip-limit.ts"
import { LATE, withDeadline } from "../deadline.ts"
import { refuse } from "../reply.ts"

/** Returns the stage. */
export function createIpLimitStage(): StageHandler {
  return function ipLimit(c, next) {
    const binding = c.env.IP_LIMIT
    return binding === undefined ? next() : limit(binding, c, next)
  }

  async function limit(binding: RateLimit, c: GatewayContext, next: () => Promise<void>): Promise<Response | void> {
    const asked = await askBinding(binding, ipLimitKey(c.req.raw.headers.get("cf-connecting-ip")))
    const decision = decideIpLimit(asked)
    if (decision === "refuse") {
      return refuse(c, "ip-rate-limited", {
        reason: "ip_limit",
        // The binding does not say when its period ends: only the whole of it is never too early.
        fields: [["Retry-After", String(IP_LIMIT_PERIOD_SECONDS)]],
      })
    }
    if (decision === "unavailable") c.get("exchange").ipLimit = "unavailable"
    return next()
  }
}

async function askBinding(binding: RateLimit, key: string): Promise<IpLimitAsked> {
  try {
    const answer: unknown = await withDeadline(binding.limit({ key }), IP_LIMIT_TIMEOUT_MS)
    return answer === LATE ? { kind: "late" } : { kind: "answered", answer }
  } catch {
    return { kind: "failed" }
  }
}

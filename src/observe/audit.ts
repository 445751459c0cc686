/**
 * Stage `audit`: on routes that require it, nothing reaches the origin that is not on the client's audit trail first, and no
 * answer leaves before its outcome is there, too.
 *
 * A trail that fails, is overloaded, full or silent refuses the request: the origin is not called. Once the origin has been
 * called there is nothing to refuse any more: an outcome that cannot be recorded at once is kept and recorded behind the
 * answer, and the event says so.
 */
import { required, type Gateway, type GatewayContext, type StageHandler } from "../context.ts"
import { refuse, refuseUnavailable } from "../reply.ts"
import type { AuditTrails } from "./audit-trails.ts"

/** Returns the stage. */
export function createAuditStage(_: Gateway, __: unknown, trails: AuditTrails): StageHandler {
  return function audit(c, next) {
    return required(c.get("exchange").route, "route").isAudited ? keep(c, next) : next()
  }

  async function keep(c: GatewayContext, next: () => Promise<void>): Promise<Response | void> {
    const exchange = c.get("exchange")
    required(exchange.client, "client")
    const begun = await trails.begin(c)
    if ("failure" in begun) return refuseUnavailable(c, begun.failure, begun)
    exchange.audit = "recorded"
    try {
      await next()
    } catch (error) {
      // The chain answers for thrown errors; whatever else is thrown would pass by the outcome.
      c.res = refuse(c, "internal-error", { reason: `threw_${typeof error}` })
    }
    await trails.end(c)
  }
}

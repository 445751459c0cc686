/**
 * Stage `identity`: which client a verified certificate belongs to.
 */
import type { Gateway, StageHandler } from "../context.ts"
import { decideIdentity } from "../core/identity.ts"
import { refuse } from "../reply.ts"

/** Returns the stage. */
export function createIdentityStage({ config }: Gateway): StageHandler {
  return async function identity(c, next) {
    const { exchange } = c.var
    if (exchange.certificate === undefined) return next()
    const decision = decideIdentity(config.directory, exchange.certificate)
    if (!decision.ok) {
      return refuse(c, decision.code, { reason: [decision.reason, ...decision.candidates].join(" ") })
    }
    exchange.client = decision.client
    return next()
  }
}

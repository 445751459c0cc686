/**
 * What is asked for, in the admin room: one of its hosts, a canonical path, and no web page of somebody else's asking.
 */
import type { AdminRoom } from "../config/config.ts"
import type { StageHandler } from "../context.ts"
import { isOwnPage } from "../core/admin.ts"
import { readHeaderSection } from "../core/message/header-section.ts"
import { decideTarget } from "../core/route/target.ts"
import { refuse } from "../reply.ts"

/** Returns the handler. */
export function createAdminTargetStage({ hosts }: AdminRoom): StageHandler {
  return async function adminTarget(c, next) {
    const { headers, url } = c.req.raw
    const section = readHeaderSection(headers)
    if (!section.ok) return refuse(c, section.code, { reason: section.reason })
    const hostField = section.fields.get("host") ?? null
    const decision = decideTarget({ hostField, url }, hosts)
    if (!decision.ok) return refuse(c, decision.code, { reason: decision.reason })
    if (!isOwnPage(section.fields.get("origin") ?? null, hostField ?? "")) {
      return refuse(c, "origin-not-allowed", { reason: "admin_of_another_page" })
    }
    const exchange = c.get("exchange")
    exchange.host = decision.host
    exchange.path = decision.path
    exchange.query = decision.query
    return next()
  }
}

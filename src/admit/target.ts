/**
 * Stage `target`: the host is one of ours, the path has one meaning, and no field says two things.
 *
 * The local edge has checked this before, Cloudflare has checked part of it; this stage assumes neither. workerd hands on
 * the target byte for byte and joins repeated fields with a comma; the rules are `core/route/target.ts` and
 * `core/message/header-section.ts`.
 */
import type { Gateway, StageHandler } from "../context.ts"
import { isLoop } from "../core/message/forwarding.ts"
import { readHeaderSection } from "../core/message/header-section.ts"
import { decideTarget } from "../core/route/target.ts"
import { refuse } from "../reply.ts"

/** Returns the stage. */
export function createTargetStage({ config }: Gateway): StageHandler {
  return function target(c, next) {
    const exchange = c.get("exchange")
    const { headers, url } = c.req.raw
    const section = readHeaderSection(headers)
    if (!section.ok) return refuse(c, section.code, { reason: section.reason })
    const { fields } = section
    const decision = decideTarget({ hostField: fields.get("host") ?? null, url }, config.hosts)
    if (!decision.ok) return refuse(c, decision.code, { reason: decision.reason })
    exchange.received = fields
    exchange.host = decision.host
    exchange.path = decision.path
    exchange.query = decision.query
    if (isLoop(fields.get("via") ?? null, config.via))
      return refuse(c, "malformed-request", { reason: "forwarding_loop" })
    return next()
  }
}

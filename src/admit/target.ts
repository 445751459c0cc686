/**
 * Stage `target`: the host is one of ours, the path has one meaning, and no field says two things.
 *
 * The local edge has checked this before, Cloudflare has checked part of it; this stage assumes neither. workerd hands on
 * the target byte for byte and joins repeated fields with a comma; the rules are `core/target.ts` and
 * `core/singleton-fields.ts`.
 */
import type { Gateway, StageHandler } from "../context.ts"
import { HEADER_BYTES_MAX, HEADER_COUNT_MAX } from "../core/bounds.ts"
import { isLoop } from "../core/forwarding.ts"
import { findRepeatedField } from "../core/singleton-fields.ts"
import { decideTarget } from "../core/target.ts"
import { refuse } from "../reply.ts"

/** Returns the stage. */
export function createTargetStage({ config }: Gateway): StageHandler {
  return async function target(c, next) {
    const { exchange } = c.var
    const { headers, url } = c.req.raw
    let count = 0
    let bytes = 0
    for (const [name, value] of headers) {
      count += 1
      bytes += name.length + value.length
    }
    if (count > HEADER_COUNT_MAX || bytes > HEADER_BYTES_MAX)
      return refuse(c, "headers-too-large", { reason: `${count}_fields_${bytes}_octets` })
    const repeated = findRepeatedField((name) => headers.get(name))
    if (repeated !== undefined) {
      return repeated === "host"
        ? refuse(c, "host-rejected", { reason: "host_repeated" })
        : refuse(c, "duplicate-header", { reason: repeated })
    }
    const decision = decideTarget({ hostField: headers.get("host"), url }, config.hosts)
    if (!decision.ok) return refuse(c, decision.code, { reason: decision.reason })
    exchange.host = decision.host
    exchange.path = decision.path
    exchange.query = decision.query
    if (isLoop(headers.get("via"), config.via)) return refuse(c, "malformed-request", { reason: "forwarding_loop" })
    return next()
  }
}

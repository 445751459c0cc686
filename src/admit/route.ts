/**
 * Stage `route`: which route a host, path and method belong to, and which path its origin gets. Unknown means no.
 *
 * The path is rewritten here and not where it is sent: what has no rewritten form is refused before anything is counted.
 */
import { required, type Gateway, type StageHandler } from "../context.ts"
import { rewritePath } from "../core/rewrite.ts"
import { matchHostRoute } from "../core/virtual-host.ts"
import { refuse } from "../reply.ts"

/** Returns the stage. */
export function createRouteStage({ config }: Gateway): StageHandler {
  return async function route(c, next) {
    const { exchange } = c.var
    const path = required(exchange.path, "path")
    const match = matchHostRoute(config.routeTable, required(exchange.host, "host"), c.req.raw.method, path)
    switch (match.kind) {
      case "found": {
        exchange.route = match.route
        const { action } = match.route
        if (action.kind !== "forward") return next()
        const rewritten = rewritePath(action.rewrite, match.route.match, path)
        if (!rewritten.ok) return refuse(c, "path-rejected", { reason: rewritten.reason })
        exchange.originPath = rewritten.path
        return next()
      }
      case "not-found":
        return refuse(c, "route-not-found", { reason: "no_route" })
      case "method-not-allowed":
        return refuse(c, "method-not-allowed", { reason: "method", fields: [["Allow", match.allow.join(", ")]] })
    }
  }
}

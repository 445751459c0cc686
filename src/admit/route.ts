/**
 * Stage `route`: which route a path and method belong to. Unknown means no.
 */
import { required, type Gateway, type StageHandler } from "../context.ts"
import { matchRoute } from "../core/route.ts"
import { refuse } from "../reply.ts"

/** Returns the stage. */
export function createRouteStage({ config }: Gateway): StageHandler {
  return async function route(c, next) {
    const { exchange } = c.var
    const match = matchRoute(config.routeTable, c.req.raw.method, required(exchange.path, "path"))
    switch (match.kind) {
      case "found":
        exchange.route = match.route
        return next()
      case "not-found":
        return refuse(c, "route-not-found", { reason: "no_route" })
      case "method-not-allowed":
        return refuse(c, "method-not-allowed", { reason: "method", fields: [["Allow", match.allow.join(", ")]] })
    }
  }
}

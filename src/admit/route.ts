/**
 * Stage `route`: which route a host, path and method belong to, and which path its origin gets. Unknown means no.
 *
 * The path is rewritten here and not where it is sent: what has no rewritten form is refused before anything is counted.
 */
import type { Route } from "../config/config.ts"
import { required, type Gateway, type GatewayContext, type StageHandler } from "../context.ts"
import { rewritePath } from "../core/route/rewrite.ts"
import { matchHostRoute } from "../core/route/virtual-host.ts"
import { decideUpgrade } from "../core/message/websocket.ts"
import { refuse } from "../reply.ts"

/** Returns the stage. */
export function createRouteStage({ config }: Gateway): StageHandler {
  return function route(c, next) {
    const exchange = c.get("exchange")
    const path = required(exchange.path, "path")
    const match = matchHostRoute(config.routeTable, required(exchange.host, "host"), c.req.raw.method, path)
    switch (match.kind) {
      case "found": {
        exchange.route = match.route
        noteUpgrade(c, match.route)
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

/** Notes that a request asks for a WebSocket. Whether it gets one is decided last: every stage has to let it pass first. */
function noteUpgrade(c: GatewayContext, { action }: Route): void {
  const received = required(c.get("exchange").received, "received")
  const upgrade = received.get("upgrade")
  if (upgrade === undefined) return
  const { cf, method } = c.req.raw
  const httpProtocol: unknown = cf?.["httpProtocol"]
  const decision = decideUpgrade(
    {
      method,
      httpProtocol: typeof httpProtocol === "string" ? httpProtocol : undefined,
      upgrade,
      version: received.get("sec-websocket-version") ?? null,
      key: received.get("sec-websocket-key") ?? null,
      protocols: received.get("sec-websocket-protocol") ?? null,
      hasContent: received.has("transfer-encoding") || (received.get("content-length") ?? "0") !== "0",
    },
    action.kind === "forward" ? action.webSocket : undefined,
  )
  if (decision.kind === "none") return
  c.get("exchange").upgrade = decision
  if (decision.kind === "accepted") c.get("exchange").rechecks = []
}

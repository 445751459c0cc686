/**
 * Stage `respond`: answers the routes that end at the gateway.
 */
import { required, type StageHandler } from "../context.ts"

/** Returns the stage. */
export function createRespondStage(): StageHandler {
  return async function respond(c, next) {
    const { exchange } = c.var
    const { action } = required(exchange.route, "route")
    if (action.kind !== "respond") return next()
    exchange.outcome = "answered"
    const isBodiless =
      action.status === 204 || action.status === 205 || action.status === 304 || c.req.raw.method === "HEAD"
    return new Response(isBodiless ? null : action.body, {
      status: action.status,
      headers: { "Content-Type": action.contentType, "Cache-Control": "no-store" },
    })
  }
}

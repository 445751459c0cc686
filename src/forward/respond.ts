/**
 * Stage `respond`: answers the routes that end at the gateway, among them the one that shows the public keys of assertions, and
 * what asks for a WebSocket where there is none: no origin ever sees such a request.
 */
import { required, type Gateway, type GatewayContext, type StageHandler } from "../context.ts"
import { JWKS_MAX_AGE_SECONDS } from "../core/bounds.ts"
import type { UpgradeRefusal } from "../core/message/websocket.ts"
import { refuse, refuseUnavailable } from "../reply.ts"

/** Returns the stage. */
export function createRespondStage({ assertionKeys }: Gateway): StageHandler {
  return function respond(c, next) {
    const exchange = c.get("exchange")
    const { action } = required(exchange.route, "route")
    if (exchange.upgrade?.kind === "refused") return refuseUpgrade(c, exchange.upgrade)
    switch (action.kind) {
      case "forward":
        return next()
      case "respond": {
        const isBodiless = action.status === 204 || action.status === 205 || action.status === 304
        return answer(c, action.status, isBodiless ? null : action.body, action.contentType, "no-store")
      }
      case "jwks":
        return publishKeys(c)
    }
  }

  async function publishKeys(c: GatewayContext): Promise<Response> {
    const keys = await required(assertionKeys, "assertionKeys").publish()
    if (!keys.ok) return refuseUnavailable(c, keys.reason)
    // Fresh long enough to be cheap, short enough that a rotation is not a matter of days.
    const caching = `public, max-age=${JWKS_MAX_AGE_SECONDS}`
    return answer(c, 200, keys.text, "application/jwk-set+json", caching)
  }
}

/** Refuses what is no handshake for this route. The version tells a client of another one what to come back with. */
function refuseUpgrade(c: GatewayContext, { code, reason }: UpgradeRefusal): Response {
  const fields = code === "upgrade-not-allowed" ? ([["Sec-WebSocket-Version", "13"]] as const) : []
  return refuse(c, code, { reason, fields })
}

function answer(
  c: GatewayContext,
  status: number,
  body: string | null,
  contentType: string,
  cacheControl: string,
): Response {
  c.get("exchange").outcome = "answered"
  return new Response(c.req.raw.method === "HEAD" ? null : body, {
    status,
    headers: { "Content-Type": contentType, "Cache-Control": cacheControl },
  })
}

/**
 * Stage `access-policy`: whether whoever is known now may do what the request asks for.
 *
 * Today that is the scopes of the token: all that the method of the route needs have to be granted. The rule is
 * `core/token/scope.ts`.
 */
import { required, type Gateway, type StageHandler } from "../context.ts"
import { formatChallenge } from "../core/token/bearer.ts"
import { missingScopes, scopesFor } from "../core/token/scope.ts"
import { refuse } from "../reply.ts"

/** Returns the stage. */
export function createAccessPolicyStage({ config }: Gateway): StageHandler {
  return function accessPolicy(c, next) {
    const exchange = c.get("exchange")
    const { token: asked } = required(exchange.route, "route")
    if (asked === undefined) return next()
    // Verified by the stage before; without it nothing is granted.
    const { scopes: granted } = required(exchange.token, "token")
    const scopes = scopesFor(asked.scopes, c.req.raw.method)
    const missing = scopes === undefined ? [] : missingScopes(scopes, granted)
    if (scopes !== undefined && missing.length === 0) return next()
    const challenge = formatChallenge(config.via, { error: "insufficient_scope", scopes: scopes ?? [] })
    return refuse(c, "insufficient-scope", {
      reason: `scope_missing ${missing.join(" ")}`,
      fields: [["WWW-Authenticate", challenge]],
    })
  }
}

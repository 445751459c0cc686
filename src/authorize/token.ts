/**
 * Stage `token`: an access token, on the routes that ask for one.
 *
 * It comes from the Authorization field (`core/token/bearer.ts`), is verified by its authorization server's keys
 * (`tokens/token-verifier.ts`), and may be used here and now by who presents it (`core/token/access-token.ts`): the last is
 * decided with every request, also for a token that is remembered. Every refusal of a token carries a challenge, which says
 * what kind of thing is wrong; the exact reason is in the event, the token never is.
 */
import type { Route } from "../config/config.ts"
import { required, type Gateway, type GatewayContext, type StageHandler } from "../context.ts"
import { decideUse } from "../core/token/access-token.ts"
import { decideBearer, formatChallenge, type BearerError } from "../core/token/bearer.ts"
import { HOLDS } from "../core/message/websocket.ts"
import type { ProblemCode } from "../core/problem.ts"
import { refuse, refuseUnavailable } from "../reply.ts"
import { createKeySets } from "../tokens/key-sets.ts"
import { createTokenVerifier } from "../tokens/token-verifier.ts"

/** Returns the stage. */
export function createTokenStage(gateway: Gateway): StageHandler {
  const { config, nowMs } = gateway
  const verifier = createTokenVerifier(createKeySets(gateway))

  return function token(c, next) {
    const { token: asked } = required(c.get("exchange").route, "route")
    return asked === undefined ? next() : check(c, asked, next)
  }

  async function check(
    c: GatewayContext,
    asked: NonNullable<Route["token"]>,
    next: () => Promise<void>,
  ): Promise<Response | void> {
    return (await decide(c, asked)) ?? next()
  }

  /** Returns the refusal, or undefined when the token is good. */
  async function decide(c: GatewayContext, { server }: NonNullable<Route["token"]>): Promise<Response | undefined> {
    const exchange = c.get("exchange")
    const bearer = decideBearer(c.req.raw.headers.get("authorization"), exchange.query ?? "")
    if (!bearer.ok) return challenge(c, bearer.code, bearer.reason, bearer.error)
    const verification = await verifier.verify(c, server, bearer.token)
    if (verification.kind === "unavailable") return refuseUnavailable(c, "token_keys_unavailable")
    if (verification.kind === "refused") return challenge(c, "token-invalid", verification.reason, "invalid_token")
    const { facts } = verification
    exchange.token = { ...facts, server: server.name }
    const presented = {
      fingerprint: required(exchange.certificate, "certificate").fingerprint,
      oauthClients: required(exchange.client, "client").oauthClients,
    }
    const use = decideUse(facts, server, { ...presented, nowMs: nowMs() })
    if (!use.ok) return challenge(c, use.code, use.reason, "invalid_token")
    // A socket outlives the handshake: its token has to be good as long as it is open.
    exchange.rechecks?.push({
      ask: () => {
        const again = decideUse(facts, server, { ...presented, nowMs: nowMs() })
        return again.ok ? HOLDS : { kind: "ended", reason: again.code.replaceAll("-", "_") }
      },
    })
    return undefined
  }

  function challenge(c: GatewayContext, code: ProblemCode, reason: string, error: BearerError | undefined): Response {
    return refuse(c, code, { reason, fields: [["WWW-Authenticate", formatChallenge(config.via, { error })]] })
  }
}

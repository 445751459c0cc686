/**
 * Who asks, in the admin room: nobody gets further without the administrators' secret or a verified token of Cloudflare Access.
 *
 * Without a secret to compare with there is no administrator, so the room is closed (503), whatever is shown. Both sides of the
 * comparison are digested first and compared in constant time. The exact reason of a refusal is in the event; what was shown is not.
 */
import type { AdminRoom } from "../config/config.ts"
import type { Gateway, GatewayContext, StageHandler } from "../context.ts"
import { decideUse } from "../core/token/access-token.ts"
import { readAdminSecret } from "../core/admin.ts"
import { decideBearer, formatChallenge, type BearerError } from "../core/token/bearer.ts"
import { refuse, refuseUnavailable } from "../reply.ts"
import { createKeySets } from "../tokens/key-sets.ts"
import { createTokenVerifier } from "../tokens/token-verifier.ts"

const encoder = new TextEncoder()
/** Access ties its tokens to no certificate and to no client of ours. */
const NOBODY = { fingerprint: "", oauthClients: new Set<string>() }

/** Returns the handler: it refuses, or it hands on. */
export function createCredentialsStage(gateway: Gateway, { access, tokenSecret }: AdminRoom): StageHandler {
  const { config, nowMs } = gateway
  const verifier = createTokenVerifier(createKeySets(gateway))

  return async function credentials(c, next) {
    return (await decide(c)) ?? next()
  }

  /** Returns the refusal, or undefined for an administrator. */
  async function decide(c: GatewayContext): Promise<Response | undefined> {
    const { headers } = c.req.raw
    const assertion = access === undefined ? null : headers.get("cf-access-jwt-assertion")
    if (assertion !== null) return decideAccess(c, assertion)
    if (tokenSecret === undefined) return challenge(c, "no_access_assertion", undefined)
    // Configuration names it, so no type knows it.
    const held = readAdminSecret((c.env as unknown as Readonly<Record<string, unknown>>)[tokenSecret])
    if (!held.ok) return refuseUnavailable(c, `${held.reason} ${tokenSecret}`)
    const bearer = decideBearer(headers.get("authorization"), c.get("exchange").query ?? "")
    if (!bearer.ok) return challenge(c, bearer.reason, bearer.error)
    if (await isSame(bearer.token, held.secret)) return undefined
    return challenge(c, "admin_token_wrong", "invalid_token")
  }

  async function decideAccess(c: GatewayContext, assertion: string): Promise<Response | undefined> {
    if (access === undefined) return challenge(c, "no_access_assertion", undefined)
    const verification = await verifier.verify(c, access, assertion)
    if (verification.kind === "unavailable") return refuseUnavailable(c, "access_keys_unavailable")
    if (verification.kind === "refused") return challenge(c, `access_${verification.reason}`, "invalid_token")
    const use = decideUse(verification.facts, access, { ...NOBODY, nowMs: nowMs() })
    return use.ok ? undefined : challenge(c, `access_${use.reason}`, "invalid_token")
  }

  function challenge(c: GatewayContext, reason: string, error: BearerError | undefined): Response {
    const fields = [["WWW-Authenticate", formatChallenge(`${config.via}-admin`, { error })]] as const
    return refuse(c, "admin-auth-required", { reason, fields })
  }
}

/** In constant time: digests are equally long, and none of them tells how much of a text was right. */
async function isSame(shown: string, secret: string): Promise<boolean> {
  const [a, b] = await Promise.all(
    [shown, secret].map(async (text) => crypto.subtle.digest("SHA-256", encoder.encode(text))),
  )
  return a !== undefined && b !== undefined && crypto.subtle.timingSafeEqual(a, b)
}

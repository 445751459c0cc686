/**
 * The admin room: hosts of its own, and at least one way to prove who one is. Pure; called by `config/load.ts`.
 */
import { TOKEN_CLOCK_TOLERANCE_MS_DEFAULT, TOKEN_KEYS_STALE_MS_DEFAULT, TOKEN_LIFETIME_MS_MAX } from "../core/bounds.ts"
import type { AdminRoom, AuthorizationServer } from "./config.ts"
import type { Report } from "./report.ts"
import type { Parsed } from "./schema.ts"

/** Returns the room; undefined when none is asked for. @param hosts those of the gateway */
export function resolveAdmin(
  admin: Parsed<"ADMIN"> | undefined,
  hosts: readonly string[],
  report: Report,
): AdminRoom | undefined {
  if (admin === undefined) return undefined
  for (const [index, host] of admin.hosts.entries())
    if (hosts.includes(host))
      report(`ADMIN.hosts[${index}]`, host, "a host that clients do not use: GATEWAY.hosts has it too")
  if (admin.token_secret === undefined && admin.access === undefined)
    report("ADMIN", undefined, "token_secret or access, or both: without either nobody could prove who they are")
  return {
    hosts: new Set(admin.hosts),
    tokenSecret: admin.token_secret,
    access: admin.access && accessServer(admin.access),
  }
}

/**
 * Cloudflare Access as an authorization server: signs with RS256, has its keys at a fixed path of the team, and lets sessions
 * last for up to a month.
 *
 * @see https://developers.cloudflare.com/cloudflare-one/access-controls/applications/http-apps/authorization-cookie/validating-json/
 */
function accessServer({ audience, team }: { readonly audience: string; readonly team: string }): AuthorizationServer {
  return {
    name: "access",
    jwksUrl: `${team}/cdn-cgi/access/certs`,
    staleMsMax: TOKEN_KEYS_STALE_MS_DEFAULT,
    guard: undefined,
    issuer: team,
    audience: { kind: "any", values: [audience] },
    algorithms: ["RS256"],
    types: ["jwt"],
    clockToleranceMs: TOKEN_CLOCK_TOLERANCE_MS_DEFAULT,
    lifetimeMsMax: TOKEN_LIFETIME_MS_MAX,
    isCertificateBound: false,
    clientClaim: null,
  }
}

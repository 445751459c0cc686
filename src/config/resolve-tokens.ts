/**
 * Authorization servers with their defaults, and what routes ask of tokens. Keys that contradict each other are errors. Pure;
 * called by `config/load.ts` and `config/resolve-routes.ts`.
 */
import { ACCESS_TOKEN_TYPE } from "../core/token/access-token.ts"
import {
  TOKEN_CLOCK_TOLERANCE_MS_DEFAULT,
  TOKEN_KEYS_STALE_MS_DEFAULT,
  TOKEN_LIFETIME_MS_DEFAULT,
} from "../core/bounds.ts"
import { METHODS } from "../core/route/route.ts"
import type { ScopesByMethod } from "../core/token/scope.ts"
import { createTokenGuard, TOKEN_OUTCOMES } from "../core/guard/token-guard.ts"
import type { AuthorizationServer, Guard, RouteToken } from "./config.ts"
import { nameList, type Report } from "./report.ts"
import type { Parsed } from "./schema.ts"

/** Returns an authorization server. The guard that counts bad tokens is the named one, none, or the built-in one. */
export function resolveAuthorizationServer(
  name: string,
  parsed: Parsed<"TOKEN">,
  known: { readonly guards: ReadonlyMap<string, Guard>; readonly guardNames: readonly string[] },
  report: Report,
): AuthorizationServer {
  return {
    name,
    issuer: parsed.issuer,
    jwksUrl: parsed.jwks_url,
    audience: parsed.audience,
    algorithms: parsed.algorithms ?? ["PS256", "ES256"],
    types: parsed.typ ?? [ACCESS_TOKEN_TYPE],
    clockToleranceMs: parsed.clock_tolerance ?? TOKEN_CLOCK_TOLERANCE_MS_DEFAULT,
    lifetimeMsMax: parsed.max_lifetime ?? TOKEN_LIFETIME_MS_DEFAULT,
    isCertificateBound: parsed.certificate_bound ?? true,
    clientClaim: parsed.client_claim === undefined ? "client_id" : parsed.client_claim,
    staleMsMax: parsed.max_stale ?? TOKEN_KEYS_STALE_MS_DEFAULT,
    guard: resolveGuard(name, parsed.guard, known, report),
  }
}

function resolveGuard(
  name: string,
  asked: string | null | undefined,
  { guards, guardNames }: Parameters<typeof resolveAuthorizationServer>[2],
  report: Report,
): Guard | undefined {
  if (asked === undefined) return createTokenGuard(name)
  if (asked === null) return undefined
  const place = `TOKENS.${name}.guard`
  if (!guardNames.includes(asked)) report(place, asked, nameList(guardNames, "GUARDS"))
  const guard = guards.get(asked)
  if (guard === undefined) return undefined
  if (guard.key.kind === "header") {
    // The field is the caller's to choose: every bad token would count for another one.
    report(place, asked, "a guard that counts by client or address: who presents a bad token chooses its other fields")
  }
  return { ...guard, outcomes: TOKEN_OUTCOMES }
}

/** What routes know of authorization servers. Names are as written. */
export interface KnownServers {
  readonly servers: ReadonlyMap<string, AuthorizationServer>
  readonly serverNames: readonly string[]
}

/** Returns what a route asks of a token; undefined when it asks for none, or when that is not known. */
export function resolveToken(
  place: string,
  route: Parsed<"ROUTE">,
  { servers, serverNames }: KnownServers,
  report: Report,
): RouteToken | undefined {
  const { client_certificate: clientCertificate, forward_token: isForwarded, scopes, token } = route
  if (token === undefined) {
    if (scopes !== undefined)
      report(`${place}.scopes`, asWritten(scopes), "no scopes without token: a token grants them")
    if (isForwarded !== undefined)
      report(`${place}.forward_token`, isForwarded, "no forward_token without token: Authorization is forwarded then")
    return undefined
  }
  if (clientCertificate === "none") {
    report(`${place}.token`, token, 'no token on a route with client_certificate = "none": nobody could be tied to it')
  }
  if (!serverNames.includes(token)) report(`${place}.token`, token, nameList(serverNames, "TOKENS"))
  checkForwarding(place, route, report)
  const resolved = resolveScopes(place, route, report)
  const server = servers.get(token)
  return server === undefined ? undefined : { server, scopes: resolved, isForwarded: isForwarded ?? false }
}

function checkForwarding(
  place: string,
  { forward_headers: forwardHeaders, forward_token: isForwarded, respond }: Parsed<"ROUTE">,
  report: Report,
): void {
  if (isForwarded !== undefined && respond !== undefined)
    report(`${place}.forward_token`, isForwarded, "no forward_token on a route that forwards nothing")
  if (forwardHeaders === undefined) return
  const isListed = forwardHeaders.includes("authorization")
  if (isForwarded === true && !isListed) {
    report(`${place}.forward_headers`, forwardHeaders, 'a list with "authorization": forward_token = true forwards it')
  }
  if (isForwarded !== true && isListed) {
    report(
      `${place}.forward_headers`,
      forwardHeaders,
      'a list without "authorization", or forward_token = true: the token ends here otherwise',
    )
  }
}

/** Every method of the route has its scopes; one that nobody thought of would need none. */
function resolveScopes(place: string, { methods = METHODS, scopes }: Parsed<"ROUTE">, report: Report): ScopesByMethod {
  if (scopes === undefined) return new Map(methods.map((method) => [method, []]))
  if (!isByMethod(scopes)) return new Map(methods.map((method) => [method, scopes]))
  for (const [method, asked] of scopes) {
    const isImplied = method === "HEAD" && (methods as readonly string[]).includes("GET")
    if (!(methods as readonly string[]).includes(method) && !isImplied)
      report(`${place}.scopes.${method}`, asked, `a method of this route: ${methods.join(", ")}`)
  }
  for (const method of methods) {
    const isImplied = method === "HEAD" && scopes.has("GET")
    if (!scopes.has(method) && !isImplied)
      report(
        `${place}.scopes.${method}`,
        undefined,
        `the scopes that ${method} needs: a list of scopes, or [] for none`,
      )
  }
  return scopes
}

type Scopes = NonNullable<Parsed<"ROUTE">["scopes"]>

function isByMethod(scopes: Scopes): scopes is ReadonlyMap<string, readonly string[]> {
  return scopes instanceof Map
}

function asWritten(scopes: Scopes): unknown {
  return isByMethod(scopes) ? Object.fromEntries(scopes) : scopes
}

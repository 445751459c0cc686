/**
 * Routes with their references resolved: what each matches, which sets of limits and guards apply, what it does. Keys that
 * contradict each other are errors, because a key without effect is a protection that somebody believes in. Pure; called by
 * `config/load.ts`.
 */
import { METHODS } from "../core/route/route.ts"
import { LOG_ALL } from "../core/record/sampling.ts"
import type { LimitSet } from "../core/limit/limit-set.ts"
import type { Guard, Origin, Route, RouteAction } from "./config.ts"
import { nameList, type Report } from "./report.ts"
import { resolveRouteIdempotency } from "./resolve-idempotency.ts"
import { reportMessagesWithoutOrigin, resolveMessages } from "./resolve-messages.ts"
import { ASSERTION_NEEDED } from "./resolve-origins.ts"
import { resolveHosts, resolveRewrite } from "./resolve-rewrite.ts"
import { resolveToken, type KnownServers } from "./resolve-tokens.ts"
import { resolveWebSocket } from "./resolve-websocket.ts"
import type { Parsed } from "./schema.ts"

/** What routes refer to. Names are as written, also of tables with errors of their own: no second error about those. */
export interface KnownNames extends KnownServers {
  readonly limitSets: ReadonlyMap<string, LimitSet>
  readonly guards: ReadonlyMap<string, Guard>
  readonly origins: ReadonlyMap<string, Origin>
  readonly limitNames: readonly string[]
  readonly guardNames: readonly string[]
  readonly originNames: readonly string[]
  /** Whether the configuration names keys of assertions, also when that table has errors of its own. */
  readonly hasAssertion: boolean
  /** Whether a sink takes audit trails, also when that sink has errors of its own. */
  readonly hasAuditSink: boolean
  /** How long keys are remembered, ms; undefined when the configuration names no secrets for their records. */
  readonly idempotencyTtlMs: number | undefined
  /** Hosts of the gateway; undefined when that table has errors of its own. */
  readonly hosts: readonly string[] | undefined
}

/** Returns the routes in their order; what contradicts itself or another route is reported. */
export function resolveRoutes(
  parsed: readonly (readonly [place: string, route: Parsed<"ROUTE">])[],
  known: KnownNames,
  report: Report,
): readonly Route[] {
  const routes = parsed.flatMap(([place, route]) => resolveRoute(place, route, known, report) ?? [])
  reportDuplicates(routes, report)
  return routes
}

function resolveRoute(place: string, route: Parsed<"ROUTE">, known: KnownNames, report: Report): Route | undefined {
  const matched = resolveMatch(place, route, report)
  const hosts = resolveHosts(place, route, known.hosts, report)
  const webSocket = resolveWebSocket(place, route, report)
  const idempotency = resolveRouteIdempotency(place, route, known.idempotencyTtlMs, report)
  const action = resolveAction(place, route, matched?.match, known, { webSocket, idempotency }, report)
  const limitSets = resolveLimits(place, route, known, report)
  const token = resolveToken(place, route, known, report)
  // Of a server with errors it is not known whether it has a guard.
  const mayBlock = route.token !== undefined && (token === undefined || token.server.guard !== undefined)
  const named = resolveGuards(place, route, mayBlock, known, report)
  const guards = withTokenGuard(place, named, token?.server.guard, report)
  const { audit = "off", expiry_header: tellsExpiry = false, jwks = false, soft: isSoft = false, respond } = route
  if (tellsExpiry && route.client_certificate === "none") {
    report(
      `${place}.expiry_header`,
      tellsExpiry,
      'no expiry_header on a route with client_certificate = "none": there is no certificate that could end',
    )
  }
  if (isSoft && (respond !== undefined || jwks)) {
    report(
      `${place}.soft`,
      isSoft,
      "no soft on a route that is answered here: it has no origin that could be unhealthy",
    )
  }
  const isAudited = audit === "required"
  if (isAudited) reportAudit(place, route, known.hasAuditSink, report)
  if (matched === undefined || action === undefined) return undefined
  return {
    ...matched,
    hosts,
    place,
    methods: route.methods ?? (jwks ? ["GET"] : METHODS),
    needsClientCertificate: route.client_certificate !== "none",
    limitSets,
    cost: route.cost ?? 1,
    guards,
    blockedStatus: route.blocked_status ?? 429,
    isSoft,
    token,
    tellsExpiry,
    isAudited,
    log: route.log ?? LOG_ALL,
    action,
  }
}

/** A trail that nobody takes would fill up and then refuse everything; where nothing is forwarded there is no intent. */
function reportAudit(place: string, { origin }: Parsed<"ROUTE">, hasSink: boolean, report: Report): void {
  const path = `${place}.audit`
  if (origin === undefined) report(path, "required", 'no audit = "required" on a route that forwards nothing')
  if (!hasSink)
    report(path, "required", 'no audit = "required" without a sink for it: SINKS needs one with takes = ["audit"]')
}

function resolveMatch(
  place: string,
  { path, prefix, regex }: Parsed<"ROUTE">,
  report: Report,
): Pick<Route, "match" | "label"> | undefined {
  const [matched, ...others] = [
    ...(path === undefined ? [] : [{ match: { kind: "exact", path } as const, label: path }]),
    ...(prefix === undefined
      ? []
      : [{ match: { kind: "prefix", path: prefix } as const, label: `${prefix.replace(/\/$/, "")}/**` }]),
    ...(regex === undefined ? [] : [{ match: { kind: "regex", ...regex } as const, label: `~ ${regex.source}` }]),
  ]
  if (matched !== undefined && others.length === 0) return matched
  report(place, { path, prefix, regex: regex?.source }, "exactly one of path, prefix and regex")
  return undefined
}

const NO_CLIENT = 'on a route with client_certificate = "none": there is no client to count'

/** Returns the limits of the route; without a client there is nobody to count, with one there has to be a limit. */
function resolveLimits(
  place: string,
  { client_certificate: clientCertificate, cost, limits }: Parsed<"ROUTE">,
  known: KnownNames,
  report: Report,
): readonly LimitSet[] {
  const names = nameList(known.limitNames, "LIMITS")
  if (clientCertificate === "none") {
    if (limits !== undefined) report(`${place}.limits`, limits, `no limits ${NO_CLIENT}`)
    if (cost !== undefined) report(`${place}.cost`, cost, `no cost ${NO_CLIENT}`)
    return []
  }
  if (limits === undefined) {
    report(`${place}.limits`, undefined, `the limits that each client has here: ${names}, or a list of them`)
    return []
  }
  return resolveNames(`${place}.limits`, limits, known.limitSets, known.limitNames, names, report)
}

/**
 * Returns the guards that the route names; `hasOther` when one applies that it does not name. One that counts by a field
 * needs an origin that is shown the field.
 */
function resolveGuards(
  place: string,
  {
    blocked_status: blockedStatus,
    client_certificate: clientCertificate,
    forward_headers: forwardHeaders,
    guard,
  }: Parsed<"ROUTE">,
  hasOther: boolean,
  known: KnownNames,
  report: Report,
): readonly Guard[] {
  if (guard === undefined) {
    if (blockedStatus !== undefined && !hasOther) {
      report(`${place}.blocked_status`, blockedStatus, "no blocked_status without guard: nobody is blocked here")
    }
    return []
  }
  if (clientCertificate === "none") {
    report(`${place}.guard`, guard, `no guard ${NO_CLIENT}`)
    return []
  }
  const names = nameList(known.guardNames, "GUARDS")
  const guards = resolveNames(`${place}.guard`, guard, known.guards, known.guardNames, names, report)
  for (const { key, name } of guards) {
    if (key.kind !== "header" || forwardHeaders === undefined || forwardHeaders.includes(key.name)) continue
    // What the origin never sees means nothing to it: a guesser would write another value with every guess.
    report(
      `${place}.forward_headers`,
      forwardHeaders,
      `a list with "${key.name}": the guard "${name}" counts by that field, so the origin has to be shown it`,
    )
  }
  return guards
}

/** Bad tokens are counted unasked. A guard in two roles would count what the other one calls neutral. */
function withTokenGuard(
  place: string,
  guards: readonly Guard[],
  tokenGuard: Guard | undefined,
  report: Report,
): readonly Guard[] {
  if (tokenGuard === undefined) return guards
  if (guards.some(({ name }) => name === tokenGuard.name)) {
    report(
      `${place}.guard`,
      tokenGuard.name,
      "a guard other than the one that counts bad tokens here already (TOKENS names it)",
    )
  }
  return [...guards, tokenGuard]
}

/** Returns what one name or a list of distinct names refers to. `accepted` says which names there are. */
function resolveNames<T>(
  place: string,
  asked: string | readonly string[],
  items: ReadonlyMap<string, T>,
  names: readonly string[],
  accepted: string,
  report: Report,
): readonly T[] {
  const list = typeof asked === "string" ? [asked] : asked
  return list.flatMap((name, index) => {
    const at = typeof asked === "string" ? place : `${place}[${index}]`
    if (!names.includes(name)) report(at, name, accepted)
    if (list.indexOf(name) < index) report(at, name, "a name that is not in the list already")
    return items.get(name) ?? []
  })
}

function resolveAction(
  place: string,
  route: Parsed<"ROUTE">,
  match: Route["match"] | undefined,
  known: KnownNames,
  { idempotency, webSocket }: Pick<Extract<RouteAction, { readonly kind: "forward" }>, "idempotency" | "webSocket">,
  report: Report,
): RouteAction | undefined {
  const {
    client_certificate: clientCertificate,
    forward_headers: forwardHeaders,
    jwks = false,
    origin: name,
    respond,
  } = route
  if (name !== undefined && clientCertificate === "none") {
    report(
      `${place}.client_certificate`,
      "none",
      '"required" on a route with an origin: only routes answered here (respond, jwks) may do without a certificate',
    )
  }
  if ([name !== undefined, respond !== undefined, jwks].filter(Boolean).length !== 1) {
    report(
      place,
      { origin: name, respond, jwks: route.jwks },
      `exactly one of origin (${nameList(known.originNames, "ORIGINS")}), respond and jwks = true`,
    )
    return undefined
  }
  if (name === undefined) reportMessagesWithoutOrigin(place, route, report)
  if (name === undefined && forwardHeaders !== undefined)
    report(`${place}.forward_headers`, forwardHeaders, "no forward_headers on a route that forwards nothing")
  if (name === undefined && route.rewrite !== undefined)
    report(`${place}.rewrite`, route.rewrite, "no rewrite on a route that forwards nothing")
  if (jwks) {
    if (!known.hasAssertion) report(`${place}.jwks`, jwks, `no jwks without ${ASSERTION_NEEDED}, whose keys it shows`)
    return { kind: "jwks" }
  }
  if (respond !== undefined) {
    const { status, body = "", content_type: contentType = "text/plain; charset=utf-8" } = respond
    if (body !== "" && [204, 205, 304].includes(status))
      report(`${place}.respond.body`, body, `no body: an answer with status ${status} has none`)
    return { kind: "respond", status, body, contentType }
  }
  const rewrite = resolveRewrite(place, route, match, report)
  if (rewrite !== undefined && route.location === "rewrite")
    report(
      `${place}.location`,
      route.location,
      'no "rewrite" on a route with rewrite: a redirect would have to lead to the path that the caller knows',
    )
  const origin = known.origins.get(name ?? "")
  if (origin === undefined) {
    if (!known.originNames.includes(name ?? "")) report(`${place}.origin`, name, nameList(known.originNames, "ORIGINS"))
    return undefined
  }
  return {
    kind: "forward",
    origin,
    forwardHeaders: forwardHeaders === undefined ? undefined : new Set(forwardHeaders),
    rewrite,
    webSocket,
    messages: resolveMessages(place, route, known.guards, report),
    idempotency,
  }
}

/** Two routes that match the same requests of one host contradict each other: the second would never see one. */
function reportDuplicates(routes: readonly Route[], report: Report): void {
  const placeOf = new Map<string, string>()
  for (const { hosts = [""], label, match, methods, place } of routes) {
    const keys = methods.flatMap((method) => hosts.map((host) => ({ method, host })))
    const pattern = `${match.kind} ${match.kind === "regex" ? match.source : match.path}`
    const clash = keys.find(({ host, method }) => (placeOf.get(`${method} ${host} ${pattern}`) ?? place) !== place)
    if (clash !== undefined) {
      const { host, method } = clash
      const taken = placeOf.get(`${method} ${host} ${pattern}`) ?? ""
      const what = host === "" ? "path and method" : "host, path and method"
      report(place, `${method} ${host}${label}`, `a ${what} that no other route has; ${taken} has them already`)
    } else for (const { host, method } of keys) placeOf.set(`${method} ${host} ${pattern}`, place)
  }
}

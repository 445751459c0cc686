/**
 * Routes with their references resolved: what each matches, which sets of limits apply, what it does. Keys that contradict
 * each other are errors, because a key without effect is a protection that somebody believes in. Pure; called by
 * `config/load.ts`.
 */
import { METHODS } from "../core/route.ts"
import type { LimitSet } from "../core/limit-set.ts"
import type { Origin, Route, RouteAction } from "./config.ts"
import { nameList, type Report } from "./report.ts"
import type { Parsed } from "./schema.ts"

/** What routes refer to. Names are as written, also of tables with errors of their own: no second error about those. */
export interface KnownNames {
  readonly limitSets: ReadonlyMap<string, LimitSet>
  readonly origins: ReadonlyMap<string, Origin>
  readonly limitNames: readonly string[]
  readonly originNames: readonly string[]
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
  const action = resolveAction(place, route, known, report)
  const limitSets = resolveLimits(place, route, known, report)
  if (matched === undefined || action === undefined) return undefined
  return {
    ...matched,
    place,
    methods: route.methods ?? METHODS,
    needsClientCertificate: route.client_certificate !== "none",
    limitSets,
    cost: route.cost ?? 1,
    guards: [],
    blockedStatus: 429,
    isSoft: false,
    action,
  }
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

/** Returns the limits of the route; without a client there is nobody to count, with one there has to be a limit. */
function resolveLimits(
  place: string,
  { client_certificate: clientCertificate, cost, limits }: Parsed<"ROUTE">,
  known: KnownNames,
  report: Report,
): readonly LimitSet[] {
  const names = nameList(known.limitNames, "LIMITS")
  if (clientCertificate === "none") {
    const why = 'on a route with client_certificate = "none": there is no client to count'
    if (limits !== undefined) report(`${place}.limits`, limits, `no limits ${why}`)
    if (cost !== undefined) report(`${place}.cost`, cost, `no cost ${why}`)
    return []
  }
  if (limits === undefined) {
    report(`${place}.limits`, undefined, `the limits that each client has here: ${names}, or a list of them`)
    return []
  }
  const asked = typeof limits === "string" ? [limits] : limits
  return asked.flatMap((name, index) => {
    const at = typeof limits === "string" ? `${place}.limits` : `${place}.limits[${index}]`
    if (!known.limitNames.includes(name)) report(at, name, names)
    if (asked.indexOf(name) < index) report(at, name, "a name that is not in the list already")
    return known.limitSets.get(name) ?? []
  })
}

function resolveAction(
  place: string,
  route: Parsed<"ROUTE">,
  known: KnownNames,
  report: Report,
): RouteAction | undefined {
  const { client_certificate: clientCertificate, forward_headers: forwardHeaders, origin: name, respond } = route
  if (name !== undefined && clientCertificate === "none") {
    report(
      `${place}.client_certificate`,
      "none",
      '"required" on a route with an origin: only routes answered here (respond) may do without a certificate',
    )
  }
  if ((name === undefined) === (respond === undefined)) {
    report(
      place,
      { origin: name, respond },
      `exactly one of origin (${nameList(known.originNames, "ORIGINS")}) and respond`,
    )
    return undefined
  }
  if (respond !== undefined) {
    const { status, body = "", content_type: contentType = "text/plain; charset=utf-8" } = respond
    if (forwardHeaders !== undefined)
      report(`${place}.forward_headers`, forwardHeaders, "no forward_headers on a route that forwards nothing")
    if (body !== "" && [204, 205, 304].includes(status))
      report(`${place}.respond.body`, body, `no body: an answer with status ${status} has none`)
    return { kind: "respond", status, body, contentType }
  }
  const origin = known.origins.get(name ?? "")
  if (origin === undefined) {
    if (!known.originNames.includes(name ?? "")) report(`${place}.origin`, name, nameList(known.originNames, "ORIGINS"))
    return undefined
  }
  return {
    kind: "forward",
    origin,
    forwardHeaders: forwardHeaders === undefined ? undefined : new Set(forwardHeaders),
  }
}

/** Two routes that match the same requests contradict each other: the second would never see one. */
function reportDuplicates(routes: readonly Route[], report: Report): void {
  const placeOf = new Map<string, string>()
  for (const { label, match, methods, place } of routes) {
    for (const method of methods) {
      const key = `${method} ${match.kind} ${match.kind === "regex" ? match.source : match.path}`
      const taken = placeOf.get(key)
      if (taken !== undefined && taken !== place) {
        report(place, `${method} ${label}`, `a path and method that no other route has; ${taken} has them already`)
        break
      }
      placeOf.set(key, place)
    }
  }
}

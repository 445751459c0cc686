/**
 * Which routes a host has: its own, and behind them those of every host.
 *
 * As with the virtual hosts of nginx and Envoy the host is decided before the path: where a route of the host matches the path,
 * however short its prefix, no route without a host is looked at. Only a path that no route of the host matches goes on to the
 * routes of every host. So a route of a host wins over the same pattern without one, and a method that fits nowhere at the
 * place found is refused there. Pure and total; two tables at most are asked, however many hosts there are. Compiled once at
 * start; called by the `route` stage.
 */
import {
  compileRoutes,
  findUnreachable,
  matchRoute,
  type RouteDecision,
  type RouteMatch,
  type RouteTable,
} from "./route.ts"

/** A route that may belong to some hosts only. */
export interface HostRoute extends RouteMatch {
  /** In the form of `parseHost`; undefined for every host. */
  readonly hosts: readonly string[] | undefined
}

/** Routes compiled for {@link matchHostRoute}. */
export interface HostTable<R extends HostRoute> {
  readonly byHost: ReadonlyMap<string, RouteTable<R>>
  readonly general: RouteTable<R>
}

/** Returns the tables of every host that routes name, and the one of all hosts. */
export function compileHosts<R extends HostRoute>(routes: readonly R[]): HostTable<R> {
  const named = new Set(routes.flatMap(({ hosts }) => hosts ?? []))
  return {
    byHost: new Map([...named].map((host) => [host, compileRoutes(routesOf(routes, host))])),
    general: compileRoutes(routes.filter(({ hosts }) => hosts === undefined)),
  }
}

/**
 * Returns the route for a host, a method and a canonical path. A path too long for the expressions of the host is not found:
 * one of them might have matched it, and the routes of every host must not be a way around it.
 */
export function matchHostRoute<R extends HostRoute>(
  { byHost, general }: HostTable<R>,
  host: string,
  method: string,
  path: string,
): RouteDecision<R> {
  const own = byHost.get(host)
  const decision = own === undefined ? undefined : matchRoute(own, method, path)
  if (decision === undefined || (decision.kind === "not-found" && !decision.isTooLong))
    return matchRoute(general, method, path)
  return decision
}

/** Returns the routes in the order in which they are tried: hosts as listed, then exact, expressions, long prefixes first. */
export function inPriority<R extends HostRoute>(routes: readonly R[], hosts: readonly string[]): readonly R[] {
  const rankOfHost = ({ hosts: own }: R): number =>
    own === undefined ? hosts.length : Math.min(...own.map((host) => hosts.indexOf(host)))
  const rankOfPlace = ({ match }: R): number =>
    match.kind === "exact" ? -Infinity : match.kind === "regex" ? -1e9 : -match.path.length
  return routes.toSorted((a, b) => rankOfHost(a) - rankOfHost(b) || compare(rankOfPlace(a), rankOfPlace(b)))
}

/** Numbers that may both be infinite. */
function compare(a: number, b: number): number {
  return a === b ? 0 : a < b ? -1 : 1
}

/** A route that no request to these hosts can reach, and the index of the route that takes its requests on the first of them. */
export interface ShadowedRoute {
  readonly index: number
  readonly hosts: readonly string[]
  readonly shadowedBy: number
}

/**
 * Returns the routes that no request to some host can reach: earlier routes at the same place take their methods, or a wider
 * route of the host itself takes all their paths. That a host has a route of its own for the same pattern is what such routes
 * are for, and is told only where it leaves the general route without any host. Whether different expressions overlap is not
 * decided here.
 */
export function findShadowed(routes: readonly HostRoute[], hosts: readonly string[]): readonly ShadowedRoute[] {
  const found = new Map<number, { host: string; shadowedBy: number; isReplaced: boolean }[]>()
  const add = (index: number, host: string, shadowedBy: number, isReplaced = false): void =>
    void found.set(index, [...(found.get(index) ?? []), { host, shadowedBy, isReplaced }])
  const indexed = [...routes.entries()].map(([index, route]) => ({ ...route, index }))
  const general = indexed.filter((route) => route.hosts === undefined)
  const taken = new Map(findUnreachable(general).map(({ index, shadowedBy }) => [general[index], general[shadowedBy]]))
  for (const host of hosts) {
    const own = routesOf(indexed, host)
    for (const { index, shadowedBy } of findUnreachable(own))
      add(own[index]?.index ?? -1, host, own[shadowedBy]?.index ?? -1)
    for (const route of general) {
      const wider = own.find((other) => covers(other, route))
      const earlier = wider ?? taken.get(route)
      if (earlier !== undefined) add(route.index, host, earlier.index, wider !== undefined && isSamePlace(wider, route))
    }
  }
  return [...found]
    .filter(
      ([index, all]) =>
        all.some(({ isReplaced }) => !isReplaced) || all.length === (routes[index]?.hosts ?? hosts).length,
    )
    .toSorted(([a], [b]) => a - b)
    .map(([index, all]) => ({ index, hosts: all.map(({ host }) => host), shadowedBy: all[0]?.shadowedBy ?? -1 }))
}

function routesOf<R extends HostRoute>(routes: readonly R[], host: string): readonly R[] {
  return routes.filter(({ hosts }) => hosts?.includes(host) === true)
}

/** Returns true when a route of a host matches every path that a route of the general table matches, for certain. */
function covers({ match: own }: HostRoute, { match: other }: HostRoute): boolean {
  if (own.kind === "regex")
    return other.kind === "regex" ? own.source === other.source : other.kind === "exact" && own.regex.test(other.path)
  if (own.kind === "exact") return other.kind === "exact" && own.path === other.path
  const border = own.path.endsWith("/") ? own.path : `${own.path}/`
  if (other.kind === "regex") return own.path === "/"
  return other.path === own.path || other.path.startsWith(border)
}

function isSamePlace({ match: a }: HostRoute, { match: b }: HostRoute): boolean {
  if (a.kind === "regex" || b.kind === "regex") return a.kind === b.kind
  return a.kind === b.kind && a.path === b.path
}

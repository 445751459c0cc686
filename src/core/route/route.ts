/**
 * Which route a request takes: the exact path, else the first matching regular expression, else the longest prefix.
 *
 * The path alone chooses the place, the method then chooses among the routes at that place. A method that fits nowhere
 * there is refused and never tried at a weaker match, or a method would choose which policy applies. Pure and total;
 * finding exact paths and prefixes costs the same however many routes there are. Compiled once at start;
 * `core/route/virtual-host.ts` asks the tables of a host with a canonical path (`core/route/target.ts`).
 */
import { REGEX_PATH_LENGTH_MAX } from "../bounds.ts"

/** Methods a route may name. TRACE reflects credentials and CONNECT is a tunnel: neither passes a gateway. */
export const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] as const

/** What a route matches. The configuration makes paths canonical and expressions safe (`core/route/route-regex.ts`). */
export interface RouteMatch {
  readonly match:
    | { readonly kind: "exact" | "prefix"; readonly path: string }
    | { readonly kind: "regex"; readonly regex: RegExp; readonly source: string }
  /** Upper case, at least one. `GET` implies `HEAD`. */
  readonly methods: readonly string[]
}

/** The routes at one place: each method's route, the first that lists it. */
interface Place<R> {
  readonly routes: ReadonlyMap<string, R>
  /** All methods of the place, sorted: the value of the Allow field. */
  readonly allow: readonly string[]
}

/** Routes compiled for {@link matchRoute}. */
export interface RouteTable<R extends RouteMatch> {
  readonly exact: ReadonlyMap<string, Place<R>>
  readonly regexes: readonly { readonly regex: RegExp; readonly place: Place<R> }[]
  readonly prefixes: ReadonlyMap<string, Place<R>>
  /** Length of the longest prefix: nothing longer is looked up, so a path of many slashes costs no more than a short one. */
  readonly prefixLengthMax: number
}

/** The route of a request, or why it has none. */
export type RouteDecision<R extends RouteMatch> =
  | { readonly kind: "found"; readonly route: R }
  /** `isTooLong`: the path is longer than expressions are tried on, so nobody knows whether one of them matches it. */
  | { readonly kind: "not-found"; readonly isTooLong: boolean }
  | { readonly kind: "method-not-allowed"; readonly allow: readonly string[] }

/**
 * Returns the table for a list of routes. Routes with the same match, expressions by their text, share a place; within
 * it the earlier route has precedence, and the place of an expression stands where its first route does.
 */
export function compileRoutes<R extends RouteMatch>(routes: readonly R[]): RouteTable<R> {
  const groups = new Map<string, R[]>()
  for (const route of routes) {
    const key = placeKey(route)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [route])
    else group.push(route)
  }
  const exact = new Map<string, Place<R>>()
  const prefixes = new Map<string, Place<R>>()
  const regexes: { regex: RegExp; place: Place<R> }[] = []
  let prefixLengthMax = 0
  for (const group of groups.values()) {
    const match = group[0]?.match
    const place = compilePlace(group)
    if (match?.kind === "regex") regexes.push({ regex: match.regex, place })
    else if (match?.kind === "exact") exact.set(match.path, place)
    else if (match?.kind === "prefix") {
      prefixes.set(match.path, place)
      prefixLengthMax = Math.max(prefixLengthMax, match.path.length)
    }
  }
  return { exact, regexes, prefixes, prefixLengthMax }
}

/**
 * Returns the route for a method and a canonical path.
 *
 * A prefix matches on segment borders: `/accounts` matches `/accounts`, `/accounts/` and `/accounts/x`, not
 * `/accountsx`; `/` matches everything. Methods are compared as sent, case matters (RFC 9110 §9.1). A path longer than
 * REGEX_PATH_LENGTH_MAX is not found unless it is exact or the table has no expressions: skipping only the expressions
 * would let a long path escape to a weaker prefix.
 *
 * @see RFC 9110 §15.5.6 on Allow, §9.3.2 on HEAD
 */
export function matchRoute<R extends RouteMatch>(table: RouteTable<R>, method: string, path: string): RouteDecision<R> {
  const place = findPlace(table, path)
  if (place === undefined) return { kind: "not-found", isTooLong: isTooLong(table, path) }
  const route = place.routes.get(method)
  return route === undefined ? { kind: "method-not-allowed", allow: place.allow } : { kind: "found", route }
}

/**
 * Returns the routes that no request can reach because earlier routes at the same place take all their methods, HEAD
 * being taken by GET. `shadowedBy` is the index of the route that takes the first of them. Expressions are compared by
 * their text only: whether two different ones overlap is not decided here.
 */
export function findUnreachable(routes: readonly RouteMatch[]): { index: number; shadowedBy: number }[] {
  const takenByPlace = new Map<string, Map<string, number>>()
  const unreachable: { index: number; shadowedBy: number }[] = []
  for (const [index, route] of routes.entries()) {
    const key = placeKey(route)
    const taken = takenByPlace.get(key) ?? new Map<string, number>()
    takenByPlace.set(key, taken)
    const methods = effectiveMethods(route)
    const shadowedBy = taken.get(methods[0] ?? "")
    if (shadowedBy !== undefined && methods.every((method) => taken.has(method)))
      unreachable.push({ index, shadowedBy })
    for (const method of methods) if (!taken.has(method)) taken.set(method, index)
  }
  return unreachable
}

function findPlace<R extends RouteMatch>(table: RouteTable<R>, path: string): Place<R> | undefined {
  const exact = table.exact.get(path)
  if (exact !== undefined) return exact
  if (table.regexes.length > 0) {
    if (isTooLong(table, path)) return undefined
    for (const { regex, place } of table.regexes) if (regex.test(path)) return place
  }
  return findPrefix(table, path)
}

function isTooLong<R extends RouteMatch>({ regexes }: RouteTable<R>, path: string): boolean {
  return regexes.length > 0 && path.length > REGEX_PATH_LENGTH_MAX
}

/** Returns the place of the longest prefix, looking from the longest border of the path to the shortest. */
function findPrefix<R extends RouteMatch>(table: RouteTable<R>, path: string): Place<R> | undefined {
  const { prefixes, prefixLengthMax } = table
  const whole = path.length <= prefixLengthMax ? prefixes.get(path) : undefined
  if (whole !== undefined) return whole
  for (let slash = path.lastIndexOf("/", prefixLengthMax); slash >= 0; slash = path.lastIndexOf("/", slash - 1)) {
    const place = prefixes.get(path.slice(0, slash + 1)) ?? prefixes.get(path.slice(0, slash))
    if (place !== undefined) return place
    if (slash === 0) return undefined
  }
  return undefined
}

function compilePlace<R extends RouteMatch>(group: readonly R[]): Place<R> {
  const routes = new Map<string, R>()
  for (const route of group) {
    for (const method of effectiveMethods(route)) if (!routes.has(method)) routes.set(method, route)
  }
  return { routes, allow: [...routes.keys()].sort() }
}

/** Returns the methods of a route with the HEAD that GET implies. */
function effectiveMethods(route: RouteMatch): readonly string[] {
  return route.methods.includes("GET") ? [...route.methods, "HEAD"] : route.methods
}

/** Returns a key that two routes share exactly when the same paths lead to both for certain. */
function placeKey({ match }: RouteMatch): string {
  return `${match.kind} ${match.kind === "regex" ? match.source : match.path}`
}

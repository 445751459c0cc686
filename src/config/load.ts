/**
 * From the environment of a Worker to a configuration, or to everything that is wrong with it.
 *
 * Reads every variable, reports all errors at once, each with its place, its value and what would be accepted, and
 * resolves the references between variables. There is no partial result: the Worker refuses to start and `sekisho check`
 * exits with 1. Pure; called by `src/index.ts` once per isolate and by the command line.
 */
import * as v from "valibot"
import { EVENT_FLUSH_MS_DEFAULT, ORIGIN_TIMEOUT_MS_DEFAULT } from "../core/bounds.ts"
import { compileDirectory, matchKey, type CertificateMatch, type Client } from "../core/identity.ts"
import { compileRoutes } from "../core/route.ts"
import type { Config, Guard, Limit, Origin, Route, RouteAction, Sink } from "./config.ts"
import { METHODS, SCHEMAS, TABLE_NAME, type Parsed } from "./schema.ts"

/** One thing wrong with the configuration. */
export interface ConfigError {
  /** Where, such as `ROUTES[2].limits`. */
  readonly path: string
  /** What stands there, as short JSON; undefined when nothing does. */
  readonly value: string | undefined
  /** What would be accepted there. */
  readonly accepted: string
}

/** A configuration, or all its errors in the order of the variables. */
export type ConfigResult =
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly errors: readonly ConfigError[] }

/** Variables that hold one table each, tables of tables, and arrays that may be split over several variables. */
const TABLES = ["GATEWAY", "ISSUERS", "LIMITS", "GUARDS", "ORIGINS"] as const
const SPLIT_ARRAYS = ["ROUTES", "CLIENTS", "SINKS"] as const

/**
 * Returns the configuration in `environment`: the variables of the Worker, beside its bindings and secrets, which are left
 * alone. A plain table or array under an unknown name is an error, because it is most likely a misspelt variable.
 */
export function loadConfig(environment: Readonly<Record<string, unknown>>): ConfigResult {
  const errors: ConfigError[] = []
  const report = (path: string, value: unknown, accepted: string): void => {
    errors.push({ path, value: value === undefined ? undefined : abbreviate(value), accepted })
  }
  const variables = configurationVariables(environment)
  for (const name of variables.keys()) {
    if (!isKnownVariable(name))
      report(
        name,
        variables.get(name),
        `one of the variables ${[...TABLES, ...SPLIT_ARRAYS].join(", ")} (ROUTES, CLIENTS and SINKS also with a suffix, such as ROUTES_2)`,
      )
  }

  const read = <K extends keyof typeof SCHEMAS>(kind: K, path: string, input: unknown): Parsed<K> | undefined => {
    const result = v.safeParse(SCHEMAS[kind], input, { abortPipeEarly: true })
    for (const issue of result.issues ?? []) report(path + formatPath(issue.path), issue.input, issue.message)
    return result.success ? result.output : undefined
  }
  const readNamed = <K extends "ISSUER" | "LIMIT" | "GUARD" | "ORIGIN">(
    variable: string,
    kind: K,
  ): ReadonlyMap<string, Parsed<K>> => {
    const named = new Map<string, Parsed<K>>()
    const input = variables.get(variable) ?? {}
    if (!isTable(input)) {
      report(variable, input, `a table of named tables, such as [vars.${variable}.example]`)
      return named
    }
    for (const [name, item] of Object.entries(input)) {
      const path = `${variable}.${name}`
      if (!TABLE_NAME.test(name)) report(path, name, `a name of ${TABLE_NAME.accepts}`)
      const parsed = read(kind, path, item)
      if (parsed !== undefined) named.set(name, parsed)
    }
    return named
  }
  const readArrays = <K extends "ROUTES" | "CLIENTS" | "SINKS">(
    kind: K,
  ): readonly (readonly [place: string, item: Parsed<K>[number]])[] =>
    [...variables]
      .filter(([name]) => variableFamily(name) === kind)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .flatMap(([name, input]) =>
        (read(kind, name, input) ?? []).map((item, index) => [`${name}[${index}]`, item] as const),
      )

  const gateway = read("GATEWAY", "GATEWAY", variables.get("GATEWAY") ?? {})
  const issuers = readNamed("ISSUERS", "ISSUER")
  const limits = new Map(
    [...readNamed("LIMITS", "LIMIT")].map(([name, limit]) => [name, resolveLimit(name, limit, report)]),
  )
  const guards = [...readNamed("GUARDS", "GUARD")].map(([name, guard]) => resolveGuard(name, guard, report))
  const origins = new Map(
    [...readNamed("ORIGINS", "ORIGIN")].map(([name, origin]) => [name, resolveOrigin(name, origin)]),
  )
  const clients = resolveClients(
    readArrays("CLIENTS"),
    issuers,
    isTable(variables.get("ISSUERS")) ? Object.keys(variables.get("ISSUERS") as object) : [],
    report,
  )
  const known = {
    limits,
    origins,
    limitNames: tableNames(variables.get("LIMITS")),
    originNames: tableNames(variables.get("ORIGINS")),
  }
  const routes = readArrays("ROUTES").flatMap(([place, route]) => resolveRoute(place, route, known, report) ?? [])
  reportDuplicateRoutes(routes, report)
  if (routes.length === 0 && errors.length === 0) report("ROUTES", undefined, "at least one route")
  const sinks = readArrays("SINKS").map(([, sink]): Sink => ({
    kind: sink.kind,
    url: sink.url,
    authorizationSecret: sink.authorization_secret,
  }))

  if (errors.length > 0 || gateway === undefined) return { ok: false, errors }
  return {
    ok: true,
    config: deepFreeze({
      version: fingerprintOf(variables),
      hosts: new Set(gateway.hosts),
      via: gateway.via ?? "sekisho",
      logsToConsole: gateway.console ?? true,
      flushMs: gateway.log_flush ?? EVENT_FLUSH_MS_DEFAULT,
      clients,
      directory: compileDirectory(clients),
      limits: [...limits.values()],
      guards,
      origins: [...origins.values()],
      routes,
      routeTable: compileRoutes(routes),
      sinks,
    }),
  }
}

/** Returns the variables of an environment that are configuration, by name: everything that is a plain table or array. */
export function configurationVariables(environment: Readonly<Record<string, unknown>>): ReadonlyMap<string, unknown> {
  return new Map(
    Object.entries(environment).filter(
      ([name, value]) => isTable(value) || Array.isArray(value) || isKnownVariable(name),
    ),
  )
}

type Report = (path: string, value: unknown, accepted: string) => void

function resolveLimit(name: string, limit: Parsed<"LIMIT">, report: Report): Limit {
  // The bucket counts in units of 1/periodMs cell and has to stay an exact integer (client gate, bucket arithmetic).
  if (!Number.isSafeInteger(limit.burst * limit.rate.periodMs)) {
    report(
      `LIMITS.${name}.burst`,
      limit.burst,
      `a burst below ${Math.floor(Number.MAX_SAFE_INTEGER / limit.rate.periodMs)} at this rate`,
    )
  }
  return { name, burst: limit.burst, rate: limit.rate }
}

function resolveGuard(name: string, guard: Parsed<"GUARD">, report: Report): Guard {
  const { backoff } = guard
  if (backoff.kind === "exponential" && backoff.max < backoff.min) {
    report(`GUARDS.${name}.backoff.max`, `${backoff.max}ms`, `a duration of at least backoff.min (${backoff.min} ms)`)
  }
  return {
    name,
    maxFailures: guard.max_failures,
    failureDurationMs: guard.failure_duration,
    backoff:
      backoff.kind === "lineal"
        ? { kind: "lineal", durationMs: backoff.duration }
        : {
            kind: "exponential",
            minBackoffMs: backoff.min,
            maxBackoffMs: backoff.max,
            randomFactor: backoff.random_factor,
            resetBackoffMs: backoff.reset === "manual" ? null : (backoff.reset ?? backoff.max),
          },
    guardResetTimeoutMs: guard.guard_reset_timeout ?? null,
    inFlight: guard.in_flight ?? "optimistic",
    pendingTtlMs: guard.pending_ttl ?? 30_000,
    successPolicy: guard.success_policy ?? "reset",
  }
}

function resolveOrigin(name: string, origin: Parsed<"ORIGIN">): Origin {
  return { name, url: origin.url, timeoutMs: origin.timeout ?? ORIGIN_TIMEOUT_MS_DEFAULT }
}

function resolveClients(
  parsed: readonly (readonly [place: string, client: Parsed<"CLIENTS">[number]])[],
  issuers: ReadonlyMap<string, Parsed<"ISSUER">>,
  issuerNames: readonly string[],
  report: Report,
): readonly Client[] {
  const placeOfId = new Map<string, string>()
  const placeOfKey = new Map<string, string>()
  return parsed.map(([place, client]) => {
    const other = placeOfId.get(client.id)
    if (other !== undefined) report(`${place}.id`, client.id, `an id that no other client has; ${other} has it already`)
    else placeOfId.set(client.id, place)
    const certificates = client.certificates.flatMap((certificate, index): CertificateMatch[] => {
      const at = `${place}.certificates[${index}]`
      const match = resolveMatch(at, certificate, issuers, issuerNames, report)
      if (match === undefined) return []
      const taken = placeOfKey.get(matchKey(match))
      if (taken !== undefined)
        report(at, certificate, `a certificate that nothing else matches; ${taken} matches the same one`)
      else placeOfKey.set(matchKey(match), at)
      return [match]
    })
    return { id: client.id, certificates }
  })
}

function resolveMatch(
  place: string,
  certificate: Parsed<"CLIENTS">[number]["certificates"][number],
  issuers: ReadonlyMap<string, Parsed<"ISSUER">>,
  issuerNames: readonly string[],
  report: Report,
): CertificateMatch | undefined {
  const { fingerprint, issuer, san_uri: sanUri, subject } = certificate
  const kinds = [fingerprint, sanUri, subject].filter((part) => part !== undefined).length
  if (kinds !== 1) {
    report(place, certificate, "exactly one of fingerprint, san_uri (with issuer) and subject (with issuer)")
    return undefined
  }
  if (fingerprint !== undefined) {
    if (issuer !== undefined)
      report(`${place}.issuer`, issuer, "no issuer beside a fingerprint, which names one certificate by itself")
    return { kind: "fingerprint", fingerprint }
  }
  if (issuer === undefined) {
    // The same name can be issued by any CA that the zone trusts; the CA is part of who it is.
    report(`${place}.issuer`, undefined, `the CA that issues this certificate: ${nameList(issuerNames, "ISSUERS")}`)
    return undefined
  }
  const ski = issuers.get(issuer)?.ski
  if (ski === undefined) {
    if (!issuerNames.includes(issuer)) report(`${place}.issuer`, issuer, nameList(issuerNames, "ISSUERS"))
    return undefined
  }
  if (sanUri !== undefined) return { kind: "san-uri", issuerSki: ski, sanUri }
  return subject === undefined ? undefined : { kind: "subject", issuerSki: ski, subjectKey: subject.key }
}

interface KnownNames {
  readonly limits: ReadonlyMap<string, Limit>
  readonly origins: ReadonlyMap<string, Origin>
  /** Names as written, also of tables that have errors of their own: a reference to one of them is not a second error. */
  readonly limitNames: readonly string[]
  readonly originNames: readonly string[]
}

function resolveRoute(
  place: string,
  route: Parsed<"ROUTES">[number],
  known: KnownNames,
  report: Report,
): Route | undefined {
  const { path, prefix, regex } = route
  const matches = [
    ...(path === undefined ? [] : [{ match: { kind: "exact", path } as const, label: path }]),
    ...(prefix === undefined
      ? []
      : [{ match: { kind: "prefix", path: prefix } as const, label: `${prefix.replace(/\/$/, "")}/**` }]),
    ...(regex === undefined ? [] : [{ match: { kind: "regex", ...regex } as const, label: `~ ${regex.source}` }]),
  ]
  const [matched] = matches
  if (matches.length !== 1)
    report(place, { path, prefix, regex: regex?.source }, "exactly one of path, prefix and regex")
  const action = resolveAction(place, route, known, report)
  const limit = route.limits === undefined ? undefined : known.limits.get(route.limits)
  if (route.limits !== undefined && !known.limitNames.includes(route.limits))
    report(`${place}.limits`, route.limits, nameList(known.limitNames, "LIMITS"))
  const needsClientCertificate = route.client_certificate !== "none"
  if (!needsClientCertificate) {
    if (route.origin !== undefined)
      report(
        `${place}.client_certificate`,
        "none",
        '"required" on a route with an origin: only routes answered here (respond) may do without a certificate',
      )
    if (route.limits !== undefined)
      report(
        `${place}.limits`,
        route.limits,
        'no limits on a route with client_certificate = "none": there is no client to count',
      )
  } else if (route.limits === undefined) {
    report(`${place}.limits`, undefined, `the limit that each client has here: ${nameList(known.limitNames, "LIMITS")}`)
  }
  if (route.cost !== undefined && limit !== undefined && route.cost > limit.burst) {
    report(
      `${place}.cost`,
      route.cost,
      `at most the burst of the limit "${limit.name}" (${limit.burst}); more would never be admitted`,
    )
  }
  if (matched === undefined || action === undefined) return undefined
  return {
    ...matched,
    place,
    methods: route.methods ?? METHODS,
    needsClientCertificate,
    limit,
    cost: route.cost ?? 1,
    action,
  }
}

function resolveAction(
  place: string,
  route: Parsed<"ROUTES">[number],
  known: KnownNames,
  report: Report,
): RouteAction | undefined {
  if ((route.origin === undefined) === (route.respond === undefined)) {
    report(
      place,
      { origin: route.origin, respond: route.respond },
      `exactly one of origin (${nameList(known.originNames, "ORIGINS")}) and respond`,
    )
    return undefined
  }
  if (route.respond !== undefined) {
    if (route.forward_headers !== undefined)
      report(`${place}.forward_headers`, route.forward_headers, "no forward_headers on a route that forwards nothing")
    const { status, body, content_type: contentType } = route.respond
    return { kind: "respond", status, body: body ?? "", contentType: contentType ?? "text/plain; charset=utf-8" }
  }
  const origin = known.origins.get(route.origin ?? "")
  if (origin === undefined) {
    if (!known.originNames.includes(route.origin ?? ""))
      report(`${place}.origin`, route.origin, nameList(known.originNames, "ORIGINS"))
    return undefined
  }
  return {
    kind: "forward",
    origin,
    forwardHeaders: route.forward_headers === undefined ? undefined : new Set(route.forward_headers),
  }
}

/** Two routes that match the same requests contradict each other: the second would never see one. */
function reportDuplicateRoutes(routes: readonly Route[], report: Report): void {
  const placeOf = new Map<string, string>()
  for (const route of routes) {
    for (const method of route.methods) {
      const key = `${route.label} ${method}`
      const taken = placeOf.get(key)
      if (taken !== undefined && taken !== route.place) {
        report(
          route.place,
          `${method} ${route.label}`,
          `a path and method that no other route has; ${taken} has them already`,
        )
        break
      }
      placeOf.set(key, route.place)
    }
  }
}

function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

function tableNames(value: unknown): readonly string[] {
  return isTable(value) ? Object.keys(value) : []
}

/** `ROUTES`, `ROUTES_PAYMENTS` and `ROUTES2` are one family. */
function variableFamily(name: string): (typeof SPLIT_ARRAYS)[number] | undefined {
  return SPLIT_ARRAYS.find((family) => name.startsWith(family))
}

function isKnownVariable(name: string): boolean {
  return (TABLES as readonly string[]).includes(name) || variableFamily(name) !== undefined
}

function nameList(names: readonly string[], variable: string): string {
  return names.length === 0
    ? `a name of ${variable}, which has none yet`
    : `one of ${names.map((name) => `"${name}"`).join(", ")} (${variable})`
}

function formatPath(path: readonly { readonly key?: unknown }[] | undefined): string {
  return (path ?? []).map(({ key }) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`)).join("")
}

function abbreviate(value: unknown): string {
  const json = JSON.stringify(value, (_, item: unknown) => (item === undefined ? undefined : item)) ?? String(value)
  return json.length > 80 ? `${json.slice(0, 77)}...` : json
}

/** 64-bit FNV-1a over the variables: tells versions apart in logs. Not a security measure. */
function fingerprintOf(variables: ReadonlyMap<string, unknown>): string {
  let hash = 0xcbf29ce484222325n
  for (const char of JSON.stringify([...variables].toSorted(([a], [b]) => (a < b ? -1 : 1)))) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(char.codePointAt(0) ?? 0)) * 0x100000001b3n)
  }
  return hash.toString(16).padStart(16, "0")
}

/** Freezes tables and arrays all the way down; maps and sets are read-only by type. */
function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const item of Object.values(value)) deepFreeze(item)
  }
  return value
}

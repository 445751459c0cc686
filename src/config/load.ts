/**
 * From the environment of a Worker to a configuration, or to everything that is wrong with it.
 *
 * Reads every variable, reports all errors at once, each with its place, its value and what would be accepted, and
 * resolves the references between variables. A table with errors of its own is not looked at further. There is no partial
 * result: the Worker refuses to start and `sekisho check` exits with 1. Pure; called by `src/index.ts` once per isolate and
 * by the command line.
 */
import * as v from "valibot"
import { CERTIFICATE_WARNING_MS_DEFAULT, EVENT_FLUSH_MS_DEFAULT, IDEMPOTENCY_TTL_MS_DEFAULT } from "../core/bounds.ts"
import { compileClientIndex } from "../core/certificate/identity.ts"
import { murmur3 } from "../core/murmur3.ts"
import { compileHosts } from "../core/route/virtual-host.ts"
import type { Config } from "./config.ts"
import { createReport, type ConfigError } from "./report.ts"
import { resolveAdmin } from "./resolve-admin.ts"
import { resolveClients } from "./resolve-clients.ts"
import { resolveGuard } from "./resolve-guards.ts"
import { resolveIdempotencyTerms } from "./resolve-idempotency.ts"
import { resolveIssuers } from "./resolve-issuers.ts"
import { reportNameClashes, reportUnpayable, resolveLimitSet } from "./resolve-limits.ts"
import { reportAssertion, resolveOrigin } from "./resolve-origins.ts"
import { namesAuditSink, resolveSinks } from "./resolve-records.ts"
import { resolveRoutes } from "./resolve-routes.ts"
import { resolveAuthorizationServer } from "./resolve-tokens.ts"
import { isKnownVariable, SPLIT_ARRAYS, TABLE_NAME, TABLES, variableFamily } from "./schema-names.ts"
import { SCHEMAS, type Parsed } from "./schema.ts"

export type { ConfigError } from "./report.ts"

/** A configuration, or all its errors in the order of the variables. */
export type ConfigResult =
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly errors: readonly ConfigError[] }

/**
 * Returns the configuration in `environment`: the variables of the Worker, beside its bindings and secrets, which are left
 * alone. A plain table or array under an unknown name is an error, because it is most likely a misspelt variable.
 */
export function loadConfig(environment: Readonly<Record<string, unknown>>): ConfigResult {
  const errors: ConfigError[] = []
  const report = createReport(errors)
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
  const readNamed = <K extends "ISSUER" | "LIMIT" | "GUARD" | "TOKEN" | "ORIGIN">(
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
  // Items are read one by one, so that an error in one of them hides no error of another.
  const readArrays = <K extends "ROUTE" | "CLIENT" | "SINK">(
    family: (typeof SPLIT_ARRAYS)[number],
    kind: K,
  ): readonly (readonly [place: string, item: Parsed<K>])[] =>
    [...variables]
      .filter(([name]) => variableFamily(name) === family)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .flatMap(([name, input]) => {
        if (Array.isArray(input))
          return input.flatMap((item: unknown, index) => {
            const place = `${name}[${index}]`
            const parsed = read(kind, place, item)
            return parsed === undefined ? [] : [[place, parsed] as const]
          })
        report(name, input, `an array of tables, such as [[vars.${name}]]`)
        return []
      })

  const gateway = read("GATEWAY", "GATEWAY", variables.get("GATEWAY") ?? {})
  const hasAssertion = tableNames(variables.get("GATEWAY")).includes("assertion")
  reportAssertion(gateway?.assertion, report)
  const adminVariable = variables.get("ADMIN")
  const parsedAdmin = adminVariable === undefined ? undefined : read("ADMIN", "ADMIN", adminVariable)
  const admin = resolveAdmin(parsedAdmin, gateway?.hosts ?? [], report)
  const hasIdempotency = tableNames(variables.get("GATEWAY")).includes("idempotency")
  const idempotency = resolveIdempotencyTerms(gateway?.idempotency, report)
  const issuers = readNamed("ISSUERS", "ISSUER")
  const resolvedIssuers = resolveIssuers(issuers, report)
  const limitSets = new Map(
    [...readNamed("LIMITS", "LIMIT")].map(([name, limit]) => [name, resolveLimitSet(name, limit, report)]),
  )
  reportNameClashes([...limitSets.values()], report)
  const limitNames = tableNames(variables.get("LIMITS"))
  const guards = new Map(
    [...readNamed("GUARDS", "GUARD")].map(([name, guard]) => [name, resolveGuard(name, guard, report)]),
  )
  const guardNames = tableNames(variables.get("GUARDS"))
  const servers = new Map(
    [...readNamed("TOKENS", "TOKEN")].map(([name, server]) => [
      name,
      resolveAuthorizationServer(name, server, { guards, guardNames }, report),
    ]),
  )
  const origins = new Map(
    [...readNamed("ORIGINS", "ORIGIN")].map(([name, origin]) => [
      name,
      resolveOrigin(name, origin, hasAssertion ? (gateway?.assertion?.issuer ?? "") : undefined, report),
    ]),
  )
  const clients = resolveClients(
    readArrays("CLIENTS", "CLIENT"),
    { issuers, issuerNames: tableNames(variables.get("ISSUERS")), limitSets, limitNames },
    report,
  )
  const known = {
    limitSets,
    guards,
    servers,
    origins,
    limitNames,
    guardNames,
    serverNames: tableNames(variables.get("TOKENS")),
    originNames: tableNames(variables.get("ORIGINS")),
    hasAssertion,
    hasAuditSink: namesAuditSink(
      [...variables].flatMap(([name, input]) => (variableFamily(name) === "SINKS" ? [input] : [])),
    ),
    // Of a table with errors of its own it is not said that it is missing.
    idempotencyTtlMs: idempotency?.ttlMs ?? (hasIdempotency ? IDEMPOTENCY_TTL_MS_DEFAULT : undefined),
    hosts: gateway?.hosts,
  }
  const routes = resolveRoutes(readArrays("ROUTES", "ROUTE"), known, report)
  reportUnpayable(routes, clients, report)
  if (routes.length === 0 && errors.length === 0) report("ROUTES", undefined, "at least one route")
  const sinks = resolveSinks(readArrays("SINKS", "SINK"), report)

  if (errors.length > 0 || gateway === undefined) return { ok: false, errors }
  return {
    ok: true,
    config: deepFreeze({
      version: versionOf(variables),
      hosts: new Set(gateway.hosts),
      via: gateway.via ?? "sekisho",
      logsToConsole: gateway.console ?? true,
      flushMs: gateway.log_flush ?? EVENT_FLUSH_MS_DEFAULT,
      traceRatio: gateway.traces?.ratio ?? 1,
      hasTraces: sinks.some(({ takes }) => takes.has("traces")),
      hasLegacyFields: gateway.legacy_ratelimit ?? false,
      certificateWarningMs: gateway.certificate_warning ?? CERTIFICATE_WARNING_MS_DEFAULT,
      assertion: gateway.assertion,
      admin,
      idempotency,
      issuers: resolvedIssuers,
      clients,
      clientIndex: compileClientIndex(clients),
      limitSets: [...limitSets.values()],
      guards: [...guards.values()],
      authorizationServers: [...servers.values()],
      origins: [...origins.values()],
      routes,
      routeTable: compileHosts(routes),
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

function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

function tableNames(value: unknown): readonly string[] {
  return isTable(value) ? Object.keys(value) : []
}

function formatPath(path: readonly { readonly key?: unknown }[] | undefined): string {
  return (path ?? []).map(({ key }) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`)).join("")
}

/** Tells versions apart in logs, in 16 digits of hex. Not a security measure. */
function versionOf(variables: ReadonlyMap<string, unknown>): string {
  const text = JSON.stringify([...variables].toSorted(([a], [b]) => (a < b ? -1 : 1)))
  const units = new Uint16Array(text.length).map((_, index) => text.charCodeAt(index))
  const octets = new Uint8Array(units.buffer)
  return [0, 1].map((seed) => murmur3(octets, seed).toString(16).padStart(8, "0")).join("")
}

/** Freezes tables and arrays all the way down; maps and sets are read-only by type. */
function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const item of Object.values(value)) deepFreeze(item)
  }
  return value
}

/**
 * `sekisho check`: validates every environment of a configuration without running anything, and shows what it says.
 */
import { relative } from "node:path"
import type { AuthorizationServer, Config, Guard, Origin, Route } from "../src/config/config.ts"
import { loadConfig } from "../src/config/load.ts"
import { formatBase } from "../src/config/resolve-origins.ts"
import type { NamedLimit } from "../src/core/limit.ts"
import type { Rewrite } from "../src/core/rewrite.ts"
import { formatDuration } from "../src/core/time.ts"
import { inPriority } from "../src/core/virtual-host.ts"
import { PIPELINE } from "../src/pipeline.ts"
import { describeEnd, describeRule } from "./client-rules.ts"
import { count, formatErrors } from "./configuration.ts"
import { findFindings } from "./findings.ts"
import { DEVELOPMENT_SKI } from "./pki/development-ski.ts"
import { createPaint, formatTable, printable, type Paint } from "./terminal.ts"
import { environmentNames, findConfigFile, readEnvironment, type WranglerEnvironment } from "./wrangler-file.ts"

/** Runs the command; returns 1 when anything would keep the gateway from starting or working. */
export async function runCheck(flags: {
  readonly config: string
  readonly environment: string | undefined
}): Promise<number> {
  const paint = createPaint(process.stdout)
  const file = findConfigFile(flags.config)
  const names = flags.environment === undefined ? [undefined, ...environmentNames(file)] : [flags.environment]
  const errorCounts = names.map((name) => checkEnvironment(file, readEnvironment(file, name), paint))
  console.log(`\n${paint("bold", "  Stages")} ${paint("dim", "in the order of a request")}\n`)
  console.log(
    formatTable(
      ["", "verb", "stage", "decides"],
      PIPELINE.map(({ verb, stage, decides }, index) => [String(index + 1), verb, stage, decides]),
      paint,
    ),
  )
  console.log()
  return errorCounts.some((errors) => errors > 0) ? 1 : 0
}

function checkEnvironment(file: string, environment: WranglerEnvironment, paint: Paint): number {
  const loaded = loadConfig(environment.vars)
  console.log(
    `\n${paint("bold", `  ${relative(process.cwd(), file)}`)} ${paint("dim", environment.name ?? "top level")}`,
  )
  if (!loaded.ok) {
    console.log(
      `\n  ${paint("red", `✗ ${count(loaded.errors.length, "error")}`)}\n\n${indent(formatErrors(loaded.errors, paint))}`,
    )
    return loaded.errors.length
  }
  const { config } = loaded
  const nowMs = Date.now()
  printConfig(config, nowMs, paint)
  const findings = findFindings(environment, config, DEVELOPMENT_SKI, nowMs)
  const errors = findings.filter(({ severity }) => severity === "error").length
  if (findings.length > 0) console.log()
  for (const { severity, path, text } of findings) {
    console.log(
      `  ${severity === "error" ? paint("red", "✗") : paint("yellow", "!")} ${paint("bold", printable(path))} ${printable(text)}`,
    )
  }
  const verdict = errors > 0 ? paint("red", `✗ ${count(errors, "error")}`) : paint("green", "✓ valid")
  console.log(
    `\n  ${verdict}, ${count(findings.length - errors, "warning")} ${paint("dim", `version ${config.version}`)}`,
  )
  return errors
}

function printConfig(config: Config, nowMs: number, paint: Paint): void {
  const section = (heading: readonly string[], rows: readonly (readonly string[])[]): void => {
    if (rows.length > 0)
      console.log(
        `\n${formatTable(
          heading,
          rows.map((row) => row.map(printable)),
          paint,
        )}`,
      )
  }
  console.log(`\n  ${paint("dim", "hosts")} ${[...config.hosts].join(", ")}`)
  // In the order in which they are tried; hosts only where they decide anything.
  const routes = inPriority(config.routes, [...config.hosts])
  const hasHosts = routes.some((route) => route.hosts !== undefined)
  section(
    [...(hasHosts ? ["host"] : []), "route", "methods", "certificate", "limits", "cost", "guards", "token", "goes to"],
    routes.map((route) => [...(hasHosts ? [route.hosts?.join(" ") ?? "any"] : []), ...describeRoute(route)]),
  )
  section(
    ["issuer", "key identifier", "revoked by serial", "revocation list", "fetched every", "when nobody knows"],
    [...config.issuers.values()].map(({ crl, name, revokedSerials, ski }) => [
      name,
      ski,
      count(revokedSerials.size, "serial"),
      ...(crl === undefined
        ? ["none", "-", "-"]
        : [crl.source.url, formatDuration(crl.source.refreshMs), crl.whenUnknown]),
    ]),
  )
  section(
    ["client", "recognised by", "", ""],
    config.clients.flatMap(({ id, certificates, isDisabled }) =>
      certificates.map((rule, index) => [
        index === 0 ? `${id}${isDisabled ? " (disabled)" : ""}` : "",
        rule.kind,
        describeRule(rule),
        describeEnd(rule, nowMs),
      ]),
    ),
  )
  section(
    ["limit", "set", "mode", "allows"],
    config.limitSets.flatMap(({ name: set, limits }) =>
      limits.map((limit) => [limit.name, set, limit.mode ?? "enforce", describeLimit(limit)]),
    ),
  )
  section(
    ["guard", "counts for", "opens after", "within", "blocks for", "in flight", "counts as failure"],
    config.guards.map(describeGuard),
  )
  section(
    ["token", "issuer", "for", "algorithms", "type", "certificate", "client", "guard"],
    config.authorizationServers.map(describeServer),
  )
  section(
    ["client", "at authorization servers"],
    config.clients.flatMap(({ id, oauthClients }) =>
      oauthClients.size === 1 && oauthClients.has(id) ? [] : [[id, [...oauthClients].join(", ")]],
    ),
  )
  section(
    ["client", "instead of", "has"],
    config.clients.flatMap(({ id, limitSets, mode }) => [
      ...(mode === "shadow" ? [[id, "every limit", "the same in shadow mode: nothing is refused"]] : []),
      ...[...limitSets].map(([name, own]) => [id, name, own.name]),
    ]),
  )
  section(
    ["origin", "url", "timeout", "retries", "breaker", "certificate in", "assertion for"],
    config.origins.flatMap(describeOrigin),
  )
  section(
    ["sink", "url", "authorization"],
    config.sinks.map(({ kind, url, authorizationSecret }) => [
      kind,
      url,
      authorizationSecret === undefined ? "none" : `secret ${authorizationSecret}`,
    ]),
  )
  // What cannot be seen from here, because only the platform knows it.
  section(["secret", "holds"], requiredSecrets(config))
}

/** A row for each URL; what holds for all of them stands in the first. */
function describeOrigin(origin: Origin): readonly (readonly string[])[] {
  const { assertion, binding, breaker, clientCert, name, preservesHost, retry, timeoutMs, totalTimeoutMs, urls } =
    origin
  const { closed, isEnforced } = breaker
  return urls.map(({ base, isBackup, weight }, index) => [
    index === 0 ? name : "",
    formatBase(base) +
      (urls.length === 1 ? "" : isBackup ? ` (backup, weight ${weight})` : ` (weight ${weight})`) +
      (binding === undefined ? "" : ` by ${binding}${preservesHost ? ", for the caller's host" : ""}`),
    ...(index > 0
      ? ["", "", "", "", ""]
      : [
          formatDuration(timeoutMs) +
            (totalTimeoutMs === undefined ? "" : `, in all ${formatDuration(totalTimeoutMs)}`),
          String(retry.retriesMax) +
            (retry.statuses.size === 0 ? "" : `, also after ${[...retry.statuses].join(" ")}`) +
            (retry.hasIdempotent ? ", also PUT and DELETE" : ""),
          isEnforced
            ? `${count(closed.maxFailures, "failure")} in ${formatDuration(closed.failureDurationMs)}, open ${formatDuration(closed.backoff.durationMs)}`
            : "only tells",
          CERTIFICATE_FIELDS[clientCert],
          assertion?.audience ?? "-",
        ]),
  ])
}

const CERTIFICATE_FIELDS: Readonly<Record<Origin["clientCert"], string>> = {
  rfc9440: "Client-Cert",
  xfcc: "X-Forwarded-Client-Cert",
  both: "Client-Cert, X-Forwarded-Client-Cert",
  none: "-",
}

/** Every Worker secret that the configuration names, and what it has to hold. */
function requiredSecrets({ assertion, sinks }: Config): readonly (readonly string[])[] {
  const authorizations = new Set(sinks.flatMap(({ authorizationSecret }) => authorizationSecret ?? []))
  return [
    ...(assertion?.keys ?? []).map((name, index) => [
      name,
      `private JWK (sekisho keys); ${index === 0 ? "signs assertions" : "published, does not sign"}`,
    ]),
    ...[...authorizations].map((name) => [name, "value of the Authorization field for a sink"]),
  ]
}

function describeRoute(route: Route): readonly string[] {
  const {
    action,
    blockedStatus,
    cost,
    guards,
    isSoft,
    label,
    limitSets,
    methods,
    needsClientCertificate,
    tellsExpiry,
    token,
  } = route
  return [
    label,
    methods.length === 7 ? "all" : methods.join(" "),
    needsClientCertificate ? "required" : "none",
    (limitSets.map(({ name }) => name).join(", ") || "-") + (isSoft ? " (soft)" : ""),
    limitSets.length === 0 ? "-" : String(cost),
    (guards.map(({ name }) => name).join(", ") || "-") + (blockedStatus === 429 ? "" : ` (${blockedStatus})`),
    token === undefined ? "-" : describeToken(token),
    describeAction(action) + (tellsExpiry ? ", tells when the certificate ends" : ""),
  ]
}

/** Returns what a route does with a request, in words. */
export function describeAction(action: Route["action"]): string {
  switch (action.kind) {
    case "forward":
      return `origin ${action.origin.name}${describeRewrite(action.rewrite)}`
    case "respond":
      return `answered here with ${action.status}`
    case "jwks":
      return "answered here with the public keys"
  }
}

/** The server, then the scopes: once when all methods need the same. */
function describeToken({ server, scopes }: NonNullable<Route["token"]>): string {
  const lists = [...scopes].map(([method, needed]) => [method, needed.join(" ")] as const)
  const isAlike = new Set(lists.map(([, needed]) => needed)).size <= 1
  const needed = isAlike ? (lists[0]?.[1] ?? "") : lists.map(([method, list]) => `${method} ${list || "-"}`).join(", ")
  return needed === "" ? server.name : `${server.name}: ${needed}`
}

function describeServer(server: AuthorizationServer): readonly string[] {
  const { algorithms, audience, clientClaim, guard, isCertificateBound, issuer, name, types } = server
  return [
    name,
    issuer,
    audience.kind === "sole" ? `${audience.value} alone` : audience.values.join(" or "),
    algorithms.join(" "),
    types.join(" "),
    isCertificateBound ? "bound" : "if bound",
    clientClaim ?? "any",
    guard?.name ?? "none",
  ]
}

function describeRewrite(rewrite: Rewrite | undefined): string {
  switch (rewrite?.kind) {
    case undefined:
      return ""
    case "strip-prefix":
      return `, without ${rewrite.prefix}`
    case "replace-prefix":
      return `, below ${rewrite.prefix}`
    case "path":
      return `, as ${rewrite.template}`
  }
}

/** Returns what a limit allows, in words. */
export function describeLimit(limit: NamedLimit): string {
  switch (limit.kind) {
    case "bucket":
      return `${limit.rate.count} per ${formatDuration(limit.rate.periodMs)}, burst ${limit.burst}`
    case "quota":
      return `${limit.limit} a ${limit.unit} in ${limit.timezone}`
    case "concurrency":
      return `${limit.maxConcurrent} at once, each at most ${formatDuration(limit.leaseTtlMs)}`
  }
}

function describeGuard(guard: Guard): readonly string[] {
  const { backoff, failureDurationMs, inFlight, key, maxFailures, name, outcomes } = guard
  const { failureStatuses, verdictHeader } = outcomes
  return [
    name,
    key.kind === "header" ? `field ${key.name}` : key.kind,
    count(maxFailures, "failure"),
    formatDuration(failureDurationMs),
    backoff.kind === "lineal"
      ? formatDuration(backoff.durationMs)
      : `${formatDuration(backoff.minBackoffMs)} to ${formatDuration(backoff.maxBackoffMs)}, random ${backoff.randomFactor}`,
    inFlight,
    [...failureStatuses, ...(verdictHeader === null ? [] : [verdictHeader])].join(", "),
  ]
}

function indent(text: string): string {
  return text.replaceAll(/^/gm, "  ")
}

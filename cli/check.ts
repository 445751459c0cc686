/**
 * `sekisho check`: validates every environment of a configuration without running anything, and shows what it says.
 */
import { relative } from "node:path"
import type { Config } from "../src/config/config.ts"
import { loadConfig } from "../src/config/load.ts"
import { formatDuration } from "../src/core/time.ts"
import { inPriority } from "../src/core/route/virtual-host.ts"
import { PIPELINE } from "../src/pipeline.ts"
import { describeEnd, describeRule } from "./client-rules.ts"
import { count, formatErrors } from "./configuration.ts"
import {
  describeGuard,
  describeLimit,
  describeMessages,
  describeOrigin,
  describeRoute,
  describeServer,
} from "./describe.ts"
import { describeSink } from "./describe-records.ts"
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
  section(
    ["admin", "by token in", "by Access for"],
    [...(config.admin?.hosts ?? [])].map((host) => [
      host,
      config.admin?.tokenSecret === undefined ? "-" : `secret ${config.admin.tokenSecret}`,
      config.admin?.access?.issuer ?? "-",
    ]),
  )
  if (config.hasTraces) console.log(`  ${paint("dim", "traces")} ${config.traceRatio * 100} % of those that begin here`)
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
    ["route", "request up to", "answer up to", "fields changed", "web origins", "redirects", "sockets"],
    routes.flatMap((route) => describeMessages(route)),
  )
  section(["sink", "url", "takes", "bodies", "credentials"], config.sinks.map(describeSink))
  // What cannot be seen from here, because only the platform knows it.
  section(["secret", "holds"], requiredSecrets(config))
}

/** Every Worker secret that the configuration names, and what it has to hold. */
function requiredSecrets({ admin, assertion, idempotency, sinks }: Config): readonly (readonly string[])[] {
  const authorizations = new Set(sinks.flatMap(({ authorizationSecret }) => authorizationSecret ?? []))
  return [
    ...(assertion?.keys ?? []).map((name, index) => [
      name,
      `private JWK (sekisho keys); ${index === 0 ? "signs assertions" : "published, does not sign"}`,
    ]),
    ...(admin?.tokenSecret === undefined
      ? []
      : [[admin.tokenSecret, "at least 32 random octets as base64url; administrators show it"]]),
    ...(idempotency?.keys ?? []).map((name, index) => [
      name,
      `symmetric JWK (sekisho keys --alg A256GCM); ${index === 0 ? "protects idempotency records" : "opens earlier idempotency records"}`,
    ]),
    ...[...authorizations].map((name) => [name, "value of the Authorization field for a sink"]),
    ...sinks.flatMap(({ headerSecrets }) =>
      headerSecrets.map(([field, name]) => [name, `value of ${field} for a sink`]),
    ),
  ]
}

function indent(text: string): string {
  return text.replaceAll(/^/gm, "  ")
}

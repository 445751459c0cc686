/**
 * `sekisho check`: validates every environment of a configuration without running anything, and shows what it says.
 */
import { relative } from "node:path"
import type { Config, Guard, Route } from "../src/config/config.ts"
import { loadConfig } from "../src/config/load.ts"
import type { NamedLimit } from "../src/core/limit.ts"
import { formatDuration } from "../src/core/time.ts"
import { PIPELINE } from "../src/pipeline.ts"
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
  printConfig(config, paint)
  const findings = findFindings(environment, config, DEVELOPMENT_SKI)
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

function printConfig(config: Config, paint: Paint): void {
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
  section(["route", "methods", "certificate", "limits", "cost", "guards", "goes to"], config.routes.map(describeRoute))
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
    ["client", "recognised by", ""],
    config.clients.flatMap(({ id, certificates }) =>
      certificates.map((match, index) => [
        index === 0 ? id : "",
        match.kind,
        match.kind === "fingerprint"
          ? match.fingerprint
          : `${match.kind === "san-uri" ? match.sanUri : subjectText(match.subjectKey)}  (issuer ${match.issuerSki.slice(0, 12)}…)`,
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
    ["client", "instead of", "has"],
    config.clients.flatMap(({ id, limitSets, mode }) => [
      ...(mode === "shadow" ? [[id, "every limit", "the same in shadow mode: nothing is refused"]] : []),
      ...[...limitSets].map(([name, own]) => [id, name, own.name]),
    ]),
  )
  section(
    ["origin", "url", "timeout"],
    config.origins.map(({ name, url, timeoutMs }) => [
      name,
      `${url.scheme}://${url.authority}${url.path}`,
      formatDuration(timeoutMs),
    ]),
  )
  section(
    ["sink", "url", "authorization"],
    config.sinks.map(({ kind, url, authorizationSecret }) => [
      kind,
      url,
      authorizationSecret === undefined ? "none" : `secret ${authorizationSecret}`,
    ]),
  )
}

function describeRoute(route: Route): readonly string[] {
  const { action, blockedStatus, cost, guards, isSoft, label, limitSets, methods, needsClientCertificate } = route
  const goesTo = action.kind === "forward" ? `origin ${action.origin.name}` : `answered here with ${action.status}`
  return [
    label,
    methods.length === 7 ? "all" : methods.join(" "),
    needsClientCertificate ? "required" : "none",
    (limitSets.map(({ name }) => name).join(", ") || "-") + (isSoft ? " (soft)" : ""),
    limitSets.length === 0 ? "-" : String(cost),
    (guards.map(({ name }) => name).join(", ") || "-") + (blockedStatus === 429 ? "" : ` (${blockedStatus})`),
    goesTo,
  ]
}

function describeLimit(limit: NamedLimit): string {
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

/** The configured name as its attributes, most specific first. */
function subjectText(subjectKey: string): string {
  const rdns = JSON.parse(subjectKey) as readonly (readonly string[])[]
  return rdns
    .toReversed()
    .map((rdn) => rdn.map((attribute) => (JSON.parse(attribute) as readonly string[]).at(-1)).join("+"))
    .join(", ")
}

function indent(text: string): string {
  return text.replaceAll(/^/gm, "  ")
}

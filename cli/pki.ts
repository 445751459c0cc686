/**
 * `sekisho pki`: makes or renews the development PKI for the clients of a configuration; `sekisho pki rotate` gives one of
 * them a second certificate and says how to let the first one retire; `sekisho pki revoke` revokes one.
 */
import { join, relative, resolve } from "node:path"
import { normalizeKeyId } from "../src/core/certificate/certificate.ts"
import { formatDuration, parseDurationMs } from "../src/core/time.ts"
import { formatSeconds } from "./client-rules.ts"
import { loadAccepted } from "./configuration.ts"
import { ensurePki, revokeClient, type Pki } from "./pki/ensure.ts"
import { DEVELOPMENT_SKI } from "./pki/development-ski.ts"
import { planClients } from "./pki/clients.ts"
import { rotateClient } from "./pki/rotate.ts"
import { createPaint, formatTable } from "./terminal.ts"
import { UsageError } from "./usage-error.ts"
import { findConfigFile, readEnvironment, type WranglerEnvironment } from "./wrangler-file.ts"

/** Returns the development PKI for an environment, made or renewed under `<state>/pki`. */
export async function ensureDevelopmentPki(
  environment: WranglerEnvironment,
  hosts: ReadonlySet<string>,
  state: string,
  options: { readonly renew?: boolean; readonly replaceCa?: boolean } = {},
): Promise<Pki> {
  const clients = requireClients(environment)
  return ensurePki(join(resolve(state), "pki"), { clients, hosts: [...hosts], nowMs: Date.now(), ...options })
}

function requireClients(environment: WranglerEnvironment): ReturnType<typeof planClients> {
  const clients = planClients(environment, DEVELOPMENT_SKI)
  if (clients.length === 0) {
    throw new UsageError(
      `No client of this configuration can be served by the development CA. Add [vars.ISSUERS] development = { ski = "${DEVELOPMENT_SKI}" } and a client whose certificate names that issuer.`,
    )
  }
  return clients
}

/** Runs the command and returns its exit code. */
export async function runPki(flags: {
  readonly config: string
  readonly environment: string | undefined
  readonly state: string
  readonly renew: boolean
  readonly replaceCa: boolean
}): Promise<number> {
  const paint = createPaint(process.stdout)
  const environment = readEnvironment(findConfigFile(flags.config), flags.environment)
  const { config } = loadAccepted(environment, paint)
  const pki = await ensureDevelopmentPki(environment, config.hosts, flags.state, flags)
  const show = (path: string): string => relative(process.cwd(), path)
  const days = (ms: number): string => String(Math.floor((ms - Date.now()) / 86_400_000))
  const rows = [
    ["CA", show(pki.ca.certificatePath), days(pki.ca.notAfterMs), pki.ca.fingerprint.slice(0, 16)],
    ["server", show(pki.server.certificatePath), days(pki.server.notAfterMs), pki.server.fingerprint.slice(0, 16)],
    ...[...pki.clients.map((client) => [client.id, client] as const), ...Object.entries(pki.specimens)].map(
      ([name, item]) => [name, show(item.certificatePath), days(item.notAfterMs), item.fingerprint.slice(0, 16)],
    ),
    ["CRL", show(pki.crlPath), "", ""],
  ]
  console.log(`\n${formatTable(["", "file", "days", "sha-256"], rows, paint)}\n`)
  console.log(
    pki.created.length === 0
      ? "  Everything was in order; nothing was changed.\n"
      : `  Made now: ${pki.created.join(", ")}\n`,
  )
  return 0
}

/** Runs `sekisho pki rotate` and returns its exit code. */
export async function runRotate(
  id: string,
  flags: {
    readonly config: string
    readonly environment: string | undefined
    readonly state: string
    readonly overlap: string
  },
): Promise<number> {
  const overlapMs = parseDurationMs(flags.overlap)
  if (overlapMs === undefined || overlapMs === 0)
    throw new UsageError(`--overlap takes a duration such as 7d or 30m, not "${flags.overlap}".`)
  const paint = createPaint(process.stdout)
  const environment = readEnvironment(findConfigFile(flags.config), flags.environment)
  const { config } = loadAccepted(environment, paint)
  const nowMs = Date.now()
  const options = { clients: requireClients(environment), hosts: [...config.hosts], nowMs }
  const { current, old } = await rotateClient(join(resolve(flags.state), "pki"), options, id)
  const retireAt = formatSeconds(Math.ceil((nowMs + overlapMs) / 1_000) * 1_000)
  const issuer = JSON.stringify(developmentIssuer(environment))
  const show = (path: string): string => relative(process.cwd(), path)
  const lines = [
    "",
    `  ${paint("bold", id)} has a new certificate, ${show(current.certificatePath)}; the old one is ${show(old.certificatePath)}.`,
    "",
    `  ${paint("dim", `In place of the rules of "${id}" in ${flags.config}:`)}`,
    "",
    "certificates = [",
    `  { spki = ${JSON.stringify(current.spki)}, issuer = ${issuer} },`,
    `  { spki = ${JSON.stringify(old.spki)}, issuer = ${issuer}, retire_at = ${retireAt} },`,
    "]",
    "",
    `  ${paint("dim", `Both pass for ${formatDuration(overlapMs)}. From ${retireAt} on the old one is refused: 401 client-cert-retired.`)}`,
    `  ${paint("dim", "A rule by a name matches both for good, so these go by the key.")}`,
    "",
  ]
  console.log(lines.join("\n"))
  return 0
}

/** Returns the name under which the configuration knows the development CA. */
function developmentIssuer({ vars }: WranglerEnvironment): string {
  const issuers = (vars["ISSUERS"] ?? {}) as Readonly<Record<string, { readonly ski: string }>>
  return (
    Object.keys(issuers).find((name) => normalizeKeyId(issuers[name]?.ski ?? "") === DEVELOPMENT_SKI) ?? "development"
  )
}

/** Runs `pki revoke <client>` and returns its exit code. */
export async function runRevoke(flags: {
  readonly config: string
  readonly environment: string | undefined
  readonly state: string
  readonly client: string
}): Promise<number> {
  const paint = createPaint(process.stdout)
  const environment = readEnvironment(findConfigFile(flags.config), flags.environment)
  const { config } = loadAccepted(environment, paint)
  const pki = await ensureDevelopmentPki(environment, config.hosts, flags.state)
  const client = pki.clients.find(({ id }) => id === flags.client)
  if (client === undefined) {
    const known = pki.clients.map(({ id }) => id).join(", ")
    throw new UsageError(`There is no client "${flags.client}" with a development certificate; there are: ${known}.`)
  }
  const serial = await revokeClient(pki, client, Date.now())
  const file = relative(process.cwd(), pki.crlPath)
  console.log(
    serial === undefined
      ? `\n  The certificate of ${client.id} is on ${file} already; nothing was changed.\n`
      : `\n  ${paint("red", "Revoked")}: ${client.id}, serial ${serial}, on ${file}\n  ${paint("dim", "sekisho pki --renew issues every certificate anew.")}\n`,
  )
  return 0
}

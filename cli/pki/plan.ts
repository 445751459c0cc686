/**
 * Which leaves the development PKI holds: the server, one per client, and the specimens that a gateway must refuse. Decides
 * file names and what each certificate says, and refuses options that cannot be met. Pure; read by `ensure.ts` alone.
 */
import { isIP } from "node:net"
import { join } from "node:path"
import { type LeafPlan, serverNames } from "./certificate.ts"
import { PkiError } from "./error.ts"
import { parseSubject } from "./name.ts"

/** One client of the sample configuration. */
export interface PkiClientOptions {
  /** Becomes the file name: letters, digits, `.`, `_` and `-`; not the name of a specimen. */
  readonly id: string
  /** The identity of the client, for example `spiffe://partners.example/acme`. */
  readonly sanUri: string
  /** Full distinguished name as RFC 4514 writes it, most specific first: `CN=acme,O=Acme,C=JP`. */
  readonly subject: string
  /** A rule names its key: a certificate that is there is never replaced by another one, which would not be recognised. */
  readonly isPinned?: boolean
}

/** Why a specimen must be refused; also its file name in `clients/`. */
export type PkiSpecimen = "revoked" | "expired" | "not-yet-valid" | "wrong-eku" | "foreign"

/** A leaf to keep: where it lies, what it says, and who must have signed it. */
export interface LeafFile {
  readonly certificateFile: string
  readonly keyFile: string
  readonly plan: LeafPlan
  readonly signer: "own" | "foreign"
  /** Kept as it is while the CA is the one that signed it. */
  readonly isPinned?: boolean
}

const FILE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/
const HOST = /^(?:\*\.)?[a-z0-9](?:[a-z0-9.-]{0,250}[a-z0-9])?$/i
const SAN_URI = /^[a-z][a-z0-9+.-]*:[\x21-\x7e]{1,2000}$/i
/** Stands in where there is no client to imitate. */
const NOBODY: PkiClientOptions = {
  id: "nobody",
  sanUri: "spiffe://partners.example/nobody",
  subject: "CN=nobody,O=Nobody,C=JP",
}

/** Returns every leaf that the options ask for. A specimen differs from the first client in one thing only. */
export function planLeaves(clients: readonly PkiClientOptions[], hosts: readonly string[]) {
  refuseUnfitHosts(hosts)
  const genuine = planClient(clients[0] ?? NOBODY)
  const specimens = {
    revoked: clientFile("revoked", genuine),
    expired: clientFile("expired", { ...genuine, period: "past" }),
    "not-yet-valid": clientFile("not-yet-valid", { ...genuine, period: "future" }),
    "wrong-eku": clientFile("wrong-eku", { ...genuine, usage: "server" }),
    foreign: { ...clientFile("foreign", genuine), signer: "foreign" },
  } satisfies Record<PkiSpecimen, LeafFile>
  const taken = new Set(Object.keys(specimens))
  const files = clients.map((client) => {
    // Compared in lower case: some file systems do not tell the two apart.
    const name = client.id.toLowerCase()
    const shown = `the client id ${JSON.stringify(client.id)}`
    if (!FILE_NAME.test(client.id)) throw refuse(shown, "it cannot be a file name")
    if (taken.has(name)) throw refuse(shown, "a specimen or another client has that file")
    taken.add(name)
    return { id: client.id, leaf: { ...clientFile(client.id, planClient(client)), isPinned: client.isPinned === true } }
  })
  const server: LeafFile = {
    certificateFile: "server.pem",
    keyFile: "server.key",
    plan: {
      subject: parseSubject("CN=Sekisho Development Server,O=Sekisho Development"),
      names: serverNames(hosts),
      usage: "server",
      period: "current",
    },
    signer: "own",
  }
  const all: LeafFile[] = [server, ...files.map(({ leaf }) => leaf), ...Object.values(specimens)]
  return { server, clients: files, specimens, all }
}

function planClient(client: PkiClientOptions): LeafPlan {
  const { sanUri } = client
  if (!SAN_URI.test(sanUri)) throw refuse(`the name ${JSON.stringify(sanUri)}`, "it is not an absolute URI")
  return {
    subject: subjectOf(client),
    names: [{ type: "url", value: sanUri }],
    usage: "client",
    period: "current",
  }
}

function subjectOf(client: PkiClientOptions): LeafPlan["subject"] {
  try {
    return parseSubject(client.subject)
  } catch (error) {
    throw refuse(
      `the subject of client ${JSON.stringify(client.id)}`,
      error instanceof Error ? error.message : String(error),
    )
  }
}

function clientFile(name: string, plan: LeafPlan): LeafFile {
  const file = join("clients", `${name}.pem`)
  return { certificateFile: file, keyFile: file, plan, signer: "own" }
}

function refuseUnfitHosts(hosts: readonly string[]): void {
  for (const host of hosts) {
    if (isIP(host) !== 0 || HOST.test(host)) continue
    throw refuse(`the host ${JSON.stringify(host)}`, "it is neither a DNS name nor an address")
  }
}

function refuse(subject: string, state: string): PkiError {
  return new PkiError(`Cannot issue a certificate for ${subject}: ${state}`)
}

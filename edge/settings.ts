/**
 * The material of the edge, tried as a whole before any of it is in force.
 *
 * Runs when the edge starts and reloads. It throws an error that names the unusable part, so a start is refused and a
 * reload changes nothing; a half-usable configuration does not exist.
 */
import { constants } from "node:crypto"
import { createSecureContext } from "node:tls"
import { parseIpAddress } from "../src/core/message/ip-address.ts"
import { parseHost } from "../src/core/route/target.ts"
import type { EdgeMaterial } from "./options.ts"
import { parseTrust, type Trust } from "./trust.ts"

/** Everything derived from one {@link EdgeMaterial}, valid as a whole. */
export interface Settings {
  readonly material: EdgeMaterial
  readonly trust: Trust
  /** Hosts in the form of `parseHost`. */
  readonly hosts: ReadonlySet<string>
  readonly adminHosts: ReadonlySet<string>
}

/** Returns settings whose every part was tried, or throws. */
export function readSettings(source: EdgeMaterial): Settings {
  const { certificate, privateKey, clientCas, crls } = source
  const hosts = new Set(source.hosts.map(readHost))
  if (hosts.size === 0) throw new Error("Cannot use the hosts, there are none: name at least one host to serve")
  const adminHosts = new Set((source.adminHosts ?? []).map(readHost))
  const material = { certificate, privateKey, clientCas, crls, hosts: [...hosts], adminHosts: [...adminHosts] }
  const trust = parseTrust(clientCas, crls)
  try {
    createSecureContext(tlsOptions({ material, trust }))
  } catch (error) {
    const reason = "it or its key is damaged, or they do not belong together"
    throw new Error(`Cannot use the server certificate, ${reason}`, { cause: error })
  }
  return { material, trust, hosts, adminHosts }
}

function readHost(text: string): string {
  const authority = parseHost(text)
  if (authority === undefined || authority.port !== undefined) {
    throw new Error(`Cannot use the hosts, one is no host name without port: ${JSON.stringify(text)}`)
  }
  return authority.host
}

/** Returns the TLS options that a reload replaces, complete each time: Node resets what is left out. */
export function tlsOptions({ material, trust }: Pick<Settings, "material" | "trust">) {
  return {
    cert: material.certificate,
    key: material.privateKey,
    // Without this Node would trust the system's roots. One by one: OpenSSL reads a bundle of its own mind, and what it
    // trusts has to be what was checked.
    ca: trust.cas.map((ca) => ca.toString()),
    minVersion: "TLSv1.2" as const,
    // No tickets, and session ids lead nowhere without a store: a resumed session would outlive a revocation.
    // No renegotiation: it could change the certificate of a connection that has been judged.
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
  }
}

/**
 * Returns the host of a server name in its one spelling, or undefined when it is no host name. Node passes the name on
 * as sent, in any case; a trailing dot is tolerated; an address is no server name.
 *
 * @see RFC 6066 §3
 */
export function readServerName(name: string): string | undefined {
  const authority = parseHost(name.endsWith(".") ? name.slice(0, -1) : name)
  if (authority === undefined || authority.port !== undefined) return undefined
  const { host } = authority
  return host.startsWith("[") || parseIpAddress(host) !== undefined ? undefined : host
}

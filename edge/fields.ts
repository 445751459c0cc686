/**
 * Which header fields cross the edge, in both directions. Pure.
 *
 * The edge removes what ends at a connection and what only it may say; identity and forwarding fields in general are the
 * Worker's rule (`core/message/forwarding.ts`), the same as behind Cloudflare.
 *
 * @see RFC 9110 §7.6.1
 */
import { isHopByHop, parseConnection } from "../src/core/message/forwarding.ts"
import type { Field, Framing } from "./request-grammar.ts"

/**
 * Fields in which the edge and nobody else speaks: the connection details and the address. workerd joins
 * repeated blob lines, so one line of a caller would bury the edge's own.
 */
const EDGE_FAMILIES: readonly string[] = ["mf-", "cf-", "x-forwarded-"]
const EDGE_FIELDS: ReadonlySet<string> = new Set(["forwarded", "x-real-ip", "true-client-ip", "x-forwarded"])

/** What the edge adds to a request, each exactly once and after everything of the caller's. */
export interface EdgeFields {
  readonly clientAddress: string
  readonly blob: string
}

/** Returns the fields for the Worker, names and values in turn, in the caller's order. Host stays byte for byte. */
export function requestFields(fields: readonly Field[], framing: Framing, method: string, own: EdgeFields): string[] {
  const nominated = readNominated(fields)
  const kept = fields.filter(([name]) => {
    const key = name.toLowerCase()
    return (
      !isHopByHop(key, nominated) && !EDGE_FIELDS.has(key) && !EDGE_FAMILIES.some((family) => key.startsWith(family))
    )
  })
  const isBodyExpected = method === "POST" || method === "PUT" || method === "PATCH"
  return [
    ...joinCookies(kept).flat(),
    ...(framing === "chunked" ? ["Transfer-Encoding", "chunked"] : []),
    // The Worker expects one of them: without a length it would have to guess that there is none.
    ...(framing === "none" && isBodyExpected ? ["Content-Length", "0"] : []),
    "CF-Connecting-IP",
    own.clientAddress,
    "MF-CF-Blob",
    own.blob,
  ]
}

/** What the edge says of its own connection to the Worker. */
export const KEEP_ALIVE_FIELDS: readonly string[] = ["Connection", "keep-alive"]

/** What asks the Worker for a WebSocket; the caller's own Connection and Upgrade end here. */
export const UPGRADE_FIELDS: readonly string[] = ["Connection", "Upgrade", "Upgrade", "websocket"]

/** Returns the octets of the Worker's 101 for the caller. */
export function formatSwitch(rawHeaders: readonly string[]): string {
  const fields = [...responseFields(rawHeaders), ...UPGRADE_FIELDS]
  const lines = fields.flatMap((name, i) => (i % 2 === 0 ? [`${name}: ${fields[i + 1] ?? ""}`] : []))
  return `HTTP/1.1 101 Switching Protocols\r\n${lines.join("\r\n")}\r\n\r\n`
}

/** Returns the fields of the Worker's response for the caller, names and values in turn, in their order. */
export function responseFields(rawHeaders: readonly string[]): string[] {
  const fields: Field[] = []
  for (let i = 0; i < rawHeaders.length; i += 2) fields.push([rawHeaders[i] ?? "", rawHeaders[i + 1] ?? ""])
  const nominated = readNominated(fields)
  return fields.filter(([name]) => !isHopByHop(name.toLowerCase(), nominated)).flat()
}

/**
 * Returns the fields with all Cookie lines as one, in the place of the first. The runtime joins repeated lines with a comma,
 * which is part of a value to whoever reads cookies.
 *
 * @see RFC 9113 §8.2.3
 */
function joinCookies(fields: readonly Field[]): readonly Field[] {
  const isCookie = ([name]: Field): boolean => name.toLowerCase() === "cookie"
  const lines = fields.filter(isCookie)
  if (lines.length < 2) return fields
  const joined = lines.map(([, value]) => value).join("; ")
  return fields.flatMap((field): readonly Field[] => {
    if (!isCookie(field)) return [field]
    return field === lines[0] ? [[field[0], joined]] : []
  })
}

/** Connection may stand on several lines; they are one list. */
function readNominated(fields: readonly Field[]): ReadonlySet<string> {
  const lines = fields.filter(([name]) => name.toLowerCase() === "connection").map(([, value]) => value)
  return parseConnection(lines.length === 0 ? null : lines.join(","))
}

/**
 * Which problem answers what Node's HTTP parser refused. Only the code and the octets that were parsed last are known;
 * the answer is a best reading of them and the connection ends in every case. Pure and total; called by `edge/server.ts`.
 */
import type { ProblemCode } from "../src/core/problem.ts"
import { codeOfTarget, isRoutable } from "./request-grammar.ts"

/** An error of Node's HTTP server as far as it is looked at. */
export interface ParserError {
  readonly code?: string | undefined
  readonly reason?: string | undefined
  readonly rawPacket?: Uint8Array | undefined
}

/** How much of the packet is looked at, in octets. */
const EXCERPT_BYTES_MAX = 65_536
const REQUEST_LINE = /^(?:\r\n)*(?<method>[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) (?<target>[^ \r\n]+)/

/** Returns the code to answer with, or undefined when the connection broke and nobody is left to be answered. */
export function codeOfParserError(error: ParserError): ProblemCode | undefined {
  const { code } = error
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return "request-timeout"
  if (code === "HPE_HEADER_OVERFLOW") return "headers-too-large"
  if (code === undefined || !code.startsWith("HPE_")) return undefined
  const packet = Buffer.from(error.rawPacket?.subarray(0, EXCERPT_BYTES_MAX) ?? []).toString("latin1")
  const { method, target } = REQUEST_LINE.exec(packet)?.groups ?? {}
  // Node knows only registered methods; to a caller an unknown one is no different from one that no route lists.
  if (code === "HPE_INVALID_METHOD" && method !== undefined && /^[A-Za-z]/.test(method) && !isRoutable(method)) {
    return "method-not-allowed"
  }
  // A bare line feed behind the version is the same error to Node.
  if (code === "HPE_INVALID_VERSION" && /^(?:\r\n)*[^\r\n]* HTTP\/[0-9]\.[0-9]\r\n/.test(packet))
    return "http-version-not-supported"
  if (code === "HPE_INVALID_URL" && target !== undefined) return codeOfTarget(target)
  if (code === "HPE_UNEXPECTED_CONTENT_LENGTH" && hasEqualLengths(packet)) return "duplicate-header"
  return "malformed-request"
}

/** Equal repeated lengths are a doubled field, differing ones an attack on framing. */
function hasEqualLengths(packet: string): boolean {
  const header = packet.split("\r\n\r\n", 1)[0] ?? ""
  if (/^transfer-encoding:/im.test(header)) return false
  const lengths = [...header.matchAll(/^content-length:[ \t]*(\d+)[ \t]*\r?$/gim)].map(([, length]) => length)
  return lengths.length > 1 && new Set(lengths).size === 1
}

/**
 * What a request asks for: host, port, one canonical path, and the query byte for byte.
 *
 * workerd composes `request.url` from the Host field and the request target without normalising either, and origins,
 * proxies and `fetch()` each normalise differently. So a target that two readers could read in two ways is refused, not
 * repaired; route, policy and origin all use the one path decided here. Pure, total, linear in the length of the input.
 * Called by the `target` stage, by the edge (Host) and by the configuration (hosts, paths of routes).
 */
import { TARGET_BYTES_MAX } from "../bounds.ts"
import { formatIpAddress, parseIpAddress } from "../message/ip-address.ts"

/** A host in its one spelling: a lower-case name, a dotted quad or bracketed RFC 5952 text. `port` only as sent. */
export interface Authority {
  readonly host: string
  readonly port: number | undefined
}

/** Why a path is refused; for the log only. */
export type PathFault =
  | "path_not_absolute"
  | "path_character"
  | "path_control_character"
  | "path_backslash"
  | "path_encoded_slash"
  | "path_percent_malformed"
  | "path_utf8_invalid"
  | "path_empty_segment"
  | "path_dot_segment"

/** The canonical path, or why there is none. */
export type PathResult =
  | { readonly ok: true; readonly path: string }
  | { readonly ok: false; readonly reason: PathFault }

/** What a request asks for, or the problem code to refuse with and the reason for the log. */
export type TargetDecision =
  | {
      readonly ok: true
      readonly host: string
      readonly port: number | undefined
      /** Canonical, see {@link canonicalizePath}. */
      readonly path: string
      /** As sent, with its leading `?`; empty when there is none. */
      readonly query: string
    }
  | {
      readonly ok: false
      readonly code: "host-rejected" | "misdirected-request" | "uri-too-long" | "path-rejected"
      readonly reason:
        | "host_invalid"
        | "host_differs"
        | "host_unknown"
        | "target_too_long"
        | "query_character"
        | PathFault
    }

const HOST_LENGTH_MAX = 253
const PORT_MAX = 65_535
/** IPv6 without its brackets, or a name; a port. */
const HOST = /^(?:\[([0-9A-Fa-f:.]+)\]|([0-9A-Za-z.-]+))(?::([1-9][0-9]{0,4}))?$/
const LABEL = /^[0-9a-z](?:[0-9a-z-]{0,61}[0-9a-z])?$/
/** A last label that URL parsers take for a number, and with it the whole name for an IPv4 address. */
const NUMERIC_LABEL = /^(?:[0-9]+|0x[0-9a-f]*)$/
/** Scheme, authority, target. */
const URL_PARTS = /^(https?):\/\/([^/?#\\]*)(.*)$/su
/** Printable ASCII without space and `#`: what may stand in a query. */
const QUERY = /^[!-"$-~]*$/

/** Paths that are canonical already and hold no percent-encoding: nearly all of them, decided without a walk. */
const PLAIN_PATH = /^(?=\/)(?:\/(?!\.{0,2}(?:[;/]|$))[0-9A-Za-z._~!$&'()*+,;=:@-]+)*\/?$/
const PCHAR = /[0-9A-Za-z._~!$&'()*+,;=:@-]/
const UNRESERVED = /[0-9A-Za-z._~-]/
const CONTROL = /[\0-\x1f\x7f-\x9f]/
/** What a reader that strips path parameters sees of a segment. */
const PARAMETERS = /(?:;|%3B).*$/

/**
 * Returns the host and port of a Host field, or undefined when it is not exactly one host in its plain form.
 *
 * A name has labels of 1 to 63 letters, digits and inner hyphens, 253 characters in all, no trailing dot; the result is
 * lower case. A name whose last label is a number must be a strict dotted quad: URL parsers read `2130706433` and
 * `0x7f.1` as 127.0.0.1. IPv6 stands in brackets; IPv4-mapped IPv6 is refused, since it is another spelling of an IPv4
 * host. The port is 1 to 65535 without leading zeros, undefined when absent, never empty.
 *
 * @see RFC 9110 §7.2, RFC 3986 §3.2.2, RFC 1123 §2.1
 */
export function parseHost(value: string): Authority | undefined {
  const [, ipv6, name, digits] = HOST.exec(value) ?? []
  const host = ipv6 === undefined ? parseName(name ?? "") : parseIpv6Literal(ipv6)
  const port = digits === undefined ? undefined : Number(digits)
  if (host === undefined || (port !== undefined && port > PORT_MAX)) return undefined
  return { host, port }
}

/**
 * Decides what a request asks for: first the Host field, then that the URL was composed from it, then the allow-list,
 * the length, the path and the query. The first fault decides.
 *
 * The target is whatever stands behind the authority in the raw URL, so a Host field that would move the border
 * (`gw.test/public/?`) is refused before the URL is looked at, and one that differs from it in host or port afterwards.
 * A default port may be present on one side only. The query may hold printable ASCII except space and `#`.
 *
 * @param input.hostField the Host field as received, null when absent
 * @param input.url the raw `request.url`: scheme, Host field and request target, joined without normalisation
 * @param hosts hosts in the form of {@link parseHost}, without port
 * @see RFC 9112 §3.2, §3.3; RFC 9110 §7.4 (421)
 */
export function decideTarget(
  input: { readonly hostField: string | null; readonly url: string },
  hosts: ReadonlySet<string>,
): TargetDecision {
  const field = parseHost(input.hostField ?? "")
  if (field === undefined) return { ok: false, code: "host-rejected", reason: "host_invalid" }
  const [, scheme, authority, target] = URL_PARTS.exec(input.url) ?? []
  const ofUrl = authority === input.hostField ? field : parseHost(authority ?? "")
  if (scheme === undefined || target === undefined || !isSameAuthority(field, ofUrl, scheme)) {
    return { ok: false, code: "host-rejected", reason: "host_differs" }
  }
  if (!hosts.has(field.host)) return { ok: false, code: "misdirected-request", reason: "host_unknown" }
  // Characters are octets here: a target with any character beyond ASCII is refused below whatever its length.
  if (target.length > TARGET_BYTES_MAX) return { ok: false, code: "uri-too-long", reason: "target_too_long" }
  const mark = target.indexOf("?")
  const query = mark < 0 ? "" : target.slice(mark)
  const canonical = canonicalizePath(mark < 0 ? target : target.slice(0, mark))
  if (!canonical.ok) return { ok: false, code: "path-rejected", reason: canonical.reason }
  if (!QUERY.test(query)) return { ok: false, code: "path-rejected", reason: "query_character" }
  return { ok: true, host: field.host, port: field.port, path: canonical.path, query }
}

/**
 * Returns the one canonical spelling of a path, or why it has none.
 *
 * Percent-encoded unreserved characters are decoded, once; the digits of every other encoding become upper case and the
 * encoding stays. Raw are only pchar and `/`. Refused, each raw or encoded: dot segments, also before path parameters
 * (`..;x`); backslashes; C0, DEL and C1 controls. Refused as well: empty segments except one trailing slash, also where
 * only parameters fill them (`/;x/`); encoded slashes; malformed encodings; octets that are not UTF-8. A canonical path
 * is returned unchanged, and no URL parser takes it for another path or for a host.
 *
 * @see RFC 3986 §3.3, §6.2.2; RFC 3629 §4
 */
export function canonicalizePath(rawPath: string): PathResult {
  if (PLAIN_PATH.test(rawPath)) return { ok: true, path: rawPath }
  if (!rawPath.startsWith("/")) return { ok: false, reason: "path_not_absolute" }
  const segments = rawPath.slice(1).split("/")
  let path = ""
  for (const [i, segment] of segments.entries()) {
    const canonical = canonicalizeSegment(segment, i === segments.length - 1)
    if (!canonical.ok) return canonical
    path += `/${canonical.path}`
  }
  return { ok: true, path }
}

/** Canonicalizes what stands between two slashes; only the last segment may be empty. */
function canonicalizeSegment(segment: string, isLast: boolean): PathResult {
  let path = ""
  for (let i = 0; i < segment.length;) {
    const read = segment[i] === "%" ? readEncoded(segment, i) : readRaw(segment.charAt(i))
    if (typeof read === "string") return { ok: false, reason: read }
    path += read.text
    i += read.length
  }
  const name = path.replace(PARAMETERS, "")
  if (name === "" && !(isLast && path === "")) return { ok: false, reason: "path_empty_segment" }
  if (name === "." || name === "..") return { ok: false, reason: "path_dot_segment" }
  return { ok: true, path }
}

/** One character of a canonical path and how much of the raw segment it takes. */
interface Read {
  readonly text: string
  readonly length: number
}

/** Reads a character that is not percent-encoded. */
function readRaw(character: string): Read | PathFault {
  if (PCHAR.test(character)) return { text: character, length: 1 }
  if (character === "\\") return "path_backslash"
  return CONTROL.test(character) ? "path_control_character" : "path_character"
}

/** Reads one percent-encoded character: one octet, or the two to four of a UTF-8 sequence. */
function readEncoded(segment: string, start: number): Read | PathFault {
  const first = readOctet(segment, start)
  if (first === undefined) return "path_percent_malformed"
  const more = first < 0x80 ? 0 : first < 0xc0 ? -1 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : first < 0xf8 ? 3 : -1
  if (more < 0) return "path_utf8_invalid"
  let code = more === 0 ? first : first & (0x3f >> more)
  for (let i = 1; i <= more; i++) {
    const octet = readOctet(segment, start + 3 * i)
    if (octet === undefined || (octet & 0xc0) !== 0x80) return "path_utf8_invalid"
    code = (code << 6) | (octet & 0x3f)
  }
  // The least code point of each length: below it the sequence is overlong, a second spelling of a shorter one.
  const least = [0, 0x80, 0x800, 0x10000][more] ?? 0
  if (code < least || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return "path_utf8_invalid"
  const character = String.fromCodePoint(code)
  if (character === "/") return "path_encoded_slash"
  if (character === "\\") return "path_backslash"
  if (CONTROL.test(character)) return "path_control_character"
  const length = 3 * (more + 1)
  const text = UNRESERVED.test(character) ? character : segment.slice(start, start + length).toUpperCase()
  return { text, length }
}

/** Returns the octet of the percent-encoding at a place. */
function readOctet(segment: string, start: number): number | undefined {
  const encoding = segment.slice(start, start + 3)
  return /^%[0-9A-Fa-f]{2}$/.test(encoding) ? Number.parseInt(encoding.slice(1), 16) : undefined
}

/** Returns the lower-case host name or the dotted quad in a text. */
function parseName(text: string): string | undefined {
  if (text.length > HOST_LENGTH_MAX) return undefined
  const host = text.toLowerCase()
  const labels = host.split(".")
  if (!labels.every((label) => LABEL.test(label))) return undefined
  const isNumeric = NUMERIC_LABEL.test(labels.at(-1) ?? "")
  return isNumeric && parseIpAddress(host) === undefined ? undefined : host
}

/** Returns the bracketed canonical text of an IPv6 address. */
function parseIpv6Literal(text: string): string | undefined {
  const address = parseIpAddress(text)
  return address?.version === 6 ? `[${formatIpAddress(address)}]` : undefined
}

/** Returns true when the URL names the host and port of the Host field; an absent port is the scheme's default. */
function isSameAuthority(field: Authority, other: Authority | undefined, scheme: string): boolean {
  const defaultPort = scheme === "https" ? 443 : 80
  return other?.host === field.host && (other.port ?? defaultPort) === (field.port ?? defaultPort)
}

/**
 * Returns the path of a raw URL as it was sent, without query: what the record says about a target that was refused before
 * it had a canonical path. Untrusted text.
 */
export function rawPathOf(url: string): string {
  const start = url.indexOf("/", url.indexOf("://") + 3)
  return start === -1 ? "" : (/^[^?#]*/.exec(url.slice(start))?.[0] ?? "")
}

/**
 * IP addresses as octets: read strictly, written canonically, grouped for limits.
 *
 * Two spellings of one address must never be two keys or slip past a rule, so text is parsed to octets first and
 * IPv4-mapped IPv6 counts as IPv4 from then on. Pure and total; anything doubtful is no address at all. Called for the
 * client address, for allow and deny lists, for Host fields and for the Forwarded field.
 */

/** An address in network byte order: 4 octets with version 4, 16 with version 6. */
export interface IpAddress {
  readonly version: 4 | 6
  readonly bytes: Uint8Array
}

/** Longest text form: six groups of four digits and an embedded dotted quad. */
const TEXT_LENGTH_MAX = 45
/** A leading zero would be octal to some readers and decimal to others, so it is refused. */
const OCTET = /^(?:0|[1-9][0-9]{0,2})$/
const GROUP = /^[0-9A-Fa-f]{1,4}$/

/**
 * Returns the address in a text, or undefined when the text is not exactly one address.
 *
 * IPv4 is a dotted quad without leading zeros; IPv6 is any form of RFC 4291 §2.2, with `::` for at least one group.
 * IPv4-mapped IPv6 (`::ffff:0:0/96`) folds to version 4. Brackets, ports, prefixes, spaces and zone ids are refused.
 *
 * @see RFC 4291 §2.2, §2.5.5.2; RFC 6943 §3.1.1 on why other IPv4 spellings are refused
 */
export function parseIpAddress(text: string): IpAddress | undefined {
  if (text.length > TEXT_LENGTH_MAX) return undefined
  if (!text.includes(":")) {
    const octets = parseQuad(text)
    return octets && { version: 4, bytes: Uint8Array.from(octets) }
  }
  const bytes = parseGroups(text)
  if (bytes === undefined) return undefined
  return isMapped(bytes) ? { version: 4, bytes: bytes.slice(12) } : { version: 6, bytes }
}

/**
 * Returns the one canonical text of an address: a dotted quad, or IPv6 in lower case with the first longest run of two
 * or more zero groups as `::`. `parseIpAddress` gives the same address back.
 *
 * @see RFC 5952 §4
 */
export function formatIpAddress(address: IpAddress): string {
  if (address.version === 4) return address.bytes.join(".")
  const groups = Array.from({ length: 8 }, (_, i) => groupAt(address.bytes, i))
  const run = longestZeroRun(groups)
  const text = (part: number[]): string => part.map((group) => group.toString(16)).join(":")
  if (run.length < 2) return text(groups)
  return `${text(groups.slice(0, run.start))}::${text(groups.slice(run.start + run.length))}`
}

/**
 * Returns the address as a node of the Forwarded field: IPv4 bare, IPv6 bracketed and, because colons and brackets are
 * no token characters, as a quoted string.
 *
 * @see RFC 7239 §6
 */
export function formatForwardedNode(address: IpAddress): string {
  const text = formatIpAddress(address)
  return address.version === 4 ? text : `"[${text}]"`
}

/**
 * Returns the prefix that one limit counts, as text: the address itself as `/32` for IPv4, its `/64` for IPv6. One IPv6
 * subscriber holds at least a /64 and can use a new address in it for every request.
 *
 * @see RFC 6177 §2
 */
export function limitPrefix(address: IpAddress): string {
  if (address.version === 4) return `${formatIpAddress(address)}/32`
  const network = new Uint8Array(16)
  network.set(address.bytes.subarray(0, 8))
  return `${formatIpAddress({ version: 6, bytes: network })}/64`
}

/** Returns the four octets of a strict dotted quad. */
function parseQuad(text: string): number[] | undefined {
  const parts = text.split(".")
  if (parts.length !== 4 || !parts.every((part) => OCTET.test(part) && Number(part) <= 255)) return undefined
  return parts.map(Number)
}

/** Returns the 16 octets of an IPv6 text. */
function parseGroups(text: string): Uint8Array | undefined {
  const sides = text.split("::")
  if (sides.length > 2) return undefined
  const head = parseSide(sides[0] ?? "", sides.length === 1)
  const tail = sides.length === 2 ? parseSide(sides[1] ?? "", true) : []
  if (head === undefined || tail === undefined) return undefined
  const given = head.length + tail.length
  // "::" stands for at least one group: with eight groups present it would stand for none.
  if (sides.length === 1 ? given !== 16 : given > 14) return undefined
  const bytes = new Uint8Array(16)
  bytes.set(head)
  bytes.set(tail, 16 - tail.length)
  return bytes
}

/** Returns the octets of colon-separated groups, the last of which may be a dotted quad where the text ends there. */
function parseSide(side: string, isLast: boolean): number[] | undefined {
  if (side === "") return []
  const groups = side.split(":")
  const octets: number[] = []
  for (const [i, group] of groups.entries()) {
    if (GROUP.test(group)) {
      const value = Number.parseInt(group, 16)
      octets.push(value >> 8, value & 0xff)
      continue
    }
    const quad = isLast && i === groups.length - 1 ? parseQuad(group) : undefined
    if (quad === undefined) return undefined
    octets.push(...quad)
  }
  return octets
}

/** Returns true for `::ffff:0:0/96`. */
function isMapped(bytes: Uint8Array): boolean {
  return bytes.subarray(0, 10).every((octet) => octet === 0) && bytes[10] === 0xff && bytes[11] === 0xff
}

/** Returns the i-th 16-bit group. */
function groupAt(bytes: Uint8Array, i: number): number {
  return ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0)
}

/** Returns the first of the longest runs of zero groups; length 0 when there is none. */
function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let longest = { start: 0, length: 0 }
  let length = 0
  for (const [i, group] of groups.entries()) {
    length = group === 0 ? length + 1 : 0
    if (length > longest.length) longest = { start: i - length + 1, length }
  }
  return longest
}

/**
 * Request ids: what one looks like, and how one is minted. Pure: time and randomness are arguments.
 */

import { formatHex } from "../hex.ts"

const WELL_FORMED = /^[A-Za-z0-9][A-Za-z0-9._-]{7,63}$/

/**
 * Returns true when a caller's id may be adopted: 8 to 64 letters, digits, dots, underscores or hyphens, starting with a
 * letter or digit. The set is safe in a header, a log line, a URN and a shell.
 */
export function isRequestId(value: string): boolean {
  return WELL_FORMED.test(value)
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** Returns true for a UUID in lower case: the form of every id that a gateway or its edge mints. */
export function isUuid(value: string): boolean {
  return UUID.test(value)
}

/**
 * Returns a UUIDv7 in lower case: sortable by time, unguessable in the rest.
 *
 * @param nowMs epoch ms, 0 to 2^48 - 1
 * @param random at least 10 random octets; only the first 10 are used
 * @see RFC 9562 §5.7
 */
export function mintRequestId(nowMs: number, random: Uint8Array): string {
  const time = nowMs.toString(16).padStart(12, "0")
  const tail = formatHex(random, 0, Math.min(10, random.length)).padEnd(20, "0")
  const variant = ((random[2] ?? 0) & 0x3f) | 0x80
  return `${time.slice(0, 8)}-${time.slice(8)}-7${tail.slice(1, 4)}-${variant.toString(16)}${tail.slice(6, 8)}-${tail.slice(8, 20)}`
}

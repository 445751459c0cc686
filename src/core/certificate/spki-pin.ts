/**
 * SHA-256 of a public key as people write it: hex, or base64 as a pin has it.
 *
 * Pure and total; called by the configuration and the command line.
 *
 * @see RFC 7469 §2.1.1, §2.4
 */
import { formatBase64url, parseBase64url } from "../base64url.ts"
import { formatHex, parseHex } from "../hex.ts"

/**
 * Returns the digest as 64 lower-case hex digits, or undefined. Accepts 64 hex digits, colons allowed, and 44 characters of
 * base64, also behind `sha256/`. Base64 whose unused bits are not zero is a second spelling and refused.
 */
export function parseSpkiPin(text: string): string | undefined {
  const hex = text.replaceAll(":", "").toLowerCase()
  if (/^[0-9a-f]{64}$/.test(hex)) return hex
  const base64 = text.replace(/^sha256\//, "")
  if (!/^[A-Za-z0-9+/]{43}=$/.test(base64)) return undefined
  const octets = parseBase64url(base64.slice(0, 43).replaceAll("+", "-").replaceAll("/", "_"))
  return octets === undefined ? undefined : formatHex(octets)
}

/** Returns 64 hex digits as the base64 of a pin; of anything else, an empty text. */
export function formatSpkiPin(hex: string): string {
  const octets = parseHex(hex)
  if (octets?.length !== 32) return ""
  return `${formatBase64url(octets).replaceAll("-", "+").replaceAll("_", "/")}=`
}

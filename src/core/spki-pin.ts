/**
 * SHA-256 of a public key as people write it: hex, or base64 as a pin has it.
 *
 * Pure and total; called by the configuration and the command line.
 *
 * @see RFC 7469 §2.1.1, §2.4
 */
import { formatHex, parseHex } from "./hex.ts"

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

/**
 * Returns the digest as 64 lower-case hex digits, or undefined. Accepts 64 hex digits, colons allowed, and 44 characters of
 * base64, also behind `sha256/`. Base64 whose unused bits are not zero is a second spelling and refused.
 */
export function parseSpkiPin(text: string): string | undefined {
  const hex = text.replaceAll(":", "").toLowerCase()
  if (/^[0-9a-f]{64}$/.test(hex)) return hex
  const base64 = text.replace(/^sha256\//, "")
  if (!/^[A-Za-z0-9+/]{43}=$/.test(base64)) return undefined
  let bits = 0
  let pending = 0
  const octets: number[] = []
  for (const char of base64.slice(0, 43)) {
    pending = (pending << 6) | ALPHABET.indexOf(char)
    bits += 6
    if (bits >= 8) {
      bits -= 8
      octets.push((pending >> bits) & 0xff)
      pending &= (1 << bits) - 1
    }
  }
  return pending === 0 ? formatHex(Uint8Array.from(octets)) : undefined
}

/** Returns 64 hex digits as the base64 of a pin; of anything else, an empty text. */
export function formatSpkiPin(hex: string): string {
  const octets = parseHex(hex)
  if (octets?.length !== 32) return ""
  let pin = ""
  let bits = 0
  let pending = 0
  for (const octet of octets) {
    pending = (pending << 8) | octet
    bits += 8
    while (bits >= 6) {
      bits -= 6
      pin += ALPHABET[pending >> bits]
      pending &= (1 << bits) - 1
    }
  }
  return `${pin}${ALPHABET[pending << (6 - bits)]}=`
}

/**
 * Octets as hexadecimal digits and back. Pure and total; ids, fingerprints, MACs and DER values are written with it.
 */

/** Codes of the lower-case digits. */
const CODES: readonly number[] = Array.from("0123456789abcdef", (digit) => digit.charCodeAt(0))

/** Octets that are written at a time. */
const PART = 64

/** Returns the octets as lower-case hex. */
export function formatHex(octets: Uint8Array): string {
  if (octets.length <= PART) return formatPart(octets)
  let text = ""
  for (let i = 0; i < octets.length; i += PART) text += formatPart(octets.subarray(i, i + PART))
  return text
}

/** Built as codes: a text that is added to octet by octet is as many texts. */
function formatPart(octets: Uint8Array): string {
  const codes: number[] = []
  for (let i = 0; i < octets.length; i++) {
    const octet = octets[i] ?? 0
    codes.push(CODES[octet >> 4] ?? 0, CODES[octet & 15] ?? 0)
  }
  return String.fromCharCode(...codes)
}

/** Returns the octets of an even number of hex digits of any case, or undefined. */
export function parseHex(text: string): Uint8Array | undefined {
  if (text.length % 2 !== 0 || !/^[0-9A-Fa-f]*$/.test(text)) return undefined
  return Uint8Array.from({ length: text.length / 2 }, (_, i) => Number.parseInt(text.slice(i * 2, i * 2 + 2), 16))
}

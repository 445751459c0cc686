/**
 * Octets as hexadecimal digits and back. Pure and total; ids, fingerprints, MACs and DER values are written with it.
 */

/** Codes of the lower-case digits. */
const CODES: readonly number[] = Array.from("0123456789abcdef", (digit) => digit.charCodeAt(0))

/** Octets that are written at a time. */
const PART = 64

/** Returns the octets from `begin` up to `end` as lower-case hex; by default all of them. */
export function formatHex(octets: Uint8Array, begin = 0, end = octets.length): string {
  if (end - begin <= PART) return formatPart(octets, begin, end)
  let text = ""
  for (let i = begin; i < end; i += PART) text += formatPart(octets, i, Math.min(end, i + PART))
  return text
}

/** Built as codes: a text that is added to octet by octet is as many texts. */
function formatPart(octets: Uint8Array, begin: number, end: number): string {
  const codes: number[] = []
  for (let i = begin; i < end; i++) {
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

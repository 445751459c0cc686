/**
 * Octets as hexadecimal digits and back. Pure and total; ids, fingerprints, MACs and DER values are written with it.
 */

/** The two lower-case digits of every octet: request ids and traces are written for every request. */
const DIGITS: readonly string[] = Array.from({ length: 256 }, (_, octet) => octet.toString(16).padStart(2, "0"))

/** Returns the octets as lower-case hex. */
export function formatHex(octets: Uint8Array): string {
  let text = ""
  for (let i = 0; i < octets.length; i++) text += DIGITS[octets[i] ?? 0]
  return text
}

/** Returns the octets of an even number of hex digits of any case, or undefined. */
export function parseHex(text: string): Uint8Array | undefined {
  if (text.length % 2 !== 0 || !/^[0-9A-Fa-f]*$/.test(text)) return undefined
  return Uint8Array.from({ length: text.length / 2 }, (_, i) => Number.parseInt(text.slice(i * 2, i * 2 + 2), 16))
}

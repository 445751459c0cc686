/**
 * Octets as base64url without padding: how JOSE writes digests, keys and the parts of tokens. Every value has one spelling.
 *
 * A decoder that ignores stray bits or characters lets one signed token have many texts, and a cache or a log then takes
 * them for different tokens. Pure and total.
 *
 * @see RFC 4648 §5 and §3.5, RFC 7515 §2
 */

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
const VALUES: ReadonlyMap<string, number> = new Map(Array.from(ALPHABET, (char, value) => [char, value]))

/** Returns the octets of a text in base64url, or undefined when it has padding, foreign characters or stray bits. */
export function parseBase64url(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (text.length % 4 === 1) return undefined
  const octets = new Uint8Array(Math.floor((text.length * 3) / 4))
  let bits = 0
  let held = 0
  let at = 0
  for (const char of text) {
    const value = VALUES.get(char)
    if (value === undefined) return undefined
    bits = ((bits << 6) | value) & 0xffff
    held += 6
    if (held < 8) continue
    held -= 8
    octets[at++] = (bits >> held) & 0xff
  }
  return (bits & ((1 << held) - 1)) === 0 ? octets : undefined
}

/** Returns the octets as base64url without padding. */
export function formatBase64url(octets: Uint8Array): string {
  let text = ""
  for (let i = 0; i < octets.length; i += 3) {
    const group = ((octets[i] ?? 0) << 16) | ((octets[i + 1] ?? 0) << 8) | (octets[i + 2] ?? 0)
    const chars = Math.min(octets.length - i, 3) + 1
    for (let place = 0; place < chars; place++) text += ALPHABET.charAt((group >> (18 - 6 * place)) & 0x3f)
  }
  return text
}

/**
 * Octets as base64url without padding: how digests stand in tokens and keys. Pure and total.
 *
 * @see RFC 4648 §5, RFC 7515 §2
 */

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

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

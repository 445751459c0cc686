/**
 * Takes one DER value out of PEM text. Pure and total; called for certificates of the configuration and for revocation lists.
 *
 * @see RFC 7468
 */

const BEGIN = "-----BEGIN "
const PADDING = 0x3d

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
/** The value of each base64 digit by its character code; 255 for whatever is none. */
const VALUES = new Uint8Array(256).fill(255)
for (let value = 0; value < DIGITS.length; value++) VALUES[DIGITS.charCodeAt(value)] = value

/** Returns true when the octets begin like PEM rather than DER, whatever text stands before the first block. */
export function isPem(octets: Uint8Array): boolean {
  return octets[0] !== 0x30 && findText(octets, BEGIN, 0) >= 0
}

/**
 * Returns the octets of the only block in PEM text, or undefined when there is none, more than one, one of another label or
 * one that is damaged. Text around the block is allowed, as OpenSSL writes it.
 *
 * @param labels what the block may be called, such as `CERTIFICATE`
 */
export function decodePem(octets: Uint8Array, labels: readonly string[]): Uint8Array | undefined {
  const start = findText(octets, BEGIN, 0)
  if (start < 0 || findText(octets, BEGIN, start + BEGIN.length) >= 0) return undefined
  for (const label of labels) {
    const begin = `${BEGIN}${label}-----`
    if (findText(octets.subarray(start, start + begin.length), begin, 0) !== 0) continue
    const end = findText(octets, `-----END ${label}-----`, start)
    return end < 0 ? undefined : decodeBase64(octets.subarray(start + begin.length, end))
  }
  return undefined
}

/** Returns the octets of base64 with white space anywhere, or undefined; bits behind the last octet have to be zero. */
function decodeBase64(text: Uint8Array): Uint8Array | undefined {
  const octets = new Uint8Array(Math.ceil((text.length * 3) / 4))
  let length = 0
  let buffer = 0
  let bits = 0
  let digits = 0
  let padding = 0
  for (const code of text) {
    if (code === 0x20 || (code >= 0x09 && code <= 0x0d)) continue
    const value = VALUES[code] ?? 255
    if (code === PADDING) padding += 1
    else if (value === 255 || padding > 0) return undefined
    else {
      digits += 1
      buffer = ((buffer << 6) | value) & 0xffff
      bits += 6
      if (bits >= 8) {
        bits -= 8
        octets[length++] = (buffer >> bits) & 0xff
      }
    }
  }
  const isWhole = (digits + padding) % 4 === 0 && padding <= 2 && digits % 4 !== 1
  return isWhole && (buffer & ((1 << bits) - 1)) === 0 ? octets.subarray(0, length) : undefined
}

function findText(octets: Uint8Array, text: string, from: number): number {
  const first = text.charCodeAt(0)
  for (let at = octets.indexOf(first, from); at >= 0; at = octets.indexOf(first, at + 1)) {
    let matched = 1
    while (matched < text.length && octets[at + matched] === text.charCodeAt(matched)) matched += 1
    if (matched === text.length) return at
  }
  return -1
}

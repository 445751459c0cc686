/**
 * SHA-256 as the gateway writes it down: for certificates, for keys of guards, for what it remembers of tokens.
 */
import { formatHex } from "./core/hex.ts"

const encoder = new TextEncoder()

/** Returns the SHA-256 of octets, or of the UTF-8 of a text, as 64 lower-case hex digits. */
export async function sha256Hex(data: Uint8Array<ArrayBuffer> | string): Promise<string> {
  const octets = typeof data === "string" ? encoder.encode(data) : data
  return formatHex(new Uint8Array(await crypto.subtle.digest("SHA-256", octets)))
}

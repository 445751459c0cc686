/**
 * The connection details that the edge vouches for, as the one header field that workerd turns into `request.cf`.
 *
 * @see src/core/edge-assertion.ts for what the MAC covers and how the Worker checks it
 */
import { createHmac } from "node:crypto"
import { signedText, type AssertedRequest, type EdgeAssertion } from "../src/core/edge-assertion.ts"
import type { EdgeReport } from "../src/core/edge-metrics.ts"
import type { TlsClientAuth } from "../src/core/platform-certificate.ts"

/** What the edge knows of a connection, under the names that Cloudflare uses in `request.cf`. */
export interface ConnectionDetails {
  readonly tlsClientAuth: TlsClientAuth
  readonly tlsVersion: string
  readonly tlsCipher: string
  readonly httpProtocol: string
  readonly clientTcpRtt: number
  /** What the edge says of itself, with requests to the admin room alone. No name of Cloudflare's. */
  readonly edgeMetrics?: EdgeReport | undefined
}

/** Octets of the key: those of the digest, so that none is hashed away (RFC 2104 §3). */
export const ASSERTION_KEY_BYTES = 32

/** Returns the value of the header field: JSON of the details and their assertion, in ASCII. */
export function formatBlob(
  details: ConnectionDetails,
  request: AssertedRequest,
  validity: Pick<EdgeAssertion, "rid" | "exp">,
  key: Uint8Array,
): string {
  const text = signedText(validity, request, JSON.stringify(details))
  const mac = createHmac("sha256", key).update(text).digest("hex")
  const edgeAssertion: EdgeAssertion = { ...validity, mac }
  // A header field is ASCII; the escapes are the same characters to whoever parses the JSON.
  return JSON.stringify({ ...details, edgeAssertion }).replace(
    /[^\x20-\x7e]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  )
}

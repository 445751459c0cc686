/**
 * The connection details that the edge vouches for, as the one header field that workerd turns into `request.cf`.
 *
 * @see src/core/edge-assertion.ts for what the MAC covers and how the Worker checks it
 */
import { createHmac, type KeyObject } from "node:crypto"
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

/** Details as text: as the MAC covers them, and as a header field carries them. Made once where details do not change. */
export interface WrittenDetails {
  readonly json: string
  /** The same to whoever parses the JSON; a header field is ASCII. */
  readonly ascii: string
}

/** Returns the details as text. */
export function writeDetails(details: ConnectionDetails): WrittenDetails {
  const json = JSON.stringify(details)
  const ascii = json.replace(
    /[^\x20-\x7e]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  )
  return { json, ascii }
}

/** Returns the value of the header field: JSON of the details and their assertion, in ASCII. */
export function formatBlob(
  { ascii, json }: WrittenDetails,
  request: AssertedRequest,
  validity: Pick<EdgeAssertion, "rid" | "exp">,
  key: KeyObject,
): string {
  const mac = createHmac("sha256", key)
    .update(signedText(validity, request, json))
    .digest("hex")
  const edgeAssertion: EdgeAssertion = { ...validity, mac }
  return `${ascii.slice(0, -1)},"edgeAssertion":${JSON.stringify(edgeAssertion)}}`
}

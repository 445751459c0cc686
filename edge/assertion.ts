/**
 * The connection details that the edge vouches for, as the one header field that workerd turns into `request.cf`.
 *
 * @see src/core/assertion/edge-assertion.ts for what the MAC covers and how the Worker checks it
 */
import { createHmac, type KeyObject } from "node:crypto"
import { signedText, type AssertedRequest, type EdgeAssertion } from "../src/core/assertion/edge-assertion.ts"
import type { EdgeReport } from "../src/core/metric/edge-metrics.ts"
import type { TlsClientAuth } from "../src/core/certificate/platform-certificate.ts"

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

/** Details as they are written: what the MAC covers, and what a header field carries. Made once where details do not change. */
export interface WrittenDetails {
  /** JSON in UTF-8. */
  readonly octets: Buffer
  /** The same to whoever parses the JSON, without its last brace; a header field is ASCII. */
  readonly opening: string
}

/** Returns the details as they are written. */
export function writeDetails(details: ConnectionDetails): WrittenDetails {
  const json = JSON.stringify(details)
  const ascii = json.replace(
    /[^\x20-\x7e]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  )
  return { octets: Buffer.from(json), opening: ascii.slice(0, -1) }
}

/** Returns the value of the header field: JSON of the details and their assertion, in ASCII. */
export function formatBlob(
  { octets, opening }: WrittenDetails,
  request: AssertedRequest,
  { exp, rid }: Pick<EdgeAssertion, "rid" | "exp">,
  key: KeyObject,
): string {
  // The details end the text: what stands before them is all that is new.
  const mac = createHmac("sha256", key)
    .update(signedText({ exp, rid }, request, ""))
    .update(octets)
    .digest("hex")
  const edgeAssertion: EdgeAssertion = { rid, exp, mac }
  return `${opening},"edgeAssertion":${JSON.stringify(edgeAssertion)}}`
}

/**
 * What is kept of an origin's answer for those who repeat a request: status, the fields on a list, and the octets of the body.
 *
 * A field that is not on the list may be about one exchange alone, such as a cookie, a trace or a nonce, and is not repeated.
 * Pure and total.
 */
import { isJsonObject, membersOf, parseJson } from "../untrusted.ts"

/** Fields that describe the content, say where it is, or vouch for it: they are as true the second time. Lower case. */
const KEPT: ReadonlySet<string> = new Set([
  "cache-control",
  "content-digest",
  "content-disposition",
  "content-encoding",
  "content-language",
  "content-location",
  "content-type",
  "digest",
  "etag",
  "last-modified",
  "link",
  "location",
  "preference-applied",
  "repr-digest",
  "signature",
  "signature-input",
  "vary",
  "warning",
  "x-jws-signature",
])

/** The head of an answer that is kept. */
export interface StoredHead {
  readonly version: 1
  readonly status: number
  readonly fields: readonly (readonly [name: string, value: string])[]
}

/** Returns what is kept of the head of an answer. */
export function keepHead(status: number, fields: Iterable<readonly [name: string, value: string]>): StoredHead {
  return { version: 1, status, fields: Array.from(fields).filter(([name]) => KEPT.has(name.toLowerCase())) }
}

/** Returns the head in a text, or undefined for one that holds none of a version that is known. */
export function parseStoredHead(text: string): StoredHead | undefined {
  const value = parseJson(text)
  if (!isJsonObject(value)) return undefined
  const { version, status, fields } = membersOf(value)
  if (version !== 1 || typeof status !== "number" || !Number.isInteger(status)) return undefined
  if (status < 200 || status > 599 || !Array.isArray(fields)) return undefined
  const kept: (readonly [string, string])[] = []
  for (const field of fields as readonly unknown[]) {
    if (!Array.isArray(field)) return undefined
    const [name, text] = field as readonly unknown[]
    if (typeof name !== "string" || typeof text !== "string" || !KEPT.has(name.toLowerCase())) return undefined
    kept.push([name, text])
  }
  return { version, status, fields: kept }
}

/** What an answer of the origin says about whether the request was carried out. */
export type AnswerMeaning = "final" | "not-done" | "unknown"

/**
 * Returns what a status says about the request. Errors are as final as successes, except two kinds: 429 says that the request
 * was not looked at (RFC 6585 §4), so the key is free again; 502, 503 and 504 are what balancers say of requests that may have
 * reached a server, so nobody knows.
 */
export function meaningOf(status: number): AnswerMeaning {
  if (status === 429) return "not-done"
  return status === 502 || status === 503 || status === 504 ? "unknown" : "final"
}

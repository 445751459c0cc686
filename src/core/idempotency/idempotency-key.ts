/**
 * The key under which a caller may repeat a request: read strictly from its field, and the words under which the ledger finds
 * what became of it.
 *
 * A key that two readers could read differently would let one payment be made under two keys, so whatever is not exactly one
 * String of RFC 9651 is refused. Pure and total; called by the `idempotency` stage.
 *
 * @see draft-ietf-httpapi-idempotency-key-header-07 §2.1, RFC 9651 §3.3.3
 */
import { IDEMPOTENCY_KEY_LENGTH_MAX } from "../bounds.ts"

/** The key, unquoted and unescaped; that there is none; or why what stands there is none, for the event. */
export type IdempotencyKeyResult =
  | { readonly kind: "key"; readonly key: string }
  | { readonly kind: "missing" }
  | { readonly kind: "invalid"; readonly reason: "not_a_string" | "empty" | "too_long" }

/** One String: visible ASCII and spaces, of which `"` and `\` are escaped and nothing else is. No parameters. */
const STRING = /^ *"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)" *$/
/** What clients send who do not quote: one word without anything that a list, a parameter or a String is made of. */
const WORD = /^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+$/

/**
 * Returns the key in the value of a field, 1 to 255 characters.
 *
 * @param value as the platform joins lines: two of them are a list and no key; null when there is no such field
 * @param isUnquoted also takes a word without quotation marks; `abc` and `"abc"` are then the same key
 */
export function readIdempotencyKey(value: string | null, isUnquoted: boolean): IdempotencyKeyResult {
  if (value === null) return { kind: "missing" }
  const quoted = STRING.exec(value)?.[1]
  const key = quoted === undefined && isUnquoted ? WORD.exec(value)?.[0] : quoted?.replaceAll(/\\(["\\])/g, "$1")
  if (key === undefined) return { kind: "invalid", reason: "not_a_string" }
  if (key === "") return { kind: "invalid", reason: "empty" }
  return key.length > IDEMPOTENCY_KEY_LENGTH_MAX ? { kind: "invalid", reason: "too_long" } : { kind: "key", key }
}

/** What one request is, for telling whether another one under the same key is the same. */
export interface KeyedRequest {
  readonly clientId: string
  /** Pattern of the route, as written. */
  readonly route: string
  readonly key: string
  readonly method: string
  readonly host: string
  /** Canonical path, and the raw query with its "?" or "". */
  readonly path: string
  readonly query: string
  /** Value of Content-Type; null when there is none. */
  readonly contentType: string | null
  /** SHA-256 of the octets of the body, lower-case hex. */
  readonly bodyDigest: string
}

/** Returns the text that stands for a client's key on a route: equal for nothing else. To be digested with a secret. */
export function keyText({ clientId, route, key }: KeyedRequest): string {
  return frame(["key", clientId, route, key])
}

/** Returns the text that stands for the whole request: equal only for the same request. To be digested with a secret. */
export function fingerprintText(request: KeyedRequest): string {
  const { bodyDigest, contentType, host, method, path, query } = request
  // The absence of a field is no value of it.
  const type = contentType === null ? [] : [contentType]
  return frame(["request", method, request.route, host, path, query, bodyDigest, ...type])
}

/** Returns the text that names the ledger of one shard of a client's keys. To be digested. `shard` is a hex digit. */
export function ledgerText(clientId: string, shard: string): string {
  return frame(["ledger", clientId, shard])
}

/** Each text behind its length, so that no two lists of texts have one form. */
function frame(texts: readonly string[]): string {
  return texts.map((text) => `${text.length}:${text},`).join("")
}

/** Returns true for a method whose requests change nothing, so that a key has nothing to protect. @see RFC 9110 §9.2.1 */
export function isSafeMethod(method: string): boolean {
  return method === "GET" || method === "HEAD" || method === "OPTIONS" || method === "TRACE"
}

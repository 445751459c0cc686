/**
 * Whether a parsed request may go on to the Worker, judged on its raw parts.
 *
 * Node's parser and workerd's accept different languages, and neither is a subset of the other. Whatever one of them
 * mis-handles is refused here, before the Worker sees it; paths are left to the Worker, which has the one rule for them.
 * Pure and total. The raw header lines are used throughout: Node's merged ones hide duplicates.
 *
 * @see RFC 9112 §3, §5, §6; RFC 9110 §5
 */
import { HEADER_BYTES_MAX, HEADER_COUNT_MAX, TARGET_BYTES_MAX } from "../src/core/bounds.ts"
import type { ProblemCode } from "../src/core/problem.ts"
import { METHODS } from "../src/core/route/route.ts"
import { parseHost } from "../src/core/route/target.ts"

/** A header field as sent. */
export type Field = readonly [name: string, value: string]

/** A request as Node's parser gives it. */
export interface RawRequest {
  readonly method: string
  /** `1.1`. */
  readonly httpVersion: string
  readonly target: string
  /** Names and values in turn, as in `IncomingMessage.rawHeaders`. */
  readonly rawHeaders: readonly string[]
}

/** How the body of a request is delimited. */
export type Framing = "none" | "length" | "chunked"

/** A request that may go on, or the code to refuse it with. A refused request's connection is not used again. */
export type RequestDecision =
  | {
      readonly accepted: true
      /** The host in its one spelling, without port. */
      readonly host: string
      /** The Host field, byte for byte. */
      readonly hostField: string
      /** The fields in order, without those whose name no later reader can be trusted with. */
      readonly fields: readonly Field[]
      readonly framing: Framing
    }
  | { readonly accepted: false; readonly code: ProblemCode }

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const PLAIN_NAME = /^[A-Za-z0-9-]+$/
/** Visible ASCII, space and tab: workerd turns octets above into U+FFFD, which makes distinct values equal. */
const VALUE = /^[\t\x20-\x7e]*$/
/** Origin-form in visible ASCII. A fragment is no part of a request target. */
const ORIGIN_FORM = /^\/[!-"$-~]*$/
const ABSOLUTE_FORM = /^[A-Za-z][A-Za-z0-9+.-]*:/

/** Returns true for a method that a route can list. */
export function isRoutable(method: string): boolean {
  return (METHODS as readonly string[]).includes(method)
}

/** Fields that mean one value. Readers disagree on which of two counts: Node takes the first, workerd joins them. */
const SINGLETONS: ReadonlySet<string> = new Set([
  "authorization",
  "content-length",
  "content-type",
  "host",
  "idempotency-key",
  "sec-websocket-key",
  "traceparent",
  "x-request-id",
])

/** Decides on a request. The first fault decides; sizes come first, so that nothing unbounded is looked at. */
export function decideRequest(request: RawRequest): RequestDecision {
  const { method, httpVersion, target, rawHeaders } = request
  if (target.length > TARGET_BYTES_MAX) return refuse("uri-too-long")
  if (rawHeaders.length / 2 > HEADER_COUNT_MAX || countOctets(rawHeaders) > HEADER_BYTES_MAX)
    return refuse("headers-too-large")
  if (httpVersion !== "1.1" && httpVersion !== "1.0") return refuse("http-version-not-supported")
  const fields = readFields(rawHeaders)
  if (typeof fields === "string") return refuse(fields)
  const framing = decideFraming(fields, httpVersion)
  if (framing === undefined) return refuse("malformed-request")
  const hostField = fields.find(([name]) => name.toLowerCase() === "host")?.[1]
  const host = hostField === undefined ? undefined : parseHost(hostField)?.host
  if (hostField === undefined || host === undefined) return refuse("host-rejected")
  if (!isRoutable(method)) return refuse(TOKEN.test(method) ? "method-not-allowed" : "malformed-request")
  // Asterisk-form asks the server itself what it can do, and only OPTIONS may ask (RFC 9112 §3.2.4).
  const isServerWide = target === "*" && method === "OPTIONS"
  if (!isServerWide && !ORIGIN_FORM.test(target)) return refuse(codeOfTarget(target))
  return { accepted: true, host, hostField, fields, framing }
}

function refuse(code: ProblemCode): RequestDecision {
  return { accepted: false, code }
}

/** Returns the code for a target that is not in origin-form: a path that is written wrongly, another host, or nonsense. */
export function codeOfTarget(target: string): ProblemCode {
  if (target.startsWith("/")) return "path-rejected"
  return ABSOLUTE_FORM.test(target) ? "host-rejected" : "malformed-request"
}

function countOctets(rawHeaders: readonly string[]): number {
  return rawHeaders.reduce((sum, part) => sum + part.length, 0)
}

/**
 * Returns the fields that may be passed on, or why there are none. A token with other characters than letters, digits
 * and hyphens is legal but dropped: an underscore is a hyphen to some readers (`SSL_CLIENT_CERT`).
 */
function readFields(rawHeaders: readonly string[]): readonly Field[] | ProblemCode {
  const fields: Field[] = []
  const seen = new Set<string>()
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? ""
    const value = rawHeaders[i + 1] ?? ""
    if (!TOKEN.test(name) || !VALUE.test(value)) return "malformed-header"
    if (!PLAIN_NAME.test(name)) continue
    const key = name.toLowerCase()
    if (SINGLETONS.has(key) && seen.has(key)) return "duplicate-header"
    seen.add(key)
    fields.push([name, value])
  }
  return fields
}

/** Returns how the body ends, or undefined when that can be read in two ways. @see RFC 9112 §6.1, §6.3 */
function decideFraming(fields: readonly Field[], httpVersion: string): Framing | undefined {
  const codings = valuesOf(fields, "transfer-encoding")
  const [length] = valuesOf(fields, "content-length")
  if (codings.length === 0 && length === undefined) return "none"
  if (codings.length === 0) {
    return length !== undefined && /^[0-9]+$/.test(length) && Number.isSafeInteger(Number(length))
      ? "length"
      : undefined
  }
  const isPlainChunked = codings.length === 1 && codings[0]?.toLowerCase() === "chunked"
  return isPlainChunked && length === undefined && httpVersion === "1.1" ? "chunked" : undefined
}

function valuesOf(fields: readonly Field[], key: string): readonly string[] {
  return fields.filter(([name]) => name.toLowerCase() === key).map(([, value]) => value)
}

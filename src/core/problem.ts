/**
 * The refusals of the gateway: one table from a stable code to status, type and title, and the body made from it.
 *
 * Every answer that the gateway gives instead of the origin is an RFC 9457 problem built here, by the Worker
 * (`src/reply.ts`) and by the local edge alike. The table is the contract with callers: README documents it and a test
 * holds both in step. Pure and total; nothing of a request except its id enters a body, so nothing can leak or reflect.
 */

import { isUuid } from "./message/request-id.ts"

/** One row of the table. `status` is the HTTP status that accompanies the code unless a caller has a better one. */
interface ProblemRow {
  readonly status: number
  readonly title: string
  /** What the caller can do about it. One sentence, no request data. */
  readonly detail: string
  /** Fragment of a problem type registered by draft-ietf-httpapi-ratelimit-headers §7, where that defines one. */
  readonly registeredType?: "quota-exceeded" | "temporary-reduced-capacity" | "abnormal-usage-detected"
}

/** Every code the gateway answers with today. A stage that does not exist yet has no codes here. */
export const PROBLEMS = {
  "malformed-request": {
    status: 400,
    title: "Malformed request",
    detail: "The request does not follow the HTTP/1.1 grammar (RFC 9112) and was not interpreted.",
  },
  "malformed-header": {
    status: 400,
    title: "Malformed header field",
    detail:
      "A header field has a name or a value outside the RFC 9110 grammar; names here are letters, digits and hyphens.",
  },
  "duplicate-header": {
    status: 400,
    title: "Duplicate header field",
    detail: "A header field that may occur once occurs more often. Send it exactly once.",
  },
  "host-rejected": {
    status: 400,
    title: "Host not acceptable",
    detail:
      "The Host field or the request target does not name a host in origin-form. Send one Host field with a plain host name.",
  },
  "path-rejected": {
    status: 400,
    title: "Path not acceptable",
    detail:
      "The path is not in canonical form: no dot segments, empty segments, backslashes, control characters or encoded slashes, and valid UTF-8 throughout.",
  },
  "idempotency-key-required": {
    status: 400,
    title: "Idempotency key required",
    detail:
      "Requests that change something need an idempotency key here. Send a new key with each, the same with repeats.",
  },
  "idempotency-key-invalid": {
    status: 400,
    title: "Idempotency key not acceptable",
    detail:
      'The field of the idempotency key holds something else than one key of 1 to 255 visible ASCII characters, in quotation marks, such as "8e03978e-40d5-43e8-bc93-6894a57f9324".',
  },
  "client-cert-required": {
    status: 401,
    title: "Client certificate required",
    detail: "Present a TLS client certificate that this gateway trusts.",
  },
  "client-cert-invalid": {
    status: 401,
    title: "Client certificate not accepted",
    detail:
      "The presented client certificate was not accepted. Check its validity, issuer and purpose with its issuer.",
  },
  "client-cert-retired": {
    status: 401,
    title: "Client certificate retired",
    detail:
      "The time in which this client certificate was accepted beside its successor is over. Present the new certificate.",
  },
  "edge-assertion-invalid": {
    status: 401,
    title: "Connection details not authentic",
    detail: "The request did not arrive through the gateway's TLS edge.",
  },
  "token-missing": {
    status: 401,
    title: "Access token required",
    detail: "Send an access token in the Authorization field, as Bearer credentials, and nowhere else.",
  },
  "token-invalid": {
    status: 401,
    title: "Access token not accepted",
    detail: "The access token was not accepted. Get a new one from your authorization server for this service.",
  },
  "token-expired": {
    status: 401,
    title: "Access token expired",
    detail: "The access token has expired. Get a new one from your authorization server.",
  },
  "token-binding-mismatch": {
    status: 401,
    title: "Access token of another certificate",
    detail: "The access token is not bound to the presented client certificate. Get one with the certificate in use.",
  },
  "admin-auth-required": {
    status: 401,
    title: "Administrator credentials required",
    detail: "Present the credentials of an administrator of this gateway.",
  },
  "token-client-mismatch": {
    status: 403,
    title: "Access token of another client",
    detail: "The access token was issued to another client than the one the certificate belongs to.",
  },
  "insufficient-scope": {
    status: 403,
    title: "Scope not granted",
    detail: "The access token lacks a scope that this request needs; the WWW-Authenticate field lists them.",
  },
  "client-unknown": {
    status: 403,
    title: "Client not known",
    detail:
      "The client certificate is valid but belongs to no client of this gateway. Ask the operator to register it.",
  },
  "client-ambiguous": {
    status: 403,
    title: "Client not unambiguous",
    detail:
      "The client certificate matches more than one client of this gateway. Ask the operator to correct the registration.",
  },
  "client-disabled": {
    status: 403,
    title: "Client disabled",
    detail: "The client is known but disabled at the moment. Ask the operator of this gateway.",
  },
  "origin-not-allowed": {
    status: 403,
    title: "Web origin not allowed",
    detail: "Pages of the web origin in the Origin field may not use this route. Ask the operator of this gateway.",
  },
  "route-not-found": {
    status: 404,
    title: "No such route",
    detail: "This gateway has no route for the requested path.",
  },
  "method-not-allowed": {
    status: 405,
    title: "Method not allowed",
    detail: "The route does not accept this method; the Allow field lists those it does.",
  },
  "request-timeout": {
    status: 408,
    title: "Request not received in time",
    detail: "The request was not complete before the deadline. Send it again on a new connection.",
  },
  "idempotency-in-progress": {
    status: 409,
    title: "First request in progress",
    detail: "A request with the same idempotency key has not been answered yet. Repeat after the time in Retry-After.",
  },
  "idempotency-indeterminate": {
    status: 409,
    title: "Outcome of the first request unknown",
    detail:
      "A request with the same idempotency key may have been carried out, and nobody knows. Find out what became of it; it is not repeated.",
  },
  "idempotency-response-not-replayable": {
    status: 409,
    title: "Answer to the first request not kept",
    detail:
      "A request with the same idempotency key was answered, and the answer is not kept because of its size. It is not repeated.",
  },
  "body-too-large": {
    status: 413,
    title: "Request body too large",
    detail: "The request body is longer than this route accepts.",
  },
  "uri-too-long": {
    status: 414,
    title: "Request target too long",
    detail: "The request target is longer than this gateway accepts (8,192 octets).",
  },
  "misdirected-request": {
    status: 421,
    title: "Misdirected request",
    detail: "This gateway does not serve the requested host on this connection.",
  },
  "idempotency-key-reused": {
    status: 422,
    title: "Idempotency key of another request",
    detail: "The idempotency key was used with another request before. Send a new key with each new request.",
  },
  "rate-limited": {
    status: 429,
    title: "Rate limit reached",
    detail: "The client has used up its request rate. Wait for the time in Retry-After.",
    registeredType: "quota-exceeded",
  },
  "ip-rate-limited": {
    status: 429,
    title: "Rate limit of the address reached",
    detail: "Too many requests come from this network address. Wait for the time in Retry-After.",
    registeredType: "quota-exceeded",
  },
  "quota-exceeded": {
    status: 429,
    title: "Quota used up",
    detail: "The client has used up its quota of this hour, day or month. Wait for the time in Retry-After.",
    registeredType: "quota-exceeded",
  },
  "concurrency-exceeded": {
    status: 429,
    title: "Too many requests at once",
    detail: "The client has as many requests in progress as it may. Wait until one of them is answered.",
    registeredType: "quota-exceeded",
  },
  "client-blocked": {
    status: 429,
    title: "Client blocked",
    detail: "Too many failed attempts. Wait for the time in Retry-After, where it is given, and correct what failed.",
    registeredType: "abnormal-usage-detected",
  },
  "upgrade-not-allowed": {
    status: 426,
    title: "Upgrade not possible here",
    detail:
      "The route has no WebSockets, or the handshake is not the one it accepts: GET over HTTP/1.1 with Sec-WebSocket-Version 13.",
  },
  "headers-too-large": {
    status: 431,
    title: "Header section too large",
    detail: "The request has more or longer header fields than this gateway accepts (100 fields, 32,768 octets).",
  },
  "internal-error": {
    status: 500,
    title: "Internal error",
    detail: "The gateway failed to handle the request. Report the request id to the operator.",
  },
  "origin-unreachable": {
    status: 502,
    title: "Origin not reachable",
    detail: "The service behind this gateway could not be reached.",
  },
  "origin-invalid-response": {
    status: 502,
    title: "Origin answered invalidly",
    detail: "The service behind this gateway gave an answer that may not be handed on.",
  },
  "service-unavailable": {
    status: 503,
    title: "Service temporarily unavailable",
    detail:
      "The gateway cannot handle this request at the moment. Come back later, not before Retry-After where it is given.",
  },
  "origin-timeout": {
    status: 504,
    title: "Origin did not answer in time",
    detail: "The service behind this gateway did not answer before the deadline.",
  },
  "http-version-not-supported": {
    status: 505,
    title: "HTTP version not supported",
    detail: "The request line names a version other than HTTP/1.1 and HTTP/1.0.",
  },
} as const satisfies Readonly<Record<string, ProblemRow>>

/** A stable problem code: a key of {@link PROBLEMS}, sent as the member `code`. */
export type ProblemCode = keyof typeof PROBLEMS

/** The JSON body of a problem, RFC 9457 §3.1 plus the extension members `code`, `request_id` and `violated-policies`. */
export interface ProblemDocument {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  /** `urn:uuid:` of the request id, or `urn:sekisho:request:` when a client chose an id that is no UUID. */
  readonly instance: string
  readonly code: ProblemCode
  readonly request_id: string
  /** Names of the quota policies that refused (draft-ietf-httpapi-ratelimit-headers §7). Absent elsewhere. */
  readonly "violated-policies"?: readonly string[]
}

/** What a refusal may add to its row of the table. */
export interface ProblemOptions {
  /** Names of quota policies; only meaningful with the rate-limit codes. */
  readonly violatedPolicies?: readonly string[]
  /** True when the gateway itself is overloaded: the type becomes the draft's `temporary-reduced-capacity`. */
  readonly overloaded?: boolean
}

const REGISTERED_TYPE_BASE = "https://iana.org/assignments/http-problem-types#"
/** Base of the types that no registry defines. A URN: it identifies, it is not meant to be fetched. */
const OWN_TYPE_BASE = "urn:sekisho:problem:"

/** The media type of every refusal. @see RFC 9457 §3 */
export const PROBLEM_MEDIA_TYPE = "application/problem+json"

/**
 * The header fields that accompany every refusal, whatever its code: the body is never sniffed, framed, cached or
 * interpreted as a page, also by a browser that was sent here on purpose.
 */
export const PROBLEM_FIELDS: readonly (readonly [name: string, value: string])[] = [
  ["Content-Type", PROBLEM_MEDIA_TYPE],
  ["Cache-Control", "no-store"],
  ["X-Content-Type-Options", "nosniff"],
  ["Content-Security-Policy", "default-src 'none'"],
]

/**
 * Returns the problem document for a code.
 *
 * @param requestId the id of the request; already well formed (`core/message/request-id.ts`)
 * @see RFC 9457 §3.1
 */
export function createProblem(code: ProblemCode, requestId: string, options: ProblemOptions = {}): ProblemDocument {
  const row: ProblemRow = PROBLEMS[code]
  const registered = options.overloaded === true ? "temporary-reduced-capacity" : row.registeredType
  return {
    type: registered === undefined ? OWN_TYPE_BASE + code : REGISTERED_TYPE_BASE + registered,
    title: row.title,
    status: row.status,
    detail: row.detail,
    instance: (isUuid(requestId) ? "urn:uuid:" : "urn:sekisho:request:") + requestId,
    code,
    request_id: requestId,
    ...(options.violatedPolicies === undefined ? {} : { "violated-policies": options.violatedPolicies }),
  }
}

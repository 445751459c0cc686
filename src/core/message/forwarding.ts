/**
 * Which header fields pass the gateway, in both directions, and which fields it sets towards the origin.
 *
 * Names are judged by rule, not one by one: outside `[a-z0-9-]` nothing passes (an origin may read `X_Client_Id` as
 * `X-Client-Id`), hop-by-hop fields end here, and every family in which some proxy somewhere names a client or rewrites a
 * target is the gateway's own. Fields nominated by `Connection` leave the inbound set before the gateway adds its own,
 * so a caller cannot remove those. Total; remembers what it found out of names, within bounds. Called by the `origin` stage.
 *
 * @see RFC 9110 §7.6.1 (Connection), RFC 7239 (Forwarded), RFC 9440 (Client-Cert)
 */
import { FIELD_NAME_REMEMBERED_LENGTH_MAX, FIELD_NAMES_REMEMBERED_MAX } from "../bounds.ts"
import { isHandshakeField } from "./websocket.ts"

/** Fields that belong to one connection, whether or not `Connection` names them. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  "connection",
  "expect",
  "http2-settings",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authentication-info",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
])

/**
 * Fields that `Connection` may not remove: without them the message would mean something else (RFC 9110 §7.6.1 forbids
 * nominating fields intended for all recipients).
 */
const END_TO_END: ReadonlySet<string> = new Set([
  "authorization",
  "cache-control",
  "content-encoding",
  "content-length",
  "content-range",
  "content-type",
  "cookie",
  "date",
  "host",
  "idempotency-key",
  "set-cookie",
])

/** First letters of the families that name clients, certificates, addresses or targets: never taken from a caller. */
const GATEWAY_FAMILIES: readonly string[] = [
  "cf-",
  "client-cert",
  "gateway-",
  "mf-",
  "remote-",
  "ssl-",
  "tls-client-",
  "x-amzn-mtls-",
  "x-arr-clientcert",
  "x-auth-request-",
  "x-authenticated-",
  "x-client-",
  "x-consumer-",
  "x-credential-",
  "x-envoy-",
  "x-forwarded",
  "x-http-method",
  "x-method-override",
  "x-original-",
  "x-pomerium-",
  "x-remote-",
  "x-rewrite-",
  "x-ssl-",
]

/** Single fields of the same kind, and the trace fields that the gateway sets anew. */
const GATEWAY_FIELDS: ReadonlySet<string> = new Set([
  "baggage",
  "cdn-loop",
  "forwarded",
  "traceparent",
  "tracestate",
  "true-client-ip",
  "via",
  "x-cluster-client-ip",
  "x-real-ip",
  "x-request-id",
])

/** What one WebSocket handshake proves or negotiates belongs to its connection; the gateway makes the next one's. */
const HANDSHAKE_ANSWERS: ReadonlySet<string> = new Set(["sec-websocket-accept", "sec-websocket-extensions"])

/** Fields that only the gateway may send to a caller. */
const RESPONSE_GATEWAY_FIELDS: ReadonlySet<string> = new Set([
  "client-cert",
  "client-cert-chain",
  // An origin that sends it back would hand its caller a proof that the caller must not have.
  "gateway-assertion",
  // Nothing but the ledger knows whether an answer is a repeated one.
  "idempotency-replayed",
  "ratelimit",
  "ratelimit-policy",
  "ratelimit-shadow",
  "x-forwarded-client-cert",
  "x-request-id",
])

/** Returns the lower-case names in a Connection field. Anything that is no field name is ignored. */
export function parseConnection(value: string | null): ReadonlySet<string> {
  if (value === null) return NONE
  return new Set(value.split(",").map((option) => option.trim().toLowerCase()))
}
const NONE: ReadonlySet<string> = new Set()

/**
 * Returns true when a field ends at this connection: hop-by-hop by its nature, or nominated by the sender and not one that
 * may not be.
 *
 * @param name lower case
 * @param nominated names in the Connection field of the same message
 */
export function isHopByHop(name: string, nominated: ReadonlySet<string>): boolean {
  return HOP_BY_HOP.has(name) || (nominated.has(name) && !END_TO_END.has(name))
}

/**
 * Returns true when a caller's field goes on to the origin.
 *
 * @param name lower case
 * @param nominated names in the request's Connection field
 * @param allowed the route's allow-list; undefined lets every field pass that no rule removes
 */
export function isRequestFieldForwarded(
  name: string,
  nominated: ReadonlySet<string>,
  allowed: ReadonlySet<string> | undefined,
): boolean {
  if (!isCallersName(name) || isHopByHop(name, nominated)) return false
  return (
    allowed === undefined ||
    allowed.has(name) ||
    name === "content-length" ||
    name === "content-type" ||
    name === "host"
  )
}

/** What {@link isCallersName} has found out. */
const callersNames = new Map<string, boolean>()

/** Whether a field of this name can be a caller's at all. Callers use the same few names again and again. */
function isCallersName(name: string): boolean {
  const known = callersNames.get(name)
  if (known !== undefined) return known
  const isCallers =
    /^[a-z0-9-]+$/.test(name) &&
    !GATEWAY_FIELDS.has(name) &&
    !isHandshakeField(name) &&
    !GATEWAY_FAMILIES.some((family) => name.startsWith(family))
  if (name.length > FIELD_NAME_REMEMBERED_LENGTH_MAX) return isCallers
  // Whoever thinks up names only makes this memory begin again.
  if (callersNames.size >= FIELD_NAMES_REMEMBERED_MAX) callersNames.clear()
  callersNames.set(name, isCallers)
  return isCallers
}

/** Returns true when an origin's field goes on to the caller. `name` is lower case. */
export function isResponseFieldForwarded(name: string, nominated: ReadonlySet<string>): boolean {
  return !isHopByHop(name, nominated) && !RESPONSE_GATEWAY_FIELDS.has(name) && !HANDSHAKE_ANSWERS.has(name)
}

/** Returns true for a method whose content has no meaning. @see RFC 9110 §9.3.1, §9.3.2 */
export function isContentless(method: string): boolean {
  return method === "GET" || method === "HEAD"
}

/**
 * Returns true when a request that has a body should have none: an origin that ignores the content of a GET reads it as
 * another request. No octets are no content.
 *
 * @param contentLength value of Content-Length; null when the body is chunked
 */
export function isContentUnexpected(method: string, contentLength: string | null): boolean {
  return isContentless(method) && contentLength !== "0"
}

/**
 * Returns true when an answer was chosen by the client's certificate or by an assertion. Caches never see those fields, so
 * such an answer must not be reused for another client.
 *
 * @see RFC 9440 §2.4
 */
export function variesOnCertificate(vary: string | null): boolean {
  return /(?:^|,)\s*(?:client-cert(?:-chain)?|x-forwarded-client-cert|gateway-assertion)\s*(?:,|$)/i.test(vary ?? "")
}

/** What the gateway knows about a request by the time it forwards it. */
export interface ForwardedRequest {
  readonly requestId: string
  readonly clientId: string
  /** Leaf certificate as an RFC 9440 byte sequence; undefined when the origin does not want it. */
  readonly clientCertificate: string | undefined
  /** What Envoy would write of the certificate; undefined when the origin does not want it. */
  readonly xfcc: string | undefined
  /** Signed assertion; undefined when the origin asks for none. */
  readonly assertion: string | undefined
  /** The caller's address in canonical text form; undefined when the platform gave none. */
  readonly clientAddress: string | undefined
  /** The same address as a node of the Forwarded field, quoted where RFC 7239 §6 asks for it. */
  readonly forwardedNode: string | undefined
  readonly host: string
  readonly traceparent: string
  readonly tracestate: string | undefined
  /** The caller's Via, to which this gateway appends itself. */
  readonly via: string | null
  /** This gateway's pseudonym. */
  readonly pseudonym: string
}

/**
 * Returns the fields that the gateway sets towards the origin, each exactly once. Addresses, host and scheme are
 * overwritten, not appended to: in front of the gateway stands no proxy that it would believe.
 */
export function gatewayFields(request: ForwardedRequest): readonly (readonly [name: string, value: string])[] {
  const { assertion, clientAddress, clientCertificate, forwardedNode, host, tracestate, xfcc } = request
  const fields: (readonly [name: string, value: string])[] = []
  const add = (name: string, value: string | undefined): void => {
    if (value !== undefined) fields.push([name, value])
  }
  add("X-Request-Id", request.requestId)
  add("X-Client-Id", request.clientId)
  add("Client-Cert", clientCertificate)
  add("X-Forwarded-Client-Cert", xfcc)
  add("Gateway-Assertion", assertion)
  add("X-Forwarded-Host", host)
  add("X-Forwarded-Proto", "https")
  add("Forwarded", `${forwardedNode === undefined ? "" : `for=${forwardedNode};`}host="${host}";proto=https`)
  add("X-Forwarded-For", clientAddress)
  add("X-Real-IP", clientAddress)
  add("traceparent", request.traceparent)
  add("tracestate", tracestate)
  add("Via", `${request.via === null || request.via === "" ? "" : `${request.via}, `}1.1 ${request.pseudonym}`)
  return fields
}

/** Returns true when this gateway already stands in a Via field: the request runs in a circle. @see RFC 9110 §7.6.3 */
export function isLoop(via: string | null, pseudonym: string): boolean {
  return (
    via !== null &&
    via.split(",").some((member) => member.trim().split(/\s+/)[1]?.toLowerCase() === pseudonym.toLowerCase())
  )
}

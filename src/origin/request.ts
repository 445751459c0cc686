/**
 * The request that an origin gets: the caller's method, target and content, the fields that pass, and the gateway's own.
 *
 * Which fields pass is `core/message/forwarding.ts`. The URL is built by joining the origin's fixed base with a path that is
 * canonical, also where a route rewrites it (`core/route/rewrite.ts`): it starts with exactly one slash and holds no backslash, so it can change neither host nor scheme.
 * Remembers how addresses of callers are written, within bounds.
 */
import type { Config, ForwardAction, Origin } from "../config/config.ts"
import type { BaseUrl } from "../config/schema-names.ts"
import { required, type Exchange } from "../context.ts"
import { ADDRESSES_REMEMBERED_MAX } from "../core/bounds.ts"
import { decideMaxForwards } from "../core/message/max-forwards.ts"
import { applyFieldRules } from "../core/message/field-rules.ts"
import {
  gatewayFields,
  isContentless,
  isRequestFieldForwarded,
  parseConnection,
  type ForwardedRequest,
} from "../core/message/forwarding.ts"
import type { ReceivedFields } from "../core/message/header-section.ts"
import { formatForwardedNode, formatIpAddress, parseIpAddress } from "../core/message/ip-address.ts"
import { formatTraceparent } from "../core/record/trace-context.ts"
import { formatXfcc } from "../core/message/xfcc.ts"
import { remember } from "../memory.ts"

/** A request as `fetch` takes it: made there once, and not made here to be copied there. */
export interface OriginRequest {
  readonly target: string
  readonly init: RequestInit & { readonly method: string; readonly headers: Headers }
}

/** What a request consists of beside the caller's. */
export interface OriginRequestParts {
  /** The content to send, null for none. */
  readonly body: ReadableStream<Uint8Array> | Uint8Array<ArrayBuffer> | null
  /** What the gateway adds, see {@link createGatewayFields}. */
  readonly fields: readonly (readonly [name: string, value: string])[]
  /** Ends the call. */
  readonly signal: AbortSignal
}

/**
 * Returns the request for one URL of an origin. Redirects are the caller's to follow, no answer is ever stored, and octets stay as
 * they came, also when the answer is read on its way: decoded and encoded again they would be others.
 *
 * @param action of the route: which fields pass, and which it sets and removes before the gateway adds its own
 */
export function createOriginRequest(
  inbound: Request,
  exchange: Exchange,
  url: BaseUrl,
  { forwardHeaders, messages }: ForwardAction,
  { body, fields, signal }: OriginRequestParts,
): OriginRequest {
  const { method } = inbound
  const headers = forwardedFields(inbound.headers, required(exchange.received, "received"), forwardHeaders)
  const { token } = required(exchange.route, "route")
  // A token that was meant for the gateway ends here: whoever logs it behind us could present it.
  if (token?.isForwarded === false) headers.delete("authorization")
  const hops = decideMaxForwards(method, required(exchange.received, "received").get("max-forwards") ?? null)
  if (hops.kind === "forward" && headers.has("max-forwards")) headers.set("Max-Forwards", hops.value)
  applyFieldRules(headers, messages.requestFields)
  for (const [name, value] of fields) headers.set(name, value)
  return {
    target: `${url.scheme}://${url.authority}${url.path}${required(exchange.originPath, "originPath")}${exchange.query ?? ""}`,
    init: {
      method,
      headers,
      body: isContentless(method) ? null : body,
      redirect: "manual",
      // What `cache: "no-store"` means to the platform, without the Cache-Control and Pragma that it would add to the request.
      cf: { cacheTtl: -1, cacheLevel: "bypass" },
      signal,
      encodeResponseBody: "manual",
    },
  }
}

/** Returns the caller's fields that pass. */
function forwardedFields(
  headers: Headers,
  received: ReceivedFields,
  allowed: ReadonlySet<string> | undefined,
): Headers {
  // Copied as a whole and thinned out: less than to write one by one what passes.
  const fields = new Headers(headers)
  const nominated = parseConnection(received.get("connection") ?? null)
  for (const name of received.keys()) {
    // The origin's own host follows from the URL; the caller's is in X-Forwarded-Host.
    if (name === "host" || !isRequestFieldForwarded(name, nominated, allowed)) fields.delete(name)
  }
  return fields
}

/** Returns the fields that only the gateway sets. @param assertion the signed assertion, where the origin asks for one */
export function createGatewayFields(
  exchange: Exchange,
  { clientCert }: Origin,
  config: Config,
  assertion: string | undefined,
): ReturnType<typeof gatewayFields> {
  const received = required(exchange.received, "received")
  const { clientAddress, forwardedNode } = spell(received.get("cf-connecting-ip") ?? "")
  const certificate = required(exchange.certificate, "certificate")
  return gatewayFields({
    requestId: exchange.requestId,
    clientId: required(exchange.client, "client").id,
    clientCertificate: clientCert === "rfc9440" || clientCert === "both" ? certificate.rfc9440 : undefined,
    xfcc: clientCert === "xfcc" || clientCert === "both" ? formatXfcc(certificate) : undefined,
    assertion,
    clientAddress,
    forwardedNode,
    host: required(exchange.host, "host"),
    traceparent: formatTraceparent(exchange.trace),
    tracestate: exchange.trace.tracestate,
    via: received.get("via") ?? null,
    pseudonym: config.via,
  })
}

/** How a caller's address is written, both ways; undefined for what is none. */
type Spelling = Pick<ForwardedRequest, "clientAddress" | "forwardedNode">

const NO_ADDRESS: Spelling = { clientAddress: undefined, forwardedNode: undefined }
/** Callers are machines with few addresses. */
const spellings = new Map<string, Spelling>()

function spell(text: string): Spelling {
  const known = spellings.get(text)
  if (known !== undefined) return known
  const address = parseIpAddress(text)
  if (address === undefined) return NO_ADDRESS
  const spelling = { clientAddress: formatIpAddress(address), forwardedNode: formatForwardedNode(address) }
  remember(spellings, text, spelling, ADDRESSES_REMEMBERED_MAX)
  return spelling
}

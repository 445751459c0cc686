/**
 * The request that an origin gets: the caller's method, target and content, the fields that pass, and the gateway's own.
 *
 * Which fields pass is `core/forwarding.ts`. The URL is built by joining the origin's fixed base with a path that is
 * canonical, also where a route rewrites it (`core/rewrite.ts`): it starts with exactly one slash and holds no backslash, so it can change neither host nor scheme.
 */
import type { Config, Origin } from "../config/config.ts"
import type { BaseUrl } from "../config/schema-names.ts"
import { required, type Exchange } from "../context.ts"
import { decideMaxForwards } from "../core/max-forwards.ts"
import { applyFieldRules, type FieldRules } from "../core/field-rules.ts"
import { gatewayFields, isContentless, isRequestFieldForwarded, parseConnection } from "../core/forwarding.ts"
import { formatForwardedNode, formatIpAddress, parseIpAddress } from "../core/ip-address.ts"
import { formatTraceparent } from "../core/trace-context.ts"
import { formatXfcc } from "../core/xfcc.ts"

/**
 * Returns the request. Redirects are the caller's to follow, and no answer is ever stored.
 *
 * @param url of the origin
 * @param allowed the route's allow-list of fields; undefined lets every field pass that no rule removes
 * @param rules what the route sets and removes, before the gateway adds its own
 * @param body the content to send, null for none
 * @param fields what the gateway adds, see {@link createGatewayFields}
 * @param signal ends the call
 */
export function createOriginRequest(
  inbound: Request,
  exchange: Exchange,
  url: BaseUrl,
  allowed: ReadonlySet<string> | undefined,
  rules: FieldRules,
  body: ReadableStream<Uint8Array> | Uint8Array<ArrayBuffer> | null,
  fields: readonly (readonly [name: string, value: string])[],
  signal: AbortSignal,
): Request {
  const target = `${url.scheme}://${url.authority}${url.path}${required(exchange.originPath, "originPath")}${exchange.query ?? ""}`
  const request = new Request(target, {
    method: inbound.method,
    headers: inbound.headers,
    body: isContentless(inbound.method) ? null : body,
    redirect: "manual",
    // What `cache: "no-store"` means to the platform, without the Cache-Control and Pragma that it would add to the request.
    cf: { cacheTtl: -1, cacheLevel: "bypass" },
    signal,
  })
  const nominated = parseConnection(inbound.headers.get("connection"))
  for (const name of inbound.headers.keys()) {
    // The origin's own host follows from the URL; the caller's is in X-Forwarded-Host.
    if (name === "host" || !isRequestFieldForwarded(name, nominated, allowed)) request.headers.delete(name)
  }
  const { token } = required(exchange.route, "route")
  // A token that was meant for the gateway ends here: whoever logs it behind us could present it.
  if (token?.isForwarded === false) request.headers.delete("authorization")
  const hops = decideMaxForwards(inbound.method, request.headers.get("max-forwards"))
  if (hops.kind === "forward") request.headers.set("Max-Forwards", hops.value)
  applyFieldRules(request.headers, rules)
  for (const [name, value] of fields) request.headers.set(name, value)
  return request
}

/** Returns the fields that only the gateway sets. @param assertion the signed assertion, where the origin asks for one */
export function createGatewayFields(
  inbound: Request,
  exchange: Exchange,
  { clientCert }: Origin,
  config: Config,
  assertion: string | undefined,
): ReturnType<typeof gatewayFields> {
  const address = parseIpAddress(inbound.headers.get("cf-connecting-ip") ?? "")
  const certificate = required(exchange.certificate, "certificate")
  return gatewayFields({
    requestId: exchange.requestId,
    clientId: required(exchange.client, "client").id,
    clientCertificate: clientCert === "rfc9440" || clientCert === "both" ? certificate.rfc9440 : undefined,
    xfcc: clientCert === "xfcc" || clientCert === "both" ? formatXfcc(certificate) : undefined,
    assertion,
    clientAddress: address && formatIpAddress(address),
    forwardedNode: address && formatForwardedNode(address),
    host: required(exchange.host, "host"),
    traceparent: formatTraceparent(exchange.trace),
    tracestate: exchange.trace.tracestate,
    via: inbound.headers.get("via"),
    pseudonym: config.via,
  })
}

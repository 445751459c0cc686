/**
 * The answer that a caller gets from an origin: its status and content as they came, its fields without those that end at the
 * gateway, and with what the route says about fields. Which those are is `core/message/forwarding.ts` and `core/message/field-rules.ts`.
 *
 * What may not be handed on is no answer: header sections without bounds, bodies that announce more than the route takes,
 * redirects to somewhere else.
 */
import type { MessageRules } from "../config/config.ts"
import { decideLength } from "../core/message/body-limit.ts"
import { addSecurityFields, applyFieldRules } from "../core/message/field-rules.ts"
import { isResponseFieldForwarded, parseConnection, variesOnCertificate } from "../core/message/forwarding.ts"
import { findAnswerFault } from "../core/message/header-section.ts"
import { rewriteLocation, type LocationScope } from "../core/message/location.ts"
import { limitBody } from "./body-counter.ts"

/**
 * Returns the switch of protocols for a client: the fields of the origin's answer, the subprotocol that was chosen, and the
 * client's end of the bridge.
 */
export function createSwitchingResponse(answer: Response, protocol: string | undefined, client: WebSocket): Response {
  const headers = new Headers(answer.headers)
  dropOwnFields(headers, answer.headers)
  headers.delete("sec-websocket-protocol")
  if (protocol !== undefined) headers.set("Sec-WebSocket-Protocol", protocol)
  return new Response(null, { status: 101, headers, webSocket: client })
}

/** The answer, or why there is none, for the event. The body of an answer that is not handed on is for the caller to give up. */
export type AnswerResult =
  | { readonly ok: true; readonly response: Response }
  | { readonly ok: false; readonly reason: string }

/**
 * Returns the origin's answer with fields that may be changed, without those that end at the gateway.
 *
 * @param method of the request: an answer to HEAD announces a body and has none
 * @param base of the origin, and the host that the caller has asked for
 * @param onExceeded called when the body turns out longer than the route takes, while it is being delivered
 */
export function createCallerResponse(
  answer: Response,
  method: string,
  rules: MessageRules,
  { base, host }: Pick<LocationScope, "base" | "host">,
  onExceeded: () => void,
): AnswerResult {
  const { headers, status, statusText } = answer
  const { locationAllowed, responseBytesMax } = rules
  const length =
    answer.body === null || method === "HEAD" ? "fits" : decideLength(headers.get("content-length"), responseBytesMax)
  const locations = locationAllowed && rewriteFields(headers, { base, host, allowed: locationAllowed })
  const reason =
    findAnswerFault(headers) ??
    (status < 200 || status > 599 ? `status_${status}` : undefined) ??
    (length === "too-large" ? "body_too_large" : undefined) ??
    (typeof locations === "string" ? locations : undefined)
  if (reason !== undefined) return { ok: false, reason }
  const isCounted = answer.body !== null && length === "count" && responseBytesMax !== undefined
  const body = isCounted ? limitBody(answer.body, responseBytesMax, onExceeded) : answer.body
  const response = new Response(body, { headers, status, statusText, encodeBody: "manual" })
  dropOwnFields(response.headers, headers)
  if (typeof locations === "object") for (const [name, value] of locations) response.headers.set(name, value)
  applyFieldRules(response.headers, rules.responseFields)
  if (rules.hasSecurityFields) addSecurityFields(response.headers)
  return { ok: true, response }
}

/** Takes away what ends at the gateway or may only come from it. */
function dropOwnFields(fields: Headers, received: Headers): void {
  const nominated = parseConnection(received.get("connection"))
  for (const name of received.keys()) {
    if (!isResponseFieldForwarded(name, nominated)) fields.delete(name)
  }
  if (variesOnCertificate(received.get("vary"))) fields.set("Vary", "*")
}

/** The fields that lead somewhere, rewritten; the name of the one that leads where it may not. */
function rewriteFields(headers: Headers, scope: LocationScope): readonly (readonly [string, string])[] | string {
  const rewritten: (readonly [string, string])[] = []
  for (const name of ["location", "content-location"]) {
    const reference = headers.get(name)
    if (reference === null) continue
    const target = rewriteLocation(reference, scope)
    if (target === undefined) return `${name.replace("-", "_")}_not_allowed`
    rewritten.push([name, target])
  }
  return rewritten
}

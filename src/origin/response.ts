/**
 * The answer that a caller gets from an origin: its status and content as they came, its fields without those that end at the
 * gateway. Which those are is `core/forwarding.ts`.
 */
import { isResponseFieldForwarded, parseConnection, variesOnCertificate } from "../core/forwarding.ts"

/**
 * Returns the switch of protocols for a client: the fields of the origin's answer, the subprotocol that was chosen, and the
 * client's end of the bridge.
 */
export function createSwitchingResponse(answer: Response, protocol: string | undefined, client: WebSocket): Response {
  const { headers } = createCallerResponse(new Response(null, { headers: answer.headers }))
  headers.delete("sec-websocket-protocol")
  if (protocol !== undefined) headers.set("Sec-WebSocket-Protocol", protocol)
  return new Response(null, { status: 101, headers, webSocket: client })
}

/** Returns the origin's answer with fields that may be changed, without those that end at the gateway. */
export function createCallerResponse(answer: Response): Response {
  const { headers, status, statusText } = answer
  const response = new Response(answer.body, { headers, status, statusText, encodeBody: "manual" })
  const nominated = parseConnection(answer.headers.get("connection"))
  for (const name of answer.headers.keys()) {
    if (!isResponseFieldForwarded(name, nominated)) response.headers.delete(name)
  }
  if (variesOnCertificate(answer.headers.get("vary"))) response.headers.set("Vary", "*")
  return response
}

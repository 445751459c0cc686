/**
 * What a route says about WebSockets: its terms with their defaults, or what contradicts them. Pure; called by
 * `config/resolve-routes.ts`.
 */
import {
  WEBSOCKET_IDLE_MS_DEFAULT,
  WEBSOCKET_MESSAGE_BYTES_DEFAULT,
  WEBSOCKET_RECHECK_MS_DEFAULT,
} from "../core/bounds.ts"
import type { WebSocketTerms } from "../core/message/websocket.ts"
import type { Report } from "./report.ts"
import type { Parsed } from "./schema.ts"

/** Returns the terms; undefined for a route without sockets. A route that no handshake can reach is reported. */
export function resolveWebSocket(
  place: string,
  { methods, origin, websocket }: Parsed<"ROUTE">,
  report: Report,
): WebSocketTerms | undefined {
  if (websocket === undefined || websocket === false) return undefined
  if (origin === undefined)
    report(`${place}.websocket`, websocket, "no websocket on a route without origin: nobody is there to talk to")
  if (methods !== undefined && !methods.includes("GET"))
    report(`${place}.websocket`, websocket, "no websocket on a route without the method GET, in which handshakes come")
  const terms = websocket === true ? {} : websocket
  return {
    idleTimeoutMs: terms.idle_timeout ?? WEBSOCKET_IDLE_MS_DEFAULT,
    messageBytesMax: terms.max_message_bytes ?? WEBSOCKET_MESSAGE_BYTES_DEFAULT,
    recheckMs: terms.recheck ?? WEBSOCKET_RECHECK_MS_DEFAULT,
  }
}

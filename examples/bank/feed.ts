/**
 * The bank's WebSocket, `/ws`: says who is there, sends every message back, and with `?tick=1` also the time once a second.
 */
import type { IncomingMessage } from "node:http"
import type { Duplex } from "node:stream"
import { acceptWebSocket } from "./websocket.ts"

/** The subprotocol that is chosen when a client offers it. */
const PROTOCOL = "bank.v1"
const TICK_MS = 1_000

/** Opens the feed for a client on a handshake's socket. */
export function openFeed(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  { client, now }: { readonly client: string; readonly now: () => number },
): void {
  const offered = (request.headers["sec-websocket-protocol"] ?? "").split(",").map((text) => text.trim())
  let timer: NodeJS.Timeout | undefined
  const open = acceptWebSocket(request, socket, head, {
    protocol: offered.includes(PROTOCOL) ? PROTOCOL : undefined,
    onMessage: (data, feed) => feed.send(data),
    onClose: () => clearInterval(timer),
  })
  if (open === undefined) return
  open.send(JSON.stringify({ hello: client }))
  if (!(request.url ?? "").includes("?tick=1")) return
  timer = setInterval(() => open.send(JSON.stringify({ now: new Date(now()).toISOString() })), TICK_MS)
}

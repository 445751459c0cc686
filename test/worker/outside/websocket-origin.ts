/**
 * What the recording origin does with a handshake: the last segment of the path chooses it, an echo by default.
 */
import type { IncomingMessage } from "node:http"
import type { Duplex } from "node:stream"
import { acceptWebSocket, type ServerSocket } from "../../../examples/bank/websocket.ts"

/** Takes a handshake. `onClose` is told how the gateway closed its side. */
export function answerHandshake(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  onClose: (code: number, reason: string) => void,
): void {
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://origin")
  const offered = (request.headers["sec-websocket-protocol"] ?? "").split(",").map((text) => text.trim())
  const name = pathname.split("/").at(-1)
  if (name === "decline") {
    const status = searchParams.get("status") ?? "403"
    socket.end(`HTTP/1.1 ${status} Declined\r\nX-Kept: 1\r\nContent-Length: 8\r\nConnection: close\r\n\r\ndeclined`)
    return
  }
  socket.on("error", () => {})
  if (name === "reset") {
    socket.destroy()
    return
  }
  acceptWebSocket(request, socket, head, {
    messageBytesMax: 40_000_000,
    protocol: searchParams.get("protocol") ?? (offered.includes("second") ? "second" : undefined),
    fields: ["X-Kept: 1", "X-Request-Id: forged", "Set-Cookie: a=1", "Set-Cookie: b=2"],
    onClose,
    onMessage: (data, open) => obey(data, open),
  })
}

/** A text that is a command is obeyed, everything else comes back as it is. */
function obey(data: string | Buffer, open: ServerSocket): void {
  if (typeof data !== "string") return open.send(data)
  const [command, code = "", ...reason] = data.split(" ")
  if (command === "close") open.close(code === "" ? undefined : Number(code), reason.join(" "))
  else if (command === "destroy") open.destroy()
  else if (command === "send") open.send(Buffer.alloc(Number(code), 1))
  else open.send(data)
}

/**
 * A WebSocket handshake at the edge: which requests are one, and how such a request is answered although Node has given its
 * socket away. Nothing that a client sends before its answer is kept: it can reach neither the Worker nor a tunnel.
 */
import { ServerResponse, type IncomingMessage } from "node:http"
import type { TLSSocket } from "node:tls"
import { formatSwitch } from "./fields.ts"

/** A handshake that waits for the Worker's word. */
export interface Handshake {
  /** For every answer but 101. The connection ends with it. */
  readonly response: ServerResponse
  /**
   * Answers with the Worker's 101 and returns the socket, to make a tunnel of; undefined, and nothing is answered, when the client
   * has not waited for it.
   */
  take(rawHeaders: readonly string[]): TLSSocket | undefined
}

/** Whether a request asks for a WebSocket. Every other protocol is declined by answering the request as if it had not asked. */
export function isHandshake({ headers, httpVersion, method }: IncomingMessage): boolean {
  const hasBody = headers["content-length"] !== undefined || headers["transfer-encoding"] !== undefined
  const protocols = (headers.upgrade ?? "").split(",").map((protocol) => protocol.trim().toLowerCase())
  return method === "GET" && httpVersion === "1.1" && !hasBody && protocols.includes("websocket")
}

/** Returns the handshake on a socket. @param head what had arrived behind it */
export function readHandshake(request: IncomingMessage, socket: TLSSocket, head: Buffer): Handshake {
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  response.assignSocket(socket)
  response.on("finish", () => socket.destroySoon())
  socket.on("error", () => {})
  let isEarly = head.length > 0
  // Read, or closing behind a refusal would reset the connection under a client that sends on.
  const drop = (): void => void (isEarly = true)
  socket.on("data", drop)
  return {
    response,
    take(rawHeaders) {
      if (isEarly) return undefined
      socket.off("data", drop)
      response.detachSocket(socket)
      socket.write(formatSwitch(rawHeaders))
      return socket
    },
  }
}

/**
 * Opens the port of a sample's server, and closes it again with every connection. Shared by the samples.
 */
import { once } from "node:events"
import type { Server } from "node:http"
import type { AddressInfo, Socket } from "node:net"

/** A server that accepts connections. */
export interface Listening {
  readonly port: number
  /** Closes the port and every connection, also those that have become WebSockets; settles when all are gone. */
  readonly close: () => Promise<void>
}

/** Settles once the server accepts connections, fails when the port is taken. Port 0 takes any free one. */
export async function listen(server: Server, host: string, port: number): Promise<Listening> {
  // Node forgets the connections that were upgraded.
  const sockets = new Set<Socket>()
  server.on("connection", (socket) => {
    sockets.add(socket)
    socket.once("close", () => sockets.delete(socket))
  })
  await once(server.listen(port, host), "listening")
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = once(server, "close")
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

/**
 * A WebSocket through the edge: octets in both directions with back-pressure, from the Worker's 101 on until one side ends.
 *
 * Frames are counted, not read (`edge/frames.ts`): a client that sends what is none ends the tunnel, and when the Worker goes away
 * or the client's certificate is revoked the client gets a close frame that says so, wherever a frame may stand.
 */
import type { Socket } from "node:net"
import type { TLSSocket } from "node:tls"
import { createFrameScanner, formatCloseFrame, type FrameScanner } from "./frames.ts"

/** All open tunnels, each by whose it is. */
export interface Tunnels<Owner> {
  /** Makes a tunnel of two sockets. `head` is what the Worker sent behind its 101. Both sockets end with it. */
  open(owner: Owner, client: TLSSocket, worker: Socket, head: Buffer): void
  /** Ends with 1008 those whose owner may not have one any more. */
  endUnless(isAllowed: (owner: Owner) => boolean): void
  /** Ends all of them with 1001. */
  endAll(): void
}

/** An open tunnel. */
interface Tunnel {
  /** Ends both sides; the client is told why, unless it is in the middle of a frame. */
  end(code: number, reason: string): void
}

/** Probes find a peer that is gone without a word: a socket may be silent for as long as the Worker lets it. In ms. */
const KEEP_ALIVE_MS = 30_000
/** How long the rest of a direction may take to arrive once the tunnel ends, in ms. */
const LINGER_MS = 1_000

/** Returns the tunnels of an edge that has none yet. */
export function createTunnels<Owner>(): Tunnels<Owner> {
  const tunnels = new Map<Owner, Tunnel>()
  return {
    open(owner, client, worker, head) {
      tunnels.set(owner, openTunnel(client, worker, head))
      client.once("close", () => tunnels.delete(owner))
    },
    endUnless(isAllowed) {
      for (const [owner, tunnel] of tunnels) if (!isAllowed(owner)) tunnel.end(1008, "no longer allowed")
    },
    endAll() {
      for (const tunnel of tunnels.values()) tunnel.end(1001, "going away")
    },
  }
}

/** Starts handing on. */
function openTunnel(client: TLSSocket, worker: Socket, head: Buffer): Tunnel {
  const scanners = { client: createFrameScanner("client"), worker: createFrameScanner("server") }
  let isOver = false

  function end(code: number, reason: string): void {
    if (isOver) return
    isOver = true
    if (scanners.worker.isBetweenFrames && !scanners.worker.isClosed && client.writable)
      client.write(formatCloseFrame(code, reason))
    finishClient()
    worker.resetAndDestroy()
  }

  function finishClient(): void {
    client.end()
    // A client that sends on is read, or closing would reset the connection under the frame that tells it why.
    client.removeAllListeners("data")
    client.resume()
    const timer = setTimeout(() => client.destroy(), LINGER_MS)
    client.once("close", () => clearTimeout(timer))
  }

  function pass(from: Socket, to: Socket, scanner: FrameScanner, chunk: Buffer): void {
    if (isOver) return
    const fault = scanner.scan(chunk)
    if (fault !== undefined) return end(from === client ? fault : 1011, "invalid frame")
    if (to.write(chunk)) return
    from.pause()
    to.once("drain", () => from.resume())
  }

  for (const socket of [client, worker]) {
    socket.setTimeout(0)
    socket.setKeepAlive(true, KEEP_ALIVE_MS)
    socket.setNoDelay(true)
    socket.on("error", () => {})
  }
  client.on("data", (chunk: Buffer) => pass(client, worker, scanners.client, chunk))
  worker.on("data", (chunk: Buffer) => pass(worker, client, scanners.worker, chunk))
  client.on("end", () => client.end())
  client.on("close", () => {
    if (isOver) return
    isOver = true
    // Only a reset tells workerd that a client has vanished; one that said so has said it in a frame that must arrive.
    if (scanners.client.isClosed) worker.end()
    else worker.resetAndDestroy()
    setTimeout(() => worker.destroy(), LINGER_MS).unref()
  })
  worker.on("end", () => worker.end())
  worker.on("close", () => {
    if (isOver) return
    // A Worker that closes without a close frame has been replaced or has died.
    if (!scanners.worker.isClosed) return end(1012, "service restart")
    isOver = true
    finishClient()
  })
  if (head.length > 0) pass(worker, client, scanners.worker, head)
  client.resume()
  worker.resume()
  return { end }
}

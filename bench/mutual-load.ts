/**
 * A closed loop of keep-alive connections with a client certificate, as cheap for the sender as can be: both share the machine, and a
 * sender that is slower than what it measures makes an idle process look dear.
 */
import { once } from "node:events"
import { connect, type TLSSocket } from "node:tls"
import { CONNECTIONS, type Slice, percentiles } from "./load.ts"
import { cpuUsOf } from "./process.ts"

/** A client certificate, and the CA of the server's; PEM. */
export interface Caller {
  readonly ca: string
  readonly cert: string
  readonly key: string
}

const REQUEST = Buffer.from(
  "GET /balance?page=2 HTTP/1.1\r\nHost: localhost\r\nUser-Agent: sekisho-bench/1\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\n\r\n",
)
const HEAD_END = Buffer.from("\r\n\r\n")

/**
 * Opens {@link CONNECTIONS} connections, sends one request over each, and then measures `count` more; handshakes are in no figure. A
 * status other than 200 is an error. Rejects when a connection ends.
 */
export async function runMutualSlice(port: number, caller: Caller, count: number, pid: number): Promise<Slice> {
  const sockets = await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      const socket = connect({ ...caller, host: "127.0.0.1", port, servername: "localhost" })
      socket.setNoDelay(true)
      await once(socket, "secureConnect")
      await exchange(socket)
      return socket
    }),
  )
  const latencies: number[] = []
  let sent = 0
  let errors = 0
  const before = cpuUsOf(pid)
  const beganMs = performance.now()
  await Promise.all(
    sockets.map(async (socket) => {
      while (sent < count) {
        sent++
        const startedMs = performance.now()
        if ((await exchange(socket)) !== 200) errors += 1
        latencies.push(performance.now() - startedMs)
      }
    }),
  )
  const perSecond = (1_000 * count) / (performance.now() - beganMs)
  const cpuUs = (cpuUsOf(pid) - before) / count
  for (const socket of sockets) socket.destroy()
  const [p50Ms = Number.NaN, p99Ms = Number.NaN] = percentiles(latencies, [0.5, 0.99])
  return { cpuUs, p50Ms, p99Ms, errors, perSecond }
}

/** Sends the request and resolves with the status once the whole answer, whose length has to be announced, is there. */
function exchange(socket: TLSSocket): Promise<number> {
  return new Promise((resolve, reject) => {
    let received: Buffer = Buffer.alloc(0)
    let total: number | undefined
    const onClose = (): void => reject(new Error("The connection ended within a slice"))
    const onData = (chunk: Buffer): void => {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk])
      total ??= totalOf(received)
      if (total === undefined || received.length < total) return
      socket.off("data", onData)
      socket.off("close", onClose)
      resolve(Number(received.toString("latin1", 9, 12)))
    }
    socket.on("data", onData)
    socket.on("close", onClose)
    socket.write(REQUEST)
  })
}

/** Returns the octets of an answer; undefined before its header section is there. */
function totalOf(received: Buffer): number | undefined {
  const end = received.indexOf(HEAD_END)
  if (end < 0) return undefined
  const length = /^content-length: *(\d+)/im.exec(received.toString("latin1", 0, end))?.[1]
  if (length === undefined) throw new Error("An answer without Content-Length cannot be measured")
  return end + HEAD_END.length + Number(length)
}

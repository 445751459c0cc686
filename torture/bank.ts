/**
 * A bank that keeps the truth: every request that reaches it is a payment that is carried out, however often it comes.
 */
import { once } from "node:events"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { setTimeout as delay } from "node:timers/promises"

/** A payment that was carried out. */
export interface Execution {
  /** Name of the payment, from its body. */
  readonly payment: string
  /** What the bank has answered with: another one for each execution. */
  readonly receipt: string
  readonly requestId: string
  readonly clientId: string
}

/** A bank that takes payments. */
export interface Bank {
  readonly url: string
  readonly executions: readonly Execution[]
  close(): Promise<void>
}

/** Starts a bank. @param delayMs how long it thinks about a payment that it has carried out already, so that crashes fall in between */
export async function startBank(delayMs: () => number): Promise<Bank> {
  const executions: Execution[] = []
  const server = createServer((request, response) => {
    // Of a request that is cut off before it is whole nothing is carried out.
    pay(request, response).catch(() => response.destroy())
  })
  async function pay(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = Buffer.concat(await request.toArray()).toString()
    const { payment } = JSON.parse(body) as { readonly payment: string }
    const receipt = `receipt-${executions.length + 1}`
    executions.push({
      payment,
      receipt,
      requestId: String(request.headers["x-request-id"]),
      clientId: String(request.headers["x-client-id"]),
    })
    await delay(delayMs())
    response.writeHead(201, { "Content-Type": "application/json" }).end(JSON.stringify({ payment, receipt }))
  }
  // Whoever is cut off in the middle of a request is nobody's error here.
  server.on("clientError", (_, socket) => socket.destroy())
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    executions,
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, "close")
    },
  }
}

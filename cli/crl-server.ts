/**
 * Publishes the development CA's revocation list on loopback, as a CA does, so that the Worker fetches and checks it by itself.
 */
import { readFile } from "node:fs/promises"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"

/** A server of one list. */
export interface CrlServer {
  readonly url: string
  close(): Promise<void>
}

/** Starts the server on a free port. The file is read for every request, so a new list needs no restart. */
export async function startCrlServer(host: string, path: string): Promise<CrlServer> {
  const server = createServer((_, response) => {
    readFile(path).then(
      (list) => response.writeHead(200, { "Content-Type": "application/x-pem-file" }).end(list),
      () => response.writeHead(404).end(),
    )
  })
  await new Promise<void>((done, fail) => {
    server.once("error", fail)
    server.listen(0, host, done)
  })
  return {
    url: `http://${host}:${(server.address() as AddressInfo).port}/crl.pem`,
    async close() {
      const closed = new Promise((done) => server.close(done))
      server.closeAllConnections()
      await closed
    },
  }
}

/**
 * Lets tests inside workerd ask what the servers outside of it have seen, and tell a waiting origin to go on.
 */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import type { OriginServer } from "./origin-server.ts"
import type { SinkServer } from "./sink-server.ts"

/** Starts the control server. Paths: `/requests/<gateway>`, `/release/<gateway>`, `/posts/<test>`, `/endless/<test>`, `/trap`. */
export async function startControl(
  origin: OriginServer,
  sink: SinkServer,
  trapConnections: () => number,
): Promise<{ readonly port: number; close(): void }> {
  const server = createServer((request, response) => {
    const [, question = "", key = ""] = (request.url ?? "").split("/")
    const answers: Readonly<Record<string, () => unknown>> = {
      requests: () => origin.requests(key),
      release: () => origin.release(key),
      posts: () => sink.posts(key),
      endless: () => sink.endlessBytes(key),
      trap: trapConnections,
    }
    response.setHeader("Content-Type", "application/json")
    response.end(JSON.stringify(answers[question]?.() ?? null))
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    port: (server.address() as AddressInfo).port,
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

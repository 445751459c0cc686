/**
 * Lets tests inside workerd ask what the servers outside of it have seen, and tell a waiting origin to go on.
 */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import type { KeyServerScript } from "../provided.ts"
import type { KeyServer } from "./key-server.ts"
import type { OriginServer } from "./origin-server.ts"
import type { SinkServer } from "./sink-server.ts"

/** The servers that are asked about. */
export interface Controlled {
  readonly origin: OriginServer
  readonly sink: SinkServer
  readonly keyServer: KeyServer
  readonly trapConnections: () => number
}

/**
 * Starts the control server. Paths: `/requests/<gateway>`, `/release/<gateway>`, `/posts/<test>`, `/endless/<test>`, `/trap`,
 * `/fetches/<gateway>`, and `/script/<gateway>/<script>`, which is JSON, percent-encoded.
 */
export async function startControl({
  origin,
  sink,
  keyServer,
  trapConnections,
}: Controlled): Promise<{ readonly port: number; close(): void }> {
  const server = createServer((request, response) => {
    const [, question = "", key = "", argument = ""] = (request.url ?? "").split("/")
    const answers: Readonly<Record<string, () => unknown>> = {
      requests: () => origin.requests(key),
      release: () => origin.release(key),
      posts: () => sink.posts(key),
      endless: () => sink.endlessBytes(key),
      trap: trapConnections,
      fetches: () => keyServer.fetches(key),
      script: () => keyServer.script(key, JSON.parse(decodeURIComponent(argument)) as KeyServerScript),
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

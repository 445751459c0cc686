/**
 * A real sink that records posts and answers as its path says: `/<test>/<behaviour>`, where the behaviour is a status, a
 * status with a Retry-After (`503-7`) or one of the names below.
 */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { gunzipSync, gzipSync } from "node:zlib"
import type { SinkRecord } from "../provided.ts"

/** A sink that runs. */
export interface SinkServer {
  readonly port: number
  /** Posts of a test, oldest first. */
  posts(test: string): readonly SinkRecord[]
  /** Octets of an endless answer that were written before the other side gave up. */
  endlessBytes(test: string): number
  close(): void
}

const BOMB = gzipSync(Buffer.alloc(64 * 1_048_576))
const CHUNK = Buffer.alloc(16_384, "x")

/** Starts a sink on a free port. Redirects of it lead to the trap. */
export async function startSink(trapPort: number): Promise<SinkServer> {
  const records = new Map<string, SinkRecord[]>()
  const endless = new Map<string, number>()
  const server = createServer((request, response) => {
    const [, test = "", behaviour = ""] = (request.url ?? "").split("/")
    const chunks: Buffer[] = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("error", () => {})
    response.on("error", () => {})
    request.on("end", () => {
      const { "content-type": contentType = "", "content-encoding": coding, authorization } = request.headers
      const sent = Buffer.concat(chunks)
      const body = (coding === "gzip" ? gunzipSync(sent) : sent).toString("utf8")
      const { "x-api-key": apiKey } = request.headers
      const fields = { contentType, coding, authorization, apiKey: apiKey === undefined ? undefined : String(apiKey) }
      records.set(test, [...(records.get(test) ?? []), { ...fields, body, behaviour }])
      if (behaviour === "redirect") {
        response.writeHead(307, { Location: `http://127.0.0.1:${trapPort}/` }).end()
      } else if (behaviour === "hang") {
        // No answer, ever.
      } else if (behaviour === "reset") {
        request.socket.resetAndDestroy()
      } else if (behaviour === "cut") {
        response.writeHead(200, { "Content-Length": 1_000 })
        response.write("{}", () => setTimeout(() => request.socket.destroy(), 20))
      } else if (behaviour === "partial") {
        response.writeHead(200).end('{"partialSuccess":{"rejectedLogRecords":"1"}}')
      } else if (behaviour === "poison") {
        response.writeHead(body.includes("POISON") ? 400 : 200).end("{}")
      } else if (behaviour === "bomb") {
        response.writeHead(200, { "Content-Encoding": "gzip" }).end(BOMB)
      } else if (behaviour === "drip") {
        response.writeHead(200)
        const timer = setInterval(() => (response.destroyed ? clearInterval(timer) : response.write("x")), 50)
      } else if (behaviour === "endless") {
        response.writeHead(200)
        const write = (): void => {
          if (response.destroyed) return
          endless.set(test, (endless.get(test) ?? 0) + CHUNK.length)
          if (response.write(CHUNK)) setImmediate(write)
          else response.once("drain", write)
        }
        write()
      } else {
        const [status = "200", retryAfter] = behaviour.split("-")
        response.writeHead(Number(status), retryAfter === undefined ? {} : { "Retry-After": retryAfter }).end("{}")
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    port: (server.address() as AddressInfo).port,
    posts: (test) => records.get(test) ?? [],
    endlessBytes: (test) => endless.get(test) ?? 0,
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

/**
 * A sink of audit trails that fails in every way that a sink can, and keeps the lines that it was given.
 */
import { once } from "node:events"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { gunzipSync } from "node:zlib"

/** How a sink behaves. `forgets` keeps the lines and cuts the answer off; `hangs` keeps them and never answers. */
export type SinkMood = "takes" | "refuses" | "hangs" | "is busy" | "forgets"

/** All of them; the first one is the one that ends a bad time. */
export const SINK_MOODS: readonly [SinkMood, ...SinkMood[]] = ["takes", "refuses", "hangs", "is busy", "forgets"]

/** A sink that runs. */
export interface TrailSink {
  readonly url: string
  /** Every line in the order of arrival, copies included. */
  readonly lines: readonly string[]
  mood: SinkMood
  close(): Promise<void>
}

/** Starts a sink that takes what it is given. */
export async function startTrailSink(): Promise<TrailSink> {
  const lines: string[] = []
  const answer: Readonly<Record<SinkMood, (request: IncomingMessage, response: ServerResponse) => Promise<void>>> = {
    takes: async (request, response) => {
      await keep(request)
      response.end()
    },
    refuses: async (request) => {
      request.socket.destroy()
    },
    hangs: keep,
    "is busy": async (request, response) => {
      request.resume()
      response.writeHead(429, { "Retry-After": "1" }).end()
    },
    forgets: async (request) => {
      await keep(request)
      request.socket.destroy()
    },
  }
  async function keep(request: IncomingMessage): Promise<void> {
    const sent = Buffer.concat(await request.toArray())
    const text = (request.headers["content-encoding"] === "gzip" ? gunzipSync(sent) : sent).toString()
    lines.push(...text.split("\n").filter((line) => line !== ""))
  }
  const server = createServer((request, response) => {
    // A sender that dies in the middle of its body has sent nothing.
    answer[sink.mood](request, response).catch(() => {})
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const sink: TrailSink = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    lines,
    mood: "takes",
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, "close")
    },
  }
  return sink
}

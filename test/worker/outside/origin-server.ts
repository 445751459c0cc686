/**
 * A real origin that records what reaches it and misbehaves on request: what it does depends on the path.
 *
 * The first segment of a path names a gateway under test (its origin URL ends in it), so that tests running side by side
 * do not see each other's requests; the last segment chooses the behaviour, an echo unless {@link BEHAVIOURS} knows it.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { gzipSync } from "node:zlib"
import type { OriginRecord } from "../provided.ts"
import { answerHandshake } from "./websocket-origin.ts"

/** What `/gzip` sends, also for comparison. */
export const GZIP_BODY: Buffer = gzipSync("to be handed on as it is, to be handed on as it is")

/** An origin that runs. */
export interface OriginServer {
  readonly port: number
  /** Requests of a gateway, oldest first. */
  requests(gateway: string): readonly OriginRecord[]
  /** Lets every response of a gateway that waits go on. */
  release(gateway: string): void
  close(): void
}

interface Recording {
  method: string
  target: string
  fields: readonly (readonly [string, string])[]
  body: string
  isComplete: boolean
  isAborted: boolean
  close?: { code: number; reason: string }
}

/** Starts an origin on a free port. Redirects of it lead to the trap. */
export async function startOrigin(trapPort: number): Promise<OriginServer> {
  const recordings = new Map<string, Recording[]>()
  const waiting = new Map<string, (() => void)[]>()
  const server = createServer((request, response) => {
    const [, gateway = "", target = ""] = /^\/([^/?]*)(.*)$/.exec(request.url ?? "") ?? []
    const recording: Recording = {
      method: request.method ?? "",
      target,
      fields: request.rawHeaders.flatMap((name, i, all) => (i % 2 === 0 ? [[name, all[i + 1] ?? ""] as const] : [])),
      body: "",
      isComplete: false,
      isAborted: false,
    }
    recordings.set(gateway, [...(recordings.get(gateway) ?? []), recording])
    request.on("data", (chunk: Buffer) => (recording.body += chunk.toString("latin1")))
    request.on("end", () => (recording.isComplete = true))
    request.on("error", () => {})
    response.on("error", () => {})
    response.on("close", () => (recording.isAborted = !response.writableFinished))
    const name = /([^/?]*)(?:\?.*)?$/.exec(target)?.[1] ?? ""
    const room = /^\/([^/?]*)\//.exec(target)?.[1] ?? ""
    // Counted for each gateway and room, so that two URLs of one origin fail by themselves.
    const visits = (recordings.get(gateway) ?? []).filter((other) => other.target.startsWith(`/${room}/`)).length
    const behave = (ROOMS[room]?.(visits) === true ? BEHAVIOURS["reset"] : BEHAVIOURS[name]) ?? echo
    const released = new Promise<void>((resolve) => waiting.set(gateway, [...(waiting.get(gateway) ?? []), resolve]))
    behave(request, response, { recording, released, trapPort })
  })
  server.on("upgrade", (request, socket, head) => {
    const [, gateway = "", target = ""] = /^\/([^/?]*)(.*)$/.exec(request.url ?? "") ?? []
    const fields = request.rawHeaders.flatMap((name, i, all) =>
      i % 2 === 0 ? [[name, all[i + 1] ?? ""] as const] : [],
    )
    const recording: Recording = { method: "GET", target, fields, body: "", isComplete: true, isAborted: false }
    recordings.set(gateway, [...(recordings.get(gateway) ?? []), recording])
    answerHandshake(request, socket, head, (code, reason) => (recording.close = { code, reason }))
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    port: (server.address() as AddressInfo).port,
    requests: (gateway) => recordings.get(gateway) ?? [],
    release: (gateway) => {
      for (const resolve of waiting.get(gateway) ?? []) resolve()
    },
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

interface Scene {
  readonly recording: Recording
  readonly released: Promise<void>
  readonly trapPort: number
}

type Behaviour = (request: IncomingMessage, response: ServerResponse, scene: Scene) => void

function echo(request: IncomingMessage, response: ServerResponse, { recording }: Scene): void {
  request.on("end", () => {
    response.writeHead(200, { "Content-Type": "application/json", ETag: '"1"' })
    response.end(JSON.stringify(recording))
  })
}

/** Origin URLs that end in one of these reset connections before any answer, whatever is asked: always, or every other time. */
const ROOMS: Readonly<Record<string, (visits: number) => boolean>> = {
  down: () => true,
  flapping: (visits) => visits % 2 === 1,
}

const BEHAVIOURS: Readonly<Record<string, Behaviour>> = {
  // What the query says, such as `?status=401&guard-outcome=neutral`: a status and fields. With `wait` it waits for the test.
  answer: (_, response, { recording, released }) => {
    const {
      status = "200",
      wait,
      ...fields
    } = Object.fromEntries(new URL(recording.target, "http://origin").searchParams)
    const answer = (): void => void response.writeHead(Number(status), fields).end("answered")
    if (wait === undefined) answer()
    else void released.then(answer)
  },
  redirect: (_, response, { trapPort }) => {
    response.writeHead(302, { Location: `http://127.0.0.1:${trapPort}/stolen` }).end()
  },
  // The second half waits for the test, so a first half that arrives has not waited for it.
  halves: (_, response, { released }) => {
    response.writeHead(200, { "Content-Type": "text/plain" })
    response.write("first;")
    void released.then(() => response.end("second"))
  },
  // Sends back each piece of the request body when it arrives.
  duplex: (request, response) => {
    response.writeHead(200, { "Content-Type": "application/octet-stream" })
    request.on("data", (chunk: Buffer) => response.write(chunk))
    request.on("end", () => response.end())
  },
  // Octets that no HTTP library would write: a status line and fields of the query, the fields `repeat` times with # as a number.
  raw: (request, _, { recording }) => {
    const { searchParams } = new URL(recording.target, "http://origin")
    const fields = Array.from({ length: Number(searchParams.get("repeat") ?? 1) }, (_item, index) =>
      (searchParams.get("fields") ?? "").replaceAll("#", String(index)),
    ).join("")
    const { socket } = request
    socket.end(
      Buffer.from(`HTTP/1.1 ${searchParams.get("status") ?? "200 OK"}\r\n${fields}Content-Length: 2\r\n\r\nok`),
    )
  },
  // Begins to answer before the request has arrived.
  early: (_, response) => {
    response.writeHead(200, { "Content-Type": "text/plain" })
    response.write("early;")
  },
  // Ten pieces of a thousand octets, no length.
  pieces: (_, response) => {
    response.writeHead(200, { "Content-Type": "text/plain" })
    for (let i = 0; i < 10; i += 1) response.write("x".repeat(1_000))
    response.end()
  },
  // More than anybody keeps, with or without its length.
  long: (_, response, { recording }) => {
    const body = "x".repeat(263_144)
    const isAnnounced = recording.target.endsWith("=1")
    response.writeHead(200, isAnnounced ? { "Content-Length": body.length } : { "Transfer-Encoding": "chunked" })
    response.end(body)
  },
  // Server-sent events: the second one waits for the test.
  events: (_, response, { released }) => {
    response.writeHead(200, { "Content-Type": "text/event-stream" })
    response.write("data: 1\n\n")
    void released.then(() => response.end("data: 2\n\n"))
  },
  silent: () => {},
  reset: (request) => request.socket.resetAndDestroy(),
  garbage: (request) => request.socket.end("this is no HTTP\r\n\r\n"),
  // Announces more than it sends.
  short: (request, response) => {
    response.writeHead(200, { "Content-Length": 1_000 })
    response.write("only this", () => setTimeout(() => request.socket.destroy(), 20))
  },
  // As `short`, without a length: the last chunk is missing.
  unfinished: (request, response) => {
    response.writeHead(200)
    response.write("only this", () => setTimeout(() => request.socket.destroy(), 20))
  },
  gzip: (_, response) => {
    response
      .writeHead(200, { "Content-Encoding": "gzip", ETag: '"strong"', "Content-Length": GZIP_BODY.length })
      .end(GZIP_BODY)
  },
  sized: (_, response) => {
    response.writeHead(200, { "Content-Length": 1_234, "X-Kept": "1" })
    response.end(response.req.method === "HEAD" ? undefined : "x".repeat(1_234))
  },
  "204": (_, response) => void response.writeHead(204, { "X-Kept": "1" }).end(),
  "304": (_, response) => void response.writeHead(304, { ETag: '"1"', "X-Kept": "1" }).end(),
  "503": (_, response) => void response.writeHead(503, { "Retry-After": "7" }).end("maintenance"),
  cookies: (_, response) => {
    response.writeHead(200, { "Set-Cookie": ["a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "b=2"] }).end()
  },
  hop: (_, response) => {
    response
      .writeHead(200, {
        Connection: "close, X-Secret",
        "X-Secret": "1",
        "Keep-Alive": "timeout=9",
        "Proxy-Authenticate": "Basic",
        "Proxy-Connection": "keep-alive",
        "X-Kept": "1",
      })
      .end()
  },
  forging: (request, response) => {
    response
      .writeHead(200, {
        "X-Request-Id": "chosen-by-the-origin",
        RateLimit: '"forged";r=999',
        "RateLimit-Policy": '"forged";q=999;w=1',
        "Client-Cert": ":Zm9yZ2Vk:",
        // What the gateway has proven to it, for the caller to prove it elsewhere.
        "Gateway-Assertion": String(request.headers["gateway-assertion"]),
      })
      .end()
  },
  varying: (_, response) => void response.writeHead(200, { Vary: "Accept, Client-Cert" }).end(),
  cacheable: (request, response) => {
    response
      .writeHead(200, { "Cache-Control": "public, max-age=3600", Vary: "Authorization" })
      .end(String(request.headers["x-client-id"]))
  },
}

/**
 * What `npm run bench -- --edge` measures beside nginx, each in a process of its own: the edge, and things of Node's that do less, so
 * that it can be told what is the edge's and what is Node's. Takes its options as JSON, prints its port.
 */
import { Agent, request as startRequest } from "node:http"
import { createServer as createHttpsServer } from "node:https"
import { connect, type AddressInfo, type Server } from "node:net"
import { createServer as createTlsServer } from "node:tls"
import { startEdge } from "../edge/server.ts"
import { createWorkerPool } from "../edge/worker-pool.ts"

/** What to start. */
export type EdgeTargetKind = "edge" | "node-lean" | "node-proxy" | "node-answer" | "node-pipe"

/** What it is given; certificates as PEM. */
export interface EdgeTargetOptions {
  readonly kind: EdgeTargetKind
  readonly originPort: number
  readonly certificate: string
  readonly privateKey: string
  readonly clientCas: string
  readonly crl: string
}

const HOST = "127.0.0.1"

const options = JSON.parse(process.argv[2] ?? "{}") as EdgeTargetOptions
// An end by signal writes no CPU profile.
process.on("SIGTERM", () => process.exit(0))
console.log(await start(options))

/** Starts it and returns its port. */
async function start({
  certificate,
  clientCas,
  crl,
  kind,
  originPort,
  privateKey,
}: EdgeTargetOptions): Promise<number> {
  const tls = { cert: certificate, key: privateKey, ca: clientCas, crl, requestCert: true, rejectUnauthorized: true }
  switch (kind) {
    case "edge": {
      const { port } = await startEdge({
        port: 0,
        certificate,
        privateKey,
        clientCas,
        crls: [crl],
        hosts: ["localhost"],
        worker: { hostname: HOST, port: originPort },
        assertionKey: Buffer.alloc(32, 1),
        onEvent: (event) => console.error(event),
      })
      return port
    }
    case "node-proxy": {
      const agent = new Agent({ keepAlive: true, maxFreeSockets: 64 })
      const server = createHttpsServer(tls, (request, response) => {
        const { headers, method, url } = request
        const outgoing = startRequest(
          { host: HOST, port: originPort, agent, method: method ?? "GET", path: url ?? "/", headers },
          (incoming) => {
            response.writeHead(incoming.statusCode ?? 502, incoming.headers)
            incoming.pipe(response)
          },
        )
        outgoing.on("error", () => response.destroy())
        request.pipe(outgoing)
      })
      return listen(server)
    }
    case "node-lean": {
      const pool = createWorkerPool()
      const server = createHttpsServer(tls, (request, response) => {
        const { method = "GET", rawHeaders: fields, url: target = "/" } = request
        const exchange = pool.send(
          { hostname: HOST, port: originPort },
          { method, target, fields, body: "none" },
          {
            onHead: ({ rawHeaders, status }) => response.writeHead(status, [...rawHeaders]),
            onPause: () => response.flushHeaders(),
            onBody(part) {
              if (response.write(part)) return true
              response.once("drain", () => exchange.resume())
              return false
            },
            onEnd: () => response.end(),
            onSwitch: (_, socket) => socket.destroy(),
            onDrain: () => {},
            onFailure: () => response.destroy(),
          },
        )
      })
      return listen(server)
    }
    case "node-answer": {
      const body = JSON.stringify({ filler: "x".repeat(187) })
      const server = createHttpsServer(tls, (_, response) => {
        response.writeHead(200, { "Content-Type": "application/json", "Content-Length": body.length })
        response.end(body)
      })
      return listen(server)
    }
    case "node-pipe":
      return listen(
        createTlsServer({ ...tls, noDelay: true }, (socket) => {
          const outgoing = connect({ host: HOST, port: originPort, noDelay: true })
          for (const side of [socket, outgoing]) side.on("error", () => {})
          socket.on("close", () => outgoing.destroy())
          outgoing.on("close", () => socket.destroy())
          socket.pipe(outgoing).pipe(socket)
        }),
      )
  }
}

function listen(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, HOST, () => resolve((server.address() as AddressInfo).port))
  })
}

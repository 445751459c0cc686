/**
 * Goal: a collector that others have written takes logs and traces as they are. Method: edge and Worker, and a real OpenTelemetry Collector, which
 * prints what it has understood. Runs where `SEKISHO_INTEROP=1` says so and `otelcol` or `otelcol-contrib` is on PATH; nothing else here
 * depends on it.
 */
import { spawn, spawnSync, type ChildProcess } from "node:child_process"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { createServer, type Server } from "node:http"
import { request as startRequest } from "node:https"
import { connect, type AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest"
import { startDevelopment, type Development } from "../../cli/development.ts"
import { readAnswer, type Answer } from "./road.ts"

const COLLECTOR = ["otelcol", "otelcol-contrib"].find(
  (name) => process.env["SEKISHO_INTEROP"] === "1" && spawnSync(name, ["--version"]).status === 0,
)
const WAIT = { timeout: 30_000 }

describe.skipIf(COLLECTOR === undefined)("a collector", () => {
  let directory: string
  let collector: ChildProcess
  let printed = ""
  let origin: Server
  let development: Development
  let answer: Answer

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "sekisho-collector-"))
    const port = await freePort()
    const config = {
      receivers: { otlp: { protocols: { http: { endpoint: `127.0.0.1:${port}` } } } },
      exporters: { debug: { verbosity: "detailed" } },
      service: {
        telemetry: { metrics: { level: "none" } },
        pipelines: {
          logs: { receivers: ["otlp"], exporters: ["debug"] },
          traces: { receivers: ["otlp"], exporters: ["debug"] },
        },
      },
    }
    const file = join(directory, "collector.yaml")
    // JSON is YAML, too.
    await writeFile(file, JSON.stringify(config))
    collector = spawn(COLLECTOR ?? "", ["--config", file], { stdio: ["ignore", "pipe", "pipe"] })
    for (const stream of [collector.stdout, collector.stderr])
      stream?.setEncoding("utf8").on("data", (text: string) => (printed += text))
    await vi.waitFor(() => accepts(port), WAIT)
    origin = createServer((_, response) => response.end("{}"))
    await new Promise<void>((done) => origin.listen(0, "127.0.0.1", done))
    const originUrl = `http://127.0.0.1:${(origin.address() as AddressInfo).port}`
    // Without samples: those have a sink of their own.
    development = await startDevelopment({
      configFile: resolve(import.meta.dirname, "../../wrangler.toml"),
      environment: undefined,
      port: 0,
      state: directory,
      samples: false,
      watches: false,
      overrides: {
        GATEWAY: { hosts: ["localhost"], log_flush: "10ms" },
        ORIGINS: { bank: { url: originUrl }, issuer: { url: originUrl } },
        ROUTES: [{ path: "/balance", methods: ["GET"], origin: "bank", limits: "standard" }],
        SINKS: [
          { kind: "otlp", url: `http://127.0.0.1:${port}/v1/logs` },
          { kind: "otlp", url: `http://127.0.0.1:${port}/v1/traces`, takes: ["traces"] },
        ],
      },
      paint: (_, text) => text,
      onRecord: () => {},
      onNotice: () => {},
    })
    const pair = await readFile(join(directory, "pki", "clients", "acme.pem"), "utf8")
    const outgoing = startRequest({
      ca: await readFile(development.pki.ca.certificatePath, "utf8"),
      cert: pair,
      key: pair,
      host: "127.0.0.1",
      servername: "localhost",
      port: development.port,
      path: "/balance",
      headers: { Host: "localhost" },
      agent: false,
    })
    answer = await readAnswer(outgoing.end())
  }, 90_000)

  afterAll(async () => {
    await development?.close()
    origin?.close()
    collector?.kill()
    await rm(directory, { recursive: true, force: true })
  })

  test("understands the event of a request as a log record with its attributes", async () => {
    await vi.waitFor(() => expect(printed).toContain(`request_id: Str(${answer.id})`), WAIT)
    expect(printed).toMatch(/Body: Str\(GET \/balance 200\)/)
    expect(printed).toMatch(/-> service\.name: Str\(sekisho\)/)
    expect(printed).toMatch(/-> status: Int\(200\)/)
  }, 40_000)

  test("understands the spans of the same request, the origin's inside the server's", async () => {
    await vi.waitFor(() => expect(printed).toMatch(/Kind\s*: Client/), WAIT)
    expect(printed).toMatch(/Name\s*: GET \/balance\n\s*Kind\s*: Server/)
    const server = /ID\s*: ([0-9a-f]{16})\n\s*Name\s*: GET \/balance/.exec(printed)?.[1]
    expect(printed).toMatch(new RegExp(`Parent ID\\s*: ${server}\\n`))
  }, 40_000)
})

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done))
  const { port } = server.address() as AddressInfo
  await new Promise((done) => server.close(done))
  return port
}

function accepts(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy()
      resolve()
    })
    socket.on("error", reject)
  })
}

/**
 * Goal: readers that others have written take `/metrics` as it is. Method: the whole road; the OpenMetrics parser of
 * prometheus_client, and one scrape by a real Prometheus. Runs where `SEKISHO_INTEROP=1` says so and both are installed
 * (Debian: python3-prometheus-client, prometheus); nothing else here depends on them.
 */
import { execFileSync, spawn, spawnSync, type ChildProcess } from "node:child_process"
import { readFile, writeFile } from "node:fs/promises"
import { createServer, type Server } from "node:http"
import { request as startRequest } from "node:https"
import { connect, type AddressInfo } from "node:net"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest"
import { readAnswer, startRoad, type Road } from "./road.ts"

const IS_ASKED = process.env["SEKISHO_INTEROP"] === "1"
// A Python of somebody's own often comes first and does not see what the system has installed.
const PYTHON = ["python3", "/usr/bin/python3"].find(
  (python) => IS_ASKED && spawnSync(python, ["-c", "import prometheus_client.openmetrics.parser"]).status === 0,
)
const HAS_PROMETHEUS = IS_ASKED && spawnSync("prometheus", ["--version"]).status === 0

/** Prints every sample as a line of JSON: name, labels, value. */
const READER = `
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    for s in family.samples: print(json.dumps([s.name, s.labels, s.value]))
`

describe.skipIf(PYTHON === undefined && !HAS_PROMETHEUS)("readers of metrics", () => {
  let road: Road
  beforeAll(async () => {
    road = await startRoad()
    await Promise.all(Array.from({ length: 4 }, async () => road.call("/healthz")))
    await road.call("/balance", { as: "acme" })
  })
  afterAll(() => road.close())

  test.skipIf(PYTHON === undefined)("prometheus_client reads it as OpenMetrics", async () => {
    const outgoing = startRequest({
      ...(await road.identity(undefined)),
      host: "127.0.0.1",
      servername: "admin.localhost",
      port: road.port,
      path: "/metrics",
      headers: {
        Host: "admin.localhost",
        Authorization: `Bearer ${await readFile(road.admin?.tokenPath ?? "", "utf8")}`,
        Accept: "application/openmetrics-text;version=1.0.0",
      },
      agent: false,
    })
    const { body } = await readAnswer(outgoing.end())
    const output = execFileSync(PYTHON ?? "", ["-c", READER], { input: body, encoding: "utf8" })
    const samples = output
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as unknown)
    const labels = { route: "/healthz", method: "GET", status_class: "2xx" }
    expect(samples).toContainEqual(["sekisho_requests_total", labels, 4])
    expect(samples.length).toBe(body.split("\n").filter((line) => line !== "" && !line.startsWith("#")).length)
  })

  test.skipIf(!HAS_PROMETHEUS)(
    "Prometheus scrapes it over TLS with the token",
    async () => {
      const proxy = await startTunnel(road.port)
      const api = await freePort()
      const config = join(road.state, "prometheus.yml")
      await writeFile(
        config,
        JSON.stringify({
          scrape_configs: [
            {
              job_name: "sekisho",
              scheme: "https",
              scrape_interval: "1s",
              // Names below localhost lead nowhere where only DNS is asked.
              proxy_url: `http://127.0.0.1:${proxy.port}`,
              tls_config: { ca_file: join(road.state, "pki", "ca.pem") },
              authorization: { credentials_file: road.admin?.tokenPath },
              static_configs: [{ targets: [`admin.localhost:${road.port}`] }],
            },
          ],
        }),
      )
      const prometheus = spawn(
        "prometheus",
        [
          `--config.file=${config}`,
          `--storage.tsdb.path=${join(road.state, "tsdb")}`,
          `--web.listen-address=127.0.0.1:${api}`,
        ],
        { stdio: "ignore" },
      )
      try {
        const value = await vi.waitUntil(async () => query(api, 'sekisho_requests_total{route="/healthz"}'), {
          timeout: 40_000,
          interval: 500,
        })
        expect(value).toBe("4")
        expect(await query(api, "up")).toBe("1")
        expect(await query(api, 'sekisho_origin_duration_seconds_bucket{origin="bank",le="+Inf"}')).toBe("1")
      } finally {
        await ended(prometheus)
        proxy.server.close()
        proxy.server.closeAllConnections()
      }
    },
    60_000,
  )
})

/** Returns the value of the first series; undefined while there is none, or nobody answers. */
async function query(port: number, expression: string): Promise<string | undefined> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(expression)}`)
    const { data } = (await response.json()) as { readonly data: { readonly result: { value: [number, string] }[] } }
    return data.result[0]?.value[1]
  } catch {
    return undefined
  }
}

/** A proxy that leads every CONNECT to one port. */
async function startTunnel(target: number): Promise<{ readonly server: Server; readonly port: number }> {
  const server = createServer()
  server.on("connect", (_, client) => {
    const socket = connect(target, "127.0.0.1", () => {
      client.write("HTTP/1.1 200 Connection Established\r\n\r\n")
      socket.pipe(client).pipe(socket)
    })
    for (const side of [socket, client]) side.on("error", () => {})
  })
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done))
  return { server, port: (server.address() as AddressInfo).port }
}

async function freePort(): Promise<number> {
  const { server, port } = await startTunnel(0)
  await new Promise((done) => server.close(done))
  return port
}

async function ended(child: ChildProcess): Promise<void> {
  const exit = new Promise((done) => child.once("exit", done))
  child.kill("SIGTERM")
  await exit
}

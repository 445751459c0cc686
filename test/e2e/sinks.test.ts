/**
 * Goal: sinks do not depend on each other over the real queue either. Method: the road without samples, one sink that takes everything and one that
 * is down for a while or finds fault with a record; what each has in the end is counted.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { createServer } from "node:http"
import { request as startRequest } from "node:https"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { gunzipSync } from "node:zlib"
import { afterAll, beforeAll, expect, test, vi } from "vitest"
import { startDevelopment, type Development } from "../../cli/development.ts"
import { readAnswer } from "./road.ts"

let state: string
let sinks: Awaited<ReturnType<typeof startSinks>>
let development: Development

beforeAll(async () => {
  state = await mkdtemp(join(tmpdir(), "sekisho-sinks-"))
  sinks = await startSinks()
  development = await startDevelopment({
    configFile: resolve(import.meta.dirname, "../../wrangler.toml"),
    environment: undefined,
    port: 0,
    state,
    samples: false,
    watches: false,
    overrides: {
      GATEWAY: { hosts: ["localhost"], log_flush: "500ms" },
      ORIGINS: { bank: { url: sinks.url }, issuer: { url: sinks.url } },
      ROUTES: [{ path: "/healthz", client_certificate: "none", respond: { status: 200 } }],
      SINKS: [
        { kind: "ndjson", url: `${sinks.url}/good` },
        { kind: "ndjson", url: `${sinks.url}/moody` },
      ],
    },
    paint: (_, text) => text,
    onRecord: () => {},
    onNotice: () => {},
  })
})

afterAll(async () => {
  await development?.close()
  await sinks?.close()
  await rm(state, { recursive: true, force: true })
})

test("a sink that was down has everything in the end, and the other one nothing twice", async () => {
  sinks.mood = () => 503
  const ids = await Promise.all(Array.from({ length: 5 }, () => send("/healthz")))
  await vi.waitFor(() => expect(sinks.offered("/moody")).toEqual(expect.arrayContaining(ids)))
  sinks.mood = () => 200
  await vi.waitFor(() => expect(sinks.taken("/moody")).toEqual(expect.arrayContaining(ids)), 25_000)
  for (const id of ids) expect(sinks.taken("/good").filter((taken) => taken === id)).toHaveLength(1)
  expect(sinks.text("/good")).toContain('"sink.down"')
})

test("LOG-08 a record that a sink does not bear holds up no other", async () => {
  sinks.mood = (body) => (body.includes("/poison") ? 400 : 200)
  const [poison, ...ids] = await Promise.all(["/poison", "/healthz", "/healthz", "/nope"].map(send))
  await vi.waitFor(() => expect(sinks.taken("/moody")).toEqual(expect.arrayContaining(ids)), 25_000)
  await vi.waitFor(() => expect(sinks.taken("/good")).toEqual(expect.arrayContaining([poison, ...ids])), 25_000)
  for (const id of ids) expect(sinks.taken("/moody").filter((taken) => taken === id)).toHaveLength(1)
  expect(sinks.taken("/moody")).not.toContain(poison)
})

/** Sends a request and returns its id. */
async function send(path: string): Promise<string> {
  const ca = await readFile(development.pki.ca.certificatePath, "utf8")
  const outgoing = startRequest({
    ca,
    host: "127.0.0.1",
    servername: "localhost",
    port: development.port,
    path,
    headers: { Host: "localhost" },
    agent: false,
  })
  return (await readAnswer(outgoing.end())).id
}

/** A sink that takes everything at /good, and at /moody what its mood takes. */
async function startSinks() {
  const posts: { readonly path: string; readonly body: string; readonly status: number }[] = []
  const sink: { mood: (body: string) => number } = { mood: () => 200 }
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      const sent = Buffer.concat(chunks)
      const body = (request.headers["content-encoding"] === "gzip" ? gunzipSync(sent) : sent).toString("utf8")
      const path = request.url ?? ""
      const status = path === "/good" ? 200 : sink.mood(body)
      posts.push({ path, body, status })
      response.writeHead(status).end()
    })
  })
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done))
  const idsOf = (path: string, statuses: readonly number[]): readonly string[] =>
    posts
      .filter((post) => post.path === path && statuses.includes(post.status))
      .flatMap(({ body }) => [...body.matchAll(/"request_id":"([^"]+)"/g)].map(([, id = ""]) => id))
  return Object.assign(sink, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    offered: (path: string) => idsOf(path, [200, 400, 503]),
    taken: (path: string) => idsOf(path, [200]),
    text: (path: string) =>
      posts
        .filter((post) => post.path === path)
        .map(({ body }) => body)
        .join(""),
    async close() {
      const closed = new Promise((done) => server.close(done))
      server.closeAllConnections()
      await closed
    },
  })
}

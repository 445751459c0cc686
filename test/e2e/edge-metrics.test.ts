/**
 * Goal: the edge counts what happens to its connections, each once, and tells it with requests to the admin room and nowhere else.
 * Method: real handshakes, good ones and bad ones, and an upstream in the Worker's place that sees what it is told.
 */
import { once } from "node:events"
import { connect as connectTcp, createServer, type AddressInfo, type Socket } from "node:net"
import type { ConnectionOptions } from "node:tls"
import { expect, onTestFinished, test, vi } from "vitest"
import type { EdgeOptions } from "../../edge/options.ts"
import {
  blobOf,
  exchange,
  expectedMac,
  openTls,
  send,
  startTestEdge,
  startUpstream,
  type TestEdge,
  type Upstream,
} from "./edge-fixtures.ts"

const ADMIN = "a.test"
const SCRAPE = `GET /metrics HTTP/1.1\nHost: ${ADMIN}\nConnection: close\n\n`

async function startScene(options: Partial<EdgeOptions> = {}): Promise<{ edge: TestEdge; upstream: Upstream }> {
  const upstream = await startUpstream()
  return { upstream, edge: await startTestEdge(upstream.port, { adminHosts: [ADMIN], ...options }) }
}

/** Returns what the Worker was told with the last request, by family and label. */
function toldWith({ requests }: Upstream): ReadonlyMap<string, number> | undefined {
  const blob = blobOf(requests.at(-1)) as {
    edgeMetrics?: { series: [name: string, labels: string[], count: number][] }
  }
  return (
    blob.edgeMetrics && new Map(blob.edgeMetrics.series.map(([name, labels, n]) => [[name, ...labels].join(" "), n]))
  )
}

/** Asks for the metrics over a connection of its own; returns the counts that the Worker was told. */
async function scrape(edge: TestEdge, upstream: Upstream): Promise<ReadonlyMap<string, number>> {
  await send(edge, SCRAPE, { servername: ADMIN })
  return toldWith(upstream) ?? new Map()
}

/** Sends octets over bare TCP and waits until the edge has noted that it is no handshake. */
async function failWith(edge: TestEdge, octets: string): Promise<void> {
  const before = edge.events.length
  const socket = connectTcp(edge.port, "127.0.0.1")
  await exchange(socket, octets, 50)
  socket.destroy()
  await vi.waitUntil(() => edge.events.slice(before).some(({ kind }) => kind === "tls-failed"))
}

test("connections are counted, and those that are open", async () => {
  const { edge, upstream } = await startScene()
  const first = await openTls(edge.port)
  await openTls(edge.port)
  first.destroy()
  await once(first, "close")
  await vi.waitUntil(async () => (await scrape(edge, upstream)).get("sekisho_edge_connections_open") === 2)
  // Those two, and one for each scrape.
  expect((await scrape(edge, upstream)).get("sekisho_edge_connections")).toBe(2 + upstream.requests.length)
})

test("connections beyond the bound are counted as dropped", async () => {
  const { edge, upstream } = await startScene({ connectionsMax: 1 })
  const only = await openTls(edge.port, { servername: ADMIN })
  const refused = connectTcp(edge.port, "127.0.0.1")
  refused.on("error", () => {})
  await once(refused, "close")
  await exchange(only, SCRAPE.replaceAll("\n", "\r\n"), 50)
  expect(Object.fromEntries(toldWith(upstream) ?? [])).toMatchObject({
    sekisho_edge_connections: 1,
    sekisho_edge_connections_dropped: 1,
  })
})

test.each<readonly [string, ConnectionOptions]>([
  ["version", { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" }],
  ["nothing_in_common", { ALPNProtocols: ["h2"] }],
  ["nothing_in_common", { maxVersion: "TLSv1.2", ciphers: "AES128-SHA" }],
  ["host_not_served", { servername: "nobody.test" }],
])("a failed handshake is counted once as %s: %j", async (reason, options) => {
  const { edge, upstream } = await startScene()
  await expect(openTls(edge.port, options)).rejects.toThrow()
  await vi.waitUntil(() => edge.events.length > 0)
  const told = await scrape(edge, upstream)
  expect(failures(told)).toEqual([[reason, 1]])
})

test.each([
  ["not_tls", "GET / HTTP/1.1\r\n\r\n"],
  ["not_tls", "SSH-2.0-OpenSSH_9\r\n"],
  ["other", "\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00"],
])("octets that are no handshake are counted once as %s: %j", async (reason, octets) => {
  const { edge, upstream } = await startScene()
  await failWith(edge, octets)
  expect(failures(await scrape(edge, upstream))).toEqual([[reason, 1]])
})

test("a client that answers the server's certificate with an alert is counted as client_alert", async () => {
  const { edge, upstream } = await startScene()
  const caught = createServer().listen(0, "127.0.0.1")
  onTestFinished(() => void caught.close())
  await once(caught, "listening")
  const { port } = caught.address() as AddressInfo
  void openTls(port, { maxVersion: "TLSv1.2" }).catch(() => {})
  const [caller] = (await once(caught, "connection")) as [Socket]
  const [hello] = (await once(caller, "data")) as [Buffer]
  caller.destroy()
  const socket = connectTcp(edge.port, "127.0.0.1", () => socket.write(hello))
  // Fatal unknown_ca (RFC 5246 §7.2).
  socket.once("data", () => socket.write(Buffer.from([21, 3, 3, 0, 2, 2, 48])))
  await once(socket.resume(), "close")
  expect(failures(await scrape(edge, upstream))).toEqual([["client_alert", 1]])
})

test("a caller that leaves before the handshake is counted as closed, one that says nothing as timeout", async () => {
  const { edge, upstream } = await startScene({ timeouts: { handshakeMs: 200 } })
  connectTcp(edge.port, "127.0.0.1").end()
  await once(connectTcp(edge.port, "127.0.0.1").resume(), "close")
  await vi.waitUntil(() => edge.events.length === 2)
  expect(failures(await scrape(edge, upstream))).toEqual([
    ["timeout", 1],
    ["closed", 1],
  ])
})

test("what the edge refuses itself is counted by its code", async () => {
  const { edge, upstream } = await startScene()
  await send(edge, "GET /x HTTP/1.1\nHost: nobody.test\n\n")
  await send(edge, "GET http://gw.test/x HTTP/1.1\nHost: gw.test\n\n")
  expect(Object.fromEntries(await scrape(edge, upstream))).toMatchObject({
    "sekisho_edge_refusals misdirected-request": 1,
    "sekisho_edge_refusals host-rejected": 1,
  })
})

test("MET-04 hosts of clients are told nothing", async () => {
  const { edge, upstream } = await startScene()
  await send(edge, SCRAPE.replace(ADMIN, "gw.test"))
  expect(toldWith(upstream)).toBeUndefined()
})

test("MET-04 what is told is signed, and a caller's own word goes no further", async () => {
  const { edge, upstream } = await startScene()
  const forged = JSON.stringify({ edgeMetrics: { series: [["sekisho_edge_connections", [], 999]] } })
  await send(edge, SCRAPE.replace("\nConnection", `\nMF-CF-Blob: ${forged}\nConnection`), { servername: ADMIN })
  const [request] = upstream.requests
  expect(toldWith(upstream)?.get("sekisho_edge_connections")).toBe(1)
  expect(request && blobOf(request).edgeAssertion.mac).toBe(request && expectedMac(request))
})

test("a reload may make another host the admin room's", async () => {
  const { edge, upstream } = await startScene()
  edge.reload({ adminHosts: ["b.test"] })
  await send(edge, SCRAPE, { servername: ADMIN })
  expect(toldWith(upstream)).toBeUndefined()
  await send(edge, SCRAPE.replace(ADMIN, "b.test"), { servername: "b.test" })
  expect(toldWith(upstream)?.get("sekisho_edge_connections")).toBe(2)
})

/** Returns the reasons that were counted, and how often. */
function failures(told: ReadonlyMap<string, number>): readonly (readonly [reason: string, count: number])[] {
  const family = "sekisho_edge_handshake_failures "
  return [...told]
    .filter(([name, count]) => name.startsWith(family) && count > 0)
    .map(([name, count]) => [name.slice(family.length), count])
}

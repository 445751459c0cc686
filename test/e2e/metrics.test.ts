/**
 * Goal: what `/metrics` says is what was sent, to the last request. Method: the whole road; requests of every kind with a known
 * number, then one reading over the edge, as a scraper does it.
 */
import { once } from "node:events"
import { readFile } from "node:fs/promises"
import { request as startPlainRequest } from "node:http"
import { request as startRequest } from "node:https"
import { connect } from "node:net"
import { afterAll, beforeAll, expect, test } from "vitest"
import { parseOpenMetrics } from "../core/openmetrics-parser.ts"
import { readAnswer, startRoad, type Answer, type Road } from "./road.ts"

let road: Road
beforeAll(async () => {
  road = await startRoad()
})
afterAll(() => road.close())

/** Asks a host of the admin room over the edge, without a client certificate. */
async function scrape(headers: Readonly<Record<string, string>> = {}, host = "admin.localhost"): Promise<Answer> {
  const outgoing = startRequest({
    ...(await road.identity(undefined)),
    host: "127.0.0.1",
    servername: host,
    port: road.port,
    path: "/metrics",
    headers: { Host: `${host}:${road.port}`, ...headers },
    agent: false,
  })
  return readAnswer(outgoing.end())
}

async function token(): Promise<string> {
  return readFile(road.admin?.tokenPath ?? "", "utf8")
}

/** Returns the samples of a family by their labels, as their values in the order of the family. */
async function read(family: string): Promise<ReadonlyMap<string, number>> {
  const { body, headers, status } = await scrape({ Authorization: `Bearer ${await token()}` })
  expect([status, headers["content-type"]]).toEqual([200, "application/openmetrics-text; version=1.0.0; charset=utf-8"])
  const samples = parseOpenMetrics(body).find(({ name }) => name === family)?.samples ?? []
  return new Map(
    samples.map(({ labels, name, value }) => [
      [name.slice(family.length + 1), ...Object.values(labels)].filter((part) => part !== "").join(" "),
      value,
    ]),
  )
}

test("the numbers are those of the requests that were sent", async () => {
  const send = (count: number, path: string, options: Parameters<Road["call"]>[1] = {}) =>
    Promise.all(Array.from({ length: count }, async () => road.call(path, options)))
  await send(7, "/healthz")
  await send(5, "/balance", { as: "acme" })
  await send(3, "/balance")
  await send(2, "/nowhere", { method: "POST" })
  await send(4, "/error", { as: "globex" })
  const burst = await Promise.all(
    Array.from({ length: 10 }, async (_, index) => {
      const headers = { "Idempotency-Key": `"${index}"` }
      return road.call("/payments", { as: "acme", method: "POST", body: "{}", headers })
    }),
  )
  const passed = burst.filter(({ code }) => code !== "rate-limited").length

  const requests = await read("sekisho_requests")
  expect(Object.fromEntries(requests)).toMatchObject({
    "total /healthz GET 2xx": 7,
    "total /balance GET 2xx": 5,
    "total /balance GET 4xx": 3,
    "total unmatched POST 4xx": 2,
    "total ~ ^/(?:slow|failing|error)$ GET 5xx": 4,
  })
  // The bank fetches the keys of assertions the same way.
  const keys = requests.get("total /.well-known/jwks.json GET 2xx") ?? 0
  expect([...requests.values()].reduce((sum, value) => sum + value, 0)).toBe(31 + keys)
  expect(Object.fromEntries(await read("sekisho_refusals"))).toMatchObject({
    "total client-cert-required": 3,
    "total route-not-found": 2,
    "total rate-limited": 10 - passed,
  })
  expect((await read("sekisho_request_duration_seconds")).get("count")).toBe(31 + keys)
  expect((await read("sekisho_origin_duration_seconds")).get("count bank")).toBe(5 + 4 + passed)
  const decisions = await read("sekisho_gate_decisions")
  expect([...decisions.values()].reduce((sum, value) => sum + value, 0)).toBe(5 + 4 + 10)
  const expiry = await read("sekisho_certificate_expiry_days")
  expect([...expiry.keys()]).toEqual(["acme", "globex"])
  expect(expiry.get("acme")).toBeGreaterThan(1)
})

test("MET-02 nobody reads it without the token, and not on a host of the clients", async () => {
  const wrong = `Bearer ${"A".repeat(43)}`
  const answers = [
    await scrape(),
    await scrape({ Authorization: wrong }),
    await scrape({ Authorization: `Bearer ${await token()}` }, "localhost"),
  ]
  expect(answers.map(({ code, status }) => [status, code])).toEqual([
    [401, "admin-auth-required"],
    [401, "admin-auth-required"],
    [404, "route-not-found"],
  ])
})

test("what the edge has counted is among it", async () => {
  const before = (await read("sekisho_edge_connections")).get("total") ?? 0
  const plain = connect(road.port, "127.0.0.1", () => plain.write("GET / HTTP/1.1\r\n\r\n"))
  plain.on("error", () => {}).resume()
  await once(plain, "close")
  // One more without TLS, and one for the second reading.
  expect((await read("sekisho_edge_connections")).get("total")).toBe(before + 2)
  expect((await read("sekisho_edge_handshake_failures")).get("total not_tls")).toBe(1)
})

test("MET-04 a reading past the edge is refused, with the token", async () => {
  const outgoing = startPlainRequest({
    host: road.worker.hostname,
    port: road.worker.port,
    path: "/metrics",
    headers: {
      Host: "admin.localhost",
      Authorization: `Bearer ${await token()}`,
      "MF-CF-Blob": JSON.stringify({ edgeMetrics: { series: [["sekisho_edge_connections", [], 999]] } }),
    },
  })
  const { code, status } = await readAnswer(outgoing.end())
  expect([status, code]).toEqual([401, "edge-assertion-invalid"])
})

test("the token is on no record", async () => {
  const { id } = await scrape({ Authorization: `Bearer ${await token()}` })
  expect(JSON.stringify(await road.eventOf(id))).not.toContain(await token())
})

/**
 * Goal: what `/metrics` shows of the local edge is that edge's own word, shown to administrators alone. Method: the admin room of a Worker
 * that stands behind the edge, asked with assertions of every kind.
 */
import { describe, expect, test } from "vitest"
import { formatHex } from "../../src/core/hex.ts"
import { signedText } from "../../src/core/assertion/edge-assertion.ts"
import { mintRequestId } from "../../src/core/message/request-id.ts"
import { CLIENT_ADDRESS, createGateway, expectRefusal, type RequestParts } from "./harness.ts"

/** Base64url of 32 octets. */
const TOKEN = "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k"
const KEY = crypto.getRandomValues(new Uint8Array(32))
const ADMIN = { hosts: ["admin.test"], token_secret: "ADMIN_TOKEN" }
const SAMPLE = /^sekisho_edge_[a-z_]+(?:\{[^}]*\})? /m

const edgeMetrics = (count: number) => ({ series: [["sekisho_edge_connections", [], count]] })

const DETAILS: object = { edgeMetrics: edgeMetrics(7) }

function createRoom(trust: "edge" | "cloudflare" = "edge") {
  const kind = trust === "edge" ? { kind: trust, key: KEY } : { kind: trust }
  return createGateway({ ADMIN }, { counts: true, secrets: { ADMIN_TOKEN: TOKEN }, trust: kind })
}

/** Returns a scrape as the edge hands it over. */
async function scrape({
  details = DETAILS,
  host = "admin.test",
  target = "/metrics",
  key = KEY,
} = {}): Promise<RequestParts> {
  const rid = mintRequestId(Date.now(), crypto.getRandomValues(new Uint8Array(10)))
  const exp = Date.now() + 10_000
  const request = { method: "GET", host, target, clientAddress: CLIENT_ADDRESS }
  const text = signedText({ rid, exp }, request, JSON.stringify(details))
  const imported = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"])
  const mac = new Uint8Array(await crypto.subtle.sign("HMAC", imported, new TextEncoder().encode(text)))
  return {
    host: "admin.test",
    target: "/metrics",
    headers: { Authorization: `Bearer ${TOKEN}` },
    cf: { ...details, edgeAssertion: { rid, exp, mac: formatHex(mac) } },
  }
}

describe("/metrics behind the local edge", () => {
  test("shows what the edge has counted", async () => {
    const gateway = createRoom()
    const text = await (await gateway.fetch(await scrape())).text()
    expect(text).toContain("sekisho_edge_connections_total 7\n")
  })

  test("shows what the edge says now, not what it said before", async () => {
    const gateway = createRoom()
    await gateway.fetch(await scrape())
    const text = await (await gateway.fetch(await scrape({ details: { edgeMetrics: edgeMetrics(2) } }))).text()
    expect(text).toContain("sekisho_edge_connections_total 2\n")
  })

  test("shows no sample of an edge that says nothing of itself", async () => {
    const response = await createRoom().fetch(await scrape({ details: { tlsVersion: "TLSv1.3" } }))
    expect([response.status, SAMPLE.test(await response.text())]).toEqual([200, false])
  })

  test("MET-04 refuses an edge's word without its signature", async () => {
    const gateway = createRoom()
    const { edgeAssertion: _, ...cf } = (await scrape()).cf as Readonly<Record<string, unknown>>
    await expectRefusal(gateway, await gateway.send({ ...(await scrape()), cf }), {
      status: 401,
      code: "edge-assertion-invalid",
      reason: "edge_assertion_missing",
    })
  })

  test.each<readonly [string, Parameters<typeof scrape>[0]]>([
    ["with another key", { key: new Uint8Array(32) }],
    ["for another page", { target: "/healthz" }],
    ["for a host of the clients", { host: "gw.test" }],
  ])("MET-04 refuses an edge's word that was signed %s", async (_, other) => {
    const gateway = createRoom()
    await expectRefusal(gateway, await gateway.send(await scrape(other)), {
      status: 401,
      code: "edge-assertion-invalid",
      reason: "edge_assertion_forged",
    })
  })

  test("MET-04 refuses other counts under the edge's signature", async () => {
    const gateway = createRoom()
    const parts = await scrape()
    const cf = { ...(parts.cf as object), edgeMetrics: edgeMetrics(8) }
    await expectRefusal(gateway, await gateway.send({ ...parts, cf }), {
      status: 401,
      code: "edge-assertion-invalid",
      reason: "edge_assertion_forged",
    })
  })

  test("MET-04 refuses an edge's word that was used before", async () => {
    const gateway = createRoom()
    const parts = await scrape()
    const statuses = [(await gateway.fetch(parts)).status, (await gateway.fetch(parts)).status]
    expect(statuses).toEqual([200, 401])
  })

  test("MET-02 shows the edge's word to nobody without the token", async () => {
    const gateway = createRoom()
    const exchanged = await gateway.send({ ...(await scrape()), headers: {} })
    await expectRefusal(gateway, exchanged, { status: 401, code: "admin-auth-required" })
  })
})

test("MET-04 a Worker that stands behind no edge does not look at what claims to be one's word", async () => {
  const response = await createRoom("cloudflare").fetch(await scrape())
  expect([response.status, SAMPLE.test(await response.text())]).toEqual([200, false])
})

/**
 * Goal: a WebSocket travels the whole road: TLS, edge, workerd, the sample bank, and its record reaches the sink. Method: frames
 * of the test's own over real TLS; many sockets at once, broken off on either side, and one Worker that is replaced under them.
 */
import { connect } from "node:tls"
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest"
import { startRoad, type Road } from "./road.ts"
import { clientFrame, handshake, readWire, type WireSocket } from "./websocket-client.ts"

const SOCKETS = 100

let road: Road
beforeAll(async () => {
  road = await startRoad({
    overrides: {
      LIMITS: { wide: { rate: "5000/s", burst: 5_000, concurrent: 1_000 }, narrow: { concurrent: 1 } },
      ROUTES: [
        { path: "/ws", origin: "bank", limits: "wide", websocket: true },
        { path: "/balance", origin: "bank", limits: "narrow" },
      ],
      GUARDS: {},
    },
  })
})
afterAll(() => road.close())

async function dial(as: "acme" | "globex" | "nobody" = "acme", target = "/ws"): Promise<WireSocket> {
  const { port } = road
  const options = {
    ...(await road.identity(as === "nobody" ? undefined : as)),
    host: "127.0.0.1",
    servername: "localhost",
    port,
  }
  const wire = readWire(connect(options))
  wire.write(handshake("localhost", target))
  return wire
}

/** Opens many sockets, some at a time: the handshakes of client and edge share one thread here. */
async function dialMany(count: number, as: "acme" | "globex" = "acme"): Promise<readonly WireSocket[]> {
  const wires: WireSocket[] = []
  while (wires.length < count) {
    const batch = await Promise.all(Array.from({ length: Math.min(50, count - wires.length) }, () => dial(as)))
    await Promise.all(batch.map(({ head }) => head))
    wires.push(...batch)
  }
  return wires
}

const idOf = (head: string): string => /^x-request-id: (.*)\r$/im.exec(head)?.[1] ?? ""

function closedRecords(ids: ReadonlySet<string>) {
  return road.events.filter((event) => event["event"] === "websocket.closed" && ids.has(String(event["request_id"])))
}

test("the bank greets a client by the name that its certificate proves", async () => {
  const wire = await dial("globex")
  expect(await wire.head).toMatch(/^HTTP\/1\.1 101 /)
  expect((await wire.frame(0))?.payload.toString()).toBe('{"hello":"globex"}')
  wire.send("hello")
  expect((await wire.frame(1))?.payload.toString()).toBe("hello")
  wire.close(1000)
  expect(await wire.closeCode).toBe(1000)
  const ids = new Set([idOf(await wire.head)])
  await vi.waitUntil(() => closedRecords(ids).length === 1, { timeout: 10_000 })
  expect(closedRecords(ids)[0]).toMatchObject({
    client_id: "globex",
    closed_by: "client",
    code: 1000,
    messages_in: 1,
    bytes_in: 5,
    messages_out: 2,
  })
})

test("WSK-01 a handshake without a certificate is answered 401 and opens nothing", async () => {
  const wire = await dial("nobody")
  expect(await wire.head).toMatch(/^HTTP\/1\.1 401 /)
  await wire.ended
})

test("WSK-02 a handshake on a route without sockets is answered 426", async () => {
  const wire = await dial("acme", "/balance")
  expect(await wire.head).toMatch(/^HTTP\/1\.1 426 /)
  await wire.ended
  expect(wire.rest().toString()).toContain("upgrade-not-allowed")
})

test("WSK-06 a message in endless parts is closed with 1009", async () => {
  const wire = await dial()
  await wire.head
  wire.write(clientFrame(2, Buffer.alloc(100_000), false))
  for (let i = 0; i < 20; i++) wire.write(clientFrame(0, Buffer.alloc(100_000), false))
  wire.write(clientFrame(0, ""))
  expect(await wire.closeCode).toBe(1009)
})

describe(`${SOCKETS} sockets`, () => {
  test("all of them talk, and each leaves one record however it is closed", async () => {
    const wires = await dialMany(SOCKETS)
    const heads = await Promise.all(wires.map(({ head }) => head))
    expect(heads.filter((head) => !head.startsWith("HTTP/1.1 101 "))).toEqual([])
    wires.forEach((wire, i) => wire.send(`message ${i}`))
    const echoes = await Promise.all(wires.map((wire) => wire.frame(1)))
    expect(echoes.map((frame) => frame?.payload.toString())).toEqual(wires.map((_, i) => `message ${i}`))
    wires.forEach((wire, i) => {
      if (i % 2 === 0) wire.socket.destroy()
      else wire.close(1000)
    })
    await Promise.all(wires.map(({ ended }) => ended))
    const ids = new Set(heads.map(idOf))
    await vi.waitUntil(() => closedRecords(ids).length === SOCKETS, { timeout: 20_000 })
    expect(closedRecords(ids).map((record) => record["closed_by"])).toEqual(Array(SOCKETS).fill("client"))
  })

  test("WSK-07 a Worker that is replaced closes 1,000 of them with 1012 or 1001, and admits them anew", async () => {
    const wires = await dialMany(1_000)
    await Promise.all(wires.map((wire) => wire.frame(0)))
    await road.reload()
    const codes = await Promise.all(wires.map(({ closeCode }) => closeCode))
    expect(codes.filter((code) => code !== 1012 && code !== 1001)).toEqual([])
    // Nobody gives back the places of an isolate that is gone: they are acme's until their leases end.
    const again = await dialMany(SOCKETS, "globex")
    expect((await Promise.all(again.map(({ head }) => head))).filter((head) => !/ 101 /.test(head))).toEqual([])
    for (const { socket } of again) socket.destroy()
  }, 120_000)

  test("WSK-07 a bank that goes away closes all of them with 1014", async () => {
    const wires = await dialMany(SOCKETS, "globex")
    await Promise.all(wires.map((wire) => wire.frame(0)))
    await road.stopBank()
    expect(new Set(await Promise.all(wires.map(({ closeCode }) => closeCode)))).toEqual(new Set([1014]))
    const ids = new Set((await Promise.all(wires.map(({ head }) => head))).map(idOf))
    await vi.waitUntil(() => closedRecords(ids).length === SOCKETS, { timeout: 20_000 })
  })
})

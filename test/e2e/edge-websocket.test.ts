/**
 * Goal: the edge makes a tunnel of a connection from the Worker's 101 on and not an octet earlier, ends it when frames are none
 * or the certificate is revoked, and tells the client why. Method: raw octets over TLS, a WebSocket server in the Worker's place.
 */
import { createServer } from "node:http"
import type { AddressInfo, Socket } from "node:net"
import { expect, onTestFinished, test, vi } from "vitest"
import { acceptWebSocket } from "../../examples/bank/websocket.ts"
import type { EdgeOptions } from "../../edge/options.ts"
import { createCrl, openTls, sharedPki, startTestEdge } from "./edge-fixtures.ts"
import { clientFrame, handshake, readWire, type WireSocket } from "./websocket-client.ts"

interface Stage {
  readonly wire: WireSocket
  readonly reload: (crl: string) => void
  readonly worker: TestWorker
}

interface TestWorker {
  readonly port: number
  readonly fields: string[][]
  /** Octets that came behind handshakes. */
  readonly received: Buffer[]
  /** Codes with which tunnels ended, as the Worker saw them. */
  readonly closes: number[]
  readonly sockets: Socket[]
}

async function startWorker(answer: "echo" | "decline"): Promise<TestWorker> {
  const worker = {
    port: 0,
    fields: [] as string[][],
    received: [] as Buffer[],
    closes: [] as number[],
    sockets: [] as Socket[],
  }
  const server = createServer((request, response) => {
    worker.fields.push(request.rawHeaders)
    response.end("plain")
  })
  server.on("upgrade", (request, socket, head) => {
    worker.fields.push(request.rawHeaders)
    worker.sockets.push(socket as Socket)
    socket.on("error", () => {})
    socket.on("data", (chunk: Buffer) => worker.received.push(chunk))
    if (head.length > 0) worker.received.push(head)
    if (answer === "decline") socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 8\r\n\r\ndeclined")
    else
      acceptWebSocket(request, socket, Buffer.alloc(0), {
        protocol: "chosen",
        onMessage: (data, open) => open.send(data),
        onClose: (code) => worker.closes.push(code),
      })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    for (const socket of worker.sockets) socket.destroy()
    server.close()
  })
  worker.port = (server.address() as AddressInfo).port
  return worker
}

async function connect(
  answer: "echo" | "decline" = "echo",
  options: Partial<EdgeOptions> = {},
  behind: Buffer | string = "",
): Promise<Stage> {
  const worker = await startWorker(answer)
  const edge = await startTestEdge(worker.port, options)
  const wire = readWire(await openTls(edge.port, { pair: (await sharedPki()).clientA }))
  wire.write(Buffer.concat([Buffer.from(handshake("gw.test")), Buffer.from(behind)]))
  return { wire, worker, reload: (crl) => edge.reload({ crls: [crl] }) }
}

test("the Worker's 101 reaches the client, with the acceptance of its key, and frames go both ways", async () => {
  const { wire, worker } = await connect()
  const head = await wire.head
  expect(head).toMatch(/^HTTP\/1\.1 101 /)
  expect(head).toContain("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
  expect(head).toContain("Sec-WebSocket-Protocol: chosen")
  expect(head.match(/^upgrade: websocket\r$/gim)).toHaveLength(1)
  expect(head.match(/^connection: upgrade\r$/gim)).toHaveLength(1)
  wire.send("hello")
  expect((await wire.frame(0))?.payload.toString()).toBe("hello")
  expect(worker.fields[0]).toEqual(expect.arrayContaining(["MF-CF-Blob", "CF-Connecting-IP", "Upgrade", "websocket"]))
  wire.close(4000)
  expect(await wire.closeCode).toBe(4000)
  await wire.ended
  await vi.waitUntil(() => worker.closes.length > 0)
  expect(worker.closes).toEqual([4000])
})

test("large messages and fragments arrive whole", async () => {
  const { wire } = await connect()
  await wire.head
  wire.write(clientFrame(2, Buffer.alloc(900_000, 5)))
  wire.write(clientFrame(1, "first ", false))
  wire.write(clientFrame(9, "ping"))
  wire.write(clientFrame(0, "second"))
  expect((await wire.frame(0))?.payload.length).toBe(900_000)
  expect(await wire.frame(1)).toMatchObject({ opcode: 10 })
  expect((await wire.frame(2))?.payload.toString()).toBe("first second")
})

test("WSK-03 an answer that is no 101 is relayed, and what stands behind the handshake reaches nobody", async () => {
  const { wire, worker } = await connect("decline", {}, "GET /admin/x HTTP/1.1\r\nHost: gw.test\r\n\r\n")
  expect(await wire.head).toMatch(/^HTTP\/1\.1 403 /)
  wire.write("GET /admin/y HTTP/1.1\r\nHost: gw.test\r\n\r\n")
  await wire.ended
  expect(wire.rest().toString()).toBe("declined")
  expect(worker.fields).toHaveLength(1)
  expect(Buffer.concat(worker.received).toString()).toBe("")
})

test("a client that sends frames before its answer gets none of them to the Worker and no tunnel", async () => {
  const { wire, worker } = await connect("echo", {}, clientFrame(1, "early"))
  expect(await wire.head).toMatch(/^HTTP\/1\.1 400 /)
  await wire.ended
  expect(Buffer.concat(worker.received).toString()).toBe("")
})

test.each<[string, Buffer]>([
  ["an unmasked frame", clientFrame(1, "x", true, false)],
  ["a reserved bit", Buffer.from([0xc1, 0x80, 0, 0, 0, 0])],
  ["an unknown opcode", clientFrame(3, "x")],
  ["a fragmented ping", clientFrame(9, "x", false)],
  ["a continuation of nothing", clientFrame(0, "x")],
  ["a length in more octets than it needs", Buffer.from([0x81, 0xfe, 0, 1, 0, 0, 0, 0, 0])],
  ["no frame at all", Buffer.from("GET /admin HTTP/1.1\r\n\r\n")],
])("WSK-06 %s closes the connection with 1002", async (_, octets) => {
  const { wire, worker } = await connect()
  await wire.head
  wire.write(octets)
  expect(await wire.closeCode).toBe(1002)
  await wire.ended
  expect(Buffer.concat(worker.received).length).toBe(0)
})

test("WSK-06 a frame that announces 64 MB closes the connection with 1009 before it is sent", async () => {
  const { wire } = await connect()
  await wire.head
  wire.write(Buffer.from([0x82, 0xff, 0, 0, 0, 0, 4, 0, 0, 0, 1, 2, 3, 4]))
  expect(await wire.closeCode).toBe(1009)
})

test("WSK-05 a certificate that a new revocation list names loses its open tunnel with 1008", async () => {
  const { caA, clientA } = await sharedPki()
  const { wire, reload } = await connect("echo", { crls: [await createCrl(caA, [])] })
  await wire.head
  wire.send("here")
  await wire.frame(0)
  reload(await createCrl(caA, [clientA.certificate.serialNumber]))
  expect(await wire.closeCode).toBe(1008)
  await wire.ended
})

test("WSK-05 a certificate that expires loses its open tunnel", async () => {
  let skewMs = 0
  const { wire } = await connect("echo", {
    now: () => Date.now() + skewMs,
    timeouts: { tunnelReviewMs: 20 },
  })
  await wire.head
  skewMs = 400 * 86_400_000
  expect(await wire.closeCode).toBe(1008)
})

test("WSK-07 a Worker that goes away closes tunnels with 1012", async () => {
  const { wire, worker } = await connect()
  await wire.head
  wire.send("here")
  await wire.frame(0)
  worker.sockets[0]?.resetAndDestroy()
  expect(await wire.closeCode).toBe(1012)
})

test("a client that vanishes takes its tunnel with it", async () => {
  const { wire, worker } = await connect()
  await wire.head
  const gone = new Promise((resolve) => worker.sockets[0]?.once("close", resolve))
  wire.socket.destroy()
  await gone
  expect(worker.closes).toEqual([1006])
})

test("a handshake with a body is answered as a request that did not ask", async () => {
  const worker = await startWorker("echo")
  const edge = await startTestEdge(worker.port)
  const wire = readWire(await openTls(edge.port, { pair: (await sharedPki()).clientA }))
  wire.write(handshake("gw.test", "/ws", ["Content-Length: 4"]) + "body")
  expect(await wire.head).toMatch(/^HTTP\/1\.1 200 /)
  expect(worker.fields[0]).not.toContain("websocket")
})

test("a handshake behind a request that is not answered yet ends the connection behind that answer", async () => {
  const worker = await startWorker("echo")
  const edge = await startTestEdge(worker.port)
  const wire = readWire(await openTls(edge.port, { pair: (await sharedPki()).clientA }))
  wire.write("GET /first HTTP/1.1\r\nHost: gw.test\r\n\r\n" + handshake("gw.test"))
  expect(await wire.head).toMatch(/^HTTP\/1\.1 200 /)
  await wire.ended
  expect(worker.fields).toHaveLength(1)
})

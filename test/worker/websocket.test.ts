/**
 * Goal: a handshake passes every stage before an origin sees it, what goes through the socket arrives as it was, both sides
 * learn how it was closed, and a client that may no longer have its socket loses it. Method: the real Worker code against a
 * real origin that speaks RFC 6455; a clock that tests move.
 */
import { runInDurableObject } from "cloudflare:test"
import { env } from "cloudflare:workers"
import { describe, expect, test, vi } from "vitest"
import type { ClientDirectory } from "../../src/context.ts"
import { createEmbeddedDirectory } from "../../src/client-directory.ts"
import type { SocketRecord } from "../../src/core/record/event.ts"
import {
  createGateway,
  eventOf,
  expectRefusal,
  fieldValues,
  fixtures,
  writtenLines,
  type GatewayOptions,
  type RequestParts,
  type TestGateway,
} from "./harness.ts"
import { bearer, createToken, createTokenGateway } from "./tokens.ts"

const HANDSHAKE = {
  Connection: "Upgrade",
  Upgrade: "websocket",
  "Sec-WebSocket-Version": "13",
  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}

function createSocketGateway(
  websocket: unknown = true,
  limit: Readonly<Record<string, unknown>> = { rate: "1000/s", burst: 1_000 },
  options: GatewayOptions = {},
): TestGateway {
  return createGateway(
    {
      LIMITS: { generous: limit },
      ROUTES: [
        { prefix: "/ws", origin: "stub", limits: "generous", websocket, guard: "door" },
        { prefix: "/public", origin: "stub", limits: "generous" },
        { path: "/healthz", client_certificate: "none", respond: { status: 200 } },
      ],
      GUARDS: { door: { max_failures: 3, failure_duration: "1m", backoff: { kind: "lineal", duration: "5m" } } },
    },
    options,
  )
}

interface Opened {
  readonly response: Response
  readonly socket: WebSocket
  /** Messages in the order of arrival. */
  readonly messages: (string | ArrayBuffer)[]
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>
}

async function open(gateway: TestGateway, target = "/ws/echo", headers: Record<string, string> = {}): Promise<Opened> {
  const response = await gateway.open({ target, headers: { ...HANDSHAKE, ...headers } })
  expect(response.status).toBe(101)
  const socket = response.webSocket
  if (socket === null) throw new Error("no socket")
  const messages: (string | ArrayBuffer)[] = []
  socket.binaryType = "arraybuffer"
  socket.addEventListener("message", ({ data }) => void messages.push(data as string | ArrayBuffer))
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.addEventListener("close", ({ code, reason }) => resolve({ code, reason }))
  })
  socket.accept()
  return { response, socket, messages, closed }
}

async function recordOf(response: Response): Promise<SocketRecord> {
  const id = response.headers.get("x-request-id")
  const find = (): SocketRecord | undefined =>
    writtenLines()
      .map((line) => JSON.parse(line) as SocketRecord)
      .find((record) => record.event === "websocket.closed" && record.request_id === id)
  return vi.waitUntil(find, { timeout: 10_000 })
}

const originClose = (gateway: TestGateway) =>
  vi.waitUntil(async () => (await gateway.originRequests())[0]?.close, { timeout: 10_000 })

function inUse(gateway: TestGateway): Promise<number> {
  return runInDurableObject(env.CLIENT_GATE.getByName(gateway.clientId("acme-a")), (object) =>
    object.inspect().concurrency.reduce((sum, limit) => sum + limit.inUse, 0),
  )
}

describe("handshake", () => {
  test("opens a socket with the origin and puts one event with status 101 on the record", async () => {
    const gateway = createSocketGateway()
    const { response, socket, messages } = await open(gateway)
    socket.send("hello")
    await vi.waitUntil(() => messages.length === 1)
    expect(messages).toEqual(["hello"])
    const id = response.headers.get("x-request-id")
    const [event] = writtenLines().map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(event).toMatchObject({
      event: "request",
      request_id: id,
      status: 101,
      outcome: "forwarded",
      route: "/ws/**",
    })
    socket.close(1000, "done")
    await recordOf(response)
  })

  test("the origin gets the gateway's fields and a handshake of its own, without extensions", async () => {
    const gateway = createSocketGateway()
    const { socket, closed } = await open(gateway, "/ws/echo?a=%2f", {
      "Sec-WebSocket-Extensions": "permessage-deflate",
      "Sec-WebSocket-Accept": "forged",
      "X-Client-Id": "forged",
    })
    const [record] = await gateway.originRequests()
    expect(record?.target).toBe("/ws/echo?a=%2f")
    expect(fieldValues(record, "x-client-id")).toEqual([gateway.clientId("acme-a")])
    expect(fieldValues(record, "upgrade")).toEqual(["websocket"])
    expect(fieldValues(record, "sec-websocket-version")).toEqual(["13"])
    expect(fieldValues(record, "sec-websocket-key")).toHaveLength(1)
    expect(fieldValues(record, "sec-websocket-key")).not.toEqual([HANDSHAKE["Sec-WebSocket-Key"]])
    expect(fieldValues(record, "sec-websocket-extensions")).toEqual([])
    expect(fieldValues(record, "sec-websocket-accept")).toEqual([])
    socket.close()
    await closed
  })

  test("the answer carries the origin's fields, cookies apart, and the gateway's request id", async () => {
    const { response, socket, closed } = await open(createSocketGateway())
    expect(response.headers.get("x-kept")).toBe("1")
    expect(response.headers.getSetCookie()).toEqual(["a=1", "b=2"])
    expect(response.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/)
    expect(response.headers.get("sec-websocket-accept")).not.toBe("forged")
    socket.close()
    await closed
  })

  test("the subprotocol that the origin chooses is handed on", async () => {
    const { response, socket, closed } = await open(createSocketGateway(), "/ws/echo", {
      "Sec-WebSocket-Protocol": "first, second",
    })
    expect(response.headers.get("sec-websocket-protocol")).toBe("second")
    socket.close()
    await closed
  })

  test("an origin that chooses a subprotocol nobody offered is a bad gateway", async () => {
    const gateway = createSocketGateway()
    const response = await gateway.fetch({ target: "/ws/echo?protocol=third", headers: HANDSHAKE })
    expect(response.status).toBe(502)
  })

  test("WSK-01 an upgrade without a certificate is refused before the origin", async () => {
    const gateway = createSocketGateway()
    const exchanged = await gateway.send({ target: "/ws/echo", headers: HANDSHAKE, cert: "none" })
    await expectRefusal(gateway, exchanged, { status: 401, code: "client-cert-required" })
    expect(exchanged.response.webSocket).toBeNull()
  })

  test.each(["/public/x", "/healthz"])("WSK-02 an upgrade is refused on %s, which has no sockets", async (target) => {
    const gateway = createSocketGateway()
    const exchanged = await gateway.send({ target, headers: HANDSHAKE })
    await expectRefusal(gateway, exchanged, {
      status: 426,
      code: "upgrade-not-allowed",
      reason: "route_without_websocket",
    })
  })

  test("WSK-02 an upgrade is refused where websocket is false", async () => {
    const gateway = createSocketGateway(false)
    expect((await gateway.fetch({ target: "/ws/echo", headers: HANDSHAKE })).status).toBe(426)
    expect(await gateway.originRequests()).toEqual([])
  })

  test("another protocol is ignored, and never reaches the origin", async () => {
    const gateway = createSocketGateway()
    expect((await gateway.fetch({ target: "/ws/x", headers: { Connection: "Upgrade", Upgrade: "h2c" } })).status).toBe(
      200,
    )
    expect(fieldValues((await gateway.originRequests())[0], "upgrade")).toEqual([])
  })

  test("a request without upgrade on a route with sockets is a request like any other", async () => {
    const gateway = createSocketGateway()
    expect((await gateway.fetch({ target: "/ws/x" })).status).toBe(200)
  })

  test.each<[string, Partial<RequestParts>, number]>([
    ["an older version", { headers: { ...HANDSHAKE, "Sec-WebSocket-Version": "8" } }, 426],
    ["a POST", { method: "POST", headers: HANDSHAKE }, 426],
    ["a key that is too short", { headers: { ...HANDSHAKE, "Sec-WebSocket-Key": "c2hvcnQ=" } }, 400],
  ])("%s is no handshake", async (_, parts, status) => {
    const gateway = createSocketGateway()
    const response = await gateway.fetch({ target: "/ws/echo", ...parts })
    expect(response.status).toBe(status)
    expect(response.headers.get("sec-websocket-version")).toBe(status === 426 ? "13" : null)
    expect(await gateway.originRequests()).toEqual([])
  })

  test.each(["200", "403", "500"])(
    "WSK-03 an origin that declines with %s is relayed as a plain answer",
    async (status) => {
      const gateway = createSocketGateway()
      const { response, event } = await gateway.send({ target: `/ws/decline?status=${status}`, headers: HANDSHAKE })
      expect([response.status, response.webSocket, response.headers.get("x-kept"), await response.text()]).toEqual([
        Number(status),
        null,
        "1",
        "declined",
      ])
      expect(event).toMatchObject({ outcome: "forwarded", status: Number(status) })
    },
  )

  test("an origin that breaks off inside the handshake is unreachable", async () => {
    const gateway = createSocketGateway()
    expect((await gateway.fetch({ target: "/ws/reset", headers: HANDSHAKE })).status).toBe(502)
  })
})

describe("messages", () => {
  test("texts and octets of every kind of length arrive as they were, in order", async () => {
    const { socket, messages, closed } = await open(createSocketGateway({ max_message_bytes: 2_000_000 }))
    const sizes = [0, 1, 125, 126, 65_535, 65_536, 1_500_000]
    for (const size of sizes) {
      socket.send("ö".repeat(size / 2))
      socket.send(new Uint8Array(size).fill(7))
    }
    await vi.waitUntil(() => messages.length === 2 * sizes.length)
    sizes.forEach((size, i) => {
      expect(messages[2 * i]).toBe("ö".repeat(size / 2))
      const octets = messages[2 * i + 1] as ArrayBuffer
      expect(octets.byteLength).toBe(size)
      expect(new Uint8Array(octets).every((octet) => octet === 7)).toBe(true)
    })
    socket.close()
    await closed
  })

  test("the record counts messages and octets of both directions", async () => {
    const gateway = createSocketGateway()
    const { response, socket, messages } = await open(gateway)
    socket.send("grün")
    socket.send(new Uint8Array(10))
    socket.send("send 300")
    await vi.waitUntil(() => messages.length === 3)
    socket.close(4001, "enough")
    expect(await recordOf(response)).toMatchObject({
      event: "websocket.closed",
      level: "info",
      client_id: gateway.clientId("acme-a"),
      route: "/ws/**",
      origin: "stub",
      closed_by: "client",
      code: 4001,
      messages_in: 3,
      bytes_in: 5 + 10 + 8,
      messages_out: 3,
      bytes_out: 5 + 10 + 300,
    })
  })

  test.each(["client", "origin"])(
    "WSK-06 a message of the %s above the bound closes both sides with 1009",
    async (from) => {
      const gateway = createSocketGateway({ max_message_bytes: 100 })
      const { response, socket, messages, closed } = await open(gateway)
      socket.send(from === "client" ? "x".repeat(101) : "send 101")
      expect(await closed).toEqual({ code: 1009, reason: "message too large" })
      expect(messages).toEqual([])
      expect(await originClose(gateway)).toMatchObject({ code: 1009 })
      expect(await recordOf(response)).toMatchObject({ closed_by: "gateway", code: 1009, reason: "message_too_large" })
    },
  )
})

describe("closing", () => {
  test.each([
    [1000, "bye"],
    [1001, ""],
    [3000, "registered"],
    [4999, "ü".repeat(61)],
  ])("the client's %i reaches the origin with its reason", async (code, reason) => {
    const gateway = createSocketGateway()
    const { socket, closed } = await open(gateway)
    socket.close(code, reason)
    expect(await originClose(gateway)).toEqual({ code, reason })
    expect(await closed).toMatchObject({ code })
  })

  test("a close without a code stays one", async () => {
    const gateway = createSocketGateway()
    const { response, socket } = await open(gateway)
    socket.close()
    expect(await originClose(gateway)).toEqual({ code: 1005, reason: "" })
    expect(await recordOf(response)).toMatchObject({ closed_by: "client", code: 1005 })
  })

  test.each([
    [1000, "bye"],
    [1011, "broken"],
    [4000, ""],
  ])("the origin's %i reaches the client with its reason", async (code, reason) => {
    const { response, socket, closed } = await open(createSocketGateway())
    socket.send(`close ${code} ${reason}`)
    expect(await closed).toEqual({ code, reason })
    expect(await recordOf(response)).toMatchObject({ closed_by: "origin", code })
  })

  test("an origin that breaks off is 1014 for the client and 1006 on the record", async () => {
    const { response, socket, closed } = await open(createSocketGateway())
    socket.send("destroy")
    expect(await closed).toMatchObject({ code: 1014 })
    expect(await recordOf(response)).toMatchObject({ level: "warn", closed_by: "origin", code: 1006 })
  })

  test("a socket without messages is closed with 1001 when its time is over", async () => {
    const gateway = createSocketGateway({ idle_timeout: "1s" })
    const { response, closed } = await open(gateway)
    expect(await closed).toEqual({ code: 1001, reason: "idle" })
    expect(await originClose(gateway)).toEqual({ code: 1001, reason: "idle" })
    expect(await recordOf(response)).toMatchObject({ closed_by: "gateway", code: 1001, reason: "idle", level: "info" })
  })
})

describe("places", () => {
  const ONE = { concurrent: 1, lease: "60s" }

  test("a socket holds its place until it is closed", async () => {
    const gateway = createSocketGateway(true, ONE)
    const { socket, response } = await open(gateway)
    expect((await gateway.fetch({ target: "/ws/echo", headers: HANDSHAKE })).status).toBe(429)
    expect(await inUse(gateway)).toBe(1)
    socket.close(1000)
    await recordOf(response)
    await vi.waitUntil(async () => (await inUse(gateway)) === 0)
    const again = await open(gateway)
    again.socket.close()
    await again.closed
  })

  test("a place is extended for as long as the socket is open", async () => {
    const gateway = createSocketGateway({ recheck: "60s" }, { concurrent: 1, lease: "1s" })
    const { socket, messages, closed } = await open(gateway)
    const expiry = (): Promise<number> =>
      runInDurableObject(env.CLIENT_GATE.getByName(gateway.clientId("acme-a")), (_, { storage }) => {
        const [row] = storage.sql.exec("SELECT state FROM gate").toArray()
        const state = JSON.parse(row?.["state"] as string) as {
          concurrency: Record<string, { leases: { expiresMs: number }[] }>
        }
        return Object.values(state.concurrency)[0]?.leases[0]?.expiresMs ?? 0
      })
    const firstMs = await expiry()
    await vi.waitUntil(async () => (await expiry()) > firstMs + 1_000, { timeout: 10_000 })
    socket.send("still open")
    await vi.waitUntil(() => messages.length === 1)
    socket.close()
    await closed
  })

  test("a socket whose place is gone is closed with 1013", async () => {
    const gateway = createSocketGateway({ recheck: "1s" }, { concurrent: 1, lease: "60s" })
    const { response, closed } = await open(gateway)
    await runInDurableObject(env.CLIENT_GATE.getByName(gateway.clientId("acme-a")), (_, { storage }) => {
      storage.sql.exec("DELETE FROM gate")
    })
    expect(await closed).toMatchObject({ code: 1013 })
    expect(await recordOf(response)).toMatchObject({ closed_by: "gateway", code: 1013, level: "warn" })
  })
})

describe("WSK-05 a client that may no longer have its socket loses it with 1008", () => {
  test("when it is disabled", async () => {
    let isDisabled = false
    let embedded: ClientDirectory | undefined
    const directory: ClientDirectory = {
      find: (certificate, nowMs) => {
        const decision = embedded?.find(certificate, nowMs)
        if (decision === undefined || "then" in decision) throw new Error("not ready")
        return isDisabled && decision.ok
          ? { ok: false, code: "client-disabled", reason: "client_disabled", client: decision.client }
          : decision
      },
      clientsOf: () => [],
    }
    const gateway = createSocketGateway({ recheck: "1s" }, undefined, { directory })
    embedded = createEmbeddedDirectory(gateway.config)
    const { response, closed } = await open(gateway)
    isDisabled = true
    expect(await closed).toEqual({ code: 1008, reason: "no longer allowed" })
    expect(await originClose(gateway)).toEqual({ code: 1008, reason: "no longer allowed" })
    expect(await recordOf(response)).toMatchObject({
      closed_by: "gateway",
      code: 1008,
      reason: "client_disabled",
      level: "warn",
    })
  })

  test("when a guard blocks it", async () => {
    const gateway = createSocketGateway({ recheck: "1s" })
    const { response, closed } = await open(gateway)
    const guard = gateway.config.guards[0]
    if (guard === undefined) throw new Error("no guard")
    const { name, ...config } = guard
    await env.CLIENT_GATE.getByName(gateway.clientId("acme-a")).administer(
      { name, config },
      { action: "block", durationMs: 60_000 },
    )
    expect(await closed).toMatchObject({ code: 1008 })
    expect(await recordOf(response)).toMatchObject({ code: 1008, reason: "guard_open door" })
  })

  test("when its certificate expires", async () => {
    let skewMs = 0
    const gateway = createSocketGateway({ recheck: "1s", idle_timeout: "1h" }, undefined, {
      nowMs: () => Date.now() + skewMs,
    })
    const { response, socket, closed } = await open(gateway)
    // The clock of the idle rule is the same one: a message after the jump keeps the socket from being idle.
    skewMs = fixtures.certificates["acme-a"].notAfterMs - Date.now() + 1_000
    socket.send("here")
    expect(await closed).toMatchObject({ code: 1008 })
    expect(await recordOf(response)).toMatchObject({ code: 1008, reason: "cert_expired" })
  })

  test("when the token of its handshake expires", async () => {
    let skewMs = 0
    const route = { prefix: "/ws", origin: "stub", limits: "generous", token: "login", websocket: { recheck: "1s" } }
    const gateway = await createTokenGateway({}, { nowMs: () => Date.now() + skewMs }, { ROUTES: [route] })
    const token = await createToken(gateway)
    const { response, socket, closed } = await open(gateway, "/ws/echo", bearer(token))
    skewMs = 3_600_000
    socket.send("here")
    expect(await closed).toMatchObject({ code: 1008 })
    expect(await recordOf(response)).toMatchObject({ code: 1008, reason: "token_expired" })
  })

  test("a directory that fails once closes nothing, one that stays away closes with 1013", async () => {
    let failures = 0
    let isFailing = false
    let embedded: ClientDirectory | undefined
    const directory: ClientDirectory = {
      find: (certificate, nowMs) => {
        if (isFailing) {
          failures += 1
          throw new Error("down")
        }
        return embedded?.find(certificate, nowMs) ?? Promise.reject(new Error("not ready"))
      },
      clientsOf: () => [],
    }
    const gateway = createSocketGateway({ recheck: "1s" }, undefined, { directory })
    embedded = createEmbeddedDirectory(gateway.config)
    const { closed } = await open(gateway)
    isFailing = true
    expect(await closed).toMatchObject({ code: 1013 })
    expect(failures).toBe(2)
  })
})

test("the event of a refused handshake is one, without a record of a socket", async () => {
  const gateway = createSocketGateway()
  const { response } = await gateway.send({ target: "/public/x", headers: HANDSHAKE })
  expect(eventOf(response).status).toBe(426)
  expect(writtenLines()).toHaveLength(1)
})

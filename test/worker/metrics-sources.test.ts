/**
 * Goal: what does not end with a request is counted too: sockets that stay open, events that are given up, sinks that take
 * nothing, origins that fail. Method: the real parts with a tally of their own, or the whole gateway and its object.
 */
import { createMessageBatch } from "cloudflare:test"
import { env } from "cloudflare:workers"
import { afterEach, expect, test, vi } from "vitest"
import type { MetricsRecorder } from "../../src/context.ts"
import { EVENT_BACKLOG_MAX } from "../../src/core/bounds.ts"
import type { EventMessage } from "../../src/observe/event-message.ts"
import { createEventBuffer } from "../../src/observe/event-buffer.ts"
import { createSinkDelivery } from "../../src/observe/sink.ts"
import { createGateway, fixtures, GUARD_RECORD, type TestGateway } from "./harness.ts"

afterEach(() => {
  vi.restoreAllMocks()
})

/** Remembers what it is told. */
function createRecorder() {
  const counts = new Map<string, number>()
  const gauges = new Map<string, number>()
  const recorder: MetricsRecorder = {
    add: (name, count, ...labels) => {
      const key = [name, ...labels].join(" ")
      counts.set(key, (counts.get(key) ?? 0) + count)
    },
    time: () => {},
    noteCertificate: () => {},
    setGauge: (name, value) => void gauges.set(name, value),
    reportSoon: () => {},
    report: async () => {},
  }
  return { counts, gauges, recorder }
}

/** Returns the lines of the samples that a gateway's object shows, without metadata. */
async function shown(gateway: TestGateway): Promise<readonly string[]> {
  await gateway.report()
  const text = await env.METRICS?.getByName(gateway.name).expose({ version: "", configVersion: "" }, "openmetrics")
  return (text ?? "").split("\n").filter((line) => !line.startsWith("#"))
}

test("events that wait are shown, and those that are given up are counted once, however often the queue fails", async () => {
  vi.spyOn(console, "error").mockReturnValue()
  vi.spyOn(scheduler, "wait").mockResolvedValue()
  const { counts, gauges, recorder } = createRecorder()
  const pending: Promise<unknown>[] = []
  let isFailing = true
  const queue = {
    send: () => (isFailing ? Promise.reject(new Error("down")) : Promise.resolve()),
  } as unknown as Queue<EventMessage>
  const buffer = createEventBuffer(1_000, Date.now, recorder)
  const settle = async (): Promise<void> => {
    while (pending.length > 0) await pending.shift()
  }
  const add = (): void =>
    buffer.add(JSON.stringify(GUARD_RECORD), queue, { waitUntil: (promise) => void pending.push(promise) })
  for (let index = 0; index < EVENT_BACKLOG_MAX + 7; index++) add()
  await settle()
  add()
  await settle()
  expect([gauges.get("sekisho_events_waiting"), counts.get("sekisho_events_dropped")]).toEqual([EVENT_BACKLOG_MAX, 8])
  isFailing = false
  add()
  await settle()
  expect([gauges.get("sekisho_events_waiting"), counts.get("sekisho_events_dropped")]).toEqual([0, 9])
})

test("a sink that does not take a delivery is counted, the others are not", async () => {
  vi.spyOn(console, "error").mockReturnValue()
  const { counts, recorder } = createRecorder()
  const { config, name } = createGateway((own) => ({
    SINKS: [
      { kind: "ndjson", url: `http://127.0.0.1:${fixtures.sinkPort}/${own}/204` },
      { kind: "otlp", url: `http://127.0.0.1:${fixtures.closedPort}/` },
    ],
  }))
  const body: EventMessage = { version: 1, events: [GUARD_RECORD], dropped: 0 }
  const batch = createMessageBatch(name, [{ id: "0", timestamp: new Date(0), attempts: 1, body }])
  await createSinkDelivery(config, Date.now, recorder)(batch, { queue: undefined, secrets: {} })
  expect(counts).toEqual(new Map([["sekisho_sink_failures 1 otlp", 1]]))
})

test("a WebSocket is open until it is closed, and was opened once", async () => {
  const gateway = createGateway(
    { ROUTES: [{ prefix: "/ws", origin: "stub", limits: "generous", websocket: true }] },
    { counts: true },
  )
  const response = await gateway.open({
    target: "/ws/echo",
    headers: {
      Connection: "Upgrade",
      Upgrade: "websocket",
      "Sec-WebSocket-Version": "13",
      "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    },
  })
  const socket = response.webSocket
  expect(response.status).toBe(101)
  socket?.accept()
  expect(await shown(gateway)).toEqual(
    expect.arrayContaining(["sekisho_websocket_open 1", "sekisho_websocket_opened_total 1"]),
  )
  socket?.close(1000)
  await vi.waitUntil(async () => (await shown(gateway)).includes("sekisho_websocket_open 0"), { timeout: 10_000 })
  expect(await shown(gateway)).toContain("sekisho_websocket_opened_total 1")
})

test("an origin that cannot be reached is unhealthy after five requests, and its breaker counts what it spares it", async () => {
  const gateway = createGateway(
    (name) => ({
      ORIGINS: {
        stub: {
          url: `http://127.0.0.1:${fixtures.closedPort}/${name}`,
          retries: 0,
          breaker: { failures: 5, window: "10s", open: "10s" },
        },
      },
    }),
    { counts: true },
  )
  for (let index = 0; index < 7; index++) await gateway.fetch()
  const lines = await shown(gateway)
  expect(lines).toEqual(
    expect.arrayContaining([
      'sekisho_origin_unhealthy{origin="stub"} 1',
      'sekisho_origin_attempts_total{origin="stub"} 5',
      'sekisho_breaker_open_total{origin="stub"} 2',
      'sekisho_refusals_total{code="origin-unreachable"} 5',
      'sekisho_refusals_total{code="service-unavailable"} 2',
    ]),
  )
})

test("a limit per address that does not answer is counted", async () => {
  const limit = { limit: () => Promise.reject(new Error("x")) } as unknown as RateLimit
  const gateway = createGateway({}, { counts: true, bindings: { IP_LIMIT: limit } })
  await gateway.fetch({ target: "/healthz", cert: "none" })
  expect(await shown(gateway)).toContain("sekisho_ip_limit_unavailable_total 1")
})

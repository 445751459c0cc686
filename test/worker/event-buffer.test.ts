/**
 * Goal: events leave the request's way together and late, and a queue that fails loses none before the bound. Method: the
 * real buffer with a queue that records or fails, and a clock for `scheduler.wait` that the test moves.
 */
import { afterEach, beforeEach, expect, test, vi } from "vitest"
import { EVENT_BACKLOG_MAX, EVENTS_PER_MESSAGE_MAX, SPAN_BACKLOG_MAX } from "../../src/core/bounds.ts"
import { formatEventJson, type AccessEvent, type GatewayEvent, type GuardRecord } from "../../src/core/record/event.ts"
import type { Span } from "../../src/core/record/span.ts"
import { createEventBuffer } from "../../src/observe/event-buffer.ts"
import type { EventMessage } from "../../src/observe/event-message.ts"
import { createGateway, GUARD_RECORD, readMessage } from "./harness.ts"

/** Ends the waits that have begun, as if their time had passed. */
let passTime: () => void
let waits: number[]

beforeEach(() => {
  let pending: (() => void)[] = []
  waits = []
  passTime = () => {
    for (const resolve of pending) resolve()
    pending = []
  }
  vi.spyOn(scheduler, "wait").mockImplementation((delayMs) => {
    waits.push(delayMs)
    return new Promise<void>((resolve) => pending.push(resolve))
  })
})
afterEach(() => {
  vi.restoreAllMocks()
})

test("add() sends many events as one message after one wait", async () => {
  const { messages, add, settle } = createScene()
  for (let i = 0; i < 10; i++) add(i)
  expect([messages.length, waits]).toEqual([0, [1_000]])
  passTime()
  await settle()
  expect(messages.map(({ events }) => events.length)).toEqual([10])
})

test("add() sends guard records and requests together, in their order", async () => {
  const { messages, add, settle } = createScene()
  add(0)
  add(GUARD_RECORD)
  add(1)
  passTime()
  await settle()
  expect(messages.map(({ events }) => events.map(idOf))).toEqual([["0", "guard.opened", "1"]])
})

test("add() starts a new wait for what comes after a flush", async () => {
  const { messages, add, settle } = createScene()
  add(0)
  passTime()
  await settle()
  add(1)
  passTime()
  await settle()
  expect(messages.map(({ events }) => events.map(idOf))).toEqual([["0"], ["1"]])
})

test("add() does not wait with a full message", async () => {
  const { messages, add, settle } = createScene()
  for (let i = 0; i < EVENTS_PER_MESSAGE_MAX; i++) add(i)
  await Promise.resolve()
  expect(messages.map(({ events }) => events.length)).toEqual([EVENTS_PER_MESSAGE_MAX])
  passTime()
  await settle()
  expect(messages).toHaveLength(1)
})

test("add() drops nothing while the queue takes what comes, however much that is", async () => {
  const { messages, add, settle } = createScene()
  for (let i = 0; i < 2 * EVENT_BACKLOG_MAX; i++) {
    add(i)
    if (i % EVENTS_PER_MESSAGE_MAX === EVENTS_PER_MESSAGE_MAX - 1) await Promise.resolve()
  }
  passTime()
  await settle()
  expect(messages.flatMap(({ events }) => events)).toHaveLength(2 * EVENT_BACKLOG_MAX)
  expect(messages.every(({ dropped }) => dropped === 0)).toBe(true)
})

test("a queue that fails keeps the events in their order for the next flush", async () => {
  const errors = vi.spyOn(console, "error").mockReturnValue()
  const { messages, add, settle, fail } = createScene()
  fail(true)
  add(0)
  add(1)
  passTime()
  await settle()
  fail(false)
  add(2)
  passTime()
  await settle()
  expect(messages.map(({ events }) => events.map(idOf))).toEqual([["0", "1", "2"]])
  expect(JSON.parse(String(errors.mock.calls[0]?.[0]))).toMatchObject({
    event: "queue_unavailable",
    waiting: 2,
    dropped: 0,
  })
})

test("a queue that fails for long costs the oldest events beyond the bound, and they are counted once", async () => {
  vi.spyOn(console, "error").mockReturnValue()
  const { messages, add, settle, fail } = createScene()
  fail(true)
  for (let i = 0; i < EVENT_BACKLOG_MAX + 7; i++) add(i)
  passTime()
  await settle()
  fail(false)
  add(EVENT_BACKLOG_MAX + 7)
  passTime()
  await settle()
  expect(messages[0]?.events.map(idOf)[0]).toBe("8")
  expect(messages.reduce((sum, { dropped }) => sum + dropped, 0)).toBe(8)
  const kept = messages.flatMap(({ events }) => events).filter(({ event }) => event === "request")
  expect(kept).toHaveLength(EVENT_BACKLOG_MAX)
})

test("a full backlog does not make every event try a queue that fails", async () => {
  const errors = vi.spyOn(console, "error").mockReturnValue()
  const { add, settle, fail } = createScene()
  fail(true)
  for (let i = 0; i < EVENT_BACKLOG_MAX; i++) add(i)
  passTime()
  await settle()
  errors.mockClear()
  for (let i = 0; i < EVENTS_PER_MESSAGE_MAX - 1; i++) {
    add(i)
    await Promise.resolve()
  }
  expect(errors).toHaveBeenCalledTimes(0)
})

test("what was given up is on the record with the next message, and its count is exact", async () => {
  vi.spyOn(console, "error").mockReturnValue()
  const { messages, add, addSpans, settle, fail } = createScene()
  fail(true)
  for (let i = 0; i < EVENT_BACKLOG_MAX + 5; i++) add(i)
  addSpans(SPAN_BACKLOG_MAX + 3)
  passTime()
  await settle()
  // A second failure must not count twice.
  add(0)
  passTime()
  await settle()
  fail(false)
  add(0)
  passTime()
  await settle()
  const told = messages.flatMap(({ events }) => events).filter(({ event }) => event === "sink.dropped")
  expect(told).toMatchObject([
    { reason: "events_not_queued", records: 7, alert: "records-lost" },
    { reason: "spans_not_queued", records: 3, alert: "records-lost" },
  ])
  expect(messages.flatMap(({ spans = [] }) => spans)).toHaveLength(SPAN_BACKLOG_MAX)
})

test("spans travel with events, and a message of events alone has none", async () => {
  const { messages, add, addSpans, settle } = createScene()
  add(0)
  addSpans(3)
  passTime()
  await settle()
  add(1)
  passTime()
  await settle()
  expect(messages.map(({ events, spans }) => [events.length, spans?.length])).toEqual([
    [1, 3],
    [1, 0],
  ])
})

test("many requests of a gateway leave one message", async () => {
  const messages: EventMessage[] = []
  const gateway = createGateway(
    { SINKS: [{ kind: "ndjson", url: "http://127.0.0.1:1/" }], GATEWAY: { hosts: ["gw.test"], log_flush: "10ms" } },
    { bindings: { EVENTS: queueOf((message) => void messages.push(message)) } },
  )
  const pending = Promise.all(Array.from({ length: 20 }, () => gateway.fetch({ target: "/healthz" })))
  await vi.waitUntil(() => waits.length > 0)
  passTime()
  await pending
  expect(messages.map(({ events }) => events.length)).toEqual([20])
})

function createScene() {
  const messages: EventMessage[] = []
  const flushes: Promise<unknown>[] = []
  let isFailing = false
  const buffer = createEventBuffer(1_000, () => 1_798_761_600_000)
  const queue = queueOf((message) => {
    if (isFailing) throw new Error("queue down")
    messages.push(message)
  })
  return {
    messages,
    fail: (value: boolean) => (isFailing = value),
    add: (id: number | GuardRecord) =>
      buffer.add(formatEventJson(typeof id === "number" ? eventNamed(String(id)) : id), queue, {
        waitUntil: (promise) => void flushes.push(promise),
      }),
    addSpans: (count: number) =>
      buffer.addSpans(
        Array.from({ length: count }, () => SPAN),
        queue,
        { waitUntil: (promise) => void flushes.push(promise) },
      ),
    settle: () => Promise.all(flushes),
  }
}

const SPAN: Span = {
  traceId: "0af7651916cd43dd8448eb211c80319c",
  spanId: "b7ad6b7169203331",
  flags: 1,
  name: "GET",
  kind: "server",
  startMs: 1,
  endMs: 2,
  attributes: {},
  isError: false,
}

function queueOf(take: (message: EventMessage) => void): NonNullable<Env["EVENTS"]> {
  return {
    send: async (body: string) => take(readMessage(body)),
  } as unknown as NonNullable<Env["EVENTS"]>
}

function idOf(event: GatewayEvent): string {
  return event.event === "request" ? event.request_id : event.event
}

function eventNamed(requestId: string): AccessEvent {
  return {
    timestamp: "2027-01-01T00:00:00.000Z",
    level: "info",
    event: "request",
    request_id: requestId,
    trace_id: "0".repeat(32),
    span_id: "0".repeat(16),
    outcome: "answered",
    status: 200,
    method: "GET",
    path: "/",
    latency_ms: 0,
    config_version: "0",
  }
}

/**
 * Goal: an event that the queue has taken reaches every sink or waits, and a sink can do no harm. Method: batches as the
 * queue delivers them, pushed to a real HTTP server that answers as its path says.
 */
import { createExecutionContext, createMessageBatch, getQueueResult } from "cloudflare:test"
import { beforeEach, describe, expect, test, vi } from "vitest"
import { SINK_POSTS_MAX, SINK_RESPONSE_BYTES_MAX, SINK_TIMEOUT_MS } from "../../src/core/bounds.ts"
import type { AccessEvent, GatewayEvent } from "../../src/core/record/event.ts"
import type { Span } from "../../src/core/record/span.ts"
import type { EventMessage } from "../../src/observe/event-message.ts"
import { createSinkDelivery } from "../../src/observe/sink.ts"
import {
  ask,
  createGateway,
  fixtures,
  GUARD_RECORD,
  sinkPosts,
  trapConnections,
  writtenLines,
  readMessage,
} from "./harness.ts"

let errors: string[]

beforeEach(() => {
  errors = []
  vi.spyOn(console, "error").mockImplementation((line: string) => void errors.push(line))
})

/** What became of the messages of a batch; ids count from 0. */
interface Decided {
  readonly explicitAcks: readonly string[]
  readonly retryMessages: readonly { readonly msgId: string; readonly delaySeconds: number | undefined }[]
}

const ACKNOWLEDGED = { explicitAcks: ["0"], retryMessages: [] }

describe("what a sink gets", () => {
  test("is one OTLP request with a record for each event", async () => {
    const { name, deliver } = createScene(["otlp"])
    const event = await anEvent()
    expect(await deliver([message([event, event])])).toMatchObject(ACKNOWLEDGED)
    const [post, ...others] = await sinkPosts(name)
    expect([post?.contentType, others.length]).toEqual(["application/json", 0])
    const [{ resource, scopeLogs }] = JSON.parse(post?.body ?? "").resourceLogs
    expect(resource.attributes).toContainEqual({ key: "service.name", value: { stringValue: "sekisho" } })
    const [{ logRecords }] = scopeLogs
    expect(logRecords).toHaveLength(2)
    expect(logRecords[0]).toMatchObject({ traceId: event.trace_id, spanId: event.span_id, severityText: "INFO" })
    expect(logRecords[0].attributes).toContainEqual({ key: "request_id", value: { stringValue: event.request_id } })
  })

  test("is one NDJSON line for each event", async () => {
    const { name, deliver } = createScene(["ndjson"])
    const event = await anEvent()
    expect(await deliver([message([event, event])])).toMatchObject(ACKNOWLEDGED)
    const [post] = await sinkPosts(name)
    expect(post?.contentType).toBe("application/x-ndjson")
    expect(
      post?.body
        .split("\n")
        .slice(0, -1)
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual([event, event])
  })

  test.each(["otlp", "ndjson"] as const)("holds guard records beside requests, as %s", async (kind) => {
    const { name, deliver } = createScene([kind])
    expect(await deliver([message([await anEvent(), GUARD_RECORD])])).toMatchObject(ACKNOWLEDGED)
    const [post] = await sinkPosts(name)
    expect(post?.body).toMatch(/"request".*\n?.*"guard\.opened"/)
  })

  test("carries the secret that the configuration names, and no secret when it names none", async () => {
    const { name, deliver } = createScene(["otlp"], { authorization_secret: "SINK_AUTHORIZATION" })
    await deliver([message([await anEvent()])], { SINK_AUTHORIZATION: "Bearer SECRET", OTHER: "SECRET2" })
    const plain = createScene(["otlp"])
    await plain.deliver([message([await anEvent()])], { SINK_AUTHORIZATION: "Bearer SECRET" })
    expect([(await sinkPosts(name))[0]?.authorization, (await sinkPosts(plain.name))[0]?.authorization]).toEqual([
      "Bearer SECRET",
      undefined,
    ])
  })

  test("LOG-02 holds no secret of the request, on its whole way from the request to the sink", async () => {
    const { name, deliver, sinks } = createScene(["otlp", "ndjson"])
    const messages: EventMessage[] = []
    const send = async (sent: unknown) => void messages.push(readMessage(sent))
    const gateway = createGateway(
      { SINKS: sinks, GATEWAY: { hosts: ["gw.test"], log_flush: "10ms" } },
      { bindings: { EVENTS: { send } as unknown as Queue<EventMessage> } },
    )
    await gateway.fetch({
      method: "POST",
      target: "/pay?token=SECRETQ",
      headers: { Authorization: "Bearer SECRETJWT", Cookie: "sid=SECRETC", "User-Agent": "SECRETU" },
      body: "SECRETBODY",
    })
    expect(messages.map(({ events, dropped }) => [events.length, dropped])).toEqual([[1, 0]])
    await deliver(messages)
    const posts = await sinkPosts(name)
    expect(posts.map(({ body }) => body.includes("/pay"))).toEqual([true, true])
    expect(posts.map(({ body }) => body).join()).not.toMatch(/SECRET|\u001b/)
  })
})

describe("a sink", () => {
  test("gets a large body compressed, and a small one as it is", async () => {
    const { name, deliver } = createScene(["ndjson"])
    const event = await anEvent()
    await deliver([message([event]), message([event, event, event, event])])
    expect((await sinkPosts(name)).map(({ coding }) => coding ?? "none").toSorted()).toEqual(["gzip", "none"])
  })

  test("with gzip = false gets every body as it is", async () => {
    const { name, deliver } = createScene(["ndjson"], { gzip: false })
    const event = await anEvent()
    await deliver([message([event, event, event, event])])
    expect((await sinkPosts(name)).map(({ coding }) => coding)).toEqual([undefined])
  })

  test("gets fields from secrets", async () => {
    const { name, deliver } = createScene(["ndjson"], { header_secrets: { "x-api-key": "SINK_API_KEY" } })
    await deliver([message([await anEvent()])], { SINK_API_KEY: "SECRET", OTHER: "SECRET2" })
    expect((await sinkPosts(name)).map(({ apiKey }) => apiKey)).toEqual(["SECRET"])
  })

  test("of the kind loki gets a stream for each level and event", async () => {
    const { name, deliver } = createScene(["loki"])
    const event = await anEvent()
    expect(await deliver([message([event, GUARD_RECORD, event])])).toMatchObject(ACKNOWLEDGED)
    const [post] = await sinkPosts(name)
    const { streams } = JSON.parse(post?.body ?? "") as { streams: { stream: unknown; values: [string, string][] }[] }
    expect(streams.map(({ stream, values }) => [stream, values.length])).toEqual([
      [{ service_name: "sekisho", level: "info", event: "request" }, 2],
      [{ service_name: "sekisho", level: "warn", event: "guard.opened" }, 1],
    ])
    expect(JSON.parse(streams[0]?.values[0]?.[1] ?? "")).toEqual(event)
  })

  test("that takes traces gets spans alone, and one that takes events no span", async () => {
    const name = crypto.randomUUID()
    const { deliver } = createScene([], {}, "", [
      { kind: "otlp", url: `${sinkUrl(name)}/200`, takes: ["traces"] },
      { kind: "ndjson", url: `${sinkUrl(name)}/202` },
    ])
    expect(await deliver([{ ...message([await anEvent()]), spans: [SPAN] }])).toMatchObject(ACKNOWLEDGED)
    const posts = await sinkPosts(name)
    const bodyOf = (asked: string): string => posts.find(({ behaviour }) => behaviour === asked)?.body ?? ""
    expect(posts).toHaveLength(2)
    expect(JSON.parse(bodyOf("200"))).toMatchObject({
      resourceSpans: [{ scopeSpans: [{ spans: [{ spanId: SPAN.spanId, kind: 2 }] }] }],
    })
    expect(bodyOf("200")).not.toContain("resourceLogs")
    expect(bodyOf("202")).not.toContain(SPAN.spanId)
  })

  test("that takes traces and is down gets them later, without the events", async () => {
    const name = crypto.randomUUID()
    const traces = { kind: "otlp", url: `${sinkUrl(name)}/503`, takes: ["traces"] }
    const { deliver, left } = createScene([], {}, "", [traces, { kind: "ndjson", url: `${sinkUrl(name)}/200` }])
    await deliver([{ ...message([await anEvent()]), spans: [SPAN] }])
    expect(left().map(({ message: { events, spans, sinks } }) => [events, spans, sinks])).toEqual([
      [[], [SPAN], [`otlp ${traces.url}`]],
    ])
  })
})

describe("what a sink answers", () => {
  test.each([200, 202, 204])("%i acknowledges the message", async (status) => {
    const { deliver } = createScene(["otlp"], {}, String(status))
    expect(await deliver([message([await anEvent()])])).toMatchObject(ACKNOWLEDGED)
    expect(errors).toEqual([])
  })

  test.each([429, 502, 503, 504])("LOG-08 %i retries the message later", async (status) => {
    const { deliver } = createScene(["otlp"], {}, `${status}-7`)
    expect(await deliver([message([await anEvent()])])).toMatchObject({
      explicitAcks: [],
      retryMessages: [{ msgId: "0", delaySeconds: 7 }],
    })
  })

  test("LOG-08 a Retry-After of a year is cut", async () => {
    const { deliver } = createScene(["otlp"], {}, "503-31536000")
    expect(await deliver([message([await anEvent()])])).toMatchObject({ retryMessages: [{ delaySeconds: 600 }] })
  })

  test.each(["400", "401", "404"])("LOG-08 %s leaves the message to the dead-letter queue", async (status) => {
    const { deliver } = createScene(["otlp"], {}, `${status}-7`)
    const { explicitAcks, retryMessages } = await deliver([message([await anEvent()])])
    expect([explicitAcks, retryMessages]).toEqual([[], [{ msgId: "0", delaySeconds: undefined }]])
    expect(JSON.parse(errors[0] ?? "")).toMatchObject({ event: "sink_rejected", reason: `status_${status}` })
  })

  test("LOG-09 a redirect is not followed and not a delivery", async () => {
    const { name, deliver } = createScene(["otlp"], {}, "redirect")
    expect(await deliver([message([await anEvent()])])).toMatchObject({ explicitAcks: [] })
    expect([(await sinkPosts(name)).length, await trapConnections()]).toEqual([1, 0])
  })

  test("LOG-09 an endless body is cut, and the status counts", async () => {
    const { name, deliver } = createScene(["otlp"], {}, "endless")
    expect(await deliver([message([await anEvent()])])).toMatchObject(ACKNOWLEDGED)
    // Buffers of both ends come on top of what is read.
    const written = await settled(() => ask<number>(`endless/${name}`))
    expect(written).toBeGreaterThan(SINK_RESPONSE_BYTES_MAX)
    expect(written).toBeLessThan(100 * SINK_RESPONSE_BYTES_MAX)
  })

  test("LOG-09 a gzip bomb is cut, and the status counts", async () => {
    const { deliver } = createScene(["otlp"], {}, "bomb")
    expect(await deliver([message([await anEvent()])])).toMatchObject(ACKNOWLEDGED)
  })

  test("LOG-09 a slow drip ends with the wait, and the status counts", async () => {
    const { deliver } = createScene(["otlp"], {}, "drip")
    const deadline = new AbortController()
    const timeout = vi.spyOn(AbortSignal, "timeout").mockReturnValue(deadline.signal)
    const fetched = vi.spyOn(globalThis, "fetch")
    const delivered = deliver([message([await anEvent()])])
    await vi.waitUntil(() => fetched.mock.results.length > 0)
    await fetched.mock.results[0]?.value
    deadline.abort()
    expect(await delivered).toMatchObject(ACKNOWLEDGED)
    expect(timeout.mock.calls).toEqual([[SINK_TIMEOUT_MS]])
  })

  test("LOG-09 a body that breaks off does not undo its status", async () => {
    const { deliver } = createScene(["otlp"], {}, "cut")
    expect(await deliver([message([await anEvent()])])).toMatchObject(ACKNOWLEDGED)
  })

  test("LOG-07 nothing at all retries the message with the queue's own delay", async () => {
    const { deliver } = createScene(["otlp"], {}, "reset")
    const { explicitAcks, retryMessages } = await deliver([message([await anEvent()])])
    expect([explicitAcks, retryMessages]).toEqual([[], [{ msgId: "0", delaySeconds: undefined }]])
    expect(JSON.parse(errors[0] ?? "")).toMatchObject({ event: "sink_unavailable", reason: "no_answer" })
  })
})

describe("sinks that do not depend on each other", () => {
  const scene = (name: string, ...behaviours: readonly string[]) =>
    createScene(
      [],
      {},
      "",
      behaviours.map((behaviour, i) => ({
        kind: i % 2 === 0 ? "otlp" : "ndjson",
        url: `${sinkUrl(name)}/${behaviour}`,
      })),
    )

  test("a sink that is down gets the message later, and alone", async () => {
    const name = crypto.randomUUID()
    const { deliver, left } = scene(name, "200", "503-3")
    const sent = message([await anEvent()])
    expect(await deliver([sent])).toMatchObject(ACKNOWLEDGED)
    const [again, ...others] = left()
    expect(others).toEqual([])
    expect(again).toMatchObject({ delaySeconds: 3, message: { ...sent, sinks: [`ndjson ${sinkUrl(name)}/503-3`] } })
    // From then on it is the queue that repeats and counts.
    expect(await deliver([again?.message])).toMatchObject({ retryMessages: [{ msgId: "0", delaySeconds: 3 }] })
    expect((await sinkPosts(name)).map(({ behaviour }) => behaviour).toSorted()).toEqual(["200", "503-3", "503-3"])
    expect(left()).toHaveLength(1)
  })

  test("a message that no sink takes comes again as it is, after the longest time that one has asked for", async () => {
    const { deliver, left } = scene(crypto.randomUUID(), "503-7", "429-30")
    expect(await deliver([message([await anEvent()])])).toMatchObject({
      retryMessages: [{ msgId: "0", delaySeconds: 30 }],
    })
    expect(left()).toEqual([])
  })

  test("a message comes again for all of them when the queue does not take what is left", async () => {
    const scenery = scene(crypto.randomUUID(), "200", "503-3")
    scenery.queue.isDown = true
    expect(await scenery.deliver([message([await anEvent()])])).toMatchObject({ retryMessages: [{ msgId: "0" }] })
  })

  test("a message for a sink that is configured no more is done", async () => {
    const { deliver } = createScene(["otlp"])
    expect(await deliver([{ ...message([await anEvent()]), sinks: ["otlp https://gone.test"] }])).toMatchObject(
      ACKNOWLEDGED,
    )
  })
})

describe("LOG-08 a record that a sink finds fault with", () => {
  const poisoned = async (count: number, ...bad: readonly number[]): Promise<readonly AccessEvent[]> => {
    const event = await anEvent()
    return Array.from({ length: count }, (_, i) => ({
      ...event,
      request_id: `${i}${bad.includes(i) ? "-POISON" : ""}`,
    }))
  }
  const taken = async (name: string): Promise<readonly string[]> =>
    (await sinkPosts(name))
      .filter(({ body }) => !body.includes("POISON"))
      .flatMap(({ body }) => body.split("\n").slice(0, -1))
      .map((line) => (JSON.parse(line) as AccessEvent).request_id)

  test("is found and goes alone, and every other record is delivered once", async () => {
    const { name, deliver, left, told } = createScene(["ndjson"], {}, "poison")
    expect(await deliver([message(await poisoned(100, 37))])).toMatchObject(ACKNOWLEDGED)
    expect((await taken(name)).map(Number)).toEqual(Array.from({ length: 100 }, (_, i) => i).filter((i) => i !== 37))
    expect(left().map(({ message: { events } }) => events.map(idOf))).toEqual([["37-POISON"]])
    expect(told()).toMatchObject([{ event: "sink.rejected", records: 1, reason: "status_400" }])
    expect((await sinkPosts(name)).length).toBeLessThanOrEqual(16)
    // Alone it is left to the queue, which gives it up in the end.
    expect(await deliver([left()[0]?.message])).toMatchObject({ explicitAcks: [], retryMessages: [{ msgId: "0" }] })
    expect([left().length, told().length]).toEqual([1, 1])
  })

  test("is one of several, each of which goes alone", async () => {
    const { name, deliver, left } = createScene(["ndjson"], {}, "poison")
    await deliver([message(await poisoned(16, 0, 9))])
    expect(await taken(name)).toHaveLength(14)
    expect(left().map(({ message: { events } }) => events.map(idOf))).toEqual([["0-POISON"], ["9-POISON"]])
  })

  test("may be every record: the posts are bounded, and nothing is lost", async () => {
    const { name, deliver, left } = createScene(["ndjson"], {}, "400")
    const events = await poisoned(100)
    await deliver([message(events)])
    expect(await sinkPosts(name)).toHaveLength(SINK_POSTS_MAX)
    expect(
      left()
        .flatMap(({ message: { events: rest } }) => rest.map(idOf))
        .toSorted(),
    ).toEqual(events.map(idOf).toSorted())
  })

  test("does not hold up another sink", async () => {
    const name = crypto.randomUUID()
    const { deliver, left } = createScene([], {}, "", [
      { kind: "ndjson", url: `${sinkUrl(name)}/200` },
      { kind: "otlp", url: `${sinkUrl(name)}/poison` },
    ])
    expect(await deliver([message(await poisoned(4, 2))])).toMatchObject(ACKNOWLEDGED)
    expect(left()).toMatchObject([{ message: { sinks: [`otlp ${sinkUrl(name)}/poison`] } }])
  })
})

describe("what is told of sinks", () => {
  test("an outage is told once, and its end", async () => {
    const name = crypto.randomUUID()
    const { deliver, told } = createScene([], {}, "", [
      { kind: "ndjson", url: `${sinkUrl(name)}/503` },
      { kind: "otlp", url: `${sinkUrl(name)}/200` },
    ])
    const sent = message([await anEvent()])
    await deliver([sent, sent])
    await deliver([sent])
    expect(told()).toEqual([
      {
        timestamp: "2027-01-01T00:00:00.000Z",
        level: "error",
        event: "sink.down",
        sink: `ndjson 127.0.0.1:${fixtures.sinkPort}`,
        reason: "status_503",
        alert: "sink-down",
      },
    ])
  })

  test("LOG-08 records that a receiver has not taken are counted and not sent again", async () => {
    const { deliver, told, left } = createScene(["otlp"], {}, "partial")
    expect(await deliver([message([await anEvent(), GUARD_RECORD])])).toMatchObject(ACKNOWLEDGED)
    expect([told(), left()]).toMatchObject([[{ event: "sink.dropped", records: 1, reason: "partial_success" }], []])
    // A record about that, of which it does not take one either, is told of no more.
    await deliver([{ version: 1, events: told(), dropped: 0 }])
    expect(told()).toHaveLength(1)
  })
})

test("each message of a batch is decided by itself", async () => {
  const { deliver } = createScene(["ndjson"])
  const good = message([await anEvent()])
  expect(await deliver([good, { version: 2 }, good])).toMatchObject({
    explicitAcks: ["0", "2"],
    retryMessages: [{ msgId: "1" }],
  })
})

test("a message is kept while the secret of its sink is missing", async () => {
  const { name, deliver } = createScene(["otlp"], { authorization_secret: "SINK_AUTHORIZATION" })
  expect(await deliver([message([await anEvent()])])).toMatchObject({
    explicitAcks: [],
    retryMessages: [{ msgId: "0", delaySeconds: 60 }],
  })
  expect(await sinkPosts(name)).toEqual([])
})

test.each([
  undefined,
  null,
  "text",
  1,
  [],
  {},
  { version: 1 },
  { version: 2, events: [], dropped: 0 },
  { version: 1, events: [null], dropped: 0 },
  { version: 1, events: [], dropped: 0, spans: [1] },
  { version: 1, events: [], dropped: 0, sinks: "otlp" },
])("a message that is none (%j) is neither pushed nor acknowledged", async (body) => {
  const { name, deliver } = createScene(["otlp"])
  expect(await deliver([body])).toMatchObject({ explicitAcks: [], retryMessages: [{ msgId: "0" }] })
  expect(await sinkPosts(name)).toEqual([])
  expect(JSON.parse(errors[0] ?? "")).toMatchObject({ event: "sink_rejected", reason: "unknown_message" })
})

test("events that an isolate had to drop are reported with the message after them", async () => {
  const { deliver } = createScene(["ndjson"])
  await deliver([{ ...message([await anEvent()]), dropped: 3 }])
  expect(JSON.parse(errors[0] ?? "")).toMatchObject({ level: "error", event: "events_dropped", reason: "3" })
})

const SPAN: Span = {
  traceId: "0af7651916cd43dd8448eb211c80319c",
  spanId: "b7ad6b7169203331",
  flags: 1,
  name: "GET /public/**",
  kind: "server",
  startMs: 1_798_761_600_000,
  endMs: 1_798_761_600_007,
  attributes: { "http.request.method": "GET" },
  isError: false,
}

function isSinkRecord({ event }: GatewayEvent): boolean {
  return event.startsWith("sink.")
}

function idOf(event: GatewayEvent): string {
  return event.event === "request" ? event.request_id : event.event
}

function sinkUrl(name: string): string {
  return `http://127.0.0.1:${fixtures.sinkPort}/${name}`
}

/** A gateway's configuration with sinks, and the queue's way to them. */
function createScene(
  kinds: readonly ("otlp" | "ndjson" | "loki")[],
  sink: Readonly<Record<string, unknown>> = {},
  behaviour = "200",
  sinks: readonly unknown[] = [],
) {
  const name = crypto.randomUUID()
  const all = [...sinks, ...kinds.map((kind) => ({ kind, url: `${sinkUrl(name)}/${behaviour}`, ...sink }))]
  const { config } = createGateway({ SINKS: all })
  const deliverBatch = createSinkDelivery(config, () => 1_798_761_600_000)
  const sent: { readonly message: EventMessage; readonly delaySeconds: number | undefined }[] = []
  const queue = {
    isDown: false,
    send: async (message: EventMessage, options?: { readonly delaySeconds?: number }) => {
      if (queue.isDown) throw new Error("queue down")
      sent.push({ message: structuredClone(message), delaySeconds: options?.delaySeconds })
    },
  }
  return {
    name,
    sinks: all,
    queue,
    /** What went back to the queue, but for records about sinks. */
    left: () => sent.filter(({ message: { sinks } }) => sinks !== undefined),
    /** Records about sinks, in the order in which they were made. */
    told: () => sent.flatMap(({ message: { events } }) => events.filter(isSinkRecord)),
    deliver: async (bodies: readonly unknown[], secrets: Readonly<Record<string, unknown>> = {}): Promise<Decided> => {
      const batch = createMessageBatch(
        "sekisho-events",
        bodies.map((body, i) => ({ id: String(i), timestamp: 0, attempts: 1, body })),
      )
      const delays = new Map<string, number | undefined>()
      // The result below tells which messages are retried, not when.
      for (const queued of batch.messages) {
        const retry = queued.retry.bind(queued)
        vi.spyOn(queued, "retry").mockImplementation((options) => {
          delays.set(queued.id, options?.delaySeconds)
          retry(options)
        })
      }
      await deliverBatch(batch, { queue: queue as unknown as Queue<EventMessage>, secrets })
      const { explicitAcks, retryMessages } = await getQueueResult(batch, createExecutionContext())
      return {
        explicitAcks,
        retryMessages: retryMessages.map(({ msgId }) => ({ msgId, delaySeconds: delays.get(msgId) })),
      }
    },
  }
}

function message(events: readonly GatewayEvent[]): EventMessage {
  return { version: 1, events, dropped: 0 }
}

async function anEvent(): Promise<AccessEvent> {
  await createGateway().fetch({ target: "/healthz" })
  return JSON.parse(writtenLines().at(-1) ?? "") as AccessEvent
}

/** Returns a number once it has stopped growing. */
async function settled(read: () => Promise<number | null>): Promise<number> {
  let last = -1
  return vi.waitUntil<number | undefined>(
    async () => {
      const now = (await read()) ?? 0
      const isSame = now === last
      last = now
      return isSame ? now : undefined
    },
    { interval: 50 },
  )
}

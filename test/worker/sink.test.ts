/**
 * Goal: an event that the queue has taken reaches every sink or waits, and a sink can do no harm. Method: batches as the
 * queue delivers them, pushed to a real HTTP server that answers as its path says.
 */
import { createExecutionContext, createMessageBatch, getQueueResult } from "cloudflare:test"
import { beforeEach, describe, expect, test, vi } from "vitest"
import { SINK_RESPONSE_BYTES_MAX } from "../../src/core/bounds.ts"
import type { AccessEvent, GatewayEvent } from "../../src/core/event.ts"
import type { EventMessage } from "../../src/observe/event-message.ts"
import { deliverBatch } from "../../src/observe/sink.ts"
import { ask, createGateway, fixtures, GUARD_RECORD, sinkPosts, trapConnections, writtenLines } from "./harness.ts"

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
    const send = async (sent: EventMessage) => void messages.push(structuredClone(sent))
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

test("a message is acknowledged only when every sink has it", async () => {
  const name = crypto.randomUUID()
  const { deliver } = createScene([], {}, "", [
    { kind: "otlp", url: `${sinkUrl(name)}/200` },
    { kind: "ndjson", url: `${sinkUrl(name)}/503-3` },
  ])
  expect(await deliver([message([await anEvent()])])).toMatchObject({
    explicitAcks: [],
    retryMessages: [{ msgId: "0", delaySeconds: 3 }],
  })
  expect(await sinkPosts(name)).toHaveLength(2)
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

function sinkUrl(name: string): string {
  return `http://127.0.0.1:${fixtures.sinkPort}/${name}`
}

/** A gateway's configuration with sinks, and the queue's way to them. */
function createScene(
  kinds: readonly ("otlp" | "ndjson")[],
  sink: Readonly<Record<string, unknown>> = {},
  behaviour = "200",
  sinks: readonly unknown[] = [],
) {
  const name = crypto.randomUUID()
  const all = [...sinks, ...kinds.map((kind) => ({ kind, url: `${sinkUrl(name)}/${behaviour}`, ...sink }))]
  const { config } = createGateway({ SINKS: all })
  return {
    name,
    sinks: all,
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
      await deliverBatch(batch, config, secrets)
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

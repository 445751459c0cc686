/**
 * Goal: a sampled request leaves the spans of what happened, with the ids that the caller and the origin know, and no other request leaves
 * one. Method: requests through a gateway whose queue is read, beside what the origin got.
 */
import { describe, expect, test } from "vitest"
import type { AccessEvent } from "../../src/core/record/event.ts"
import type { Span, SpanAttributes } from "../../src/core/record/span.ts"
import type { EventMessage } from "../../src/observe/event-message.ts"
import { createGateway, fieldValues, fixtures, type GatewayOptions, type RequestParts, readMessage } from "./harness.ts"

const TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
const PARENT_ID = "b7ad6b7169203331"
const SINKS = [
  { kind: "ndjson", url: "http://127.0.0.1:1/events" },
  { kind: "otlp", url: "http://127.0.0.1:1/v1/traces", takes: ["traces"] },
]

/** Sends a request through a gateway with traces, and returns what went to its queue. */
async function trace(
  parts: RequestParts = {},
  overrides: Readonly<Record<string, unknown>> = {},
  options: GatewayOptions = {},
  times = 1,
) {
  const messages: EventMessage[] = []
  const send = async (sent: unknown) => void messages.push(readMessage(sent))
  const gateway = createGateway(
    { SINKS, GATEWAY: { hosts: ["gw.test"], log_flush: "10ms" }, ...overrides },
    { ...options, bindings: { ...options.bindings, EVENTS: { send } as unknown as Queue<EventMessage> } },
  )
  for (let i = 0; i < times; i++) await gateway.fetch(parts)
  const spans = messages.flatMap(({ spans: sent = [] }) => sent)
  const events = messages
    .flatMap(({ events: sent }) => sent)
    .filter((event): event is AccessEvent => event.event === "request")
  const [origin] = await gateway.originRequests()
  return { spans, event: events[0], events, traceparent: fieldValues(origin, "traceparent")[0] }
}

const ratio = (share: number) => ({ GATEWAY: { hosts: ["gw.test"], log_flush: "10ms", traces: { ratio: share } } })
const byKind = (spans: readonly Span[], kind: Span["kind"], name = ""): readonly Span[] =>
  spans.filter((span) => span.kind === kind && span.name.startsWith(name))

describe("a sampled request", () => {
  test("has a server span, one for the gate and one for the origin, all of one trace", async () => {
    const { event, spans, traceparent } = await trace({ target: "/public/x?token=SECRETQ" })
    const [server] = byKind(spans, "server")
    const [call] = byKind(spans, "client", "GET")
    const [gate] = byKind(spans, "client", "client-gate")
    expect(spans).toHaveLength(3)
    expect(spans.every(({ traceId }) => traceId === event?.trace_id)).toBe(true)
    expect(server).toMatchObject({
      spanId: event?.span_id,
      name: "GET /public/**",
      isError: false,
      attributes: {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/public/**",
        "url.scheme": "https",
        "url.path": "/public/x",
        "server.address": "gw.test",
        "client.address": "192.0.2.7",
        "rate_limit.hit": false,
        "sekisho.request_id": event?.request_id,
        "sekisho.client_id": event?.client_id,
        "sekisho.outcome": "forwarded",
      },
    })
    expect(server?.parentSpanId).toBeUndefined()
    for (const child of [call, gate]) expect(child?.parentSpanId).toBe(server?.spanId)
    expect(call?.attributes).toMatchObject({ "server.address": "127.0.0.1", "server.port": fixtures.originPort })
    expect(call?.attributes["url.full"]).toMatch(/^http:\/\/127\.0\.0\.1:[0-9]+\/.*\/public\/x$/)
    // The origin's own spans hang below the call that reached it.
    expect(traceparent).toBe(`00-${event?.trace_id}-${call?.spanId}-03`)
    expect(JSON.stringify(spans)).not.toContain("SECRET")
  })

  test("that its client has named is a child of the client's span", async () => {
    const headers = { traceparent: `00-${TRACE_ID}-${PARENT_ID}-01`, tracestate: "vendor=1" }
    const { spans, traceparent } = await trace({ headers })
    const [server] = byKind(spans, "server")
    const [call] = byKind(spans, "client", "GET")
    expect(server).toMatchObject({ traceId: TRACE_ID, parentSpanId: PARENT_ID, tracestate: "vendor=1", flags: 1 })
    expect(traceparent).toBe(`00-${TRACE_ID}-${call?.spanId}-01`)
  })

  test("has a span for each sending", async () => {
    const { spans, event } = await trace(
      { target: "/public/503" },
      {
        ORIGINS: {
          stub: {
            urls: ["a", "b"].map((part) => ({ url: `http://127.0.0.1:${fixtures.originPort}/${part}` })),
            retry_statuses: [503],
          },
        },
      },
    )
    const calls = byKind(spans, "client", "GET")
    expect(event?.origin_attempts ?? 1).toBe(calls.length)
    expect(calls.map(({ attributes }) => attributes["http.request.resend_count"])).toEqual(
      calls.map((_, i) => (i === 0 ? undefined : i)),
    )
  })

  test("SC-4: is an error when its origin cannot be reached, and so is the call", async () => {
    const { spans } = await trace(
      {},
      { ORIGINS: { stub: { url: `http://127.0.0.1:${fixtures.closedPort}`, retries: 0 } } },
    )
    expect(byKind(spans, "server")[0]).toMatchObject({
      isError: true,
      attributes: { "error.type": "origin-unreachable", "http.response.status_code": 502 },
    })
    expect(byKind(spans, "client", "GET")[0]).toMatchObject({
      isError: true,
      attributes: { "error.type": "unreachable" },
    })
  })

  test("SC-4: is no error when it is refused", async () => {
    const { spans } = await trace({ cert: "none" })
    expect(spans).toMatchObject([
      { kind: "server", isError: false, attributes: { "sekisho.problem": "client-cert-required" } },
    ])
    expect(spans[0]?.attributes["error.type"]).toBeUndefined()
  })

  test("says that a limit refused it", async () => {
    const { spans } = await trace({}, { LIMITS: { generous: { rate: "1/d", burst: 1 } } }, {}, 2)
    const [, second] = byKind(spans, "server")
    expect(second?.attributes).toMatchObject({
      "rate_limit.hit": true,
      "rate_limit.policy": "generous",
      "rate_limit.remaining": 0,
      "sekisho.problem": "rate-limited",
    })
  })

  test("says that the gate could not be asked", async () => {
    const down = { admit: () => Promise.reject(new Error("x")), lend: () => Promise.reject(new Error("x")) }
    const CLIENT_GATE = { getByName: () => down } as unknown as Env["CLIENT_GATE"]
    const { spans } = await trace({}, {}, { bindings: { CLIENT_GATE } })
    expect(byKind(spans, "client", "client-gate")[0]).toMatchObject({
      isError: true,
      attributes: { "error.type": "unavailable" },
    })
  })
})

describe("a request that is not sampled leaves no span, and its event", () => {
  test.each([
    ["when no sink takes traces", {}, { SINKS: SINKS.slice(0, 1) }, "03"],
    ["outside of the ratio", {}, ratio(0), "02"],
    ["when its client does not sample", { headers: { traceparent: `00-${TRACE_ID}-${PARENT_ID}-00` } }, {}, "00"],
  ] as const)("%s", async (_, parts, overrides, flags) => {
    const { event, spans, traceparent } = await trace(parts, overrides)
    expect(spans).toEqual([])
    expect(event?.status).toBe(200)
    expect(traceparent).toBe(`00-${event?.trace_id}-${event?.span_id}-${flags}`)
  })
})

test("the client's word overrules the ratio", async () => {
  const { spans } = await trace({ headers: { traceparent: `00-${TRACE_ID}-${PARENT_ID}-01` } }, ratio(0))
  expect(byKind(spans, "server")).toHaveLength(1)
})

test("the word of somebody without a name does not", async () => {
  const parts = { cert: "none", headers: { traceparent: `00-${TRACE_ID}-${PARENT_ID}-01` } } as const
  expect((await trace(parts, ratio(0))).spans).toEqual([])
})

describe("what a route says about its log", () => {
  const logged = async (log: unknown, parts: RequestParts = {}): Promise<readonly AccessEvent[]> => {
    const ROUTES = [
      { prefix: "/public", client_certificate: "none", respond: { status: 200 }, log },
      { path: "/strict", origin: "stub", limits: "generous", log },
    ]
    return (await trace(parts, { ROUTES })).events
  }

  test.each(["refusals", { sample: 0 }])("%j leaves out what went well", async (log) => {
    expect(await logged(log)).toEqual([])
  })

  test.each(["refusals", { sample: 0 }])("%j leaves out no refusal", async (log) => {
    expect(await logged(log, { target: "/strict", cert: "none" })).toMatchObject([{ status: 401, level: "warn" }])
  })

  test("debug is the level of what went well, and of nothing else", async () => {
    expect(await logged({ level: "debug" })).toMatchObject([{ status: 200, level: "debug" }])
    expect(await logged({ level: "debug" }, { target: "/strict", cert: "none" })).toMatchObject([{ level: "warn" }])
  })

  test("a client cannot choose a trace that is left out", async () => {
    const headers = { traceparent: `00-${"1".repeat(18)}${"0".repeat(14)}-${PARENT_ID}-01` }
    // Every octet that the gateway mints is 0xff: its own trace is among the first of any share.
    const { events } = await trace(
      { headers },
      { ROUTES: [{ prefix: "/public", origin: "stub", limits: "generous", log: { sample: 0.01 } }] },
      { fillRandom: (octets) => octets.fill(0xff) },
    )
    expect(events).toHaveLength(1)
  })
})

test("the platform's own span learns what the gateway knows, without a sink for traces", async () => {
  const noted: SpanAttributes[] = []
  const platformSpan = () => ({ setAttributes: (attributes: SpanAttributes) => void noted.push(attributes) })
  const { event } = await trace({}, { SINKS: SINKS.slice(0, 1) }, { platformSpan })
  expect(noted).toMatchObject([{ "sekisho.request_id": event?.request_id, "http.route": "/public/**" }])
})

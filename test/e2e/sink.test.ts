/**
 * The sample sink: what it takes over a real socket, what it refuses, and the line a person sees. Lines are compared
 * literally; instants are built from local time, so the time zone of the machine does not matter.
 */
import { createConnection } from "node:net"
import { stripVTControlCharacters } from "node:util"
import { gzipSync } from "node:zlib"
import * as fc from "fast-check"
import { afterEach, describe, expect, test } from "vitest"
import { formatEventLine, formatJsonLine } from "../../examples/sink/format.ts"
import { parseLogsExport, type SinkEvent } from "../../examples/sink/otlp.ts"
import { formatSpanLine, type SinkSpan } from "../../examples/sink/traces.ts"
import { formatLokiPush } from "../../src/core/record/loki.ts"
import { formatOtlpTraces } from "../../src/core/record/otlp-traces.ts"
import type { Span } from "../../src/core/record/span.ts"
import { formatOtlpLogs } from "../../src/core/record/otlp-logs.ts"
import { type Sink, SINK_BYTES_MAX, startSink } from "../../examples/sink/server.ts"

const TIMESTAMP = new Date(2026, 10, 22, 9, 0, 0, 123).toISOString()
const EVENT = {
  timestamp: TIMESTAMP,
  level: "info",
  event: "request",
  request_id: "019aa4c2-7b00-7abc-8def-0123456789ab",
  trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
  client_id: "acme",
  outcome: "forwarded",
  status: 200,
  route: "/balance",
  method: "GET",
  host: "localhost",
  path: "/balance",
  latency_ms: 12.4,
  origin: "bank",
  origin_ms: 9.13,
  certificate_days_left: 81,
  rate_limit_policy: "standard",
  rate_limit_remaining: 99,
} satisfies SinkEvent
const CRL = {
  timestamp: after(0),
  event: "crl.failed",
  issuer: "partners",
  reason: "crl_timeout",
  failures: 2,
  next_update: after(3_600_000),
  entries: 17,
}
const BLOCK = {
  timestamp: TIMESTAMP,
  level: "warn",
  event: "guard.opened",
  guard: "credentials",
  key_kind: "client",
  client_id: "acme",
  reason: "failures",
  blocked_until: after(300_000),
  attempt: 2,
} as const satisfies SinkEvent
const OTLP = { "Content-Type": "application/json" }
const NDJSON = { "Content-Type": "application/x-ndjson" }
const sinks: Sink[] = []

afterEach(async () => {
  for (const sink of sinks.splice(0)) await sink.close()
})

describe("POST /v1/logs", () => {
  test("an OTLP export gives the events back that were put in", async () => {
    const { call, events } = await open()
    await call("/v1/logs", { headers: OTLP, body: JSON.stringify(exportOf(EVENT)) })
    expect(events).toEqual([{ ...EVENT, message: "GET /balance 200", span_id: "00f067aa0ba902b7" }])
  })

  test("a guard record comes out of the gateway's own OTLP export as it went in", async () => {
    const { call, events } = await open()
    await call("/v1/logs", { headers: OTLP, body: JSON.stringify(formatOtlpLogs([BLOCK], "1")) })
    expect(events).toEqual([{ ...BLOCK, message: "guard.opened credentials acme" }])
  })

  test("an OTLP export is answered with an empty partial success", async () => {
    const { call } = await open()
    const response = await call("/v1/logs", { headers: OTLP, body: JSON.stringify(exportOf(EVENT)) })
    expect([response.status, response.headers.get("Content-Type"), await response.text()]).toEqual([
      200,
      "application/json",
      '{"partialSuccess":{}}',
    ])
  })

  test("an OTLP export with a log record that is none is taken in part and says so", async () => {
    const { call, events } = await open()
    const body = {
      resourceLogs: [{ scopeLogs: [{ logRecords: [7, { attributes: [{ key: "a" }] }, { attributes: [{}] }] }] }],
    }
    const response = await call("/v1/logs", { headers: OTLP, body: JSON.stringify(body) })
    expect(await response.json()).toMatchObject({ partialSuccess: { rejectedLogRecords: "2" } })
    expect(events).toEqual([{ a: null }])
  })

  test("an empty OTLP export is taken", async () => {
    const { call } = await open()
    expect((await call("/v1/logs", { headers: OTLP, body: "{}" })).status).toBe(200)
  })

  test("a gzip body is read", async () => {
    const { call, events } = await open()
    const headers = { ...OTLP, "Content-Encoding": "gzip" }
    await call("/v1/logs", { headers, body: gzipSync(JSON.stringify(exportOf(EVENT))) })
    expect(events).toHaveLength(1)
  })
})

describe("POST /v1/traces", () => {
  const span: Span = {
    traceId: "0af7651916cd43dd8448eb211c80319c",
    spanId: "b7ad6b7169203331",
    parentSpanId: "00f067aa0ba902b7",
    flags: 1,
    name: "GET",
    kind: "client",
    startMs: 1_795_316_400_123,
    endMs: 1_795_316_400_135,
    attributes: { "http.response.status_code": 502, "error.type": "502" },
    isError: true,
  }

  test("a span of the gateway's own export is read back", async () => {
    const { call, spans } = await open()
    const response = await call("/v1/traces", { headers: OTLP, body: JSON.stringify(formatOtlpTraces([span], "1")) })
    expect(await response.json()).toEqual({ partialSuccess: {} })
    const { flags: _, ...rest } = span
    expect(spans).toEqual([{ ...rest, kind: 3 }])
  })

  test("a span that is none is counted, and the others are taken", async () => {
    const { call, spans } = await open()
    const document = formatOtlpTraces([span, { ...span, traceId: "none" }], "1")
    const response = await call("/v1/traces", { headers: OTLP, body: JSON.stringify(document) })
    expect(await response.json()).toMatchObject({ partialSuccess: { rejectedSpans: "1" } })
    expect(spans).toHaveLength(1)
  })

  test.each(["[]", "{", '{"resourceSpans":1}'])("%s is refused", async (body) => {
    const { call } = await open()
    expect((await call("/v1/traces", { headers: OTLP, body })).status).toBe(400)
  })

  test("a span is a line without control characters, indented below its server's", () => {
    const read = { ...span, parentSpanId: "00f067aa0ba902b7", name: "GET\u001b[2J", kind: 3 }
    const attributes = { "http.response.status_code": 502, "error.type": "unreachable" }
    expect(formatSpanLine({ ...read, attributes }, { color: false })).toBe(
      "trace 1c80319c    GET\ufffd[2J                             client        12 ms  b7ad6b7169203331  502  unreachable",
    )
  })
})

describe("POST /loki/api/v1/push", () => {
  test("the gateway's own push gives the events back", async () => {
    const { call, events } = await open()
    const pushed = [BLOCK, { ...BLOCK, attempt: 3 }]
    const response = await call("/loki/api/v1/push", { headers: OTLP, body: JSON.stringify(formatLokiPush(pushed)) })
    expect([response.status, events]).toEqual([204, pushed])
  })

  test.each(["{", "[]", '{"streams":[1]}', '{"streams":[{"stream":{},"values":[["1","no JSON"]]}]}'])(
    "%s is refused whole",
    async (body) => {
      const { call, events } = await open()
      expect((await call("/loki/api/v1/push", { headers: OTLP, body })).status).toBe(400)
      expect(events).toEqual([])
    },
  )
})

describe("POST /ndjson", () => {
  test("each line is an event, in order", async () => {
    const { call, events } = await open()
    const body = `${JSON.stringify(EVENT)}\n\n{"event":"other"}\r\n`
    const response = await call("/ndjson", { headers: NDJSON, body })
    expect([response.status, await response.json()]).toEqual([200, { accepted: 2 }])
    expect(events).toEqual([EVENT, { event: "other" }])
  })

  test("one bad line refuses the whole body, so that a repetition makes no duplicates", async () => {
    const { call, events } = await open()
    const response = await call("/ndjson", { headers: NDJSON, body: '{"a":1}\n[2]\n' })
    expect(await response.json()).toMatchObject({ status: 400, detail: "line 2 is not a JSON object" })
    expect(events).toEqual([])
  })
})

describe("refusals", () => {
  test.each([
    [404, "not-found", "POST", "/", OTLP, "{}"],
    [404, "not-found", "POST", "/constructor", OTLP, "{}"],
    [405, "method-not-allowed", "PUT", "/v1/logs", OTLP, "{}"],
    [415, "media-type-unsupported", "POST", "/v1/logs", { "Content-Type": "application/x-protobuf" }, "{}"],
    [415, "media-type-unsupported", "POST", "/ndjson", OTLP, "{}"],
    [415, "content-coding-unsupported", "POST", "/ndjson", { ...NDJSON, "Content-Encoding": "br" }, "{}"],
    [400, "body-malformed", "POST", "/v1/logs", OTLP, "{"],
    [400, "body-malformed", "POST", "/v1/logs", OTLP, "[]"],
    [400, "body-malformed", "POST", "/v1/logs", OTLP, '{"resourceLogs":7}'],
    [400, "body-malformed", "POST", "/ndjson", NDJSON, Buffer.of(0x22, 0xff, 0x22)],
    [400, "body-malformed", "POST", "/ndjson", { ...NDJSON, "Content-Encoding": "gzip" }, "no gzip"],
  ])("%d %s: %s %s with %j", async (status, code, method, path, headers, body) => {
    const { call } = await open()
    const response = await call(path, { method, headers, body })
    expect(response.headers.get("Content-Type")).toBe("application/problem+json")
    expect(await response.json()).toMatchObject({ type: `urn:sample-sink:problem:${code}`, status, code })
  })

  test("a body of exactly 4 MiB is taken", async () => {
    const { call } = await open()
    const body = '{"a":1}'.padEnd(SINK_BYTES_MAX, " ")
    expect((await call("/ndjson", { headers: NDJSON, body })).status).toBe(200)
  })

  test("a body over 4 MiB is refused while its sender is still sending", async () => {
    const { port } = await open()
    const socket = createConnection({ port, host: "127.0.0.1" })
    socket.on("error", () => {})
    socket.write(
      "POST /ndjson HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: 99999999\r\n\r\n",
    )
    socket.write(Buffer.alloc(SINK_BYTES_MAX + 1, " "))
    let text = ""
    for await (const chunk of socket.setEncoding("utf8") as AsyncIterable<string>) {
      text += chunk
      if (text.includes("\r\n\r\n")) break
    }
    expect(text).toMatch(/^HTTP\/1\.1 413 /)
  })

  test("a small body that decompresses to more than 4 MiB is refused", async () => {
    const { call } = await open()
    const headers = { ...NDJSON, "Content-Encoding": "gzip" }
    const response = await call("/ndjson", { headers, body: gzipSync(Buffer.alloc(SINK_BYTES_MAX + 1, " ")) })
    expect(response.status).toBe(413)
  })

  test("RFC 9110 §15.5.6 a wrong method is answered with the right one", async () => {
    const { call } = await open()
    const response = await call("/v1/logs", { method: "DELETE", headers: OTLP })
    expect(response.headers.get("Allow")).toBe("POST")
  })
})

describe("parseLogsExport()", () => {
  test.each([
    [{ stringValue: "" }, ""],
    [{ boolValue: false }, false],
    [{ intValue: "-7" }, -7],
    [{ intValue: 7 }, 7],
    [{ intValue: "9007199254740993" }, "9007199254740993"],
    [{ intValue: "seven" }, null],
    [{ doubleValue: 0.5 }, 0.5],
    [{ arrayValue: { values: [{ stringValue: "a" }, { intValue: "1" }] } }, ["a", 1]],
    [{ kvlistValue: { values: [{ key: "k", value: { boolValue: true } }] } }, { k: true }],
    [{ bytesValue: "AA==" }, null],
    [{}, null],
  ])("parseLogsExport() reads the value %j as %j", (value, expected) => {
    expect(parseLogsExport(exportOfAttributes([{ key: "a", value }]))?.events).toEqual([{ a: expected }])
  })

  test("parseLogsExport() takes time, level and trace from the record when no attribute says them", () => {
    const { timestamp: _timestamp, level: _level, trace_id: _trace, ...rest } = EVENT
    expect(parseLogsExport(exportOf(rest))?.events).toEqual([expect.objectContaining(EVENT)])
  })

  test("parseLogsExport() keeps an attribute named __proto__ an attribute", () => {
    const value = { kvlistValue: { values: [{ key: "polluted", value: { boolValue: true } }] } }
    const [event] = parseLogsExport(exportOfAttributes([{ key: "__proto__", value }]))?.events ?? []
    expect([Object.keys(event ?? {}), event?.["polluted"]]).toEqual([["__proto__"], undefined])
  })

  test("parseLogsExport() cuts nesting that goes on and on", () => {
    let value: unknown = { stringValue: "bottom" }
    for (let depth = 0; depth < 50_000; depth++) value = { arrayValue: { values: [value] } }
    expect(parseLogsExport(exportOfAttributes([{ key: "a", value }]))?.events).toEqual([{ a: [[[[[[[[null]]]]]]]] }])
  })

  test("parseLogsExport() never throws", () => {
    const anything = fc.jsonValue({ maxDepth: 3 })
    const few = { maxLength: 3 }
    const attributes = fc.array(fc.record({ key: fc.string(), value: anything }), few)
    const fields = { timeUnixNano: anything, severityText: anything, body: anything, attributes }
    const logRecords = fc.array(fc.record(fields, { requiredKeys: [] }), few)
    const resourceLogs = fc.array(fc.record({ scopeLogs: fc.array(fc.record({ logRecords }), few) }), few)
    fc.assert(
      fc.property(fc.oneof(anything, fc.record({ resourceLogs })), (value) => {
        parseLogsExport(value)
      }),
      { seed: 20_261_122, numRuns: 300 },
    )
  })
})

describe("formatEventLine()", () => {
  const refused = { outcome: "refused", origin: undefined, origin_ms: undefined }
  const anonymous = { client_id: undefined, rate_limit_remaining: undefined, certificate_days_left: undefined }

  test.each([
    [
      "a forwarded request",
      {},
      "09:00:00.123  200  GET     /balance                      acme          forwarded                  12 ms    (9.1 ms)  …456789ab  99 left",
    ],
    [
      "a request over its limit",
      {
        ...refused,
        status: 429,
        method: "POST",
        path: "/payments",
        problem: "rate-limited",
        reason: "rate_exceeded",
        latency_ms: 0.42,
        rate_limit_remaining: 0,
        rate_limit_retry_after_ms: 1_200,
      },
      "09:00:00.123  429  POST    /payments                     acme          rate-limited              0.4 ms              …456789ab  rate_exceeded, 0 left, retry in 1.2 s",
    ],
    [
      "a certificate that was not accepted",
      {
        ...refused,
        ...anonymous,
        status: 401,
        problem: "client-cert-invalid",
        reason: "certificate_expired",
        latency_ms: 1,
      },
      "09:00:00.123  401  GET     /balance                      -             client-cert-invalid         1 ms              …456789ab  certificate_expired",
    ],
    [
      "an origin that was too slow",
      {
        outcome: "failed",
        status: 504,
        problem: "origin-timeout",
        reason: "origin_timeout",
        latency_ms: 10_012,
        origin_ms: 10_010,
      },
      "09:00:00.123  504  GET     /balance                      acme          origin-timeout            10.0 s    (10.0 s)  …456789ab  origin_timeout, 99 left",
    ],
    [
      "an answer of the gateway's own",
      { ...anonymous, outcome: "answered", path: "/healthz", origin_ms: undefined, latency_ms: 0 },
      "09:00:00.123  200  GET     /healthz                      -             answered                    0 ms              …456789ab",
    ],
    [
      "a certificate that ends soon",
      { certificate_days_left: 30, request_id: "short-id" },
      "09:00:00.123  200  GET     /balance                      acme          forwarded                  12 ms    (9.1 ms)  short-id   99 left, certificate ends in 30 d",
    ],
    [
      "names that are too long for their columns",
      { path: "/accounts/acme-operating/statements", client_id: "a-rather-long-name", method: "PROPFIND" },
      "09:00:00.123  200  PROPF…  /accounts/acme-operating/st…  a-rather-lo…  forwarded                  12 ms    (9.1 ms)  …456789ab  99 left",
    ],
  ])("formatEventLine() shows %s", (_name, change, line) => {
    expect(formatEventLine({ ...EVENT, ...change }, { color: false })).toBe(line)
  })

  test.each([
    [
      "opened",
      {},
      "09:00:00.123  >>>  guard   credentials                   acme          opened                  too many failures, blocked for 5 min until 09:05:00.123, attempt 2",
    ],
    [
      "closed",
      { level: "info", event: "guard.closed", reason: "elapsed", timestamp: after(300_000) },
      "09:05:00.123  <<<  guard   credentials                   acme          closed                  time is up, was blocked until 09:05:00.123, attempt 2",
    ],
    [
      "opened by an administrator, for an address and into another day",
      { client_id: undefined, key_kind: "address", reason: "admin", attempt: 0, blocked_until: after(2 * 86_400_000) },
      "09:00:00.123  >>>  guard   credentials                   address       opened                  by an administrator, blocked for 2 d until 2026-11-24 09:00:00.123",
    ],
    [
      "opened, as a later version may tell it",
      { reason: "constructor", attempt: "many", blocked_until: "later" },
      "09:00:00.123  >>>  guard   credentials                   acme          opened                  constructor, blocked until --:--:--.---",
    ],
  ])("formatEventLine() shows a guard that %s", (_name, change, line) => {
    expect(formatEventLine({ ...BLOCK, ...change }, { color: false })).toBe(line)
  })

  test.each([
    [
      "could not be fetched",
      {},
      "09:00:00.123  crl  list    partners                                    failed                  crl_timeout, 2 in a row, 17 revoked, in force until 10:00:00.123",
    ],
    [
      "is another one",
      { event: "crl.refreshed", reason: undefined, failures: undefined },
      "09:00:00.123  crl  list    partners                                    refreshed               17 revoked, in force until 10:00:00.123",
    ],
    [
      "is not there",
      { entries: undefined, failures: 1 },
      "09:00:00.123  crl  list    partners                                    failed                  crl_timeout, there is no list",
    ],
  ])("formatEventLine() shows a revocation list that %s", (_name, change, line) => {
    expect(formatEventLine({ ...CRL, ...change }, { color: false })).toBe(line)
  })

  test.each([
    ["guard.opened", "\u001b[31m>>>\u001b[0m"],
    ["guard.closed", "\u001b[32m<<<\u001b[0m"],
  ])("formatEventLine() colours %s by what it means", (event, painted) => {
    expect(formatEventLine({ ...BLOCK, event }, { color: true })).toContain(painted)
  })

  test.each([
    [
      "the guard that refused and how long it will",
      { guard: "credentials", guard_retry_after_ms: 299_900 },
      "blocked by credentials, retry in 5 min",
    ],
    ["a guard that refused without a time", { guard: "credentials" }, "blocked by credentials"],
    ["an answer that counts as a failure", { guard_outcome: "failure" }, "counts as failure"],
    ["the limits that soft mode let pass", { rate_limit_soft: "burst,day" }, "over burst,day (soft)"],
    ["an origin that answered badly too often", { origin_unhealthy: true }, "origin unhealthy"],
    ["that intent and outcome are on the audit trail", { audit: "recorded" }, "on the trail"],
    ["that an outcome is not on the audit trail yet", { audit: "delayed" }, "outcome not on the trail yet"],
    ["that nobody knew who is revoked", { revocation_unknown: "stale" }, "revocation list stale"],
    ["who decided", { gate: "local" }, "local"],
  ])("formatEventLine() shows %s", (_name, change, detail) => {
    expect(formatEventLine({ ...EVENT, ...change }, { color: false }).endsWith(`  99 left, ${detail}`)).toBe(true)
  })

  test("formatEventLine() shows no answer that counts as a success, as most do", () => {
    const line = formatEventLine({ ...EVENT, guard_outcome: "success" }, { color: false })
    expect(line).toBe(formatEventLine(EVENT, { color: false }))
  })

  test("formatEventLine() shows no certificate that lasts for more than 30 days", () => {
    expect(formatEventLine({ ...EVENT, certificate_days_left: 30.5 }, { color: false })).not.toContain("certificate")
  })

  test("formatEventLine() shows an event that is no request with all its fields", () => {
    const event = { timestamp: TIMESTAMP, level: "warn", event: "events_dropped", count: 12, isolate: "a" }
    expect(formatEventLine(event, { color: false })).toBe("09:00:00.123  warn   events_dropped  count=12  isolate=a")
  })

  test("formatEventLine() shows dashes for an event without fields", () => {
    expect(formatEventLine({}, { color: false })).toBe(
      "--:--:--.---  -    -       -                             -             -                              -",
    )
  })

  test("formatEventLine() gives the path what a wide terminal leaves", () => {
    const line = formatEventLine(
      { ...EVENT, path: "/accounts/acme-operating/statements" },
      { color: false, width: 140 },
    )
    expect(line).toContain("  /accounts/acme-operating/statements       acme  ")
  })

  test.each([
    [204, "\u001b[32m204\u001b[0m"],
    [304, "\u001b[36m304\u001b[0m"],
    [404, "\u001b[33m404\u001b[0m"],
    [502, "\u001b[31m502\u001b[0m"],
  ])("formatEventLine() colours the status %d by its class", (status, painted) => {
    expect(formatEventLine({ ...EVENT, status }, { color: true })).toContain(painted)
  })

  test("formatEventLine() dims the request id", () => {
    expect(formatEventLine(EVENT, { color: true })).toContain("\u001b[2m…456789ab\u001b[0m")
  })

  test("formatEventLine() says the same with and without colours", () => {
    const uncoloured = stripVTControlCharacters(formatEventLine(EVENT, { color: true }))
    expect(uncoloured).toBe(formatEventLine(EVENT, { color: false }))
  })

  test("formatEventLine() replaces an escape sequence in a path", () => {
    expect(formatEventLine({ ...EVENT, path: "/\u001b[2Jx\u009b1m\u202e" }, { color: false })).toContain(
      "  /\uFFFD[2Jx\uFFFD1m\uFFFD  ",
    )
  })

  test("formatEventLine() lets no control or format character of any event through", () => {
    const hostile = fc.string({ unit: "binary" }).map((text) => `\u001b]0;${text}\u0007\r\n`)
    const value = fc.oneof(hostile, fc.constantFrom("request", "refused"), fc.double(), fc.jsonValue())
    const names = [...Object.keys({ ...EVENT, ...BLOCK }), "problem", "gate", "rate_limit_soft", "guard_retry_after_ms"]
    const event = fc
      .tuple(fc.dictionary(fc.oneof(fc.constantFrom(...names), hostile), value), fc.constantFrom({}, BLOCK))
      .map(([fields, known]) => ({ ...known, ...fields, ...(known === BLOCK ? { event: BLOCK.event } : {}) }))
    fc.assert(
      fc.property(event, (fields) => {
        expect(formatEventLine(fields, { color: false })).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u)
      }),
      { seed: 20_261_122, numRuns: 1_000 },
    )
  })
})

describe("formatJsonLine()", () => {
  test("formatJsonLine() leaves no control character and still says the same", () => {
    const event = { path: "\u001b[2J\u009b1m\u007f\u2028\u202e\u{e0001}é" }
    const line = formatJsonLine(event)
    expect(line).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u)
    expect(JSON.parse(line)).toEqual(event)
  })
})

/** An instant behind that of the events. */
function after(ms: number): string {
  return new Date(Date.parse(TIMESTAMP) + ms).toISOString()
}

/** Opens a sink on a free port and returns the events that it was told of. */
async function open() {
  const events: SinkEvent[] = []
  const spans: SinkSpan[] = []
  const sink = await startSink({
    host: "127.0.0.1",
    port: 0,
    onRecord: (event) => void events.push(event),
    onSpan: (span) => void spans.push(span),
  })
  sinks.push(sink)
  const call = async (path: string, init: RequestInit) =>
    await fetch(`http://127.0.0.1:${sink.port}${path}`, { method: "POST", ...init })
  return { call, events, spans, port: sink.port }
}

function exportOf(event: SinkEvent) {
  const attributes = Object.entries(event).map(([key, value]) => ({ key, value: anyValueOf(value) }))
  const record = {
    timeUnixNano: `${Date.parse(TIMESTAMP)}000000`,
    severityNumber: 9,
    severityText: "INFO",
    traceId: EVENT.trace_id,
    spanId: "00f067aa0ba902b7",
    body: { stringValue: "GET /balance 200" },
    attributes,
  }
  return { resourceLogs: [{ resource: {}, scopeLogs: [{ scope: { name: "sekisho" }, logRecords: [record] }] }] }
}

function exportOfAttributes(attributes: unknown) {
  return { resourceLogs: [{ scopeLogs: [{ logRecords: [{ attributes }] }] }] }
}

/** As an exporter of OTLP in JSON writes them: 64-bit integers are strings. */
function anyValueOf(value: unknown) {
  if (typeof value === "boolean") return { boolValue: value }
  if (typeof value === "number") return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value }
  return { stringValue: value }
}

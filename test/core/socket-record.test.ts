/**
 * Goal: the record of a socket says who closed it, how loud that is, and nothing that a peer wrote. Method: one record a cause.
 */
import { expect, test } from "vitest"
import { formatOtlpLogs } from "../../src/core/record/otlp-logs.ts"
import { socketRecordOf, type SocketFacts } from "../../src/core/record/socket-record.ts"

const FACTS: SocketFacts = {
  openedMs: 1_000,
  closedMs: 61_500,
  closedBy: "client",
  code: 1000,
  reason: undefined,
  messagesIn: 1,
  bytesIn: 2,
  messagesOut: 3,
  bytesOut: 4,
  requestId: "01a20120-ddd0-71f3-9b2e-15640c53da5a",
  traceId: "a8fb46c2bb26dfcf90da633aab37792c",
  spanId: "458fd316aac03120",
  clientId: "acme",
  route: "/ws",
  origin: "bank",
}

test("socketRecordOf() names the request, the end and the counts", () => {
  expect(socketRecordOf(FACTS)).toEqual({
    timestamp: "1970-01-01T00:01:01.500Z",
    level: "info",
    event: "websocket.closed",
    request_id: FACTS.requestId,
    trace_id: FACTS.traceId,
    span_id: FACTS.spanId,
    client_id: "acme",
    route: "/ws",
    origin: "bank",
    closed_by: "client",
    code: 1000,
    duration_ms: 60_500,
    messages_in: 1,
    bytes_in: 2,
    messages_out: 3,
    bytes_out: 4,
  })
})

test.each<[Partial<SocketFacts>, string]>([
  [{ closedBy: "origin", code: 1011 }, "info"],
  [{ closedBy: "origin", code: 1006 }, "warn"],
  [{ closedBy: "gateway", code: 1001, reason: "idle" }, "info"],
  [{ closedBy: "gateway", code: 1008, reason: "cert_expired" }, "warn"],
])("socketRecordOf() makes %o a record of level %s", (facts, level) => {
  expect(socketRecordOf({ ...FACTS, ...facts }).level).toBe(level)
})

test("socketRecordOf() writes an empty close frame as 1005", () => {
  expect(socketRecordOf({ ...FACTS, code: undefined }).code).toBe(1005)
})

test("formatOtlpLogs() gives the record the trace of its request", () => {
  expect(JSON.stringify(formatOtlpLogs([socketRecordOf(FACTS)], "v"))).toContain(
    `"traceId":"${FACTS.traceId}","spanId":"${FACTS.spanId}","body":{"stringValue":"websocket.closed acme 1000"}`,
  )
})

/**
 * Goal: only a caller with a name may name its request and continue its trace, and both ends read the same id. Method:
 * the fields as callers send them, what the origin got, the answer and the event side by side.
 */
import { expect, test } from "vitest"
import { createGateway, expectRefusal, fieldValues } from "./harness.ts"

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
const PARENT_ID = "b7ad6b7169203331"

test("a request gets a UUIDv7, the same in the answer, the event and at the origin", async () => {
  const gateway = createGateway()
  const { response, event } = await gateway.send()
  expect(event.request_id).toMatch(UUID_V7)
  expect(response.headers.get("x-request-id")).toBe(event.request_id)
  expect(fieldValues((await gateway.originRequests())[0], "X-Request-Id")).toEqual([event.request_id])
})

test("trace adopts a well-formed request id of a client", async () => {
  const gateway = createGateway()
  const { response, event } = await gateway.send({ headers: { "X-Request-Id": "client.chosen-1" } })
  expect([event.request_id, response.headers.get("x-request-id")]).toEqual(["client.chosen-1", "client.chosen-1"])
  expect(fieldValues((await gateway.originRequests())[0], "X-Request-Id")).toEqual(["client.chosen-1"])
})

test.each([
  "../../<script>alert(1)</script>",
  "A".repeat(5_000),
  "short",
  "with space",
  '"quoted"',
  "",
  "4111-1111-1111-1111",
  "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln",
])("HDR-15 trace mints its own id instead of %j", async (requestId) => {
  const gateway = createGateway()
  const { response, event } = await gateway.send({ headers: { "X-Request-Id": requestId } })
  expect(event.request_id).toMatch(UUID_V7)
  expect([response.status, response.headers.get("x-request-id")]).toEqual([200, event.request_id])
  expect(fieldValues((await gateway.originRequests())[0], "X-Request-Id")).toEqual([event.request_id])
})

test.each([
  ["without a certificate", { cert: "none" }],
  ["of an unknown client", { cert: "two uris" }],
  ["to no route", { target: "/nope" }],
  ["to a route without identity", { target: "/healthz" }],
] as const)("a request %s may not name itself, nor its trace", async (_, parts) => {
  const { event } = await createGateway().send({
    ...parts,
    headers: { "X-Request-Id": "client.chosen-1", traceparent: `00-${TRACE_ID}-${PARENT_ID}-01` },
  })
  expect(event.request_id).toMatch(UUID_V7)
  expect(event.trace_id).not.toBe(TRACE_ID)
})

test("a problem of a request that was named by its client says so", async () => {
  const gateway = createGateway({ LIMITS: { generous: { rate: "1/h", burst: 1 } } })
  await gateway.fetch()
  const response = await gateway.fetch({ headers: { "X-Request-Id": "client.chosen-2" } })
  expect(await response.json()).toMatchObject({
    status: 429,
    request_id: "client.chosen-2",
    instance: "urn:sekisho:request:client.chosen-2",
  })
})

test("trace continues the trace of a client under a span of its own", async () => {
  const gateway = createGateway()
  const { event } = await gateway.send({
    headers: { traceparent: `00-${TRACE_ID}-${PARENT_ID}-01`, tracestate: "vendor=1, other=2" },
  })
  const [record] = await gateway.originRequests()
  expect(event.trace_id).toBe(TRACE_ID)
  expect(event.span_id).not.toBe(PARENT_ID)
  expect(fieldValues(record, "traceparent")).toEqual([`00-${TRACE_ID}-${event.span_id}-01`])
  expect(fieldValues(record, "tracestate")).toEqual(["vendor=1,other=2"])
})

test.each([
  "",
  `00-${"0".repeat(32)}-${PARENT_ID}-01`,
  `00-${TRACE_ID}-${PARENT_ID}-01-more`,
  `ff-${TRACE_ID}-${PARENT_ID}-01`,
  `00-${TRACE_ID}-${PARENT_ID}-01, 00-${TRACE_ID}-${PARENT_ID}-01`,
])("trace starts anew instead of %j, without the caller's tracestate", async (traceparent) => {
  const gateway = createGateway()
  const { event } = await gateway.send({ headers: { traceparent, tracestate: "vendor=1" } })
  const [record] = await gateway.originRequests()
  expect(event.trace_id).not.toBe(TRACE_ID)
  expect(fieldValues(record, "traceparent")).toEqual([`00-${event.trace_id}-${event.span_id}-03`])
  expect(fieldValues(record, "tracestate")).toEqual([])
})

test("EDG-19 two request ids are refused before anyone is known", async () => {
  const gateway = createGateway()
  const exchanged = await gateway.send({ headers: { "X-Request-Id": "client.chosen-1, client.chosen-2" } })
  await expectRefusal(gateway, exchanged, { status: 400, code: "duplicate-header", reason: "x-request-id" })
  expect(exchanged.event.request_id).toMatch(UUID_V7)
})

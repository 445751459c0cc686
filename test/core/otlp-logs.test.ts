/**
 * Goal: an official receiver accepts every document. Method: a walk over the document that applies the JSON rules of
 * OTLP to each member by its name, for one example, for random events, for events of other versions of the gateway and for
 * the official example itself.
 */
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import type { GatewayEvent } from "../../src/core/record/event.ts"
import { formatOtlpLogs } from "../../src/core/record/otlp-logs.ts"
import { readDataSet } from "../conformance.ts"
import { CRL_RECORD, anyEvent, EVENT, GUARD_RECORD } from "./event-fixtures.ts"
import { faults, shape } from "./otlp-rules.ts"

/** Returns the document as a receiver reads it. */
function document(...events: readonly GatewayEvent[]): unknown {
  return JSON.parse(JSON.stringify(formatOtlpLogs(events, "0123456789abcdef")))
}

describe("formatOtlpLogs()", () => {
  test("writes a record of the event with typed attributes", () => {
    expect(document(EVENT)).toMatchObject({
      resourceLogs: [
        {
          resource: {
            attributes: [{ key: "service.name", value: { stringValue: "sekisho" } }, { key: "service.version" }],
          },
          scopeLogs: [
            {
              scope: { name: "sekisho.access-log" },
              logRecords: [
                {
                  timeUnixNano: "1795316400123000000",
                  severityNumber: 9,
                  severityText: "INFO",
                  traceId: EVENT.trace_id,
                  spanId: EVENT.span_id,
                  body: { stringValue: "GET /balance 200" },
                },
              ],
            },
          ],
        },
      ],
    })
  })

  test.each([
    ["status", { intValue: "200" }],
    ["latency_ms", { doubleValue: 12.5 }],
    ["certificate_days_left", { intValue: "-1" }],
    ["client_id", { stringValue: "acme" }],
    ["origin_unhealthy", { boolValue: true }],
  ])("types the attribute %s", (key, value) => {
    const text = JSON.stringify(document({ ...EVENT, origin_unhealthy: true }))
    expect(text).toContain(JSON.stringify({ key, value }))
  })

  test.each([
    ["info", 9],
    ["warn", 13],
    ["error", 17],
  ] as const)("gives the level %s its number", (level, number) => {
    expect(JSON.stringify(document({ ...EVENT, level }))).toContain(`"severityNumber":${number},`)
  })

  test("OT-1, OT-2: breaks no rule of OTLP's JSON for any event", () => {
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 3 }), (events) => {
        expect(faults(document(...events))).toEqual([])
      }),
      { seed: 20, numRuns: 300 },
    )
  })

  test("OT-1: leaves the ids out of a record without a trace", () => {
    expect(faults(document({ ...EVENT, trace_id: "", span_id: "" }))).toEqual([])
  })

  test("writes a guard record with its name, its severity and without a trace", () => {
    const { resourceLogs } = document(GUARD_RECORD) as { resourceLogs: [{ scopeLogs: [{ logRecords: [object] }] }] }
    const [record] = resourceLogs[0].scopeLogs[0].logRecords
    expect(record).toMatchObject({
      timeUnixNano: "1795316400123000000",
      severityNumber: 13,
      severityText: "WARN",
      body: { stringValue: "guard.opened credentials acme" },
    })
    expect(Object.keys(record)).not.toContain("traceId")
    expect(JSON.stringify(record)).toContain('{"key":"event","value":{"stringValue":"guard.opened"}}')
  })

  test("names the kind of key in the body where a guard record has no client", () => {
    const { client_id: _client, ...anonymous } = { ...GUARD_RECORD, key_kind: "address" as const }
    expect(JSON.stringify(document(anonymous))).toContain('"guard.opened credentials address"')
  })

  test("writes the record of a revocation list with the name of its CA and without a trace", () => {
    const text = JSON.stringify(document(CRL_RECORD))
    expect(text).toContain('"body":{"stringValue":"crl.failed partners"}')
    expect(text).toContain('{"key":"entries","value":{"intValue":"17"}}')
    expect(text).not.toContain("traceId")
  })

  test.each([
    {},
    { event: "audit.entry", level: "notice", timestamp: "today" },
    { level: "constructor", trace_id: 7, span_id: null },
    { level: null, items: [1, null], table: { a: 1 }, nothing: null, huge: 1e300 },
  ])("OT-3: breaks no rule for an event of another version: %j", (event) => {
    expect(faults(document(event as unknown as GatewayEvent))).toEqual([])
  })

  test("OT-3: names an event of a kind that this version does not know", () => {
    const event = { ...GUARD_RECORD, event: "audit.entry", guard: undefined } as unknown as GatewayEvent
    expect(JSON.stringify(document(event))).toContain('"body":{"stringValue":"audit.entry"}')
  })

  test("writes one record per event in their order", () => {
    const text = JSON.stringify(document({ ...EVENT, path: "/1" }, { ...EVENT, path: "/2" }))
    expect([...text.matchAll(/"GET (\/[12]) 200"/g)].map(([, path]) => path)).toEqual(["/1", "/2"])
  })
})

const example = readDataSet("otel/otlp-example-logs.json") as object | undefined
interface Negative {
  readonly cases: readonly { readonly why: string; readonly doc: unknown }[]
}
const negative = readDataSet("otel/otlp-json-negative.json") as Negative | undefined

describe.skipIf(example === undefined || negative === undefined)("official documents", () => {
  test("the example has every member that formatOtlpLogs() writes, at the same depth", () => {
    expect([...shape(document(EVENT))].filter((member) => !shape(example).has(member))).toEqual([])
  })

  test("the example breaks no rule of this test", () => {
    expect(faults(example)).toEqual([])
  })

  test.each(negative?.cases ?? [])("this test finds: $why", ({ doc }) => {
    expect(faults(doc)).toHaveLength(1)
  })
})

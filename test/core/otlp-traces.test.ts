/**
 * Goal: an official receiver accepts every document of spans. Method: the JSON rules of OTLP for one example, for random spans, for spans of other
 * versions of the gateway and for the official example itself.
 */
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { formatOtlpTraces } from "../../src/core/record/otlp-traces.ts"
import type { Span } from "../../src/core/record/span.ts"
import { readDataSet } from "../conformance.ts"
import { faults, shape } from "./otlp-rules.ts"
import { anySpan, SPAN } from "./span-fixtures.ts"

/** Returns the document as a receiver reads it. */
function document(...spans: readonly Span[]): unknown {
  return JSON.parse(JSON.stringify(formatOtlpTraces(spans, "0123456789abcdef")))
}

describe("formatOtlpTraces()", () => {
  test("writes a span with its ids, times, kind, status and typed attributes", () => {
    expect(document(SPAN)).toMatchObject({
      resourceSpans: [
        {
          scopeSpans: [
            {
              spans: [
                {
                  traceId: SPAN.traceId,
                  spanId: SPAN.spanId,
                  parentSpanId: SPAN.parentSpanId,
                  traceState: "vendor=1",
                  flags: 1,
                  name: "GET /accounts/**",
                  kind: 2,
                  startTimeUnixNano: "1795316400123000000",
                  endTimeUnixNano: "1795316400135000000",
                  status: { code: 2 },
                },
              ],
            },
          ],
        },
      ],
    })
    const text = JSON.stringify(document(SPAN))
    expect(text).toContain('{"key":"http.response.status_code","value":{"intValue":"502"}}')
    expect(text).toContain('{"key":"rate_limit.hit","value":{"boolValue":false}}')
  })

  test.each([
    ["internal", 1],
    ["server", 2],
    ["client", 3],
  ] as const)("gives the kind %s its number", (kind, number) => {
    expect(JSON.stringify(document({ ...SPAN, kind }))).toContain(`"kind":${number},`)
  })

  test("leaves the status of a span without an error unset, and a span without a parent without one", () => {
    const { parentSpanId: _, ...root } = SPAN
    const text = JSON.stringify(document({ ...root, isError: false }))
    expect(text).toContain('"status":{}')
    expect(text).not.toContain("parentSpanId")
  })

  test("OT-1, OT-2: breaks no rule of OTLP's JSON for any span", () => {
    fc.assert(
      fc.property(fc.array(anySpan, { maxLength: 3 }), (spans) => {
        expect(faults(document(...spans))).toEqual([])
      }),
      { seed: 61, numRuns: 300 },
    )
  })

  test.each([{ kind: "producer" }, { startMs: Number.NaN, endMs: -1 }, { attributes: { "new.list": [1, null] } }])(
    "breaks no rule for a span of another version: %j",
    (changes) => {
      expect(faults(document({ ...SPAN, ...changes } as unknown as Span))).toEqual([])
    },
  )
})

const example = readDataSet("otel/otlp-example-trace.json") as object | undefined

describe.skipIf(example === undefined)("the official example", () => {
  test("has every member that formatOtlpTraces() writes for a span without status, flags and state, at the same depth", () => {
    const members = [...shape(document(SPAN))].filter(
      (member) => !/ (?:status|code|flags|traceState|intValue|boolValue)$/.test(member),
    )
    expect(members.filter((member) => !shape(example).has(member))).toEqual([])
  })

  test("breaks no rule of this test", () => {
    expect(faults(example)).toEqual([])
  })
})

/**
 * Goal: a receiver that knows nothing of this gateway reads all that it sends. Method: OT-5, the official protobuf messages take every document,
 * and give every member back that was in it.
 */
import * as fc from "fast-check"
import definitions from "@opentelemetry/otlp-transformer/build/src/generated/root.js"
import { describe, expect, test } from "vitest"
import { formatOtlpLogs } from "../../src/core/record/otlp-logs.ts"
import { formatOtlpTraces } from "../../src/core/record/otlp-traces.ts"
import { anyEvent } from "./event-fixtures.ts"
import { anySpan, SPAN } from "./span-fixtures.ts"

/** A message class that protobuf.js has made of the official definitions. */
interface MessageType {
  fromObject(value: object): object
  encode(message: object): { finish(): Uint8Array }
  decode(octets: Uint8Array): object
  toObject(message: object, options: object): Readonly<Record<string, unknown>>
  verify(value: object): string | null
}
interface Definitions {
  readonly opentelemetry: {
    readonly proto: {
      readonly collector: {
        readonly logs: { readonly v1: { readonly ExportLogsServiceRequest: MessageType } }
        readonly trace: { readonly v1: { readonly ExportTraceServiceRequest: MessageType } }
      }
    }
  }
}

const { opentelemetry } = definitions as unknown as Definitions
const { logs, trace } = opentelemetry.proto.collector

/** What a receiver reads of a document, over the binary form of the official messages. */
function received(type: MessageType, sent: object): unknown {
  const document = JSON.parse(JSON.stringify(sent)) as object
  const octets = type.encode(type.fromObject(document)).finish()
  return JSON.parse(JSON.stringify(type.toObject(type.decode(octets), { longs: String, bytes: String })))
}

/** Places of `sent` that `read` does not have. Ids are hex in one and base64 in the other, so only that they are there counts. */
function missing(sent: unknown, read: unknown, path = "$"): readonly string[] {
  if (Array.isArray(sent)) {
    const items = Array.isArray(read) ? (read as readonly unknown[]) : []
    return sent.flatMap((item, index) => missing(item, items[index], `${path}[${index}]`))
  }
  if (typeof sent === "object" && sent !== null) {
    const members = (typeof read === "object" && read !== null ? read : {}) as Readonly<Record<string, unknown>>
    return Object.entries(sent).flatMap(([key, value]) => missing(value, members[key], `${path}.${key}`))
  }
  if (/(?:Id)$/.test(path)) return typeof read === "string" && read !== "" ? [] : [path]
  return sent === read ? [] : [`${path}: ${JSON.stringify(sent)} became ${JSON.stringify(read)}`]
}

/** What protobuf leaves away is the default of its type, and what UTF-8 cannot write it replaces. */
function canonical(value: object): object {
  const text = JSON.stringify(value, (_, member: unknown) =>
    typeof member === "string" ? member.toWellFormed() : member,
  )
  return JSON.parse(text) as object
}

describe("OT-5: the official messages", () => {
  test("give back every member of a span", () => {
    const document = formatOtlpTraces([SPAN], "1")
    expect(missing(document, received(trace.v1.ExportTraceServiceRequest, document))).toEqual([])
  })

  test("give back every member of any spans", () => {
    fc.assert(
      fc.property(fc.array(anySpan, { maxLength: 3 }), (spans) => {
        const usual = spans.map((span) => ({
          ...span,
          name: span.name || "x",
          startMs: span.startMs + 1,
          endMs: span.endMs + 1,
        }))
        const document = canonical(formatOtlpTraces(usual, "1"))
        expect(missing(document, received(trace.v1.ExportTraceServiceRequest, document))).toEqual([])
      }),
      { seed: 62, numRuns: 200 },
    )
  })

  test("give back every member of any events", () => {
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 3 }), (events) => {
        const document = canonical(formatOtlpLogs(events, "1"))
        expect(missing(document, received(logs.v1.ExportLogsServiceRequest, document))).toEqual([])
      }),
      { seed: 63, numRuns: 200 },
    )
  })

  test("lose a member that OTLP does not have, so that this test would find one", () => {
    const document = { resourceLogs: [{ scopeLogs: [{ logRecords: [{ time_unix_nano: "1" }] }] }] }
    expect(missing(document, received(logs.v1.ExportLogsServiceRequest, document))).not.toEqual([])
  })
})

/**
 * Goal: what an operator says about records means something, or is an error that names its place. Method: one key, one mistake.
 */
import { describe, expect, test } from "vitest"
import { errorsOf, load } from "./config-fixtures.ts"

const VALID = {
  GATEWAY: { hosts: ["gw.test"] },
  ROUTES: [{ path: "/a", client_certificate: "none", respond: { status: 200 } }],
}
const URL_A = "https://a.test/v1/logs"
const withSinks = (...SINKS: readonly unknown[]): Readonly<Record<string, unknown>> => ({ ...VALID, SINKS })
const withLog = (log: unknown): Readonly<Record<string, unknown>> => ({
  ...VALID,
  ROUTES: [{ ...VALID.ROUTES[0], log }],
})

describe("SINKS", () => {
  test("take events, compressed, unless they say otherwise", () => {
    expect(load(withSinks({ kind: "otlp", url: URL_A })).sinks).toEqual([
      {
        kind: "otlp",
        url: URL_A,
        authorizationSecret: undefined,
        headerSecrets: [],
        takes: new Set(["events"]),
        isCompressed: true,
      },
    ])
  })

  test("have fields whose values are secrets", () => {
    const { sinks } = load(withSinks({ kind: "loki", url: URL_A, header_secrets: { "x-scope-orgid": "LOKI_TENANT" } }))
    expect(sinks[0]?.headerSecrets).toEqual([["x-scope-orgid", "LOKI_TENANT"]])
  })

  test.each([
    [{ takes: [] }, "takes"],
    [{ takes: ["logs"] }, "takes[0]"],
    [{ takes: ["traces"], kind: "ndjson" }, "takes"],
    [{ takes: ["traces"], kind: "loki" }, "takes"],
    [{ takes: ["events", "traces"] }, "takes"],
    [{ gzip: "yes" }, "gzip"],
    [{ header_secrets: {} }, "header_secrets"],
    [{ header_secrets: { Authorization: "A" } }, "header_secrets"],
    [{ header_secrets: { authorization: "A" } }, "header_secrets"],
    [{ header_secrets: { "x-key": "not a name" } }, "header_secrets"],
    [{ header_secrets: { "x-key": "ROUTES_2" } }, "header_secrets"],
    [{ header_secrets: { "x key": "A" } }, "header_secrets"],
    [{ url: "http://a.test/v1/logs" }, "url"],
  ])("may not say %j", (keys, place) => {
    const errors = errorsOf(withSinks({ kind: "otlp", url: URL_A, ...keys }))
    expect(errors.map((error) => error.split(" | ")[0])).toEqual([`SINKS[0].${place}`])
  })

  test("of one kind have different URLs", () => {
    const sink = { kind: "otlp", url: URL_A }
    expect(errorsOf(withSinks(sink, { ...sink, takes: ["traces"] }))).toEqual([
      `SINKS[1].url | "${URL_A}" | a url that no other otlp sink has; SINKS[0] has it`,
    ])
    expect(errorsOf(withSinks(sink, { ...sink, kind: "ndjson" }))).toEqual([])
  })
})

describe("ROUTES.log", () => {
  test.each([
    [undefined, { sampleRatio: 1, level: "info" }],
    ["all", { sampleRatio: 1, level: "info" }],
    ["refusals", { sampleRatio: 0, level: "info" }],
    [{ sample: 0.1 }, { sampleRatio: 0.1, level: "info" }],
    [{ level: "debug" }, { sampleRatio: 1, level: "debug" }],
    [
      { sample: 0, level: "debug" },
      { sampleRatio: 0, level: "debug" },
    ],
  ])("%j becomes %j", (log, expected) => {
    expect(load(log === undefined ? VALID : withLog(log)).routes[0]?.log).toEqual(expected)
  })

  test.each(["none", 0.1, { sample: 1.1 }, { sample: -0.1 }, { sample: "0.1" }, { level: "warn" }, { samples: 1 }, []])(
    "may not be %j",
    (log) => {
      expect(errorsOf(withLog(log))).toHaveLength(1)
      expect(errorsOf(withLog(log))[0]).toMatch(/^ROUTES\[0\]\.log \| /)
    },
  )
})

describe("GATEWAY.traces", () => {
  const withTraces = (traces: unknown): Readonly<Record<string, unknown>> => ({
    ...VALID,
    GATEWAY: { hosts: ["gw.test"], traces },
  })

  test("is a share of the traces, and all of them unless it says so", () => {
    expect([load(VALID).traceRatio, load(withTraces({ ratio: 0.25 })).traceRatio]).toEqual([1, 0.25])
  })

  test("is exported where a sink takes traces", () => {
    expect(load(withSinks({ kind: "otlp", url: URL_A })).hasTraces).toBe(false)
    expect(load(withSinks({ kind: "otlp", url: URL_A, takes: ["traces"] })).hasTraces).toBe(true)
  })

  test.each([{ ratio: 2 }, { ratio: "1" }, { sample: 1 }, 0.1, true])("may not be %j", (traces) => {
    expect(errorsOf(withTraces(traces))).toHaveLength(1)
  })
})

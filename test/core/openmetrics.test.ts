/**
 * Goal: what the gateway shows is OpenMetrics for the strictest reader, and no name of a label can forge a line. Method: a
 * strict reader, held against the cases of the OpenMetrics project; then everything that is shown goes through it.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { METRIC_BUCKETS_MS, METRIC_FAMILIES } from "../../src/core/metric/metric-catalogue.ts"
import { NO_METRICS, recordReport, type MetricState } from "../../src/core/metric/metric-state.ts"
import { chooseFormat, formatMetrics } from "../../src/core/metric/openmetrics.ts"
import { readDataSet } from "../conformance.ts"
import { parseOpenMetrics } from "./openmetrics-parser.ts"

interface ParserCases {
  readonly tests: readonly { readonly name: string; readonly shouldParse: boolean; readonly metrics: string }[]
}
const CASES = readDataSet("openmetrics/openmetrics-parser-tests.json") as ParserCases | undefined
const T0 = Date.UTC(2026, 10, 28, 12)
const DAY_MS = 86_400_000
const BUILD = { version: "1.2.3", configVersion: "00ff" }

function parses(text: string): boolean {
  try {
    parseOpenMetrics(text)
    return true
  } catch {
    return false
  }
}

describe.skipIf(CASES === undefined)("the reader of these tests", () => {
  test("agrees with every case of the OpenMetrics project", () => {
    const tests = CASES?.tests ?? []
    expect(tests.filter(({ metrics, shouldParse }) => parses(metrics) !== shouldParse).map(({ name }) => name)).toEqual(
      [],
    )
    expect(tests).toHaveLength(211)
  })
})

const shown = (state: MetricState, nowMs = T0) => formatMetrics(state, BUILD, nowMs, "openmetrics")
/** Returns the samples of a text as its lines have them, without the name of the family. */
function samplesOf(state: MetricState, family: string, nowMs = T0): readonly (readonly [string, number])[] {
  const found = parseOpenMetrics(shown(state, nowMs)).find(({ name }) => name === family)
  return (found?.samples ?? []).map(({ labels, name, value }) => [
    name.slice(family.length) + JSON.stringify(labels),
    value,
  ])
}
const reported = (parts: object, nowMs = T0, boot = "isolate", state = NO_METRICS) =>
  recordReport(state, { boot, seq: 1, ...parts }, nowMs)

describe("formatMetrics()", () => {
  test("shows every family with its help and unit, also before anything was counted", () => {
    const families = parseOpenMetrics(shown(NO_METRICS))
    expect(families.map(({ help, name, type, unit }) => [name, type, unit, help])).toEqual(
      Object.entries(METRIC_FAMILIES).map(([name, family]) => [
        name,
        family.type,
        "unit" in family ? family.unit : "",
        family.help,
      ]),
    )
  })

  test("shows zero for what has no labels and was never counted", () => {
    expect(samplesOf(NO_METRICS, "sekisho_events_dropped")).toEqual([["_total{}", 0]])
    expect(samplesOf(NO_METRICS, "sekisho_request_duration_seconds").at(-1)).toEqual(["_sum{}", 0])
    expect(samplesOf(NO_METRICS, "sekisho_requests")).toEqual([])
  })

  test("shows counters by their labels, in the order of these", () => {
    const counters = [
      ["sekisho_requests", ["/b", "GET", "2xx"], 2],
      ["sekisho_requests", ["/a", "GET", "2xx"], 3],
    ]
    expect(samplesOf(reported({ counters }), "sekisho_requests")).toEqual([
      ['_total{"route":"/a","method":"GET","status_class":"2xx"}', 3],
      ['_total{"route":"/b","method":"GET","status_class":"2xx"}', 2],
    ])
  })

  test("shows durations in seconds, buckets that add up and the sum", () => {
    const bounds = METRIC_BUCKETS_MS.sekisho_origin_duration_seconds
    const buckets = [1, 0, 2, ...bounds.slice(3).map(() => 0), 1]
    const histograms = [["sekisho_origin_duration_seconds", ["bank"], buckets, 61_049]]
    const samples = samplesOf(reported({ histograms }), "sekisho_origin_duration_seconds")
    expect(samples.slice(0, 4)).toEqual([
      ['_bucket{"origin":"bank","le":"0.005"}', 1],
      ['_bucket{"origin":"bank","le":"0.01"}', 1],
      ['_bucket{"origin":"bank","le":"0.025"}', 3],
      ['_bucket{"origin":"bank","le":"0.05"}', 3],
    ])
    expect(samples.slice(-4)).toEqual([
      ['_bucket{"origin":"bank","le":"60.0"}', 3],
      ['_bucket{"origin":"bank","le":"+Inf"}', 4],
      ['_count{"origin":"bank"}', 4],
      ['_sum{"origin":"bank"}', 61.049],
    ])
  })

  test("shows what isolates say of the moment added up, and forgets those that are silent", () => {
    const gauges = [["sekisho_websocket_open", [], 2]]
    const state = reported({ gauges }, T0 + 30_000, "b", reported({ gauges }, T0, "a"))
    expect(samplesOf(state, "sekisho_websocket_open", T0 + 59_999)).toEqual([["{}", 4]])
    expect(samplesOf(state, "sekisho_websocket_open", T0 + 60_000)).toEqual([["{}", 2]])
    expect(samplesOf(state, "sekisho_isolates", T0 + 60_000)).toEqual([["{}", 1]])
  })

  test("shows the days until certificates end, also of those that have ended", () => {
    const certificates = [
      ["globex", T0 - DAY_MS / 2],
      ["acme", T0 + 10.5 * DAY_MS],
    ] as const
    expect(samplesOf(reported({ certificates }), "sekisho_certificate_expiry_days")).toEqual([
      ['{"client":"acme"}', 10.5],
      ['{"client":"globex"}', -0.5],
    ])
  })

  test("names the version of the gateway and of its configuration", () => {
    expect(samplesOf(NO_METRICS, "sekisho_build")).toEqual([['_info{"version":"1.2.3","config_version":"00ff"}', 1]])
  })

  test("MET-03 a name that reads like a sample stays a label, and there is one end", () => {
    const hostile = 'a"} 1\nfake_metric 1\n# EOF'
    const state = reported({
      counters: [["sekisho_requests", [hostile, "GET", "2xx"], 1]],
      certificates: [[hostile, T0]],
    })
    const text = shown(state)
    expect(text.split("\n").filter((line) => line === "# EOF" || line.startsWith("fake_metric"))).toEqual(["# EOF"])
    expect(samplesOf(state, "sekisho_certificate_expiry_days")).toEqual([[JSON.stringify({ client: hostile }), 0]])
  })

  test("MET-03 any name comes back from a reader as it was", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string({ unit: "grapheme", maxLength: 40 }), { maxLength: 8 }), (names) => {
        const counters = names.map((name, index) => ["sekisho_guard_openings", [name], index + 1])
        const samples = parseOpenMetrics(shown(reported({ counters }))).find(
          ({ name }) => name === "sekisho_guard_openings",
        )?.samples
        expect(new Map(samples?.map(({ labels, value }) => [labels["guard"], value]))).toEqual(
          new Map(names.map((name, index) => [name, index + 1])),
        )
      }),
      { seed: 20261128, numRuns: 300 },
    )
  })

  test("shows the older format to readers that ask for it: suffixes in the metadata, no unit, no end", () => {
    const text = formatMetrics(NO_METRICS, BUILD, T0, "text")
    expect(text).toContain("# TYPE sekisho_events_dropped_total counter\nsekisho_events_dropped_total 0\n")
    expect(text).toContain("# TYPE sekisho_build_info gauge\n")
    expect(text).not.toMatch(/# (?:UNIT|EOF)/)
  })
})

test.each([
  [null, "openmetrics"],
  ["*/*", "openmetrics"],
  ["text/plain", "text"],
  [
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "openmetrics",
  ],
])("chooseFormat(%j) is %s", (accept, format) => {
  expect(chooseFormat(accept)).toBe(format)
})

/**
 * Goal: what the edge counts is shown as it says it, from nobody else's word, and no error of a handshake makes a series of its
 * own. Method: reports and errors as they come and as nobody should send them, read back by a strict reader.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { createEdgeTally } from "../../edge/metrics.ts"
import { HANDSHAKE_FAILURES, readEdgeReport, reasonOfHandshakeError } from "../../src/core/metric/edge-metrics.ts"
import { METRIC_FAMILIES } from "../../src/core/metric/metric-catalogue.ts"
import { NO_METRICS, recordReport } from "../../src/core/metric/metric-state.ts"
import { formatMetrics } from "../../src/core/metric/openmetrics.ts"
import { parseOpenMetrics } from "./openmetrics-parser.ts"

const BUILD = { version: "1", configVersion: "2" }
const EDGE_FAMILIES: ReadonlySet<string> = new Set(
  Object.entries(METRIC_FAMILIES)
    .filter(([, family]) => "source" in family)
    .map(([name]) => name),
)

/** Returns the samples of the edge's families as a scraper reads them. */
function shown(edge: unknown, state = NO_METRICS): Readonly<Record<string, number>> {
  const text = formatMetrics(state, { ...BUILD, edge: readEdgeReport(edge) }, 0, "openmetrics")
  return Object.fromEntries(
    parseOpenMetrics(text)
      .filter(({ name }) => EDGE_FAMILIES.has(name))
      .flatMap(({ samples }) => samples)
      .map(({ labels, name, value }) => [[name, ...Object.values(labels)].join(" "), value]),
  )
}

describe("createEdgeTally()", () => {
  test("counts connections, and those that are open", () => {
    const tally = createEdgeTally()
    const close = tally.open()
    tally.open()
    close()
    tally.drop()
    expect(shown(tally.report())).toMatchObject({
      sekisho_edge_connections_total: 2,
      sekisho_edge_connections_open: 1,
      sekisho_edge_connections_dropped_total: 1,
    })
  })

  test("shows every reason before its first failure", () => {
    const tally = createEdgeTally()
    tally.failHandshake("ERR_TLS_HANDSHAKE_TIMEOUT")
    const expected = HANDSHAKE_FAILURES.map((reason) => [
      `sekisho_edge_handshake_failures_total ${reason}`,
      reason === "timeout" ? 1 : 0,
    ])
    expect(shown(tally.report())).toMatchObject(Object.fromEntries(expected))
  })

  test("counts refusals by their code", () => {
    const tally = createEdgeTally()
    tally.refuse("malformed-request")
    tally.refuse("malformed-request")
    expect(shown(tally.report())["sekisho_edge_refusals_total malformed-request"]).toBe(2)
  })
})

describe("reasonOfHandshakeError()", () => {
  test.each([
    ["ERR_SSL_HTTP_REQUEST", "not_tls"],
    ["ERR_SSL_UNSUPPORTED_PROTOCOL", "version"],
    ["ERR_SSL_TLSV1_ALERT_UNKNOWN_CA", "client_alert"],
    ["ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE", "client_alert"],
    ["ERR_SSL_UNEXPECTED_MESSAGE", "other"],
    ["constructor", "other"],
  ])("%s is %s", (error, reason) => {
    expect(reasonOfHandshakeError(error)).toBe(reason)
  })

  test("MET-04 any error is one of the list", () => {
    fc.assert(
      fc.property(fc.string(), (error) => HANDSHAKE_FAILURES.includes(reasonOfHandshakeError(error))),
      { seed: 20261129, numRuns: 500 },
    )
  })
})

describe("readEdgeReport()", () => {
  test.each([undefined, null, "x", 7, [], {}, { series: "x" }])("%j is no report", (value) => {
    expect(readEdgeReport(value)).toBeUndefined()
  })

  test("MET-04 leaves away what is no series of the edge's", () => {
    const series = [
      ["sekisho_requests", ["/a", "GET", "2xx"], 1],
      ["sekisho_origin_unhealthy", ["bank"], 1],
      ["sekisho_edge_connections", ["more"], 1],
      ["sekisho_edge_connections", [], -1],
      ["sekisho_edge_nothing", [], 1],
      ["__proto__", [], 1],
      7,
    ]
    expect(readEdgeReport({ series })).toEqual({ series: [] })
  })

  test("MET-04 takes as many series of a family as it may have, and each once", () => {
    const codes = Array.from({ length: 100 }, (_, index) => ["sekisho_edge_refusals", [`code-${index}`], 1])
    const twice = [
      ["sekisho_edge_connections", [], 1],
      ["sekisho_edge_connections", [], 2],
    ]
    const { series } = readEdgeReport({ series: [...codes, ...codes, ...twice] }) ?? { series: [] }
    expect(series.length).toBe(METRIC_FAMILIES.sekisho_edge_refusals.seriesMax + 1)
  })
})

describe("formatMetrics()", () => {
  test("shows no sample of the edge's where there is none", () => {
    expect(shown(undefined)).toEqual({})
  })

  test("MET-04 shows nothing that an isolate says in the edge's name", () => {
    const counters = [["sekisho_edge_connections", [], 7]]
    const gauges = [["sekisho_edge_connections_open", [], 7]]
    const state = recordReport(NO_METRICS, { boot: "isolate", seq: 1, counters, gauges }, 0)
    expect(shown(undefined, state)).toEqual({})
    expect(shown(createEdgeTally().report(), state)).toMatchObject({
      sekisho_edge_connections_total: 0,
      sekisho_edge_connections_open: 0,
    })
  })

  test("MET-03 a label of the edge's that reads like a sample stays a label", () => {
    const hostile = 'a"} 1\nfake_metric 1'
    expect(shown({ series: [["sekisho_edge_refusals", [hostile], 1]] })).toEqual({
      [`sekisho_edge_refusals_total ${hostile}`]: 1,
    })
  })
})

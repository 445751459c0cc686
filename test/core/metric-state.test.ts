/**
 * Goal: what isolates count is added up exactly once, in whatever order it arrives, and stays bounded and readable. Method:
 * single cases, and random deliveries of reports that are doubled, overtaken and mixed.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import {
  METRIC_CERTIFICATE_SEEN_MS,
  METRIC_CLIENTS_MAX,
  METRIC_LABEL_LENGTH_MAX,
  METRIC_REPORTER_MEMORY_MS,
  METRIC_REPORTERS_MAX,
  METRIC_SERIES_MEMORY_MS,
} from "../../src/core/bounds.ts"
import { METRIC_BUCKETS_MS, METRIC_FAMILIES } from "../../src/core/metric/metric-catalogue.ts"
import type { CountedSeries, MetricReport } from "../../src/core/metric/metric-report.ts"
import {
  NO_METRICS,
  recordCounts,
  recordReport,
  restoreMetrics,
  storeMetrics,
  type MetricState,
} from "../../src/core/metric/metric-state.ts"

const T0 = Date.UTC(2026, 10, 28, 12)
const DAY_MS = 86_400_000

function report(seq: number, counters: readonly CountedSeries[], boot = "isolate"): MetricReport {
  return { boot, seq, counters, histograms: [], gauges: [], certificates: [] }
}
/** Returns the counts of a state by family and labels. */
function countsOf({ families }: MetricState): Readonly<Record<string, readonly number[]>> {
  return Object.fromEntries(
    [...families]
      .flatMap(([name, series]) =>
        [...series].map(([key, { counts, sumMs }]) => [`${name} ${key}`, [...counts, sumMs]]),
      )
      .toSorted(([a = ""], [b = ""]) => (a < b ? -1 : 1)),
  ) as Record<string, readonly number[]>
}
const codes = (name: string, count: number): CountedSeries => ["sekisho_refusals", [name], count]
const reread = (state: MetricState): MetricState => restoreMetrics(storeMetrics(state))

describe("recordReport()", () => {
  test("adds what isolates have counted", () => {
    const first = recordReport(NO_METRICS, report(1, [codes("a", 2)], "x"), T0)
    const second = recordReport(first, report(1, [codes("a", 3), codes("b", 1)], "y"), T0)
    expect(countsOf(second)).toEqual({ 'sekisho_refusals ["a"]': [5, 0], 'sekisho_refusals ["b"]': [1, 0] })
  })

  test("counts a report once that comes twice, and one that was overtaken not at all", () => {
    const first = recordReport(NO_METRICS, report(2, [codes("a", 2)]), T0)
    expect(recordReport(first, report(2, [codes("a", 2)]), T0 + 1)).toBe(first)
    expect(recordReport(first, report(1, [codes("a", 9)]), T0 + 1)).toBe(first)
  })

  test.each([
    undefined,
    null,
    7,
    [],
    {},
    { boot: "", seq: 1 },
    { boot: "b", seq: 0 },
    { boot: "b".repeat(65), seq: 1 },
  ])("takes %j for no report", (value) => {
    expect(recordReport(NO_METRICS, value, T0)).toBe(NO_METRICS)
  })

  test.each<readonly [string, unknown]>([
    ["of a family that is not known", ["sekisho_later", [], 1]],
    ["of no family", ["constructor", [], 1]],
    ["of another type", ["sekisho_websocket_open", [], 1]],
    ["with too few labels", ["sekisho_requests", ["/a"], 1]],
    ["with a label that is no text", ["sekisho_refusals", [7], 1]],
    ["that shrinks", codes("a", -1)],
    ["that is no number", ["sekisho_refusals", ["a"], "1"]],
    ["that is nothing", null],
  ])("leaves away a count %s, and takes the rest", (_, item) => {
    const state = recordReport(NO_METRICS, { ...report(1, []), counters: [item, codes("b", 1)] }, T0)
    expect(countsOf(state)).toEqual({ 'sekisho_refusals ["b"]': [1, 0] })
  })

  test("leaves away durations in buckets of another version", () => {
    const histograms = [["sekisho_request_duration_seconds", [], [1, 2], 3]]
    expect(countsOf(recordReport(NO_METRICS, { ...report(1, []), histograms }, T0))).toEqual({})
  })

  test("cuts a label that is too long", () => {
    const state = recordReport(NO_METRICS, report(1, [codes("x".repeat(1_000), 1)]), T0)
    expect(Object.keys(countsOf(state))).toEqual([`sekisho_refusals ["${"x".repeat(METRIC_LABEL_LENGTH_MAX)}"]`])
  })

  test("counts what a full family has no room for in one series more", () => {
    const { seriesMax } = METRIC_FAMILIES.sekisho_refusals
    const many = Array.from({ length: seriesMax + 10 }, (_, index) => codes(`c${index}`, 1))
    const counts = countsOf(recordReport(NO_METRICS, report(1, many), T0))
    expect([Object.keys(counts).length, counts['sekisho_refusals ["_other"]']]).toEqual([seriesMax + 1, [10, 0]])
  })

  test("gives the room of a series that has rested for a week to another one", () => {
    const { seriesMax } = METRIC_FAMILIES.sekisho_refusals
    const many = Array.from({ length: seriesMax }, (_, index) => codes(`c${index}`, 1))
    const full = recordReport(NO_METRICS, report(1, many), T0)
    const busy = recordReport(full, report(2, many.slice(1)), T0 + METRIC_SERIES_MEMORY_MS - 1)
    const early = recordReport(busy, report(3, [codes("new", 1)]), T0 + METRIC_SERIES_MEMORY_MS - 1)
    const late = recordReport(busy, report(3, [codes("new", 1), codes("newer", 1)]), T0 + METRIC_SERIES_MEMORY_MS)
    expect(countsOf(early)['sekisho_refusals ["new"]']).toBeUndefined()
    expect(countsOf(late)).toMatchObject({ 'sekisho_refusals ["new"]': [1, 0], 'sekisho_refusals ["_other"]': [1, 0] })
    expect(countsOf(late)['sekisho_refusals ["c0"]']).toBeUndefined()
  })

  test("stops at the largest number that can be read back", () => {
    const max = Number.MAX_SAFE_INTEGER
    const first = recordReport(NO_METRICS, report(1, [codes("a", max)]), T0)
    expect(countsOf(reread(recordReport(first, report(2, [codes("a", 5)]), T0)))).toEqual({
      'sekisho_refusals ["a"]': [max, 0],
    })
  })

  test("forgets isolates that are silent, and remembers the last of very many", () => {
    let state = NO_METRICS
    for (let index = 0; index < METRIC_REPORTERS_MAX + 5; index++)
      state = recordReport(state, report(1, [], `b${index}`), T0)
    expect([state.reporters.length, state.reporters[0]?.boot]).toEqual([METRIC_REPORTERS_MAX, "b5"])
    expect(recordReport(state, report(1, [], "late"), T0 + METRIC_REPORTER_MEMORY_MS).reporters).toHaveLength(1)
  })
})

describe("certificates", () => {
  const used = (state: MetricState, seq: number, certificates: readonly (readonly [string, number])[], nowMs: number) =>
    recordReport(state, { ...report(seq, []), certificates }, nowMs)
  const ends = ({ certificates }: MetricState) => certificates.map(({ clientId, endsMs }) => [clientId, endsMs])

  test("the one that ends first counts for a client, as long as it is used", () => {
    const both = used(used(NO_METRICS, 1, [["acme", T0 + DAY_MS]], T0), 2, [["acme", T0 + 9 * DAY_MS]], T0 + 1)
    expect(ends(both)).toEqual([["acme", T0 + DAY_MS]])
    expect(ends(used(both, 3, [["acme", T0 + 9 * DAY_MS]], T0 + METRIC_CERTIFICATE_SEEN_MS - 1))).toEqual([
      ["acme", T0 + DAY_MS],
    ])
    expect(ends(used(both, 3, [["acme", T0 + 9 * DAY_MS]], T0 + METRIC_CERTIFICATE_SEEN_MS))).toEqual([
      ["acme", T0 + 9 * DAY_MS],
    ])
  })

  test("of too many clients those are kept whose certificates end first", () => {
    const many = Array.from({ length: METRIC_CLIENTS_MAX + 2 }, (_, index) => [`c${index}`, T0 - index] as const)
    const kept = used(NO_METRICS, 1, many, T0).certificates
    expect([kept.length, kept[0]?.clientId, kept.at(-1)?.clientId]).toEqual([
      METRIC_CLIENTS_MAX,
      `c${METRIC_CLIENTS_MAX + 1}`,
      "c2",
    ])
  })

  test("one that ended a week ago and is not used is gone", () => {
    const state = used(NO_METRICS, 1, [["gone", T0]], T0)
    expect(ends(used(state, 2, [["acme", T0 + 99 * DAY_MS]], T0 + METRIC_SERIES_MEMORY_MS))).toEqual([
      ["acme", T0 + 99 * DAY_MS],
    ])
  })
})

describe("restoreMetrics()", () => {
  test("gives back what was stored", () => {
    const buckets = [...METRIC_BUCKETS_MS.sekisho_origin_duration_seconds.map(() => 1), 4]
    const state = recordReport(
      NO_METRICS,
      {
        ...report(3, [codes("a", 2)]),
        histograms: [["sekisho_origin_duration_seconds", ["bank"], buckets, 77]],
        gauges: [["sekisho_origin_unhealthy", ["bank"], 1]],
        certificates: [["acme", T0]],
      },
      T0,
    )
    expect(reread(state)).toEqual(state)
  })

  test.each([
    undefined,
    7,
    "",
    "{",
    "{}",
    '{"version":2,"families":[],"certificates":[],"reporters":[]}',
    '{"version":1,"families":{},"certificates":[],"reporters":[]}',
    '{"version":1,"families":[["sekisho_refusals",[[["a"],[-1],0,0]]]],"certificates":[],"reporters":[]}',
    '{"version":1,"families":[],"certificates":[{}],"reporters":[]}',
    '{"version":1,"families":[],"certificates":[],"reporters":[{"boot":"b","seq":1,"seenMs":1,"gauges":[7]}]}',
  ])("begins at nothing when %j is stored", (stored) => {
    expect(restoreMetrics(stored)).toEqual(NO_METRICS)
  })

  test("leaves away families that are no more", () => {
    const stored =
      '{"version":1,"families":[["sekisho_old",[[[],[5],0,1]]],["sekisho_refusals",[[["a"],[1],0,1]]]],"certificates":[],"reporters":[]}'
    expect(countsOf(restoreMetrics(stored))).toEqual({ 'sekisho_refusals ["a"]': [1, 0] })
  })

  test("reads whatever is stored", () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (stored) => void restoreMetrics(stored)),
      { seed: 20261128, numRuns: 500 },
    )
  })
})

const counted = fc.tuple(
  fc.constantFrom("sekisho_refusals", "sekisho_guard_openings"),
  fc.constantFrom("a", "b", "c").map((label) => [label] as const),
  fc.nat(1_000),
)
const timed = fc.tuple(
  fc.constant("sekisho_request_duration_seconds"),
  fc.constant([] as const),
  fc.array(fc.nat(9), {
    minLength: METRIC_BUCKETS_MS.sekisho_request_duration_seconds.length + 1,
    maxLength: METRIC_BUCKETS_MS.sekisho_request_duration_seconds.length + 1,
  }),
  fc.nat(100_000),
)
const delivery = fc.record({
  counters: fc.array(counted, { maxLength: 5 }),
  histograms: fc.array(timed, { maxLength: 2 }),
})

describe("whatever is delivered", () => {
  test("the order in which isolates report changes no sum", () => {
    fc.assert(
      fc.property(
        fc
          .array(delivery, { maxLength: 8 })
          .chain((reports) =>
            fc.tuple(
              fc.constant(reports),
              fc.shuffledSubarray([...reports.keys()], { minLength: reports.length, maxLength: reports.length }),
            ),
          ),
        ([reports, order]) => {
          const play = (indices: readonly number[]): MetricState =>
            indices.reduce<MetricState>(
              (state, index) => recordReport(state, { ...report(1, [], `b${index}`), ...reports[index] }, T0),
              NO_METRICS,
            )
          expect(countsOf(play(order))).toEqual(countsOf(play([...reports.keys()])))
        },
      ),
      { seed: 20261128, numRuns: 200 },
    )
  })

  test("two reports at once or one after the other are the same", () => {
    fc.assert(
      fc.property(delivery, delivery, (a, b) => {
        const joined = { counters: [...a.counters, ...b.counters], histograms: [...a.histograms, ...b.histograms] }
        expect(countsOf(recordCounts(NO_METRICS, joined, T0))).toEqual(
          countsOf(recordCounts(recordCounts(NO_METRICS, a, T0), b, T0)),
        )
      }),
      { seed: 20261128, numRuns: 200 },
    )
  })

  test("counters only grow, repeated reports add nothing, and nothing gets lost", () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ boot: fc.constantFrom("x", "y"), delivery, again: fc.boolean() }), { maxLength: 20 }),
        (steps) => {
          let state = NO_METRICS
          let total = 0
          const seqs = new Map<string, number>()
          for (const { again, boot, delivery: counts } of steps) {
            const seq = (seqs.get(boot) ?? 0) + 1
            seqs.set(boot, seq)
            const told = { ...report(seq, [], boot), ...counts }
            const before = countsOf(state)
            state = reread(recordReport(state, told, T0))
            if (again) state = recordReport(state, told, T0)
            const after = countsOf(state)
            for (const [series, values] of Object.entries(before))
              for (const [index, value] of values.entries())
                expect(after[series]?.[index]).toBeGreaterThanOrEqual(value)
            total += counts.counters.reduce((sum, [, , count]) => sum + count, 0)
          }
          const counters = Object.entries(countsOf(state)).filter(([series]) => !series.includes("duration"))
          expect(counters.reduce((sum, [, [count = 0]]) => sum + count, 0)).toBe(total)
        },
      ),
      { seed: 20261128, numRuns: 200 },
    )
  })

  test("names without end make no more series than the family has room for, and every count is somewhere", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.string(), fc.nat(9)), { minLength: 100, maxLength: 400 }), (items) => {
        let state = NO_METRICS
        for (const [index, [name, count]] of items.entries())
          state = recordReport(state, report(index + 1, [codes(name, count)]), T0)
        const counts = Object.values(countsOf(state)).map(([count = 0]) => count)
        expect(counts.length).toBeLessThanOrEqual(METRIC_FAMILIES.sekisho_refusals.seriesMax + 1)
        expect(counts.reduce((a, b) => a + b, 0)).toBe(items.reduce((sum, [, count]) => sum + count, 0))
      }),
      { seed: 20261128, numRuns: 20 },
    )
  })
})

/**
 * Goal: every refusal that an isolate reports counts once, and what is stored stays bounded and readable. Method: single
 * cases, and random deliveries of reports that are lost, doubled and overtaken.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import {
  STOPPED_DAYS_MAX,
  STOPPED_REASONS_MAX,
  STOPPED_REPEAT_MS_MAX,
  STOPPED_REPORTER_MEMORY_MS,
  STOPPED_REPORTERS_MAX,
} from "../../src/core/bounds.ts"
import { NOTHING_STOPPED, recordStopped, restoreStopped } from "../../src/core/gate/stopped.ts"
import type { StoppedReport, StoppedState } from "../../src/core/gate/stopped.ts"

const T0 = Date.UTC(2026, 10, 28, 23, 59, 59)
const DAY_MS = 86_400_000

const report = (seq: number, counts: StoppedReport["counts"], boot = "isolate"): StoppedReport => ({
  boot,
  seq,
  counts,
})
const reread = (state: StoppedState): StoppedState => restoreStopped(JSON.stringify(state))

describe("recordStopped()", () => {
  test("recordStopped() counts by reason, with the first and the last time", () => {
    const first = recordStopped(NOTHING_STOPPED, report(1, { "rate-limited": 2 }), T0)
    const { total } = recordStopped(first, report(2, { "rate-limited": 3, "client-blocked": 1 }), T0 + 500)
    expect(total).toEqual({
      "rate-limited": { count: 5, firstMs: T0, lastMs: T0 + 500 },
      "client-blocked": { count: 1, firstMs: T0 + 500, lastMs: T0 + 500 },
    })
  })

  test("recordStopped() counts by day in UTC", () => {
    const first = recordStopped(NOTHING_STOPPED, report(1, { a: 1 }), T0)
    const { days } = recordStopped(first, report(2, { a: 4 }), T0 + 1_000)
    expect(days).toEqual([
      { day: "2026-11-28", counts: { a: 1 } },
      { day: "2026-11-29", counts: { a: 4 } },
    ])
  })

  test("recordStopped() keeps days in order when the clock is put back over midnight", () => {
    const first = recordStopped(NOTHING_STOPPED, report(1, { a: 1 }), T0 + 1_000)
    const { days } = recordStopped(first, report(2, { a: 1 }), T0)
    expect(days.map(({ day }) => day)).toEqual(["2026-11-28", "2026-11-29"])
  })

  test("recordStopped() keeps the last days", () => {
    let state = NOTHING_STOPPED
    for (let day = 0; day <= STOPPED_DAYS_MAX; day++)
      state = recordStopped(state, report(day + 1, { a: 1 }), T0 + day * DAY_MS)
    expect([state.days.length, state.days[0]?.day, state.total["a"]?.count]).toEqual([
      STOPPED_DAYS_MAX,
      "2026-11-29",
      STOPPED_DAYS_MAX + 1,
    ])
  })

  test("recordStopped() changes nothing for a report that was counted", () => {
    const state = recordStopped(NOTHING_STOPPED, report(2, { a: 1 }), T0)
    expect([
      recordStopped(state, report(2, { a: 1 }), T0 + 9),
      recordStopped(state, report(1, { a: 1 }), T0 + 9),
    ]).toEqual([state, state])
  })

  test("recordStopped() remembers a report for longer than one is repeated, whoever else reports", () => {
    const state = recordStopped(NOTHING_STOPPED, report(1, { a: 1 }), T0)
    const later = recordStopped(state, report(1, { a: 1 }, "other"), T0 + STOPPED_REPEAT_MS_MAX + 10_000)
    expect(recordStopped(later, report(1, { a: 1 }), T0 + STOPPED_REPEAT_MS_MAX + 10_000)).toBe(later)
  })

  test("recordStopped() forgets isolates that have not reported for long", () => {
    const state = recordStopped(NOTHING_STOPPED, report(1, { a: 1 }), T0)
    const { reporters } = recordStopped(state, report(1, { a: 1 }, "other"), T0 + STOPPED_REPORTER_MEMORY_MS)
    expect(reporters.map(({ boot }) => boot)).toEqual(["other"])
  })

  test("recordStopped() remembers a bounded number of isolates", () => {
    let state = NOTHING_STOPPED
    for (let i = 0; i <= STOPPED_REPORTERS_MAX; i++) state = recordStopped(state, report(1, { a: 1 }, `boot-${i}`), T0)
    expect(state.reporters.length).toBe(STOPPED_REPORTERS_MAX)
  })

  test("recordStopped() stays readable whatever and however much is reported", () => {
    const names = (from: number) =>
      Array.from({ length: STOPPED_REASONS_MAX }, (_, i) => [`reason-${from + i}`, 1] as const)
    const reports = [names(0), names(50), [["reason-0", Number.MAX_SAFE_INTEGER] as const]]
    let state = NOTHING_STOPPED
    for (const [seq, counts] of reports.entries())
      state = recordStopped(state, report(seq + 1, Object.fromEntries(counts)), T0)
    expect([reread(state), Object.keys(state.total).length, state.total["reason-0"]?.count]).toEqual([
      state,
      STOPPED_REASONS_MAX,
      Number.MAX_SAFE_INTEGER,
    ])
  })

  test.each(["constructor", "__proto__"])("recordStopped() counts a reason called %s like any other", (reason) => {
    const counts = JSON.parse(`{"${reason}":2}`) as Record<string, number>
    const first = reread(recordStopped(NOTHING_STOPPED, report(1, counts), T0))
    const { total } = recordStopped(first, report(2, counts), T0)
    expect(Object.entries(total)).toEqual([[reason, { count: 4, firstMs: T0, lastMs: T0 }]])
  })

  test.each<unknown>([
    null,
    report(0, { a: 1 }),
    report(1.5, { a: 1 }),
    report(1, { a: -1 }),
    report(1, { a: 1 }, ""),
    report(1, { a: 1 }, "x".repeat(65)),
    { boot: "isolate", seq: 1, counts: null },
    { boot: "isolate", seq: 1, counts: [1] },
    report(1, Object.fromEntries(Array.from({ length: STOPPED_REASONS_MAX + 1 }, (_, i) => [`${i}`, 1]))),
  ])("recordStopped() ignores what is no report: %j", (value) => {
    expect(recordStopped(NOTHING_STOPPED, value as StoppedReport, T0)).toBe(NOTHING_STOPPED)
  })

  test.each([Number.NaN, Infinity, -1, 1e18])("recordStopped() does not throw over a clock that shows %d", (nowMs) => {
    expect(recordStopped(NOTHING_STOPPED, report(1, { a: 1 }), nowMs).days.length).toBe(1)
  })

  test("recordStopped() counts every report once, however often, late and out of turn it comes", () => {
    const deliveries = fc.array(
      fc.record({
        boot: fc.constantFrom("a", "b", "c"),
        count: fc.integer({ min: 1, max: 9 }),
        isExecuted: fc.boolean(),
        isHeard: fc.boolean(),
        isEchoed: fc.boolean(),
        gapMs: fc.nat(20_000),
      }),
      { minLength: 1, maxLength: 60 },
    )
    fc.assert(
      fc.property(deliveries, (history) => {
        let state = NOTHING_STOPPED
        let nowMs = T0
        const isolates = new Map<string, { seq: number; counted: number; unheard: StoppedReport | undefined }>()
        const echoes: StoppedReport[] = []
        const executed = new Map<string, number>()
        const deliver = (told: StoppedReport) => {
          state = reread(recordStopped(state, told, nowMs))
          executed.set(`${told.boot}/${told.seq}`, told.counts["a"] ?? 0)
        }
        for (const { boot, count, isExecuted, isHeard, isEchoed, gapMs } of history) {
          nowMs += gapMs
          const isolate = isolates.get(boot) ?? { seq: 0, counted: 0, unheard: undefined }
          isolates.set(boot, isolate)
          isolate.counted += count
          if (isolate.unheard === undefined) {
            isolate.unheard = report(++isolate.seq, { a: isolate.counted }, boot)
            isolate.counted = 0
          }
          const told = isolate.unheard
          if (isExecuted) deliver(told)
          if (isEchoed) echoes.push(told)
          if (isExecuted && isHeard) isolate.unheard = undefined
          // A copy of something older arrives only now.
          const echo = echoes[count]
          const known = isolates.get(echo?.boot ?? "")
          if (echo !== undefined && (known?.unheard === echo || executed.has(`${echo.boot}/${echo.seq}`))) deliver(echo)
        }
        const sum = [...executed.values()].reduce((total, count) => total + count, 0)
        expect(state.total["a"]?.count ?? 0).toBe(sum)
        expect(state.days.reduce((total, { counts }) => total + (counts["a"] ?? 0), 0)).toBe(sum)
      }),
      { seed: 61, numRuns: 400 },
    )
  })
})

describe("restoreStopped()", () => {
  test("restoreStopped() reads back what was stored", () => {
    const state = recordStopped(NOTHING_STOPPED, report(1, { a: 1, b: 2 }), T0)
    expect(reread(state)).toEqual(state)
  })

  test.each<unknown>([
    undefined,
    null,
    7,
    "",
    "{",
    "null",
    "[]",
    '{"version":2,"total":{},"days":[],"reporters":[]}',
    '{"version":1,"days":[],"reporters":[]}',
    '{"version":1,"total":[],"days":[],"reporters":[]}',
    '{"version":1,"total":{"a":{"count":1}},"days":[],"reporters":[]}',
    '{"version":1,"total":{},"days":[{"day":"2026-11-28"}],"reporters":[]}',
    '{"version":1,"total":{},"days":[{"day":"2026-11-28","counts":"abc"}],"reporters":[]}',
    '{"version":1,"total":{},"days":[{"day":"2026-11-28","counts":{"a":-1}}],"reporters":[]}',
    '{"version":1,"total":{},"days":[],"reporters":[{"boot":"a","seq":1}]}',
  ])("restoreStopped() takes for nothing stopped what cannot be read: %j", (stored) => {
    expect(restoreStopped(stored)).toBe(NOTHING_STOPPED)
  })
})

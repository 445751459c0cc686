/**
 * Goal: whoever has to renew is told in time and once a day, by a request or without any, and what is stored stays small.
 * Method: one client's days one after the other; random uses, reviews and clocks against the two promises; damaged rows.
 */
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { CERTIFICATES_REMEMBERED_MAX, RULE_ENDS_REMEMBERED_MAX } from "../../src/core/bounds.ts"
import {
  EMPTY_WATCH,
  noteCertificate,
  restoreWatch,
  reviewCertificates,
  reviewSlotOf,
  type CertificateNote,
  type CertificateWatch,
  type RuleEnd,
} from "../../src/core/certificate/certificate-watch.ts"
import type { CertificateRecord } from "../../src/core/record/event.ts"

const DAY_MS = 86_400_000
const WARNING_MS = 30 * DAY_MS
const NOW_MS = Date.UTC(2026, 10, 28, 12)

const ending = (days: number, fingerprint = "a"): CertificateNote => ({
  fingerprint,
  notAfterMs: NOW_MS + days * DAY_MS,
  retiresAtMs: null,
})

/** One client's object, day by day. */
function createObject() {
  let watch: CertificateWatch = EMPTY_WATCH
  const keep = (step: { watch: CertificateWatch; records: readonly CertificateRecord[] }) => {
    watch = restoreWatch(JSON.stringify(step.watch))
    return step.records
  }
  return {
    get watch() {
      return watch
    },
    use: (note: CertificateNote, day = 0) =>
      keep(noteCertificate(watch, "acme", note, WARNING_MS, NOW_MS + day * DAY_MS)),
    review: (day = 0, rules: readonly RuleEnd[] = []) =>
      keep(reviewCertificates(watch, "acme", rules, WARNING_MS, NOW_MS + day * DAY_MS)),
  }
}

describe("noteCertificate()", () => {
  test("says which certificate of whom ends when, and who used it last", () => {
    expect(createObject().use(ending(20))).toEqual([
      {
        timestamp: "2026-11-28T12:00:00.000Z",
        level: "warn",
        event: "certificate.expiring",
        client_id: "acme",
        ends: "validity",
        ends_at: "2026-12-18T12:00:00.000Z",
        days_left: 20,
        certificate_fingerprint: "a",
        last_used: "2026-11-28",
        found_by: "use",
      },
    ])
  })

  test.each([
    [31, []],
    [30, ["warn"]],
    [7.1, ["warn"]],
    [7, ["error"]],
    [-1, ["error"]],
  ])("warns of an end in %d days: %j", (days, expected) => {
    expect(
      createObject()
        .use(ending(days))
        .map(({ level }) => level),
    ).toEqual(expected)
  })

  test("takes the end of the overlap window where that is earlier", () => {
    const note = { ...ending(80), retiresAtMs: NOW_MS + 3 * DAY_MS }
    expect(createObject().use(note)).toMatchObject([{ ends: "overlap", days_left: 3, level: "error" }])
  })

  test("warns once a day of each certificate", () => {
    const object = createObject()
    const warned = [0, 0.1, 0.4, 1, 1.2].map((day) => object.use(ending(20), day).length)
    expect([...warned, object.use(ending(20, "b"), 1.3).length]).toEqual([1, 0, 0, 1, 0, 1])
  })

  test("changes nothing when the same certificate is used again on the same day", () => {
    const { watch } = noteCertificate(EMPTY_WATCH, "acme", ending(80), WARNING_MS, NOW_MS)
    expect(noteCertificate(watch, "acme", ending(80), WARNING_MS, NOW_MS + 1).watch).toBe(watch)
  })

  test("remembers the last ones used", () => {
    const object = createObject()
    for (let i = 0; i < CERTIFICATES_REMEMBERED_MAX + 3; i++) object.use(ending(80, `c${i}`))
    const names = object.watch.seen.map(({ fingerprint }) => fingerprint)
    expect([names.length, names[0], names.at(-1)]).toEqual([16, "c18", "c3"])
  })
})

describe("reviewCertificates()", () => {
  test("warns of a certificate that nobody uses any more, day after day", () => {
    const object = createObject()
    object.use(ending(40))
    const warned = [5, 9, 10, 10.4, 11, 40.5].map((day) => object.review(day).map(({ days_left: left }) => left))
    expect(warned).toEqual([[], [], [30], [], [29], [-1]])
  })

  test("tells nothing that a use has told on that day, nor the other way round", () => {
    const object = createObject()
    const told = [object.use(ending(20)), object.review(0.1), object.review(1), object.use(ending(20), 1.1)]
    expect(told.map((records) => records.map(({ found_by: by }) => by))).toEqual([["use"], [], ["review"], []])
  })

  test("stops a month after the end", () => {
    const object = createObject()
    object.use(ending(1))
    expect([object.review(31).length, object.review(32).length, object.watch.seen.length]).toEqual([1, 0, 0])
  })

  test("leaves a certificate alone once the client has used its successor for a week", () => {
    const object = createObject()
    object.use(ending(20))
    const warned = [1, 6, 7, 8].map((day) => {
      object.use(ending(90, "b"), day)
      return object.review(day).length
    })
    expect(warned).toEqual([1, 1, 0, 0])
  })

  test("warns of a window that ends without anybody in it, once a day", () => {
    const object = createObject()
    const rules = [{ rule: "CLIENTS[0].certificates[1]", retireAtMs: NOW_MS + 5 * DAY_MS }]
    const told = [0, 0.3, 1].map((day) => object.review(day, rules))
    expect(told.map(({ length }) => length)).toEqual([1, 0, 1])
    expect(told[0]).toMatchObject([
      { ends: "overlap", rule: "CLIENTS[0].certificates[1]", days_left: 5, level: "error" },
    ])
    expect(told[0]?.[0]).not.toHaveProperty("certificate_fingerprint")
  })

  test("names the certificate instead of the rule when one was used under it", () => {
    const object = createObject()
    const retiresAtMs = NOW_MS + 20 * DAY_MS
    object.use({ ...ending(80), retiresAtMs })
    const told = object.review(1, [{ rule: "CLIENTS[0].certificates[1]", retireAtMs: retiresAtMs }])
    expect(told).toMatchObject([{ certificate_fingerprint: "a", ends: "overlap" }])
  })

  test.each([-1, 0, 31])("tells nothing of a window that ends in %d days", (days) => {
    expect(createObject().review(0, [{ rule: "x", retireAtMs: NOW_MS + days * DAY_MS }])).toEqual([])
  })

  test("keeps its memory of windows small", () => {
    const object = createObject()
    const rules = Array.from({ length: 100 }, (_, i) => ({ rule: `r${i}`, retireAtMs: NOW_MS + i + 1 }))
    expect([object.review(0, rules).length, object.watch.rules.length]).toEqual([
      RULE_ENDS_REMEMBERED_MAX,
      RULE_ENDS_REMEMBERED_MAX,
    ])
  })

  test("changes nothing where there is nothing to tell", () => {
    expect(reviewCertificates(EMPTY_WATCH, "acme", [], WARNING_MS, NOW_MS).watch).toBe(EMPTY_WATCH)
  })
})

test("whatever happens, nobody is told twice a day of one end, and every use near the end is told that day", () => {
  const step = fc.record({
    isUse: fc.boolean(),
    fingerprint: fc.constantFrom("a", "b", "c"),
    hours: fc.integer({ min: 0, max: 40 }),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), fc.integer({ min: 0, max: 60 }), (steps, lifeDays) => {
      const object = createObject()
      const told = new Set<string>()
      let day = 0
      for (const { fingerprint, hours, isUse } of steps) {
        day += hours / 24
        const note = ending(lifeDays + (fingerprint === "b" ? 10 : 0), fingerprint)
        for (const record of isUse ? object.use(note, day) : object.review(day)) {
          const key = `${record.timestamp.slice(0, 10)} ${record.certificate_fingerprint ?? ""}`
          expect(told.has(key)).toBe(false)
          told.add(key)
        }
        const nowMs = NOW_MS + day * DAY_MS
        if (isUse && note.notAfterMs - nowMs <= WARNING_MS)
          expect(told.has(`${new Date(nowMs).toISOString().slice(0, 10)} ${fingerprint}`)).toBe(true)
      }
    }),
    { seed: 21, numRuns: 500 },
  )
})

describe("restoreWatch()", () => {
  test.each([
    undefined,
    "",
    "{",
    "null",
    "[]",
    '{"version":2,"seen":[],"rules":[]}',
    '{"version":1,"seen":{},"rules":[]}',
    '{"version":1,"seen":[{"fingerprint":"a"}],"rules":[]}',
    '{"version":1,"seen":[],"rules":[{"retireAtMs":"x","warnedDay":1}]}',
  ])("takes %j for nothing seen", (stored) => {
    expect(restoreWatch(stored)).toEqual(EMPTY_WATCH)
  })

  test("never throws", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (stored) => {
        expect(restoreWatch(stored).version).toBe(1)
      }),
      { seed: 22, numRuns: 1_000 },
    )
  })
})

describe("reviewSlotOf()", () => {
  test("spreads clients over the runs of a day", () => {
    const counts = Array.from({ length: 24 }, () => 0)
    for (let i = 0; i < 24_000; i++)
      counts[reviewSlotOf(`client-${i}`, 24)] = (counts[reviewSlotOf(`client-${i}`, 24)] ?? 0) + 1
    expect([Math.min(...counts) > 800, Math.max(...counts) < 1_200]).toEqual([true, true])
  })

  test("gives an id the same run every day", () => {
    expect(reviewSlotOf("acme", 24)).toBe(reviewSlotOf("acme", 24))
  })
})

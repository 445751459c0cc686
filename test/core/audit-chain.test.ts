/**
 * Goal: a trail has no gap and no record twice, nothing new begins when it is full, and what gets no place is counted exactly.
 * Method: single steps at the bounds, and random appends with repetitions, crashes and deliveries against a plain count.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { dueLoss, EMPTY_AUDIT_HEAD, releaseWaiting, restoreAuditHead } from "../../src/core/audit/audit-chain.ts"
import { parseAuditLine, type AuditDraft } from "../../src/core/audit/audit-record.ts"
import { verifyTrails } from "../../src/core/audit/audit-verify.ts"
import { AUDIT_HEADROOM, AUDIT_WAITING_BYTES_MAX, AUDIT_WAITING_MAX } from "../../src/core/bounds.ts"
import { append, AUDIT_NOW_MS, createTrail, digest, draft, placed } from "./audit-fixtures.ts"

const full = (records: number, bytes = 0) => ({
  ...EMPTY_AUDIT_HEAD,
  seq: AUDIT_WAITING_MAX * 3,
  waiting: { records, bytes },
})

test("a draft with an id that is on the trail adds nothing", () => {
  const trail = createTrail()
  append(trail, [draft("a"), draft("a"), draft("a", "outcome")])
  append(trail, [draft("a", "outcome")])
  expect(trail.lines).toHaveLength(2)
})

test("a configuration is on the trail when it differs from the last one, also when it comes back", () => {
  const trail = createTrail()
  for (const [id, version] of ["one", "one", "two", "two", "one"].entries())
    append(trail, [draft(`${id}`, "configuration", { config_version: version })])
  expect(trail.lines).toHaveLength(3)
})

describe("LOG-11 while too much waits", () => {
  test.each([
    ["records", full(AUDIT_WAITING_MAX)],
    ["octets", full(1, AUDIT_WAITING_BYTES_MAX)],
  ])("(%s) an intent is refused, an outcome still has its place, and a refusal is counted", (_, head) => {
    const trail = { ...createTrail(), head }
    expect(append(trail, [draft("a")])).toBe(false)
    expect(append(trail, [draft("b", "outcome"), draft("c", "block"), draft("d", "refusal")])).toBe(true)
    expect([trail.lines.length, trail.head.lost]).toEqual([2, 1])
  })

  test("everything is counted beyond the headroom", () => {
    const trail = { ...createTrail(), head: full(AUDIT_WAITING_MAX * AUDIT_HEADROOM) }
    append(trail, [draft("b", "outcome"), draft("c", "loss", { lost: 5 })])
    expect([trail.lines.length, trail.head.lost]).toEqual([0, 6])
  })

  test("one less is not full", () => {
    expect(append({ ...createTrail(), head: full(AUDIT_WAITING_MAX - 1) }, [draft("a")])).toBe(true)
  })

  test("what is repeated is counted once, and the count is a record as soon as there is room", () => {
    const trail = { ...createTrail(), head: full(AUDIT_WAITING_MAX) }
    append(trail, [draft("a", "refusal"), draft("b", "refusal")])
    append(trail, [draft("b", "refusal")])
    expect(dueLoss(trail.head, AUDIT_NOW_MS)).toBeUndefined()
    trail.head = releaseWaiting(trail.head, 10, 0)
    append(trail, [draft("c")])
    expect(trail.lines.map((line) => parseAuditLine(line))).toMatchObject([
      { record: { kind: "loss", lost: 2, outcome: { reason: "outbox_full" } } },
      { record: { kind: "intent" } },
    ])
    expect(trail.head.lost).toBe(0)
  })
})

test("what waits no longer has no size, however a store counts characters", () => {
  const head = full(2, 500)
  expect(releaseWaiting(head, 1, 100).waiting).toEqual({ records: 1, bytes: 400 })
  expect(releaseWaiting(head, 2, 100).waiting).toEqual({ records: 0, bytes: 0 })
  expect(releaseWaiting(head, 3, 900).waiting).toEqual({ records: 0, bytes: 0 })
})

describe("restoreAuditHead()", () => {
  test("reads back what was written", () => {
    const trail = createTrail()
    append(trail, [draft("a"), draft("v", "configuration")])
    expect(restoreAuditHead(JSON.stringify(trail.head), true)).toEqual(trail.head)
  })

  test("begins a trail only where nothing of one is stored", () => {
    expect(restoreAuditHead(undefined, false)).toEqual(EMPTY_AUDIT_HEAD)
    expect(restoreAuditHead(undefined, true)).toBeUndefined()
  })

  const valid = JSON.stringify({ ...EMPTY_AUDIT_HEAD, seq: 7 })
  test.each([
    "",
    "{",
    "null",
    "{}",
    valid.replace('"version":1', '"version":2'),
    valid.replace('"seq":7', '"seq":-1'),
    valid.replace('"seq":7', '"seq":1.5'),
    valid.replace(/"hash":"0/, '"hash":"z'),
    valid.replace('"records":0', '"records":8'),
    valid.replace('"lost":0', '"lost":"0"'),
    valid.replace('"configVersion":null', '"configVersion":1'),
    7,
  ])("closes the trail over %j", (stored) => {
    expect(restoreAuditHead(stored, true)).toBeUndefined()
  })
})

test("LOG-10 random appends, repetitions, crashes and deliveries leave a chain that holds and has every fact once", () => {
  const operation = fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant("append"), ids: fc.array(fc.nat(60), { maxLength: 6 }) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("crash"), ids: fc.array(fc.nat(60), { maxLength: 6 }) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("release"), ids: fc.constant<number[]>([]) }) },
  )
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
      const trail = createTrail()
      const facts = new Set<string>()
      const kinds: AuditDraft["kind"][] = ["intent", "outcome", "refusal"]
      for (const { ids, kind } of operations) {
        const drafts = ids.map((id) => draft(`${id}`, kinds[id % 3]))
        if (kind === "release") trail.head = releaseWaiting(trail.head, 3, 100)
        // What an instance that ends had not written is nowhere; the caller tells it again.
        if (kind === "crash") append({ head: trail.head, lines: [...trail.lines], ids: new Set(trail.ids) }, drafts)
        if (kind !== "append") continue
        append(trail, drafts)
        for (const { id } of drafts) facts.add(id)
        trail.head = restoreAuditHead(JSON.stringify(trail.head), true) ?? EMPTY_AUDIT_HEAD
      }
      expect(trail.lines).toHaveLength(facts.size)
      const verdicts = verifyTrails(placed([...trail.lines, ...trail.lines.slice(0, 3)]), digest)
      expect(verdicts.map(({ fault, records }) => [fault, records])).toEqual(
        facts.size === 0 ? [] : [[undefined, facts.size]],
      )
    }),
    { seed: 20_261_128, numRuns: 500 },
  )
})

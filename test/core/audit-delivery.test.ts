/**
 * Goal: every record reaches every sink, in order and soon after the sink is back, and none is ever skipped. Method: single
 * answers, and a sink in virtual time that is away, slow to come back, or will not take one record.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import {
  afterDelivery,
  createSinkPosition,
  nextDeliveryMs,
  restoreSinkPosition,
  takeBatch,
  type SinkPosition,
} from "../../src/core/audit/audit-delivery.ts"
import { AUDIT_BATCH_BYTES_MAX, AUDIT_BATCH_MAX, AUDIT_RETRY_MS_MAX } from "../../src/core/bounds.ts"
import { decideDelivery, type Delivery } from "../../src/core/record/delivery.ts"
import { AUDIT_NOW_MS } from "./audit-fixtures.ts"

const lines = (count: number, from = 1, size = 10) =>
  Array.from({ length: count }, (_, index) => ({ seq: from + index, line: "x".repeat(size) }))
const START = createSinkPosition(0)
const status = (code: number | undefined, retryAfter: string | null = null) =>
  decideDelivery(code, retryAfter, AUDIT_NOW_MS)

describe("takeBatch()", () => {
  test("takes as many as the bounds allow, and at least one", () => {
    expect(takeBatch(lines(300), START)).toHaveLength(AUDIT_BATCH_MAX)
    expect(takeBatch(lines(9, 1, AUDIT_BATCH_BYTES_MAX / 4), START)).toHaveLength(3)
    expect(takeBatch(lines(2, 1, AUDIT_BATCH_BYTES_MAX + 1), START)).toHaveLength(1)
    expect(takeBatch([], START)).toEqual([])
  })
})

describe("afterDelivery()", () => {
  test("moves on when the sink has acknowledged, and only then", () => {
    const batch = lines(5)
    expect(afterDelivery(START, batch, status(204), AUDIT_NOW_MS, 0).position).toMatchObject({ seq: 5, failures: 0 })
    for (const code of [400, 413, 429, 503, 302, undefined])
      expect(afterDelivery(START, batch, status(code), AUDIT_NOW_MS, 0).position.seq).toBe(0)
  })

  test("LOG-08 honours Retry-After, and waits longer by itself with each failure", () => {
    const first = afterDelivery(START, lines(5), status(429, "30"), AUDIT_NOW_MS, 0)
    expect(first).toMatchObject({ alarm: "unavailable", position: { retryAtMs: AUDIT_NOW_MS + 30_000 } })
    let position: SinkPosition = START
    const pauses = Array.from({ length: 8 }, () => {
      ;({ position } = afterDelivery(position, lines(5), status(undefined), 0, 0))
      return position.retryAtMs
    })
    expect(pauses).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, AUDIT_RETRY_MS_MAX, AUDIT_RETRY_MS_MAX])
  })

  test("LOG-08 a batch that is rejected is halved at once, and a record that is alone is said to be", () => {
    const halved = afterDelivery(START, lines(5), status(400), AUDIT_NOW_MS, 0)
    expect(halved).toMatchObject({ alarm: undefined, position: { batchMax: 3, retryAtMs: 0 } })
    const alone = afterDelivery(halved.position, lines(1), status(400), AUDIT_NOW_MS, 0)
    expect(alone).toMatchObject({ alarm: "poison", position: { seq: 0, failures: 1, retryAtMs: AUDIT_NOW_MS + 1_000 } })
  })
})

describe("restoreSinkPosition()", () => {
  test("reads back what was written", () => {
    const position = { ...START, seq: 7, failures: 2, retryAtMs: AUDIT_NOW_MS + 5, batchMax: 3 }
    expect(restoreSinkPosition(JSON.stringify(position), 1, AUDIT_NOW_MS)).toEqual(position)
  })

  test.each([undefined, "", "{}", '{"version":2}', JSON.stringify({ ...START, seq: -1 })])(
    "begins with the oldest record over %j",
    (stored) => {
      expect(restoreSinkPosition(stored, 41, AUDIT_NOW_MS)).toEqual(createSinkPosition(40))
    },
  )

  test("believes no pause that nobody could have set", () => {
    const stored = JSON.stringify({ ...START, retryAtMs: AUDIT_NOW_MS + 86_400_000 })
    expect(restoreSinkPosition(stored, 1, AUDIT_NOW_MS).retryAtMs).toBe(AUDIT_NOW_MS)
  })
})

test("nextDeliveryMs() is the first sink that lacks something, and never in the past", () => {
  const at = (seq: number, retryAtMs: number) => ({ ...START, seq, retryAtMs })
  expect(nextDeliveryMs([at(5, 0), at(5, 900)], 5, 100)).toBeNull()
  expect(nextDeliveryMs([at(5, 0), at(4, 900), at(3, 700)], 5, 100)).toBe(700)
  expect(nextDeliveryMs([at(4, 0)], 5, 100)).toBe(100)
  expect(nextDeliveryMs([], 5, 100)).toBeNull()
})

/** Delivers to a sink in virtual time until it has everything. Returns what it took, and when it had all of it. */
function run(
  total: number,
  answer: (seqs: readonly number[], nowMs: number) => Delivery,
  endMs: number,
): { readonly taken: readonly number[]; readonly doneMs: number | undefined } {
  const taken: number[] = []
  let position = START
  let nowMs = 0
  while (nowMs < endMs) {
    const dueMs = nextDeliveryMs([position], total, nowMs)
    if (dueMs === null) return { taken, doneMs: nowMs }
    nowMs = dueMs
    if (nowMs >= endMs) break
    const batch = takeBatch(lines(total - position.seq, position.seq + 1), position)
    const delivery = answer(
      batch.map(({ seq }) => seq),
      nowMs,
    )
    if (delivery.kind === "delivered") taken.push(...batch.map(({ seq }) => seq))
    ;({ position } = afterDelivery(position, batch, delivery, nowMs, 0.5))
    nowMs += 1
  }
  return { taken, doneMs: undefined }
}

test("LOG-07 INV-8 after any outage everything arrives once, in order, within a minute of the sink's return", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1_000 }), fc.integer({ min: 0, max: 3_600_000 }), (total, backMs) => {
      const { doneMs, taken } = run(total, (_, nowMs) => status(nowMs < backMs ? undefined : 200), 1e9)
      expect(taken).toEqual(Array.from({ length: total }, (_, index) => index + 1))
      expect(doneMs).toBeLessThanOrEqual(backMs + AUDIT_RETRY_MS_MAX + 1_000)
    }),
    { seed: 20_261_128, numRuns: 200 },
  )
})

test("LOG-08 a record that the sink will not take holds up what follows, loses nothing, and passes once the sink takes it", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 300 }), (total, poison) => {
      const isBad = (seqs: readonly number[], nowMs: number) => nowMs < 600_000 && seqs.includes(poison)
      const { taken } = run(total, (seqs, nowMs) => status(isBad(seqs, nowMs) ? 400 : 200), 590_000)
      expect(taken).toEqual(Array.from({ length: Math.min(total, poison - 1) }, (_, index) => index + 1))
      const later = run(total, (seqs, nowMs) => status(isBad(seqs, nowMs) ? 400 : 200), 1e9)
      expect(later.taken).toEqual(Array.from({ length: total }, (_, index) => index + 1))
    }),
    { seed: 20_261_128, numRuns: 100 },
  )
})

/**
 * Goal: no key lets two requests through unless the origin allows it, and no answer is handed to another request. Method: each
 * decision by itself; then worlds in which calls come twice, late, out of order or never, attempts crash and time passes, held
 * against a count of what reached the origin.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { IDEMPOTENCY_LEDGER_BYTES_MAX } from "../../src/core/bounds.ts"
import {
  reserveKey,
  settleAttempt,
  type LedgerRow,
  type ReserveDecision,
  type ReserveDemand,
  type Settlement,
} from "../../src/core/idempotency/idempotency-ledger.ts"
import { parseIdempotencyRecord } from "../../src/core/idempotency/idempotency-record.ts"

const NOW_MS = 1_800_000_000_000
const ATTEMPT_MS = 60_000
const TTL_MS = 3_600_000

const DEMAND: ReserveDemand = {
  tag: "t",
  identities: [{ kid: "new", key: "key-new", fingerprint: "f1" }],
  attemptId: "a1",
  attemptMs: ATTEMPT_MS,
  ttlMs: TTL_MS,
  isOriginIdempotent: false,
}

/** A ledger of one key in memory, stored as the object stores. */
function createLedger() {
  let rows: readonly LedgerRow[] = []
  return {
    rows: () => rows,
    put: (row: LedgerRow) => void (rows = [row]),
    reserve(demand: Partial<ReserveDemand>, nowMs: number, storedBytes = 0): ReserveDecision {
      const step = reserveKey(rows, { ...DEMAND, ...demand }, storedBytes, nowMs)
      if (step.write !== null) {
        const { key, kid, record } = step.write
        const row = { key, kid, record: JSON.stringify(record), expiresAtMs: record.expiresAtMs }
        rows = [...rows.filter((other) => other.key !== key), row]
      }
      return step.decision
    },
    settle(key: string, attemptId: string, settlement: Settlement): boolean {
      const row = rows.find((other) => other.key === key)
      const step = settleAttempt(row?.record, attemptId, settlement)
      if (step.kind === "keep") return step.isSettled
      rows = rows.filter((other) => other.key !== key)
      if (row !== undefined && step.kind === "write") rows = [...rows, { ...row, record: JSON.stringify(step.record) }]
      return true
    },
    expire: (nowMs: number) => void (rows = rows.filter(({ expiresAtMs }) => expiresAtMs > nowMs)),
  }
}

describe("reserveKey()", () => {
  test("lets the first request through and holds the second", () => {
    const ledger = createLedger()
    expect(ledger.reserve({}, NOW_MS)).toEqual({ kind: "proceed", key: "key-new" })
    expect(ledger.reserve({ attemptId: "a2" }, NOW_MS + 1)).toEqual({ kind: "in-progress", retryAfterMs: 1_000 })
  })

  test("IDM-02 replays what was completed, until it expires", () => {
    const ledger = createLedger()
    ledger.reserve({}, NOW_MS)
    ledger.settle("key-new", "a1", { kind: "completed", answer: "jwe" })
    const replay = { kind: "replay", key: "key-new", answer: "jwe" }
    expect(ledger.reserve({ attemptId: "a2" }, NOW_MS + TTL_MS - 1)).toEqual(replay)
    expect(ledger.reserve({ attemptId: "a2" }, NOW_MS + TTL_MS)).toEqual({ kind: "proceed", key: "key-new" })
  })

  test("says of an answer that was too much to keep that it cannot be replayed", () => {
    const ledger = createLedger()
    ledger.reserve({}, NOW_MS)
    ledger.settle("key-new", "a1", { kind: "completed", answer: null })
    expect(ledger.reserve({ attemptId: "a2" }, NOW_MS)).toEqual({ kind: "not-replayable" })
  })

  test.each(["in-progress", "completed", "indeterminate"] as const)(
    "IDM-03 refuses another request whose key is %s",
    (kind) => {
      const ledger = createLedger()
      ledger.reserve({}, NOW_MS)
      if (kind === "completed") ledger.settle("key-new", "a1", { kind, answer: "jwe" })
      if (kind === "indeterminate") ledger.settle("key-new", "a1", { kind })
      const other = { identities: [{ kid: "new", key: "key-new", fingerprint: "f2" }], attemptId: "a2" }
      expect(ledger.reserve(other, NOW_MS)).toEqual({ kind: "mismatch" })
      expect(ledger.reserve({ ...other, isOriginIdempotent: true }, NOW_MS)).toEqual({ kind: "mismatch" })
    },
  )

  test("IDM-09 an attempt that nobody has heard of until its deadline is indeterminate, and stays so", () => {
    const ledger = createLedger()
    ledger.reserve({}, NOW_MS)
    const again = { attemptId: "a2" }
    expect(ledger.reserve(again, NOW_MS + ATTEMPT_MS - 1).kind).toBe("in-progress")
    const lost = { kind: "indeterminate", reason: "attempt_lost" }
    expect(ledger.reserve(again, NOW_MS + ATTEMPT_MS)).toEqual(lost)
    // Also when the clock is set back afterwards.
    expect(ledger.reserve(again, NOW_MS)).toEqual({ kind: "indeterminate", reason: "outcome_unknown" })
  })

  test("an origin that is declared idempotent is asked again after the deadline", () => {
    const ledger = createLedger()
    ledger.reserve({}, NOW_MS)
    const again = { attemptId: "a2", isOriginIdempotent: true }
    expect(ledger.reserve(again, NOW_MS + ATTEMPT_MS - 1).kind).toBe("in-progress")
    expect(ledger.reserve(again, NOW_MS + ATTEMPT_MS).kind).toBe("proceed")
    expect(ledger.reserve({ attemptId: "a3", isOriginIdempotent: true }, NOW_MS + ATTEMPT_MS).kind).toBe("in-progress")
  })

  test("the same attempt may reserve twice: the answer to the first call was lost", () => {
    const ledger = createLedger()
    ledger.reserve({}, NOW_MS)
    expect(ledger.reserve({}, NOW_MS + 1).kind).toBe("proceed")
    // It has no more time for that.
    expect(ledger.reserve({ attemptId: "a2" }, NOW_MS + ATTEMPT_MS).kind).toBe("indeterminate")
  })

  test("a clock that is set back forgets nothing", () => {
    const ledger = createLedger()
    ledger.reserve({}, NOW_MS)
    ledger.settle("key-new", "a1", { kind: "completed", answer: "jwe" })
    expect(ledger.reserve({ attemptId: "a2" }, NOW_MS - 3_600_000).kind).toBe("replay")
  })

  test("finds a record under a secret that is no longer the first", () => {
    const ledger = createLedger()
    const old = { kid: "old", key: "key-old", fingerprint: "f1-old" }
    ledger.reserve({ identities: [old] }, NOW_MS)
    ledger.settle("key-old", "a1", { kind: "completed", answer: "jwe" })
    const rotated = { identities: [...DEMAND.identities, old], attemptId: "a2" }
    expect(ledger.reserve(rotated, NOW_MS)).toEqual({ kind: "replay", key: "key-old", answer: "jwe" })
  })

  test("a record under a secret that is gone is indeterminate, never a new attempt", () => {
    const ledger = createLedger()
    ledger.reserve({ identities: [{ kid: "gone", key: "key-gone", fingerprint: "f1" }] }, NOW_MS)
    const expected = { kind: "indeterminate", reason: "record_key_unknown" }
    for (const isOriginIdempotent of [false, true])
      expect(ledger.reserve({ attemptId: "a2", isOriginIdempotent }, NOW_MS + ATTEMPT_MS)).toEqual(expected)
    expect(ledger.reserve({ attemptId: "a2" }, NOW_MS + TTL_MS).kind).toBe("proceed")
  })

  test("another key with the same tag is no obstacle", () => {
    const ledger = createLedger()
    ledger.put({ key: "key-other", kid: "new", record: "{}", expiresAtMs: NOW_MS + TTL_MS })
    expect(ledger.reserve({}, NOW_MS).kind).toBe("proceed")
  })

  test.each(["", "{", "{}", '{"version":2}', null])(
    "a record that reads %j keeps its key shut until it expires",
    (record) => {
      const ledger = createLedger()
      ledger.put({ key: "key-new", kid: "new", record, expiresAtMs: NOW_MS + 1 })
      const expected = { kind: "indeterminate", reason: "record_unreadable" }
      for (const isOriginIdempotent of [false, true])
        expect(ledger.reserve({ isOriginIdempotent }, NOW_MS)).toEqual(expected)
      expect(ledger.reserve({}, NOW_MS + 1).kind).toBe("proceed")
    },
  )

  test("a full ledger takes no new key and still answers for those it has", () => {
    const ledger = createLedger()
    ledger.reserve({}, NOW_MS)
    const full = IDEMPOTENCY_LEDGER_BYTES_MAX
    expect(ledger.reserve({ attemptId: "a2" }, NOW_MS, full).kind).toBe("in-progress")
    expect(createLedger().reserve({}, NOW_MS, full)).toEqual({ kind: "full" })
    expect(createLedger().reserve({}, NOW_MS, full - 1).kind).toBe("proceed")
  })

  test("without a secret nothing goes through", () => {
    expect(createLedger().reserve({ identities: [] }, NOW_MS).kind).toBe("indeterminate")
  })

  test("a record is remembered for as long as its attempt may take, whatever the ttl", () => {
    const ledger = createLedger()
    ledger.reserve({ ttlMs: 1 }, NOW_MS)
    expect(ledger.rows()[0]?.expiresAtMs).toBe(NOW_MS + ATTEMPT_MS)
  })
})

describe("settleAttempt()", () => {
  test("a late word of an old attempt changes nothing", () => {
    const ledger = createLedger()
    ledger.reserve({}, NOW_MS)
    ledger.reserve({ attemptId: "a2", isOriginIdempotent: true }, NOW_MS + ATTEMPT_MS)
    const before = ledger.rows()
    for (const settlement of [
      { kind: "completed", answer: "old" },
      { kind: "released" },
      { kind: "indeterminate" },
    ] as const)
      expect(ledger.settle("key-new", "a1", settlement)).toBe(false)
    expect(ledger.rows()).toEqual(before)
  })

  test("a late word of the last attempt ends the doubt", () => {
    const ledger = createLedger()
    ledger.reserve({}, NOW_MS)
    ledger.reserve({ attemptId: "a2" }, NOW_MS + ATTEMPT_MS)
    expect(ledger.settle("key-new", "a1", { kind: "completed", answer: "jwe" })).toBe(true)
    expect(ledger.reserve({ attemptId: "a2" }, NOW_MS + ATTEMPT_MS).kind).toBe("replay")
  })

  test("an answer that is kept is neither replaced nor released", () => {
    const ledger = createLedger()
    ledger.reserve({}, NOW_MS)
    ledger.settle("key-new", "a1", { kind: "completed", answer: "first" })
    expect(ledger.settle("key-new", "a1", { kind: "completed", answer: "second" })).toBe(true)
    expect(ledger.settle("key-new", "a1", { kind: "released" })).toBe(false)
    expect(ledger.settle("key-new", "a1", { kind: "indeterminate" })).toBe(false)
    expect(ledger.reserve({ attemptId: "a2" }, NOW_MS)).toMatchObject({ answer: "first" })
  })

  test("a release frees the key, and counts when it comes twice", () => {
    const ledger = createLedger()
    ledger.reserve({}, NOW_MS)
    expect([1, 2].map(() => ledger.settle("key-new", "a1", { kind: "released" }))).toEqual([true, true])
    expect(ledger.reserve({ attemptId: "a2" }, NOW_MS).kind).toBe("proceed")
  })

  test("a release after an attempt in doubt leaves the doubt, so that no other request takes the key", () => {
    const ledger = createLedger()
    ledger.reserve({}, NOW_MS)
    ledger.reserve({ attemptId: "a2", isOriginIdempotent: true }, NOW_MS + ATTEMPT_MS)
    ledger.settle("key-new", "a2", { kind: "released" })
    const other = { identities: [{ kid: "new", key: "key-new", fingerprint: "f2" }], isOriginIdempotent: true }
    expect(ledger.reserve({ ...other, attemptId: "a3" }, NOW_MS + ATTEMPT_MS)).toEqual({ kind: "mismatch" })
    expect(ledger.reserve({ attemptId: "a3" }, NOW_MS + ATTEMPT_MS).kind).toBe("indeterminate")
  })

  test("an answer for a record that is gone is not kept", () => {
    expect(createLedger().settle("key-new", "a1", { kind: "completed", answer: "jwe" })).toBe(false)
  })
})

test("a stored record is read back as it was, and nothing else is one", () => {
  const record = { version: 1, fingerprint: "f", attemptId: "a", expiresAtMs: 1, isRepeated: false } as const
  const states = [
    { kind: "in-progress", deadlineMs: 5 },
    { kind: "indeterminate" },
    { kind: "completed", answer: "x" },
    { kind: "completed", answer: null },
  ] as const
  for (const state of states)
    expect(parseIdempotencyRecord(JSON.stringify({ ...record, state }))).toEqual({ ...record, state })
  const state = { kind: "indeterminate" }
  const broken: readonly object[] = [
    { ...record, state, version: 2 },
    { ...record, state, fingerprint: "" },
    { ...record, state, attemptId: 1 },
    { ...record, state, expiresAtMs: 1.5 },
    { ...record, state, isRepeated: undefined },
    { ...record, state: { kind: "in-progress" } },
    { ...record, state: { kind: "completed" } },
    { ...record, state: { kind: "new" } },
    { ...record },
  ]
  expect(broken.filter((value) => parseIdempotencyRecord(JSON.stringify(value)) !== undefined)).toEqual([])
})

/** One thing that happens in a world. Calls are delivered in the order of the list; `delay` puts a settlement further back. */
type Happening =
  | { readonly kind: "request"; readonly body: "f1" | "f2"; readonly isRepeated: boolean; readonly isHeard: boolean }
  | { readonly kind: "settle"; readonly pick: number; readonly how: Settlement["kind"]; readonly isRepeated: boolean }
  | { readonly kind: "pass"; readonly ms: number }
  | { readonly kind: "expire" }
  | { readonly kind: "rotate" }

const happening: fc.Arbitrary<Happening> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("request" as const),
      body: fc.constantFrom("f1" as const, "f1" as const, "f2" as const),
      isRepeated: fc.boolean(),
      isHeard: fc.boolean(),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("settle" as const),
      pick: fc.nat(7),
      how: fc.constantFrom("completed" as const, "indeterminate" as const, "released" as const),
      isRepeated: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("pass" as const), ms: fc.constantFrom(1, 1_000, ATTEMPT_MS, -30_000) }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: "expire" as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: "rotate" as const }) },
)

/** An attempt that was let through. It calls the origin when its reservation was heard of. */
interface Attempt {
  readonly id: string
  readonly key: string
  readonly body: string
  /** Whether the origin has carried it out. */
  readonly isExecuted: boolean
  readonly number: number
}

describe.each([false, true])(
  "with an origin that is idempotent: %s, whatever happens and in whatever order,",
  (isIdempotent) => {
    test("at most one attempt is carried out, and answers go to their own request", () => {
      fc.assert(
        fc.property(fc.array(happening, { minLength: 1, maxLength: 60 }), (happenings) => {
          const ledger = createLedger()
          const attempts: Attempt[] = []
          let nowMs = NOW_MS
          let secrets = ["k1"]
          for (const [number, one] of happenings.entries()) {
            switch (one.kind) {
              case "pass":
                nowMs += one.ms
                break
              case "expire":
                ledger.expire(nowMs)
                break
              case "rotate":
                // The next secret is put in front, the last three stay.
                secrets = [`k${secrets.length + number}`, ...secrets].slice(0, 4)
                break
              case "request": {
                const identities = secrets.map((kid) => ({ kid, key: `key-${kid}`, fingerprint: `${one.body}-${kid}` }))
                const demand = {
                  identities,
                  attemptId: `a${number}`,
                  ttlMs: 10 * TTL_MS,
                  isOriginIdempotent: isIdempotent,
                }
                const first = ledger.reserve(demand, nowMs)
                const decision = one.isRepeated ? ledger.reserve(demand, nowMs) : first
                if (one.isRepeated) expect(decision.kind).toBe(first.kind)
                if (decision.kind === "proceed")
                  attempts.push({
                    id: demand.attemptId,
                    key: decision.key,
                    body: one.body,
                    isExecuted: one.isHeard,
                    number,
                  })
                if (decision.kind === "replay") {
                  const [body, id] = decision.answer.split(" ")
                  expect(body).toBe(one.body)
                  expect(attempts.find((attempt) => attempt.id === id)?.isExecuted).toBe(true)
                }
                break
              }
              case "settle": {
                const attempt = attempts[one.pick % Math.max(1, attempts.length)]
                if (attempt === undefined) break
                // Only an attempt that was carried out has an answer, and only one that was not is released.
                const how: Settlement =
                  one.how === "completed" && attempt.isExecuted
                    ? { kind: "completed", answer: `${attempt.body} ${attempt.id}` }
                    : one.how === "released" && !attempt.isExecuted
                      ? { kind: "released" }
                      : { kind: "indeterminate" }
                ledger.settle(attempt.key, attempt.id, how)
                if (one.isRepeated) ledger.settle(attempt.key, attempt.id, how)
                break
              }
            }
            const executed = attempts.filter(({ isExecuted }) => isExecuted)
            if (!isIdempotent) expect(executed.length).toBeLessThanOrEqual(1)
            // Nobody is let through for another request than the one whose outcome is open.
            if (isIdempotent) expect(new Set(executed.map(({ body }) => body)).size).toBeLessThanOrEqual(1)
          }
        }),
        { seed: 20_261_128, numRuns: 5_000 },
      )
    })
  },
)

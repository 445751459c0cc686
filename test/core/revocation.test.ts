/**
 * Goal: only a newer list of the right CA replaces a list, it is asked for in time and not too often, and a serial is good only
 * under a list that is in force. Method: literal instants, and properties over sequences of lists and of attempts.
 */
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { CRL_RETRY_MS_MAX, CRL_RETRY_MS_MIN } from "../../src/core/bounds.ts"
import { crlRecordOf } from "../../src/core/certificate/crl-record.ts"
import { parseCrl, type CrlFacts } from "../../src/core/certificate/crl.ts"
import { nameKey } from "../../src/core/certificate/distinguished-name.ts"
import {
  afterFailure,
  afterSuccess,
  decideRevocation,
  emptyListState,
  findIssuer,
  isRefreshDue,
  isStaleNews,
  nextRefreshMs,
  refuseList,
  restoreListState,
  statusOf,
  type ListState,
  type RevocationSource,
  type StoredList,
} from "../../src/core/certificate/revocation.ts"
import { crlOf, name, NEXT_UPDATE_MS, THIS_UPDATE_MS, type CrlParts } from "./crl-fixtures.ts"

const NOW_MS = Date.UTC(2026, 10, 2)
const HOUR_MS = 3_600_000
const NAME = [[{ oid: "2.5.4.3", text: "Test CA" }]]
const SOURCE: RevocationSource = {
  issuer: "partners",
  url: "http://crl.example/ca.crl",
  refreshMs: HOUR_MS,
  ca: { nameKey: nameKey(NAME), ski: "aabbccdd", publicKey: "3059" },
}
const STORED: StoredList = { number: "7", thisUpdateMs: THIS_UPDATE_MS, nextUpdateMs: NEXT_UPDATE_MS, entries: 1 }

function crl(changes: Partial<CrlFacts> = {}, parts: CrlParts = {}): CrlFacts {
  const result = parseCrl(crlOf(parts))
  if (!result.ok) throw new Error(result.reason)
  return { ...result.crl, ...changes }
}

function stateWith(changes: Partial<ListState> = {}): ListState {
  return { ...emptyListState(SOURCE), list: STORED, attemptedAtMs: NOW_MS, succeededAtMs: NOW_MS, ...changes }
}

describe("refuseList()", () => {
  test.each<readonly [string, Partial<CrlFacts>, StoredList | null]>([
    ["the first list", {}, null],
    ["the same list again", {}, STORED],
    ["a list of a greater number", { number: "8" }, STORED],
    ["a list of a longer number", { number: "10" }, { ...STORED, number: "f" }],
    ["a list of the same number and a later start", { thisUpdateMs: THIS_UPDATE_MS + 1_000 }, STORED],
    ["a list of version 1 after one of version 1", { number: undefined }, { ...STORED, number: null }],
    ["a list that names its CA's key", { authorityKeyId: "aabbccdd" }, null],
    ["a list that says it is published here", { urls: ["ldap://x", SOURCE.url] }, null],
    ["a list whose start lies a minute ahead", { thisUpdateMs: NOW_MS + 60_000 }, null],
  ])("accepts %s", (_, changes, stored) => {
    expect(refuseList(stored, crl(changes), SOURCE, NOW_MS)).toBeUndefined()
  })

  test.each<readonly [string, Partial<CrlFacts>, StoredList | null, string]>([
    ["CRL-1 of another name", { issuer: [[{ oid: "2.5.4.3", text: "Test CB" }]] }, null, "crl_issuer_mismatch"],
    ["CRL-1 of another key", { authorityKeyId: "aabbccde" }, null, "crl_issuer_mismatch"],
    ["that is published elsewhere", { urls: ["http://crl.example/other.crl"] }, null, "crl_scope"],
    ["CRL-3 of the future", { thisUpdateMs: NOW_MS + 60_001 }, null, "crl_not_yet_valid"],
    ["of a time before there were lists", { thisUpdateMs: -1 }, null, "crl_not_yet_valid"],
    ["CRL-2 that is over", { nextUpdateMs: NOW_MS }, null, "crl_expired"],
    ["of a smaller number", { number: "6" }, STORED, "crl_older_than_stored"],
    ["of a shorter number", { number: "f" }, { ...STORED, number: "10" }, "crl_older_than_stored"],
    [
      "of a greater number and an earlier start",
      { number: "8", thisUpdateMs: THIS_UPDATE_MS - 1 },
      STORED,
      "crl_older_than_stored",
    ],
    ["that has lost its number", { number: undefined }, STORED, "crl_older_than_stored"],
  ])("refuses one %s", (_, changes, stored, reason) => {
    expect(refuseList(stored, crl(changes), SOURCE, NOW_MS)).toBe(reason)
  })

  test("never goes back, whatever order lists arrive in", () => {
    const facts = crl()
    const lists = fc.array(fc.record({ number: fc.nat(20), start: fc.nat(20) }), { maxLength: 20 })
    fc.assert(
      fc.property(lists, (arrivals) => {
        let state = emptyListState(SOURCE)
        for (const { number, start } of arrivals) {
          const next = { ...facts, number: number.toString(16), thisUpdateMs: THIS_UPDATE_MS + start * 1_000 }
          if (refuseList(state.list, next, SOURCE, NOW_MS) !== undefined) continue
          const before = state.list
          state = afterSuccess(state, next, NOW_MS)
          if (before === null) continue
          expect(state.list?.thisUpdateMs).toBeGreaterThanOrEqual(before.thisUpdateMs)
          expect(Number.parseInt(state.list?.number ?? "", 16)).toBeGreaterThanOrEqual(
            Number.parseInt(before.number ?? "", 16),
          )
        }
      }),
      { seed: 20_261_128 },
    )
  })
})

describe("statusOf()", () => {
  test.each([
    ["good", "not on the list", false, NOW_MS],
    ["revoked", "on the list", true, NOW_MS],
    ["good", "not on a list that ends in a moment", false, NEXT_UPDATE_MS - 1],
    ["stale", "not on a list that has ended", false, NEXT_UPDATE_MS],
    ["revoked", "on a list that has ended", true, NEXT_UPDATE_MS + HOUR_MS],
  ] as const)("is %s for a serial %s", (status, _, isListed, nowMs) => {
    expect(statusOf(stateWith(), isListed, nowMs)).toBe(status)
  })

  test.each([true, false])("is missing without a list, whatever rows are left of another (%j)", (isListed) => {
    expect(statusOf(emptyListState(SOURCE), isListed, NOW_MS)).toBe("missing")
  })
})

describe("decideRevocation()", () => {
  test.each(["refuse", "allow"] as const)(
    "refuses what is revoked and lets pass what is good, with stale = %s",
    (when) => {
      expect(decideRevocation("revoked", when)).toEqual({ ok: false, isRevoked: true, reason: "cert_revoked_by_crl" })
      expect(decideRevocation("good", when)).toEqual({ ok: true })
    },
  )

  test.each(["stale", "missing", "unavailable"] as const)("means no when it is %s, unless told otherwise", (answer) => {
    expect(decideRevocation(answer, "refuse")).toEqual({ ok: false, isRevoked: false, reason: `crl_${answer}` })
    expect(decideRevocation(answer, "allow")).toEqual({ ok: true, unknown: answer })
  })
})

describe("nextRefreshMs()", () => {
  test.each<readonly [string, Partial<ListState>, number]>([
    ["at once before the first attempt", { attemptedAtMs: 0 }, 0],
    ["after the interval", {}, NOW_MS + HOUR_MS],
    ["30 s after the first failure", { failures: 1 }, NOW_MS + CRL_RETRY_MS_MIN],
    ["four times that after the third", { failures: 3 }, NOW_MS + 4 * CRL_RETRY_MS_MIN],
    ["a quarter of an hour after the hundredth", { failures: 100 }, NOW_MS + CRL_RETRY_MS_MAX],
  ])("is %s", (_, changes, expected) => {
    expect(nextRefreshMs(stateWith(changes), SOURCE)).toBe(expected)
  })

  test("is never later than the interval, also behind failures", () => {
    expect(nextRefreshMs(stateWith({ failures: 9 }), { ...SOURCE, refreshMs: 5_000 })).toBe(NOW_MS + 5_000)
  })

  test("is before the last quarter of the list's life, however long the interval", () => {
    const source = { ...SOURCE, refreshMs: 365 * 24 * HOUR_MS }
    const lateMs = THIS_UPDATE_MS + (NEXT_UPDATE_MS - THIS_UPDATE_MS) * 0.75
    expect(nextRefreshMs(stateWith(), source)).toBe(lateMs)
    // In that quarter again and again, but not without a pause.
    const succeededAtMs = lateMs + HOUR_MS
    expect(nextRefreshMs(stateWith({ attemptedAtMs: succeededAtMs, succeededAtMs }), source)).toBe(
      succeededAtMs + CRL_RETRY_MS_MIN,
    )
  })

  test("isRefreshDue() is true from exactly then on", () => {
    const dueMs = NOW_MS + HOUR_MS
    expect([dueMs - 1, dueMs].map((nowMs) => isRefreshDue(stateWith(), SOURCE, nowMs))).toEqual([false, true])
  })

  test("isRefreshDue() is true for a clock that was set back behind the last attempt", () => {
    expect(isRefreshDue(stateWith(), SOURCE, NOW_MS - 24 * HOUR_MS)).toBe(true)
  })

  test("leaves at least half a minute between attempts on a server that is down, and gets to every quarter of an hour", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), (failures) => {
        let state = emptyListState(SOURCE)
        for (let attempt = 0; attempt < failures; attempt++) state = afterFailure(state, NOW_MS + attempt)
        const waitMs = nextRefreshMs(state, SOURCE) - state.attemptedAtMs
        expect(waitMs).toBeGreaterThanOrEqual(CRL_RETRY_MS_MIN)
        expect(waitMs).toBeLessThanOrEqual(CRL_RETRY_MS_MAX)
      }),
      { seed: 20_261_128, numRuns: 50 },
    )
  })
})

describe("restoreListState()", () => {
  test("returns what was stored", () => {
    const state = stateWith({ failures: 2, isStaleReported: true })
    expect(restoreListState(JSON.parse(JSON.stringify(state)), SOURCE)).toEqual(state)
  })

  test("knows nothing of another key's list", () => {
    expect(restoreListState(stateWith({ publicKey: "3058" }), SOURCE)).toEqual(emptyListState(SOURCE))
  })

  test("keeps the list of another URL in force and asks for its successor at once", () => {
    const state = restoreListState(stateWith({ url: "http://old.example/ca.crl" }), SOURCE)
    expect(state.list).toEqual(STORED)
    expect(isRefreshDue(state, SOURCE, NOW_MS)).toBe(true)
  })

  test.each([
    undefined,
    null,
    1,
    "",
    [],
    {},
    { ...stateWith(), version: 2 },
    { ...stateWith(), failures: -1 },
    { ...stateWith(), attemptedAtMs: "1" },
    { ...stateWith(), list: undefined },
    { ...stateWith(), list: { ...STORED, number: 7 } },
    { ...stateWith(), list: { ...STORED, nextUpdateMs: 1e300 } },
    { ...stateWith(), list: { ...STORED, nextUpdateMs: 9e15 } },
  ])("knows nothing after %j", (value) => {
    expect(restoreListState(value, SOURCE)).toEqual(emptyListState(SOURCE))
  })

  test("throws for no value, and makes no list good that is not there", () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        expect(statusOf(restoreListState(value, SOURCE), false, NOW_MS)).not.toBe("good")
      }),
      { seed: 20_261_128, numRuns: 2_000 },
    )
  })
})

describe("the record", () => {
  test("tells of the end of a list once", () => {
    expect(isStaleNews(stateWith(), NEXT_UPDATE_MS - 1)).toBe(false)
    expect(isStaleNews(stateWith(), NEXT_UPDATE_MS)).toBe(true)
    expect(isStaleNews(stateWith({ isStaleReported: true }), NEXT_UPDATE_MS)).toBe(false)
    expect(isStaleNews(emptyListState(SOURCE), NEXT_UPDATE_MS)).toBe(false)
    expect(afterSuccess(stateWith({ isStaleReported: true }), crl(), NOW_MS).isStaleReported).toBe(false)
  })

  test("says of a failure why, how many there were, and until when the list in force is", () => {
    expect(crlRecordOf({ kind: "failed", reason: "crl_status_500", failures: 3 }, "partners", STORED, NOW_MS)).toEqual({
      timestamp: "2026-11-02T00:00:00.000Z",
      level: "warn",
      event: "crl.failed",
      issuer: "partners",
      reason: "crl_status_500",
      failures: 3,
      this_update: "2026-11-01T00:00:00.000Z",
      next_update: "2026-12-01T00:00:00.000Z",
      entries: 1,
      number: "7",
    })
  })

  test.each([
    ["refreshed", "info"],
    ["stale", "error"],
  ] as const)("crl.%s is of the level %s", (kind, level) => {
    expect(crlRecordOf({ kind }, "partners", null, NOW_MS)).toMatchObject({ event: `crl.${kind}`, level })
  })
})

describe("findIssuer()", () => {
  const partners = { crl: { source: SOURCE } }
  const others = { crl: undefined }
  const issuers = new Map<string, { readonly crl: { readonly source: RevocationSource } | undefined }>([
    ["aabbccdd", partners],
    ["00000000", others],
  ])

  test("goes by the key that the platform verified with", () => {
    expect(findIssuer(issuers, "00000000", { issuer: NAME, authorityKeyId: undefined })).toBe(others)
    expect(findIssuer(issuers, "11111111", { issuer: NAME, authorityKeyId: undefined })).toBeUndefined()
  })

  test("goes by what the leaf says where the platform says nothing", () => {
    expect(findIssuer(issuers, undefined, { issuer: [], authorityKeyId: "aabbccdd" })).toBe(partners)
    expect(findIssuer(issuers, undefined, { issuer: NAME, authorityKeyId: undefined })).toBe(partners)
    expect(findIssuer(issuers, undefined, { issuer: [], authorityKeyId: undefined })).toBeUndefined()
  })
})

test("the name of the fixtures' CA is the one of the source", () => {
  expect(nameKey(crl({}, { issuer: name("Test CA") }).issuer)).toBe(SOURCE.ca.nameKey)
})

/**
 * Goal: somebody is told of a trail that gets nowhere, once, and early enough. Method: the borders of both measures; a seeded walk, in which
 * what is told must alternate.
 */
import { describe, expect, test } from "vitest"
import { auditDelayRecordOf, decideDelay, timeOfLine } from "../../src/core/audit/audit-delay.ts"
import { AUDIT_LATE_MS, AUDIT_WAITING_BYTES_MAX, AUDIT_WAITING_MAX } from "../../src/core/bounds.ts"
import { createRandom } from "../../simulation/random.ts"

const NOW_MS = Date.UTC(2026, 10, 28)
const NONE = { records: 0, bytes: 0, oldestMs: undefined }
const HALF = AUDIT_WAITING_MAX / 2

describe("decideDelay()", () => {
  test.each([
    ["nothing waits", NONE, undefined],
    ["one waits for a moment less", { records: 1, bytes: 500, oldestMs: NOW_MS - AUDIT_LATE_MS + 1 }, undefined],
    ["one has waited that long", { records: 1, bytes: 500, oldestMs: NOW_MS - AUDIT_LATE_MS }, "delayed"],
    ["less than half is used", { records: HALF - 1, bytes: 500, oldestMs: NOW_MS }, undefined],
    ["half of the places are used", { records: HALF, bytes: 500, oldestMs: NOW_MS }, "delayed"],
    ["half of the room is used", { records: 9, bytes: AUDIT_WAITING_BYTES_MAX / 2, oldestMs: NOW_MS }, "delayed"],
    ["nobody knows since when", { records: 1, bytes: 500, oldestMs: undefined }, undefined],
  ])("where %s: %j is %s", (_, waiting, decision) => {
    expect(decideDelay(false, waiting, NOW_MS)).toBe(decision)
  })

  test.each([
    ["nothing waits", NONE, "resumed"],
    ["the rest is young and a quarter is used", { records: HALF / 2, bytes: 500, oldestMs: NOW_MS }, "resumed"],
    ["more than a quarter is used", { records: HALF / 2 + 1, bytes: 500, oldestMs: NOW_MS }, undefined],
    ["the oldest is as old", { records: 1, bytes: 500, oldestMs: NOW_MS - AUDIT_LATE_MS }, undefined],
  ])("once told, where %s: %j is %s", (_, waiting, decision) => {
    expect(decideDelay(true, waiting, NOW_MS)).toBe(decision)
  })

  test.each([1, 2, 3])("never tells the same twice in a row (seed %i)", (seed) => {
    const random = createRandom(seed, "audit-delay")
    let isTold = false
    for (let step = 0; step < 1_000; step++) {
      const waiting = {
        records: Math.floor(random.next() * AUDIT_WAITING_MAX),
        bytes: Math.floor(random.next() * AUDIT_WAITING_BYTES_MAX),
        oldestMs: NOW_MS - Math.floor(random.next() * 2 * AUDIT_LATE_MS),
      }
      const decision = decideDelay(isTold, waiting, NOW_MS)
      expect(decision).not.toBe(isTold ? "delayed" : "resumed")
      if (decision !== undefined) isTold = decision === "delayed"
    }
  })
})

test.each([
  ['{"version":1,"time":"2026-11-28T00:00:00.000Z"}', NOW_MS],
  ['{"version":1}', undefined],
  ['{"time":"soon"}', undefined],
  ["no JSON", undefined],
  [undefined, undefined],
])("timeOfLine(%j) is %s", (line, ms) => {
  expect(timeOfLine(line)).toBe(ms)
})

test("the record names trail, number and age, and only the first one is an alert", () => {
  const waiting = { records: 3, bytes: 900, oldestMs: NOW_MS - AUDIT_LATE_MS }
  expect([
    auditDelayRecordOf("delayed", "acme", waiting, NOW_MS),
    auditDelayRecordOf("resumed", "acme", NONE, NOW_MS),
  ]).toEqual([
    {
      timestamp: "2026-11-28T00:00:00.000Z",
      level: "error",
      event: "audit.delayed",
      alert: "audit-backlog",
      trail: "acme",
      waiting: 3,
      oldest: "2026-11-27T23:55:00.000Z",
    },
    { timestamp: "2026-11-28T00:00:00.000Z", level: "info", event: "audit.resumed", trail: "acme", waiting: 0 },
  ])
})

/**
 * Goal: one event is one line that reads back as it was, and no text in it acts on a terminal or a line reader. Method:
 * the characters as cases, and random events of hostile texts.
 */
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { formatOtlpLogs } from "../../src/core/record/otlp-logs.ts"
import { formatEventJson, levelOf } from "../../src/core/record/event.ts"
import { anyEvent, EVENT } from "./event-fixtures.ts"

const ACTIVE = /[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}\ufeff]/u

describe("formatEventJson()", () => {
  test("keeps the order of the fields", () => {
    expect(Object.keys(JSON.parse(formatEventJson(EVENT)) as object)).toEqual(Object.keys(EVENT))
  })

  // LOG-01
  test.each([
    "\0",
    "\u001b[31m",
    "\n",
    "\r",
    "\u007f",
    "\u009b",
    "\u2028",
    "\u2029",
    "\u202e",
    "\u2066",
    "\u061c",
    "\ufeff",
  ])("LOG-01: escapes %j", (text) => {
    const line = formatEventJson({ ...EVENT, path: `/${text}{"level":"audit"}` })
    expect(line).not.toMatch(ACTIVE)
  })

  test("LOG-01: leaves no active character in what an OTLP sink gets", () => {
    const body = formatEventJson(formatOtlpLogs([{ ...EVENT, reason: "\u009b31m\u202e" }], "1"))
    expect(body).toContain("\\u009b31m\\u202e")
  })

  test("LOG-01: writes one line of JSON without active characters that reads back as the same event", () => {
    fc.assert(
      fc.property(anyEvent, (value) => {
        const line = formatEventJson(value)
        expect(line).not.toMatch(ACTIVE)
        // JSON has no negative zero.
        expect(JSON.parse(line)).toEqual("latency_ms" in value ? { ...value, latency_ms: value.latency_ms + 0 } : value)
      }),
      { seed: 18, numRuns: 2_000 },
    )
  })
})

test.each([
  ["forwarded", 200, "info"],
  ["forwarded", 404, "info"],
  ["forwarded", 500, "error"],
  ["answered", 200, "info"],
  ["answered", 503, "error"],
  ["refused", 403, "warn"],
  ["refused", 429, "warn"],
  ["refused", 503, "error"],
  ["failed", 200, "error"],
] as const)("levelOf() calls %s with %i %s", (outcome, status, expected) => {
  expect(levelOf(outcome, status)).toBe(expected)
})

test.each([
  ["forwarded", 200, "warn"],
  ["forwarded", 500, "error"],
  ["refused", 403, "warn"],
] as const)("levelOf() calls %s with %i %s when a part was down", (outcome, status, expected) => {
  expect(levelOf(outcome, status, true)).toBe(expected)
})

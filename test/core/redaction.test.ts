/**
 * Goal: nothing that looks like a credential or a card number reaches a record, whatever stands around it, and nothing in a text acts
 * on who reads it. Method: cases from the wire; then secrets planted in hostile texts.
 */
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { EVENT_VALUE_LENGTH_MAX } from "../../src/core/bounds.ts"
import { redactText } from "../../src/core/record/redaction.ts"
import { hostileText } from "./event-fixtures.ts"

const ACTIVE = /[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}\ufeff]/u
const JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJTRUNSRVQifQ.U0VDUkVUU0VDUkVU"

describe("redactText() leaves alone", () => {
  test.each([
    "/accounts/7/transactions",
    "/items/a%20b-c_d~e",
    "GET",
    "01932c07-1234-7000-8000-00000000000a",
    "2026-11-22T03:00:00.123Z",
    "limit",
    "/accounts/4111111111111112",
    "/n/123456789012",
    "/n/41111111111111111111111",
    "/keys.html/heyJude",
    "2001:db8::7",
    "crl_http_status_404",
    "guard_open token:sample",
    "日本語",
  ])("%s", (text) => {
    expect(redactText(text)).toBe(text)
  })
})

describe("redactText() masks", () => {
  test.each([
    // LOG-03
    ["/public/4111111111111111", "/public/[redacted]"],
    ["/public/4111-1111-1111-1111/x", "/public/[redacted]/x"],
    ["4111 1111 1111 1111", "[redacted]"],
    ["/c/4111%201111%201111%201111", "/c/[redacted]"],
    ["378282246310005", "[redacted]"],
    ["/2026-4111111111111111-7", "/2026-[redacted]-7"],
    [`/t/${JWT}`, "/t/[redacted]"],
    [`/t/${JWT.split(".").slice(0, 2).join(".")}`, "/t/[redacted]"],
    ["/login;token=SECRET/x", "/login;token=[redacted]/x"],
    ["Invalid field Authorization: Bearer SECRET", "Invalid field Authorization: [redacted] [redacted]"],
    ["Bearer SECRET", "Bearer [redacted]"],
    ["Cookie: sid=SECRET", "Cookie: [redacted]"],
    ["no URL: https://u:SECRET@h.test/p?token=SECRET", "no URL: https://[redacted]@h.test/p?[redacted]"],
  ])("%s", (text, expected) => {
    const redacted = redactText(text)
    expect(redacted).not.toContain("SECRET")
    expect(redacted).toBe(expected)
  })
})

test("LOG-01: redactText() spells out what acts on a terminal", () => {
  expect(redactText("/\u001b[31m\n\u202e\u2028\u0085x")).toBe("/\\u{1b}[31m\\u{a}\\u{202e}\\u{2028}\\u{85}x")
})

describe("redactText() bounds", () => {
  test("returns a text within the bound as it is", () => {
    const text = "x".repeat(EVENT_VALUE_LENGTH_MAX)
    expect(redactText(text)).toBe(text)
  })

  test("cuts a longer text to the bound and marks it", () => {
    expect(redactText("x".repeat(EVENT_VALUE_LENGTH_MAX + 1))).toBe(`${"x".repeat(EVENT_VALUE_LENGTH_MAX - 1)}…`)
  })

  test("leaves no half of a surrogate pair", () => {
    const text = redactText(`${"x".repeat(EVENT_VALUE_LENGTH_MAX - 2)}😀😀`)
    expect([text.isWellFormed(), text.length]).toEqual([true, EVENT_VALUE_LENGTH_MAX])
  })

  test("leaves no part of a card number at the cut", () => {
    const text = redactText(`${"x".repeat(EVENT_VALUE_LENGTH_MAX - 14)}${"4111111111111111".repeat(3)}`)
    expect(text).toBe(`${"x".repeat(EVENT_VALUE_LENGTH_MAX - 14)}…`)
  })
})

/** Card numbers of every length, with no separator or one kind between groups of four. */
const card = fc.tuple(fc.stringMatching(/^[0-9]{12,18}$/), fc.constantFrom("", " ", "-")).map(([start, separator]) => {
  const number = `${start}${checkDigit(start)}`
  return separator === "" ? number : number.replace(/[0-9]{4}(?=[0-9])/g, `$&${separator}`)
})
const part = fc.stringMatching(/^[A-Za-z0-9_-]{4,40}$/)
const jwt = fc.tuple(part, part, part).map(([a, b, c]) => `eyJhbGci${a}.eyJ${b}.${c}`)
const around = fc.oneof(hostileText, fc.string(), fc.constant("x".repeat(1_020)))

test("redactText() leaves no card number that was planted", () => {
  fc.assert(
    fc.property(around, card, around, (before, planted, after) => {
      // Digits beside it would make another number of it.
      const redacted = redactText(`${before}/${planted}/${after}`)
      expect(redacted).not.toContain(planted)
      expect(findCards(redacted)).toEqual([])
    }),
    { seed: 41, numRuns: 3_000 },
  )
})

test("redactText() leaves no JWT that was planted", () => {
  fc.assert(
    fc.property(around, jwt, around, (before, planted, after) => {
      const [, payload = "", signature = ""] = planted.split(".")
      const redacted = redactText(`${before}${planted}${after}`)
      expect(redacted).not.toContain(payload)
      if (signature.length > 12) expect(redacted).not.toContain(signature)
    }),
    { seed: 42, numRuns: 3_000 },
  )
})

test("redactText() is bounded, one line of inert characters, and leaves its own work alone", () => {
  const text = fc
    .array(fc.oneof(hostileText, card, jwt, fc.constantFrom("token=", "Bearer ", "https://", "pin: ", "?", "@", "%20")))
    .map((parts) => parts.join(""))
  fc.assert(
    fc.property(fc.oneof(text, around), (value) => {
      const once = redactText(value)
      expect(once.length).toBeLessThanOrEqual(EVENT_VALUE_LENGTH_MAX)
      expect(once).not.toMatch(ACTIVE)
      expect(once.isWellFormed()).toBe(true)
      expect(redactText(once)).toBe(once)
    }),
    { seed: 43, numRuns: 5_000 },
  )
})

function checkDigit(start: string): number {
  return Array.from({ length: 10 }, (_, digit) => digit).find((digit) => isLuhn(`${start}${digit}`)) ?? 0
}

function isLuhn(digits: string): boolean {
  const sum = Array.from(digits)
    .toReversed()
    .reduce((total, char, i) => {
      const doubled = Number(char) * (i % 2 === 0 ? 1 : 2)
      return total + (doubled > 9 ? doubled - 9 : doubled)
    }, 0)
  return sum % 10 === 0
}

/** Runs of digits that pass as card numbers. */
function findCards(text: string): readonly string[] {
  return (text.match(/[0-9]+(?:[ -][0-9]+)*/g) ?? [])
    .map((run) => run.replaceAll(/[ -]/g, ""))
    .filter((digits) => digits.length >= 13 && digits.length <= 19 && isLuhn(digits))
}

/**
 * Goal: a host name or a mailbox has one spelling, and whatever has none is nobody. Method: cases by hand, and any text at all.
 */
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { normalizeDnsName, normalizeEmail } from "../../src/core/certificate/san-name.ts"

describe("normalizeDnsName()", () => {
  test.each([
    ["API.Acme.Example", "api.acme.example"],
    ["localhost", "localhost"],
    ["xn--bcher-kva.example", "xn--bcher-kva.example"],
    ["_x.acme.example", "_x.acme.example"],
    [`${"a".repeat(63)}.example`, `${"a".repeat(63)}.example`],
  ])("gives %s as %s", (text, expected) => {
    expect(normalizeDnsName(text)).toBe(expected)
  })

  test.each([
    "",
    ".",
    "a..b",
    ".a",
    "a.",
    "*",
    "*.acme.example",
    "-a.example",
    "a-.example",
    "a b.example",
    "a.example\0",
    "a.example\n",
    "192.0.2.1",
    "bücher.example",
    "\u212a.example",
    "spiffe://a/b",
    `${"a".repeat(64)}.example`,
    `${"a.".repeat(127)}aa`,
  ])("refuses %j", (text) => {
    expect(normalizeDnsName(text)).toBeUndefined()
  })
})

describe("normalizeEmail()", () => {
  test.each([
    ["Ops@ACME.example", "Ops@acme.example"],
    ["a.b+c@acme.example", "a.b+c@acme.example"],
  ])("gives %s as %s", (text, expected) => {
    expect(normalizeEmail(text)).toBe(expected)
  })

  test.each([
    "",
    "@",
    "a@",
    "@acme.example",
    "acme.example",
    "a@b@acme.example",
    ".a@acme.example",
    "a..b@acme.example",
    "a @acme.example",
    '"a"@acme.example',
    "a@acme.example.",
    "a@*.example",
    "a@192.0.2.1",
    "a@acme.example\0.evil",
    "é@acme.example",
    `${"a".repeat(65)}@acme.example`,
  ])("refuses %j", (text) => {
    expect(normalizeEmail(text)).toBeUndefined()
  })
})

test.each([normalizeDnsName, normalizeEmail])("%o gives for any text nothing or a spelling of its own", (normalize) => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[a-zA-Z0-9.@_-]{1,20}$/)), (text) => {
      const name = normalize(text)
      if (name !== undefined) expect([normalize(name), name.toLowerCase()]).toEqual([name, text.toLowerCase()])
    }),
    { seed: 2, numRuns: 2_000 },
  )
})

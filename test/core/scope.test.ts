/**
 * Goal: a scope is granted only by a claim that names it exactly. Method: single cases, and a property over claims.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { isScopeToken, missingScopes, parseScope, scopesFor } from "../../src/core/token/scope.ts"

describe("isScopeToken()", () => {
  test.each(["read", "https://api.bank.example/pay", "a:b", "!", "~"])("RFC 6749 §3.3 takes %j", (text) => {
    expect(isScopeToken(text)).toBe(true)
  })
  test.each(["", "a b", 'a"', "a\\", "a\t", "é", "\u00a0", "a\u007f"])("RFC 6749 §3.3 refuses %j", (text) => {
    expect(isScopeToken(text)).toBe(false)
  })
})

describe("parseScope()", () => {
  test("separates at single spaces", () => {
    expect(parseScope("read pay")).toEqual(new Set(["read", "pay"]))
  })

  test.each([
    [undefined],
    [null],
    [""],
    ["read  pay"],
    [" read"],
    ["read "],
    ["read\tpay"],
    ["read\u00a0pay"],
    [["read"]],
    [{ read: true }],
    [7],
  ])("JWT-15: grants nothing for %j", (claim) => {
    expect(parseScope(claim)).toEqual(new Set())
  })

  test("grants only what stands in the claim between spaces", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.anything()), (claim) => {
        for (const scope of parseScope(claim)) expect(` ${String(claim)} `).toContain(` ${scope} `)
      }),
      { seed: 43, numRuns: 3_000 },
    )
  })
})

describe("scopesFor()", () => {
  const scopes = new Map([
    ["GET", ["read"]],
    ["POST", ["pay"]],
  ])
  test.each([
    ["GET", ["read"]],
    ["HEAD", ["read"]],
    ["POST", ["pay"]],
    ["DELETE", undefined],
  ])("asks of %s for %j", (method, expected) => {
    expect(scopesFor(scopes, method)).toEqual(expected)
  })

  test("asks of HEAD for its own where it has some", () => {
    expect(scopesFor(new Map([...scopes, ["HEAD", []]]), "HEAD")).toEqual([])
  })
})

test("missingScopes() names what was not granted", () => {
  expect(missingScopes(["read", "pay"], new Set(["pay", "admin"]))).toEqual(["read"])
})

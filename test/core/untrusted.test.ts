/**
 * Goal: the first look at a foreign value throws for none and takes nothing for what it is not. Method: examples, and texts
 * and values of any kind.
 */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { isJsonObject, membersOf, parseJson } from "../../src/core/untrusted.ts"

test("parseJson() reads every JSON text back", () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      expect(parseJson(text)).toEqual(JSON.parse(text))
    }),
    { seed: 1, numRuns: 500 },
  )
})

test.each<unknown>([undefined, null, 7, {}, ["1"], "", "{", "{}}", "'a'", "undefined"])(
  "parseJson() has no value for %j",
  (text) => {
    expect(parseJson(text)).toBeUndefined()
  },
)

test("parseJson(), isJsonObject() and membersOf() throw for no value", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.anything()), (value) => {
      expect([typeof membersOf(value), typeof membersOf(parseJson(value))]).toEqual(["object", "object"])
      expect(typeof isJsonObject(value)).toBe("boolean")
    }),
    { seed: 2, numRuns: 1_000 },
  )
})

test.each([
  [{}, true],
  [{ a: 1 }, true],
  [[], false],
  [null, false],
  ["{}", false],
  [undefined, false],
])("isJsonObject() of %j is %j", (value, expected) => {
  expect(isJsonObject(value)).toBe(expected)
})

test("membersOf() has no members for what is no object", () => {
  expect([undefined, null, 1, "text", true].map(membersOf)).toEqual([{}, {}, {}, {}, {}])
})

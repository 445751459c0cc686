/**
 * Goal: a failed call of an object is repeated at most once, never when the object is overloaded, and never for a reason
 * that nobody understands. Method: the shapes that the platform throws, and values that nobody should throw.
 */
import fc from "fast-check"
import { expect, test } from "vitest"
import { decideObjectError } from "../../src/core/gate/object-error.ts"

function flagged(flags: object): Error {
  return Object.assign(new Error("Durable Object"), flags)
}

test("decideObjectError() never repeats a call of an overloaded object", () => {
  expect(decideObjectError(flagged({ overloaded: true, retryable: true, durableObjectReset: true }), 1)).toEqual({
    retry: false,
    overloaded: true,
    reason: "object_overloaded",
  })
})

test("decideObjectError() repeats once when the object was reset, which carries no retryable flag", () => {
  expect(decideObjectError(flagged({ durableObjectReset: true }), 1)).toEqual({
    retry: true,
    overloaded: false,
    reason: "object_reset",
  })
})

test("decideObjectError() repeats once when the platform says retryable", () => {
  expect(decideObjectError(flagged({ retryable: true, remote: true }), 1)).toEqual({
    retry: true,
    overloaded: false,
    reason: "object_unreachable",
  })
})

test.each([{ durableObjectReset: true }, { retryable: true }])("decideObjectError() refuses a second %j", (flags) => {
  expect(decideObjectError(flagged(flags), 2).retry).toBe(false)
})

test.each([
  ["an error without flags", new Error("no such table: gate")],
  ["an error of the object's own code", flagged({ remote: true })],
  ["flags that are false", flagged({ retryable: false, durableObjectReset: false, overloaded: false })],
  ["flags that are only truthy", flagged({ retryable: "true", durableObjectReset: 1 })],
  ["a text", "retryable"],
  ["undefined", undefined],
  ["null", null],
])("decideObjectError() refuses %s", (_, error) => {
  expect(decideObjectError(error, 1)).toEqual({ retry: false, overloaded: false, reason: "object_failed" })
})

test("decideObjectError() refuses a value whose members throw, whatever else it says", () => {
  const hostile = {
    retryable: true,
    get overloaded() {
      throw new Error("not telling")
    },
  }
  expect(decideObjectError(hostile, 1)).toEqual({ retry: false, overloaded: false, reason: "object_failed" })
})

test("decideObjectError() is total", () => {
  fc.assert(
    fc.property(fc.anything({ withNullPrototype: true }), fc.double(), (error, attempt) => {
      expect(typeof decideObjectError(error, attempt).retry).toBe("boolean")
    }),
    { seed: 131, numRuns: 500 },
  )
})

/**
 * Goal: a client meets exactly the limits that the route and its own table say. Method: sets by hand.
 */
import { expect, test } from "vitest"
import type { NamedLimit } from "../../src/core/limit/limit.ts"
import { limitsFor, type LimitSet } from "../../src/core/limit/limit-set.ts"

const quota = (name: string): NamedLimit => ({ kind: "quota", name, limit: 1, unit: "day", timezone: "UTC" })
const set = (name: string): LimitSet => ({ name, limits: [quota(`${name}-1`), quota(`${name}-2`)] })
const [A, B, C] = ["a", "b", "c"].map(set) as [LimitSet, LimitSet, LimitSet]
const names = (limits: readonly NamedLimit[]): readonly string[] => limits.map(({ name }) => name)

test("limitsFor() returns the limits of every set in their order", () => {
  expect(limitsFor([B, A], { limitSets: new Map(), mode: "enforce" })).toEqual([...B.limits, ...A.limits])
})

test("limitsFor() puts the client's own set in place of the route's", () => {
  expect(names(limitsFor([A, B], { limitSets: new Map([["a", C]]), mode: "enforce" }))).toEqual(
    names([...C.limits, ...B.limits]),
  )
})

test("limitsFor() replaces a set once", () => {
  const limitSets = new Map([
    ["a", B],
    ["b", C],
  ])
  expect(limitsFor([A], { limitSets, mode: "enforce" })).toEqual(B.limits)
})

test("limitsFor() applies a set once when two become the same", () => {
  expect(limitsFor([A, B], { limitSets: new Map([["a", B]]), mode: "enforce" })).toEqual(B.limits)
})

test("limitsFor() puts every limit of a shadow client in shadow mode", () => {
  const limits = limitsFor([A, B], { limitSets: new Map(), mode: "shadow" })
  expect(limits.map(({ mode }) => mode)).toEqual(["shadow", "shadow", "shadow", "shadow"])
})

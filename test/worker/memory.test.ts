/**
 * Goal: what an isolate remembers stays bounded, and forgets in the order of arrival. Method: examples at the bound.
 */
import { expect, test } from "vitest"
import { remember } from "../../src/memory.ts"

test("remember() forgets what came first, and only as much as makes room", () => {
  const memory = new Map<string, number>()
  for (const [key, value] of [
    ["a", 1],
    ["b", 2],
    ["c", 3],
  ] as const)
    remember(memory, key, value, 2)
  expect([...memory]).toEqual([
    ["b", 2],
    ["c", 3],
  ])
})

test("remember() takes a new value for a key that it knows and forgets nothing for it", () => {
  const memory = new Map([
    ["a", 1],
    ["b", 2],
  ])
  remember(memory, "a", 3, 2)
  expect([...memory]).toEqual([
    ["a", 3],
    ["b", 2],
  ])
})

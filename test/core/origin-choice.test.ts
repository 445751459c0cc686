/**
 * Goal: URLs get requests by weight, backups only when nobody else can, and nothing is sent twice that must not be. Method: the
 * whole range of the random number for shares; random origins for what always holds.
 */
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { chooseUrl, isRepeatable, type Choosable } from "../../src/core/origin/origin-choice.ts"

const url = (weight: number, isBackup = false): Choosable => ({ weight, isBackup })
const everyUrl = (): boolean => true

describe("chooseUrl()", () => {
  test.each([
    [[1], [1]],
    [
      [1, 3],
      [1, 3],
    ],
    [
      [2, 5, 3],
      [2, 5, 3],
    ],
  ])("gives URLs of the weights %j exactly those shares", (weights, shares) => {
    const total = weights.reduce((sum, weight) => sum + weight, 0)
    const urls = weights.map((weight) => url(weight))
    const counts = weights.map(() => 0)
    for (let i = 0; i < total; i += 1) {
      const index = chooseUrl(urls, everyUrl, (i + 0.5) / total) ?? -1
      counts[index] = (counts[index] ?? 0) + 1
    }
    expect(counts).toEqual(shares)
  })

  test("gives the share of a URL that cannot be asked to the others by their weights", () => {
    const urls = [url(1), url(100), url(3)]
    const chosen = [0.1, 0.24, 0.26, 0.99].map((random) => chooseUrl(urls, (index) => index !== 1, random))
    expect(chosen).toEqual([0, 0, 2, 2])
  })

  test.each([
    ["while another can be asked", everyUrl, 1],
    ["when no other can be asked", (index: number): boolean => index !== 1, 0],
  ] as const)("with a heavy backup %s returns %s", (_, canAsk, index) => {
    expect(chooseUrl([url(1_000, true), url(1)], canAsk, 0)).toBe(index)
  })

  test("returns undefined when none can be asked", () => {
    expect(chooseUrl([url(1), url(1, true)], () => false, 0.5)).toBeUndefined()
  })

  const origins = fc.array(
    fc.record({ weight: fc.integer({ min: 1, max: 1_000 }), isBackup: fc.boolean(), canAsk: fc.boolean() }),
    { maxLength: 16 },
  )
  const randoms = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })

  test("always returns one that can be asked, and a backup only when nothing else can be", () => {
    fc.assert(
      fc.property(origins, randoms, (urls, random) => {
        const index = chooseUrl(urls, (i) => urls[i]?.canAsk === true, random)
        const able = urls.filter(({ canAsk }) => canAsk)
        expect(index === undefined).toBe(able.length === 0)
        if (index === undefined) return
        expect(urls[index]?.canAsk).toBe(true)
        if (urls[index]?.isBackup === true) expect(able.every(({ isBackup }) => isBackup)).toBe(true)
      }),
      { seed: 20_270_101, numRuns: 2_000 },
    )
  })
})

describe("isRepeatable()", () => {
  const terms = { retriesMax: 1, hasIdempotent: false, statuses: new Set<number>() }

  test.each(["GET", "HEAD", "OPTIONS"])("PRX-12 %s may be sent again", (method) => {
    expect(isRepeatable(method, false, terms)).toBe(true)
  })

  test.each(["POST", "PATCH", "TRACE", "PUT", "DELETE"])("PRX-12 %s may not be sent again", (method) => {
    expect(isRepeatable(method, false, terms)).toBe(false)
  })

  test.each([
    ["PUT", true],
    ["DELETE", true],
    ["POST", false],
    ["PATCH", false],
  ])("PRX-12 with retry_idempotent %s may be sent again: %s", (method, isAllowed) => {
    expect(isRepeatable(method, false, { ...terms, hasIdempotent: true })).toBe(isAllowed)
  })

  test.each(["OPTIONS", "PUT", "DELETE"])("%s with content may not be sent again", (method) => {
    expect(isRepeatable(method, true, { ...terms, hasIdempotent: true })).toBe(false)
  })

  test("nothing may be sent again where retries are off", () => {
    expect(isRepeatable("GET", false, { ...terms, retriesMax: 0 })).toBe(false)
  })
})

/**
 * Goal: a share is a share, a larger one contains a smaller one, and nothing that matters is left out. Method: cases, and random
 * trace ids with a seed.
 */
import { createHash } from "node:crypto"
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { isSampled, levelOnRecord, LOG_ALL, placeOfTrace, type RouteLog } from "../../src/core/record/sampling.ts"

/** Digits that are as even as those that a gateway mints. */
const digest = (i: number): string => createHash("sha256").update(String(i)).digest("hex")
const traceId = fc.stringMatching(/^[0-9a-f]{32}$/)

describe("placeOfTrace()", () => {
  test.each([
    ["0".repeat(32), 0],
    [`${"f".repeat(18)}${"0".repeat(14)}`, 0],
    [`${"0".repeat(18)}8${"0".repeat(13)}`, 0.5],
    ["f".repeat(32), 1 - 2 ** -52],
  ])("of %s is %d", (id, place) => {
    expect(placeOfTrace(id)).toBe(place)
  })
})

describe("isSampled()", () => {
  test("takes every trace at 1 and none at 0", () => {
    fc.assert(
      fc.property(traceId, (id) => isSampled(placeOfTrace(id), 1) && !isSampled(placeOfTrace(id), 0)),
      { seed: 71 },
    )
  })

  test("takes with a larger share what a smaller one takes", () => {
    const share = fc.double({ min: 0, max: 1, noNaN: true })
    fc.assert(
      fc.property(traceId, share, share, (id, a, b) => {
        const place = placeOfTrace(id)
        return !isSampled(place, Math.min(a, b)) || isSampled(place, Math.max(a, b))
      }),
      { seed: 72 },
    )
  })

  test.each([0.01, 0.1, 0.5, 0.9])("takes about %d of many traces", (ratio) => {
    const places = Array.from({ length: 20_000 }, (_, i) => placeOfTrace(digest(i).slice(0, 32)))
    const share = places.filter((place) => isSampled(place, ratio)).length / places.length
    expect(Math.abs(share - ratio)).toBeLessThan(0.02)
  })
})

describe("levelOnRecord()", () => {
  test("never leaves out a warning or an error, whatever the route says", () => {
    const log = fc.record<RouteLog>({
      sampleRatio: fc.double({ min: 0, max: 1, noNaN: true }),
      level: fc.constantFrom("info" as const, "debug" as const),
    })
    fc.assert(
      fc.property(fc.constantFrom("warn" as const, "error" as const), log, traceId, (level, terms, id) => {
        expect(levelOnRecord(level, terms, placeOfTrace(id))).toBe(level)
      }),
      { seed: 74 },
    )
  })

  test.each([
    [undefined, 0, "info"],
    [LOG_ALL, 0, "info"],
    [{ sampleRatio: 0, level: "info" }, 0.999, undefined],
    [{ sampleRatio: 0.1, level: "info" }, 0.95, "info"],
    [{ sampleRatio: 0.1, level: "info" }, 0.5, undefined],
    [{ sampleRatio: 1, level: "debug" }, 0, "debug"],
  ] as const)("with %j at %d says %s of what went well", (log, place, expected) => {
    expect(levelOnRecord("info", log, place)).toBe(expected)
  })
})

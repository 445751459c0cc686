/** Goal: what an isolate says of a limit is never more than the limit gives. Method: one policy, single cases. */
import { describe, expect, test } from "vitest"
import { standingOf } from "../../src/core/lease/lease-standing.ts"
import type { Standing } from "../../src/core/lease/lease-standing.ts"

const POLICY = { name: "client", quota: 10, windowSec: 1, remaining: 4, nextMs: 500 }

function standing(difference: Partial<Standing>, policy = POLICY) {
  return standingOf([policy], { elapsedMs: 0, tokens: 0, ...difference })[0]
}

describe("standingOf()", () => {
  test("standingOf() adds the tokens at hand to what the object has", () => {
    expect(standing({ tokens: 3 })?.remaining).toBe(7)
  })

  test("standingOf() tells never more than the quota, and no time to a full limit", () => {
    expect(standing({ tokens: 30 })).toMatchObject({ remaining: 10, nextMs: 0 })
  })

  test("standingOf() counts down to the next token, to 1 ms at least", () => {
    expect([standing({ elapsedMs: 200 })?.nextMs, standing({ elapsedMs: 9_000 })?.nextMs]).toEqual([300, 1])
  })

  test("standingOf() takes a clock that was put back for one that stands still", () => {
    expect(standing({ elapsedMs: -9_000 })?.nextMs).toBe(500)
  })

  test("standingOf() tells a time to a limit that was full when the object spoke and has been drawn on since", () => {
    expect(standing({}, { ...POLICY, nextMs: 0 })?.nextMs).toBe(1)
  })

  test("standingOf() has nothing left for a request of one token that was refused", () => {
    const refused = { cost: 1, violated: ["client"], retryAfterMs: 90 }
    expect(standing({ tokens: 3, refused })).toMatchObject({ remaining: 0, nextMs: 90 })
  })

  test("standingOf() leaves fewer than were refused", () => {
    expect(standing({ tokens: 3, refused: { cost: 6, violated: ["client"], retryAfterMs: 90 } })?.remaining).toBe(5)
  })

  test("standingOf() announces no token earlier because of a longer wait for several", () => {
    expect(standing({ refused: { cost: 9, violated: ["client"], retryAfterMs: 4_000 } })?.nextMs).toBe(500)
  })

  test("standingOf() leaves limits as they are that did not refuse", () => {
    expect(standing({ refused: { cost: 1, violated: ["other"], retryAfterMs: 90 } })).toEqual(POLICY)
  })
})

/**
 * Goal: a quota that is lent from is used exactly once per token, and knows nothing of any window but the present one.
 * Method: single operations at literal instants around the end of an hour, and a property against a plain count.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { QuotaMember } from "../../src/core/limit/quota-member.ts"
import { settleQuota } from "../../src/core/limit/quota.ts"
import type { QuotaConfig } from "../../src/core/limit/quota.ts"

const HOUR_MS = 3_600_000
const END_MS = 497_223 * HOUR_MS
const HOURLY: QuotaConfig = { limit: 100, unit: "hour", timezone: "UTC" }

function createMember(config = HOURLY, nowMs = END_MS - 1_000): QuotaMember {
  return new QuotaMember(settleQuota(undefined, config, nowMs), config)
}

describe("QuotaMember", () => {
  test("QuotaMember has its limit less what is used", () => {
    const { capacity, available } = createMember().take(30)
    expect([capacity, available]).toEqual([100, 70])
  })

  test("QuotaMember has nothing left when the limit was lowered below what is used", () => {
    const { state } = createMember().take(30)
    expect(new QuotaMember(state, { ...HOURLY, limit: 20 }).available).toBe(0)
  })

  test("isOverdrawn() is true only when more is used than the limit, whatever is lent", () => {
    const { state } = createMember().take(30)
    expect([30, 29].map((limit) => new QuotaMember(state, { ...HOURLY, limit }).isOverdrawn(1_000))).toEqual([
      false,
      true,
    ])
  })

  test("QuotaMember has nothing to give when its limit is not known", () => {
    const { state } = createMember().take(30)
    expect(new QuotaMember(state).settle(0, END_MS).available).toBe(0)
  })

  test("settle() keeps what is used until the window ends, whatever is lent", () => {
    const member = createMember().take(30)
    expect([END_MS - 1, END_MS].map((nowMs) => member.settle(Number.POSITIVE_INFINITY, nowMs).state.used)).toEqual([
      30, 0,
    ])
  })

  test("settle() needs no configuration to begin the next window", () => {
    const { state } = createMember().take(30)
    expect(new QuotaMember(state).settle(0, END_MS + 5).state).toMatchObject({ used: 0, startMs: END_MS, unit: "hour" })
  })

  test("adopt() keeps what is used under another calendar", () => {
    const { state } = createMember().take(30)
    const { used, unit } = new QuotaMember(state, { ...HOURLY, unit: "day" }).adopt(0).state
    expect([used, unit]).toEqual([30, "day"])
  })

  test("validMs is the rest of the window", () => {
    expect(createMember().validMs).toBe(1_000)
  })

  test("sinceMs is the start of the window", () => {
    const member = createMember()
    expect([member.sinceMs, member.settle(0, END_MS).sinceMs]).toEqual([END_MS - HOUR_MS, END_MS])
  })

  test("give() never brings what is used below 0", () => {
    expect(createMember().take(3).give(5).state.used).toBe(0)
  })

  test("waitMs() is the rest of the window for what does not fit, and 0 for what does", () => {
    const member = createMember().take(30)
    expect([70, 71].map((n) => member.waitMs(n))).toEqual([0, 1_000])
  })

  test("QuotaMember counts like a plain counter per hour", () => {
    const steps = fc.array(
      fc.record({ gapMs: fc.integer({ min: 0, max: HOUR_MS / 2 }), taken: fc.nat(40), given: fc.nat(40) }),
      { minLength: 1, maxLength: 20 },
    )
    fc.assert(
      fc.property(steps, (history) => {
        let member = createMember()
        let nowMs = END_MS - 1_000
        let counted = { hour: Math.floor(nowMs / HOUR_MS), used: 0 }
        for (const { gapMs, taken, given } of history) {
          nowMs += gapMs
          const hour = Math.floor(nowMs / HOUR_MS)
          if (hour > counted.hour) counted = { hour, used: 0 }
          member = member.settle(0, nowMs)
          const n = Math.min(taken, member.available)
          member = member.take(n).give(given)
          counted = { hour, used: Math.max(0, counted.used + n - given) }
          expect(member.state.used).toBe(counted.used)
        }
      }),
      { seed: 31, numRuns: 200 },
    )
  })
})

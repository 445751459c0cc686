/**
 * Goal: every status becomes field values that a structured-field parser accepts, and a client that obeys them is not
 * refused again. Method: boundaries by hand, any status by property; the exact values of the vectors have their own test.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { decideAdmission } from "../../src/core/limit/admission.ts"
import { EMPTY_GATE_STATE } from "../../src/core/gate/gate-state.ts"
import {
  formatLegacyFields,
  formatRateLimit,
  formatRateLimitPolicy,
  formatRateLimitShadow,
  formatRetryAfter,
} from "../../src/core/limit/ratelimit-fields.ts"

const FULL = { name: "burst", quota: 10, windowSec: 2, remaining: 10, nextMs: 0 }
const MEMBER = String.raw`"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"`
const POLICY_LIST = new RegExp(String.raw`^${MEMBER};q=\d{1,15};w=\d{1,15}(?:, ${MEMBER};q=\d{1,15};w=\d{1,15})*$`)
const LIMIT_LIST = new RegExp(
  String.raw`^${MEMBER};r=\d{1,15}(?:;t=\d{1,15})?(?:, ${MEMBER};r=\d{1,15}(?:;t=\d{1,15})?)*$`,
)

const statuses = fc.array(
  fc.record({
    name: fc.string({ unit: "binary" }),
    quota: fc.double(),
    windowSec: fc.double(),
    remaining: fc.double(),
    nextMs: fc.double(),
  }),
  { minLength: 1, maxLength: 4 },
)

describe("formatRateLimitPolicy()", () => {
  test("formatRateLimitPolicy() writes a list that parses for any status", () => {
    fc.assert(
      fc.property(statuses, (policies) => {
        expect(formatRateLimitPolicy(policies)).toMatch(POLICY_LIST)
      }),
      { seed: 121, numRuns: 500 },
    )
  })

  test("RFC 9651 §4.1 sends no field for an empty list", () => {
    expect(formatRateLimitPolicy([])).toBeUndefined()
  })

  test("RFC 9651 §4.1.6 escapes quotes and backslashes in a name", () => {
    expect(formatRateLimitPolicy([{ ...FULL, name: String.raw`a"b\c` }])).toBe(String.raw`"a\"b\\c";q=10;w=2`)
  })

  test("RFC 9651 §3.3.3 has no character in a name beyond ASCII", () => {
    expect(formatRateLimitPolicy([{ ...FULL, name: "関所\r\n" }])).toBe('"____";q=10;w=2')
  })

  test("RFC 9651 §3.3.1 has no integer above 15 digits", () => {
    expect(formatRateLimitPolicy([{ ...FULL, quota: 2 ** 53 - 1 }])).toBe('"burst";q=999999999999999;w=2')
  })
})

describe("formatRateLimit()", () => {
  test("formatRateLimit() writes a list that parses for any status", () => {
    fc.assert(
      fc.property(statuses, (policies) => {
        expect(formatRateLimit(policies)).toMatch(LIMIT_LIST)
      }),
      { seed: 122, numRuns: 500 },
    )
  })

  test("formatRateLimit() writes no t when the limit is full", () => {
    expect(formatRateLimit([FULL])).toBe('"burst";r=10')
  })

  test("formatRateLimit() sends no field for an empty list", () => {
    expect(formatRateLimit([])).toBeUndefined()
  })
})

describe("formatRetryAfter()", () => {
  test.each([
    [0, "1"],
    [1, "1"],
    [1000, "1"],
    [1001, "2"],
    [9_007_199_254_740_001, "9007199254741"],
    [Number.NaN, "1"],
    [-5, "1"],
    [Number.POSITIVE_INFINITY, "9007199254741"],
  ])("formatRetryAfter(%d) writes %s", (retryAfterMs, expected) => {
    expect(formatRetryAfter(retryAfterMs)).toBe(expected)
  })

  test("formatRetryAfter() is never earlier than the t of a limit that refused", () => {
    const rate = fc.record({ count: fc.integer({ min: 1, max: 50 }), periodMs: fc.integer({ min: 1, max: 60_000 }) })
    const limit = fc.record({ burst: fc.integer({ min: 1, max: 9 }), rate })
    fc.assert(
      fc.property(fc.array(limit, { minLength: 1, maxLength: 3 }), fc.array(fc.nat({ max: 900 })), (configs, gaps) => {
        const limits = configs.map((config, index) => ({ kind: "bucket" as const, name: `limit-${index}`, ...config }))
        let state = EMPTY_GATE_STATE
        let nowMs = 0
        for (const gapMs of gaps) {
          nowMs += gapMs
          const step = decideAdmission(state, { limits, cost: 1 }, nowMs)
          state = step.state
          const { decision } = step
          if (decision.admitted) continue
          for (const policy of decision.policies.filter(({ name }) => decision.violated.includes(name))) {
            const t = /;t=(\d+)$/.exec(formatRateLimit([policy]) ?? "")?.[1]
            expect(Number(formatRetryAfter(decision.retryAfterMs ?? 0))).toBeGreaterThanOrEqual(Number(t))
          }
        }
      }),
      { seed: 123, numRuns: 300 },
    )
  })
})

describe("formatRateLimitShadow()", () => {
  test.each([
    [[], undefined],
    [["a"], '"a"'],
    [["a", 'b"\\é'], String.raw`"a", "b\"\\_"`],
  ])("formatRateLimitShadow(%j) writes %s", (names, expected) => {
    expect(formatRateLimitShadow(names)).toBe(expected)
  })
})

describe("formatLegacyFields()", () => {
  const DAY = { name: "day", quota: 1_000, windowSec: 86_400, remaining: 3, nextMs: 7_200_001 }

  test("formatLegacyFields() tells of the policy with the least remaining", () => {
    expect(formatLegacyFields([FULL, DAY])).toEqual([
      ["X-RateLimit-Limit", "1000"],
      ["X-RateLimit-Remaining", "3"],
      ["X-RateLimit-Reset", "7201"],
    ])
  })

  test("formatLegacyFields() tells of the first of several with as little remaining", () => {
    const values = formatLegacyFields([FULL, { ...DAY, quota: 7 }, DAY]).map(([, value]) => value)
    expect(values).toEqual(["7", "3", "7201"])
  })

  test("formatLegacyFields() resets a full limit in 0 seconds", () => {
    expect(formatLegacyFields([FULL])[2]).toEqual(["X-RateLimit-Reset", "0"])
  })

  test("formatLegacyFields() resets nothing at once that is not full", () => {
    expect(formatLegacyFields([{ ...DAY, nextMs: 1 }])[2]).toEqual(["X-RateLimit-Reset", "1"])
  })

  test("formatLegacyFields() sends no field without policies", () => {
    expect(formatLegacyFields([])).toEqual([])
  })

  test("formatLegacyFields() writes whole numbers for any status", () => {
    fc.assert(
      fc.property(statuses, (policies) => {
        expect(formatLegacyFields(policies).map(([, value]) => /^\d{1,15}$/.test(value))).toEqual([true, true, true])
      }),
      { seed: 124, numRuns: 500 },
    )
  })

  test("formatLegacyFields() says what RateLimit says of the same policy", () => {
    fc.assert(
      fc.property(statuses, (policies) => {
        const [, remaining, reset] = formatLegacyFields(policies).map(([, value]) => value)
        const members = policies.map((policy) => formatRateLimit([{ ...policy, name: "x" }]))
        expect(members).toContain(`"x";r=${remaining}${reset === "0" ? "" : `;t=${reset}`}`)
      }),
      { seed: 125, numRuns: 500 },
    )
  })
})

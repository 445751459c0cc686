/**
 * Goal: connection details are believed once, fresh, and only with a MAC that covers this very request. Method: the
 * attacks as cases, a random history against a naive memory, and any JSON value as input.
 */
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { EDGE_ASSERTION_AGE_MS_MAX, EDGE_ASSERTION_SEEN_MAX } from "../../src/core/bounds.ts"
import {
  decideAssertion,
  parseAssertion,
  signedText,
  type AssertedRequest,
  type SeenAssertions,
} from "../../src/core/assertion/edge-assertion.ts"

const NOW_MS = 1_800_000_000_000
const MAC = "0123456789abcdef".repeat(4)

function rid(number: number): string {
  return `01932c07-0000-7000-8000-${number.toString(16).padStart(12, "0")}`
}

const GOOD = { rid: rid(1), exp: NOW_MS + 10_000, mac: MAC }

function outcome(value: unknown, isMacValid = true, seen: SeenAssertions = new Map(), nowMs = NOW_MS): string {
  const { decision } = decideAssertion(seen, value, isMacValid, nowMs)
  return decision.accepted ? decision.requestId : decision.reason
}

describe("decideAssertion()", () => {
  test("accepts a fresh assertion with a valid MAC under its request id", () => {
    expect(outcome(GOOD)).toBe(GOOD.rid)
  })

  test("reports a missing assertion", () => {
    expect(outcome(undefined)).toBe("edge_assertion_missing")
  })

  test("refuses an assertion whose MAC does not match", () => {
    expect(outcome(GOOD, false)).toBe("edge_assertion_forged")
  })

  test.each([
    [NOW_MS - 1, "edge_assertion_expired"],
    [NOW_MS, "edge_assertion_expired"],
    [NOW_MS + 1, GOOD.rid],
    [NOW_MS + EDGE_ASSERTION_AGE_MS_MAX, GOOD.rid],
    [NOW_MS + EDGE_ASSERTION_AGE_MS_MAX + 1, "edge_assertion_expired"],
    [Number.MAX_SAFE_INTEGER, "edge_assertion_expired"],
    [-1, "edge_assertion_expired"],
  ])("judges the expiry %i", (exp, expected) => {
    expect(outcome({ ...GOOD, exp })).toBe(expected)
  })

  test("refuses an assertion that was accepted before", () => {
    const { seen } = decideAssertion(new Map(), GOOD, true, NOW_MS)
    expect(outcome(GOOD, true, seen, NOW_MS + 1)).toBe("edge_assertion_replayed")
  })

  test("does not remember an assertion that it refused", () => {
    const { seen } = decideAssertion(new Map(), GOOD, false, NOW_MS)
    expect(outcome(GOOD, true, seen)).toBe(GOOD.rid)
  })

  test("refuses rather than forgets when its memory is full", () => {
    const seen = new Map(
      Array.from({ length: EDGE_ASSERTION_SEEN_MAX }, (_, i) => [rid(i + 2), NOW_MS + 1_000] as const),
    )
    expect([outcome(GOOD, true, seen), outcome(GOOD, true, seen, NOW_MS + 1_000), seen.size]).toEqual([
      "edge_assertion_overflow",
      GOOD.rid,
      1,
    ])
  })

  test("accepts each assertion once while it is fresh, and never again", () => {
    const step = fc.record({ number: fc.nat(5), lifeMs: fc.integer({ min: 1, max: 40_000 }), waitMs: fc.nat(20_000) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        let seen: SeenAssertions = new Map()
        let nowMs = NOW_MS
        // An honest edge signs an id once, with one expiry.
        const signed = new Map<number, number>()
        const accepted = new Set<number>()
        for (const { number, lifeMs, waitMs } of steps) {
          nowMs += waitMs
          const exp = signed.get(number) ?? nowMs + lifeMs
          signed.set(number, exp)
          const result = decideAssertion(seen, { rid: rid(number), exp, mac: MAC }, true, nowMs)
          seen = result.seen
          const isFresh = nowMs < exp && exp - nowMs <= EDGE_ASSERTION_AGE_MS_MAX
          expect(result.decision.accepted).toBe(isFresh && !accepted.has(number))
          if (result.decision.accepted) accepted.add(number)
        }
      }),
      { seed: 10, numRuns: 500 },
    )
  })

  test("takes any other JSON value for malformed", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(outcome(value)).toBe("edge_assertion_malformed")
      }),
      { seed: 11, numRuns: 1_000 },
    )
  })
})

test.each([
  ["no members", {}],
  ["an array", [GOOD.rid, GOOD.exp, GOOD.mac]],
  ["a JSON text", JSON.stringify(GOOD)],
  ["an id in upper case", { ...GOOD, rid: GOOD.rid.toUpperCase() }],
  ["an id with a line feed", { ...GOOD, rid: `${GOOD.rid}\n` }],
  ["an expiry as text", { ...GOOD, exp: String(GOOD.exp) }],
  ["a fractional expiry", { ...GOOD, exp: GOOD.exp + 0.5 }],
  ["an expiry beyond exact integers", { ...GOOD, exp: 2 ** 53 }],
  ["a MAC in upper case", { ...GOOD, mac: MAC.toUpperCase() }],
  ["a short MAC", { ...GOOD, mac: MAC.slice(2) }],
  ["a list of MACs", { ...GOOD, mac: [MAC] }],
])("parseAssertion() refuses %s", (_, value) => {
  expect(parseAssertion(value)).toBeUndefined()
})

test("parseAssertion() ignores members that it does not know", () => {
  expect(parseAssertion({ ...GOOD, more: 1 })).toEqual(GOOD)
})

describe("signedText()", () => {
  const request: AssertedRequest = { method: "GET", host: "gw.test", target: "/a?b", clientAddress: "127.0.0.9" }

  test("has one line for each thing it binds", () => {
    expect(signedText(GOOD, request, "{}").split("\n")).toEqual([
      "sekisho-edge-assertion/1",
      GOOD.rid,
      String(GOOD.exp),
      "GET",
      "gw.test",
      "/a?b",
      "127.0.0.9",
      "{}",
    ])
  })

  test("differs whenever anything it binds differs", () => {
    const line = fc.constantFrom("", "a", "b", "a b", "{}", "/a")
    const facts = fc.record({ method: line, host: line, target: line, clientAddress: line, cf: line })
    fc.assert(
      fc.property(facts, facts, (left, right) => {
        const isSame = JSON.stringify(left) === JSON.stringify(right)
        expect(signedText(GOOD, left, left.cf) === signedText(GOOD, right, right.cf)).toBe(isSame)
      }),
      { seed: 12, numRuns: 1_000 },
    )
  })
})

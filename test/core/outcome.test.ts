/**
 * Goal: exactly what the client did wrong is a failure; nothing that the origin, the network or the gateway did is.
 * Method: the whole default table, then every exception of it, and properties over all statuses.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { FAILURE_STATUSES_MAX } from "../../src/core/bounds.ts"
import { classifyOutcome, OUTCOME_RULES_DEFAULT, parseOutcomeRules } from "../../src/core/guard/outcome.ts"
import type { FinalAnswer, OutcomeRules } from "../../src/core/guard/outcome.ts"

const ORIGIN: FinalAnswer = { status: 200, source: "origin", isAborted: false, isTimeout: false }
const GATEWAY: FinalAnswer = { ...ORIGIN, source: "gateway" }
const LOGIN: OutcomeRules = { ...OUTCOME_RULES_DEFAULT, failureStatuses: [401, 403, 429] }
const EVERYTHING: OutcomeRules = {
  ...OUTCOME_RULES_DEFAULT,
  failureStatuses: Array.from({ length: 500 }, (_, index) => 100 + index),
}
const STATUSES = Array.from({ length: 500 }, (_, index) => 100 + index)

function classifyAll(answer: FinalAnswer, rules: OutcomeRules) {
  const statusesOf = (result: string) =>
    STATUSES.filter((status) => classifyOutcome({ ...answer, status }, rules) === result)
  return { failure: statusesOf("failure"), success: statusesOf("success") }
}
const TWO_AND_THREE_HUNDREDS = STATUSES.filter((status) => status >= 200 && status < 400)

describe("classifyOutcome() by status", () => {
  test.each([
    ["origin", ORIGIN],
    ["gateway", GATEWAY],
  ])("classifyOutcome() counts 401 and 403 of the %s, 2xx and 3xx as success, all else as neither", (_, answer) => {
    expect(classifyAll(answer, OUTCOME_RULES_DEFAULT)).toEqual({ failure: [401, 403], success: TWO_AND_THREE_HUNDREDS })
  })

  test("classifyOutcome() counts 429 of the origin where the route is a login", () => {
    expect(classifyAll(ORIGIN, LOGIN).failure).toEqual([401, 403, 429])
  })

  test("classifyOutcome() never counts the gateway's own 429: it is a limit or the guard itself", () => {
    expect(classifyAll(GATEWAY, LOGIN).failure).toEqual([401, 403])
  })

  test("classifyOutcome() never counts a server error of the origin, whatever the rules list", () => {
    expect(classifyAll(ORIGIN, EVERYTHING).failure).toEqual(STATUSES.filter((status) => status < 500))
  })

  test("classifyOutcome() counts of the gateway's answers 401 and 403 at most, whatever the rules list", () => {
    expect(classifyAll(GATEWAY, EVERYTHING)).toEqual({ failure: [401, 403], success: TWO_AND_THREE_HUNDREDS })
  })

  test("classifyOutcome() does not count the gateway's 403 when the rules do not list it", () => {
    const rules = { ...OUTCOME_RULES_DEFAULT, failureStatuses: [401] }
    expect(classifyAll(GATEWAY, rules).failure).toEqual([401])
  })

  test("classifyOutcome() lets the list win over the 2xx", () => {
    const rules = { ...OUTCOME_RULES_DEFAULT, failureStatuses: [302] }
    expect(classifyOutcome({ ...ORIGIN, status: 302 }, rules)).toBe("failure")
  })
})

describe("classifyOutcome() by the gateway's own problems", () => {
  const rules: OutcomeRules = { ...EVERYTHING, failureProblems: ["token-invalid"] }

  test("classifyOutcome() counts the listed refusals of the gateway", () => {
    expect(classifyOutcome({ ...GATEWAY, status: 401, problem: "token-invalid" }, rules)).toBe("failure")
  })

  test.each([
    ["another refusal", { ...GATEWAY, status: 401, problem: "token-missing" }],
    ["an answer of the gateway", { ...GATEWAY, status: 401 }],
    ["an answer of the origin", { ...ORIGIN, status: 401, problem: "token-invalid" }],
    ["the verdict of the origin", { ...ORIGIN, originVerdict: "failure" }],
    ["a success", ORIGIN],
  ] as const)("classifyOutcome() makes nothing of %s", (_, answer) => {
    expect(classifyOutcome(answer, rules)).toBe("neutral")
  })
})

describe("classifyOutcome() without a whole answer", () => {
  test.each([{ isAborted: true }, { isTimeout: true }, { isAborted: true, isTimeout: true }])(
    "classifyOutcome() is neutral when %o and there is no answer",
    (end) => {
      expect(classifyOutcome({ ...ORIGIN, ...end, status: null, originVerdict: "failure" }, LOGIN)).toBe("neutral")
    },
  )

  test.each([{ isAborted: true }, { isTimeout: true }])("classifyOutcome() takes a success back when %o", (end) => {
    expect(classifyOutcome({ ...ORIGIN, ...end }, LOGIN)).toBe("neutral")
  })

  test.each([
    { ...ORIGIN, isAborted: true },
    { ...ORIGIN, isTimeout: true },
    { ...GATEWAY, isAborted: true },
  ])("classifyOutcome() keeps a failure that was answered when %o", (answer) => {
    expect(classifyOutcome({ ...answer, status: 401 }, LOGIN)).toBe("failure")
  })

  test("classifyOutcome() is neutral when the gateway gave up on the origin", () => {
    expect(classifyOutcome({ ...GATEWAY, status: 504, isTimeout: true }, LOGIN)).toBe("neutral")
  })
})

describe("classifyOutcome() by verdict", () => {
  test("classifyOutcome() lets the origin's verdict win over any status and end", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 100, max: 599 }),
        fc.boolean(),
        fc.boolean(),
        fc.constantFrom("success", "failure", "neutral"),
        (status, isAborted, isTimeout, originVerdict) => {
          const answer: FinalAnswer = { status, source: "origin", isAborted, isTimeout, originVerdict }
          expect(classifyOutcome(answer, LOGIN)).toBe(originVerdict)
        },
      ),
      { seed: 401, numRuns: 300 },
    )
  })

  test.each([" failure ", "FAILURE", "Failure"])("classifyOutcome() reads the verdict %o", (originVerdict) => {
    expect(classifyOutcome({ ...ORIGIN, originVerdict }, LOGIN)).toBe("failure")
  })

  test.each([undefined, null, "", "fail", "failure, success", "error", "failure;q=1"])(
    "classifyOutcome() goes by the status when the verdict is %o",
    (originVerdict) => {
      expect(classifyOutcome({ ...ORIGIN, status: 401, originVerdict }, LOGIN)).toBe("failure")
      expect(classifyOutcome({ ...ORIGIN, status: 200, originVerdict }, LOGIN)).toBe("success")
    },
  )

  test("classifyOutcome() reads no verdict in an answer of the gateway", () => {
    expect(classifyOutcome({ ...GATEWAY, status: 401, originVerdict: "success" }, LOGIN)).toBe("failure")
  })

  test("classifyOutcome() reads no verdict when the rules name no field", () => {
    const rules = { ...LOGIN, verdictHeader: null }
    expect(classifyOutcome({ ...ORIGIN, status: 401, originVerdict: "success" }, rules)).toBe("failure")
  })
})

describe("parseOutcomeRules()", () => {
  test("parseOutcomeRules() returns the default rules when nothing is said", () => {
    expect(parseOutcomeRules({})).toEqual({ ok: true, rules: OUTCOME_RULES_DEFAULT })
  })

  test("parseOutcomeRules() adds 429 for a login route to whatever is listed", () => {
    expect(parseOutcomeRules({ isLoginRoute: true })).toEqual({ ok: true, rules: LOGIN })
    expect(parseOutcomeRules({ isLoginRoute: true, failureStatuses: [400] })).toMatchObject({
      rules: { failureStatuses: [400, 429] },
    })
  })

  test("parseOutcomeRules() takes the list of statuses as it is", () => {
    expect(parseOutcomeRules({ failureStatuses: [200, 499] })).toMatchObject({ rules: { failureStatuses: [200, 499] } })
  })

  test("parseOutcomeRules() lower-cases the name of the field, and null switches it off", () => {
    expect(parseOutcomeRules({ verdictHeader: "X-Login-Outcome" })).toMatchObject({
      rules: { verdictHeader: "x-login-outcome" },
    })
    expect(parseOutcomeRules({ verdictHeader: null })).toMatchObject({ rules: { verdictHeader: null } })
  })

  test.each([
    [{ failureStatuses: [199] }, "failureStatuses"],
    [{ failureStatuses: [500] }, "failureStatuses"],
    [{ failureStatuses: [401.5] }, "failureStatuses"],
    [{ failureStatuses: ["401"] }, "failureStatuses"],
    [{ failureStatuses: 401 }, "failureStatuses"],
    // oxlint-disable-next-line no-sparse-arrays -- a hole in a stored array is the fault under test
    [{ failureStatuses: [401, , 403] }, "failureStatuses"],
    [{ failureStatuses: Array.from({ length: FAILURE_STATUSES_MAX + 1 }, () => 401) }, "failureStatuses"],
    [{ isLoginRoute: 1 }, "isLoginRoute"],
    [{ verdictHeader: "" }, "verdictHeader"],
    [{ verdictHeader: "a b" }, "verdictHeader"],
    [{ verdictHeader: "a".repeat(65) }, "verdictHeader"],
    [{ verdictHeader: 7 }, "verdictHeader"],
  ])("parseOutcomeRules() rejects %o and names %s alone", (value, name) => {
    const result = parseOutcomeRules(value)
    expect(result.ok ? [] : result.problems.map((problem) => problem.split(" ")[0])).toEqual([name])
  })

  test("parseOutcomeRules() names everything that is wrong", () => {
    const result = parseOutcomeRules({ failureStatuses: null, isLoginRoute: null, verdictHeader: 1 })
    expect(result.ok ? [] : result.problems.length).toBe(3)
  })

  test("parseOutcomeRules() accepts a list of full length and a name of full length", () => {
    const failureStatuses = Array.from({ length: FAILURE_STATUSES_MAX }, () => 401)
    expect(parseOutcomeRules({ failureStatuses, verdictHeader: "a".repeat(64) }).ok).toBe(true)
  })

  test("parseOutcomeRules() is total, and what it accepts classifies any answer", () => {
    const members = fc.record({
      failureStatuses: fc.anything(),
      isLoginRoute: fc.anything(),
      verdictHeader: fc.anything(),
    })
    fc.assert(
      fc.property(fc.oneof(fc.anything(), members), fc.integer(), (value, status) => {
        const result = parseOutcomeRules(value)
        const rules = result.ok ? result.rules : OUTCOME_RULES_DEFAULT
        expect(["success", "failure", "neutral"]).toContain(classifyOutcome({ ...ORIGIN, status }, rules))
      }),
      { seed: 402, numRuns: 500 },
    )
  })
})

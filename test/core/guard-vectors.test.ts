/**
 * Goal: the guard answers exactly as its vectors say. Method: every scenario of `test/vectors/guard.json` is played step
 * by step against the core, with the jitter at both ends of its range and somewhere between, and once more with a
 * restart after every step.
 */
import { readFileSync } from "node:fs"
import { describe, expect, test } from "vitest"
import { runGuardScenario } from "../../scripts/vectors-guard.ts"
import type { GuardScenario } from "../../scripts/vectors-guard.ts"

const file = new URL("../vectors/guard.json", import.meta.url)
const { format, scenarios } = JSON.parse(readFileSync(file, "utf8")) as {
  readonly format: string
  readonly scenarios: readonly GuardScenario[]
}
const PASSED = { passed: true }

describe("runGuardScenario() passes", () => {
  test.each(scenarios)("$id: $title", (scenario) => {
    expect(runGuardScenario(scenario)).toEqual(PASSED)
  })
})

describe("runGuardScenario() passes with a restart after every step", () => {
  test.each(scenarios)("$id", (scenario) => {
    expect(runGuardScenario(scenario, { isRestartedAlways: true })).toEqual(PASSED)
  })
})

test.each([0, 0.999_999_999])("runGuardScenario() passes every scenario when the jitter is always %s", (random) => {
  expect(scenarios.map((scenario) => runGuardScenario(scenario, { random: () => random }))).toEqual(
    scenarios.map(() => PASSED),
  )
})

test("the file has the scenarios that its format promises", () => {
  const steps = scenarios.reduce((sum, scenario) => sum + (scenario.steps?.length ?? 0), 0)
  expect({ format, scenarios: scenarios.length, steps }).toEqual({
    format: "guard-vectors/1",
    scenarios: 38,
    steps: 403,
  })
})

describe("runGuardScenario() fails", () => {
  const scenario = scenarios.find(({ id }) => id === "g04-block-end-boundary") as GuardScenario
  const steps = scenario.steps ?? []
  const withExpectation = (expectation: Readonly<Record<string, unknown>>): GuardScenario => ({
    ...scenario,
    steps: steps.map((step, index) => (index === 2 ? { ...step, expect: expectation } : step)),
  })

  test.each([
    { decision: "admitted" },
    { reason: "inflight" },
    { state: "closed" },
    { failures: 1 },
    { attempt: 2 },
    { openedTotal: 2 },
    { retryAfterMs: [0, 4999] },
    { retryAfterMs: [5001, 9999] },
    { aNameThatDoesNotExist: 1 },
  ])("runGuardScenario() names the step when %o is expected and not so", (expectation) => {
    const { passed, message } = runGuardScenario(withExpectation(expectation))
    expect({ passed, message }).toEqual({
      passed: false,
      message: expect.stringMatching(/^step 2 \(request at 1000\): /),
    })
  })

  test("runGuardScenario() fails on an accepted configuration that must be invalid", () => {
    expect(runGuardScenario({ ...scenario, invalidConfig: true })).toMatchObject({ passed: false })
  })

  test("runGuardScenario() fails on a rejected configuration that must be valid", () => {
    expect(runGuardScenario({ ...scenario, config: { ...(scenario.config as object), maxFailures: 0 } })).toEqual({
      passed: false,
      message: "the configuration was rejected: maxFailures must be an integer from 1 to 1000",
    })
  })

  test("runGuardScenario() fails on a step that it does not know", () => {
    const unknown = { at: 0, do: "dance", expect: {} } as unknown as (typeof steps)[number]
    expect(runGuardScenario({ ...scenario, steps: [unknown] })).toMatchObject({ passed: false })
  })
})

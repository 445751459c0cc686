/**
 * Goal: the limiter answers exactly as its vectors say, and the runner that claims so would notice if it did not. Method:
 * every scenario of `test/vectors/limiter.json` is played by the runner of `npm run vectors`; then every single expectation
 * of every scenario is made wrong, one at a time, and the scenario has to fail at that step.
 */
import { readFileSync } from "node:fs"
import { describe, expect, test } from "vitest"
import { runLimiterScenario } from "../../scripts/vectors-limiter.ts"

interface Scenario {
  readonly id: string
  readonly title: string
  readonly type: string
  readonly invalidConfig?: boolean
  readonly config?: Record<string, unknown>
  readonly steps?: readonly { readonly do: string; readonly expect: Record<string, unknown> }[]
  readonly expect?: Record<string, string>
}

const file = new URL("../vectors/limiter.json", import.meta.url)
const { scenarios } = JSON.parse(readFileSync(file, "utf8")) as { readonly scenarios: readonly Scenario[] }

test("the file has all scenarios of the specification", () => {
  expect(scenarios).toHaveLength(45)
})

test.each(scenarios)("$id: $title", (scenario) => {
  expect(runLimiterScenario(scenario)).toEqual({ passed: true })
})

describe("runLimiterScenario() fails when an expectation is wrong", () => {
  const played = scenarios.filter(({ steps }) => steps !== undefined)
  test.each(played)("$id, each expectation of each step", (scenario) => {
    const unnoticed: string[] = []
    for (const [index, step] of (scenario.steps ?? []).entries()) {
      for (const [key, value] of Object.entries(step.expect)) {
        const wrong = structuredClone(scenario)
        const expected = wrong.steps?.[index]?.expect
        if (expected !== undefined) expected[key] = falsify(value)
        const { passed, message } = runLimiterScenario(wrong)
        if (passed || message?.includes(`step ${index} (`) !== true) unnoticed.push(`step ${index}: ${key}`)
      }
    }
    expect(unnoticed).toEqual([])
  })

  test.each(scenarios.filter(({ type }) => type === "headers"))("$id, each field", (scenario) => {
    for (const [name, value] of Object.entries(scenario.expect ?? {})) {
      const { [name]: _, ...fewer } = scenario.expect ?? {}
      expect(runLimiterScenario({ ...scenario, expect: { ...scenario.expect, [name]: `${value} ` } }).passed).toBe(
        false,
      )
      expect(runLimiterScenario({ ...scenario, expect: fewer }).passed).toBe(false)
    }
  })

  test.each(scenarios.filter(({ invalidConfig }) => invalidConfig === true))("$id, the configuration", (scenario) => {
    const config = { burst: 1, rate: { count: 1, periodMs: 1000 } }
    expect(runLimiterScenario({ ...scenario, config })).toEqual({
      passed: false,
      message: "the configuration was accepted",
    })
  })
})

describe("runLimiterScenario() fails a scenario that is not of the format", () => {
  const config = { burst: 1, rate: { count: 1, periodMs: 1000 } }
  const step = { at: 0, do: "acquire", n: 1, expect: { allowed: true } }
  const valid = { id: "x", title: "x", type: "bucket", config, steps: [step] }

  test("but passes one that is", () => {
    expect(runLimiterScenario(valid)).toEqual({ passed: true })
  })

  test("also when only an admission answers wrongly", () => {
    // More than any cost: as an admission that is out of range, and nothing is reported.
    const scenario = { ...valid, steps: [{ ...step, n: 1e300, expect: { allowed: false, remaining: 1 } }] }
    expect(runLimiterScenario(scenario)).toEqual({
      passed: false,
      message: "as an admission, step 0 (acquire at 0): expected remaining 1; came remaining null",
    })
  })

  test.each<[string, unknown]>([
    ["nothing", null],
    ["a number", 5],
    ["no type", { ...valid, type: undefined }],
    ["an unknown type", { ...valid, type: "window" }],
    ["an unknown type with an invalid configuration", { ...valid, type: "window", invalidConfig: true }],
    ["a configuration out of range", { ...valid, config: { ...config, burst: 0 } }],
    ["no steps", { ...valid, steps: undefined }],
    ["an empty list of steps", { ...valid, steps: [] }],
    ["a step that is null", { ...valid, steps: [null] }],
    ["a step without a time", { ...valid, steps: [{ ...step, at: undefined }] }],
    ["a step without expectations", { ...valid, steps: [{ ...step, expect: undefined }] }],
    ["a step whose expectations are null", { ...valid, steps: [{ ...step, expect: null }] }],
    ["an unknown operation", { ...valid, steps: [{ ...step, do: "take" }] }],
    ["an operation of another kind", { ...valid, steps: [{ ...step, do: "renew", id: "a" }] }],
    ["an unknown expectation", { ...valid, steps: [{ ...step, expect: { tokens: 1 } }] }],
    ["a configuration step out of range", { ...valid, steps: [{ ...step, do: "config", config: {} }] }],
    ["several limits that are none", { ...valid, type: "multi", config: { limits: {} } }],
    ["headers without policies", { ...valid, type: "headers", input: {}, expect: {} }],
  ])("%s", (_, scenario) => {
    expect(runLimiterScenario(scenario).passed).toBe(false)
  })
})

function falsify(value: unknown): unknown {
  if (typeof value === "number") return value + 1
  if (typeof value === "boolean") return !value
  return value === null ? 0 : "wrong"
}

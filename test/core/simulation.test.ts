/**
 * Goal: no run of the simulation breaks a promise of the leasing protocol, and the checker that says so can be trusted.
 * Method: random runs from fixed seeds with the real code, and the same with deliberate mistakes, each of which has to be
 * found. Everything is virtual time; a run that fails here is repeated with `npm run simulate -- --seed S --runs 1`.
 */
import { describe, expect, test } from "vitest"
import { MUTATIONS } from "../../simulation/mutation.ts"
import { createScenario } from "../../simulation/scenario.ts"
import type { Scenario } from "../../simulation/scenario.ts"
import { createTableScenario, measureRow } from "../../simulation/table.ts"
import { runScenario } from "../../simulation/world.ts"

const RUNS = 300
const FIRST_SEED = 1

/** A client that touches every isolate, waits until just before its leases end and then fires at all of them. */
function createHoarder(pauseMs: number): Scenario {
  const base = createTableScenario({ rate: 100, burst: 100, isolates: 16, load: 1 }, 1)
  return { ...base, durationMs: 20_000, arrivals: { kind: "hoarding", pauseMs, burst: 300 } }
}

describe("runScenario()", () => {
  test(`runScenario() keeps every promise in ${RUNS} random runs`, () => {
    const broken = Array.from({ length: RUNS }, (_, index) => runScenario(createScenario(FIRST_SEED + index)))
      .filter(({ violations }) => violations.length > 0)
      .map(({ seed, violations }) => ({ seed, first: violations[0] }))
    expect(broken).toEqual([])
  })

  // Hard ones: a free request at the end of a lease, a limit raised before anyone noticed that a lease had ended, and a
  // restart that forgets a new client together with the limits it began under.
  test.each([33, 171, 500_675, 501_855])("runScenario() keeps every promise with seed %d", (seed) => {
    expect(runScenario(createScenario(seed)).violations).toEqual([])
  })

  test.each(MUTATIONS)("runScenario() finds the mistake %s", (mutation) => {
    const seeds = Array.from({ length: RUNS }, (_, index) => FIRST_SEED + index)
    expect(seeds.some((seed) => runScenario(createScenario(seed), mutation).violations.length > 0)).toBe(true)
  })

  test("runScenario() finds too much admitted when the cap on what is lent is left out", () => {
    const { violations } = runScenario(createHoarder(900), "without-outstanding-cap")
    expect(violations.some(({ promise }) => promise === "window-bound")).toBe(true)
  })

  test.each([300, 900, 990, 1_040])("runScenario() gives a client that hoards for %d ms nothing extra", (pauseMs) => {
    expect(runScenario(createHoarder(pauseMs)).violations).toEqual([])
  })

  test("runScenario() repeats a run from its seed to the last decision", () => {
    const [first, second] = [7, 7].map((seed) => runScenario(createScenario(seed), "without-outstanding-cap"))
    expect(first).toEqual(second)
  })

  test("runScenario() runs differently with another seed", () => {
    expect(runScenario(createScenario(7)).digest).not.toBe(runScenario(createScenario(8)).digest)
  })
})

describe("measureRow()", () => {
  test("measureRow() finds at most 0.02 calls per request for one isolate at 0.9 of 5,000 per second", () => {
    const { callsPerRequest, underAdmission } = measureRow({ rate: 5000, burst: 5000, isolates: 1, load: 0.9 }, [1])
    expect([callsPerRequest <= 0.02, underAdmission]).toEqual([true, 0])
  })

  test("measureRow() finds next to nothing refused to 16 isolates within their limit", () => {
    const { callsPerRequest, underAdmission } = measureRow({ rate: 100, burst: 100, isolates: 16, load: 0.9 }, [1])
    expect([callsPerRequest < 0.5, underAdmission < 0.001]).toEqual([true, true])
  })

  test("measureRow() finds next to no tokens wasted at five times the limit", () => {
    const { underAdmission, overAdmission } = measureRow({ rate: 100, burst: 100, isolates: 16, load: 5 }, [1])
    expect([underAdmission < 0.01, overAdmission]).toEqual([true, 0])
  })
})

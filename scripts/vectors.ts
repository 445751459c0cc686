/**
 * `npm run vectors -- FILE...`: plays every scenario of the given files against the core, one line each, and ends with a
 * line that counts them. Any file of the formats below will do, so a reader can bring scenarios of their own.
 *
 * Exit code: 0 when all hold, 1 when one does not, 2 when a file cannot be read as one of the formats; then nothing is
 * played.
 */
import { readFileSync } from "node:fs"
import { createPaint, printable } from "../cli/terminal.ts"
import { UsageError } from "../cli/usage-error.ts"
import { membersOf } from "../src/core/untrusted.ts"
import { runGuardScenario } from "./vectors-guard.ts"
import type { GuardScenario } from "./vectors-guard.ts"
import { runLimiterScenario } from "./vectors-limiter.ts"

interface Result {
  readonly passed: boolean
  readonly message?: string
}

interface Scenario {
  readonly id: string
  readonly title: string
}

interface VectorFile {
  readonly run: (scenario: Scenario) => Result
  readonly scenarios: readonly Scenario[]
}

const RUNNERS = new Map<unknown, (scenario: Scenario) => Result>([
  ["limiter-vectors/1", runLimiterScenario],
  ["guard-vectors/1", (scenario) => runGuardScenario(scenario as GuardScenario)],
])

try {
  process.exitCode = runFiles(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  console.error(printable(error.message))
  process.exitCode = 2
}

function runFiles(paths: readonly string[]): number {
  if (paths.length === 0) throw new UsageError("usage: npm run vectors -- FILE...")
  const paint = createPaint(process.stdout)
  const count = { passed: 0, failed: 0 }
  for (const { run, scenarios } of paths.map(readVectorFile)) {
    for (const scenario of scenarios) {
      const { passed, message = "" } = play(run, scenario)
      count[passed ? "passed" : "failed"] += 1
      const mark = passed ? paint("green", "✓") : paint("red", "✗")
      console.log(`${mark} ${printable(`${scenario.id} ${scenario.title}`)}`)
      if (!passed) console.log(`    ${printable(message)}`)
    }
  }
  console.log(`\n${count.passed} passed, ${count.failed} failed`)
  return count.failed === 0 ? 0 : 1
}

/** A file may hold anything; a scenario that breaks its runner has failed, and the others are still played. */
function play(run: VectorFile["run"], scenario: Scenario): Result {
  try {
    return run(scenario)
  } catch (error) {
    return { passed: false, message: `cannot be played: ${String(error)}` }
  }
}

function readVectorFile(path: string): VectorFile {
  const { format, scenarios } = membersOf(readJson(path))
  const run = RUNNERS.get(format)
  if (run === undefined) {
    const known = [...RUNNERS.keys()].join(", ")
    throw new UsageError(`${path}: format ${JSON.stringify(format) ?? "is missing and"} is none of ${known}`)
  }
  // A file without scenarios would pass without having shown anything.
  if (!Array.isArray(scenarios) || scenarios.length === 0) throw new UsageError(`${path}: there are no scenarios`)
  if (!scenarios.every(isScenario)) throw new UsageError(`${path}: a scenario has no id or no title`)
  return { run, scenarios }
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, "utf8"))
  } catch (error) {
    throw new UsageError(`${path}: ${error instanceof Error ? error.message : String(error)}`)
  }
}

function isScenario(value: unknown): value is Scenario {
  const { id, title } = membersOf(value)
  return typeof id === "string" && typeof title === "string"
}

/**
 * `npm run simulate`: random runs of the leasing protocol against its promises. A run that breaks one is named by its seed
 * and can be repeated alone. Exit code 0: every promise held; 1: one did not; 2: the command is not understood.
 *
 *   --seed S      first seed, default 1; run i has seed S + i
 *   --runs N      how many, default 300
 *   --without-outstanding-cap, or --mutation NAME    with a deliberate mistake in the code: the checker has to find it
 *   --table       what leasing costs, instead of random runs
 */
import { parseArgs } from "node:util"
import { MUTATIONS } from "./mutation.ts"
import type { Mutation } from "./mutation.ts"
import { createScenario } from "./scenario.ts"
import { formatResults, measureRow, TABLE_ROWS } from "./table.ts"
import { runScenario } from "./world.ts"

const SHOWN_MAX = 5
const TABLE_SEEDS = [1, 2, 3]

process.exitCode = main(process.argv.slice(2))

function main(args: readonly string[]): number {
  const options = readOptions(args)
  if (typeof options === "string") {
    console.error(options)
    return 2
  }
  if (!options.isTable) return simulate(options.seed, options.runs, options.mutation)
  console.log(formatResults(TABLE_ROWS.map((row) => measureRow(row, TABLE_SEEDS))))
  return 0
}

function simulate(seed: number, runs: number, mutation: Mutation | undefined): number {
  const startedMs = performance.now()
  const sums = { requests: 0, admitted: 0, calls: 0, local: 0, ideal: 0, broken: 0, overdrawn: 0, used: 0, burned: 0 }
  for (let index = 0; index < runs; index++) {
    const report = runScenario(createScenario(seed + index), mutation)
    sums.requests += report.requests
    sums.admitted += report.admitted
    sums.calls += report.calls
    sums.local += report.local
    sums.ideal += report.ideal
    sums.used += report.used
    sums.burned += report.burned
    sums.overdrawn = Math.max(sums.overdrawn, report.overdrawn)
    const [first] = report.violations
    if (first === undefined) continue
    sums.broken += 1
    if (sums.broken > SHOWN_MAX) continue
    const again = mutation === undefined ? "" : ` --mutation ${mutation}`
    console.log(`seed ${report.seed}: ${first.promise} at ${first.atMs} ms: ${first.detail}`)
    console.log(`  again: npm run simulate -- --seed ${report.seed} --runs 1${again}`)
  }
  const share = (part: number) => `${((100 * part) / Math.max(1, sums.requests)).toFixed(1)} %`
  console.log(`runs: ${runs - sums.broken} kept every promise, ${sums.broken} did not`)
  console.log(`requests: ${sums.requests}, admitted ${sums.admitted}, ideal central limits ${sums.ideal}`)
  console.log(
    `calls per request: ${(sums.calls / Math.max(1, sums.requests)).toFixed(3)}, decided locally ${share(sums.local)}`,
  )
  const burned = ((100 * sums.burned) / Math.max(1, sums.used)).toFixed(1)
  console.log(`used of quotas: ${sums.used}, of that burned ${burned} %`)
  console.log(`most overdrawn: ${sums.overdrawn.toFixed(2)} tokens`)
  console.log(`took ${((performance.now() - startedMs) / 1000).toFixed(1)} s`)
  return sums.broken === 0 ? 0 : 1
}

interface Options {
  readonly seed: number
  readonly runs: number
  readonly mutation: Mutation | undefined
  readonly isTable: boolean
}

function readOptions(args: readonly string[]): Options | string {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        seed: { type: "string", default: "1" },
        runs: { type: "string", default: "300" },
        mutation: { type: "string" },
        "without-outstanding-cap": { type: "boolean", default: false },
        table: { type: "boolean", default: false },
      },
    })
    const name = values["without-outstanding-cap"] ? "without-outstanding-cap" : values.mutation
    const mutation = MUTATIONS.find((known) => known === name)
    const seed = Number(values.seed)
    const runs = Number(values.runs)
    if (name !== undefined && mutation === undefined)
      return `Unknown mutation, expected one of: ${MUTATIONS.join(", ")}`
    if (!Number.isSafeInteger(seed) || !Number.isSafeInteger(runs) || runs < 1) return "seed and runs must be integers"
    return { seed, runs, mutation, isTable: values.table }
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

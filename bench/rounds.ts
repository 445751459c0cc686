/**
 * Measurements that are compared take turns in rounds, so that the machine's mood is the same for all of them, and how what
 * came out of the rounds is printed.
 */
import { createPaint, formatTable } from "../cli/terminal.ts"
import { CONNECTIONS, type Slice } from "./load.ts"

/** How much to measure, and how to print it. */
export interface RoundsOptions {
  readonly rounds: number
  /** Requests of one slice: one measurement in one round. */
  readonly requests: number
  readonly json: boolean
  /** For certificates and state; the caller removes it. */
  readonly directory: string
}

/** Measures one slice of each in every round; returns the slices of each, in the order of the rounds. */
export async function runRounds(
  rounds: number,
  measurements: readonly (() => Promise<Slice>)[],
): Promise<readonly (readonly Slice[])[]> {
  const slices = measurements.map((): Slice[] => [])
  for (let round = -1; round < rounds; round++) {
    for (const [index, measure] of measurements.entries()) {
      const slice = await measure()
      // The first round warms code and connections up and is not counted.
      if (round >= 0) slices[index]?.push(slice)
    }
  }
  return slices
}

/** Returns the middle of the numbers, of an even count the upper one; NaN when there are none. */
export function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

/** Returns the requests of all slices that were not answered with 200. */
export function countErrors(slices: readonly Slice[]): number {
  return slices.reduce((sum, { errors }) => sum + errors, 0)
}

/** Prints rows for machines, or as a table with a note on what stands in its cells. */
export function printRows<Row>(
  { json, requests, rounds }: Omit<RoundsOptions, "directory">,
  rows: readonly Row[],
  table: {
    readonly heading: readonly string[]
    readonly cellsOf: (row: Row) => readonly string[]
    readonly note: string
  },
): void {
  if (json) {
    console.log(JSON.stringify({ rounds, requests, node: process.version, rows }))
    return
  }
  console.log(`\n${formatTable(table.heading, rows.map(table.cellsOf), createPaint(process.stdout))}\n`)
  console.log(`  ${rounds} rounds of ${requests} requests over ${CONNECTIONS} connections; ${table.note}\n`)
}

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
  /** Requests of each that are sent before anything is counted, so that its code is compiled to the end. */
  readonly warmUp: number
  /** Of every workerd. */
  readonly v8Flags: readonly string[]
  readonly json: boolean
  /** For certificates and state; the caller removes it. */
  readonly directory: string
}

/** Returns how many rounds are run before those that count: at least one, and as many as it takes to send the warm-up. */
export function warmUpRounds({ requests, warmUp }: Pick<RoundsOptions, "requests" | "warmUp">): number {
  return Math.max(1, Math.ceil(warmUp / requests))
}

/**
 * Measures one slice of each in every round; returns the slices of each, in the order of the rounds. Every other round goes
 * backwards, so that none of them always follows the same one.
 */
export async function runRounds<Measured>(
  options: Pick<RoundsOptions, "requests" | "rounds" | "warmUp">,
  measurements: readonly (() => Promise<Measured>)[],
): Promise<readonly (readonly Measured[])[]> {
  const slices = measurements.map((): Measured[] => [])
  for (let round = -warmUpRounds(options); round < options.rounds; round++) {
    const order = [...measurements.entries()]
    for (const [index, measure] of round % 2 === 0 ? order : order.toReversed()) {
      const slice = await measure()
      // What came before warmed code and connections up.
      if (round >= 0) slices[index]?.push(slice)
    }
  }
  return slices
}

/** What came out of the rounds: the middle, and what it lies between. */
export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** Returns the spread of the numbers; NaN and infinities when there are none. */
export function spreadOf(numbers: readonly number[]): Spread {
  return { median: median(numbers), min: Math.min(...numbers), max: Math.max(...numbers) }
}

/** Returns the spread of what `compare` makes of both measurements of each round. */
export function compareRounds<Measured>(
  own: readonly Measured[],
  others: readonly Measured[],
  compare: (own: Measured, other: Measured) => number,
): Spread {
  return spreadOf(
    own.flatMap((measured, round) => {
      const other = others[round]
      return other === undefined ? [] : [compare(measured, other)]
    }),
  )
}

/** Returns a spread as text, all three figures alike. */
export function formatSpread({ max, median: middle, min }: Spread, digits: number): string {
  return `${middle.toFixed(digits)} [${min.toFixed(digits)} to ${max.toFixed(digits)}]`
}

/** Returns the middle of the numbers, of an even count the upper one; NaN when there are none. */
export function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

/**
 * Returns between which two of the numbers the median of all that could have been measured lies, with 95 % certainty or a little
 * more; undefined for fewer than six, which never say so much. Nothing is assumed of how they are spread.
 *
 * @see the sign test: each number is as likely below the median as above it
 */
export function medianInterval(
  numbers: readonly number[],
): { readonly low: number; readonly high: number } | undefined {
  const count = numbers.length
  const sorted = numbers.toSorted((a, b) => a - b)
  let chance = 0.5 ** count
  let below = 0
  // How many of the smallest, and of the largest, can be left out: as many as would lie there by chance in 1 case of 40.
  for (let sum = chance; sum <= 0.025; sum += chance) {
    below += 1
    chance *= (count - below + 1) / below
  }
  const [low, high] = [sorted[below - 1], sorted[count - below]]
  return low === undefined || high === undefined ? undefined : { low, high }
}

/** Returns the requests of all slices that were not answered with 200. */
export function countErrors(slices: readonly Slice[]): number {
  return slices.reduce((sum, { errors }) => sum + errors, 0)
}

/** Prints rows for machines, or as a table with a note on what stands in its cells. */
export function printRows<Row>(
  { json, requests, rounds, v8Flags, warmUp }: Omit<RoundsOptions, "directory">,
  rows: readonly Row[],
  table: {
    readonly heading: readonly string[]
    readonly cellsOf: (row: Row) => readonly string[]
    readonly note: string
  },
): void {
  if (json) {
    console.log(JSON.stringify({ rounds, requests, warmUp, v8Flags, node: process.version, rows }))
    return
  }
  console.log(`\n${formatTable(table.heading, rows.map(table.cellsOf), createPaint(process.stdout))}\n`)
  console.log(
    `  ${rounds} rounds of ${requests} requests over ${CONNECTIONS} connections after ${warmUp}; V8 ${v8Flags.length === 0 ? "as by itself" : v8Flags.join(" ")}; ${table.note}\n`,
  )
}

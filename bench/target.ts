/**
 * Something to measure that runs, and the table of several that are compared.
 */
import type { Slice } from "./load.ts"
import { memoryBytesOf } from "./process.ts"
import { countErrors, median, printRows, type RoundsOptions } from "./rounds.ts"

/** Something to measure that runs: where it listens, and whose CPU time counts. */
export interface Target {
  readonly name: string
  /** What it does, and what not. */
  readonly does: string
  readonly port: number
  readonly pid: number
  /** True: each request posts 200 octets under a key of its own. */
  readonly isKeyed?: boolean
  close(): Promise<void>
}

/** Prints what came of the rounds. @param base name of the target that ratios are taken to; it may be missing */
export function reportTargets(
  targets: readonly Target[],
  slices: readonly (readonly Slice[])[],
  base: string,
  options: RoundsOptions,
): void {
  const floor = slices[targets.findIndex(({ name }) => name === base)]
  const rows = targets.map(({ does, name, pid }, index) => {
    const own = slices[index] ?? []
    const ratios = own.map(({ cpuUs }, round) => cpuUs / (floor?.[round]?.cpuUs ?? Number.NaN))
    return {
      target: name,
      does,
      cpuUs: median(own.map(({ cpuUs }) => cpuUs)),
      ratio: median(ratios),
      ratioMin: Math.min(...ratios),
      ratioMax: Math.max(...ratios),
      p50Ms: median(own.map(({ p50Ms }) => p50Ms)),
      p99Ms: median(own.map(({ p99Ms }) => p99Ms)),
      memoryBytes: memoryBytesOf(pid),
      errors: countErrors(own),
    }
  })
  printRows(options, rows, {
    heading: ["target", "CPU us/request", "ratio", "p50 ms", "p99 ms", "RSS MiB", "errors", "does"],
    cellsOf: (row) => [
      row.target,
      row.cpuUs.toFixed(0),
      floor === undefined ? "-" : `${row.ratio.toFixed(2)} [${row.ratioMin.toFixed(2)}-${row.ratioMax.toFixed(2)}]`,
      row.p50Ms.toFixed(2),
      row.p99Ms.toFixed(2),
      (row.memoryBytes / 1_048_576).toFixed(0),
      String(row.errors),
      row.does,
    ],
    note: floor === undefined ? `no ratio: ${base} is missing` : `medians, ratio to ${base} within a round [min-max]`,
  })
}

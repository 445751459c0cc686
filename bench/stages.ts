/**
 * What each stage of the pipeline costs: the whole gateway in as many variants as it has stages, each with one stage more than
 * the one before, and behind its last stage a plain `fetch`. What a stage adds is the difference of two neighbours in the same round.
 *
 * The variants are made of the sources of the product while they are bundled: the order is cut off, and the stage `origin` is
 * exchanged for a plain one until its own turn comes. Nothing else differs, and nothing in the product knows of it.
 */
import { join } from "node:path"
import type { Plugin } from "esbuild"
import { ORDER } from "../src/pipeline.ts"
import { startFloor } from "./floors.ts"
import { runSlice, type Slice } from "./load.ts"
import { plainGateway, startOrigin } from "./parties.ts"
import { compareRounds, countErrors, formatSpread, median, printRows, runRounds, type RoundsOptions } from "./rounds.ts"
import { requestFields, ROOT } from "./worker.ts"
import { startBareGateway, type RunningWorker } from "./workerd.ts"

/** One variant: what it has more than the one before. */
export interface StageVariant {
  readonly adds: string
  /** Stages in their order; the last one is `origin`. */
  readonly order: readonly string[]
  /** Whether `origin` is only a fetch. */
  readonly isOriginPlain: boolean
}

/** One line. Times are microseconds of CPU per request. */
export interface StageRow {
  readonly adds: string
  readonly cpuUs: number
  readonly addedUs: number
  readonly addedUsMin: number
  readonly addedUsMax: number
  readonly errors: number
}

/** Measures and prints all stages. */
export async function benchStages(options: RoundsOptions): Promise<void> {
  const { directory, requests, v8Flags } = options
  const origin = await startOrigin()
  const workers: RunningWorker[] = []
  try {
    const fields = await requestFields(join(directory, "pki"))
    workers.push(await startFloor("pass-through", origin.url, join(directory, "floor"), v8Flags))
    const variants = stageVariants(ORDER)
    for (const [index, variant] of variants.entries()) {
      const variables = { ...plainGateway(origin.url), ORIGIN: origin.url }
      const settings = { v8Flags, plugins: [cutPipeline(variant)] }
      workers.push(await startBareGateway(variables, join(directory, String(index)), settings))
    }
    const slices = await runRounds(
      options,
      workers.map(({ pid, port }) => {
        const url = new URL(`http://localhost:${port}/balance`)
        return () => runSlice(url, fields, requests, pid)
      }),
    )
    printRows(options, stageRows(["(pass-through)", ...variants.map(({ adds }) => adds)], slices), {
      heading: ["stage", "CPU us/request", "added us [min to max]", "errors"],
      cellsOf: (row) => [
        row.adds,
        row.cpuUs.toFixed(0),
        formatSpread({ median: row.addedUs, min: row.addedUsMin, max: row.addedUsMax }, 0),
        String(row.errors),
      ],
      note: "medians, differences to the line above within a round; the last line: to the first",
    })
  } finally {
    origin.close()
    await Promise.all(workers.map(async (worker) => worker.close()))
  }
}

/** Returns the variants, from a pipeline without stages to the whole one. */
export function stageVariants(order: readonly string[]): readonly StageVariant[] {
  const inFront = order.slice(0, -1)
  const last = order.slice(-1)
  return [
    { adds: "(empty pipeline)", order: last, isOriginPlain: true },
    ...inFront.map((adds, index) => ({
      adds,
      order: [...inFront.slice(0, index + 1), ...last],
      isOriginPlain: true,
    })),
    ...last.map((adds) => ({ adds, order, isOriginPlain: false })),
  ]
}

/** Returns a line for each slice, against the one before it, and one for all of them: the last against the first. */
export function stageRows(names: readonly string[], slices: readonly (readonly Slice[])[]): readonly StageRow[] {
  const row = (adds: string, own: readonly Slice[], others: readonly Slice[]): StageRow => {
    const added = compareRounds(own, others, (a, b) => a.cpuUs - b.cpuUs)
    return {
      adds,
      cpuUs: median(own.map(({ cpuUs }) => cpuUs)),
      addedUs: added.median,
      addedUsMin: added.min,
      addedUsMax: added.max,
      errors: countErrors(own),
    }
  }
  return [
    ...names.map((name, index) => row(name, slices[index] ?? [], slices[Math.max(0, index - 1)] ?? [])),
    row("all of it", slices.at(-1) ?? [], slices[0] ?? []),
  ]
}

/** Puts the order of a variant in the place of the whole one. */
function cutPipeline({ isOriginPlain, order }: StageVariant): Plugin {
  return {
    name: "cut-pipeline",
    setup(build) {
      build.onLoad({ filter: /[\\/]src[\\/]pipeline\.ts$/ }, () => ({
        contents: `export const ORDER = ${JSON.stringify(order)}`,
        loader: "ts",
      }))
      if (isOriginPlain)
        build.onResolve({ filter: /\/forward\/origin\.ts$/ }, () => ({ path: join(ROOT, "bench/stage-origin.ts") }))
    },
  }
}

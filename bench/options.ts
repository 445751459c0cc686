/**
 * What `npm run bench` was asked for. Pure.
 */
import { parseArgs } from "node:util"
import { SCALE_SERIES, type ScaleSeries } from "./scale.ts"

/** What can be measured; `targets` where nothing else is named. */
export type BenchMode = "targets" | "stages" | "scale" | "latency" | "startup" | "identity" | "gate" | "edge"

/** Everything that can be asked for. A mode reads what concerns it. */
export interface BenchOptions {
  readonly mode: BenchMode
  readonly alternatives: boolean
  /** One series of `scale`; undefined: all of them. */
  readonly only: ScaleSeries | undefined
  readonly rounds: number
  /** How often the processes of `scale` are started anew where two of them are compared, each time for all rounds. */
  readonly processes: number
  readonly requests: number
  readonly warmUp: number
  readonly seconds: number
  /** Where a CPU profile of the edge goes; undefined for none. */
  readonly profile: string | undefined
  /** True: V8 runs as it does by itself, without the flags that make rounds comparable. */
  readonly v8Default: boolean
  readonly json: boolean
}

const FLAGS = [
  "stages",
  "scale",
  "latency",
  "startup",
  "identity",
  "gate",
  "edge",
] as const satisfies readonly BenchMode[]

/** Where ratios of whole Workers are asked for, the larger one must not pay for being compiled later. */
const WARM_UPS: Partial<Readonly<Record<BenchMode, string>>> = { targets: "20000", latency: "20000" }

/** Returns what the arguments ask for. Throws what is wrong with them, in a sentence. */
export function parseBenchOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      ...Object.fromEntries(FLAGS.map((name) => [name, { type: "boolean", default: false } as const])),
      alternatives: { type: "boolean", default: false },
      only: { type: "string" },
      rounds: { type: "string", default: "5" },
      processes: { type: "string", default: "1" },
      requests: { type: "string", default: "4000" },
      "warm-up": { type: "string" },
      seconds: { type: "string", default: "4" },
      "v8-default": { type: "boolean", default: false },
      profile: { type: "string" },
      json: { type: "boolean", default: false },
    },
  })
  const given: Readonly<Record<string, unknown>> = values
  const modes = FLAGS.filter((name) => given[name] === true)
  if (modes.length > 1) throw new Error(`--${modes.join(" and --")} are measured one at a time`)
  const only = SCALE_SERIES.find((name) => name === values.only)
  if (only === undefined && values.only !== undefined)
    throw new Error(`--only is one of ${SCALE_SERIES.join(", ")}, not "${values.only}"`)
  const mode = modes[0] ?? "targets"
  return {
    mode,
    alternatives: values.alternatives,
    only,
    rounds: readCount("rounds", values.rounds, 1),
    processes: readCount("processes", values.processes, 1),
    requests: readCount("requests", values.requests, 1),
    warmUp: readCount("warm-up", values["warm-up"] ?? WARM_UPS[mode] ?? "5000", 0),
    seconds: readCount("seconds", values.seconds, 1),
    v8Default: values["v8-default"],
    profile: values.profile,
    json: values.json,
  }
}

function readCount(name: string, text: string, min: number): number {
  const count = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(count) || count < min)
    throw new Error(`--${name} is a whole number of at least ${min}, not "${text}"`)
  return count
}

/**
 * What it takes to start: octets of the bundle, the largest parts of it, and the CPU time of workerd from its beginning to the
 * first answer, less that of a Worker that does nothing, in turns.
 *
 * The difference is of compiling and running the modules, of reading the configuration of wrangler.toml, and of the first
 * request. V8 runs as it does by itself here: with collections at fixed points a start would cost more than it does anywhere.
 */
import { join } from "node:path"
import { createPaint, formatTable } from "../cli/terminal.ts"
import { bundle, gzipBytesOf, groupParts } from "./bundle.ts"
import { startFloor } from "./floors.ts"
import { cpuUsOf } from "./process.ts"
import { median } from "./rounds.ts"
import { ROOT } from "./worker.ts"
import { startBareGateway, type RunningWorker } from "./workerd.ts"

/** Added CPU time of each start, microseconds, in the order of the rounds, and the middle of the two that it is between. */
export interface StartUp {
  readonly emptyUs: number
  readonly gatewayUs: number
  readonly addedUs: readonly number[]
}

/** How often to start, and how to print it. */
export interface StartUpOptions {
  readonly rounds: number
  readonly json: boolean
  /** For bundles and state; the caller removes it. */
  readonly directory: string
}

const PARTS_SHOWN = 12

/** Measures and prints size, parts and start. */
export async function benchStartUp({ directory, json, rounds }: StartUpOptions): Promise<void> {
  const { code, parts } = await bundle(join(ROOT, "src/index.ts"))
  const largest = groupParts(parts).slice(0, PARTS_SHOWN)
  const start = await measureStartUp(directory, rounds)
  const size = { bytes: Buffer.byteLength(code), gzipBytes: gzipBytesOf(code) }
  if (json) {
    console.log(JSON.stringify({ rounds, node: process.version, ...size, parts: largest, ...start }))
    return
  }
  const paint = createPaint(process.stdout)
  const rows = largest.map(({ bytes, name }) => [name, (bytes / 1_024).toFixed(1)])
  console.log(`\n${formatTable(["part", "KiB, minified"], rows, paint)}\n`)
  console.log(`  bundle: ${(size.bytes / 1_024).toFixed(1)} KiB, gzip ${(size.gzipBytes / 1_024).toFixed(1)} KiB`)
  console.log(`  start:  ${formatStartUp(start)}\n`)
}

/** Starts both Workers as often as there are rounds, one after the other. */
export async function measureStartUp(directory: string, rounds: number): Promise<StartUp> {
  const empty: number[] = []
  const gateway: number[] = []
  for (let round = 0; round < rounds; round++) {
    const at = (name: string): string => join(directory, `${name}-${round}`)
    empty.push(await cpuOfStart(await startFloor("empty", "", at("empty"), [])))
    gateway.push(await cpuOfStart(await startBareGateway({}, at("gateway"), { v8Flags: [] })))
  }
  return {
    emptyUs: median(empty),
    gatewayUs: median(gateway),
    addedUs: gateway.map((us, round) => us - (empty[round] ?? Number.NaN)),
  }
}

/** Returns the figures of a start as one line. */
export function formatStartUp({ addedUs, emptyUs, gatewayUs }: StartUp): string {
  const ms = (us: number): string => (us / 1_000).toFixed(0)
  return `${ms(median(addedUs))} ms [${ms(Math.min(...addedUs))} to ${ms(Math.max(...addedUs))}] of CPU added to workerd up to the first answer: ${ms(gatewayUs)} in place of ${ms(emptyUs)}`
}

async function cpuOfStart(worker: RunningWorker): Promise<number> {
  try {
    const answer = await fetch(`http://localhost:${worker.port}/healthz`)
    await answer.text()
    if (answer.status !== 200) throw new Error(`The Worker answered ${answer.status} to its first request`)
    return cpuUsOf(worker.pid)
  } finally {
    await worker.close()
  }
}

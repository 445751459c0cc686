/**
 * What it takes to start: octets of the bundle, the largest parts of it, and the CPU time of workerd up to the moment at which it takes
 * connections, in turns with Workers that are less.
 *
 * Each of them is the one before and something more: a Worker that does nothing; one with the gateway's objects and queue; one that has
 * the gateway's code beside them and runs none of it; the gateway. So the first three are what no gateway of that size is spared, and
 * the last step is running its modules and reading the configuration of wrangler.toml. The first answer is counted by itself. V8
 * runs as it does by itself here: with collections at fixed points a start would cost more than it does anywhere.
 */
import { mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { createPaint, formatTable } from "../cli/terminal.ts"
import { bundle, gzipBytesOf, groupParts } from "./bundle.ts"
import { cpuUsOf } from "./process.ts"
import { median } from "./rounds.ts"
import { ROOT } from "./worker.ts"
import { describeGateway, startBareWorker, type BareWorker, type RunningWorker } from "./workerd.ts"

/** CPU time of workerd, microseconds: medians of the rounds, but for {@link addedUs}. */
export interface StartUp {
  /** A Worker that does nothing. */
  readonly emptyUs: number
  /** One with the gateway's objects and queue. */
  readonly boundUs: number
  /** The same with the gateway's code, of which nothing runs. */
  readonly parsedUs: number
  /** The gateway. */
  readonly startedUs: number
  /** The gateway once it has answered for the first time. */
  readonly answeredUs: number
  /** What the gateway took beyond the Worker that does nothing, in the order of the rounds. */
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
/** A process is at rest that has used less than this of the time before. */
const RESTING_US = 500
const REST_MS = 50

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

/** Starts all of them as often as there are rounds, one after the other. */
export async function measureStartUp(directory: string, rounds: number): Promise<StartUp> {
  const gateway = describeGateway()
  const bound = { ...gateway, entry: await writeShell(join(directory, "bound"), gateway, "") }
  const { code } = await bundle(gateway.entry, [], "iife")
  const parsed = { ...gateway, entry: await writeShell(join(directory, "parsed"), gateway, code) }
  const empty = { ...gateway, entry: join(ROOT, "bench/empty.ts"), objects: {}, queues: [], variables: {} }
  const starts = []
  for (let round = 0; round < rounds; round++) {
    const start = async (name: string, worker: Omit<BareWorker, "directory">): Promise<CpuOfStart> =>
      cpuOfStart(await startBareWorker({ ...worker, v8Flags: [], directory: join(directory, `${name}-${round}`) }))
    starts.push({
      empty: await start("empty", empty),
      bound: await start("bound", bound),
      parsed: await start("parsed", parsed),
      gateway: await start("gateway", gateway),
    })
  }
  return {
    emptyUs: median(starts.map(({ empty: { startedUs } }) => startedUs)),
    boundUs: median(starts.map(({ bound: { startedUs } }) => startedUs)),
    parsedUs: median(starts.map(({ parsed: { startedUs } }) => startedUs)),
    startedUs: median(starts.map(({ gateway: { startedUs } }) => startedUs)),
    answeredUs: median(starts.map(({ gateway: { answeredUs } }) => answeredUs)),
    addedUs: starts.map((round) => round.gateway.startedUs - round.empty.startedUs),
  }
}

/** Returns the figures of a start as one line. */
export function formatStartUp({ addedUs, answeredUs, boundUs, emptyUs, parsedUs, startedUs }: StartUp): string {
  const ms = (us: number): string => (us / 1_000).toFixed(0)
  const range = `${ms(median(addedUs))} ms [${ms(Math.min(...addedUs))} to ${ms(Math.max(...addedUs))}]`
  const steps = `${ms(boundUs - emptyUs)} for objects and queue, ${ms(parsedUs - boundUs)} to parse the code, ${ms(startedUs - parsedUs)} to run it`
  return `${range} of CPU beyond a Worker that does nothing: ${steps}; ${ms(answeredUs - startedUs)} more up to the first answer`
}

/**
 * Writes a Worker that has the gateway's classes of objects and does nothing, and returns where.
 *
 * @param code what it holds beside that, in a function that nobody calls
 */
async function writeShell(directory: string, { objects }: Pick<BareWorker, "objects">, code: string): Promise<string> {
  const classes = [...new Set(Object.values(objects))].map((name) => `export class ${name} extends DurableObject {}`)
  const entry = join(directory, "shell.js")
  await mkdir(directory, { recursive: true })
  await writeFile(
    entry,
    [
      'import { DurableObject } from "cloudflare:workers"',
      ...classes,
      ...(code === "" ? [] : [`globalThis.unused = function (require) {${code}}`]),
      'export default { fetch: () => new Response("ok") }',
    ].join("\n"),
  )
  return entry
}

/** CPU time since workerd began, microseconds: up to when it takes connections, and up to its first answer. */
interface CpuOfStart {
  readonly startedUs: number
  readonly answeredUs: number
}

async function cpuOfStart(worker: RunningWorker): Promise<CpuOfStart> {
  try {
    const startedUs = await settledCpuUs(worker.pid)
    const answer = await fetch(`http://localhost:${worker.port}/healthz`)
    await answer.text()
    if (answer.status !== 200) throw new Error(`The Worker answered ${answer.status} to its first request`)
    return { startedUs, answeredUs: cpuUsOf(worker.pid) }
  } finally {
    await worker.close()
  }
}

/** Returns the CPU time of a process once it has come to rest: compilers work on behind the start. */
async function settledCpuUs(pid: number): Promise<number> {
  for (let us = cpuUsOf(pid); ;) {
    await delay(REST_MS)
    const laterUs = cpuUsOf(pid)
    if (laterUs - us < RESTING_US) return laterUs
    us = laterUs
  }
}

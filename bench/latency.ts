/**
 * What a caller waits: an open loop at half of what the gateway can do, through a Worker that only calls fetch and through the gateway,
 * in turns.
 *
 * A closed loop measures how long its own queue is. Here requests come when they come, by the same chance for every target, and
 * wait where all connections are busy.
 */
import { Agent } from "node:http"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { createPaint, formatTable } from "../cli/terminal.ts"
import { startFloor } from "./floors.ts"
import { CONNECTIONS, percentiles, runSlice, send } from "./load.ts"
import { plainGateway, startOrigin } from "./parties.ts"
import { compareRounds, formatSpread, median, runRounds, spreadOf, type RoundsOptions, type Spread } from "./rounds.ts"
import { requestFields } from "./worker.ts"
import { startBareGateway, type RunningWorker } from "./workerd.ts"

/** As the other rounds; a slice is as many seconds long. */
export type LatencyOptions = RoundsOptions & { readonly seconds: number }

/** What came of a schedule. Times are ms. */
export interface OpenSlice {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly errors: number
}

/** One line. Added times are to the first target in the same round. */
export interface LatencyRow {
  readonly target: string
  /** Requests per second that it can do in a closed loop. */
  readonly perSecondMax: number
  readonly p50Ms: Spread
  readonly p99Ms: Spread
  readonly addedP50Ms: Spread
  readonly addedP99Ms: Spread
  readonly errors: number
}

const SHARE_OF_SATURATION = 0.5
const SATURATION_SLICES = 3

/** Measures and prints all targets. */
export async function benchLatency(options: LatencyOptions): Promise<void> {
  const { directory, json, requests, rounds, seconds, v8Flags, warmUp } = options
  const origin = await startOrigin()
  const workers: (RunningWorker & { readonly name: string })[] = []
  try {
    const fields = await requestFields(join(directory, "pki"))
    for (const name of ["pass-through", "essentials"] as const)
      workers.push({ name, ...(await startFloor(name, origin.url, join(directory, name), v8Flags)) })
    const gateway = plainGateway(origin.url)
    for (const [name, variables] of [
      ["gateway", gateway],
      ["gateway + events", { ...gateway, SINKS: [{ kind: "otlp", url: origin.url }] }],
    ] as const)
      workers.push({ name, ...(await startBareGateway(variables, join(directory, name), { v8Flags })) })
    const urls = workers.map(({ port }) => new URL(`http://localhost:${port}/balance`))
    const saturated = await runRounds(
      { requests, warmUp, rounds: SATURATION_SLICES },
      workers.map(
        ({ pid }, index) =>
          () =>
            runSlice(urls[index] ?? new URL("http://localhost"), fields, requests, pid),
      ),
    )
    const most = saturated.map((slices) => median(slices.map(({ perSecond }) => perSecond)))
    const perSecond = Math.max(1, Math.floor(SHARE_OF_SATURATION * Math.min(...most)))
    const turns = urls.map(() => 0)
    const slices = await runRounds(
      { requests, warmUp: 0, rounds },
      urls.map((url, index) => () => {
        // The schedule of a round is the same for all of its targets.
        const seed = (turns[index] = (turns[index] ?? 0) + 1)
        return runOpenSlice(url, fields, arrivalsMs(perSecond, seconds * 1_000, seed))
      }),
    )
    const rows = workers.map(({ name }, index) =>
      latencyRow(name, most[index] ?? 0, slices[index] ?? [], slices[0] ?? []),
    )
    if (json) {
      console.log(JSON.stringify({ rounds, seconds, perSecond, warmUp, v8Flags, node: process.version, rows }))
      return
    }
    const heading = ["target", "req/s at most", "p50 ms", "p99 ms", "added p50 ms", "added p99 ms", "errors"]
    console.log(`\n${formatTable(heading, rows.map(cellsOf), createPaint(process.stdout))}\n`)
    console.log(
      `  ${rounds} rounds of ${seconds} s at ${perSecond} requests per second over ${CONNECTIONS} connections after ${warmUp}; medians [min to max], added within a round\n`,
    )
  } finally {
    origin.close()
    await Promise.all(workers.map(async (worker) => worker.close()))
  }
}

/** Returns a line; `floor` are the slices of the first target. */
export function latencyRow(
  target: string,
  perSecondMax: number,
  own: readonly OpenSlice[],
  floor: readonly OpenSlice[],
): LatencyRow {
  return {
    target,
    perSecondMax,
    p50Ms: spreadOf(own.map(({ p50Ms }) => p50Ms)),
    p99Ms: spreadOf(own.map(({ p99Ms }) => p99Ms)),
    addedP50Ms: compareRounds(own, floor, (a, b) => a.p50Ms - b.p50Ms),
    addedP99Ms: compareRounds(own, floor, (a, b) => a.p99Ms - b.p99Ms),
    errors: own.reduce((sum, { errors }) => sum + errors, 0),
  }
}

/**
 * Returns when requests come, ms from the beginning, in order: a Poisson process, the same one for the same seed.
 */
export function arrivalsMs(perSecond: number, durationMs: number, seed: number): readonly number[] {
  const random = mulberry32(seed)
  const arrivals: number[] = []
  for (let atMs = 0; ;) {
    atMs -= (Math.log(1 - random()) * 1_000) / perSecond
    if (atMs >= durationMs) return arrivals
    arrivals.push(atMs)
  }
}

/** Uniform in [0, 1); small, and good enough to spread arrivals. */
function mulberry32(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** Sends each request when it comes, or as soon as this process gets to it, and waits for all answers. */
async function runOpenSlice(
  url: URL,
  fields: Readonly<Record<string, string>>,
  arrivals: readonly number[],
): Promise<OpenSlice> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS })
  const latencies: number[] = []
  let errors = 0
  const sent: Promise<void>[] = []
  const sendOne = async (): Promise<void> => {
    const startedMs = performance.now()
    if (!(await send(url, fields, agent).catch(() => false))) errors += 1
    latencies.push(performance.now() - startedMs)
  }
  const beganMs = performance.now()
  for (const atMs of arrivals) {
    const waitMs = beganMs + atMs - performance.now()
    // Timers are no finer than that; what is due together is sent together.
    if (waitMs >= 1) await delay(waitMs)
    sent.push(sendOne())
  }
  await Promise.all(sent)
  agent.destroy()
  const [p50Ms = Number.NaN, p99Ms = Number.NaN] = percentiles(latencies, [0.5, 0.99])
  return { p50Ms, p99Ms, errors }
}

function cellsOf(row: LatencyRow): readonly string[] {
  return [
    row.target,
    row.perSecondMax.toFixed(0),
    formatSpread(row.p50Ms, 2),
    formatSpread(row.p99Ms, 2),
    formatSpread(row.addedP50Ms, 2),
    formatSpread(row.addedP99Ms, 2),
    String(row.errors),
  ]
}

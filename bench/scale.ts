/**
 * What a request costs where there is more of something: routes, clients that are known, clients that take turns, connections, octets
 * in a body, and client objects that are alive.
 *
 * Each series compares its cases with its first one, in the same round.
 */
import { join } from "node:path"
import { createPaint, formatTable } from "../cli/terminal.ts"
import { measureBodies } from "./bodies.ts"
import { clientVariables, identityFields } from "./identities.ts"
import { CONNECTIONS, runSlice, type Slice } from "./load.ts"
import { measureObjects } from "./objects.ts"
import { plainGateway, startOrigin } from "./parties.ts"
import { memoryBytesOf } from "./process.ts"
import {
  compareRounds,
  countErrors,
  formatSpread,
  median,
  medianInterval,
  runRounds,
  spreadOf,
  type RoundsOptions,
  type Spread,
} from "./rounds.ts"
import { startBareGateway, type RunningWorker } from "./workerd.ts"

/** What can be measured, in the order in which it is. */
export const SCALE_SERIES = ["routes", "clients", "active", "connections", "bodies", "objects"] as const
export type ScaleSeries = (typeof SCALE_SERIES)[number]

/** One line. */
export interface ScaleRow {
  readonly series: ScaleSeries
  readonly amount: string
  /** Microseconds per request. */
  readonly cpuUs: number
  /** To the first case of the series; of bodies to a Worker that only calls fetch, with the same body. */
  readonly ratio: Spread
  /** Where the median of the ratio lies with 95 % certainty; undefined where too few pairs of processes were compared. */
  readonly interval: ReturnType<typeof medianInterval>
  readonly p50Ms: number
  /** Of the process, afterwards; of bodies the most at once above what it was before. */
  readonly memoryBytes: number
  readonly errors: number
}

/** What is measured: everything, or one series. */
export type ScaleOptions = RoundsOptions & { readonly only: ScaleSeries | undefined; readonly processes: number }

/** One case of a series that runs. */
interface Case {
  readonly amount: string
  readonly pid: number
  readonly measure: () => Promise<Slice>
}

type Fields = Readonly<Record<string, string>>

const ROUTES = [10, 10_000]
const CLIENTS = [10, 100_000]
const ACTIVE = [1, 1_000, 10_000]
const MANY_CONNECTIONS = 256

/** Measures and prints what is asked for. */
export async function benchScale(options: ScaleOptions): Promise<void> {
  const { json, only, processes, requests, rounds, v8Flags, warmUp } = options
  const origin = await startOrigin()
  try {
    const rows: ScaleRow[] = []
    for (const series of SCALE_SERIES) {
      if (only !== undefined && only !== series) continue
      rows.push(...(await measureSeries(series, origin.url, options)))
    }
    if (json) {
      console.log(JSON.stringify({ rounds, processes, requests, warmUp, v8Flags, node: process.version, rows }))
      return
    }
    const heading = ["series", "amount", "CPU us/request", "ratio [min to max]", "95 %", "p50 ms", "RSS MiB", "errors"]
    console.log(`\n${formatTable(heading, rows.map(cellsOf), createPaint(process.stdout))}\n`)
    console.log(
      `  ${rounds} rounds of ${requests} requests after ${warmUp}, of bodies fewer; medians, ratio within a round to the first line of a series; of bodies to a pass-through, and RSS is what they add at most\n` +
        (processes === 1 ? "" : `  routes and clients: ${processes} pairs of processes, ratio of each pair\n`),
    )
  } finally {
    origin.close()
  }
}

function cellsOf(row: ScaleRow): readonly string[] {
  return [
    row.series,
    row.amount,
    row.cpuUs.toFixed(0),
    Number.isNaN(row.ratio.median) ? "-" : formatSpread(row.ratio, 3),
    row.interval === undefined ? "-" : `${row.interval.low.toFixed(3)} to ${row.interval.high.toFixed(3)}`,
    row.p50Ms.toFixed(2),
    (row.memoryBytes / 1_048_576).toFixed(0),
    String(row.errors),
  ]
}

async function measureSeries(
  series: ScaleSeries,
  originUrl: string,
  options: ScaleOptions,
): Promise<readonly ScaleRow[]> {
  switch (series) {
    case "routes":
      return measureConfigurations(series, ROUTES, (count) => ({ ROUTES: routeVariables(count) }), originUrl, options)
    case "clients":
      return measureConfigurations(
        series,
        CLIENTS,
        (count) => ({ CLIENTS: clientVariables(count) }),
        originUrl,
        options,
      )
    case "active":
      return measureActive(originUrl, options)
    case "connections":
      return measureConnections(originUrl, options)
    case "bodies":
      return measureBodies(originUrl, options)
    case "objects":
      return measureObjects(originUrl, options)
  }
}

/**
 * A gateway for each amount, with that much in its configuration, asked for the same. Two processes of one and the same Worker differ,
 * and go on differing as long as they live: so they are started again and again, and each pair gives one ratio.
 */
async function measureConfigurations(
  series: ScaleSeries,
  amounts: readonly number[],
  variablesOf: (amount: number) => Readonly<Record<string, unknown>>,
  originUrl: string,
  options: ScaleOptions,
): Promise<readonly ScaleRow[]> {
  const [fields = {}] = await identityFields(1)
  const base = { ...plainGateway(originUrl), CLIENTS: clientVariables(1) }
  const pairs: (readonly ScaleRow[])[] = []
  for (let pair = 0; pair < options.processes; pair++) {
    const workers: RunningWorker[] = []
    try {
      for (const amount of amounts) {
        const directory = join(options.directory, `${series}-${amount}-${pair}`)
        const variables = { ...base, ...variablesOf(amount) }
        workers.push(await startBareGateway(variables, directory, { v8Flags: options.v8Flags }))
      }
      const cases = workers.map((worker, index) =>
        createCase(worker, String(amounts[index]), () => fields, options.requests),
      )
      pairs.push(await measureCases(series, cases, options))
    } finally {
      await Promise.all(workers.map(async (worker) => worker.close()))
    }
  }
  const [first = []] = pairs
  return pairs.length === 1 ? first : first.map((_, index) => joinRows(pairs.flatMap((rows) => rows[index] ?? [])))
}

/** Returns one line for the lines of all pairs. There is at least one. */
function joinRows(rows: readonly ScaleRow[]): ScaleRow {
  const ratios = rows.map(({ ratio }) => ratio.median)
  const [{ amount, series }] = rows as readonly [ScaleRow, ...ScaleRow[]]
  return {
    series,
    amount,
    cpuUs: median(rows.map(({ cpuUs }) => cpuUs)),
    ratio: spreadOf(ratios),
    interval: medianInterval(ratios),
    p50Ms: median(rows.map(({ p50Ms }) => p50Ms)),
    memoryBytes: median(rows.map(({ memoryBytes }) => memoryBytes)),
    errors: rows.reduce((sum, { errors }) => sum + errors, 0),
  }
}

/** One gateway that knows all clients; they take turns, and go on in the next slice where they stopped. */
async function measureActive(originUrl: string, options: RoundsOptions): Promise<readonly ScaleRow[]> {
  const known = Math.max(...ACTIVE)
  const all = await identityFields(known)
  const variables = { ...plainGateway(originUrl), CLIENTS: clientVariables(known) }
  const worker = await startBareGateway(variables, join(options.directory, "active"), { v8Flags: options.v8Flags })
  try {
    const cases = ACTIVE.map((amount) => {
      let turn = 0
      return createCase(worker, String(amount), () => all[turn++ % amount] ?? {}, options.requests)
    })
    return await measureCases("active", cases, options)
  } finally {
    await worker.close()
  }
}

async function measureConnections(originUrl: string, options: RoundsOptions): Promise<readonly ScaleRow[]> {
  const [fields = {}] = await identityFields(1)
  const variables = { ...plainGateway(originUrl), CLIENTS: clientVariables(1) }
  const worker = await startBareGateway(variables, join(options.directory, "connections"), { v8Flags: options.v8Flags })
  try {
    const cases = [1, CONNECTIONS, MANY_CONNECTIONS].map((connections) =>
      createCase(worker, String(connections), () => fields, options.requests, connections),
    )
    return await measureCases("connections", cases, options)
  } finally {
    await worker.close()
  }
}

function createCase(
  { pid, port }: RunningWorker,
  amount: string,
  fieldsOf: () => Fields,
  requests: number,
  connections = CONNECTIONS,
): Case {
  const url = new URL(`http://localhost:${port}/balance`)
  return { amount, pid, measure: () => runSlice(url, fieldsOf, requests, pid, { connections }) }
}

async function measureCases(
  series: ScaleSeries,
  cases: readonly Case[],
  options: RoundsOptions,
): Promise<readonly ScaleRow[]> {
  const slices = await runRounds(
    options,
    cases.map(({ measure }) => measure),
  )
  const [first = []] = slices
  return cases.map(({ amount, pid }, index) => {
    const own = slices[index] ?? []
    return {
      series,
      amount,
      cpuUs: median(own.map(({ cpuUs }) => cpuUs)),
      ratio: compareRounds(own, first, (a, b) => a.cpuUs / b.cpuUs),
      interval: undefined,
      p50Ms: median(own.map(({ p50Ms }) => p50Ms)),
      memoryBytes: memoryBytesOf(pid),
      errors: countErrors(own),
    }
  })
}

/** Returns the variable `ROUTES` with as many routes, half of them prefixes, and the one that is asked for among them. */
export function routeVariables(count: number): readonly object[] {
  const others = Array.from({ length: count - 1 }, (_, index) => ({
    ...(index % 2 === 0 ? { path: `/bench/${index}/item` } : { prefix: `/bench/${index}` }),
    methods: ["GET"],
    origin: "bank",
    limits: "standard",
  }))
  return [...others, { path: "/balance", methods: ["GET"], origin: "bank", limits: "standard" }]
}

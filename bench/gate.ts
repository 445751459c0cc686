/**
 * What leases save: calls of the client's object per request, requests decided without it, refusals and CPU time, for one
 * client of one isolate at several rates and loads; once with leases, once with one call per request, and the simulation of
 * the same load beside them.
 *
 * Both ways carry a second rate that never refuses. In one it refills too quickly to be lent (`isWorthLending`), so every
 * request asks; nothing else differs.
 */
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { createPaint, formatTable } from "../cli/terminal.ts"
import { createTableScenario } from "../simulation/table.ts"
import { runScenario } from "../simulation/world.ts"
import { batchSize, createLoopAgent, runLoop, sendBatch, type LoopTarget } from "./open-loop.ts"
import { cpuUsOf } from "./process.ts"
import { requestFields, startMeasuredWorker } from "./worker.ts"

/** How long each load lasts, and how to print what came out. */
export interface GateOptions {
  readonly seconds: number
  readonly json: boolean
  /** For certificates and state; the caller removes it. */
  readonly directory: string
}

/** One line. Counts are per request unless named otherwise; null where it is not measured. */
interface Line {
  readonly way: "asking" | "leases" | "simulated"
  readonly rate: number
  readonly load: number
  /** Requests that were answered per second, and how many travelled together. */
  readonly perSecond: number
  readonly batch: number | null
  readonly calls: number
  readonly local: number
  readonly refused: number
  readonly cpuUs: number | null
  /** Answers that were neither 200 nor 429, and requests that the machine was too slow to send. */
  readonly failed: number
  readonly skipped: number
}

const RATES = [100, 1_000, 5_000]
const LOADS = [0.2, 0.9, 1.5]
const SEEDS = [1, 2, 3]
const WARM_UP_MS = 1_500
/** After which all leases have ended and the buckets, which hold the rate of a second, are full. */
const REST_MS = 2_500
/** CPU time is read in steps of 10 ms: of fewer requests it says nothing. */
const CPU_REQUESTS_MIN = 1_000

/** A rate that refuses nothing here. The one refills in a second, the other in a tenth of that and is never lent. */
const IDLE_LIMITS = {
  leases: { rate: "100000/s", burst: 100_000 },
  asking: { rate: "1000000/s", burst: 100_000 },
} as const

/** Measures and prints every rate and load. */
export async function benchGate(options: GateOptions): Promise<void> {
  const lines: Line[] = []
  for (const rate of RATES) {
    const asking = await measure("asking", rate, options)
    const leases = await measure("leases", rate, options)
    for (const [index, load] of LOADS.entries()) {
      lines.push(...[asking[index], leases[index]].filter((line) => line !== undefined))
      lines.push(simulate(rate, load, options.seconds))
    }
  }
  if (options.json) console.log(JSON.stringify({ seconds: options.seconds, node: process.version, lines }))
  else console.log(`\n${formatLines(lines)}\n\n  ${options.seconds} s of load a line, one client, one isolate\n`)
}

async function measure(way: "asking" | "leases", rate: number, options: GateOptions): Promise<readonly Line[]> {
  const { worker, pid } = await startMeasuredWorker(
    "bench/gate.toml",
    {
      PLATFORM: "cloudflare",
      GATEWAY: { hosts: ["localhost"] },
      ISSUERS: { development: { ski: "73656b6973686f2d646576656c6f706d656e742d" } },
      CLIENTS: [{ id: "acme", certificates: [{ issuer: "development", san_uri: "spiffe://partners.example/acme" }] }],
      LIMITS: { client: { rate: `${rate}/s`, burst: rate }, idle: IDLE_LIMITS[way] },
      ROUTES: [{ path: "/", methods: ["GET"], respond: { status: 200, body: "ok" }, limits: ["client", "idle"] }],
    },
    join(options.directory, `${way}-${rate}`),
  )
  const agent = createLoopAgent()
  const fields = await requestFields(join(options.directory, "pki"))
  const target: LoopTarget = { url: new URL(`http://127.0.0.1:${worker.port}/`), fields, agent }
  const lines: Line[] = []
  try {
    for (const load of LOADS) {
      await runLoop(target, rate * load, WARM_UP_MS)
      await delay(REST_MS)
      lines.push(await measureLoad(target, { way, rate, load, pid, seconds: options.seconds }))
    }
  } finally {
    agent.destroy()
    await worker.close()
  }
  return lines
}

async function measureLoad(
  target: LoopTarget,
  {
    way,
    rate,
    load,
    pid,
    seconds,
  }: { way: "asking" | "leases"; rate: number; load: number; pid: number; seconds: number },
): Promise<Line> {
  const { totals: before } = await sendBatch(target, 0)
  const cpuBeforeUs = cpuUsOf(pid)
  const loop = await runLoop(target, rate * load, seconds * 1_000)
  const cpuUs = cpuUsOf(pid) - cpuBeforeUs
  const { totals: after } = await sendBatch(target, 0, { "X-Bench-Inspect": "acme" })
  if (way === "leases" && after.inspectedLends !== after.lends) {
    throw new Error(`The driver counted ${after.lends} calls for tokens, the object ${after.inspectedLends}`)
  }
  const requests = loop.admitted + loop.refused + loop.failed
  const decided = after.local + after.asked - before.local - before.asked
  if (decided !== requests) throw new Error(`${requests} requests were answered and ${decided} are on the record`)
  return {
    way,
    rate,
    load,
    perSecond: (1_000 * requests) / loop.elapsedMs,
    batch: batchSize(rate * load),
    calls: (after.calls - before.calls) / requests,
    local: (after.local - before.local) / requests,
    refused: loop.refused / requests,
    cpuUs: requests < CPU_REQUESTS_MIN ? null : cpuUs / requests,
    failed: loop.failed,
    skipped: loop.skipped,
  }
}

/** One isolate, Poisson arrivals, round trips of 30 ms: what `npm run simulate -- --table` prints, for as long as the bench. */
function simulate(rate: number, load: number, seconds: number): Line {
  const reports = SEEDS.map((seed) =>
    runScenario({
      ...createTableScenario({ rate, burst: rate, isolates: 1, load }, seed),
      durationMs: seconds * 1_000,
    }),
  )
  const sum = (of: (report: (typeof reports)[number]) => number): number =>
    reports.reduce((total, report) => total + of(report), 0)
  const requests = sum((report) => report.requests)
  return {
    way: "simulated",
    rate,
    load,
    perSecond: requests / seconds / SEEDS.length,
    batch: null,
    calls: sum((report) => report.calls) / requests,
    local: sum((report) => report.local) / requests,
    refused: sum((report) => report.refusedByLimit) / requests,
    cpuUs: null,
    failed: sum((report) => report.unavailable),
    skipped: 0,
  }
}

function formatLines(lines: readonly Line[]): string {
  const heading = [
    "R/s",
    "load",
    "way",
    "req/s",
    "batch",
    "calls/request",
    "local",
    "refused",
    "CPU us",
    "failed",
    "unsent",
  ]
  const rows = lines.map((line) => [
    String(line.rate),
    `${line.load}R`,
    line.way,
    line.perSecond.toFixed(0),
    line.batch === null ? "-" : String(line.batch),
    line.calls.toFixed(4),
    `${(100 * line.local).toFixed(1)} %`,
    `${(100 * line.refused).toFixed(1)} %`,
    line.cpuUs === null ? "-" : line.cpuUs.toFixed(0),
    String(line.failed),
    String(line.skipped),
  ])
  return formatTable(heading, rows, createPaint(process.stdout))
}

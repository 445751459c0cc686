/**
 * What leasing costs and what it loses, for the loads that decide whether it pays: calls to the object per request, share
 * of the requests decided without waiting, tokens not given that an ideal central bucket would have given, tokens given
 * too many. Poisson arrivals, Zipf over the isolates, round trips of 30 ms, nothing going wrong.
 */
import { formatTable } from "../cli/terminal.ts"
import type { Scenario } from "./scenario.ts"
import { runScenario } from "./world.ts"
import type { RunReport } from "./world.ts"

/** A line of the table: tokens per second, burst, isolates, load as a multiple of the rate. */
export interface TableRow {
  readonly rate: number
  readonly burst: number
  readonly isolates: number
  readonly load: number
}

/** What came out for one line, over all its seeds. */
export interface TableResult extends TableRow {
  readonly callsPerRequest: number
  readonly localShare: number
  readonly underAdmission: number
  readonly overAdmission: number
  readonly waitedMsPerRequest: number
}

/** The lines that are printed. */
export const TABLE_ROWS: readonly TableRow[] = [
  { rate: 100, burst: 100, isolates: 1, load: 0.9 },
  { rate: 100, burst: 100, isolates: 1, load: 5 },
  { rate: 100, burst: 100, isolates: 4, load: 0.9 },
  { rate: 100, burst: 100, isolates: 4, load: 5 },
  { rate: 100, burst: 100, isolates: 16, load: 0.2 },
  { rate: 100, burst: 100, isolates: 16, load: 0.9 },
  { rate: 100, burst: 100, isolates: 16, load: 1.5 },
  { rate: 100, burst: 100, isolates: 16, load: 5 },
  { rate: 100, burst: 100, isolates: 64, load: 0.9 },
  { rate: 100, burst: 100, isolates: 64, load: 5 },
  { rate: 10, burst: 20, isolates: 1, load: 0.9 },
  { rate: 10, burst: 20, isolates: 16, load: 0.9 },
  { rate: 5000, burst: 5000, isolates: 1, load: 0.9 },
  { rate: 5000, burst: 5000, isolates: 16, load: 0.9 },
  { rate: 5000, burst: 5000, isolates: 16, load: 5 },
  { rate: 5000, burst: 5000, isolates: 64, load: 0.9 },
]

/** Returns the run of a line: as long as it takes for about 10,000 requests, at least 5 s and at most 60 s. */
export function createTableScenario({ rate, burst, isolates, load }: TableRow, seed: number): Scenario {
  const perSecond = rate * load
  return {
    seed,
    durationMs: Math.round(Math.min(60_000, Math.max(5_000, 1e7 / perSecond))),
    isolates,
    zipf: 1,
    limits: [{ name: "client", burst, rate: { count: rate, periodMs: 1000 } }],
    routeLimits: [],
    routeShare: 0,
    quotas: [],
    clockMs: 0,
    arrivals: { kind: "poisson", rate: perSecond },
    costs: [1],
    ttlMs: 1000,
    marginMs: 50,
    callTimeoutMs: 1000,
    network: { delayMs: 15, spread: 0.3, slow: 0, loss: 0, duplication: 0 },
    drift: 0,
    freezeMs: 0,
    isolateRestarts: 0,
    objectRestarts: 0,
    changes: [],
    quotaChanges: [],
    blocks: [],
    troubles: [],
    single: 0,
    direct: 0,
    drops: 0,
  }
}

/** Runs one line with these seeds. */
export function measureRow(row: TableRow, seeds: readonly number[]): TableResult {
  const reports = seeds.map((seed) => runScenario(createTableScenario(row, seed)))
  const sum = (of: (report: RunReport) => number) => reports.reduce((total, report) => total + of(report), 0)
  const requests = Math.max(
    1,
    sum((report) => report.requests),
  )
  const ideal = Math.max(
    1,
    sum((report) => report.ideal),
  )
  return {
    ...row,
    callsPerRequest: sum((report) => report.calls) / requests,
    localShare: sum((report) => report.local) / requests,
    underAdmission: Math.max(0, ideal - sum((report) => report.admitted)) / ideal,
    overAdmission: Math.max(...reports.map((report) => report.overdrawn)),
    waitedMsPerRequest: sum((report) => report.waitedMs) / requests,
  }
}

/** Returns the table as text. */
export function formatResults(results: readonly TableResult[]): string {
  const heading = ["R/s", "B", "N", "load", "calls/request", "local", "under", "over", "wait ms"]
  const rows = results.map((result) => [
    String(result.rate),
    String(result.burst),
    String(result.isolates),
    `${result.load}R`,
    result.callsPerRequest.toFixed(3),
    `${(100 * result.localShare).toFixed(0)} %`,
    `${(100 * result.underAdmission).toFixed(2)} %`,
    result.overAdmission.toFixed(2),
    result.waitedMsPerRequest.toFixed(1),
  ])
  return formatTable(heading, rows, (_style, text) => text)
}

/**
 * The metrics of the whole gateway: loads what was counted, lets `core/metric/metric-state.ts` add a report, stores, returns.
 *
 * One instance, named `gateway`. A report is durable before it is acknowledged, and one that comes twice counts once. Isolates
 * report about every ten seconds, so one row of JSON is written per isolate and report, however many requests there are.
 * Asked by isolates, by objects of clients, and by the admin host. An unreadable row counts as nothing: counters begin again.
 */
import { DurableObject } from "cloudflare:workers"
import type { MetricCounts, MetricReport } from "../src/core/metric/metric-report.ts"
import {
  recordCounts,
  recordReport,
  restoreMetrics,
  storeMetrics,
  type MetricState,
} from "../src/core/metric/metric-state.ts"
import { formatMetrics, type MetricBuild, type MetricFormat } from "../src/core/metric/openmetrics.ts"

const SCHEMA = "CREATE TABLE IF NOT EXISTS metrics (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL) STRICT;"
const READ = "SELECT state FROM metrics"
const WRITE = "INSERT INTO metrics (id, state) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state"

/** The Durable Object class behind the binding `METRICS`. */
export class Metrics extends DurableObject<Env> {
  readonly #sql: SqlStorage

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    this.#sql = ctx.storage.sql
    // Synchronous, so no call can come in between and nothing has to block.
    this.#sql.exec(SCHEMA)
  }

  /** Adds what an isolate has counted since its last report. Rejects when storage fails; the isolate repeats it then. */
  report(report: MetricReport): void {
    this.#change((state, nowMs) => recordReport(state, report, nowMs))
  }

  /** Adds counts that the caller tells once. */
  count(counts: MetricCounts): void {
    this.#change((state, nowMs) => recordCounts(state, counts, nowMs))
  }

  /** Returns everything that was counted as text. Changes nothing. */
  expose(build: MetricBuild, format: MetricFormat): string {
    return formatMetrics(this.#load(), build, Date.now(), format)
  }

  #change(step: (state: MetricState, nowMs: number) => MetricState): void {
    const before = this.#load()
    const after = step(before, Date.now())
    if (after !== before) this.#sql.exec(WRITE, storeMetrics(after))
  }

  #load(): MetricState {
    return restoreMetrics(this.#sql.exec(READ).toArray()[0]?.["state"])
  }
}

/**
 * Tells the metrics that guards have opened, once and without waiting: what cannot be told is in the records all the same.
 */
import { decideObjectError } from "../src/core/gate/object-error.ts"
import { NO_COUNTS } from "../src/core/metric/metric-report.ts"
import { logFailure } from "./outbox.ts"

/** Counts one opening of each guard that is named. Never rejects. */
export async function countOpenings(metrics: Env["METRICS"], guards: readonly string[]): Promise<void> {
  if (metrics === undefined || guards.length === 0) return
  const counters = guards.map((guard) => ["sekisho_guard_openings", [guard], 1] as const)
  try {
    await metrics.getByName("gateway").count({ ...NO_COUNTS, counters })
  } catch (error) {
    logFailure("guard_opening_uncounted", decideObjectError(error, 1).reason)
  }
}

/**
 * When somebody has to be told that a trail does not reach its sinks: before the room for it is used up and routes that require
 * it refuse. Told once, and once when it is over. Pure and total; driven by the alarm of the object `AuditTrail`.
 */
import { withAlert } from "../record/alert.ts"
import { AUDIT_LATE_MS, AUDIT_WAITING_BYTES_MAX, AUDIT_WAITING_MAX } from "../bounds.ts"
import { formatInstant, type AuditDelayRecord } from "../record/event.ts"
import { membersOf, parseJson } from "../untrusted.ts"

/** What of a trail waits for its sinks. */
export interface TrailWaiting {
  readonly records: number
  readonly bytes: number
  /** When the oldest of them was made, epoch ms; undefined when none waits or nobody knows. */
  readonly oldestMs: number | undefined
}

/**
 * Returns what there is to tell, or undefined. A trail is late when a record has waited for {@link AUDIT_LATE_MS} or half of the room is
 * used; it is on time again when neither holds and at most a quarter is.
 *
 * @param isTold whether the trail was told of as late
 */
export function decideDelay(
  isTold: boolean,
  { bytes, oldestMs, records }: TrailWaiting,
  nowMs: number,
): "delayed" | "resumed" | undefined {
  const used = Math.max(records / AUDIT_WAITING_MAX, bytes / AUDIT_WAITING_BYTES_MAX)
  const isOld = oldestMs !== undefined && nowMs - oldestMs >= AUDIT_LATE_MS
  if (!isTold) return isOld || used >= 1 / 2 ? "delayed" : undefined
  return !isOld && used <= 1 / 4 ? "resumed" : undefined
}

/** Returns the instant that a line of a trail was made at, epoch ms; undefined when it tells none. */
export function timeOfLine(line: string | undefined): number | undefined {
  const { time } = membersOf(parseJson(line))
  const ms = typeof time === "string" ? Date.parse(time) : Number.NaN
  return Number.isNaN(ms) ? undefined : ms
}

/** Returns the record of what was decided. */
export function auditDelayRecordOf(
  decision: "delayed" | "resumed",
  trail: string,
  { oldestMs, records }: TrailWaiting,
  nowMs: number,
): AuditDelayRecord {
  return withAlert({
    timestamp: formatInstant(nowMs),
    level: decision === "delayed" ? "error" : "info",
    event: `audit.${decision}`,
    trail,
    waiting: records,
    ...(oldestMs === undefined ? {} : { oldest: formatInstant(oldestMs) }),
  })
}

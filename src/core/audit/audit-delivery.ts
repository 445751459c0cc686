/**
 * How the records of a trail reach one sink: in order, in batches, again until it has acknowledged them.
 *
 * No record is ever skipped or put aside, because a chain with a hole proves nothing: a batch that a sink will not take is
 * halved until the record is alone that it does not take, and that one is offered again, ever more rarely, while the object says
 * so. Pure and total; driven by the alarm of the object `AuditTrail`.
 */
import { blockMs } from "../guard/backoff.ts"
import { AUDIT_BATCH_BYTES_MAX, AUDIT_BATCH_MAX, AUDIT_RETRY_MS_MAX, AUDIT_RETRY_MS_MIN } from "../bounds.ts"
import type { Delivery } from "../record/delivery.ts"
import { isCount, isInstant, isPositiveInteger, membersOf, parseJson } from "../untrusted.ts"

/** How far one sink is, as it is stored. */
export interface SinkPosition {
  readonly version: 1
  /** The last record that it has acknowledged. */
  readonly seq: number
  /** Failures in a row. */
  readonly failures: number
  /** Not before this instant, epoch ms. */
  readonly retryAtMs: number
  /** Most records of the next batch. */
  readonly batchMax: number
}

/** A line that waits, and its place. */
export interface WaitingLine {
  readonly seq: number
  readonly line: string
}

const BACKOFF = {
  kind: "exponential",
  minBackoffMs: AUDIT_RETRY_MS_MIN,
  maxBackoffMs: AUDIT_RETRY_MS_MAX,
  randomFactor: 0.2,
  resetBackoffMs: null,
} as const

/** Returns the position of a sink that has acknowledged everything up to `seq`. */
export function createSinkPosition(seq: number): SinkPosition {
  return { version: 1, seq, failures: 0, retryAtMs: 0, batchMax: AUDIT_BATCH_MAX }
}

/**
 * Returns the stored position. A sink that is new, and one whose position cannot be read, begins with the oldest record that
 * waits: it may get some twice, and misses none.
 *
 * @param firstSeq place of the oldest record that waits
 */
export function restoreSinkPosition(stored: unknown, firstSeq: number, nowMs: number): SinkPosition {
  const { batchMax, failures, retryAtMs, seq, version } = membersOf(parseJson(stored))
  if (version !== 1 || !isCount(seq) || !isCount(failures) || !isInstant(retryAtMs) || !isPositiveInteger(batchMax))
    return createSinkPosition(firstSeq - 1)
  // Told by a clock that was ahead: no pause is longer than the longest.
  const isPlausible = retryAtMs <= nowMs + RETRY_AFTER_MS_MAX
  return {
    version,
    seq,
    failures,
    retryAtMs: isPlausible ? retryAtMs : nowMs,
    batchMax: Math.min(batchMax, AUDIT_BATCH_MAX),
  }
}

/** The longest Retry-After that `core/record/delivery.ts` lets through. */
const RETRY_AFTER_MS_MAX = 600_000

/** Returns the lines of the next batch: as many of the first ones as both bounds allow, at least one. */
export function takeBatch(lines: readonly WaitingLine[], { batchMax }: SinkPosition): readonly WaitingLine[] {
  let bytes = 0
  let count = 0
  for (const { line } of lines) {
    bytes += line.length + 1
    if (count > 0 && (count >= batchMax || bytes > AUDIT_BATCH_BYTES_MAX)) break
    count += 1
  }
  return lines.slice(0, count)
}

/** What became of a batch, and what has to be said about it. */
export interface DeliveryStep {
  readonly position: SinkPosition
  /** `poison`: the sink will not take one record, and waits for nothing that the gateway could do. */
  readonly alarm: "poison" | "unavailable" | undefined
}

/** Returns the position behind an answer to `batch`, which is not empty. @param random uniform in [0, 1) */
export function afterDelivery(
  position: SinkPosition,
  batch: readonly WaitingLine[],
  delivery: Delivery,
  nowMs: number,
  random: number,
): DeliveryStep {
  if (delivery.kind === "delivered") {
    const batchMax = Math.min(AUDIT_BATCH_MAX, Math.max(position.batchMax, batch.length) * 2)
    const seq = Math.max(position.seq, batch.at(-1)?.seq ?? 0)
    return { position: { version: 1, seq, failures: 0, retryAtMs: 0, batchMax }, alarm: undefined }
  }
  if (delivery.kind === "rejected" && batch.length > 1) {
    // Halves are tried at once: at most seven requests find the record.
    return { position: { ...position, batchMax: Math.ceil(batch.length / 2) }, alarm: undefined }
  }
  const failures = Math.min(position.failures + 1, Number.MAX_SAFE_INTEGER)
  const askedMs = delivery.kind === "retry" ? (delivery.delaySeconds ?? 0) * 1_000 : 0
  const pauseMs = Math.max(askedMs, blockMs(BACKOFF, failures, random))
  return {
    position: { ...position, failures, retryAtMs: nowMs + pauseMs },
    alarm: delivery.kind === "rejected" ? "poison" : "unavailable",
  }
}

/** Returns when to deliver next, epoch ms: when the first sink that lacks something may be asked. Null when none does. */
export function nextDeliveryMs(positions: readonly SinkPosition[], headSeq: number, nowMs: number): number | null {
  const due = positions.filter(({ seq }) => seq < headSeq).map(({ retryAtMs }) => Math.max(nowMs, retryAtMs))
  return due.length === 0 ? null : Math.min(...due)
}

/**
 * What the record says about the ways of records themselves: a sink that is down or back, records that are lost or that a sink
 * will never take. Pure; made where records are delivered.
 */
import { withAlert } from "./alert.ts"
import type { SinkRecord } from "./event.ts"
import { formatInstant } from "./event.ts"

/** Which sink. */
export interface SinkIdentity {
  readonly kind: string
  readonly url: string
}

/** What happened to a sink, or to records on their way to one. */
export type SinkOccurrence =
  | { readonly kind: "down"; readonly sink: SinkIdentity; readonly reason: string }
  | { readonly kind: "up"; readonly sink: SinkIdentity }
  /** Records that a sink has received and not taken, or undefined for those that an isolate gave up. */
  | {
      readonly kind: "dropped"
      readonly sink: SinkIdentity | undefined
      readonly reason: string
      readonly count: number
    }
  /** Records that go to the dead-letter queue, because a sink finds fault with them. */
  | { readonly kind: "rejected"; readonly sink: SinkIdentity; readonly reason: string; readonly count: number }

const LEVELS = { down: "error", up: "info", dropped: "error", rejected: "error" } as const

/** Returns what tells a sink from every other one, in messages of the queue. */
export function sinkId({ kind, url }: SinkIdentity): string {
  return `${kind} ${url}`
}

/** Returns the record. Of the URL it holds the host alone: some collectors have credentials in the path. */
export function sinkRecordOf(occurrence: SinkOccurrence, nowMs: number): SinkRecord {
  const { kind, sink } = occurrence
  return withAlert({
    timestamp: formatInstant(nowMs),
    level: LEVELS[kind],
    event: `sink.${kind}`,
    ...(sink === undefined ? {} : { sink: `${sink.kind} ${hostOf(sink.url)}` }),
    ...("reason" in occurrence ? { reason: occurrence.reason } : {}),
    ...("count" in occurrence ? { records: occurrence.count } : {}),
  })
}

function hostOf(url: string): string {
  return /^[a-z]+:\/\/([^/?#]*)/.exec(url)?.[1] ?? "-"
}

/**
 * What the record says about the revocation list of a CA: a new one is in force, an attempt to get one has failed, or the
 * one in force is over. Pure and total; called by the object `RevocationList`.
 */
import { formatInstant, type CrlRecord } from "../record/event.ts"
import { redactText } from "../record/redaction.ts"
import type { StoredList } from "./revocation.ts"

/** What happened. `failed` carries the exact reason and how many failures in a row it is. */
export type CrlOccurrence =
  | { readonly kind: "refreshed" }
  | { readonly kind: "failed"; readonly reason: string; readonly failures: number }
  | { readonly kind: "stale" }

/** Returns the record. `list` is the one in force, also behind a failure: that is how long there still is time. */
export function crlRecordOf(
  occurrence: CrlOccurrence,
  issuer: string,
  list: StoredList | null,
  nowMs: number,
): CrlRecord {
  const { kind } = occurrence
  return {
    timestamp: formatInstant(nowMs),
    level: kind === "refreshed" ? "info" : kind === "failed" ? "warn" : "error",
    event: `crl.${kind}`,
    issuer,
    ...(kind === "failed" ? { reason: redactText(occurrence.reason), failures: occurrence.failures } : {}),
    ...(list === null
      ? {}
      : {
          this_update: formatInstant(list.thisUpdateMs),
          next_update: formatInstant(list.nextUpdateMs),
          entries: list.entries,
          ...(list.number === null ? {} : { number: list.number }),
        }),
  }
}

/**
 * What somebody has to be told of: a code on the records that an operator sets an alarm on.
 *
 * The list is closed and its codes are stable, so that an alarm matches one field and outlives the names of reasons. Pure; records are marked
 * where they are written.
 */
import type { GatewayEvent } from "./event.ts"

/** Codes of alerts, in the order of README's table, and what each means. */
export const ALERTS = {
  "guard-opened": "a guard blocks somebody who fails too often",
  "certificate-expiring": "a certificate, or a rule's overlap window, ends soon or has ended",
  "certificate-revoked": "somebody presents a revoked certificate",
  "revocation-list-stale": "the revocation list of a CA is over, and no other is in force",
  "sink-down": "a sink takes no records",
  "records-lost": "records were given up, or received by a sink and not taken",
  "records-rejected": "a sink finds fault with records, which go to the dead-letter queue",
  "audit-backlog": "an audit trail does not reach its sinks; when its room is used up, routes that require it refuse",
  "config-rejected": "a version of the Worker does not start, because its configuration is invalid",
} as const

/** Code of an alert. */
export type AlertCode = keyof typeof ALERTS

/** Records that are alerts by their name. */
const BY_EVENT: ReadonlyMap<string, AlertCode> = new Map([
  ["guard.opened", "guard-opened"],
  ["certificate.expiring", "certificate-expiring"],
  ["crl.stale", "revocation-list-stale"],
  ["audit.delayed", "audit-backlog"],
  ["sink.down", "sink-down"],
  ["sink.dropped", "records-lost"],
  ["sink.rejected", "records-rejected"],
])

/** Returns the alert that a record is, or undefined. Total, also for records of other versions. */
export function alertOf(record: GatewayEvent): AlertCode | undefined {
  if (record.event !== "request") return BY_EVENT.get(record.event)
  return record.reason?.startsWith("cert_revoked") === true ? "certificate-revoked" : undefined
}

/** Returns the record with its alert, if it is one. */
export function withAlert<R extends GatewayEvent>(record: R): R {
  const alert = alertOf(record)
  return alert === undefined ? record : { ...record, alert }
}

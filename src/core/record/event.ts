/**
 * The canonical event: what the record says about one request.
 *
 * The type is closed; every field that may leave the gateway is named here, in the order in which it is written. Texts of
 * strangers are cut and masked in one place (`core/record/redaction.ts`), and lines escaped in another (here), so that no caller can forge a line,
 * colour a terminal or fill a disk. Pure; made by
 * the `access-log` stage, carried by the queue, turned into a sink's format at the other end.
 */
import type { AlertCode } from "./alert.ts"
import { effectiveTimeMs } from "../clock.ts"
import type { IdempotencyOutcome } from "../idempotency/idempotency-ledger.ts"
import type { ProblemCode } from "../problem.ts"

/**
 * How a request ended: the origin answered, the gateway answered as the route says, the gateway refused, the caller left
 * before there was an answer, or something that should not happen happened.
 */
export type Outcome = "forwarded" | "answered" | "refused" | "aborted" | "failed"

/** One request. Absent fields are not known, because the request ended before the stage that learns them. */
export interface AccessEvent {
  /** RFC 3339 with milliseconds, UTC: when the request arrived. */
  readonly timestamp: string
  /** Debug where the route says so, of requests that went well. */
  readonly level: "debug" | "info" | "warn" | "error"
  readonly event: "request"
  /** Set where somebody should be told (`core/record/alert.ts`); likewise in other records. */
  readonly alert?: AlertCode
  readonly request_id: string
  readonly trace_id: string
  readonly span_id: string
  readonly outcome: Outcome
  readonly status: number
  readonly method: string
  readonly host?: string
  /** Canonical path, or the path as sent when the request was refused before it had one; without query. */
  readonly path: string
  /** Pattern of the route. */
  readonly route?: string
  readonly client_id?: string
  readonly client_address?: string
  readonly problem?: ProblemCode
  /** Exact reason of a refusal or failure; never sent to the caller. */
  readonly reason?: string
  /** Milliseconds from arrival to the response header, and the origin's share of them. */
  readonly latency_ms: number
  readonly origin?: string
  readonly origin_ms?: number
  /** How often the request was sent to the origin; absent for once. */
  readonly origin_attempts?: number
  /** How the request fared with its idempotency key; absent without one. Never the key. */
  readonly idempotency?: IdempotencyOutcome
  /** SHA-256 of the presented leaf, lower-case hex. */
  readonly certificate_fingerprint?: string
  readonly certificate_days_left?: number
  /** RFC 3339: end of the overlap window of the only rules that match the leaf; past when that is why it was refused. */
  readonly certificate_retires_at?: string
  /** Nobody knew whether the certificate is revoked; it passed because the issuer's `stale` says so. */
  readonly revocation_unknown?: "stale" | "missing" | "unavailable"
  /** Authorization server whose token was verified, the client and the id that the token names. Never the token. */
  readonly token?: string
  readonly token_client?: string
  readonly token_id?: string
  /** The limit per address did not answer; the request passed uncounted. */
  readonly ip_limit?: "unavailable"
  /** Of several limits the one that refused, else the one with the least left. */
  readonly rate_limit_policy?: string
  readonly rate_limit_remaining?: number
  readonly rate_limit_retry_after_ms?: number
  /** Who decided: the isolate, from tokens or a refusal that it was lent, or the client's object, asked for this request. */
  readonly gate?: "local" | "asked"
  /** Limits that would have refused, separated by commas, had the origin been healthy: the route is in soft mode. */
  readonly rate_limit_soft?: string
  /** The guard that refused, and the ms that its block goes on. */
  readonly guard?: string
  readonly guard_retry_after_ms?: number
  /** What this answer counts as for the guards of the route. */
  readonly guard_outcome?: "success" | "failure"
  /** Why a guard could not be told how the request ended. */
  readonly guard_untold?: string
  /** The origin answered badly too often lately. */
  readonly origin_unhealthy?: true
  /** Intent and outcome are on the client's audit trail, or the outcome was not yet when the answer left. */
  readonly audit?: "recorded" | "delayed"
  /** Names of the limits in shadow mode that would have refused, separated by commas. */
  readonly rate_limit_shadowed?: string
  readonly config_version: string
}

/** A guard opened, or its block ended. At least once for each: an equal record again means the same. */
export interface GuardRecord {
  /** RFC 3339 with milliseconds, UTC: when it happened. */
  readonly timestamp: string
  readonly level: "info" | "warn"
  readonly event: "guard.opened" | "guard.closed"
  readonly alert?: AlertCode
  /** Name of the guard. */
  readonly guard: string
  /** Whom it counts for. A client by its id; the value of an address or field is not written, only that it is one. */
  readonly key_kind: "client" | "address" | "header"
  readonly client_id?: string
  readonly reason: "failures" | "admin" | "elapsed" | "unblock" | "reset"
  /** RFC 3339: end of the block as it was set. */
  readonly blocked_until: string
  /** Openings in a row. */
  readonly attempt: number
}

/**
 * A certificate that a client uses, or a rule it is recognised by, ends soon or has ended. Once for each and day (UTC), at
 * least: an equal record again means the same.
 */
export interface CertificateRecord {
  /** RFC 3339 with milliseconds, UTC: when it was noticed. */
  readonly timestamp: string
  /** An error in the last week. */
  readonly level: "warn" | "error"
  readonly event: "certificate.expiring"
  readonly alert?: AlertCode
  readonly client_id: string
  /** What ends first: the certificate's own validity, or the overlap window of the rule that matches it. */
  readonly ends: "validity" | "overlap"
  /** RFC 3339, UTC. */
  readonly ends_at: string
  /** Whole days until then, rounded down; negative once it has ended. */
  readonly days_left: number
  /** SHA-256 of the leaf, lower-case hex; absent for a window in which no certificate was seen. */
  readonly certificate_fingerprint?: string
  /** The last day of its use that is known, UTC. */
  readonly last_used?: string
  /** Where the rule stands in the configuration, when no certificate was seen under it. */
  readonly rule?: string
  /** A request, or the daily review. */
  readonly found_by: "use" | "review"
}

/** A new revocation list is in force, an attempt to get one has failed, or the one in force is over. At least once for each. */
export interface CrlRecord {
  /** RFC 3339 with milliseconds, UTC: when it happened. */
  readonly timestamp: string
  readonly level: "info" | "warn" | "error"
  readonly event: "crl.refreshed" | "crl.failed" | "crl.stale"
  readonly alert?: AlertCode
  /** Configured name of the CA. */
  readonly issuer: string
  /** Why an attempt failed, and how many have failed in a row. */
  readonly reason?: string
  readonly failures?: number
  /** The list in force: its times in RFC 3339, its entries, and its number in hex. Absent while there is none. */
  readonly this_update?: string
  readonly next_update?: string
  readonly entries?: number
  readonly number?: string
}

/**
 * A WebSocket has ended. Once for each that the gateway saw end: an isolate that ends takes its sockets along without a word.
 */
export interface SocketRecord {
  /** RFC 3339 with milliseconds, UTC: when both sides were closed. */
  readonly timestamp: string
  readonly level: "info" | "warn"
  readonly event: "websocket.closed"
  readonly alert?: AlertCode
  /** Those of the request that opened it. */
  readonly request_id: string
  readonly trace_id: string
  readonly span_id: string
  readonly client_id?: string
  readonly route?: string
  readonly origin?: string
  readonly closed_by: "client" | "origin" | "gateway"
  /** The first close as it was received or sent: 1005 for one without a code, 1006 when a side broke off without any. */
  readonly code: number
  /** Why the gateway closed it. */
  readonly reason?: string
  readonly duration_ms: number
  /** From the client, and from the origin. */
  readonly messages_in: number
  readonly bytes_in: number
  readonly messages_out: number
  readonly bytes_out: number
}

/**
 * The way of records to a sink: it is down (once for each outage and isolate) or back, has received records and not taken them, finds fault
 * with some, or an isolate had to give some up.
 */
export interface SinkRecord {
  /** RFC 3339 with milliseconds, UTC: when it was noticed. */
  readonly timestamp: string
  readonly level: "info" | "error"
  readonly event: "sink.down" | "sink.up" | "sink.dropped" | "sink.rejected"
  readonly alert?: AlertCode
  /** Kind and host of the sink; absent when records were given up before any sink was asked. */
  readonly sink?: string
  readonly reason?: string
  /** How many records it is about. */
  readonly records?: number
}

/** A trail whose sinks do not take it, once for each time, and that they have taken it again. */
export interface AuditDelayRecord {
  /** RFC 3339 with milliseconds, UTC: when it was noticed. */
  readonly timestamp: string
  readonly level: "info" | "error"
  readonly event: "audit.delayed" | "audit.resumed"
  readonly alert?: AlertCode
  /** Name of the trail: the client's id, or `:gateway`. */
  readonly trail: string
  /** Records that wait for a sink. */
  readonly waiting: number
  /** RFC 3339: when the oldest of them was made. */
  readonly oldest?: string
}

/** What an object puts on the record by itself, beside any request. */
export type ObjectRecord = GuardRecord | CertificateRecord | CrlRecord | AuditDelayRecord

/** Everything that goes through the queue to the sinks. */
export type GatewayEvent = AccessEvent | SocketRecord | ObjectRecord | SinkRecord

/**
 * Returns the level of an event: what the gateway or the origin got wrong is an error; what was refused, and what passed
 * although a part was down (`isDegraded`), a warning.
 */
export function levelOf(outcome: Outcome, status: number, isDegraded = false): AccessEvent["level"] {
  if (outcome === "failed" || status >= 500) return "error"
  return outcome === "refused" || outcome === "aborted" || isDegraded ? "warn" : "info"
}

/**
 * Returns an instant as events have it: RFC 3339 with milliseconds, UTC. Whatever a certificate, a list or a damaged clock
 * claims, it is one that RFC 3339 can write.
 */
export function formatInstant(ms: number): string {
  return new Date(effectiveTimeMs(0, ms)).toISOString()
}

/** Characters that JSON leaves bare and a terminal or a line reader acts on: DEL, C1, line separators, bidi controls. */
const ACTIVE = /[\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/g

/**
 * Returns events, in whatever shape a sink wants them, as one line of JSON with every active character escaped and without
 * a line feed at its end.
 */
export function formatEventJson(value: object): string {
  return JSON.stringify(value).replace(ACTIVE, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`)
}

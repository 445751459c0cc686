/**
 * Once: whether a request under an idempotency key may go to the origin, and what becomes of its record.
 *
 * A key is reserved before the origin is called and settled when it has answered. Between the two nobody else gets through.
 * An attempt whose end nobody has heard of until its deadline may have been carried out, so it is indeterminate and stays
 * so; only where the origin is declared idempotent another attempt follows. Each attempt has an id, and only the last one
 * changes the record. Pure and total; the object stores, the stage talks.
 */
import { IDEMPOTENCY_LEDGER_BYTES_MAX, IDEMPOTENCY_RETRY_MS } from "../bounds.ts"
import { parseIdempotencyRecord, type IdempotencyRecord, type RecordState } from "./idempotency-record.ts"

/** How a key and a request look under one of the configured secrets. The secrets differ, the key is the same. */
export interface KeyIdentity {
  /** Name of the secret. */
  readonly kid: string
  /** Keyed digests, lower-case hex: of client, route and key, and of the whole request. */
  readonly key: string
  readonly fingerprint: string
}

/** What the stage asks for before it lets a request on. */
export interface ReserveDemand {
  /** Short unkeyed digest of client, route and key: finds records of secrets that are configured no more. */
  readonly tag: string
  /** At least one; new records stand under the first. */
  readonly identities: readonly KeyIdentity[]
  readonly attemptId: string
  /** How long the attempt may take, and how long its outcome is remembered, ms. */
  readonly attemptMs: number
  readonly ttlMs: number
  /** The origin may be asked again when it is not known whether it was. */
  readonly isOriginIdempotent: boolean
}

/** A row of the ledger. `record` is untrusted. */
export interface LedgerRow {
  readonly key: string
  readonly kid: string
  readonly record: unknown
  readonly expiresAtMs: number
}

/** What the stage does with the request. */
export type ReserveDecision =
  /** The key is this attempt's: the origin may be called, and its answer has to be settled under `key`. */
  | { readonly kind: "proceed"; readonly key: string }
  /** The origin has answered already. `key` tells under which identity. */
  | { readonly kind: "replay"; readonly key: string; readonly answer: string }
  | { readonly kind: "not-replayable" }
  | { readonly kind: "in-progress"; readonly retryAfterMs: number }
  | { readonly kind: "mismatch" }
  /** `reason` is for the event. */
  | { readonly kind: "indeterminate"; readonly reason: IndeterminateReason }
  | { readonly kind: "full" }

/** Why nobody knows whether the origin has carried a request out. */
export type IndeterminateReason = "outcome_unknown" | "attempt_lost" | "record_unreadable" | "record_key_unknown"

/** A row to write, null for none: a decision that changes nothing writes nothing. */
export interface ReserveStep {
  readonly write: WrittenRow | null
  readonly decision: ReserveDecision
}

/** A row as it is written. */
export interface WrittenRow {
  readonly key: string
  readonly kid: string
  readonly record: IdempotencyRecord
}

/**
 * Decides on one request.
 *
 * @param rows all rows with the tag of the demand
 * @param storedBytes what the ledger stores by now, octets
 */
export function reserveKey(
  rows: readonly LedgerRow[],
  demand: ReserveDemand,
  storedBytes: number,
  nowMs: number,
): ReserveStep {
  const [first] = demand.identities
  // Without a secret there is nothing to find a record by.
  if (first === undefined) return answer({ kind: "indeterminate", reason: "record_key_unknown" })
  const known = rows.find(({ key }) => demand.identities.some((identity) => identity.key === key))
  if (known !== undefined) return reserveAgain(known, demand, nowMs)
  const kids = new Set(demand.identities.map(({ kid }) => kid))
  // Most likely the same key, written under a secret that is gone: it may have been carried out.
  if (rows.some(({ expiresAtMs, kid }) => !kids.has(kid) && expiresAtMs > nowMs))
    return answer({ kind: "indeterminate", reason: "record_key_unknown" })
  if (storedBytes >= IDEMPOTENCY_LEDGER_BYTES_MAX) return answer({ kind: "full" })
  return proceed(first, demand, false, nowMs)
}

/** Decides on a request whose key has a record. */
function reserveAgain(row: LedgerRow, demand: ReserveDemand, nowMs: number): ReserveStep {
  const identity = demand.identities.find(({ key }) => key === row.key)
  const record = parseIdempotencyRecord(row.record)
  if (identity === undefined || record === undefined) {
    if (identity !== undefined && row.expiresAtMs <= nowMs) return proceed(identity, demand, false, nowMs)
    return answer({ kind: "indeterminate", reason: "record_unreadable" })
  }
  const { state } = record
  const isRunning = state.kind === "in-progress" && nowMs < state.deadlineMs
  if (record.expiresAtMs <= nowMs) return proceed(identity, demand, false, nowMs)
  if (record.fingerprint !== identity.fingerprint) return answer({ kind: "mismatch" })
  switch (state.kind) {
    case "completed":
      return answer(
        state.answer === null
          ? { kind: "not-replayable" }
          : { kind: "replay", key: identity.key, answer: state.answer },
      )
    case "in-progress":
      if (!isRunning) break
      // The same call again, because its answer was lost on the way.
      if (record.attemptId === demand.attemptId) return answer({ kind: "proceed", key: identity.key })
      return answer({ kind: "in-progress", retryAfterMs: Math.min(IDEMPOTENCY_RETRY_MS, state.deadlineMs - nowMs) })
    case "indeterminate":
      break
  }
  if (demand.isOriginIdempotent) return proceed(identity, demand, true, nowMs)
  const reason = state.kind === "indeterminate" ? "outcome_unknown" : "attempt_lost"
  const decision = { kind: "indeterminate", reason } as const
  if (state.kind === "indeterminate") return answer(decision)
  return { write: { ...row, record: { ...record, state: { kind: "indeterminate" } } }, decision }
}

/** How an attempt ended, as far as the stage knows. */
export type Settlement =
  /** The origin has answered; null for an answer that is too much to keep. */
  | { readonly kind: "completed"; readonly answer: string | null }
  /** The origin was called and its answer is not known. */
  | { readonly kind: "indeterminate" }
  /** The origin was certainly not called, or has done nothing: the key is free again, unless an attempt before is in doubt. */
  | { readonly kind: "released" }

/** What becomes of a row: written, deleted, or left. */
export type SettleStep =
  | { readonly kind: "write"; readonly record: IdempotencyRecord }
  | { readonly kind: "delete" }
  | { readonly kind: "keep"; readonly isSettled: boolean }

/**
 * Settles an attempt. An attempt that is not the last one of its record, or whose record has an answer already, changes
 * nothing; `isSettled` is true when it has been settled so before, because the same call came twice.
 *
 * @param stored the record as stored, undefined when there is none
 */
export function settleAttempt(stored: unknown, attemptId: string, settlement: Settlement): SettleStep {
  // Gone because it was released before, or because it has expired: there is nothing to keep an answer with.
  if (stored === undefined) return { kind: "keep", isSettled: settlement.kind === "released" }
  const record = parseIdempotencyRecord(stored)
  if (record === undefined || record.attemptId !== attemptId) return { kind: "keep", isSettled: false }
  if (record.state.kind === "completed") return { kind: "keep", isSettled: settlement.kind === "completed" }
  switch (settlement.kind) {
    case "released":
      return record.isRepeated
        ? { kind: "write", record: { ...record, state: { kind: "indeterminate" } } }
        : { kind: "delete" }
    case "indeterminate":
      return { kind: "write", record: { ...record, state: { kind: "indeterminate" } } }
    case "completed":
      return { kind: "write", record: { ...record, state: { kind: "completed", answer: settlement.answer } } }
  }
}

/** Reserves a key for this attempt. */
function proceed(
  { fingerprint, key, kid }: KeyIdentity,
  demand: ReserveDemand,
  isRepeated: boolean,
  nowMs: number,
): ReserveStep {
  const deadlineMs = nowMs + demand.attemptMs
  const state: RecordState = { kind: "in-progress", deadlineMs }
  const record: IdempotencyRecord = {
    version: 1,
    fingerprint,
    attemptId: demand.attemptId,
    // Never forgotten while it may still be carried out.
    expiresAtMs: Math.max(nowMs + demand.ttlMs, deadlineMs),
    isRepeated,
    state,
  }
  return { write: { key, kid, record }, decision: { kind: "proceed", key } }
}

function answer(decision: ReserveDecision): ReserveStep {
  return { write: null, decision }
}

/** How one request fared with its key, as the event says it. */
export type IdempotencyOutcome =
  | "reserved"
  | "completed"
  | "released"
  | "replayed"
  | "not-replayable"
  | "in-progress"
  | "mismatch"
  | "indeterminate"

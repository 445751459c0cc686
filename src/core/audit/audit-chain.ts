/**
 * How a trail grows: which drafts get a place, which are on it already, and what happens when no more may wait.
 *
 * Drafts are taken one by one, because each record holds the hash of the one before: {@link decideAppend} says what is to be
 * hashed, {@link extendChain} takes the hash. Nothing new begins while too much waits for the sinks (an intent is refused, so its
 * request is too); what has happened already still gets on the trail, up to {@link AUDIT_HEADROOM} times that; a refusal, and
 * whatever exceeds that, is counted, and the exact count becomes a record of its own as soon as there is room. Pure and total;
 * driven by the object `AuditTrail`.
 */
import {
  AUDIT_GENESIS,
  formatAuditEntry,
  parseAuditDraft,
  sealAuditEntry,
  type AuditDraft,
  type AuditKind,
} from "./audit-record.ts"
import { AUDIT_HEADROOM, AUDIT_WAITING_BYTES_MAX, AUDIT_WAITING_MAX } from "../bounds.ts"
import { formatInstant } from "../record/event.ts"
import { isCount, membersOf, parseJson } from "../untrusted.ts"

/** The end of a trail, as it is stored. */
export interface AuditHead {
  readonly version: 1
  /** Of the last record; 0 before the first. */
  readonly seq: number
  readonly hash: string
  /** What no sink, or not every sink, has acknowledged. `bytes` counts characters of lines, which are mostly octets. */
  readonly waiting: { readonly records: number; readonly bytes: number }
  /** Facts that got no place since the last record of a loss. */
  readonly lost: number
  /** The configuration that was put on the trail last. */
  readonly configVersion: string | null
}

/** A trail that nothing is on. */
export const EMPTY_AUDIT_HEAD: AuditHead = {
  version: 1,
  seq: 0,
  hash: AUDIT_GENESIS,
  waiting: { records: 0, bytes: 0 },
  lost: 0,
  configVersion: null,
}

/**
 * Returns the stored head, or undefined when it cannot be read: then nothing may be appended, because a chain that begins
 * anew looks like one whose beginning was cut off.
 *
 * @param stored the row, undefined when there is none
 * @param hasRecords whether anything else of a trail is stored: then a missing row is no new trail
 */
export function restoreAuditHead(stored: unknown, hasRecords: boolean): AuditHead | undefined {
  if (stored === undefined) return hasRecords ? undefined : EMPTY_AUDIT_HEAD
  const { configVersion, hash, lost, seq, version, waiting } = membersOf(parseJson(stored))
  const { bytes, records } = membersOf(waiting)
  if (version !== 1 || !isCount(seq) || typeof hash !== "string" || !/^[0-9a-f]{64}$/.test(hash)) return undefined
  if (!isCount(lost) || !isCount(bytes) || !isCount(records) || records > seq) return undefined
  if (configVersion !== null && typeof configVersion !== "string") return undefined
  return { version, seq, hash, waiting: { records, bytes }, lost, configVersion }
}

/** What becomes of a draft. */
export type AppendStep =
  /** It is on the trail already. */
  | { readonly kind: "known" }
  /** It must not happen: there is no place for it. */
  | { readonly kind: "refused" }
  /** It is counted and gets no place. */
  | { readonly kind: "lost"; readonly head: AuditHead }
  /** It is no draft of this version. */
  | { readonly kind: "malformed" }
  /** It is next; `entryJson` has to be hashed. */
  | { readonly kind: "next"; readonly draft: AuditDraft; readonly entryJson: string }

/** Decides on one draft. @param isKnown whether its id is on the trail or was counted as lost */
export function decideAppend(head: AuditHead, trail: string, value: unknown, isKnown: boolean): AppendStep {
  const draft = parseAuditDraft(value)
  if (draft === undefined) return { kind: "malformed" }
  if (isKnown) return { kind: "known" }
  if (draft.kind === "configuration" && draft.config_version === head.configVersion) return { kind: "known" }
  if (isFull(head, draft.kind)) {
    return draft.kind === "intent"
      ? { kind: "refused" }
      : { kind: "lost", head: { ...head, lost: add(head.lost, draft.lost ?? 1) } }
  }
  const entry = { ...draft, version: 1 as const, trail, seq: head.seq + 1, prev: head.hash }
  return { kind: "next", draft, entryJson: formatAuditEntry(entry) }
}

/** Returns the head behind a record, and its line. @param hash SHA-256 of the step's `entryJson`, lower-case hex */
export function extendChain(
  head: AuditHead,
  { draft, entryJson }: Extract<AppendStep, { readonly kind: "next" }>,
  hash: string,
): { readonly head: AuditHead; readonly line: string } {
  const line = sealAuditEntry(entryJson, hash)
  const { records, bytes } = head.waiting
  return {
    line,
    head: {
      version: 1,
      seq: head.seq + 1,
      hash,
      waiting: { records: records + 1, bytes: bytes + line.length },
      lost: draft.id === lossId(head) ? 0 : head.lost,
      configVersion: draft.kind === "configuration" ? (draft.config_version ?? null) : head.configVersion,
    },
  }
}

/** Returns the record that says how many facts got no place, once there is room for it; undefined when none is due. */
export function dueLoss(head: AuditHead, nowMs: number): AuditDraft | undefined {
  if (head.lost === 0 || isFull(head, "refusal")) return undefined
  const outcome = { reason: "outbox_full" }
  return { id: lossId(head), kind: "loss", time: formatInstant(nowMs), outcome, lost: head.lost }
}

/** Returns the head once records were deleted that every sink has acknowledged. @param bytes characters of their lines */
export function releaseWaiting(head: AuditHead, records: number, bytes: number): AuditHead {
  const left = Math.max(0, head.waiting.records - records)
  // A store may count characters otherwise: nothing that waits has no size.
  return { ...head, waiting: { records: left, bytes: left === 0 ? 0 : Math.max(0, head.waiting.bytes - bytes) } }
}

function isFull({ waiting: { bytes, records } }: AuditHead, kind: AuditKind): boolean {
  const factor = kind === "intent" || kind === "refusal" ? 1 : AUDIT_HEADROOM
  return records >= AUDIT_WAITING_MAX * factor || bytes >= AUDIT_WAITING_BYTES_MAX * factor
}

/** No other draft has such an id: others are made where no head is known. */
function lossId({ seq }: AuditHead): string {
  return `loss/${seq + 1}`
}

/** Stops at the largest exact integer, which can still be read back. */
function add(count: number, more: number): number {
  return Math.min(count + more, Number.MAX_SAFE_INTEGER)
}

/**
 * What a ledger remembers of one idempotency key, as it is stored. Carries a version and is checked when it is read; what
 * cannot be read keeps its key shut until it expires. Pure and total.
 */
import { isInstant, membersOf, parseJson } from "../untrusted.ts"

/** One record: who reserved it last, for which request, and what became of that. Instants are epoch ms. */
export interface IdempotencyRecord {
  readonly version: 1
  /** Keyed digest of the request, lower-case hex. */
  readonly fingerprint: string
  /** The only attempt that may still change the record. */
  readonly attemptId: string
  readonly expiresAtMs: number
  /** An attempt before this one may have been carried out: what becomes of this one does not make the key free again. */
  readonly isRepeated: boolean
  readonly state: RecordState
}

/** What is known of the last attempt. */
export type RecordState =
  /** It may reach the origin until the deadline. After that, whether it has is not known. */
  | { readonly kind: "in-progress"; readonly deadlineMs: number }
  | { readonly kind: "indeterminate" }
  /** The origin has answered; `answer` is encrypted, null when it was too much to keep. */
  | { readonly kind: "completed"; readonly answer: string | null }

/** Returns the record in a stored text, or undefined when it holds none of a version that is known. */
export function parseIdempotencyRecord(stored: unknown): IdempotencyRecord | undefined {
  const { version, fingerprint, attemptId, expiresAtMs, isRepeated, state: raw } = membersOf(parseJson(stored))
  if (version !== 1 || typeof fingerprint !== "string" || fingerprint === "") return undefined
  if (typeof attemptId !== "string" || attemptId === "" || !isInstant(expiresAtMs)) return undefined
  if (typeof isRepeated !== "boolean") return undefined
  const state = parseState(raw)
  return state && { version, fingerprint, attemptId, expiresAtMs, isRepeated, state }
}

function parseState(value: unknown): RecordState | undefined {
  const { kind, deadlineMs, answer } = membersOf(value)
  switch (kind) {
    case "in-progress":
      return isInstant(deadlineMs) ? { kind, deadlineMs } : undefined
    case "indeterminate":
      return { kind }
    case "completed":
      return answer === null || typeof answer === "string" ? { kind, answer } : undefined
    default:
      return undefined
  }
}

/**
 * What waits in an isolate for one trail: refusals, and outcomes that the trail did not take at once.
 *
 * Refusals beyond the bound are counted; the count becomes a draft of its own, once and with an id, so that repeating it counts
 * nothing twice. Outcomes are always kept: there are never more of them than requests that an origin has seen. Pure; driven by
 * `observe/audit-trails.ts`.
 */
import type { AuditDraft } from "./audit-record.ts"
import { AUDIT_APPEND_MAX } from "../bounds.ts"

/** Waiting drafts of one trail, oldest first, and how many refusals found no room since the last that did. */
export interface AuditBacklog {
  readonly drafts: readonly AuditDraft[]
  readonly lost: number
}

/** Nothing waits. */
export const EMPTY_AUDIT_BACKLOG: AuditBacklog = { drafts: [], lost: 0 }

/** Returns the backlog with a draft at its end. @param hasRoom whether the isolate may keep another refusal */
export function addDraft(backlog: AuditBacklog, draft: AuditDraft, hasRoom: boolean): AuditBacklog {
  if (!hasRoom && draft.kind === "refusal") return { ...backlog, lost: backlog.lost + 1 }
  return { ...backlog, drafts: [...backlog.drafts, draft] }
}

/**
 * Returns the drafts of the next call, and the backlog that still has them: they stay until the trail has taken them. What was
 * lost becomes a draft in front of all others.
 *
 * @param loss the draft of a loss but for its count
 */
export function takeDrafts(
  backlog: AuditBacklog,
  loss: AuditDraft,
): { readonly taken: readonly AuditDraft[]; readonly backlog: AuditBacklog } {
  const { drafts, lost } = backlog
  const all = lost === 0 ? drafts : [{ ...loss, kind: "loss" as const, lost }, ...drafts]
  return { taken: all.slice(0, AUDIT_APPEND_MAX), backlog: lost === 0 ? backlog : { drafts: all, lost: 0 } }
}

/** Returns the backlog without drafts that the trail has taken. By id, because two flushes may have told the same. */
export function dropDrafts(backlog: AuditBacklog, taken: readonly AuditDraft[]): AuditBacklog {
  const ids = new Set(taken.map(({ id }) => id))
  return { ...backlog, drafts: backlog.drafts.filter(({ id }) => !ids.has(id)) }
}

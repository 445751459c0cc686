/**
 * Trails made as the object makes them, by the rules alone: what tests of the chain, of delivery and of verification share.
 */
import { createHash } from "node:crypto"
import {
  decideAppend,
  dueLoss,
  EMPTY_AUDIT_HEAD,
  extendChain,
  type AuditHead,
} from "../../src/core/audit/audit-chain.ts"
import type { AuditDraft } from "../../src/core/audit/audit-record.ts"
import type { PlacedLine } from "../../src/core/audit/audit-verify.ts"

/** 2026-11-28T12:00:00Z. */
export const AUDIT_NOW_MS = Date.UTC(2026, 10, 28, 12)

/** SHA-256 of a text as hex. */
export const digest = (text: string): string => createHash("sha256").update(text, "utf8").digest("hex")

/** Returns a draft of a request; members may differ. */
export function draft(id: string, kind: AuditDraft["kind"] = "intent", members: Partial<AuditDraft> = {}): AuditDraft {
  return {
    id: `${id}/${kind}`,
    kind,
    time: "2026-11-28T12:00:00.000Z",
    request_id: "01a20120-ddd0-71f3-9b2e-15640c53da5a",
    trace_id: "a8fb46c2bb26dfcf90da633aab37792c",
    actor: { client_id: "acme", certificate_fingerprint: "ab".repeat(32) },
    action: { method: "POST", route: "/payments", path: "/payments" },
    target: "bank",
    ...(kind === "intent" ? {} : { outcome: { result: "forwarded", status: 201 } }),
    ...(kind === "loss" ? { lost: 1 } : {}),
    config_version: "e2f01c4f73128de5",
    ...members,
  }
}

/** A trail in memory. */
export interface MemoryTrail {
  head: AuditHead
  readonly lines: string[]
  readonly ids: Set<string>
}

/** Returns a trail that nothing is on. */
export function createTrail(): MemoryTrail {
  return { head: EMPTY_AUDIT_HEAD, lines: [], ids: new Set() }
}

/** Puts drafts on a trail, a due loss first. Returns whether all of them may happen. */
export function append(trail: MemoryTrail, drafts: readonly unknown[], name = "acme"): boolean {
  const due = dueLoss(trail.head, AUDIT_NOW_MS)
  for (const item of due === undefined ? drafts : [due, ...drafts]) {
    const { id } = item as AuditDraft
    const step = decideAppend(trail.head, name, item, trail.ids.has(id))
    if (step.kind === "refused") return false
    if (step.kind === "malformed") throw new Error("malformed")
    if (step.kind === "known") continue
    trail.ids.add(id)
    if (step.kind === "lost") trail.head = step.head
    if (step.kind !== "next") continue
    const { head, line } = extendChain(trail.head, step, digest(step.entryJson))
    trail.head = head
    trail.lines.push(line)
  }
  return true
}

/** Returns lines with places, as if they stood in one file. */
export function placed(lines: readonly string[], file = "audit.ndjson"): readonly PlacedLine[] {
  return lines.map((text, index) => ({ file, line: index + 1, text }))
}

/**
 * What an audit trail says when a guard opens or its block ends. Pure and total; called by the object whose guard it is.
 */
import { GATEWAY_TRAIL, type AuditDraft } from "./audit-record.ts"
import { formatInstant } from "../record/event.ts"
import type { GateSubject } from "../gate/gate-subject.ts"
import type { GuardSubject } from "../guard/guard-record.ts"
import type { GuardEvent } from "../guard/guard-state.ts"

/** Returns the trail that facts about a subject belong on: its client's, or that of what concerns none. */
export function trailOf(subject: GateSubject): string {
  return subject.keyKind === "client" ? subject.clientId : GATEWAY_TRAIL
}

/**
 * Returns the draft of an event. Its id is the same however often the event is told, and no other event of any object has
 * it: counts begin anew when a key is forgotten, so the instants are in it.
 *
 * @param objectId of the object that decided
 */
export function guardDraftOf(
  { atMs, attempt, kind, reason, untilMs }: GuardEvent,
  { clientId, guard, keyKind }: GuardSubject,
  objectId: string,
): AuditDraft {
  return {
    id: `${objectId.slice(0, 64)}/${guard}/${kind}/${atMs}/${untilMs}/${attempt}`,
    kind: kind === "opened" ? "block" : "unblock",
    time: formatInstant(atMs),
    ...(clientId === undefined ? {} : { actor: { client_id: clientId } }),
    outcome: { reason, blocked_until: formatInstant(untilMs) },
    rule: keyKind === "client" ? guard : `${guard} by ${keyKind}`,
  }
}

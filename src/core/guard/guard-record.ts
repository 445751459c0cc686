/**
 * What the record says when a guard opens or its block ends.
 *
 * The value that a guard counts for is never written unless it is a client's id: an address or a field's value is what a
 * stranger typed, or somebody's account. Pure and total. Called where the events of `core/guard/guard.ts` are reported.
 */
import { formatInstant, type GuardRecord } from "../record/event.ts"
import type { GuardEvent } from "./guard-state.ts"

/** Which guard an event is about, and whom that counts for. */
export interface GuardSubject {
  /** Name of the guard. */
  readonly guard: string
  /** What the guard tells callers apart by. */
  readonly keyKind: GuardRecord["key_kind"]
  /** The client, where it is known: the key itself, or the one that presented an address or a field. */
  readonly clientId?: string
}

/** Returns the record of an event. A block that begins is a warning, one that ends is not. */
export function guardRecordOf(event: GuardEvent, { guard, keyKind, clientId }: GuardSubject): GuardRecord {
  return {
    timestamp: formatInstant(event.atMs),
    level: event.kind === "opened" ? "warn" : "info",
    event: `guard.${event.kind}`,
    guard,
    key_kind: keyKind,
    ...(clientId === undefined ? {} : { client_id: clientId }),
    reason: event.reason,
    // A guard whose clock could not be read ends its block behind the last instant that can be written.
    blocked_until: formatInstant(event.untilMs),
    attempt: event.attempt,
  }
}

/**
 * Events that wait in an isolate for the queue: what to send next, what to give up.
 *
 * Bounded in number and in the size of a message. When the queue does not take them, the oldest are given up and counted;
 * a request never waits for its event. Pure; driven by `observe/event-buffer.ts`.
 */
import { EVENT_BACKLOG_MAX, EVENT_MESSAGE_BYTES_MAX, EVENTS_PER_MESSAGE_MAX } from "./bounds.ts"
import type { GatewayEvent } from "./event.ts"

/** Waiting events, oldest first, and how many were given up since the last message that left. */
export interface EventBacklog {
  readonly events: readonly GatewayEvent[]
  readonly dropped: number
}

export const EMPTY_BACKLOG: EventBacklog = { events: [], dropped: 0 }

/** Returns the backlog with events appended (or put back in front), the oldest dropped beyond the bound. */
export function addEvents(
  backlog: EventBacklog,
  events: readonly GatewayEvent[],
  where: "back" | "front" = "back",
): EventBacklog {
  const all = where === "back" ? [...backlog.events, ...events] : [...events, ...backlog.events]
  const excess = Math.max(0, all.length - EVENT_BACKLOG_MAX)
  return { events: all.slice(excess), dropped: backlog.dropped + excess }
}

/**
 * Returns the events of the next message and the rest: as many as both bounds allow, at least one. Octets are counted so
 * that neither way of the queue to encode a message needs more: JSON in UTF-8 takes up to three for a character, a
 * structured clone up to two for every character of a string that is not all Latin-1.
 */
export function takeMessage(backlog: EventBacklog): {
  readonly events: readonly GatewayEvent[]
  readonly rest: EventBacklog
} {
  let bytes = 0
  let count = 0
  for (const event of backlog.events) {
    const json = JSON.stringify(event)
    bytes += json.length * 2 + (json.match(/[^\0-\x7f]/g)?.length ?? 0)
    if (count > 0 && (count >= EVENTS_PER_MESSAGE_MAX || bytes > EVENT_MESSAGE_BYTES_MAX)) break
    count += 1
  }
  return { events: backlog.events.slice(0, count), rest: { events: backlog.events.slice(count), dropped: 0 } }
}

/**
 * Records that wait in an isolate for the queue: what to send next, what to give up.
 *
 * Bounded in number and in the size of a message. When the queue does not take them, the oldest are given up and counted;
 * a request never waits for its event. Spans wait behind events, and push none of them out. Pure; driven by `observe/event-buffer.ts`.
 *
 * What waits is text: a record as a table of its members would be walked by every collection of garbage until it is sent, and written
 * once to be measured and once to be sent.
 */
import { EVENT_BACKLOG_MAX, EVENT_MESSAGE_BYTES_MAX, EVENTS_PER_MESSAGE_MAX, SPAN_BACKLOG_MAX } from "../bounds.ts"

/** Waiting records as JSON, oldest first, and how many were given up since the last message that left. */
export interface EventBacklog {
  readonly events: readonly string[]
  readonly spans: readonly string[]
  readonly dropped: number
  readonly droppedSpans: number
}

/** What one message carries, each record as JSON. */
export interface Batch {
  readonly events: readonly string[]
  readonly spans: readonly string[]
}

export const EMPTY_BACKLOG: EventBacklog = { events: [], spans: [], dropped: 0, droppedSpans: 0 }

/** Returns the backlog with events appended (or put back in front), the oldest dropped beyond the bound. */
export function addEvents(
  backlog: EventBacklog,
  events: readonly string[],
  where: "back" | "front" = "back",
): EventBacklog {
  const { kept, excess } = join(backlog.events, events, where, EVENT_BACKLOG_MAX)
  return { ...backlog, events: kept, dropped: backlog.dropped + excess }
}

/** As {@link addEvents}, for spans. */
export function addSpans(
  backlog: EventBacklog,
  spans: readonly string[],
  where: "back" | "front" = "back",
): EventBacklog {
  const { kept, excess } = join(backlog.spans, spans, where, SPAN_BACKLOG_MAX)
  return { ...backlog, spans: kept, droppedSpans: backlog.droppedSpans + excess }
}

function join(
  waiting: readonly string[],
  added: readonly string[],
  where: "back" | "front",
  max: number,
): { readonly kept: readonly string[]; readonly excess: number } {
  const all = where === "back" ? [...waiting, ...added] : [...added, ...waiting]
  const excess = Math.max(0, all.length - max)
  return { kept: all.slice(excess), excess }
}

/** Returns whether anything waits. */
export function isWaiting({ events, spans }: EventBacklog): boolean {
  return events.length + spans.length > 0
}

/**
 * Returns the records of the next message and the rest: as many as both bounds allow, at least one. Octets are those of UTF-8, of which a
 * character takes up to three.
 */
export function takeMessage(backlog: EventBacklog): Batch & { readonly rest: EventBacklog } {
  let bytes = 0
  let count = 0
  const take = (records: readonly string[]): number => {
    let taken = 0
    for (const json of records) {
      bytes += json.length + 1 + 2 * (json.match(/[^\0-\x7f]/g)?.length ?? 0)
      if (count > 0 && (count >= EVENTS_PER_MESSAGE_MAX || bytes > EVENT_MESSAGE_BYTES_MAX)) break
      count += 1
      taken += 1
    }
    return taken
  }
  const events = take(backlog.events)
  // What did not fit goes first next time: nothing overtakes it.
  const spans = events < backlog.events.length ? 0 : take(backlog.spans)
  return {
    events: backlog.events.slice(0, events),
    spans: backlog.spans.slice(0, spans),
    rest: { ...EMPTY_BACKLOG, events: backlog.events.slice(events), spans: backlog.spans.slice(spans) },
  }
}

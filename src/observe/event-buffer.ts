/**
 * The way of an event to the queue, without any request waiting for it.
 *
 * The first event starts a flush that runs after the response, once `flushMs` have passed; later events join it. What the
 * queue does not take stays for the next flush, within the bounds of `core/event-backlog.ts`.
 */
import { EVENTS_PER_MESSAGE_MAX } from "../core/bounds.ts"
import type { MetricsRecorder } from "../context.ts"
import { addEvents, EMPTY_BACKLOG, takeMessage, type EventBacklog } from "../core/event-backlog.ts"
import type { GatewayEvent } from "../core/event.ts"
import type { EventMessage } from "./event-message.ts"

/** Takes events off those who make them. */
export interface EventBuffer {
  /** Keeps the event and sees to it that it is sent soon. Returns at once and never throws. */
  add(event: GatewayEvent, queue: Queue<EventMessage>, ctx: Pick<ExecutionContext, "waitUntil">): void
}

/** Returns the buffer of one isolate. @param metrics told what waits and what is dropped */
export function createEventBuffer(flushMs: number, metrics?: MetricsRecorder): EventBuffer {
  let backlog = EMPTY_BACKLOG
  let isFlushing = false
  /** Events since the last flush began: what waits beyond them has been tried already. */
  let newEvents = 0

  /** Takes a backlog over. @param known events that were counted as dropped before */
  function keep(next: EventBacklog, known: number): void {
    backlog = next
    if (metrics === undefined) return
    metrics.setGauge("sekisho_events_waiting", next.events.length)
    if (next.dropped > known) metrics.add("sekisho_events_dropped", next.dropped - known)
  }

  async function flush(queue: Queue<EventMessage>, isFull: boolean): Promise<void> {
    if (!isFull) await scheduler.wait(flushMs)
    // From here on a new event starts a flush of its own: this one may end before it could join.
    isFlushing = false
    newEvents = 0
    while (backlog.events.length > 0) {
      const { dropped } = backlog
      const { events, rest } = takeMessage(backlog)
      keep(rest, 0)
      try {
        await queue.send({ version: 1, events, dropped })
      } catch (error) {
        const known = backlog.dropped + dropped
        keep(addEvents({ events: backlog.events, dropped: known }, events, "front"), known)
        console.error(
          JSON.stringify({
            level: "error",
            event: "queue_unavailable",
            reason: String(error),
            waiting: backlog.events.length,
            dropped: backlog.dropped,
          }),
        )
        return
      }
    }
  }

  return {
    add(event, queue, ctx) {
      keep(addEvents(backlog, [event]), backlog.dropped)
      newEvents += 1
      // A full message goes at once, or a busy isolate would drop events of a queue that takes them.
      const isFull = newEvents >= EVENTS_PER_MESSAGE_MAX
      if (isFlushing && !isFull) return
      isFlushing = true
      ctx.waitUntil(flush(queue, isFull))
    },
  }
}

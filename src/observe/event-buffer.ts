/**
 * The way of records to the queue, without any request waiting for them.
 *
 * The first record starts a flush that runs after the response, once `flushMs` have passed; later ones join it. What the
 * queue does not take stays for the next flush, within the bounds of `core/record/event-backlog.ts`. What was given up is on the record with the
 * message after it, with its exact count.
 */
import { EVENTS_PER_MESSAGE_MAX } from "../core/bounds.ts"
import type { MetricsRecorder } from "../context.ts"
import {
  addEvents,
  addSpans,
  EMPTY_BACKLOG,
  isWaiting,
  takeMessage,
  type EventBacklog,
} from "../core/record/event-backlog.ts"
import { formatEventJson } from "../core/record/event.ts"
import { redactText } from "../core/record/redaction.ts"
import { sinkRecordOf } from "../core/record/sink-record.ts"
import type { Span } from "../core/record/span.ts"
import { formatEventMessage } from "./event-message.ts"

type EventQueue = NonNullable<Env["EVENTS"]>
type Waiter = Pick<ExecutionContext, "waitUntil">

/** Takes records off those who make them. */
export interface EventBuffer {
  /** Keeps the event, a line of JSON, and sees to it that it is sent soon. Returns at once and never throws. */
  add(event: string, queue: EventQueue, ctx: Waiter): void
  /** As `add`, for the spans of one request. */
  addSpans(spans: readonly Span[], queue: EventQueue, ctx: Waiter): void
}

/** Returns the buffer of one isolate. @param metrics told how many wait and are dropped */
export function createEventBuffer(flushMs: number, nowMs: () => number, metrics?: MetricsRecorder): EventBuffer {
  let backlog = EMPTY_BACKLOG
  let isFlushing = false
  /** Records since the last flush began: what waits beyond them has been tried already. */
  let newRecords = 0

  /** Takes a backlog over. @param known what was counted as dropped before */
  function keep(next: EventBacklog, known: Pick<EventBacklog, "dropped" | "droppedSpans">): void {
    backlog = next
    if (metrics === undefined) return
    metrics.setGauge("sekisho_events_waiting", next.events.length)
    if (next.dropped > known.dropped) metrics.add("sekisho_events_dropped", next.dropped - known.dropped)
    if (next.droppedSpans > known.droppedSpans)
      metrics.add("sekisho_spans_dropped", next.droppedSpans - known.droppedSpans)
  }

  async function flush(queue: EventQueue, isFull: boolean): Promise<void> {
    if (!isFull) await scheduler.wait(flushMs)
    // From here on a new record starts a flush of its own: this one may end before it could join.
    isFlushing = false
    newRecords = 0
    while (isWaiting(backlog)) {
      const { dropped, droppedSpans } = backlog
      const { events, rest, spans } = takeMessage(backlog)
      keep(rest, rest)
      const told = [...lost("events_not_queued", dropped), ...lost("spans_not_queued", droppedSpans)]
      try {
        await queue.send(formatEventMessage([...events, ...told], spans, dropped), { contentType: "text" })
      } catch (error) {
        const known = {
          ...backlog,
          dropped: backlog.dropped + dropped,
          droppedSpans: backlog.droppedSpans + droppedSpans,
        }
        keep(addSpans(addEvents(known, events, "front"), spans, "front"), known)
        logUnavailable(error, backlog)
        return
      }
    }
  }

  function lost(reason: string, count: number): readonly string[] {
    if (count === 0) return []
    return [formatEventJson(sinkRecordOf({ kind: "dropped", sink: undefined, reason, count }, nowMs()))]
  }

  function start(count: number, queue: EventQueue, ctx: Waiter): void {
    newRecords += count
    // A full message goes at once, or a busy isolate would drop records of a queue that takes them.
    const isFull = newRecords >= EVENTS_PER_MESSAGE_MAX
    if (isFlushing && !isFull) return
    isFlushing = true
    ctx.waitUntil(flush(queue, isFull))
  }

  return {
    add(event, queue, ctx) {
      keep(addEvents(backlog, [event]), backlog)
      start(1, queue, ctx)
    },
    addSpans(spans, queue, ctx) {
      keep(
        addSpans(
          backlog,
          spans.map((span) => JSON.stringify(span)),
        ),
        backlog,
      )
      start(spans.length, queue, ctx)
    },
  }
}

function logUnavailable(error: unknown, { dropped, events, spans }: EventBacklog): void {
  const reason = redactText(String(error))
  const waiting = events.length + spans.length
  console.error(JSON.stringify({ level: "error", event: "queue_unavailable", reason, waiting, dropped }))
}

/**
 * Goal: bounds hold, order is kept, and every lost event is counted. Method: random histories against a plain list.
 */
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import {
  EVENT_BACKLOG_MAX,
  EVENT_MESSAGE_BYTES_MAX,
  EVENTS_PER_MESSAGE_MAX,
  SPAN_BACKLOG_MAX,
} from "../../src/core/bounds.ts"
import {
  addEvents,
  addSpans,
  EMPTY_BACKLOG,
  isWaiting,
  takeMessage,
  type EventBacklog,
} from "../../src/core/record/event-backlog.ts"
import { formatEventJson, type AccessEvent } from "../../src/core/record/event.ts"
import { EVENT } from "./event-fixtures.ts"
import { SPAN } from "./span-fixtures.ts"

function events(from: number, count: number, path = "/"): readonly string[] {
  return Array.from({ length: count }, (_, i) => formatEventJson({ ...EVENT, path, latency_ms: from + i }))
}

function spans(count: number): readonly string[] {
  return Array.from({ length: count }, () => JSON.stringify(SPAN))
}

const numbers = (backlog: { readonly events: readonly string[] }): readonly number[] =>
  backlog.events.map((json) => (JSON.parse(json) as AccessEvent).latency_ms)

describe("addEvents()", () => {
  test("drops the oldest beyond the bound and counts them", () => {
    const backlog = addEvents(addEvents(EMPTY_BACKLOG, events(0, EVENT_BACKLOG_MAX)), events(EVENT_BACKLOG_MAX, 3))
    expect([backlog.events.length, numbers(backlog)[0], backlog.dropped]).toEqual([EVENT_BACKLOG_MAX, 3, 3])
  })

  test("gives up what is put back in front before what came later", () => {
    const later = addEvents(EMPTY_BACKLOG, events(10, EVENT_BACKLOG_MAX - 1))
    const backlog = addEvents(later, events(0, 3), "front")
    expect([numbers(backlog).slice(0, 2), backlog.dropped]).toEqual([[2, 10], 2])
  })
})

describe("addSpans()", () => {
  test("drops the oldest spans beyond their own bound, and no event for them", () => {
    const full = addEvents(EMPTY_BACKLOG, events(0, EVENT_BACKLOG_MAX))
    const backlog = addSpans(full, spans(SPAN_BACKLOG_MAX + 4))
    expect([backlog.events.length, backlog.spans.length]).toEqual([EVENT_BACKLOG_MAX, SPAN_BACKLOG_MAX])
    expect([backlog.dropped, backlog.droppedSpans]).toEqual([0, 4])
  })
})

describe("takeMessage()", () => {
  test("takes spans with the last of the events, within the same bounds", () => {
    const backlog = addSpans(addEvents(EMPTY_BACKLOG, events(0, EVENTS_PER_MESSAGE_MAX + 10)), spans(200))
    const sizes: (readonly [number, number])[] = []
    for (let rest = backlog; isWaiting(rest);) {
      const message = takeMessage(rest)
      sizes.push([message.events.length, message.spans.length])
      rest = message.rest
      expect(message.events.length + message.spans.length).toBeLessThanOrEqual(EVENTS_PER_MESSAGE_MAX)
    }
    expect(sizes.reduce((sum, [count]) => sum + count, 0)).toBe(EVENTS_PER_MESSAGE_MAX + 10)
    expect(sizes.reduce((sum, [, count]) => sum + count, 0)).toBe(200)
    expect(sizes[0]?.[1]).toBe(0)
  })

  test("takes no more events than one message may carry", () => {
    const { events: taken, rest } = takeMessage(addEvents(EMPTY_BACKLOG, events(0, EVENTS_PER_MESSAGE_MAX + 1)))
    expect(taken.length + rest.events.length).toBe(EVENTS_PER_MESSAGE_MAX + 1)
    expect(taken.length).toBeLessThanOrEqual(EVENTS_PER_MESSAGE_MAX)
  })

  test("takes nothing from nothing", () => {
    expect(takeMessage(EMPTY_BACKLOG)).toEqual({ events: [], spans: [], rest: EMPTY_BACKLOG })
  })

  test.each([
    ["ASCII", "x"],
    ["Latin-1", "é"],
    ["other letters", "日"],
    ["surrogate pairs", "😀"],
    ["characters that JSON escapes", "\u0001"],
  ])("takes at most as many octets of %s as one message may have", (_, char) => {
    const backlog = addEvents(EMPTY_BACKLOG, events(0, 100, char.repeat(1_024 / char.length)))
    const { events: taken } = takeMessage(backlog)
    expect(Buffer.byteLength(taken.join(","))).toBeLessThanOrEqual(EVENT_MESSAGE_BYTES_MAX)
    expect(taken.length).toBeGreaterThan(5)
  })

  test("takes one event however large it is", () => {
    const backlog = addEvents(EMPTY_BACKLOG, events(0, 2, "x".repeat(EVENT_MESSAGE_BYTES_MAX)))
    expect(numbers(takeMessage(backlog))).toEqual([0])
  })
})

test("a backlog behaves like a list of which the oldest are dropped and counted", () => {
  const command = fc.oneof(
    fc.record({ kind: fc.constant("add"), count: fc.integer({ min: 0, max: 700 }) }),
    fc.record({ kind: fc.constantFrom("send", "fail"), count: fc.constant(0) }),
  )
  fc.assert(
    fc.property(fc.array(command, { maxLength: 20 }), (commands) => {
      let backlog: EventBacklog = EMPTY_BACKLOG
      let waiting: number[] = []
      let dropped = 0
      let next = 0
      let sent = 0
      let reported = 0
      for (const { kind, count } of commands) {
        if (kind === "add") {
          backlog = addEvents(backlog, events(next, count))
          waiting.push(...Array.from({ length: count }, (_, i) => next + i))
          next += count
        } else {
          const message = takeMessage(backlog)
          const lost = backlog.dropped
          expect(numbers(message)).toEqual(waiting.slice(0, message.events.length))
          if (kind === "send") {
            backlog = message.rest
            waiting = waiting.slice(message.events.length)
            sent += message.events.length
            reported += lost
            dropped = 0
          } else {
            // The queue refused: what was taken goes back in front, and its count of lost events with it.
            backlog = addEvents({ ...message.rest, dropped: lost }, message.events, "front")
          }
        }
        const excess = Math.max(0, waiting.length - EVENT_BACKLOG_MAX)
        waiting = waiting.slice(excess)
        dropped += excess
        expect(numbers(backlog)).toEqual(waiting)
        expect(backlog.dropped).toBe(dropped)
        expect(sent + reported + waiting.length + dropped).toBe(next)
      }
    }),
    { seed: 19, numRuns: 100 },
  )
})

/**
 * Goal: whatever sinks answer, each gets every record, none gets one twice, and messages become fewer or smaller. Method: cases, and
 * a simulation of sinks that fail at random against the rules of what is left.
 */
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { joinLeftovers, settleMessage, type Leftover } from "../../src/core/record/sink-remainder.ts"

const left = (kind: Leftover<number>["kind"], records: readonly number[], delaySeconds?: number): Leftover<number> => ({
  kind,
  records,
  reason: "x",
  delaySeconds,
})

describe("settleMessage()", () => {
  test("is done when nothing is left", () => {
    expect(settleMessage([{ sink: "a", offered: 2, left: [] }])).toEqual({ kind: "done" })
    expect(settleMessage([])).toEqual({ kind: "done" })
  })

  test("has the message come again when everything is left for every sink", () => {
    const results = [
      { sink: "a", offered: 2, left: [left("retry", [1, 2], 3)] },
      { sink: "b", offered: 2, left: [left("rejected", [1, 2])] },
      { sink: "c", offered: 0, left: [] },
    ]
    expect(settleMessage(results)).toEqual({ kind: "again", delaySeconds: 3 })
  })

  test("replaces a message that a sink has by one for the other sink", () => {
    const results = [
      { sink: "a", offered: 2, left: [] },
      { sink: "b", offered: 2, left: [left("retry", [1, 2], 7)] },
    ]
    expect(settleMessage(results)).toEqual({
      kind: "replaced",
      by: [{ sink: "b", records: [1, 2], delaySeconds: 7 }],
    })
  })
})

test("joinLeftovers() joins what is left for one reason, and leaves poison alone", () => {
  const leftovers = [left("poison", [1]), left("retry", [2]), left("poison", [3]), left("retry", [4, 5])]
  expect(joinLeftovers(leftovers).map(({ records }) => records)).toEqual([[1], [2, 4, 5], [3]])
})

test("settleMessage() gets every record to every sink once, poison alone to the end, whatever fails meanwhile", () => {
  const record = fc.integer({ min: 0, max: 20 })
  fc.assert(
    fc.property(
      fc.uniqueArray(record, { minLength: 1 }),
      fc.uniqueArray(record),
      fc.array(fc.boolean(), { maxLength: 40 }),
      (records, bad, failures) => {
        const taken = new Map<string, number[]>([
          ["a", []],
          ["b", []],
        ])
        const dead: string[] = []
        const isDown = failures.values()
        let messages: { sinks: readonly string[]; records: readonly number[]; tries: number }[] = [
          { sinks: ["a", "b"], records, tries: 0 },
        ]
        for (let rounds = 0; messages.length > 0; rounds++) {
          expect(rounds).toBeLessThan(200)
          messages = messages.flatMap((message) => {
            const results = message.sinks.map((sink) => {
              const offered = message.records.length
              if (isDown.next().value === true) return { sink, offered, left: [left("retry", message.records)] }
              const poison = message.records.filter((item) => sink === "b" && bad.includes(item))
              taken.get(sink)?.push(...message.records.filter((item) => !poison.includes(item)))
              return { sink, offered, left: poison.map((item) => left("poison", [item])) }
            })
            const settlement = settleMessage(results)
            if (settlement.kind === "done") return []
            if (settlement.kind === "replaced")
              return settlement.by.map(({ records: rest, sink }) => ({ sinks: [sink], records: rest, tries: 0 }))
            if (message.tries < 50) return [{ ...message, tries: message.tries + 1 }]
            dead.push(...message.records.map((item) => `${message.sinks.join()} ${item}`))
            return []
          })
        }
        const poison = records.filter((item) => bad.includes(item))
        expect(sorted(taken.get("a"))).toEqual(sorted(records))
        expect(sorted(taken.get("b"))).toEqual(sorted(records.filter((item) => !bad.includes(item))))
        expect(dead.toSorted()).toEqual(poison.map((item) => `b ${item}`).toSorted())
      },
    ),
    { seed: 51, numRuns: 500 },
  )
})

function sorted(numbers: readonly number[] = []): readonly number[] {
  return numbers.toSorted((a, b) => a - b)
}

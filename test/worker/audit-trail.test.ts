/**
 * Goal: what the trail of a client has taken reaches every sink, in order, once but for copies, whatever happens to the object, its
 * storage, its alarm or the sinks; and a trail that cannot be continued says no. Method: the real object and its real storage;
 * sinks that behave badly; instances that are aborted, alarms that come twice, early or never.
 */
import { abortAllDurableObjects, evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test"
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import type { AppendAnswer, AuditTrailObject } from "../../durable-objects/audit-trail.ts"
import type { AuditDraft } from "../../src/core/audit/audit-record.ts"
import type { AuditDelayRecord } from "../../src/core/record/event.ts"
import { AUDIT_BATCH_MAX, AUDIT_LATE_MS, AUDIT_RETRY_MS_MAX, AUDIT_WAITING_MAX } from "../../src/core/bounds.ts"
import {
  alarmOf,
  draft,
  recordsOf,
  sentLines,
  sinkUrl,
  sql,
  trailObject,
  useSinks,
  verify,
  waitingLines,
  endpoint,
} from "./audit.ts"
import { setAuditSinks, writtenLines } from "./harness.ts"

let name: string
let complaints: string[]

beforeEach(() => {
  name = `trail-${crypto.randomUUID().slice(0, 8)}`
  complaints = []
  // Alarms come when a test says so.
  vi.useFakeTimers({ toFake: ["Date"], now: Date.UTC(2036, 0, 1) })
  vi.spyOn(console, "error").mockImplementation((line: string) => void complaints.push(line))
})
afterEach(() => {
  vi.useRealTimers()
})

async function append(...drafts: readonly AuditDraft[]): Promise<AppendAnswer> {
  // Awaited here: the promise of a call over RPC is one more that would go unhandled.
  return await trailObject(name).append(drafts)
}
/** Runs the alarm as if its time had come. */
const alarm = () => runInDurableObject(trailObject(name), (instance: AuditTrailObject) => instance.alarm())
const eventsSaid = () => complaints.map((line) => (JSON.parse(line) as { event: string }).event)
const many = (count: number, from = 0) =>
  Array.from({ length: count }, (_, index) => draft(`${from + index}`, "outcome"))

describe("append()", () => {
  test("puts drafts on the trail in their order, durably, and each id once", async () => {
    useSinks("200")
    expect(await append(draft("a"), draft("a", "outcome"))).toEqual({ kind: "appended", seq: 2 })
    await abortAllDurableObjects()
    expect(await append(draft("a"), draft("b"))).toEqual({ kind: "appended", seq: 3 })
    expect(recordsOf(await waitingLines(name)).map(({ id, seq, trail }) => [trail, seq, id])).toEqual([
      [name, 1, "a/intent"],
      [name, 2, "a/outcome"],
      [name, 3, "b/intent"],
    ])
    expect(await verify(await waitingLines(name))).toMatchObject([{ records: 3, fault: undefined }])
  })

  test("LOG-10 50 appends at once are one chain without a gap", async () => {
    useSinks("200")
    await Promise.all(Array.from({ length: 50 }, (_, index) => append(draft(`${index}`), draft(`${index}`))))
    expect(await verify(await waitingLines(name))).toMatchObject([{ records: 50, lastSeq: 50, fault: undefined }])
  })

  test("knows an id also when its record is delivered and deleted", async () => {
    useSinks("200")
    await append(draft("a"))
    await alarm()
    expect(await waitingLines(name)).toEqual([])
    expect(await append(draft("a"))).toEqual({ kind: "appended", seq: 1 })
  })

  test("keeps nothing where no sink takes trails", async () => {
    expect(await append(draft("a"))).toEqual({ kind: "off" })
    expect(await waitingLines(name)).toEqual([])
  })

  test("takes nothing of a call in which a draft is none", async () => {
    useSinks("200")
    await expect(append(draft("a"), { ...draft("b"), time: "yesterday" })).rejects.toThrow("audit_draft_malformed")
    expect(await waitingLines(name)).toEqual([])
    expect(await append(draft("a"))).toEqual({ kind: "appended", seq: 1 })
  })

  test.each([
    ["is damaged", "UPDATE head SET state = '{'"],
    ["is of a later version", `UPDATE head SET state = json_set(state, '$.version', 2)`],
    ["is gone while records are there", "DELETE FROM head"],
  ])("refuses to go on when the head %s, and never begins a new chain", async (_, statement) => {
    useSinks("200")
    await append(draft("a"))
    await sql(name, statement)
    await expect(append(draft("b"))).rejects.toThrow("audit_head_unreadable")
    await alarm()
    expect([await waitingLines(name).then((lines) => lines.length), eventsSaid()]).toEqual([1, ["audit_alarm_failed"]])
    expect(await alarmOf(name)).toBe(Date.now() + AUDIT_RETRY_MS_MAX)
  })

  test.each(["records", "ids", "head"])(
    "that fails while it writes %s leaves all of it away, and can be repeated",
    async (table) => {
      useSinks("200")
      await append(draft("a"))
      await sql(name, `CREATE TRIGGER full BEFORE INSERT ON ${table} BEGIN SELECT RAISE(ABORT, 'SQLITE_FULL'); END`)
      await expect(append(draft("b"), draft("b", "outcome"))).rejects.toThrow("SQLITE_FULL")
      expect(await waitingLines(name)).toHaveLength(1)
      await sql(name, "DROP TRIGGER full")
      expect(await append(draft("b"), draft("b", "outcome"))).toEqual({ kind: "appended", seq: 3 })
      expect(await verify(await waitingLines(name))).toMatchObject([{ records: 3, fault: undefined }])
    },
  )

  test("LOG-11 a full trail refuses intents, takes outcomes, counts refusals, and says how many once there is room", async () => {
    const [sink = ""] = useSinks("200")
    await append(draft("a"))
    const fill = `UPDATE head SET state = json_set(state, '$.seq', ${AUDIT_WAITING_MAX + 1}, '$.waiting.records', ${AUDIT_WAITING_MAX})`
    await sql(name, fill)
    expect(await append(draft("b"))).toMatchObject({ kind: "full" })
    expect(await append(draft("a", "outcome"), draft("c", "refusal"), draft("d", "refusal"))).toMatchObject({
      kind: "appended",
    })
    expect(await append(draft("d", "refusal"))).toMatchObject({ kind: "appended" })
    await alarm()
    await alarm()
    expect(recordsOf(await sentLines(sink)).map(({ kind, lost }) => [kind, lost])).toEqual([
      ["intent", undefined],
      ["outcome", undefined],
      ["loss", 2],
    ])
  })
})

describe("delivery", () => {
  test("sends lines as NDJSON in batches, and deletes them once they are acknowledged", async () => {
    const [sink = ""] = useSinks("204")
    for (let from = 0; from < 250; from += 50) await append(...many(50, from))
    await alarm()
    expect((await sentLines(sink)).length).toBe(250)
    expect(await verify(await sentLines(sink))).toMatchObject([{ records: 250, copies: 0, fault: undefined }])
    expect([await waitingLines(name), await alarmOf(name)]).toEqual([[], null])
    expect((await trailObject(name).inspect()).head.waiting).toEqual({ records: 0, bytes: 0 })
  })

  test.each<readonly [behaviour: string, event: string]>([
    ["reset", "audit_sink_unavailable"],
    ["503", "audit_sink_unavailable"],
    ["429-30", "audit_sink_unavailable"],
    ["redirect", "audit_record_rejected"],
    ["400", "audit_record_rejected"],
    ["401", "audit_record_rejected"],
  ])("LOG-08 a sink that answers %s gets everything when it is back, in order", async (behaviour, event) => {
    const [sink = ""] = useSinks(behaviour)
    await append(...many(5))
    await alarm()
    expect([(await waitingLines(name)).length, eventsSaid()]).toEqual([5, [event]])
    const pauseMs = Number(await alarmOf(name)) - Date.now()
    expect(pauseMs).toBeGreaterThanOrEqual(behaviour === "429-30" ? 30_000 : 1_000)
    expect(pauseMs).toBeLessThanOrEqual(behaviour === "429-30" ? 30_000 : 1_200)
    // An alarm that comes early asks nobody.
    const before = (await sentLines(sink)).length
    await alarm()
    expect((await sentLines(sink)).length).toBe(before)
    const [back = ""] = useSinks("200")
    vi.setSystemTime(Date.now() + pauseMs)
    await alarm()
    expect(await verify(await sentLines(back))).toMatchObject([{ records: 5, lastSeq: 5, fault: undefined }])
    expect([await waitingLines(name), await alarmOf(name)]).toEqual([[], null])
  })

  test("LOG-08 a batch that is rejected is halved until the record is alone that the sink will not take", async () => {
    const [sink = ""] = useSinks("400")
    await append(...many(8))
    await alarm()
    const posts = (await sentLines(sink)).length
    expect(posts).toBe(8 + 4 + 2 + 1)
    expect(complaints.map((line) => JSON.parse(line) as unknown)).toEqual([
      { level: "error", event: "audit_record_rejected", trail: name, seq: 1, reason: "status_400" },
    ])
  })

  test.each(["endless", "cut"])("LOG-09 an answer that is %s acknowledges by its status", async (behaviour) => {
    useSinks(behaviour)
    await append(...many(3))
    await alarm()
    expect(await waitingLines(name)).toEqual([])
  })

  test("LOG-07 a sink that says nothing is given up, and asked again", async () => {
    const timeout = AbortSignal.timeout.bind(AbortSignal)
    vi.spyOn(AbortSignal, "timeout").mockImplementation(() => timeout(50))
    useSinks("hang")
    await append(draft("a"))
    await alarm()
    expect([eventsSaid(), (await waitingLines(name)).length]).toEqual([["audit_sink_unavailable"], 1])
    expect(await alarmOf(name)).toBeGreaterThan(Date.now())
  })

  test("a record stays until every sink has it, and no sink waits for another", async () => {
    const [good = "", bad = ""] = useSinks("200", "503")
    await append(...many(3))
    await alarm()
    expect([(await sentLines(good)).length, (await waitingLines(name)).length]).toEqual([3, 3])
    vi.setSystemTime(Date.now() + 2_000)
    await append(draft("later"))
    await alarm()
    // What it has acknowledged it is not sent again.
    expect([(await sentLines(good)).length, (await sentLines(bad)).length]).toEqual([4, 7])
    setAuditSinks([endpoint(sinkUrl(good, "200"))])
    await alarm()
    // A sink that the configuration names no longer is waited for no longer.
    expect([(await waitingLines(name)).length, await alarmOf(name)]).toEqual([0, null])
  })

  test("a sink that is new gets everything that waits", async () => {
    useSinks("503")
    await append(...many(3))
    await alarm()
    const [sink = ""] = useSinks("200")
    await alarm()
    expect(await sentLines(sink)).toHaveLength(3)
  })

  test("without a sink records wait for a version that has one", async () => {
    useSinks("503")
    await append(draft("a"))
    setAuditSinks([])
    await alarm()
    expect([(await waitingLines(name)).length, await alarmOf(name)]).toEqual([1, Date.now() + AUDIT_RETRY_MS_MAX])
  })

  test("more than one alarm delivers comes with the next, at once", async () => {
    const [sink = ""] = useSinks("200")
    await append(draft("a"))
    const { hash, line } = (await waitingLines(name)).map((text) => ({ hash: text, line: text }))[0] ?? {
      hash: "",
      line: "",
    }
    expect(hash).toBe(line)
    await sql(
      name,
      `WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ${25 * AUDIT_BATCH_MAX})
       INSERT INTO records (seq, line) SELECT i, ? FROM n`,
      line,
    )
    await sql(name, `UPDATE head SET state = json_set(state, '$.seq', ${25 * AUDIT_BATCH_MAX})`)
    await alarm()
    expect([(await sentLines(sink)).length, await alarmOf(name)]).toEqual([20 * AUDIT_BATCH_MAX, Date.now()])
    await alarm()
    expect([(await sentLines(sink)).length, await alarmOf(name)]).toEqual([25 * AUDIT_BATCH_MAX, null])
  })
})

describe("LOG-10 after a crash", () => {
  test.each([
    ["an eviction", () => evictDurableObject(trailObject(name))],
    ["an abort", () => abortAllDurableObjects()],
  ])("nothing is missing (%s between append and delivery)", async (_, lose) => {
    const [sink = ""] = useSinks("200")
    await append(...many(3))
    await lose()
    await append(...many(5))
    await alarm()
    expect(await verify(await sentLines(sink))).toMatchObject([{ records: 5, copies: 0, fault: undefined }])
  })

  test("between sending and deleting the sink gets copies, and the trail holds", async () => {
    const [sink = ""] = useSinks("200")
    await append(...many(3))
    const before = await waitingLines(name)
    await alarm()
    // As if neither position nor deletion had been written.
    for (const [index, line] of before.entries())
      await sql(name, "INSERT INTO records (seq, line) VALUES (?, ?)", index + 1, line)
    await sql(name, "DELETE FROM positions")
    await append(draft("later"))
    await alarm()
    expect(await verify(await sentLines(sink))).toMatchObject([{ records: 4, copies: 3, fault: undefined }])
  })

  test("in the middle of an append either all of it is there or nothing, and repeating it adds the rest", async () => {
    useSinks("200")
    const digestOf = crypto.subtle.digest.bind(crypto.subtle)
    let digests = 0
    const spy = vi.spyOn(crypto.subtle, "digest").mockImplementation((algorithm, data) => {
      digests += 1
      if (digests === 2) return Promise.reject(new Error("broken"))
      return digestOf(algorithm, data)
    })
    await expect(append(draft("a"), draft("b"), draft("c"))).rejects.toThrow("broken")
    spy.mockRestore()
    expect(await waitingLines(name)).toEqual([])
    expect(await append(draft("a"), draft("b"), draft("c"))).toEqual({ kind: "appended", seq: 3 })
  })
})

describe("REL-05 an alarm", () => {
  test("is set by the first append, and stays where it is with the next", async () => {
    useSinks("200")
    await append(draft("a"))
    const dueMs = await alarmOf(name)
    expect(dueMs).toBe(Date.now() + 1_000)
    vi.setSystemTime(Date.now() + 500)
    await append(draft("b"))
    expect(await alarmOf(name)).toBe(dueMs)
  })

  test("that comes twice at once sends everything once", async () => {
    const [sink = ""] = useSinks("200")
    await append(...many(3))
    await Promise.all([alarm(), alarm()])
    expect(await sentLines(sink)).toHaveLength(3)
  })

  test("that comes again, ten minutes late, or for nothing changes nothing", async () => {
    const [sink = ""] = useSinks("200")
    await append(...many(3))
    vi.setSystemTime(Date.now() + 600_000)
    await alarm()
    await alarm()
    expect([(await sentLines(sink)).length, await alarmOf(name)]).toEqual([3, null])
  })

  test.each([
    ["the next append", () => append(draft("b"))],
    ["the daily round", () => trailObject(name).wake()],
    ["a new instance", () => evictDurableObject(trailObject(name)).then(() => trailObject(name).inspect())],
  ])("that was lost is set again by %s", async (_, wake) => {
    useSinks("200")
    await append(draft("a"))
    await runInDurableObject(trailObject(name), (_, { storage }) => storage.deleteAlarm())
    await wake()
    await vi.waitUntil(async () => (await alarmOf(name)) !== null)
  })

  test("LOG-07 never fails, however often its storage does, and is there when that works again", async () => {
    const [sink = ""] = useSinks("200")
    await append(...many(3))
    await sql(name, "ALTER TABLE positions RENAME TO hidden")
    for (let i = 0; i < 10; i++) {
      await alarm()
      expect(await alarmOf(name)).toBe(Date.now() + AUDIT_RETRY_MS_MAX)
      vi.setSystemTime(Date.now() + AUDIT_RETRY_MS_MAX)
    }
    await sql(name, "ALTER TABLE hidden RENAME TO positions")
    await alarm()
    expect(await verify(await sentLines(sink))).toMatchObject([{ records: 3, fault: undefined }])
    expect(await waitingLines(name)).toEqual([])
  })

  test("is run by the platform, too", async () => {
    const [sink = ""] = useSinks("200")
    await append(draft("a"))
    await runDurableObjectAlarm(trailObject(name))
    expect(await sentLines(sink)).toHaveLength(1)
  })

  test("LOG-10 an append while a delivery is on its way is neither lost nor without an alarm", async () => {
    const [sink = ""] = useSinks("200")
    await append(...many(3))
    const delivering = alarm()
    await Promise.all(Array.from({ length: 10 }, (_, index) => append(draft(`late-${index}`))))
    await delivering
    while ((await alarmOf(name)) !== null) await alarm()
    expect(await verify(await sentLines(sink))).toMatchObject([{ records: 13, fault: undefined }])
    expect(await waitingLines(name)).toEqual([])
  })
})

describe("a trail that does not reach its sinks", () => {
  const told = () =>
    writtenLines()
      .filter((line) => line.includes(`"trail":"${name}"`))
      .map((line) => JSON.parse(line) as AuditDelayRecord)

  test("is told of once its oldest record has waited for five minutes, and once when it reaches them", async () => {
    useSinks("503")
    await append(draft("a"))
    for (let minute = 0; minute < 8; minute++) {
      await alarm()
      vi.setSystemTime(Date.now() + AUDIT_RETRY_MS_MAX)
    }
    useSinks("200")
    await alarm()
    await alarm()
    expect(told()).toMatchObject([
      {
        event: "audit.delayed",
        alert: "audit-backlog",
        level: "error",
        waiting: 1,
        oldest: "2036-01-01T00:00:00.000Z",
      },
      { event: "audit.resumed", level: "info", waiting: 0 },
    ])
  })

  test("has an alarm again from the daily round while the queue lacks what was told", async () => {
    await runInDurableObject(trailObject(name), (_, { storage }) => {
      storage.sql.exec("INSERT INTO outbox (record) VALUES ('{}')")
      return storage.deleteAlarm()
    })
    await trailObject(name).wake()
    expect(await alarmOf(name)).not.toBeNull()
  })

  test("is not told of again by a new instance", async () => {
    useSinks("503")
    await append(draft("a"))
    vi.setSystemTime(Date.now() + AUDIT_LATE_MS)
    await alarm()
    await evictDurableObject(trailObject(name))
    vi.setSystemTime(Date.now() + AUDIT_RETRY_MS_MAX)
    await alarm()
    expect(told()).toHaveLength(1)
  })
})

test("LOG-07 a thousand records of an outage of ten minutes are all there after it", async () => {
  useSinks("reset")
  const startMs = Date.now()
  for (let from = 0; from < 1_000; from += 100) {
    await append(...many(100, from))
    await alarm()
    vi.setSystemTime(startMs + from * 600)
  }
  const [sink = ""] = useSinks("200")
  for (let i = 0; i < 5 && (await waitingLines(name)).length > 0; i++) {
    vi.setSystemTime(Number(await alarmOf(name)))
    await alarm()
  }
  expect(await verify(await sentLines(sink))).toMatchObject([{ records: 1_000, lastSeq: 1_000, fault: undefined }])
  expect(await waitingLines(name)).toEqual([])
})

/**
 * Goal: every block is on the record when it begins and when it ends, although queues refuse, alarms come late, early,
 * twice or never, and objects end at any moment; and none of that changes a decision. Method: the real object with its real
 * storage and alarms, a queue that the test replaces, and a clock that it moves.
 */
import { abortAllDurableObjects, evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test"
import { env } from "cloudflare:workers"
import { afterEach, beforeEach, expect, test, vi } from "vitest"
import type { ClientGate } from "../../durable-objects/client-gate.ts"
import { OUTBOX_RECORDS_MAX, RECORD_RETRY_MS } from "../../src/core/bounds.ts"
import { demandOf } from "../../src/core/gate/gate-plan.ts"
import { createGuarded, fail, guardRecords, objectOf, replaceQueue } from "./guarded.ts"
import type { TestGateway } from "./harness.ts"

const BLOCK_MS = 300_000

let queue: ReturnType<typeof replaceQueue>
let complaints: string[]

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"] })
  vi.spyOn(Math, "random").mockReturnValue(0)
  complaints = []
  vi.spyOn(console, "error").mockImplementation((line: string) => void complaints.push(line))
  queue = replaceQueue()
})
afterEach(() => {
  vi.useRealTimers()
})

/** Returns what the queue has taken, oldest first. */
function delivered(): readonly string[] {
  return queue.messages.flatMap(({ events }) => events.map(({ event }) => event))
}

async function nextAlarm(gateway: TestGateway): Promise<number | null> {
  return runInDurableObject(objectOf(gateway), (_, { storage }) => storage.getAlarm())
}

async function waiting(gateway: TestGateway): Promise<number> {
  return runInDurableObject(
    objectOf(gateway),
    (_, { storage }) => storage.sql.exec("SELECT 1 FROM outbox").toArray().length,
  )
}

/** Opens the guard of a client, and waits until the queue was asked. The clock stands where it stood. */
async function block(gateway = createGuarded()): Promise<TestGateway> {
  const openedMs = Date.now()
  await fail(gateway, 5)
  await vi.waitUntil(async () => (queue.refuse ? complaints.length > 0 : (await waiting(gateway)) === 0))
  vi.setSystemTime(openedMs)
  return gateway
}

test("an opening is offered to the queue at once, and the end of the block awaited", async () => {
  const gateway = await block()
  expect(queue.messages).toEqual([{ version: 1, events: guardRecords(), dropped: 0 }])
  expect(await nextAlarm(gateway)).toBe(Date.now() + BLOCK_MS)
})

test("the end of a block is reported by its alarm, once, and nothing is awaited any more", async () => {
  const gateway = await block()
  vi.setSystemTime(Date.now() + BLOCK_MS)
  await runDurableObjectAlarm(objectOf(gateway))
  expect([delivered(), await nextAlarm(gateway)]).toEqual([["guard.opened", "guard.closed"], null])
  expect(guardRecords()[1]).toMatchObject({ level: "info", reason: "elapsed", attempt: 1 })
})

test("REL-05 an alarm that comes twice reports once", async () => {
  const gateway = await block()
  vi.setSystemTime(Date.now() + BLOCK_MS)
  await Promise.all([1, 2].map(() => runInDurableObject(objectOf(gateway), (instance: ClientGate) => instance.alarm())))
  expect([guardRecords().length, (await gateway.fetch()).status]).toEqual([2, 200])
  expect(new Set(delivered())).toEqual(new Set(["guard.opened", "guard.closed"]))
})

test("REL-05 an alarm that comes a second early ends no block and comes again", async () => {
  const gateway = await block()
  const endMs = Date.now() + BLOCK_MS
  vi.setSystemTime(endMs - 1_000)
  await runDurableObjectAlarm(objectOf(gateway))
  expect([(await gateway.fetch()).status, await nextAlarm(gateway), delivered()]).toEqual([
    429,
    endMs,
    ["guard.opened"],
  ])
})

test("REL-05 an alarm that comes ten minutes late reports when the block ended", async () => {
  const gateway = await block()
  const endMs = Date.now() + BLOCK_MS
  vi.setSystemTime(endMs + 600_000)
  await runDurableObjectAlarm(objectOf(gateway))
  expect(guardRecords()[1]).toMatchObject({ event: "guard.closed", timestamp: new Date(endMs).toISOString() })
})

test("REL-05 without any alarm a block ends in time, and the next request reports it", async () => {
  const gateway = await block()
  await runInDurableObject(objectOf(gateway), (_, { storage }) => storage.deleteAlarm())
  vi.setSystemTime(Date.now() + BLOCK_MS)
  expect((await gateway.fetch()).status).toBe(200)
  await vi.waitUntil(() => delivered().length === 2)
  expect(delivered()).toEqual(["guard.opened", "guard.closed"])
})

test("a queue that refuses keeps records in the object until it takes them, in their order", async () => {
  queue.refuse = true
  const gateway = await block()
  expect([await nextAlarm(gateway), JSON.parse(complaints[0] ?? "{}")]).toEqual([
    Date.now() + RECORD_RETRY_MS,
    { level: "error", event: "guard_record_delayed", reason: "Error: Queue is full" },
  ])
  vi.setSystemTime(Date.now() + BLOCK_MS)
  await runDurableObjectAlarm(objectOf(gateway))
  expect([await waiting(gateway), await nextAlarm(gateway)]).toEqual([2, Date.now() + RECORD_RETRY_MS])
  queue.refuse = false
  await runDurableObjectAlarm(objectOf(gateway))
  expect([delivered(), await waiting(gateway), await nextAlarm(gateway)]).toEqual([
    ["guard.opened", "guard.closed"],
    0,
    null,
  ])
})

test("a queue that refuses changes no decision", async () => {
  queue.refuse = true
  const gateway = await block()
  expect((await gateway.fetch()).status).toBe(429)
  vi.setSystemTime(Date.now() + BLOCK_MS)
  expect((await gateway.fetch()).status).toBe(200)
})

test.each([
  ["an eviction", (gateway: TestGateway) => evictDurableObject(objectOf(gateway))],
  ["an abort", () => abortAllDurableObjects()],
])("records that wait survive %s", async (_, lose) => {
  queue.refuse = true
  const gateway = await block()
  await lose(gateway)
  queue.refuse = false
  await runDurableObjectAlarm(objectOf(gateway))
  expect([delivered(), await nextAlarm(gateway)]).toEqual([["guard.opened"], Date.now() + BLOCK_MS])
})

test("a record that is written while the queue is asked is not lost, nor is its alarm", async () => {
  const gateway = createGuarded()
  const nowMs = Date.now()
  let asked = 0
  const hold = { isOver: false }
  vi.spyOn(env.EVENTS as Queue, "send").mockImplementation(async () => {
    asked += 1
    if (asked > 1) throw new Error("Queue is full")
    // The object waits by itself: a promise of the test is none of its own.
    while (!hold.isOver) await scheduler.wait(1)
    return {} as QueueSendResponse
  })
  await fail(gateway, 5)
  const guard = gateway.config.routes.flatMap(({ guards }) => guards)[0]
  if (guard === undefined) throw new Error("No guard configured")
  await objectOf(gateway).administer(demandOf(guard), { action: "unblock" })
  await vi.waitUntil(() => complaints.length > 0)
  hold.isOver = true
  await vi.waitUntil(async () => (await waiting(gateway)) === 1)
  vi.setSystemTime(nowMs)
  expect(await nextAlarm(gateway)).toBe(nowMs + RECORD_RETRY_MS)
  queue = replaceQueue()
  await runDurableObjectAlarm(objectOf(gateway))
  expect([delivered(), await waiting(gateway)]).toEqual([["guard.closed"], 0])
})

test("of more records than the bound the oldest are dropped, and that is said", async () => {
  queue.refuse = true
  const gateway = await block()
  await runInDurableObject(objectOf(gateway), (_, { storage }) => {
    for (let i = 0; i < OUTBOX_RECORDS_MAX + 4; i++)
      storage.sql.exec("INSERT INTO outbox (record) VALUES (?)", JSON.stringify({ event: `later-${i}` }))
  })
  queue.refuse = false
  await runDurableObjectAlarm(objectOf(gateway))
  expect([delivered().length, delivered()[0], delivered().at(-1)]).toEqual([OUTBOX_RECORDS_MAX, "later-4", "later-103"])
  expect(complaints.map((line) => (JSON.parse(line) as { event: string }).event)).toContain("guard_records_dropped")
})

test("an alarm whose storage fails comes again", async () => {
  const gateway = await block()
  await runInDurableObject(objectOf(gateway), (_, { storage }) => {
    storage.sql.exec("ALTER TABLE gate RENAME TO hidden")
  })
  await runDurableObjectAlarm(objectOf(gateway))
  expect(complaints.map((line) => (JSON.parse(line) as { event: string }).event)).toEqual(["gate_alarm_failed"])
  expect(await nextAlarm(gateway)).toBe(Date.now() + RECORD_RETRY_MS)
  await runInDurableObject(objectOf(gateway), (_, { storage }) => {
    storage.sql.exec("ALTER TABLE hidden RENAME TO gate")
  })
  expect((await gateway.fetch()).status).toBe(429)
})

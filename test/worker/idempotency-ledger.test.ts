/**
 * Goal: a ledger forgets no reservation, not through a restart, a crash or in two instances at once, keeps nothing that could be
 * read, and forgets what has expired. Method: the real object on workerd's SQLite, and what is in its tables.
 */
import { abortAllDurableObjects, evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test"
import { env } from "cloudflare:workers"
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { IdempotencyLedger } from "../../durable-objects/idempotency-ledger.ts"
import { IDEMPOTENCY_EXPIRY_BATCH, IDEMPOTENCY_LEDGER_BYTES_MAX } from "../../src/core/bounds.ts"
import type { ReserveDemand } from "../../src/core/idempotency/idempotency-ledger.ts"
import { createRecordKeys } from "../../src/keys/record-keys.ts"
import { createKeyed, KEY, pay, RECORD_KEY, RECORD_KEY_2 } from "./keyed.ts"

const TTL_MS = 3_600_000

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"] })
  vi.spyOn(console, "error").mockImplementation(() => {})
})
afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

let number = 0

/** A ledger of its own for each test. */
function createStub() {
  number += 1
  const name = `ledger-${number}`
  return () => env.IDEMPOTENCY_LEDGER.getByName(name)
}

function demandOf(attemptId: string, key = "key"): ReserveDemand {
  return {
    tag: "tag",
    identities: [{ kid: "one", key, fingerprint: "f" }],
    attemptId,
    attemptMs: 60_000,
    ttlMs: TTL_MS,
    isOriginIdempotent: false,
  }
}

const nameOf = (attemptId: string, key = "key") => ({ tag: "tag", key, attemptId })

test("IDM-05 reserve() lets one of 100 parallel attempts through", async () => {
  const stub = createStub()
  const decisions = await Promise.all(Array.from({ length: 100 }, (_, i) => stub().reserve(demandOf(`a${i}`))))
  expect(decisions.filter(({ kind }) => kind === "proceed")).toHaveLength(1)
  expect(decisions.filter(({ kind }) => kind === "in-progress")).toHaveLength(99)
})

test.each(["evicted", "aborted"] as const)(
  "IDM-09 a reservation and an answer survive an object that is %s",
  async (how) => {
    const stub = createStub()
    const crash = () => (how === "evicted" ? evictDurableObject(stub()) : abortAllDurableObjects())
    await stub().reserve(demandOf("a1"))
    await crash()
    expect((await stub().reserve(demandOf("a2"))).kind).toBe("in-progress")
    expect(await stub().settle(nameOf("a1"), { kind: "completed", answer: "jwe" })).toBe(true)
    await crash()
    expect(await stub().reserve(demandOf("a2"))).toMatchObject({ kind: "replay", answer: "jwe" })
  },
)

test("a twin instance on the same storage sees what the other one reserved", async () => {
  const stub = createStub()
  const kinds = await runInDurableObject(stub(), (instance: IdempotencyLedger, ctx) => {
    const twin = new IdempotencyLedger(ctx, env)
    return [instance.reserve(demandOf("a1")), twin.reserve(demandOf("a2"))].map(({ kind }) => kind)
  })
  expect(kinds).toEqual(["proceed", "in-progress"])
})

test("reserve() throws when its storage fails, so that nobody gets through", async () => {
  const stub = createStub()
  await runInDurableObject(stub(), (instance: IdempotencyLedger, { storage }) => {
    storage.sql.exec("DROP TABLE records")
    expect(() => instance.reserve(demandOf("a1"))).toThrow("no such table")
    expect(() => instance.settle(nameOf("a1"), { kind: "released" })).toThrow("no such table")
  })
})

test.each(["", "{", '{"version":2}'])("a record that reads %j is indeterminate", async (text) => {
  const stub = createStub()
  await stub().reserve(demandOf("a1"))
  await runInDurableObject(stub(), (_, { storage }) => {
    storage.sql.exec("UPDATE records SET record = ?", text)
  })
  expect(await stub().reserve(demandOf("a2"))).toEqual({ kind: "indeterminate", reason: "record_unreadable" })
})

test("settle() of another attempt changes nothing, and a release frees the key", async () => {
  const stub = createStub()
  await stub().reserve(demandOf("a1"))
  expect(await stub().settle(nameOf("a2"), { kind: "released" })).toBe(false)
  expect((await stub().reserve(demandOf("a2"))).kind).toBe("in-progress")
  expect(await stub().settle(nameOf("a1"), { kind: "released" })).toBe(true)
  expect((await stub().reserve(demandOf("a2"))).kind).toBe("proceed")
})

test("a decision that changes nothing writes nothing", async () => {
  const stub = createStub()
  await stub().reserve(demandOf("a1"))
  const isUnwritten = await runInDurableObject(stub(), (instance: IdempotencyLedger, ctx) => {
    const written = () => ctx.storage.sql.exec("SELECT total_changes() AS changes").one()["changes"]
    const before = written()
    instance.reserve(demandOf("a2"))
    instance.settle(nameOf("a2"), { kind: "indeterminate" })
    return written() === before
  })
  expect(isUnwritten).toBe(true)
})

test("a ledger that is full takes no new key", async () => {
  const stub = createStub()
  const kind = await runInDurableObject(stub(), (instance: IdempotencyLedger, { storage }) => {
    const prototype = Object.getPrototypeOf(storage.sql) as SqlStorage
    vi.spyOn(prototype, "databaseSize", "get").mockReturnValue(IDEMPOTENCY_LEDGER_BYTES_MAX)
    return instance.reserve(demandOf("a1")).kind
  })
  expect(kind).toBe("full")
})

describe("the alarm", () => {
  const alarmOf = (stub: () => DurableObjectStub<IdempotencyLedger>) =>
    runInDurableObject(stub(), (_, { storage }) => storage.getAlarm())
  const countOf = (stub: () => DurableObjectStub<IdempotencyLedger>) =>
    runInDurableObject(stub(), (_, { storage }) =>
      Number(storage.sql.exec("SELECT count(*) AS n FROM records").one()["n"]),
    )

  test("deletes what has expired and nothing else, and is set again for the rest", async () => {
    const stub = createStub()
    await stub().reserve(demandOf("a1"))
    vi.setSystemTime(Date.now() + 600_000)
    await stub().reserve(demandOf("a2", "later"))
    const expiryMs = Date.now() + TTL_MS
    await vi.waitUntil(async () => (await alarmOf(stub)) !== null)
    vi.setSystemTime(Date.now() + TTL_MS - 600_000)
    expect(await runDurableObjectAlarm(stub())).toBe(true)
    expect(await countOf(stub)).toBe(1)
    expect(await alarmOf(stub)).toBe(expiryMs)
    expect((await stub().reserve(demandOf("a3", "later"))).kind).toBe("indeterminate")
  })

  test("deletes in batches, and everything once nothing is left", async () => {
    const stub = createStub()
    await runInDurableObject(stub(), (instance: IdempotencyLedger) => {
      for (let i = 0; i <= IDEMPOTENCY_EXPIRY_BATCH; i += 1) instance.reserve(demandOf("a", `key-${i}`))
    })
    vi.setSystemTime(Date.now() + TTL_MS)
    await runDurableObjectAlarm(stub())
    expect(await countOf(stub)).toBe(1)
    await runDurableObjectAlarm(stub())
    const left = await runInDurableObject(stub(), (_, { storage }) =>
      storage.sql.exec("SELECT name FROM sqlite_master WHERE name = 'records'").toArray(),
    )
    expect([left, await alarmOf(stub)]).toEqual([[], null])
    // And begins anew.
    expect((await stub().reserve(demandOf("a1"))).kind).toBe("proceed")
    await vi.waitUntil(async () => (await alarmOf(stub)) !== null)
  })

  test("that was lost is set again by the next request of a new instance", async () => {
    const stub = createStub()
    await stub().reserve(demandOf("a1"))
    await vi.waitUntil(async () => (await alarmOf(stub)) !== null)
    await runInDurableObject(stub(), (_, { storage }) => storage.deleteAlarm())
    await evictDurableObject(stub())
    await stub().reserve(demandOf("a2"))
    await vi.waitUntil(async () => (await alarmOf(stub)) !== null)
  })

  test("does not fail when storage does, and is set before it tries", async () => {
    const stub = createStub()
    const written = vi.spyOn(console, "error").mockImplementation(() => {})
    await stub().reserve(demandOf("a1"))
    await runInDurableObject(stub(), async (instance: IdempotencyLedger, { storage }) => {
      storage.sql.exec("ALTER TABLE records RENAME TO hidden")
      // One that rings is over.
      await storage.deleteAlarm()
      await instance.alarm()
      expect(await storage.getAlarm()).not.toBeNull()
    })
    expect(written.mock.calls).toMatchObject([[expect.stringContaining("idempotency_alarm_failed")]])
  })
})

describe("at rest", () => {
  const PAN = "4111111111111111"

  test("IDM-12 neither body, number, key nor client is readable, and the answer is a JWE of the agreed kind", async () => {
    const gateway = createKeyed()
    const reserve = vi.spyOn(IdempotencyLedger.prototype, "reserve")
    await gateway.fetch(pay({ body: `{"pan":"${PAN}"}` }))
    expect(reserve).toHaveBeenCalledTimes(1)
    const [ledger] = reserve.mock.contexts as unknown as readonly [{ readonly ctx: DurableObjectState }]
    const { id } = ledger.ctx
    const rows = await runInDurableObject(env.IDEMPOTENCY_LEDGER.get(id), (_, { storage }) =>
      storage.sql.exec<Record<string, string | number> & { record: string }>("SELECT * FROM records").toArray(),
    )
    expect(rows).toHaveLength(1)
    const dump = `${JSON.stringify(rows)} ${id.name ?? ""}`
    const { answer } = (JSON.parse(rows[0]?.record ?? "") as { state: { answer: string } }).state
    const [head = "", encryptedKey] = answer.split(".")
    const header = JSON.parse(atob(head.replaceAll("-", "+").replaceAll("_", "/"))) as Readonly<Record<string, unknown>>
    expect([encryptedKey, header["alg"], header["enc"], header["kid"]]).toEqual(["", "dir", "A256GCM", "one"])
    expect(Object.keys(header).toSorted()).toEqual(["alg", "client", "enc", "fingerprint", "key", "kid"])
    const secrets = [PAN, "pan", KEY.slice(1, -1), gateway.clientId("acme-a"), "acme", "/pay", "application/json"]
    const texts = secrets.flatMap((text) => [text, btoa(text).replace(/=+$/, "").slice(0, -1)])
    expect(texts.filter((text) => `${dump} ${JSON.stringify(header)}`.includes(text))).toEqual([])
  })

  test("what is sealed opens for the same identity alone, under every configured key", async () => {
    const secrets = { A: RECORD_KEY, B: RECORD_KEY_2 }
    const keys = createRecordKeys({ keys: ["A"] }, secrets)
    const identity = { kid: "one", key: "k", fingerprint: "f", client: "c" }
    const sealed = await keys.seal(new TextEncoder().encode("answer"), identity)
    const rotated = createRecordKeys({ keys: ["B", "A"] }, secrets)
    expect(new TextDecoder().decode(await rotated.open(sealed, identity))).toBe("answer")
    for (const other of [{ key: "x" }, { fingerprint: "x" }, { client: "x" }])
      expect(await keys.open(sealed, { ...identity, ...other })).toBeUndefined()
    expect(await createRecordKeys({ keys: ["B"] }, secrets).open(sealed, identity)).toBeUndefined()
    const [head, , ...rest] = sealed.split(".")
    for (const damaged of ["", "a.b.c.d.e", `${sealed}x`, [head, "AAAA", ...rest].join(".")])
      expect(await keys.open(damaged, identity)).toBeUndefined()
  })

  test("no header of a record chooses how it is opened", async () => {
    const keys = createRecordKeys({ keys: ["A"] }, { A: RECORD_KEY })
    const identity = { kid: "one", key: "k", fingerprint: "f", client: "c" }
    const sealed = await keys.seal(new Uint8Array([1]), identity)
    const [, ...rest] = sealed.split(".")
    for (const header of [
      { alg: "PBES2-HS256+A128KW", enc: "A256GCM", kid: "one", p2c: 1, p2s: "AAAA" },
      { alg: "dir", enc: "A128GCM", kid: "one" },
      { alg: "dir", enc: "A256GCM", kid: "one", zip: "DEF" },
    ])
      expect(
        await keys.open([btoa(JSON.stringify(header)).replace(/=+$/, ""), ...rest].join("."), identity),
      ).toBeUndefined()
  })
})

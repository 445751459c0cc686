/**
 * Goal: the client's object loses no token and mints none: not under parallel calls, not through a restart, not from a
 * damaged row, not in two instances at once. Method: the real object on workerd's SQLite; limits refill so slowly that no
 * token returns while a test runs.
 */
import { abortAllDurableObjects, evictDurableObject, runInDurableObject } from "cloudflare:test"
import { env } from "cloudflare:workers"
import { expect, test } from "vitest"
import { ClientGate } from "../../durable-objects/client-gate.ts"
import type { AdmissionDecision } from "../../src/core/limit/admission.ts"
import type { GateRequest } from "../../src/core/gate/client-gate.ts"
import type { NamedBucket, NamedConcurrency, NamedLimit } from "../../src/core/limit/limit.ts"

const BURST: NamedBucket = { kind: "bucket", name: "burst", burst: 10, rate: { count: 1, periodMs: 86_400_000 } }
const DAILY: NamedBucket = { kind: "bucket", name: "daily", burst: 3, rate: { count: 1, periodMs: 86_400_000 } }

/** A request that no guard looks at. */
function request(limits: readonly NamedLimit[], cost = 1, leaseId?: string): GateRequest {
  const place = leaseId === undefined ? {} : { leaseId }
  return { limits, cost, guards: [], admissionId: crypto.randomUUID(), ...place }
}

async function ask(clientId: string, limits: readonly NamedBucket[] = [BURST], cost = 1): Promise<AdmissionDecision> {
  return (await env.CLIENT_GATE.getByName(clientId).admit(request(limits, cost))).admission
}

test("LIM-01 admit() lets exactly burst of 100 parallel requests pass", async () => {
  const decisions = await Promise.all(Array.from({ length: 100 }, () => ask("parallel")))
  expect(decisions.filter(({ admitted }) => admitted)).toHaveLength(10)
})

test("LIM-02 admit() counts once for all stubs of one client", async () => {
  const stubs = [env.CLIENT_GATE.getByName("stubs"), env.CLIENT_GATE.getByName("stubs")]
  const asks = stubs.flatMap((stub) => Array.from({ length: 50 }, () => stub.admit(request([BURST]))))
  const decisions = await Promise.all(asks)
  expect(decisions.filter(({ admission }) => admission.admitted)).toHaveLength(10)
})

test("admit() does not share state between clients", async () => {
  await ask("one", [BURST], 10)
  const { policies } = await ask("other")
  expect(policies).toMatchObject([{ remaining: 9 }])
})

test("admit() takes from no limit when one of them refuses", async () => {
  await ask("several", [DAILY], 3)
  const { admitted, policies } = await ask("several", [BURST, DAILY])
  expect({ admitted, policies }).toMatchObject({ admitted: false, policies: [{ remaining: 10 }, { remaining: 0 }] })
})

test("admit() remembers through an eviction", async () => {
  await ask("evicted", [BURST], 10)
  await evictDurableObject(env.CLIENT_GATE.getByName("evicted"))
  expect(await ask("evicted")).toMatchObject({ admitted: false, violated: ["burst"], lost: [] })
})

test("admit() remembers through an abort right after the answer", async () => {
  await ask("aborted", [BURST], 10)
  await abortAllDurableObjects()
  expect(await ask("aborted")).toMatchObject({ admitted: false, violated: ["burst"], lost: [] })
})

test("admit() of a twin instance on the same storage sees what the other one spent", async () => {
  const admitted = await runInDurableObject(env.CLIENT_GATE.getByName("twins"), (instance: ClientGate, ctx) => {
    const twin = new ClientGate(ctx, env)
    return [instance, twin, instance, twin].map((gate) => gate.admit(request([BURST], 5)).admission.admitted)
  })
  expect(admitted).toEqual([true, true, false, false])
})

test.each(["", "{", '{"version":3,"buckets":{}}', '{"version":1,"buckets":{"burst":{"level":1e300}}}'])(
  "admit() admits nothing on a row that reads %j, and says so once",
  async (text) => {
    const clientId = `damaged ${text}`
    await ask(clientId)
    await runInDurableObject(env.CLIENT_GATE.getByName(clientId), (_, { storage }) => {
      storage.sql.exec("UPDATE gate SET state = ?", text)
    })
    expect(await ask(clientId)).toMatchObject({ admitted: false, violated: ["burst"], lost: ["burst"], remaining: 0 })
    expect(await ask(clientId)).toMatchObject({ admitted: false, violated: ["burst"], lost: [], remaining: 0 })
  },
)

test("admit() writes nothing for a refusal that only let time pass", async () => {
  await ask("refused", [BURST], 10)
  const isUnwritten = await runInDurableObject(env.CLIENT_GATE.getByName("refused"), (instance: ClientGate, ctx) => {
    const written = () => ctx.storage.sql.exec("SELECT total_changes() AS changes").one()["changes"]
    const before = written()
    instance.admit(request([BURST]))
    return written() === before
  })
  expect(isUnwritten).toBe(true)
})

const SLOTS: NamedConcurrency = { kind: "concurrency", name: "slots", maxConcurrent: 1, leaseTtlMs: 60_000 }

test("release() frees the place of this request and of no other, once, and remembers through an abort", async () => {
  const stub = () => env.CLIENT_GATE.getByName("slots")
  const admits = async (leaseId: string) => (await stub().admit(request([SLOTS], 1, leaseId))).admission.admitted
  expect([await admits("r1"), await admits("r2")]).toEqual([true, false])
  expect(await stub().release("r2")).toEqual([])
  expect(await stub().release("r1")).toEqual(["slots"])
  await abortAllDurableObjects()
  expect([await admits("r3"), await stub().release("r1"), await admits("r4")]).toEqual([true, [], false])
})

test("release() for a client that was never seen writes nothing", async () => {
  expect(await env.CLIENT_GATE.getByName("unseen").release("r1")).toEqual([])
  await runInDurableObject(env.CLIENT_GATE.getByName("unseen"), (_, { storage }) => {
    expect(storage.sql.exec("SELECT state FROM gate").toArray()).toEqual([])
  })
})

test("admit() throws when its storage fails, so that nobody is admitted", async () => {
  await ask("broken")
  await runInDurableObject(env.CLIENT_GATE.getByName("broken"), (instance: ClientGate, { storage }) => {
    storage.sql.exec("DROP TABLE gate")
    expect(() => instance.admit(request([BURST]))).toThrow("no such table")
  })
})

/**
 * Goal: whatever happens to a client's object between, before or after its calls, no client is admitted more than its limit,
 * no origin is called twice for one request, no guard forgets, and what was broken works again by itself. Method: every
 * method of the real object is made to abort, throw or lose its answer at each of its calls in turn.
 */
import { abortAllDurableObjects, evictDurableObject, runInDurableObject } from "cloudflare:test"
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { ClientGate } from "../../durable-objects/client-gate.ts"
import { answering, createGuarded, fail, objectOf, replaceQueue, reportOf } from "./guarded.ts"
import { createGateway, type TestGateway } from "./harness.ts"

const LIMITS = {
  lent: { generous: { rate: "1/d", burst: 10 } },
  asked: { generous: { rate: "1/d", burst: 10, quota: "10/day", concurrent: 4 } },
} as const
const METHODS = ["admit", "lend", "record", "release"] as const
const HEAD = { method: "HEAD" }

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"] })
  vi.spyOn(console, "error").mockImplementation(() => {})
  replaceQueue()
})
afterEach(() => {
  vi.useRealTimers()
})

/** Faults of one call: whether it is carried out, and how it ends. */
const FAULTS = {
  "aborts before it": (object: DurableObjectState) => {
    object.abort("test")
    throw new Error("aborted")
  },
  "aborts after it": (object: DurableObjectState, call: () => unknown) => {
    const answer = call()
    object.abort("test")
    return answer
  },
  "throws before it": () => {
    throw new Error("SECRET")
  },
  "throws after it": (_: DurableObjectState, call: () => unknown) => {
    call()
    throw new Error("SECRET")
  },
} as const

/** Lets the calls of `method` with these numbers, from 1, end in a fault. */
function breakCalls(method: (typeof METHODS)[number], numbers: readonly number[], fault: keyof typeof FAULTS): void {
  const original = ClientGate.prototype[method] as (...parts: unknown[]) => unknown
  let count = 0
  vi.spyOn(ClientGate.prototype, method).mockImplementation(function (this: ClientGate, ...parts: unknown[]) {
    count += 1
    const call = () => original.apply(this, parts)
    if (!numbers.includes(count)) return call() as never
    return FAULTS[fault]((this as unknown as { readonly ctx: DurableObjectState }).ctx, call) as never
  })
}

async function useAll(gateway: TestGateway, times: number): Promise<readonly number[]> {
  const statuses: number[] = []
  for (let i = 0; i < times; i++) {
    statuses.push((await gateway.fetch(HEAD)).status)
    // Leases end, so that tokens whose answer was lost are there again.
    vi.setSystemTime(Date.now() + 1_200)
  }
  return statuses
}

describe.each(["lent", "asked"] as const)("REL-02 with limits that are %s, an object that", (kind) => {
  const method = kind === "lent" ? "lend" : "admit"

  test.each(Object.keys(FAULTS) as (keyof typeof FAULTS)[])("%s at any one call mints no token", async (fault) => {
    for (const number of [1, 2, 5, 9]) {
      const gateway = createGateway({ LIMITS: LIMITS[kind] })
      breakCalls(method, [number], fault)
      const statuses = await useAll(gateway, 14)
      vi.mocked(ClientGate.prototype[method]).mockRestore()
      const passed = statuses.filter((status) => status === 200).length
      expect(passed).toBeLessThanOrEqual(10)
      expect(await gateway.originRequests()).toHaveLength(passed)
      expect(statuses.every((status) => [200, 429, 503].includes(status))).toBe(true)
      // It costs a request or two at most, and no state that somebody would have to mend.
      expect(passed).toBeGreaterThanOrEqual(8)
    }
  })

  test("is evicted or aborted between all calls mints no token and loses none", async () => {
    const gateway = createGateway({ LIMITS: LIMITS[kind] })
    const statuses: number[] = []
    for (let i = 0; i < 12; i++) {
      statuses.push(...(await useAll(gateway, 1)))
      if (i % 2 === 0) await evictDurableObject(objectOf(gateway))
      else await abortAllDurableObjects()
    }
    expect(statuses).toEqual([...Array.from({ length: 10 }, () => 200), 429, 429])
  })

  test("cannot store admits nobody, and works again once it can", async () => {
    const gateway = createGateway({ LIMITS: LIMITS[kind] })
    await useAll(gateway, 1)
    const rename = (from: string, to: string) =>
      runInDurableObject(objectOf(gateway), (_, { storage }) => {
        storage.sql.exec(`ALTER TABLE ${from} RENAME TO ${to}`)
      })
    await rename("gate", "hidden")
    expect(await useAll(gateway, 2)).toEqual([503, 503])
    await rename("hidden", "gate")
    expect((await useAll(gateway, 11)).filter((status) => status === 200)).toHaveLength(9)
  })

  test("REL-03 fails while it writes leaves what was there", async () => {
    const gateway = createGateway({ LIMITS: LIMITS[kind] })
    await useAll(gateway, 1)
    const before = await reportOf(gateway)
    await runInDurableObject(objectOf(gateway), (_, { storage }) => {
      storage.sql.exec("CREATE TRIGGER full BEFORE UPDATE ON gate BEGIN SELECT RAISE(ABORT, 'SQLITE_FULL'); END")
    })
    expect(await useAll(gateway, 2)).toEqual([503, 503])
    await runInDurableObject(objectOf(gateway), (_, { storage }) => {
      storage.sql.exec("DROP TRIGGER full")
    })
    expect((await reportOf(gateway)).buckets[0]?.remaining).toBe(before.buckets[0]?.remaining)
    expect((await useAll(gateway, 11)).filter((status) => status === 200)).toHaveLength(9)
  })
})

describe.each(["optimistic", "reserve"] as const)("REL-02 with a guard in %s mode, an object that", (mode) => {
  test.each(Object.keys(FAULTS) as (keyof typeof FAULTS)[])(
    "%s when told of a failure blocks one late at most",
    async (fault) => {
      for (const number of [1, 3, 5]) {
        const gateway = createGuarded({ guard: { in_flight: mode, pending_ttl: "1s" } })
        breakCalls("record", [number], fault)
        const statuses: number[] = []
        for (let i = 0; i < 8; i++) {
          statuses.push(...(await fail(gateway, 1)))
          vi.setSystemTime(Date.now() + 1_200)
        }
        vi.mocked(ClientGate.prototype.record).mockRestore()
        // A failure that was recorded although nobody heard of it counts once; one that was not is lost, and the event says so.
        expect(statuses.filter((status) => status === 401).length).toBeGreaterThanOrEqual(5)
        expect(statuses.filter((status) => status === 401).length).toBeLessThanOrEqual(6)
        expect(statuses.at(-1)).toBe(429)
      }
    },
  )
})

test("REL-02 a place whose release aborts is free after its lease at the latest", async () => {
  for (const fault of Object.keys(FAULTS) as (keyof typeof FAULTS)[]) {
    const gateway = createGateway({ LIMITS: { generous: { concurrent: 1, lease: "30s" } } })
    breakCalls("release", [1, 2], fault)
    expect((await gateway.fetch(HEAD)).status).toBe(200)
    vi.mocked(ClientGate.prototype.release).mockRestore()
    vi.setSystemTime(Date.now() + 30_000)
    expect((await gateway.fetch(HEAD)).status).toBe(200)
  }
})

test("REL-04 a damaged row opens no guard, and is whole again by itself", async () => {
  const gateway = createGuarded()
  await fail(gateway, 5)
  await runInDurableObject(objectOf(gateway), (_, { storage }) => {
    storage.sql.exec("UPDATE gate SET state = '{'")
  })
  vi.setSystemTime(Date.now() + 5_000)
  const { response, event } = await gateway.send()
  expect([response.status, event.problem]).toEqual([429, "client-blocked"])
  vi.setSystemTime(Date.now() + 300_000)
  expect((await gateway.fetch()).status).toBe(200)
})

test("LIM-11 a client at 20 times its rate makes no request of another one fail", async () => {
  vi.useRealTimers()
  const gateway = createGateway({ LIMITS: { generous: { rate: "20/s", burst: 20 } } })
  const endMs = Date.now() + 1_000
  const hot: Promise<Response>[] = []
  const others: number[] = []
  const startMs = Date.now()
  while (Date.now() < endMs) {
    hot.push(...Array.from({ length: 40 }, () => gateway.open()))
    others.push((await gateway.open({ cert: "acme-b" })).status)
    await scheduler.wait(95)
  }
  const statuses = (await Promise.all(hot)).map(({ status }) => status)
  const passed = statuses.filter((status) => status === 200).length
  expect([new Set(others), new Set(statuses)]).toEqual([new Set([200]), new Set([200, 429])])
  expect(passed).toBeLessThanOrEqual(20 + (20 * (Date.now() - startMs)) / 1_000)
})

test("50 clients at once have each its own limit, to the token", async () => {
  const ids = Array.from({ length: 50 }, (_, index) => `many-${index}-${crypto.randomUUID().slice(0, 8)}`)
  const objects = ids.map((id) => ({ clientId: () => id }) as unknown as TestGateway).map((client) => objectOf(client))
  const limit = { kind: "bucket", name: "burst", burst: 10, rate: { count: 1, periodMs: 86_400_000 } } as const
  const counts = await Promise.all(
    objects.map(async (object) => {
      const decisions = await Promise.all(
        Array.from({ length: 15 }, () =>
          object.admit({ limits: [limit], cost: 1, guards: [], admissionId: crypto.randomUUID() }),
        ),
      )
      return decisions.filter(({ admission }) => admission.admitted).length
    }),
  )
  expect(new Set(counts)).toEqual(new Set([10]))
})

test("an answer of the origin is never asked for twice, however often the object has to be", async () => {
  const gateway = createGuarded({ guard: { in_flight: "reserve" } })
  breakCalls("admit", [1], "aborts after it")
  breakCalls("record", [1], "aborts before it")
  expect((await gateway.fetch(answering(401))).status).toBe(401)
  expect(await gateway.originRequests()).toHaveLength(1)
})

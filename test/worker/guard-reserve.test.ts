/**
 * Goal: a guard that reserves places never lets more requests reach the origin at once than failures are left, and every
 * place comes back, whatever becomes of its request. Method: the whole pipeline with the real object, an origin that waits
 * for the test, and a clock that the test moves.
 */
import fc from "fast-check"
import { afterEach, beforeEach, expect, test, vi } from "vitest"
import { ClientGate } from "../../durable-objects/client-gate.ts"
import { answering, createGuarded, fail, objectOf, replaceQueue, reportOf, type GuardedParts } from "./guarded.ts"
import { ask, fixtures, type TestGateway } from "./harness.ts"
import { runInDurableObject } from "cloudflare:test"

const WAITING = answering(401, { wait: "1" })

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"] })
  replaceQueue()
})
afterEach(() => {
  vi.useRealTimers()
})

function createReserving({ guard, ...parts }: GuardedParts = {}): TestGateway {
  return createGuarded({ guard: { in_flight: "reserve", max_failures: 3, ...guard }, ...parts })
}

/** Returns how many places are taken. */
function places(gateway: TestGateway): Promise<number> {
  return runInDurableObject(objectOf(gateway), (_, { storage }) => {
    const [row] = storage.sql.exec<{ state: string }>("SELECT state FROM gate").toArray()
    const { guards } = JSON.parse(row?.state ?? '{"guards":{}}') as {
      guards: Readonly<Record<string, { state: { pending: readonly unknown[] } }>>
    }
    return guards["login"]?.state.pending.length ?? 0
  })
}

async function untilAtOrigin(gateway: TestGateway, count: number): Promise<void> {
  await vi.waitUntil(async () => (await gateway.originRequests()).length === count)
}

test("of 20 guesses at once only as many reach the origin as failures are left", async () => {
  const gateway = createReserving()
  await fail(gateway, 1)
  const guesses = Array.from({ length: 20 }, () => gateway.fetch(WAITING))
  await untilAtOrigin(gateway, 3)
  await vi.waitUntil(async () => (await reportOf(gateway)).stopped["client-blocked"] !== undefined)
  await ask(`release/${gateway.name}`)
  const statuses = (await Promise.all(guesses)).map(({ status }) => status)
  expect([statuses.filter((status) => status === 401).length, (await gateway.originRequests()).length]).toEqual([2, 3])
  expect((await gateway.send()).event.reason).toBe("guard_open")
})

test("a refusal for want of a place says so in the event, and to the caller no time", async () => {
  const gateway = createReserving({ guard: { max_failures: 1 } })
  const guess = gateway.fetch(WAITING)
  await untilAtOrigin(gateway, 1)
  const { response, event } = await gateway.send()
  expect([response.status, response.headers.has("retry-after")]).toEqual([429, false])
  expect(event).toMatchObject({ problem: "client-blocked", reason: "guard_inflight", guard: "login" })
  expect(event.guard_retry_after_ms).toBeUndefined()
  await ask(`release/${gateway.name}`)
  await guess
})

test.each([
  ["a success", answering(200), 200],
  ["an answer that says nothing", answering(404), 404],
  ["a broken origin", answering(503), 503],
])("a place is given back before the answer leaves, after %s", async (_, parts, status) => {
  const gateway = createReserving({ guard: { max_failures: 1 } })
  expect([(await gateway.open(parts)).status, await places(gateway)]).toEqual([status, 0])
  expect((await gateway.open(parts)).status).toBe(status)
})

test("a place is given back when the origin is down", async () => {
  const gateway = createReserving({
    guard: { max_failures: 1 },
    overrides: { ORIGINS: { stub: { url: `http://127.0.0.1:${fixtures.closedPort}` } } },
  })
  expect([(await gateway.fetch()).status, await places(gateway), (await gateway.fetch()).status]).toEqual([502, 0, 502])
})

test("a place is given back when the origin is silent until the deadline", async () => {
  const gateway = createReserving({
    guard: { max_failures: 1 },
    overrides: (name) => ({
      ORIGINS: { stub: { url: `http://127.0.0.1:${fixtures.originPort}/${name}`, timeout: "10ms" } },
    }),
  })
  expect([(await gateway.fetch(WAITING)).status, await places(gateway)]).toEqual([504, 0])
})

test("a place is given back when the caller leaves before the answer", async () => {
  const gateway = createReserving({ guard: { max_failures: 1 } })
  const leaver = new AbortController()
  const pending = gateway.fetch({ ...WAITING, signal: leaver.signal })
  await untilAtOrigin(gateway, 1)
  leaver.abort()
  expect([(await pending).status, await places(gateway)]).toEqual([499, 0])
})

test("a place is given back when a limit refuses the request, and no guess is counted", async () => {
  const gateway = createReserving({
    guard: { max_failures: 1 },
    overrides: { LIMITS: { generous: { rate: "1/d", burst: 1 } } },
  })
  expect([(await gateway.fetch(answering(200))).status, (await gateway.fetch()).status]).toEqual([200, 429])
  expect([await places(gateway), (await reportOf(gateway)).guards.map(({ failures }) => failures)]).toEqual([0, [0]])
})

test("a place of one guard is given back when the next guard refuses", async () => {
  const gateway = createReserving({
    overrides: (name) => ({
      GUARDS: {
        login: {
          max_failures: 1,
          failure_duration: "60s",
          in_flight: "reserve",
          backoff: { kind: "lineal", duration: "1m" },
        },
        account: {
          max_failures: 1,
          failure_duration: "60s",
          in_flight: "reserve",
          key: "header:x-account",
          failure_statuses: [404],
          backoff: { kind: "lineal", duration: "1m" },
        },
      },
      ROUTES: [{ prefix: "/public", origin: "stub", limits: "generous", guard: ["login", "account"] }],
      LIMITS: { generous: { rate: "1000/s", burst: 1_000 } },
      GATEWAY: { hosts: ["gw.test"], log_flush: "10ms", via: name },
    }),
  })
  const headers = { "X-Account": gateway.name }
  await gateway.fetch({ ...answering(404), headers })
  expect((await gateway.send({ headers })).event.guard).toBe("account")
  expect(await places(gateway)).toBe(0)
  expect((await gateway.fetch({ headers: { "X-Account": `${gateway.name}-other` } })).status).toBe(200)
})

test("a place that nobody gives back is free after pending_ttl, and not a moment sooner", async () => {
  const gateway = createReserving({ guard: { max_failures: 1, pending_ttl: "10s" } })
  const lost = vi.spyOn(ClientGate.prototype, "record").mockImplementation(() => {
    throw new Error("lost")
  })
  await gateway.fetch(answering(200))
  lost.mockRestore()
  vi.setSystemTime(Date.now() + 9_999)
  expect((await gateway.send()).event.reason).toBe("guard_inflight")
  vi.setSystemTime(Date.now() + 1)
  expect((await gateway.fetch()).status).toBe(200)
})

test("an object that is reset once while it takes a place takes one place", async () => {
  const gateway = createReserving({ guard: { max_failures: 1 } })
  const { admit } = ClientGate.prototype
  let calls = 0
  vi.spyOn(ClientGate.prototype, "admit").mockImplementation(function (this: ClientGate, request) {
    const answer = admit.call(this, request)
    calls += 1
    if (calls === 1) (this as unknown as { readonly ctx: DurableObjectState }).ctx.abort()
    return answer
  })
  expect([(await gateway.fetch(answering(200))).status, calls, await places(gateway)]).toEqual([200, 2, 0])
})

test("never more requests are at the origin than failures are left, in any order of beginnings and ends", async () => {
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.constant("begin" as const) },
    { weight: 1, arbitrary: fc.constantFrom(200, 401, 404) },
  )
  let most = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 20 }), async (steps) => {
      const gateway = createReserving()
      const ends: ((status: number) => void)[] = []
      // The origin is replaced: here it has to answer one chosen request, and only their number matters.
      const origin = vi.spyOn(globalThis, "fetch").mockImplementation(async () => {
        const status = await new Promise<number>((resolve) => ends.push(resolve))
        return new Response(null, { status })
      })
      const pending: Promise<Response>[] = []
      let failures = 0
      for (const each of steps) {
        if (each === "begin") {
          const before = ends.length
          const request = gateway.fetch()
          pending.push(request)
          await Promise.race([request, vi.waitUntil(() => ends.length > before, { interval: 1 })])
        } else {
          const end = ends.shift()
          if (end === undefined) continue
          if (each === 401) failures += 1
          end(each)
          await vi.waitUntil(async () => (await places(gateway)) === (failures < 3 ? ends.length : 0), { interval: 1 })
        }
        most = Math.max(most, ends.length)
        if (failures < 3) expect(ends.length + failures).toBeLessThanOrEqual(3)
        else expect(ends).toEqual([])
      }
      for (const end of ends) end(200)
      await Promise.all(pending)
      origin.mockRestore()
    }),
    { seed: 20261128, numRuns: 6 },
  )
  expect(most).toBe(3)
})

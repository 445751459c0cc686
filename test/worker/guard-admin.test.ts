/**
 * Goal: what an administrator does to a guard reaches gateways that run, within the time that it promises; and how a client
 * stands can be read without changing it. Method: the object's methods beside the whole pipeline; a clock that the test
 * moves.
 */
import { runInDurableObject } from "cloudflare:test"
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import type { GuardDemand } from "../../src/core/gate/gate-guards.ts"
import { demandOf } from "../../src/core/gate/gate-plan.ts"
import {
  answering,
  createGuarded,
  fail,
  guardRecords,
  objectOf,
  replaceQueue,
  reportOf,
  statusesOf,
} from "./guarded.ts"
import { ask, type TestGateway } from "./harness.ts"

const MODES = [
  ["optimistic", {}],
  ["reserve", { in_flight: "reserve" }],
] as const

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"] })
  vi.spyOn(Math, "random").mockReturnValue(0)
  replaceQueue()
})
afterEach(() => {
  vi.useRealTimers()
})

/** Returns the gateway's guard as its object knows it. */
function loginOf(gateway: TestGateway): GuardDemand {
  const guard = gateway.config.routes.flatMap(({ guards }) => guards)[0]
  if (guard === undefined) throw new Error("No guard configured")
  return demandOf(guard)
}

describe.each(MODES)("an administrator's %s guard", (_, guard) => {
  test.each([
    ["unblock", 2],
    ["reset", 1],
  ] as const)("is closed by %s within five seconds, and its next block is number %i", async (action, attempt) => {
    const gateway = createGuarded({ guard })
    await fail(gateway, 6)
    expect(await objectOf(gateway).administer(loginOf(gateway), { action })).toBe(true)
    vi.setSystemTime(Date.now() + 5_000)
    expect(await fail(gateway, 6)).toEqual([401, 401, 401, 401, 401, 429])
    expect((await reportOf(gateway)).guards).toMatchObject([{ attempt, openedTotal: 2 }])
  })

  test("is opened by block within the life of a lease, and for as long as that says", async () => {
    const gateway = createGuarded({ guard })
    await Promise.all(Array.from({ length: 30 }, () => gateway.fetch()))
    await objectOf(gateway).administer(loginOf(gateway), { action: "block", durationMs: 60_000 })
    vi.setSystemTime(Date.now() + 1_000)
    const { response, event } = await gateway.send()
    expect([response.status, response.headers.get("retry-after"), event.reason]).toEqual([429, "59", "guard_open"])
    vi.setSystemTime(Date.now() + 59_000)
    expect((await gateway.fetch()).status).toBe(200)
  })

  test("is reported when it is opened and closed, once each", async () => {
    const gateway = createGuarded({ guard })
    const administer = async (action: Parameters<ReturnType<typeof objectOf>["administer"]>[1]) =>
      objectOf(gateway).administer(loginOf(gateway), action)
    await administer({ action: "block", durationMs: 60_000 })
    await administer({ action: "block", durationMs: 90_000 })
    await administer({ action: "unblock" })
    await administer({ action: "unblock" })
    expect(guardRecords().map(({ event, reason, attempt }) => [event, reason, attempt])).toEqual([
      ["guard.opened", "admin", 0],
      ["guard.closed", "unblock", 0],
    ])
  })

  test("takes no action that is out of range", async () => {
    const gateway = createGuarded({ guard })
    const object = objectOf(gateway)
    expect(await object.administer(loginOf(gateway), { action: "block", durationMs: 0 })).toBe(false)
    expect(await object.administer(loginOf(gateway), { action: "nothing" } as never)).toBe(false)
    expect((await reportOf(gateway)).guards).toEqual([])
  })
})

test("a block is refused from memory for at most five seconds", async () => {
  const gateway = createGuarded()
  await fail(gateway, 6)
  await objectOf(gateway).administer(loginOf(gateway), { action: "unblock" })
  vi.setSystemTime(Date.now() + 4_999)
  const { response, event } = await gateway.send()
  expect([response.status, event.gate, event.guard_retry_after_ms]).toEqual([429, "local", 295_001])
  vi.setSystemTime(Date.now() + 1)
  expect((await gateway.send()).response.status).toBe(200)
})

test("an outcome of before an administrator's action counts no more", async () => {
  const gateway = createGuarded({ guard: { max_failures: 1 } })
  const guess = gateway.fetch(answering(401, { wait: "1" }))
  await vi.waitUntil(async () => (await gateway.originRequests()).length === 1)
  await objectOf(gateway).administer(loginOf(gateway), { action: "reset" })
  await ask(`release/${gateway.name}`)
  expect([(await guess).status, (await gateway.fetch()).status]).toEqual([401, 200])
})

describe("inspect()", () => {
  test("returns how limits, leases and guards stand, and what was stopped", async () => {
    const gateway = createGuarded({
      overrides: {
        LIMITS: {
          generous: { rate: "10/s", burst: 20 },
          used: { quota: "5/day", timezone: "UTC" },
          slots: { concurrent: 2 },
        },
        ROUTES: [
          { prefix: "/public", origin: "stub", limits: "generous", guard: "login" },
          { prefix: "/admin", origin: "stub", limits: ["used", "slots"] },
        ],
      },
    })
    const nowMs = Date.now()
    await statusesOf(gateway, [{ method: "HEAD", target: "/admin/x" }, answering(200)])
    await fail(gateway, 6)
    const report = await reportOf(gateway)
    expect(report).toEqual({
      buckets: [
        { name: "generous", burst: 20, remaining: expect.any(Number) as number, lent: expect.any(Number) as number },
      ],
      quotas: [{ name: "used-day", used: 1, endsMs: (Math.floor(nowMs / 86_400_000) + 1) * 86_400_000 }],
      concurrency: [{ name: "slots-concurrent", inUse: 0 }],
      holders: [
        { boot: expect.stringMatching(/^[0-9a-f]{32}$/) as string, calls: 7, lent: expect.any(Number) as number },
      ],
      guards: [
        {
          name: "login",
          isOpen: true,
          blockedUntilMs: nowMs + 300_000,
          failures: 0,
          attempt: 1,
          openedTotal: 1,
        },
      ],
      stopped: { "client-blocked": { count: 1, firstMs: nowMs, lastMs: nowMs } },
      stoppedDays: [{ day: new Date(nowMs).toISOString().slice(0, 10), counts: { "client-blocked": 1 } }],
    })
  })

  test("returns an empty report of a client that was never seen", async () => {
    expect(await reportOf(createGuarded())).toEqual({
      buckets: [],
      quotas: [],
      concurrency: [],
      holders: [],
      guards: [],
      stopped: {},
      stoppedDays: [],
    })
  })

  test("tells of a block that is over without writing or reporting it", async () => {
    const gateway = createGuarded()
    await fail(gateway, 5)
    vi.setSystemTime(Date.now() + 300_000)
    const rows = () =>
      runInDurableObject(objectOf(gateway), (_, { storage }) => storage.sql.exec("SELECT state FROM gate").toArray())
    const before = await rows()
    expect((await reportOf(gateway)).guards).toMatchObject([{ isOpen: false, blockedUntilMs: null, attempt: 1 }])
    expect([await rows(), guardRecords().length]).toEqual([before, 1])
  })
})

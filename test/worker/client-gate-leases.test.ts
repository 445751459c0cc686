/**
 * Goal: a busy client costs its object few calls, is never given more than its limit over all gateways that share the
 * object, and an object that does not answer costs the calls and the waits that it has to and no more. Method: several
 * gateways (each is what one isolate has), the real object or a stub that fails as the test says, a clock that it moves.
 */
import { env } from "cloudflare:workers"
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { ClientGate } from "../../durable-objects/client-gate.ts"
import {
  CLIENT_GATE_TIMEOUT_MS,
  LEASE_CALL_TIMEOUT_MS,
  OVERLOAD_DENY_MS,
  TOKEN_LEASE_TTL_MS,
} from "../../src/core/bounds.ts"
import { createGuarded, fail, GUARD, replaceQueue } from "./guarded.ts"
import { createGateway, eventOf, type TestGateway } from "./harness.ts"

const FAST = { rate: "5000/s", burst: 5_000 }

beforeEach(() => {
  // The origin is not what is looked at, and a real one would be most of the time.
  vi.spyOn(globalThis, "fetch").mockImplementation(() => Promise.resolve(new Response("ok")))
  replaceQueue()
})
afterEach(() => {
  vi.useRealTimers()
})

function lent(limit: Readonly<Record<string, unknown>>, more: Readonly<Record<string, unknown>> = {}) {
  return { LIMITS: { generous: limit }, ...more }
}

/** Returns gateways that know the same client, as many isolates do. */
function createIsolates(count: number, limit: Readonly<Record<string, unknown>>): readonly TestGateway[] {
  const CLIENTS = [
    { id: crypto.randomUUID().slice(0, 8), certificates: [{ issuer: "ca-a", san_uri: "spiffe://acme/acme-a" }] },
  ]
  return Array.from({ length: count }, () => createGateway(lent(limit, { CLIENTS })))
}

async function admitted(requests: readonly Promise<Response>[]): Promise<number> {
  return (await Promise.all(requests)).filter(({ status }) => status === 200).length
}

describe("calls of the object", () => {
  test("are few for a busy client, most of whose requests are decided here", async () => {
    vi.useFakeTimers({ toFake: ["Date"] })
    const gateway = createGateway(lent(FAST))
    const lend = vi.spyOn(ClientGate.prototype, "lend")
    const gates: (string | undefined)[] = []
    const calls: number[] = []
    for (let i = 0; i < 600; i++) {
      const { response, event } = await gateway.send()
      expect(response.status).toBe(200)
      gates.push(event.gate)
      vi.setSystemTime(Date.now() + 2)
      if (i % 300 === 299) calls.push(lend.mock.calls.length)
    }
    // The first ones find out how busy it is.
    expect(calls[0]).toBeLessThanOrEqual(20)
    expect((calls[1] ?? 0) - (calls[0] ?? 0)).toBeLessThanOrEqual(5)
    expect(gates.filter((gate) => gate === "local").length).toBeGreaterThanOrEqual(590)
  })

  test("are one for all who wait at once", async () => {
    const gateway = createGateway(lent(FAST))
    const lend = vi.spyOn(ClientGate.prototype, "lend")
    expect(await admitted(Array.from({ length: 100 }, () => gateway.fetch()))).toBe(100)
    expect(lend.mock.calls.length).toBeLessThanOrEqual(3)
  })

  test("do not grow with the refusals of a client over its limit", async () => {
    vi.useFakeTimers({ toFake: ["Date"] })
    const gateway = createGateway(lent({ rate: "1/d", burst: 10 }))
    expect(await admitted(Array.from({ length: 20 }, () => gateway.fetch()))).toBe(10)
    const lend = vi.spyOn(ClientGate.prototype, "lend")
    expect(await admitted(Array.from({ length: 200 }, () => gateway.fetch()))).toBe(0)
    expect(lend.mock.calls.length).toBeLessThanOrEqual(1)
  })

  test.each([
    ["optimistic", "lend"],
    ["reserve", "admit"],
  ] as const)("LIM-11 do not grow with the refusals of a blocked client (%s)", async (mode, method) => {
    vi.useFakeTimers({ toFake: ["Date"] })
    vi.mocked(globalThis.fetch).mockImplementation(() => Promise.resolve(new Response(null, { status: 401 })))
    const gateway = createGuarded({ guard: { in_flight: mode } })
    await fail(gateway, 6)
    const asked = vi.spyOn(ClientGate.prototype, method)
    for (let tick = 0; tick < 40; tick++) {
      await Promise.all(Array.from({ length: 20 }, () => gateway.open()))
      vi.setSystemTime(Date.now() + 250)
    }
    expect(asked.mock.calls.length).toBeLessThanOrEqual(2)
    const { response, event } = await gateway.send()
    expect([response.status, event.problem]).toEqual([429, "client-blocked"])
  })
})

test("a guard that is called like a limit has no lease in common with it", async () => {
  const gateway = createGateway({
    LIMITS: { generous: FAST, guarded: FAST },
    GUARDS: { guarded: { ...GUARD, max_failures: 1 } },
    ROUTES: [
      { path: "/guarded", origin: "stub", limits: "generous", guard: "guarded" },
      { path: "/limited", origin: "stub", limits: ["generous", "guarded"] },
    ],
  })
  await gateway.fetch({ target: "/limited" })
  await gateway.fetch({ target: "/limited" })
  vi.spyOn(globalThis, "fetch").mockImplementation(() => Promise.resolve(new Response(null, { status: 401 })))
  expect((await gateway.fetch({ target: "/guarded" })).status).toBe(401)
  expect((await gateway.fetch({ target: "/guarded" })).status).toBe(429)
})

describe("several isolates with one client", () => {
  test("LIM-02 never admit more than the burst at once, whoever holds tokens", async () => {
    vi.useFakeTimers({ toFake: ["Date"] })
    const isolates = createIsolates(4, { rate: "1/d", burst: 100 })
    const first = await admitted(isolates.map((isolate) => isolate.fetch()))
    const rest = await admitted(isolates.flatMap((isolate) => Array.from({ length: 60 }, () => isolate.fetch())))
    expect(first + rest).toBeLessThanOrEqual(100)
    // Nothing is lost for good either: what was lent and not spent is there for the isolate that has it.
    expect(first + rest).toBeGreaterThanOrEqual(50)
  })

  test("LIM-02 never admit more than burst + rate * time, under load and in real time", async () => {
    const isolates = createIsolates(3, { rate: "200/s", burst: 100 })
    const startMs = Date.now()
    let count = 0
    while (Date.now() - startMs < 700) {
      count += await admitted(isolates.flatMap((isolate) => Array.from({ length: 15 }, () => isolate.fetch())))
      expect(count).toBeLessThanOrEqual(100 + (200 * (Date.now() - startMs + 1)) / 1_000)
    }
    expect(count).toBeGreaterThan(100)
  })

  test("cannot save up tokens: a client that spreads, waits and fires gets no more than its burst", async () => {
    vi.useFakeTimers({ toFake: ["Date"] })
    const isolates = createIsolates(8, { rate: "100/s", burst: 100 })
    for (let round = 0; round < 8; round++) {
      await admitted(isolates.map((isolate) => isolate.fetch()))
      vi.setSystemTime(Date.now() + 100)
    }
    vi.setSystemTime(Date.now() + TOKEN_LEASE_TTL_MS - 100)
    const fired = isolates.flatMap((isolate) => Array.from({ length: 40 }, () => isolate.fetch()))
    expect(await admitted(fired)).toBeLessThanOrEqual(100)
  })

  test("share what is lent with requests that are asked for one by one, and no refill is counted twice", async () => {
    vi.useFakeTimers({ toFake: ["Date"] })
    const gateway = createGuarded({
      guard: { in_flight: "reserve", max_failures: 1_000 },
      overrides: {
        LIMITS: { generous: { rate: "100/s", burst: 100 } },
        ROUTES: [
          { prefix: "/lent", origin: "stub", limits: "generous" },
          { prefix: "/asked", origin: "stub", limits: "generous", guard: "login" },
        ],
      },
    })
    const fire = (target: string, count: number) =>
      admitted(Array.from({ length: count }, () => gateway.fetch({ target })))
    await fire("/lent/x", 60)
    await fire("/lent/x", 1)
    vi.setSystemTime(Date.now() + TOKEN_LEASE_TTL_MS - 50)
    // The bucket has refilled meanwhile, but not up to what the isolate still holds.
    await fire("/asked/x", 1)
    vi.setSystemTime(Date.now() + 1)
    const asked = await fire("/asked/x", 150)
    const lentAndSpent = await fire("/lent/x", 150)
    expect(asked + lentAndSpent).toBeLessThanOrEqual(100)
    expect([asked > 0, lentAndSpent > 0]).toEqual([true, true])
  })

  test("hold to a lowered limit one lease life after the first of them knows it", async () => {
    vi.useFakeTimers({ toFake: ["Date"] })
    const [before] = createIsolates(1, { rate: "1000/s", burst: 1_000 })
    const clients = before?.config.clients.map(({ id }) => id) ?? []
    await admitted(Array.from({ length: 50 }, () => before?.fetch() ?? Promise.reject(new Error("no gateway"))))
    const after = createGateway(
      lent(
        { rate: "1/d", burst: 10 },
        { CLIENTS: [{ id: clients[0], certificates: [{ issuer: "ca-a", san_uri: "spiffe://acme/acme-a" }] }] },
      ),
    )
    await after.fetch()
    vi.setSystemTime(Date.now() + TOKEN_LEASE_TTL_MS + 100)
    expect(await admitted(Array.from({ length: 50 }, () => after.fetch()))).toBeLessThanOrEqual(10)
  })
})

describe("an object that is overloaded", () => {
  /** An object that answers until `isOverloaded`, then rejects as the platform does. */
  function createScene() {
    vi.useFakeTimers({ toFake: ["Date"] })
    const state = { isOverloaded: false, calls: [] as string[] }
    const { getByName } = env.CLIENT_GATE
    const namespace = {
      getByName: (name: string) => {
        const stub = getByName.call(env.CLIENT_GATE, name)
        const lend: ClientGate["lend"] = (...question) => {
          state.calls.push(name)
          const error = Object.assign(new Error("overloaded"), { overloaded: true, retryable: true })
          return (
            state.isOverloaded && name.startsWith("acme-a") ? Promise.reject(error) : stub.lend(...question)
          ) as never
        }
        return { lend, reportStopped: () => Promise.resolve() }
      },
    }
    const CLIENT_GATE = namespace as unknown as Env["CLIENT_GATE"]
    return { state, gateway: createGateway(lent(FAST), { bindings: { CLIENT_GATE } }) }
  }

  test("LIM-08 is not called for a second, while other clients go on", async () => {
    const { state, gateway } = createScene()
    state.isOverloaded = true
    expect((await gateway.send()).event.reason).toBe("object_overloaded")
    const calls = state.calls.length
    for (let i = 0; i < 50; i++) await gateway.open()
    vi.setSystemTime(Date.now() + OVERLOAD_DENY_MS - 1)
    const { response, event } = await gateway.send()
    expect([response.status, event.reason, response.headers.get("retry-after")]).toEqual([
      503,
      "object_overloaded",
      "1",
    ])
    expect([calls, state.calls.length]).toEqual([1, 1])
    expect((await gateway.fetch({ cert: "acme-b" })).status).toBe(200)
    state.isOverloaded = false
    vi.setSystemTime(Date.now() + 1)
    expect((await gateway.fetch()).status).toBe(200)
  })

  test("leaves the tokens at hand to be spent, and then nobody is admitted", async () => {
    const { state, gateway } = createScene()
    await Promise.all(Array.from({ length: 100 }, () => gateway.fetch()))
    await gateway.fetch()
    state.isOverloaded = true
    const statuses: number[] = []
    for (let i = 0; i < 400; i++) statuses.push((await gateway.open()).status)
    const spent = statuses.indexOf(503)
    expect(spent).toBeGreaterThan(0)
    expect(new Set(statuses.slice(0, spent))).toEqual(new Set([200]))
    expect(new Set(statuses.slice(spent))).toEqual(new Set([503]))
  })

  test("does not give tokens a longer life", async () => {
    const { state, gateway } = createScene()
    await Promise.all(Array.from({ length: 100 }, () => gateway.fetch()))
    await gateway.fetch()
    state.isOverloaded = true
    expect((await gateway.fetch()).status).toBe(200)
    vi.setSystemTime(Date.now() + TOKEN_LEASE_TTL_MS)
    expect((await gateway.fetch()).status).toBe(503)
  })
})

describe("a call that nobody answers", () => {
  test("is repeated once, and then all who wait are refused", async () => {
    vi.useFakeTimers({ toFake: ["Date", "setTimeout", "clearTimeout"] })
    const lend = vi.fn(() => new Promise<never>(() => {}))
    const gateway = createGateway(lent(FAST), { bindings: stubOf(lend) })
    const waiting = Array.from({ length: 30 }, () => gateway.fetch())
    await vi.advanceTimersByTimeAsync(LEASE_CALL_TIMEOUT_MS)
    await vi.advanceTimersByTimeAsync(LEASE_CALL_TIMEOUT_MS)
    const responses = await Promise.all(waiting)
    expect(new Set(responses.map(({ status }) => status))).toEqual(new Set([503]))
    expect(new Set(responses.map((response) => eventOf(response).reason))).toEqual(new Set(["object_timeout"]))
    expect(lend).toHaveBeenCalledTimes(2)
  })

  test("and whose request has vanished with it holds nobody up for longer than a wait", async () => {
    vi.useFakeTimers({ toFake: ["Date", "setTimeout", "clearTimeout"] })
    const { getByName } = env.CLIENT_GATE
    let isVanished = true
    const lend = vi.fn()
    const stub = (name: string) => ({
      lend: (...question: Parameters<ClientGate["lend"]>) => {
        lend()
        return getByName.call(env.CLIENT_GATE, name).lend(...question)
      },
      reportStopped: () => Promise.resolve(),
    })
    const CLIENT_GATE = {
      getByName: (name: string) => {
        // The call of a request that has ended goes on nowhere: neither an answer nor its deadline ever comes.
        if (isVanished) vi.spyOn(globalThis, "setTimeout").mockImplementationOnce(() => 0)
        return isVanished ? { lend: () => new Promise<never>(() => {}) } : stub(name)
      },
    } as unknown as Env["CLIENT_GATE"]
    const gateway = createGateway(lent(FAST), { bindings: { CLIENT_GATE } })
    void gateway.open()
    await vi.advanceTimersByTimeAsync(1)
    isVanished = false
    const follower = gateway.open()
    await vi.advanceTimersByTimeAsync(CLIENT_GATE_TIMEOUT_MS)
    expect((await follower).status).toBe(503)
    expect([(await gateway.open()).status, lend.mock.calls.length]).toEqual([200, 1])
  })
})

/** A namespace whose every stub lends like this. */
function stubOf(lend: () => Promise<never>): Partial<Env> {
  const stub = { lend, reportStopped: () => Promise.resolve() }
  return { CLIENT_GATE: { getByName: () => stub } as unknown as Env["CLIENT_GATE"] }
}

/**
 * Goal: whoever fails too often is blocked, exactly when the guard says so and for as long, whatever he does meanwhile; and
 * nobody else is. Method: the whole pipeline with the real object, an origin that answers as each request asks, and a clock
 * and jitter that the test moves. What a guard decides is `test/core/guard.test.ts`; guards that reserve are
 * `guard-reserve.test.ts`, guards of other keys `guard-keys.test.ts`.
 */
import { abortAllDurableObjects, evictDurableObject } from "cloudflare:test"
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { ClientGate } from "../../durable-objects/client-gate.ts"
import {
  answering,
  createGuarded,
  fail,
  GUARD,
  guardRecords,
  objectOf,
  replaceQueue,
  reportOf,
  statusesOf,
} from "./guarded.ts"
import { createGateway, eventOf, type RequestParts } from "./harness.ts"

const MODES = [
  ["optimistic", {}],
  ["reserve", { in_flight: "reserve" }],
] as const
const MINUTE_MS = 60_000

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"] })
  replaceQueue()
})
afterEach(() => {
  vi.useRealTimers()
})

function passTime(ms: number): void {
  vi.setSystemTime(Date.now() + ms)
}

describe.each(MODES)("a guard in %s mode", (_, guard) => {
  test("GRD-01 lets a success pass after four failures, and nothing after the fifth", async () => {
    const gateway = createGuarded({ guard })
    expect(await fail(gateway, 4)).toEqual([401, 401, 401, 401])
    expect(await statusesOf(gateway, [answering(200), answering(401), answering(200)])).toEqual([200, 401, 429])
    expect(await gateway.originRequests()).toHaveLength(6)
  })

  test.each([
    ["least", 0, "300", 300_000],
    ["most", 0.999_999, "360", 360_000],
  ])("GRD-01 blocks for the minimum and the %s jitter, to the ms", async (_label, random, retryAfter, blockMs) => {
    vi.spyOn(Math, "random").mockReturnValue(random)
    const gateway = createGuarded({ guard })
    await fail(gateway, 5)
    const { response, event } = await gateway.send()
    expect(response.headers.get("retry-after")).toBe(retryAfter)
    expect(event).toMatchObject({ guard: "login", guard_retry_after_ms: blockMs })
    passTime(blockMs - 1)
    expect((await gateway.fetch()).status).toBe(429)
    passTime(1)
    expect((await gateway.fetch()).status).toBe(200)
  })

  test("GRD-02 counts 50 parallel failures", async () => {
    const gateway = createGuarded({ guard })
    const responses = await Promise.all(Array.from({ length: 50 }, () => gateway.fetch(answering(401))))
    expect(responses.filter(({ status }) => status === 401).length).toBeGreaterThanOrEqual(5)
    expect((await gateway.fetch()).status).toBe(429)
    expect(await reportOf(gateway)).toMatchObject({ guards: [{ isOpen: true, openedTotal: 1 }] })
    expect(guardRecords()).toHaveLength(1)
  })

  test("GRD-03 is not reset by a success in between where successes are ignored", async () => {
    const gateway = createGuarded({ guard })
    const rounds = Array.from({ length: 20 }, () => [401, 401, 401, 401, 200]).flat()
    const statuses = await statusesOf(
      gateway,
      rounds.map((status) => answering(status)),
    )
    expect(statuses).toEqual([401, 401, 401, 401, 200, 401, ...Array.from({ length: 94 }, () => 429)])
  })

  test("forgets failures at a success where successes count", async () => {
    const gateway = createGuarded({ guard: { ...guard, success_policy: "reset" } })
    const rounds = Array.from({ length: 5 }, () => [401, 401, 401, 401, 200]).flat()
    for (const status of rounds) {
      expect((await gateway.fetch(answering(status))).status).toBe(status)
      passTime(1)
    }
  })

  test("forgets a failure when its time is over", async () => {
    const gateway = createGuarded({ guard })
    await fail(gateway, 1)
    passTime(MINUTE_MS - 1)
    await fail(gateway, 3)
    passTime(1)
    expect(await statusesOf(gateway, [answering(401), answering(200), answering(401), answering(200)])).toEqual([
      401, 200, 401, 429,
    ])
  })

  test("GRD-04 blocks the client and not its address", async () => {
    const gateway = createGuarded({ guard })
    const from = (octet: number): RequestParts => ({ headers: { "CF-Connecting-IP": `198.51.100.${octet}` } })
    for (let octet = 1; octet <= 5; octet++) await fail(gateway, 1, from(octet))
    expect((await gateway.fetch(from(6))).status).toBe(429)
    expect((await gateway.fetch({ cert: "acme-b", ...from(1) })).status).toBe(200)
  })

  test("GRD-06 blocks twice as long each time, up to the maximum", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0)
    const gateway = createGuarded({ guard })
    const blocks: (number | undefined)[] = []
    for (let round = 0; round < 6; round++) {
      await fail(gateway, 5)
      const { event } = await gateway.send()
      blocks.push(event.guard_retry_after_ms)
      passTime(event.guard_retry_after_ms ?? 0)
    }
    expect(blocks.map((ms) => (ms ?? 0) / MINUTE_MS)).toEqual([5, 10, 20, 40, 60, 60])
  })

  test("GRD-06 begins with the minimum again after an hour without a block", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0)
    const gateway = createGuarded({ guard })
    await fail(gateway, 5)
    passTime(5 * MINUTE_MS + 60 * MINUTE_MS)
    await fail(gateway, 5)
    expect((await gateway.send()).event.guard_retry_after_ms).toBe(5 * MINUTE_MS)
  })

  test.each<readonly [string, (gateway: ReturnType<typeof createGuarded>) => Promise<void>]>([
    ["an eviction", (gateway) => evictDurableObject(objectOf(gateway))],
    ["an abort", () => abortAllDurableObjects()],
  ])("GRD-07 blocks through %s of the object", async (_label, lose) => {
    const gateway = createGuarded({ guard })
    await fail(gateway, 5)
    await lose(gateway)
    expect((await gateway.fetch()).status).toBe(429)
  })

  test("GRD-07 blocks also at a gateway of a later version", async () => {
    const clients = [
      { id: crypto.randomUUID().slice(0, 8), certificates: [{ issuer: "ca-a", san_uri: "spiffe://acme/acme-a" }] },
    ]
    await fail(createGuarded({ guard, overrides: { CLIENTS: clients } }), 5)
    const later = createGuarded({ guard: { ...guard, max_failures: 100 }, overrides: { CLIENTS: clients } })
    expect((await later.fetch()).status).toBe(429)
  })

  test("GRD-08 another client's failures in the victim's name block nobody but himself", async () => {
    const gateway = createGuarded({ guard })
    const victim = gateway.clientId("acme-a")
    const headers = { "X-Client-Id": victim, "X-Request-Id": victim, Authorization: `Bearer sub=${victim}` }
    expect(await fail(gateway, 6, { cert: "acme-b", headers })).toEqual([401, 401, 401, 401, 401, 429])
    expect((await gateway.fetch()).status).toBe(200)
    expect((await reportOf(gateway)).guards.filter(({ isOpen }) => isOpen)).toEqual([])
  })
})

test("GRD-01 an opening is one warning on the console, naming guard and client", async () => {
  vi.spyOn(Math, "random").mockReturnValue(0)
  const gateway = createGuarded()
  const openedMs = Date.now()
  await fail(gateway, 5)
  await statusesOf(gateway, [answering(200), answering(401)])
  expect(guardRecords()).toEqual([
    {
      timestamp: new Date(openedMs).toISOString(),
      level: "warn",
      event: "guard.opened",
      guard: "login",
      key_kind: "client",
      client_id: gateway.clientId("acme-a"),
      reason: "failures",
      blocked_until: new Date(openedMs + 300_000).toISOString(),
      attempt: 1,
      alert: "guard-opened",
    },
  ])
})

test("a blocked client reads the type of abnormal usage and nothing of the guard", async () => {
  const gateway = createGuarded()
  await fail(gateway, 5)
  const { response, event } = await gateway.send()
  const text = await response.text()
  expect(JSON.parse(text)).toMatchObject({
    type: "https://iana.org/assignments/http-problem-types#abnormal-usage-detected",
    code: "client-blocked",
    status: 429,
  })
  expect(text + JSON.stringify([...response.headers])).not.toContain("login")
  expect(event).toMatchObject({ level: "warn", outcome: "refused", problem: "client-blocked", reason: "guard_open" })
})

test("a route chooses the status of a block", async () => {
  const gateway = createGuarded({ route: { blocked_status: 403 } })
  await fail(gateway, 5)
  const { response, event } = await gateway.send()
  expect([response.status, event.status]).toEqual([403, 403])
  expect(await response.json()).toMatchObject({ code: "client-blocked", status: 403 })
})

test("routes with the same guard share it, whatever their limits", async () => {
  const gateway = createGuarded({
    overrides: {
      LIMITS: { generous: { rate: "1000/s", burst: 1_000 }, other: { rate: "1000/s", burst: 1_000 } },
      ROUTES: [
        { prefix: "/public", origin: "stub", limits: "generous", guard: "login" },
        { prefix: "/admin", origin: "stub", limits: "other", guard: "login" },
        { prefix: "/free", origin: "stub", limits: "other" },
      ],
    },
  })
  // Enough of them that tokens for the other route are at hand when the guard opens.
  await Promise.all(Array.from({ length: 50 }, () => gateway.fetch({ target: "/admin/x" })))
  await statusesOf(gateway, [{ target: "/admin/x" }])
  await fail(gateway, 5)
  expect(
    await statusesOf(
      gateway,
      ["/admin/x", "/free/x"].map((target) => ({ target })),
    ),
  ).toEqual([429, 200])
})

test("of two guards of a route either one blocks", async () => {
  const strict = { ...GUARD, max_failures: 2, failure_statuses: [404], backoff: { kind: "lineal", duration: "10s" } }
  const gateway = createGuarded({
    overrides: { GUARDS: { login: GUARD, strict } },
    route: { guard: ["login", "strict"] },
  })
  await statusesOf(gateway, [answering(404), answering(404)])
  expect((await gateway.send()).event).toMatchObject({ guard: "strict", guard_retry_after_ms: 10_000 })
  passTime(10_000)
  await fail(gateway, 5)
  expect((await gateway.send()).event.guard).toBe("login")
})

describe("an answer counts as", () => {
  test.each([
    ["failure by its status", 401, {}, "failure"],
    ["failure by its status", 403, {}, "failure"],
    ["success by its status", 204, {}, "success"],
    ["nothing by a status that is no failure", 404, {}, undefined],
    ["nothing when the origin is broken", 503, {}, undefined],
    ["failure when the origin says so, whatever the status", 200, { "guard-outcome": "failure" }, "failure"],
    ["success when the origin says so, whatever the status", 401, { "guard-outcome": "Success" }, "success"],
    ["nothing when the origin says so", 401, { "guard-outcome": "neutral" }, undefined],
    ["its status when the origin's word is none", 401, { "guard-outcome": "maybe" }, "failure"],
  ] as const)("%s (%s)", async (_, status, fields, outcome) => {
    const gateway = createGuarded()
    const { response, event } = await gateway.send(answering(status, fields))
    expect([response.status, event.guard_outcome, response.headers.has("guard-outcome")]).toEqual([
      status,
      outcome,
      false,
    ])
    expect((await reportOf(gateway)).guards.map(({ failures }) => failures)).toEqual(outcome === "failure" ? [1] : [])
  })

  test("what the guard's own statuses and its own field say", async () => {
    const gateway = createGuarded({ guard: { failure_statuses: [404], verdict_header: "X-Verdict" } })
    const events = []
    for (const [status, fields] of [
      [404, {}],
      [401, {}],
      [200, { "x-verdict": "failure" }],
      [200, { "guard-outcome": "failure" }],
    ] as const)
      events.push((await gateway.send(answering(status, fields))).event.guard_outcome)
    expect(events).toEqual(["failure", undefined, "failure", "success"])
    const { headers } = await gateway.fetch(answering(200, { "x-verdict": "neutral", "guard-outcome": "kept" }))
    expect([headers.has("x-verdict"), headers.get("guard-outcome")]).toEqual([false, "kept"])
  })

  test("its status where no field is read", async () => {
    const gateway = createGuarded({ guard: { verdict_header: false } })
    expect((await gateway.send(answering(401, { "guard-outcome": "success" }))).event.guard_outcome).toBe("failure")
  })

  test("nothing when a caller sends the field himself", async () => {
    const gateway = createGuarded()
    await fail(gateway, 5, { headers: { "Guard-Outcome": "success" } })
    expect((await gateway.fetch()).status).toBe(429)
  })
})

test("a failure that cannot be told fails no request, and the event says why", async () => {
  vi.spyOn(ClientGate.prototype, "record").mockImplementation(() => {
    throw new Error("SECRET")
  })
  const { response, event } = await createGuarded().send(answering(401))
  expect([response.status, event.guard_untold, event.level]).toEqual([401, "object_failed", "warn"])
})

test("a failure is told before its answer leaves, so that whoever waits for it meets a guard that knows", async () => {
  const gateway = createGuarded()
  const statuses: number[] = []
  for (let i = 0; i < 6; i++) statuses.push((await gateway.open(answering(401))).status)
  expect(statuses).toEqual([401, 401, 401, 401, 401, 429])
})

test("successes of a client without failures are told to nobody", async () => {
  const record = vi.spyOn(ClientGate.prototype, "record")
  await statusesOf(createGuarded({ guard: { success_policy: "reset" } }), [answering(200), answering(200)])
  expect(record).not.toHaveBeenCalled()
})

test("a guard on a route that the gateway answers itself blocks there, too", async () => {
  const gateway = createGuarded({
    overrides: {
      ROUTES: [
        { prefix: "/public", origin: "stub", limits: "generous", guard: "login" },
        { path: "/own", respond: { status: 200, body: "ok" }, limits: "generous", guard: "login" },
      ],
    },
  })
  await fail(gateway, 5)
  const response = await gateway.fetch({ target: "/own" })
  expect([response.status, eventOf(response).problem]).toEqual([429, "client-blocked"])
})

test("a route without a guard knows no failures", async () => {
  const gateway = createGateway()
  expect(await fail(gateway, 8)).toEqual(Array.from({ length: 8 }, () => 401))
  expect((await reportOf(gateway)).guards).toEqual([])
})

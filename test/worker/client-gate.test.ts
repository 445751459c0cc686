/**
 * Goal: through the whole pipeline, a client never gets more than its limit, and a request whose admission is not known
 * is not admitted. Method: the real object on workerd, made to fail in the ways that the platform documents, and stubs
 * that fail in ways that cannot be provoked. Limits refill so slowly that no token returns while a test runs.
 */
import { runInDurableObject } from "cloudflare:test"
import { env } from "cloudflare:workers"
import { afterEach, expect, test, vi } from "vitest"
import { ClientGate } from "../../durable-objects/client-gate.ts"
import { CLIENT_GATE_TIMEOUT_MS } from "../../src/core/bounds.ts"
import { createGateway, existingObjects, expectRefusal } from "./harness.ts"

const BURST_10 = { LIMITS: { generous: { rate: "1/d", burst: 10 } } }

afterEach(() => {
  vi.useRealTimers()
})

test("LIM-01 exactly burst of 100 parallel requests reach the origin", async () => {
  const gateway = createGateway(BURST_10)
  const responses = await Promise.all(Array.from({ length: 100 }, () => gateway.fetch()))
  expect(responses.filter(({ status }) => status === 200)).toHaveLength(10)
  expect(responses.filter(({ status }) => status === 429)).toHaveLength(90)
  expect(await gateway.originRequests()).toHaveLength(10)
})

test("LIM-01 a refusal says which limit, how much is left and when to come again", async () => {
  const gateway = createGateway({ LIMITS: { generous: { rate: "6/minute", burst: 1 } } })
  await gateway.send()
  const response = await gateway.fetch()
  expect(await response.json()).toMatchObject({
    type: "https://iana.org/assignments/http-problem-types#quota-exceeded",
    code: "rate-limited",
    "violated-policies": ["generous"],
  })
  expect(response.status).toBe(429)
  expect(response.headers.get("ratelimit-policy")).toBe('"generous";q=1;w=10')
  expect(response.headers.get("ratelimit")).toMatch(/^"generous";r=0;t=(?:9|10)$/)
  expect(response.headers.get("retry-after")).toMatch(/^(?:9|10)$/)
})

test("LIM-01 a client that waits as long as Retry-After says is admitted, and not a moment too early", async () => {
  vi.useFakeTimers({ toFake: ["Date"] })
  const gateway = createGateway({ LIMITS: { generous: { rate: "5/s", burst: 10 } } })
  await Promise.all(Array.from({ length: 10 }, () => gateway.fetch()))
  const refused = await gateway.send()
  const { rate_limit_retry_after_ms: waitMs = 0 } = refused.event
  vi.setSystemTime(Date.now() + waitMs - 1)
  expect((await gateway.fetch()).status).toBe(429)
  vi.setSystemTime(Date.now() + 1)
  expect((await gateway.fetch()).status).toBe(200)
  expect([waitMs, refused.response.headers.get("retry-after")]).toEqual([200, "1"])
})

test("a refusal by the limit is in the event, with the exact time to wait", async () => {
  const gateway = createGateway({ LIMITS: { generous: { rate: "6/minute", burst: 1 } } })
  await gateway.send()
  const { event } = await gateway.send()
  expect(event).toMatchObject({
    level: "warn",
    outcome: "refused",
    problem: "rate-limited",
    reason: "limit",
    client_id: gateway.clientId("acme-a"),
    rate_limit_policy: "generous",
    rate_limit_remaining: 0,
  })
  expect(event.rate_limit_retry_after_ms).toBeGreaterThan(8_000)
  expect(event.rate_limit_retry_after_ms).toBeLessThanOrEqual(10_000)
})

test("an admitted request says what is left, in the answer and in the event", async () => {
  const gateway = createGateway(BURST_10)
  const { response, event } = await gateway.send()
  expect(response.headers.get("ratelimit-policy")).toBe('"generous";q=10;w=864000')
  expect(response.headers.get("ratelimit")).toMatch(/^"generous";r=9;t=86400$/)
  expect(response.headers.has("retry-after")).toBe(false)
  expect(event).toMatchObject({ rate_limit_policy: "generous", rate_limit_remaining: 9 })
})

test("a request takes the cost of its route", async () => {
  const gateway = createGateway({
    ...BURST_10,
    ROUTES: [
      { path: "/cheap", origin: "stub", limits: "generous" },
      { path: "/dear", origin: "stub", limits: "generous", cost: 4 },
    ],
  })
  const statuses = []
  for (const target of ["/dear", "/dear", "/dear", "/cheap", "/cheap", "/cheap"])
    statuses.push((await gateway.send({ target })).response.status)
  expect(statuses).toEqual([200, 200, 429, 200, 200, 429])
})

test("LIM-02 two gateways with one directory share the limit of a client", async () => {
  const shared = crypto.randomUUID().slice(0, 8)
  const clients = [{ id: shared, certificates: [{ issuer: "ca-a", san_uri: "spiffe://acme/acme-a" }] }]
  const gateways = [createGateway({ ...BURST_10, CLIENTS: clients }), createGateway({ ...BURST_10, CLIENTS: clients })]
  const responses = await Promise.all(gateways.flatMap((gateway) => Array.from({ length: 50 }, () => gateway.fetch())))
  expect(responses.filter(({ status }) => status === 200)).toHaveLength(10)
})

test("one client's requests take nothing from another", async () => {
  const gateway = createGateway({ LIMITS: { generous: { rate: "1/d", burst: 1 } } })
  const statuses = []
  for (const cert of ["acme-a", "acme-a", "acme-b"] as const)
    statuses.push((await gateway.send({ cert })).response.status)
  expect(statuses).toEqual([200, 429, 200])
})

test.each([
  ["to an unknown path", { target: "/nope" }],
  ["with a method that the route has not", { target: "/pay" }],
  ["without a certificate", { cert: "none" }],
  ["with an expired certificate", { cert: "expired" }],
  ["of an unknown client", { cert: "two uris" }],
  ["with a path of two meanings", { target: "/public%2fx" }],
] as const)("IPL-04 a request %s takes nothing and creates no object", async (_, parts) => {
  const gateway = createGateway()
  const before = await existingObjects()
  const { event } = await gateway.send(parts)
  expect(event.outcome).toBe("refused")
  expect(await existingObjects()).toEqual(before)
})

test("an admitted request creates the object of its client", async () => {
  const gateway = createGateway()
  await gateway.send()
  expect(await existingObjects()).toContain(String(env.CLIENT_GATE.idFromName(gateway.clientId("acme-a"))))
})

test("LIM-07 an object that is reset inside every call admits nobody", async () => {
  const gateway = createGateway(BURST_10)
  const { lend } = spyOnLend((object) => object.abort())
  const exchanged = await gateway.send()
  const problem = await expectRefusal(gateway, exchanged, {
    status: 503,
    code: "service-unavailable",
    reason: "object_reset",
  })
  expect(problem.type).toBe("urn:sekisho:problem:service-unavailable")
  expect(exchanged.response.headers.get("retry-after")).toBe("1")
  expect(lend).toHaveBeenCalledTimes(2)
})

test("LIM-07 an object that is reset once is asked again, and no token is minted", async () => {
  const gateway = createGateway(BURST_10)
  let calls = 0
  spyOnLend((object) => {
    calls += 1
    if (calls === 1) object.abort()
  })
  const { response, event } = await gateway.send()
  expect([response.status, event.rate_limit_remaining]).toEqual([200, 9])
})

test("LIM-08 an overloaded object is called once and never again", async () => {
  const admit = vi.fn(() =>
    Promise.reject(Object.assign(new Error("overloaded"), { overloaded: true, retryable: true })),
  )
  const gateway = createGateway({}, { bindings: gateWith(admit) })
  const exchanged = await gateway.send()
  const problem = await expectRefusal(gateway, exchanged, {
    status: 503,
    code: "service-unavailable",
    reason: "object_overloaded",
  })
  expect(problem.type).toBe("https://iana.org/assignments/http-problem-types#temporary-reduced-capacity")
  expect(exchanged.response.headers.get("retry-after")).toBe("1")
  expect(admit).toHaveBeenCalledTimes(1)
})

test.each<readonly [string, unknown, string, number]>([
  ["an unknown error", new Error("SECRET of the object"), "object_failed", 1],
  ["no error object", "SECRET", "object_failed", 1],
  ["undefined", undefined, "object_failed", 1],
  ["an error that may be retried", Object.assign(new Error("x"), { retryable: true }), "object_unreachable", 2],
])("a stub that rejects with %s admits nobody and leaks nothing", async (_, error, reason, calls) => {
  const admit = vi.fn(() => Promise.reject(error))
  const gateway = createGateway({}, { bindings: gateWith(admit) })
  const exchanged = await gateway.send()
  const problem = await expectRefusal(gateway, exchanged, { status: 503, code: "service-unavailable", reason })
  expect(JSON.stringify([problem, exchanged.event])).not.toContain("SECRET")
  expect(admit).toHaveBeenCalledTimes(calls)
})

test("a binding that throws admits nobody", async () => {
  const getByName = () => {
    throw new TypeError("no such namespace")
  }
  const gateway = createGateway({}, { bindings: { CLIENT_GATE: { getByName } as unknown as Env["CLIENT_GATE"] } })
  await expectRefusal(gateway, await gateway.send(), {
    status: 503,
    code: "service-unavailable",
    reason: "object_failed",
  })
})

test("an object that never answers admits nobody", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })
  const admit = vi.fn(() => new Promise<never>(() => {}))
  const gateway = createGateway({}, { bindings: gateWith(admit) })
  const pending = gateway.send()
  await vi.waitUntil(() => admit.mock.calls.length > 0)
  await vi.advanceTimersByTimeAsync(CLIENT_GATE_TIMEOUT_MS)
  vi.useRealTimers()
  const exchanged = await pending
  await expectRefusal(gateway, exchanged, { status: 503, code: "service-unavailable", reason: "object_timeout" })
  expect([exchanged.response.headers.get("retry-after"), admit.mock.calls.length]).toEqual(["1", 2])
})

test("a row that cannot be read admits nobody, and the event says why", async () => {
  const gateway = createGateway(BURST_10)
  await gateway.fetch()
  await runInDurableObject(env.CLIENT_GATE.getByName(gateway.clientId("acme-a")), (_, { storage }) => {
    storage.sql.exec("UPDATE gate SET state = '{'")
  })
  const { response, event } = await gateway.send()
  expect([response.status, event.reason]).toEqual([429, "limit_state_lost"])
})

test("storage that fails admits nobody", async () => {
  const gateway = createGateway(BURST_10)
  await gateway.fetch()
  await runInDurableObject(env.CLIENT_GATE.getByName(gateway.clientId("acme-a")), (_, { storage }) => {
    storage.sql.exec("DROP TABLE gate")
  })
  const { response, event } = await gateway.send()
  expect([response.status, event.reason, response.headers.get("retry-after")]).toEqual([503, "object_failed", "1"])
})

/** Runs `before` inside the object, ahead of every `lend()`. */
function spyOnLend(before: (object: DurableObjectState) => void) {
  const { lend } = ClientGate.prototype
  return {
    lend: vi.spyOn(ClientGate.prototype, "lend").mockImplementation(function (this: ClientGate, call, terms) {
      before((this as unknown as { readonly ctx: DurableObjectState }).ctx)
      return lend.call(this, call, terms)
    }),
  }
}

/** A namespace whose every stub answers with `ask`, whatever it is asked. Refusals are told to nobody. */
function gateWith(ask: () => Promise<never>): Partial<Env> {
  const stub = { admit: ask, lend: ask, reportStopped: () => Promise.resolve() }
  return { CLIENT_GATE: { getByName: () => stub } as unknown as Env["CLIENT_GATE"] }
}

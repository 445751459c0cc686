/**
 * Goal: quotas, concurrency limits, several sets, shadow mode and a client's own sets hold through the whole pipeline, and
 * a place among the running requests is given back exactly when its request is over. Method: the real object; a clock that
 * tests move; an origin that waits for the test. Which window an instant belongs to is `test/core/calendar.test.ts`.
 */
import { runInDurableObject } from "cloudflare:test"
import { env } from "cloudflare:workers"
import { afterEach, describe, expect, test, vi } from "vitest"
import { ClientGate } from "../../durable-objects/client-gate.ts"
import { ask, createGateway, eventOf, expectRefusal, fixtures, type TestGateway } from "./harness.ts"

afterEach(() => {
  vi.useRealTimers()
})

const DAY_MS = 86_400_000
const route = (limits: string | readonly string[]) => ({ ROUTES: [{ prefix: "/public", origin: "stub", limits }] })
const ACME_A = { issuer: "ca-a", san_uri: "spiffe://acme/acme-a" }

/** Returns the names of the limits that a client holds a place in, once for each place. */
function held(gateway: TestGateway, client = "acme-a"): Promise<readonly string[]> {
  return runInDurableObject(env.CLIENT_GATE.getByName(gateway.clientId(client)), (_, { storage }) => {
    const [row] = storage.sql.exec("SELECT state FROM gate").toArray()
    if (typeof row?.["state"] !== "string") return []
    const { concurrency } = JSON.parse(row["state"]) as {
      concurrency: Readonly<Record<string, { leases: readonly unknown[] }>>
    }
    return Object.entries(concurrency).flatMap(([name, { leases }]) => leases.map(() => name))
  })
}

async function untilHeld(gateway: TestGateway, count: number): Promise<void> {
  await vi.waitUntil(async () => (await held(gateway)).length === count)
}

describe("quotas", () => {
  test("a daily quota is used up until midnight in its zone, and Retry-After says so", async () => {
    vi.useFakeTimers({ toFake: ["Date"] })
    const midnightMs = (Math.floor((Date.now() + 9 * 3_600_000) / DAY_MS) + 1) * DAY_MS - 9 * 3_600_000
    vi.setSystemTime(midnightMs - 1_500)
    const gateway = createGateway({
      LIMITS: { partner: { quota: "2/day", timezone: "Asia/Tokyo" } },
      ...route("partner"),
    })
    expect([(await gateway.fetch()).status, (await gateway.fetch()).status]).toEqual([200, 200])
    const exchanged = await gateway.send()
    expect(exchanged.response.headers.get("retry-after")).toBe("2")
    expect(exchanged.response.headers.get("ratelimit-policy")).toBe('"partner-day";q=2;w=86400')
    expect(exchanged.response.headers.get("ratelimit")).toBe('"partner-day";r=0;t=2')
    expect(exchanged.event).toMatchObject({ problem: "quota-exceeded", rate_limit_policy: "partner-day" })
    expect(await exchanged.response.json()).toMatchObject({
      type: "https://iana.org/assignments/http-problem-types#quota-exceeded",
      code: "quota-exceeded",
      "violated-policies": ["partner-day"],
    })
    vi.setSystemTime(midnightMs - 1)
    expect((await gateway.fetch()).status).toBe(429)
    vi.setSystemTime(midnightMs)
    expect((await gateway.fetch()).status).toBe(200)
  })
})

describe("several sets", () => {
  const LIMITS = { total: { rate: "1/d", burst: 5 }, narrow: { rate: "1/d", burst: 2, quota: "100/month" } }

  test("apply at once, and a refusal by one takes nothing from the others", async () => {
    const gateway = createGateway({
      LIMITS,
      ROUTES: [
        { path: "/both", origin: "stub", limits: ["total", "narrow"] },
        { path: "/total", origin: "stub", limits: "total" },
      ],
    })
    const statuses = []
    for (const target of ["/both", "/both", "/both", "/both", "/total", "/total", "/total", "/total"])
      statuses.push((await gateway.fetch({ target })).status)
    expect(statuses).toEqual([200, 200, 429, 429, 200, 200, 200, 429])
  })

  test("are all in the answer, and the event names the one with the least left", async () => {
    const { response, event } = await createGateway({ LIMITS, ...route(["total", "narrow"]) }).send()
    expect(response.headers.get("ratelimit-policy")).toMatch(
      /^"total";q=5;w=432000, "narrow";q=2;w=172800, "narrow-month";q=100;w=\d+$/,
    )
    expect(response.headers.get("ratelimit")).toMatch(
      /^"total";r=4;t=86400, "narrow";r=1;t=86400, "narrow-month";r=99;t=/,
    )
    expect(event).toMatchObject({ rate_limit_policy: "narrow", rate_limit_remaining: 1 })
  })
})

describe("shadow mode", () => {
  test("of a set refuses nothing, and would-be refusals are marked and on the record", async () => {
    const LIMITS = { real: { rate: "1/d", burst: 5 }, planned: { rate: "1/d", burst: 1, mode: "shadow" } }
    const gateway = createGateway({ LIMITS, ...route(["real", "planned"]) })
    const first = await gateway.send()
    const second = await gateway.send()
    expect([first.response.status, second.response.status]).toEqual([200, 200])
    expect([first.response.headers.get("ratelimit-shadow"), first.event.rate_limit_shadowed]).toEqual([null, undefined])
    expect(second.response.headers.get("ratelimit-shadow")).toBe('"planned"')
    expect(second.response.headers.get("ratelimit")).toMatch(/^"real";r=3;t=86400, "planned";r=0;t=/)
    expect(second.event).toMatchObject({ outcome: "forwarded", rate_limit_shadowed: "planned" })
  })

  test("of a client refuses nothing to this client, whatever the kind, and still counts", async () => {
    const leaver = new AbortController()
    const gateway = createGateway((name) => ({
      LIMITS: { all: { rate: "1/d", burst: 1, quota: "1/day", concurrent: 1 } },
      CLIENTS: [
        { id: `acme-a-${name}`, certificates: [ACME_A], mode: "shadow" },
        { id: `acme-b-${name}`, certificates: [{ issuer: "ca-a", san_uri: "spiffe://acme/acme-b" }] },
      ],
      ...route("all"),
    }))
    const waiting = await gateway.open({ target: "/public/halves", signal: leaver.signal })
    const second = await gateway.open()
    expect(second.status).toBe(200)
    expect(second.headers.get("ratelimit-shadow")).toBe('"all", "all-concurrent", "all-day"')
    expect(eventOf(second).rate_limit_shadowed).toBe("all,all-concurrent,all-day")
    const others = [await gateway.open({ cert: "acme-b" }), await gateway.open({ cert: "acme-b" })]
    expect(others.map(({ status }) => status)).toEqual([200, 429])
    expect([waiting.status, await held(gateway)]).toEqual([200, ["all-concurrent"]])
    await Promise.all([second, ...others].map((response) => response.text()))
    leaver.abort()
    await untilHeld(gateway, 0)
  })
})

test("a client's own set stands in place of the route's", async () => {
  const gateway = createGateway((name) => ({
    LIMITS: { standard: { rate: "1/d", burst: 1 }, gold: { rate: "1/d", burst: 3 } },
    CLIENTS: [
      { id: `acme-a-${name}`, certificates: [ACME_A], limits: { standard: "gold" } },
      { id: `acme-b-${name}`, certificates: [{ issuer: "ca-a", san_uri: "spiffe://acme/acme-b" }] },
    ],
    ...route("standard"),
  }))
  const statuses = []
  for (const cert of ["acme-a", "acme-a", "acme-a", "acme-a", "acme-b", "acme-b"] as const)
    statuses.push((await gateway.fetch({ cert })).status)
  expect(statuses).toEqual([200, 200, 200, 429, 200, 429])
})

describe("concurrency", () => {
  const narrow = (concurrent: number, more = {}) => ({ LIMITS: { slow: { concurrent, ...more } }, ...route("slow") })

  test("LIM-05 the sixth of five at once is refused, and admitted once a caller has left", async () => {
    const gateway = createGateway(narrow(5))
    const leaver = new AbortController()
    const others = new AbortController()
    const waiting = Array.from({ length: 5 }, (_, index) =>
      gateway.open({ target: "/public/silent", signal: index === 0 ? leaver.signal : others.signal }),
    )
    await vi.waitUntil(async () => (await gateway.originRequests()).length === 5)
    const refused = await gateway.open()
    expect([refused.status, eventOf(refused).problem, eventOf(refused).rate_limit_policy]).toEqual([
      429,
      "concurrency-exceeded",
      "slow-concurrent",
    ])
    expect(refused.headers.has("retry-after")).toBe(true)
    expect(await refused.json()).toMatchObject({
      type: "https://iana.org/assignments/http-problem-types#quota-exceeded",
      "violated-policies": ["slow-concurrent"],
    })
    leaver.abort()
    expect((await waiting[0])?.status).toBe(499)
    await untilHeld(gateway, 4)
    const admitted = await gateway.open()
    expect([admitted.status, (await admitted.text()).length > 0]).toEqual([200, true])
    await untilHeld(gateway, 4)
    others.abort()
    await untilHeld(gateway, 0)
  })

  test("LIM-06 a place that nobody gives back is free after its lease", async () => {
    vi.useFakeTimers({ toFake: ["Date"] })
    const gateway = createGateway(narrow(1, { lease: "60s" }))
    vi.spyOn(ClientGate.prototype, "release").mockImplementation(() => [])
    expect((await gateway.open({ method: "HEAD" })).status).toBe(200)
    vi.setSystemTime(Date.now() + 59_999)
    const refused = await gateway.open()
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "1"])
    vi.setSystemTime(Date.now() + 1)
    expect((await gateway.open({ method: "HEAD" })).status).toBe(200)
  })

  test("a place is held until the last octet of the answer has been read, and not longer", async () => {
    const gateway = createGateway(narrow(1))
    const response = await gateway.open({ target: "/public/halves" })
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    expect(new TextDecoder().decode((await reader.read()).value)).toBe("first;")
    expect((await gateway.open()).status).toBe(429)
    await ask(`release/${gateway.name}`)
    expect(new TextDecoder().decode((await reader.read()).value)).toBe("second")
    expect((await reader.read()).done).toBe(true)
    await untilHeld(gateway, 0)
  })

  test("a caller that leaves in mid-answer gives its place back and ends the call of the origin", async () => {
    const gateway = createGateway(narrow(1))
    const leaver = new AbortController()
    const response = await gateway.open({ target: "/public/halves", signal: leaver.signal })
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    await reader.read()
    expect(await held(gateway)).toEqual(["slow-concurrent"])
    leaver.abort()
    await untilHeld(gateway, 0)
    await vi.waitUntil(async () => (await gateway.originRequests())[0]?.isAborted)
  })

  test.each([
    ["the origin cannot be reached", "x", { url: `http://127.0.0.1:${fixtures.closedPort}` }, "origin-unreachable"],
    ["the origin says nothing", "silent", { timeout: "10ms" }, "origin-timeout"],
    ["the origin breaks off before its header", "reset", {}, "origin-unreachable"],
  ])("a place is given back when %s", async (_, behaviour, origin, problem) => {
    const gateway = createGateway((name) => ({
      ORIGINS: { stub: { url: `http://127.0.0.1:${fixtures.originPort}/${name}`, ...origin } },
      ...narrow(1),
    }))
    const release = vi.spyOn(ClientGate.prototype, "release")
    const { event } = await gateway.send({ target: `/public/${behaviour}` })
    expect([event.problem, await held(gateway), release.mock.calls.length]).toEqual([problem, [], 1])
  })

  test.each(["short", "unfinished"])("a place is given back when the answer breaks off (%s)", async (behaviour) => {
    const gateway = createGateway(narrow(1))
    const response = await gateway.open({ target: `/public/${behaviour}` })
    await expect(response.text()).rejects.toThrow()
    await untilHeld(gateway, 0)
  })

  test.each([
    ["HEAD", "sized"],
    ["GET", "204"],
    ["GET", "304"],
  ])("a place is given back at once after an answer without a body (%s of %s)", async (method, behaviour) => {
    const gateway = createGateway(narrow(1))
    await gateway.fetch({ method, target: `/public/${behaviour}` })
    expect(await held(gateway)).toEqual([])
  })

  test("a place is given back once and for this request only", async () => {
    const gateway = createGateway(narrow(2))
    const other = new AbortController()
    void gateway.open({ target: "/public/silent", signal: other.signal })
    await untilHeld(gateway, 1)
    const release = vi.spyOn(ClientGate.prototype, "release")
    const leaver = new AbortController()
    const response = await gateway.open({ signal: leaver.signal })
    await response.text()
    leaver.abort()
    await untilHeld(gateway, 1)
    expect(release).toHaveBeenCalledTimes(1)
    other.abort()
    await untilHeld(gateway, 0)
    expect(release).toHaveBeenCalledTimes(2)
  })

  test("requests under one id of the caller's have a place each", async () => {
    const gateway = createGateway(narrow(2))
    const leaver = new AbortController()
    const headers = { "X-Request-Id": "the-same-for-all" }
    const parts = { target: "/public/silent", headers, signal: leaver.signal }
    for (let index = 0; index < 2; index++) void gateway.open(parts)
    await vi.waitUntil(async () => (await gateway.originRequests()).length === 2)
    expect((await gateway.open(parts)).status).toBe(429)
    leaver.abort()
    await untilHeld(gateway, 0)
  })

  test("a refused request has no place to give back", async () => {
    const gateway = createGateway({ LIMITS: { both: { concurrent: 2, quota: "1/day" } }, ...route("both") })
    await gateway.fetch({ method: "HEAD" })
    const release = vi.spyOn(ClientGate.prototype, "release")
    expect((await gateway.fetch()).status).toBe(429)
    expect([await held(gateway), release.mock.calls.length]).toEqual([[], 0])
  })

  test("an object that fails while a place is given back fails no request", async () => {
    const gateway = createGateway(narrow(1))
    vi.spyOn(ClientGate.prototype, "release").mockImplementation(() => {
      throw new Error("SECRET")
    })
    const { response, event } = await gateway.send({ method: "HEAD" })
    expect([response.status, event.outcome]).toEqual([200, "forwarded"])
  })

  test.each([
    ["once when the answer of the object was lost", {}, 1],
    ["never by calling an object that is overloaded", { overloaded: true }, 0],
  ])("a place is given back %s", async (_, marks, releases) => {
    const release = vi.fn(() => Promise.resolve([]))
    const admit = () => Promise.reject(Object.assign(new Error("x"), marks))
    const CLIENT_GATE = { getByName: () => ({ admit, release }) } as unknown as Env["CLIENT_GATE"]
    const gateway = createGateway(narrow(1), { bindings: { CLIENT_GATE } })
    await expectRefusal(gateway, await gateway.send(), { status: 503, code: "service-unavailable" })
    expect(release).toHaveBeenCalledTimes(releases)
  })

  test("an answer keeps its announced length", async () => {
    const gateway = createGateway(narrow(1))
    const response = await gateway.open({ target: "/public/sized" })
    expect([response.headers.get("content-length"), (await response.text()).length]).toEqual(["1234", 1_234])
    await untilHeld(gateway, 0)
  })

  test("limits without concurrency give nothing back", async () => {
    const release = vi.spyOn(ClientGate.prototype, "release")
    const response = await createGateway().fetch({ target: "/public/sized" })
    expect([(await response.text()).length, release.mock.calls.length]).toEqual([1_234, 0])
  })
})

/**
 * Goal: on a soft route limits refuse nothing while the origin answers badly, and go on counting; guards are weakened by
 * nothing. And the older fields say what the newer ones say. Method: the whole pipeline with the real object, a register of
 * origins that the test fills, and a clock that it moves.
 */
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { required } from "../../src/context.ts"
import { answering, createGuarded, fail, replaceQueue, reportOf, statusesOf, type GuardedParts } from "./guarded.ts"
import { ask, createGateway, type TestGateway } from "./harness.ts"

const MODES = [
  ["lent", { rate: "1/d", burst: 10 }],
  ["asked for one by one", { rate: "1/d", burst: 10, quota: "10/day" }],
] as const
const BLOCK_MS = 10_000

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"] })
  replaceQueue()
})
afterEach(() => {
  vi.useRealTimers()
})

function makeUnhealthy({ config, originHealth }: TestGateway): void {
  const attempt = { index: 0, startedMs: Date.now(), probeId: undefined }
  const stub = required(config.origins[0], "stub")
  for (let i = 0; i < 5; i++) originHealth.record(stub, attempt, "failure", attempt.startedMs)
}

type SoftParts = Omit<GuardedParts, "overrides"> & { readonly overrides?: Readonly<Record<string, unknown>> }

function createSoft({ route, overrides, ...parts }: SoftParts, limit: Readonly<Record<string, unknown>>): TestGateway {
  return createGuarded({
    ...parts,
    route: { soft: true, ...route },
    overrides: { LIMITS: { generous: limit }, ...overrides },
  })
}

function use(gateway: TestGateway, times: number): Promise<readonly number[]> {
  return statusesOf(
    gateway,
    Array.from({ length: times }, () => answering(200)),
  )
}

describe.each(MODES)("limits of a soft route that are %s", (_, limit) => {
  test("let everything pass while the origin is unhealthy, and say what they would have refused", async () => {
    const gateway = createSoft({}, limit)
    await use(gateway, 10)
    expect((await gateway.fetch()).status).toBe(429)
    makeUnhealthy(gateway)
    const { response, event } = await gateway.send()
    expect([response.status, response.headers.get("ratelimit-shadow"), response.headers.has("retry-after")]).toEqual([
      200,
      "quota" in limit ? '"generous", "generous-day"' : '"generous"',
      false,
    ])
    expect(event).toMatchObject({
      outcome: "forwarded",
      origin_unhealthy: true,
      rate_limit_soft: "quota" in limit ? "generous,generous-day" : "generous",
    })
    expect(event.rate_limit_shadowed).toBeUndefined()
  })

  test("refuse again when the origin is healthy again", async () => {
    const gateway = createSoft({}, limit)
    await use(gateway, 10)
    makeUnhealthy(gateway)
    expect((await gateway.fetch()).status).toBe(200)
    vi.setSystemTime(Date.now() + BLOCK_MS)
    const { response, event } = await gateway.send()
    expect([response.status, event.origin_unhealthy, event.rate_limit_soft]).toEqual([429, undefined, undefined])
  })

  test("go on counting while the origin is unhealthy", async () => {
    const gateway = createSoft({}, limit)
    makeUnhealthy(gateway)
    expect(await use(gateway, 12)).toEqual(Array.from({ length: 12 }, () => 200))
    vi.setSystemTime(Date.now() + BLOCK_MS)
    expect((await gateway.fetch()).status).toBe(429)
  })

  test("of a route that is not soft refuse as ever, and the event tells of the origin", async () => {
    const gateway = createSoft({ route: { soft: false } }, limit)
    await use(gateway, 10)
    makeUnhealthy(gateway)
    const { response, event } = await gateway.send()
    expect([response.status, event.origin_unhealthy, event.rate_limit_soft]).toEqual([429, true, undefined])
  })

  test.each(["optimistic", "reserve"])("weaken no %s guard: it blocks, and goes on counting", async (mode) => {
    const gateway = createSoft({ guard: { in_flight: mode } }, limit)
    await use(gateway, 11)
    makeUnhealthy(gateway)
    expect(await fail(gateway, 7)).toEqual([401, 401, 401, 401, 401, 429, 429])
    const { event } = await gateway.send()
    expect(event).toMatchObject({ problem: "client-blocked", origin_unhealthy: true })
    expect((await reportOf(gateway)).guards).toMatchObject([{ isOpen: true, openedTotal: 1 }])
  })

  test("weaken no guard that another gateway has seen open", async () => {
    const CLIENTS = [
      { id: crypto.randomUUID().slice(0, 8), certificates: [{ issuer: "ca-a", san_uri: "spiffe://acme/acme-a" }] },
    ]
    const [gateway, other] = [1, 2].map(() => createSoft({ overrides: { CLIENTS } }, limit)) as [
      TestGateway,
      TestGateway,
    ]
    await use(gateway, 11)
    await use(other, 1)
    makeUnhealthy(gateway)
    makeUnhealthy(other)
    expect((await other.fetch()).status).toBe(200)
    await fail(gateway, 5)
    expect((await other.fetch()).status).toBe(429)
  })

  test("never let more guesses of a reserving guard pass at once", async () => {
    const gateway = createSoft({ guard: { in_flight: "reserve" } }, limit)
    await use(gateway, 11)
    makeUnhealthy(gateway)
    const guesses = Array.from({ length: 20 }, () => gateway.open(answering(401, { wait: "1" })))
    await vi.waitUntil(async () => (await gateway.originRequests()).length >= 15)
    await ask(`release/${gateway.name}`)
    const statuses = (await Promise.all(guesses)).map(({ status }) => status)
    expect(statuses.filter((status) => status === 401)).toHaveLength(5)
  })
})

test("places among the requests in progress refuse nobody while the origin is unhealthy, and stay with who has them", async () => {
  const gateway = createSoft({}, { concurrent: 1 })
  makeUnhealthy(gateway)
  const waiting = gateway.open(answering(200, { wait: "1" }))
  await vi.waitUntil(async () => (await gateway.originRequests()).length === 1)
  const second = await gateway.open({ method: "HEAD" })
  expect([second.status, second.headers.get("ratelimit-shadow")]).toEqual([200, '"generous-concurrent"'])
  expect((await reportOf(gateway)).concurrency).toEqual([{ name: "generous-concurrent", inUse: 1 }])
  await ask(`release/${gateway.name}`)
  await (await waiting).text()
  await vi.waitUntil(async () => (await reportOf(gateway)).concurrency[0]?.inUse === 0)
})

test("a soft route without its object refuses: what guards say is not known", async () => {
  const getByName = (): never => {
    throw new TypeError("no such namespace")
  }
  const CLIENT_GATE = { getByName } as unknown as Env["CLIENT_GATE"]
  const gateway = createSoft({ options: { bindings: { CLIENT_GATE } } }, { rate: "1/d", burst: 10 })
  makeUnhealthy(gateway)
  expect((await gateway.fetch()).status).toBe(503)
})

describe("legacy_ratelimit", () => {
  const GATEWAY = { hosts: ["gw.test"], log_flush: "10ms" }
  const LIMITS = { generous: { rate: "6/minute", burst: 2 } }
  const legacyOf = ({ headers }: Response) =>
    ["limit", "remaining", "reset", "limit-policy"].map((name) => headers.get(`x-ratelimit-${name}`))

  test("adds the fields that older clients know, also to a refusal", async () => {
    const gateway = createGateway({ GATEWAY: { ...GATEWAY, legacy_ratelimit: true }, LIMITS })
    const responses = [await gateway.fetch(), await gateway.fetch(), await gateway.fetch()]
    expect(responses.map(legacyOf)).toEqual([
      ["2", "1", "10", null],
      ["2", "0", "10", null],
      ["2", "0", "10", null],
    ])
    expect(responses[2]?.headers.get("ratelimit")).toBe('"generous";r=0;t=10')
  })

  test("is off unless it is asked for", async () => {
    expect(legacyOf(await createGateway({ GATEWAY, LIMITS }).fetch())).toEqual([null, null, null, null])
  })

  test("hands an origin's own fields on where it is off, and writes over them where it is on", async () => {
    const parts = answering(200, { "x-ratelimit-limit": "77" })
    const off = await createGateway({ GATEWAY, LIMITS }).fetch(parts)
    const on = await createGateway({ GATEWAY: { ...GATEWAY, legacy_ratelimit: true }, LIMITS }).fetch(parts)
    expect([off, on].map(({ headers }) => headers.get("x-ratelimit-limit"))).toEqual(["77", "2"])
  })
})

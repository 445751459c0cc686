/**
 * Goal: what a client's object says was stopped equals what was refused of that client, each refusal once, whoever refused
 * it, although reports are late, lost, repeated or refused. Method: the whole pipeline with the real object; reports are made
 * to fail in the object.
 */
import { abortAllDurableObjects, evictDurableObject, runInDurableObject } from "cloudflare:test"
import { afterEach, beforeEach, expect, test, vi } from "vitest"
import { ClientGate } from "../../durable-objects/client-gate.ts"
import { answering, createGuarded, fail, objectOf, replaceQueue, reportOf } from "./guarded.ts"
import { createGateway, fixtures, type TestGateway } from "./harness.ts"

const BURST_10 = { LIMITS: { generous: { rate: "1/d", burst: 10 } } }

beforeEach(() => {
  replaceQueue()
})
afterEach(() => {
  vi.useRealTimers()
})

/** Returns the counts by problem code. */
async function stoppedOf(gateway: TestGateway, client?: string): Promise<Readonly<Record<string, number>>> {
  const { stopped } = await reportOf(gateway, client)
  return Object.fromEntries(Object.entries(stopped).map(([code, { count }]) => [code, count]))
}

test("refusals that the isolate decided by itself are counted, each once", async () => {
  const gateway = createGateway(BURST_10)
  const responses = await Promise.all(Array.from({ length: 100 }, () => gateway.fetch()))
  expect(responses.filter(({ status }) => status === 429)).toHaveLength(90)
  expect(await stoppedOf(gateway)).toEqual({ "rate-limited": 90 })
})

test("refusals are counted by reason, and what passes is not", async () => {
  const gateway = createGuarded({
    guard: { max_failures: 2 },
    overrides: {
      LIMITS: { generous: { rate: "1000/s", burst: 1_000 }, daily: { quota: "1/day" } },
      ROUTES: [
        { prefix: "/public", origin: "stub", limits: "generous", guard: "login" },
        { prefix: "/daily", origin: "stub", limits: "daily" },
      ],
    },
  })
  for (const target of ["/daily/x", "/daily/x", "/daily/x"]) await gateway.fetch({ target })
  await fail(gateway, 5)
  expect(await stoppedOf(gateway)).toEqual({ "quota-exceeded": 2, "client-blocked": 3 })
})

test("what stages behind the gate refuse is counted, too", async () => {
  const gateway = createGateway((name) => ({
    ORIGINS: {
      stub: { url: `http://127.0.0.1:${fixtures.originPort}/${name}`, timeout: "10ms" },
      down: { url: `http://127.0.0.1:${fixtures.closedPort}` },
    },
    ROUTES: [
      { prefix: "/public", origin: "stub", limits: "generous" },
      { prefix: "/down", origin: "down", limits: "generous" },
    ],
  }))
  await gateway.fetch({ target: "/public/silent" })
  for (let i = 0; i < 2; i++) await gateway.fetch({ target: "/down/x" })
  expect(await stoppedOf(gateway)).toEqual({ "origin-timeout": 1, "origin-unreachable": 2 })
})

test("an origin's own refusals are none of the gateway's", async () => {
  const gateway = createGateway()
  await gateway.fetch(answering(429))
  await gateway.fetch(answering(503))
  expect(await stoppedOf(gateway)).toEqual({})
})

test("one client's refusals are not another's, and strangers have none", async () => {
  const gateway = createGateway({ LIMITS: { generous: { rate: "1/d", burst: 1 } } })
  for (const cert of ["acme-a", "acme-a", "acme-b", "none", "two uris"] as const) await gateway.fetch({ cert })
  expect([await stoppedOf(gateway), await stoppedOf(gateway, "acme-b")]).toEqual([{ "rate-limited": 1 }, {}])
})

test("several gateways' refusals add up", async () => {
  const CLIENTS = [
    { id: crypto.randomUUID().slice(0, 8), certificates: [{ issuer: "ca-a", san_uri: "spiffe://acme/acme-a" }] },
  ]
  const gateways = [1, 2].map(() => createGateway({ ...BURST_10, CLIENTS }))
  const responses = await Promise.all(gateways.flatMap((gateway) => Array.from({ length: 30 }, () => gateway.fetch())))
  const refused = responses.filter(({ status }) => status === 429).length
  const [stored] = await runInDurableObject(
    objectOf({ clientId: () => CLIENTS[0]?.id ?? "" } as unknown as TestGateway),
    (object: ClientGate) => Object.values(object.inspect().stopped).map(({ count }) => count),
  )
  expect(stored).toBe(refused)
})

test.each([
  ["before it is taken", true],
  ["after it was taken, so that only the answer is lost", false],
])("a report that fails %s is repeated, and counts once", async (_, isBefore) => {
  const gateway = createGateway({ LIMITS: { generous: { rate: "1/d", burst: 1 } } })
  await gateway.fetch()
  const { reportStopped } = ClientGate.prototype
  let calls = 0
  vi.spyOn(ClientGate.prototype, "reportStopped").mockImplementation(function (this: ClientGate, report) {
    calls += 1
    if (calls > 1 || !isBefore) reportStopped.call(this, report)
    if (calls === 1) throw new Error("lost")
  })
  for (let i = 0; i < 3; i++) await gateway.fetch()
  expect(await stoppedOf(gateway)).toEqual({ "rate-limited": 3 })
})

test("many refusals cost few reports", async () => {
  const gateway = createGateway({ GATEWAY: { hosts: ["gw.test"], log_flush: "100ms" }, ...BURST_10 })
  const report = vi.spyOn(ClientGate.prototype, "reportStopped")
  await Promise.all(Array.from({ length: 300 }, () => gateway.fetch()))
  expect(report.mock.calls.length).toBeLessThanOrEqual(5)
  expect(await stoppedOf(gateway)).toEqual({ "rate-limited": 290 })
})

test("no request waits for a report", async () => {
  const gateway = createGateway({ LIMITS: { generous: { rate: "1/d", burst: 1 } } })
  await gateway.fetch()
  vi.spyOn(ClientGate.prototype, "reportStopped").mockImplementation(() => new Promise<never>(() => {}) as never)
  expect((await gateway.open()).status).toBe(429)
})

test.each([
  ["an eviction", (gateway: TestGateway) => evictDurableObject(objectOf(gateway))],
  ["an abort", () => abortAllDurableObjects()],
])("counts survive %s", async (_, lose) => {
  const gateway = createGateway(BURST_10)
  await Promise.all(Array.from({ length: 15 }, () => gateway.fetch()))
  await lose(gateway)
  expect(await stoppedOf(gateway)).toEqual({ "rate-limited": 5 })
})

test("counts that cannot be read are forgotten, and decide nothing", async () => {
  const gateway = createGateway(BURST_10)
  await Promise.all(Array.from({ length: 15 }, () => gateway.fetch()))
  await runInDurableObject(objectOf(gateway), (_, { storage }) => {
    storage.sql.exec("UPDATE stopped SET state = '{'")
  })
  expect([await stoppedOf(gateway), (await gateway.fetch()).status, await stoppedOf(gateway)]).toEqual([
    {},
    429,
    { "rate-limited": 1 },
  ])
})

test("days are kept apart", async () => {
  vi.useFakeTimers({ toFake: ["Date"] })
  vi.setSystemTime(Date.UTC(2027, 0, 31, 23, 59, 59))
  const gateway = createGateway({ LIMITS: { generous: { rate: "1/d", burst: 1 } } })
  await gateway.fetch()
  await gateway.fetch()
  vi.setSystemTime(Date.UTC(2027, 1, 1))
  await gateway.fetch()
  const { stopped, stoppedDays } = await reportOf(gateway)
  expect(stopped["rate-limited"]).toEqual({
    count: 2,
    firstMs: Date.UTC(2027, 0, 31, 23, 59, 59),
    lastMs: Date.UTC(2027, 1, 1),
  })
  expect(stoppedDays).toEqual([
    { day: "2027-01-31", counts: { "rate-limited": 1 } },
    { day: "2027-02-01", counts: { "rate-limited": 1 } },
  ])
})

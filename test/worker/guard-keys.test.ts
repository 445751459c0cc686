/**
 * Goal: a guard by address or by a field counts for exactly that, whoever sends it; nothing that a caller can choose for
 * free gives him a second key, and no value reaches a name or a record. Method: the whole pipeline with the real objects.
 */
import { listDurableObjectIds, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test"
import { env } from "cloudflare:workers"
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { ClientGate } from "../../durable-objects/client-gate.ts"
import { GUARD_KEY_IDLE_MS } from "../../src/core/bounds.ts"
import { answering, createGuarded, fail, guardRecords, replaceQueue, statusesOf, type GuardedParts } from "./guarded.ts"
import { writtenLines, type RequestParts } from "./harness.ts"

const { getByName } = env.CLIENT_GATE
const MODES = ["optimistic", "reserve"] as const

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"] })
  replaceQueue()
})
afterEach(() => {
  vi.useRealTimers()
})

/** A gateway with a guard of its own: objects of keys are named by guard and value, and tests share the namespace. */
function createKeyed(key: string, guard: GuardedParts["guard"] = {}) {
  const name = `login-${crypto.randomUUID().slice(0, 8)}`
  const asked: string[] = []
  vi.spyOn(env.CLIENT_GATE, "getByName").mockImplementation((objectName, options) => {
    asked.push(objectName)
    return getByName.call(env.CLIENT_GATE, objectName, options)
  })
  const gateway = createGuarded({
    overrides: {
      GUARDS: {
        [name]: {
          max_failures: 3,
          failure_duration: "60s",
          backoff: { kind: "exponential", min: "5m", max: "1h", random_factor: 0, reset: "1h" },
          success_policy: "ignore",
          key,
          ...guard,
        },
      },
    },
    route: { guard: name },
    options: { bindings: { CLIENT_GATE: env.CLIENT_GATE } },
  })
  const keyedNames = () => [...new Set(asked.filter((objectName) => objectName.includes(":")))]
  return { gateway, name, keyedNames }
}

function from(address: string, more: RequestParts = {}): RequestParts {
  return { ...more, headers: { "CF-Connecting-IP": address } }
}

describe.each(MODES)("a guard by address in %s mode", (mode) => {
  test.each([
    [
      "one IPv6 /64",
      ["2001:db8:1:2::1", "2001:db8:1:2:ffff::2", "2001:0DB8:1:2:a:b:c:d"],
      "2001:db8:1:2::9",
      "2001:db8:1:3::1",
    ],
    [
      "one IPv4 address in every spelling",
      ["::ffff:192.0.2.1", "::ffff:c000:201", "192.0.2.1"],
      "0:0:0:0:0:ffff:c000:0201",
      "192.0.2.2",
    ],
  ])("counts together what comes from %s, and nothing else", async (_, failing, blocked, free) => {
    const { gateway, keyedNames } = createKeyed("address", { in_flight: mode })
    for (const address of failing) await fail(gateway, 1, from(address))
    expect(await statusesOf(gateway, [from(blocked), from(free)])).toEqual([429, 200])
    expect(keyedNames()).toHaveLength(2)
  })

  test("GRD-04 blocks every client of the address, and the client nowhere else", async () => {
    const { gateway } = createKeyed("address", { in_flight: mode })
    await fail(gateway, 3, from("192.0.2.9"))
    const requests = [from("192.0.2.9", { cert: "acme-b" }), from("192.0.2.10")]
    expect(await statusesOf(gateway, requests)).toEqual([429, 200])
  })
})

describe.each(MODES)("a guard by a field in %s mode", (mode) => {
  const createByAccount = () => createKeyed("header:x-account", { in_flight: mode })
  const account = (value: string, more: RequestParts = {}): RequestParts => ({
    ...more,
    headers: { "X-Account": value },
  })

  test("counts for the value, whichever client sends it", async () => {
    const { gateway } = createByAccount()
    await fail(gateway, 2, account("4711"))
    await fail(gateway, 1, account("4711", { cert: "acme-b" }))
    const requests = [account("4711"), account("4711", { cert: "acme-b" }), account("4712")]
    expect(await statusesOf(gateway, requests)).toEqual([429, 429, 200])
  })

  test("counts for the client alone where the field is absent", async () => {
    const { gateway } = createByAccount()
    await fail(gateway, 3)
    expect(await statusesOf(gateway, [{}, { cert: "acme-b" }, account("4711")])).toEqual([429, 200, 200])
  })

  test("takes a field that Connection ends here for absent", async () => {
    const { gateway } = createByAccount()
    for (const value of ["1", "2", "3"])
      await fail(gateway, 1, { headers: { "X-Account": value, Connection: "close, X-Account" } })
    expect(await statusesOf(gateway, [{}, account("1")])).toEqual([429, 200])
  })

  test("tells an absent field from one that is empty or reads like a client", async () => {
    const { gateway } = createByAccount()
    await fail(gateway, 3)
    const requests = [account(gateway.clientId("acme-a")), account(`absent ${gateway.clientId("acme-a")}`)]
    expect(await statusesOf(gateway, requests)).toEqual([200, 200])
  })
})

test("an object of another key is named by kind and digest, and no value is written down", async () => {
  const { gateway, name, keyedNames } = createKeyed("header:x-account")
  await fail(gateway, 4, { headers: { "X-Account": "SECRET-account" } })
  expect(keyedNames()).toEqual([expect.stringMatching(/^header:[0-9a-f]{64}$/)])
  expect(guardRecords()).toEqual([expect.objectContaining({ event: "guard.opened", guard: name, key_kind: "header" })])
  expect(guardRecords()[0]).not.toHaveProperty("client_id")
  expect(writtenLines().join("\n")).not.toContain("SECRET-account")
})

test("guards of the same key with different names count apart", async () => {
  const first = createKeyed("address")
  const second = createKeyed("address")
  await fail(first.gateway, 3, from("192.0.2.33"))
  expect((await second.gateway.fetch(from("192.0.2.33"))).status).toBe(200)
})

test("GRD-07 a block of another key outlives the gateway, and other gateways know it", async () => {
  const { gateway, name } = createKeyed("header:x-account")
  const headers = { "X-Account": "shared" }
  await fail(gateway, 3, { headers })
  const guard = {
    max_failures: 3,
    failure_duration: "60s",
    backoff: { kind: "lineal", duration: "1s" },
    key: "header:x-account",
  }
  const later = createGuarded({ overrides: { GUARDS: { [name]: guard } }, route: { guard: name } })
  expect((await later.fetch({ headers })).status).toBe(429)
})

test("a refusal by the object of another key takes nothing but what the client's limits gave", async () => {
  const { gateway } = createKeyed("address")
  await fail(gateway, 3, from("192.0.2.44"))
  const { event } = await gateway.send(from("192.0.2.44"))
  expect(event).toMatchObject({ problem: "client-blocked", reason: "guard_open", rate_limit_policy: "generous" })
})

test("an object of another key that cannot be asked refuses the request", async () => {
  const { gateway } = createKeyed("address")
  vi.spyOn(ClientGate.prototype, "lend").mockImplementation(function (this: ClientGate) {
    throw new Error("SECRET")
  })
  const { response, event } = await gateway.send(from("192.0.2.45"))
  expect([response.status, event.reason]).toEqual([503, "object_failed"])
})

describe("the object of another key", () => {
  async function createFailed(guard: GuardedParts["guard"] = {}) {
    const { gateway, keyedNames } = createKeyed("header:x-account", guard)
    await fail(gateway, 1, { headers: { "X-Account": "idle" } })
    const object = env.CLIENT_GATE.getByName(keyedNames()[0] ?? "")
    const nextAlarm = () => runInDurableObject(object, (_, { storage }) => storage.getAlarm())
    const isStored = () =>
      runInDurableObject(
        object,
        (_, { storage: { sql } }) =>
          sql
            .exec("SELECT name FROM sqlite_master")
            .toArray()
            .some(({ name }) => name === "gate") && sql.exec("SELECT 1 FROM gate").toArray().length > 0,
      )
    return { gateway, object, nextAlarm, isStored }
  }

  test("is forgotten an hour after its last request", async () => {
    const { object, nextAlarm, isStored } = await createFailed()
    expect(await nextAlarm()).toBe(Date.now() + GUARD_KEY_IDLE_MS)
    vi.setSystemTime(Date.now() + GUARD_KEY_IDLE_MS)
    expect([await isStored(), await runDurableObjectAlarm(object)]).toEqual([true, true])
    expect([await isStored(), await nextAlarm()]).toEqual([false, null])
  })

  test("is kept while its clients come back", async () => {
    const { gateway, object, nextAlarm, isStored } = await createFailed()
    vi.setSystemTime(Date.now() + GUARD_KEY_IDLE_MS - 1)
    await gateway.fetch({ ...answering(401), headers: { "X-Account": "idle" } })
    vi.setSystemTime(Date.now() + 1)
    await runDurableObjectAlarm(object)
    expect([await isStored(), await nextAlarm()]).toEqual([true, Date.now() - 1 + GUARD_KEY_IDLE_MS])
  })

  test("that has an escalation to remember is looked at again later, and not at once", async () => {
    const backoff = { kind: "exponential", min: "1m", max: "1h", random_factor: 0, reset: "manual" }
    const { object, nextAlarm, isStored } = await createFailed({ max_failures: 1, backoff })
    vi.setSystemTime(Date.now() + 60_000)
    await runDurableObjectAlarm(object)
    vi.setSystemTime(Date.now() + GUARD_KEY_IDLE_MS)
    await runDurableObjectAlarm(object)
    expect([await isStored(), (await nextAlarm()) ?? 0]).toEqual([
      true,
      expect.toSatisfy((ms: number) => ms > Date.now()),
    ])
  })

  test("that is forgotten starts again as one that was never seen", async () => {
    const { gateway, object } = await createFailed()
    vi.setSystemTime(Date.now() + GUARD_KEY_IDLE_MS)
    await runDurableObjectAlarm(object)
    const headers = { "X-Account": "idle" }
    expect(await fail(gateway, 4, { headers })).toEqual([401, 401, 401, 429])
    expect(await listDurableObjectIds(env.CLIENT_GATE)).not.toEqual([])
  })
})

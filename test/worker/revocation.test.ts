/**
 * Goal: a certificate of a CA whose revocations the gateway looks after passes only while it is known to be good, a busy client is
 * stopped within a second of being listed, and CAs without a list cost nothing. Method: whole gateways with the real object and
 * real lists of CA-A; the gateway's clock is moved where a second has to pass.
 */
import { runInDurableObject } from "cloudflare:test"
import { env } from "cloudflare:workers"
import { beforeEach, describe, expect, test, vi } from "vitest"
import { createEmbeddedDirectory } from "../../src/client-directory.ts"
import type { Config } from "../../src/config/config.ts"
import { loadConfig } from "../../src/config/load.ts"
import { runDuties, type DutyContext } from "../../src/scheduled.ts"
import { createPublisher, type Publisher } from "./crl-publisher.ts"
import { createGateway, expectRefusal, fixtures, variables, type GatewayOptions, type TestGateway } from "./harness.ts"

const { serial } = fixtures.certificates["acme-a"]
const SKI = fixtures.skis["ca-a"]
const OBJECT = () => env.REVOCATION_LIST.getByName(SKI)
const UNKNOWN = { status: 503, code: "service-unavailable" } as const

let publisher: Publisher
beforeEach(async () => {
  publisher = createPublisher("ca-a")
  // CA-A is one CA, and its object the same in every test.
  await runInDurableObject(OBJECT(), (_, { storage: { sql } }) => {
    sql.exec("DELETE FROM state")
    sql.exec("DELETE FROM revoked")
  })
})

const issuers = (keys: object) => ({
  ISSUERS: { "ca-a": { ski: SKI, ...keys }, "ca-b": { ski: fixtures.skis["ca-b"] } },
})

/** A gateway that looks after CA-A's list. */
function guarded(crl: object = {}, options: GatewayOptions = {}): TestGateway {
  return createGateway(issuers({ certificate: fixtures.caPem, crl: { url: publisher.url, ...crl } }), options)
}

/** What the cron trigger hands to duties, at a minute at which only revocation lists are due. */
function dutiesOf(config: Config): DutyContext {
  return { config, directory: createEmbeddedDirectory(config), scheduledMs: Date.UTC(2026, 10, 22, 3, 5) }
}

/** Publishes, and has the gateway fetch it as its cron trigger does. */
async function publish(gateway: TestGateway, ...plan: Parameters<Publisher["publish"]>): Promise<void> {
  await publisher.publish(...plan)
  await runInDurableObject(OBJECT(), (_, { storage: { sql } }) => {
    sql.exec(`UPDATE state SET state = json_set(state, '$.attemptedAtMs', 0)`)
  })
  await runDuties(dutiesOf(gateway.config), env)
}

/** An object that was not reached, or never answers. */
function unreachable(check: () => Promise<never>): Partial<Env> {
  return { REVOCATION_LIST: { getByName: () => ({ check }) } as unknown as Env["REVOCATION_LIST"] }
}

test("a certificate that is not on the list passes", async () => {
  const gateway = guarded()
  await publish(gateway, { serials: ["ff"] })
  const { response, event } = await gateway.send()
  expect(response.status).toBe(200)
  expect(event).not.toHaveProperty("revocation_unknown")
})

test("CRL-4 a certificate on the list is refused, whatever the platform says", async () => {
  const gateway = guarded()
  await publish(gateway, { serials: [serial] })
  await expectRefusal(gateway, await gateway.send(), {
    status: 401,
    code: "client-cert-invalid",
    reason: "cert_revoked_by_crl",
  })
})

test("CRL-5 a serial counts for its CA only", async () => {
  const gateway = guarded()
  await publish(gateway, { serials: [fixtures.certificates["acme-a from ca-b"].serial] })
  const { event } = await gateway.send({ cert: "acme-a from ca-b" })
  expect(event).toMatchObject({ problem: "client-unknown" })
})

test("CRL-4 a platform that does not name the CA switches the list off for nobody", async () => {
  const gateway = guarded()
  await publish(gateway, { serials: [serial] })
  await expectRefusal(gateway, await gateway.send({ tlsClientAuth: { certIssuerSKI: "" } }), {
    status: 401,
    code: "client-cert-invalid",
    reason: "cert_revoked_by_crl",
  })
})

describe("a busy client", () => {
  test("is stopped one second after its serial was listed, and asked about once a second until then", async () => {
    let nowMs = Date.now()
    const check = vi.fn(async (...args: Parameters<ReturnType<typeof OBJECT>["check"]>) => OBJECT().check(...args))
    const bindings = { REVOCATION_LIST: { getByName: () => ({ check }) } as unknown as Env["REVOCATION_LIST"] }
    const gateway = guarded({}, { nowMs: () => nowMs, bindings })
    await publish(gateway)
    expect((await gateway.fetch()).status).toBe(200)
    await publish(gateway, { serials: [serial], number: 2 })
    nowMs += 999
    expect((await gateway.fetch()).status).toBe(200)
    expect(check).toHaveBeenCalledTimes(1)
    nowMs += 1
    expect((await gateway.fetch()).status).toBe(401)
    expect(check).toHaveBeenCalledTimes(2)
  })

  test("with many requests at once is asked about once", async () => {
    const check = vi.fn(async () => ({ status: "good" }))
    const bindings = { REVOCATION_LIST: { getByName: () => ({ check }) } as unknown as Env["REVOCATION_LIST"] }
    const gateway = guarded({}, { bindings })
    const statuses = await Promise.all(Array.from({ length: 20 }, async () => (await gateway.fetch()).status))
    expect(new Set(statuses)).toEqual(new Set([200]))
    expect(check).toHaveBeenCalledTimes(1)
  })

  test("is asked about anew when the clock was set back", async () => {
    let nowMs = Date.now()
    const check = vi.fn(async () => ({ status: "good" }))
    const bindings = { REVOCATION_LIST: { getByName: () => ({ check }) } as unknown as Env["REVOCATION_LIST"] }
    const gateway = guarded({}, { nowMs: () => nowMs, bindings })
    await gateway.fetch()
    nowMs -= 60_000
    await gateway.fetch()
    expect(check).toHaveBeenCalledTimes(2)
  })
})

describe("while nobody knows", () => {
  const age = (nextUpdateMs: number) =>
    runInDurableObject(OBJECT(), (_, { storage: { sql } }) => {
      sql.exec(`UPDATE state SET state = json_set(state, '$.list.nextUpdateMs', ?)`, nextUpdateMs)
    })

  test("CRL-2 because the list is over, clients are refused for the time being", async () => {
    const gateway = guarded()
    await publish(gateway)
    await age(Date.now())
    const { response, event } = await gateway.send()
    expect(response.headers.get("retry-after")).toBe("1")
    await expectRefusal(gateway, { response, event }, { ...UNKNOWN, reason: "crl_stale" })
  })

  test("CRL-2 because the list is over, clients pass when the operator says so, and the event is a warning", async () => {
    const gateway = guarded({ stale: "allow" })
    await publish(gateway)
    await age(Date.now())
    const { response, event } = await gateway.send()
    expect(response.status).toBe(200)
    expect(event).toMatchObject({ level: "warn", outcome: "forwarded", revocation_unknown: "stale" })
  })

  test("a certificate on a list that is over is refused, also when the operator lets pass", async () => {
    const gateway = guarded({ stale: "allow" })
    await publish(gateway, { serials: [serial] })
    await age(Date.now())
    await expectRefusal(gateway, await gateway.send(), {
      status: 401,
      code: "client-cert-invalid",
      reason: "cert_revoked_by_crl",
    })
  })

  test("because there is no list yet, the first client is refused and has it fetched", async () => {
    let nowMs = Date.now()
    const gateway = guarded({}, { nowMs: () => nowMs })
    await publisher.publish()
    await expectRefusal(gateway, await gateway.send(), { ...UNKNOWN, reason: "crl_missing" })
    await vi.waitFor(async () => {
      nowMs += 1_000
      expect((await gateway.fetch()).status).toBe(200)
    })
    expect(await publisher.fetches()).toBe(1)
  })

  test("because there is no list yet, clients pass when the operator says so", async () => {
    const { event } = await guarded({ stale: "allow" }).send()
    expect(event).toMatchObject({ level: "warn", status: 200, revocation_unknown: "missing" })
  })

  const failing = async (): Promise<never> => Promise.reject(new Error("no object"))
  test("because the object is not reached, clients are refused for the time being", async () => {
    const gateway = guarded({}, { bindings: unreachable(failing) })
    await expectRefusal(gateway, await gateway.send(), { ...UNKNOWN, reason: "crl_unavailable" })
  })

  test("because the object never answers, clients are refused after two seconds", async () => {
    const gateway = guarded({}, { bindings: unreachable(() => new Promise<never>(() => {})) })
    await expectRefusal(gateway, await gateway.send(), { ...UNKNOWN, reason: "crl_unavailable" })
  }, 10_000)

  test("because the object is not reached, clients pass when the operator says so", async () => {
    const gateway = guarded({ stale: "allow" }, { bindings: unreachable(failing) })
    expect((await gateway.send()).event).toMatchObject({
      level: "warn",
      status: 200,
      revocation_unknown: "unavailable",
    })
  })

  test("an object that is not reached is not called by every request", async () => {
    const check = vi.fn(failing)
    const gateway = guarded({}, { bindings: unreachable(check) })
    for (let index = 0; index < 5; index++) await gateway.fetch()
    expect(check).toHaveBeenCalledTimes(1)
  })

  test("an object that was reset is asked once more", async () => {
    const check = vi.fn(async () => Promise.reject(Object.assign(new Error("reset"), { durableObjectReset: true })))
    const gateway = guarded({}, { bindings: unreachable(check) })
    await gateway.fetch()
    expect(check).toHaveBeenCalledTimes(2)
  })
})

describe("revoked_serials", () => {
  test.each([
    ["as it is", serial],
    ["with colons, in capitals", serial.toUpperCase().replaceAll(/(?<=..)(?=(?:..)+$)/g, ":")],
    ["with a zero octet in front", `00${serial}`],
  ])("refuse a certificate whose serial is written %s", async (_, written) => {
    const gateway = createGateway(issuers({ revoked_serials: [written] }))
    await expectRefusal(gateway, await gateway.send(), {
      status: 401,
      code: "client-cert-invalid",
      reason: "cert_revoked_by_configuration",
    })
  })

  test("refuse nobody else", async () => {
    const gateway = createGateway(issuers({ revoked_serials: [serial] }))
    expect((await gateway.fetch({ cert: "acme-b" })).status).toBe(200)
  })
})

test("a CA without a list asks no object", async () => {
  const getByName = vi.fn()
  const bindings = { REVOCATION_LIST: { getByName } as unknown as Env["REVOCATION_LIST"] }
  const gateway = createGateway({}, { bindings })
  expect((await gateway.fetch()).status).toBe(200)
  expect(getByName).not.toHaveBeenCalled()
})

test("TLS-06 what the platform says about revocation counts before the list", async () => {
  const gateway = guarded()
  await expectRefusal(gateway, await gateway.send({ tlsClientAuth: { certRevoked: "1" } }), {
    status: 401,
    code: "client-cert-invalid",
    reason: "cert_revoked",
  })
})

describe("runDuties()", () => {
  test("says what has failed and rejects nothing", async () => {
    const error = vi.spyOn(console, "error").mockImplementation(() => {})
    const refresh = async (): Promise<never> => Promise.reject(new Error("no object"))
    const broken = { ...env, REVOCATION_LIST: { getByName: () => ({ refresh }) } as unknown as Env["REVOCATION_LIST"] }
    await runDuties(dutiesOf(guarded().config), broken)
    expect(error.mock.calls.map(([line]) => JSON.parse(String(line)) as unknown)).toContainEqual({
      level: "error",
      event: "duty_failed",
      duty: "refresh_revocation_lists",
      reason: "Error: no object",
    })
  })

  test("asks no object for a configuration without lists", async () => {
    const loaded = loadConfig(variables("none"))
    const getByName = vi.fn()
    if (loaded.ok) await runDuties(dutiesOf(loaded.config), { ...env, REVOCATION_LIST: { getByName } as never })
    expect([loaded.ok, getByName.mock.calls]).toEqual([true, []])
  })
})

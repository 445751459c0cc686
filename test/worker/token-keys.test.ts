/**
 * Goal: keys come and go with the authorization server; while it is down or misbehaves, keys at hand serve for a bounded time
 * and then nothing verifies; and callers cannot make the gateway ask more than rarely. Method: a real key server that
 * misbehaves as told, a clock that the test holds.
 */
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import {
  TOKEN_KEYS_BYTES_MAX,
  TOKEN_KEYS_COOLDOWN_MS,
  TOKEN_KEYS_FRESH_MS,
  TOKEN_KEYS_TIMEOUT_MS,
} from "../../src/core/bounds.ts"
import { expectRefusal, fixtures, trapConnections, type TestGateway } from "./harness.ts"
import type { KeyServerScript } from "./provided.ts"
import { ALL_KEYS, bearer, claimsFor, createToken, createTokenGateway, fetchCount, serveKeys } from "./tokens.ts"

const START_MS = Date.now()
const HOUR_MS = 3_600_000
let nowMs = START_MS
let complaints: string[] = []

beforeEach(() => {
  nowMs = START_MS
  complaints = []
  vi.spyOn(console, "error").mockImplementation((line: string) => void complaints.push(line))
})
afterEach(() => {
  vi.useRealTimers()
})

const createClockedGateway = (server: object = {}): Promise<TestGateway> =>
  createTokenGateway({ max_lifetime: "30d", ...server }, { nowMs: () => nowMs })

/** Returns the field of a token that lives for days. */
async function createLong(gateway: TestGateway, key: "es256" | "es256 two" | "other" = "es256") {
  const claims = { ...claimsFor(gateway, START_MS), exp: Math.floor(START_MS / 1_000) + 864_000 }
  return bearer(await createToken(gateway, { claims, key }))
}

/** Presents such a token, a new one each time. */
async function presentLong(gateway: TestGateway, key?: Parameters<typeof createLong>[1]) {
  return gateway.send({ target: "/here", headers: await createLong(gateway, key) })
}

const statusOf = async (gateway: TestGateway, key?: Parameters<typeof presentLong>[1]): Promise<number> =>
  (await presentLong(gateway, key)).response.status

const TWO = { body: { keys: [fixtures.tokenKeys["es256 two"].publicJwk] } }

describe("rotation", () => {
  test("many requests at once fetch the keys once", async () => {
    const gateway = await createClockedGateway()
    const statuses = await Promise.all(Array.from({ length: 20 }, () => statusOf(gateway)))
    expect([new Set(statuses), await fetchCount(gateway)]).toEqual([new Set([200]), 1])
  })

  test("a key that is new is looked for at once", async () => {
    const gateway = await createClockedGateway()
    await statusOf(gateway)
    await serveKeys(gateway, TWO)
    expect(await statusOf(gateway, "es256 two")).toBe(200)
  })

  test("a key that was withdrawn verifies nothing once the set has been fetched again, remembered tokens included", async () => {
    const gateway = await createClockedGateway()
    const headers = await createLong(gateway)
    const present = async (): Promise<number> => (await gateway.send({ target: "/here", headers })).response.status
    const statuses = [await present()]
    await serveKeys(gateway, TWO)
    nowMs += TOKEN_KEYS_FRESH_MS
    // The first of these makes the isolate fetch, and does not wait for it.
    statuses.push(await present(), await present(), await statusOf(gateway))
    expect(statuses).toEqual([200, 200, 401, 401])
  })

  test("another key under the id of an old one takes its place, for remembered tokens too", async () => {
    const gateway = await createClockedGateway()
    const headers = await createLong(gateway)
    await gateway.send({ target: "/here", headers })
    await serveKeys(gateway, { body: { keys: [{ ...fixtures.tokenKeys["es256 two"].publicJwk, kid: "es256" }] } })
    nowMs += TOKEN_KEYS_FRESH_MS
    await gateway.send({ target: "/here", headers })
    expect((await gateway.send({ target: "/here", headers })).event.reason).toBe("signature_invalid")
  })

  test("a set without keys takes all of them away", async () => {
    const gateway = await createClockedGateway()
    await statusOf(gateway)
    await serveKeys(gateway, { body: { keys: [] } })
    nowMs += TOKEN_KEYS_FRESH_MS
    await statusOf(gateway)
    expect(await statusOf(gateway)).toBe(401)
  })

  test("tokens of keys that stay are still remembered when the set has been fetched again", async () => {
    const gateway = await createClockedGateway()
    const headers = await createLong(gateway)
    await gateway.send({ target: "/here", headers })
    nowMs += TOKEN_KEYS_FRESH_MS
    await gateway.send({ target: "/here", headers })
    const verify = vi.spyOn(crypto.subtle, "verify")
    await gateway.send({ target: "/here", headers })
    expect([verify.mock.calls.length, await fetchCount(gateway)]).toEqual([0, 2])
  })
})

describe("JWT-21: a key server that misbehaves", () => {
  const misbehaviours: readonly (readonly [string, KeyServerScript, string])[] = [
    ["an error", { status: 500 }, "status_500"],
    ["a page", { contentType: "text/html", text: "<html>" }, "no_json"],
    ["JSON that is called a page", { contentType: "text/html", body: { keys: ALL_KEYS } }, "no_json"],
    ["half of it", { text: '{"keys":[' }, "no_json"],
    ["another document", { body: { issuer: "x" } }, "no_key_set"],
    ["too many keys", { body: { keys: Array.from({ length: 65 }, () => ALL_KEYS[0]) } }, "no_key_set"],
    ["50 MB", { floodBytes: 50_000_000 }, "too_large"],
    ["a redirect", { status: 302, location: `http://127.0.0.1:${fixtures.trapPort}/keys` }, "status_302"],
  ]

  test.each(misbehaviours)("%s: nothing verifies, and the client is not to blame", async (_, script, failure) => {
    const gateway = await createClockedGateway()
    await serveKeys(gateway, script)
    const before = await trapConnections()
    const exchanged = await presentLong(gateway)
    await expectRefusal(gateway, exchanged, {
      status: 503,
      code: "service-unavailable",
      reason: "token_keys_unavailable",
    })
    expect(exchanged.response.headers.get("retry-after")).toBe("1")
    expect(complaints.map((line) => JSON.parse(line) as unknown)).toEqual([
      { level: "error", event: "token_keys_failed", token: "login", reason: failure },
    ])
    expect(await trapConnections()).toBe(before)
  })

  test.each(misbehaviours)("%s: keys at hand serve up to max_stale, then no longer", async (_, script) => {
    const gateway = await createClockedGateway({ max_stale: "2h" })
    const statuses = [await statusOf(gateway)]
    await serveKeys(gateway, script)
    for (const afterMs of [TOKEN_KEYS_FRESH_MS, HOUR_MS, TOKEN_KEYS_FRESH_MS + 2 * HOUR_MS - 1]) {
      nowMs = START_MS + afterMs
      statuses.push(await statusOf(gateway))
    }
    nowMs += 1
    statuses.push(await statusOf(gateway))
    expect(statuses).toEqual([200, 200, 200, 200, 503])
  })

  test("nobody listens", async () => {
    const gateway = await createClockedGateway({ jwks_url: `http://127.0.0.1:${fixtures.closedPort}/keys` })
    expect([await statusOf(gateway), complaints.length]).toEqual([503, 1])
  })

  test("it never answers: requests wait a bounded time, and the next one does not wait again", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })
    const gateway = await createClockedGateway()
    await serveKeys(gateway, { hangs: true })
    const pending = presentLong(gateway)
    await vi.waitUntil(async () => (await fetchCount(gateway)) === 1)
    await vi.advanceTimersByTimeAsync(TOKEN_KEYS_TIMEOUT_MS)
    expect((await pending).response.status).toBe(503)
    expect([await statusOf(gateway), await fetchCount(gateway)]).toEqual([503, 1])
  })

  test("a set of nearly the bound is read", async () => {
    const gateway = await createClockedGateway()
    const body = { keys: ALL_KEYS }
    await serveKeys(gateway, { body, padBytes: TOKEN_KEYS_BYTES_MAX - JSON.stringify(body).length })
    expect(await statusOf(gateway)).toBe(200)
  })

  test("two keys of one id: whichever has signed verifies", async () => {
    const gateway = await createClockedGateway()
    const twins = (["es256", "es256 two"] as const).map((name) => ({
      ...fixtures.tokenKeys[name].publicJwk,
      kid: "twin",
    }))
    await serveKeys(gateway, { body: { keys: twins } })
    const headers = await Promise.all(
      (["es256", "es256 two", "other"] as const).map(async (key) =>
        bearer(await createToken(gateway, { key, header: { kid: "twin" } })),
      ),
    )
    const statuses = []
    for (const fields of headers)
      statuses.push((await gateway.send({ target: "/here", headers: fields })).response.status)
    expect(statuses).toEqual([200, 200, 401])
  })

  test("a flood of unknown keys makes it look once a while", async () => {
    const gateway = await createClockedGateway()
    await statusOf(gateway)
    const flood = async (): Promise<void> => {
      for (let i = 0; i < 10; i++) {
        const header = { kid: `unknown-${i}` }
        await gateway.send({ target: "/here", headers: bearer(await createToken(gateway, { header })) })
      }
    }
    const counts = []
    for (const afterMs of [0, TOKEN_KEYS_COOLDOWN_MS - 1, TOKEN_KEYS_COOLDOWN_MS]) {
      nowMs = START_MS + afterMs
      await flood()
      counts.push(await fetchCount(gateway))
    }
    expect(counts).toEqual([2, 2, 3])
  })

  test("an unknown key while it is down is nobody's fault", async () => {
    const gateway = await createClockedGateway()
    await statusOf(gateway)
    await serveKeys(gateway, { status: 500 })
    expect([await statusOf(gateway, "other"), await statusOf(gateway, "other")]).toEqual([503, 503])
  })
})

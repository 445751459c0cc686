/**
 * Goal: strangers are stopped by their address before a certificate is looked at or a client's object exists; no field of
 * theirs chooses the address, and a counter that fails stops nobody. Method: the whole pipeline with a counter per key in
 * place of the platform's, and the real binding where it matters that there is one.
 */
import { env } from "cloudflare:workers"
import { afterEach, describe, expect, test, vi } from "vitest"
import { IP_LIMIT_PERIOD_SECONDS, IP_LIMIT_TIMEOUT_MS } from "../../src/core/bounds.ts"
import { CLIENT_ADDRESS, createGateway, existingObjects, expectRefusal, type RequestParts } from "./harness.ts"

const REFUSAL = { status: 429, code: "ip-rate-limited", reason: "ip_limit" }

afterEach(() => {
  vi.useRealTimers()
})

/** A binding that says yes to the first `limit` requests of a key, and what it was asked for. */
function counter(limit: number) {
  const keys: string[] = []
  const binding: RateLimit = {
    limit: ({ key }) => {
      keys.push(key)
      return Promise.resolve({ success: keys.filter((other) => other === key).length <= limit })
    },
  }
  return { keys, bindings: { IP_LIMIT: binding } }
}

/** A request without a certificate from an address. */
function from(address: string): RequestParts {
  return { cert: "none", headers: { "CF-Connecting-IP": address } }
}

test("IPL-01 1000 addresses of one /64 have the limit of one", async () => {
  const gateway = createGateway({}, counter(10))
  const suffix = () => Array.from(crypto.getRandomValues(new Uint16Array(4)), (group) => group.toString(16)).join(":")
  const statuses: number[] = []
  for (let i = 0; i < 1_000; i++) statuses.push((await gateway.fetch(from(`2001:db8:1:2:${suffix()}`))).status)
  expect([statuses.filter((status) => status === 401), statuses.filter((status) => status === 429)]).toEqual([
    Array.from({ length: 10 }, () => 401),
    Array.from({ length: 990 }, () => 429),
  ])
  expect(await gateway.originRequests()).toEqual([])
})

test("IPL-01 the refusal says that the whole period is to be waited for", async () => {
  const gateway = createGateway({}, counter(0))
  const exchanged = await gateway.send()
  const problem = await expectRefusal(gateway, exchanged, { ...REFUSAL, event: { client_address: CLIENT_ADDRESS } })
  expect(problem.type).toBe("https://iana.org/assignments/http-problem-types#quota-exceeded")
  expect(exchanged.response.headers.get("retry-after")).toBe(String(IP_LIMIT_PERIOD_SECONDS))
})

test("IPL-02 spellings of one address share its limit", async () => {
  const { keys, bindings } = counter(3)
  const gateway = createGateway({}, { bindings })
  const spellings = ["::ffff:192.0.2.1", "::ffff:c000:201", "192.0.2.1", "0:0:0:0:0:ffff:c000:0201"]
  const statuses: number[] = []
  for (const spelling of spellings) statuses.push((await gateway.fetch(from(spelling))).status)
  expect([statuses, new Set(keys)]).toEqual([[401, 401, 401, 429], new Set(["192.0.2.1/32"])])
})

test("IPL-04 a flood of unknown certificates creates no object and reaches no origin", async () => {
  const gateway = createGateway({}, counter(5))
  const before = await existingObjects()
  const parts = { cert: "two uris" } as const
  const responses = await Promise.all(Array.from({ length: 100 }, () => gateway.fetch(parts)))
  expect(responses.filter(({ status }) => status === 429)).toHaveLength(95)
  expect(responses.filter(({ status }) => status === 403)).toHaveLength(5)
  expect([await existingObjects(), await gateway.originRequests()]).toEqual([before, []])
})

test("a refused request has neither certificate nor client in its event, also with a good certificate", async () => {
  const gateway = createGateway({}, counter(0))
  const before = await existingObjects()
  const { event } = await gateway.send({ cert: "acme-a" })
  expect(event).toMatchObject({ problem: "ip-rate-limited", route: "/public/**" })
  expect([event.certificate_fingerprint, event.client_id, await existingObjects()]).toEqual([
    undefined,
    undefined,
    before,
  ])
})

test.each<readonly [string, RequestParts]>([
  ["answered without a certificate", { target: "/healthz", cert: "none" }],
  ["asked with HEAD", { method: "HEAD" }],
  ["that changes something", { method: "POST", target: "/pay", body: "{}" }],
])("the limit holds on a route %s", async (_, parts) => {
  const { response, event } = await createGateway({}, counter(0)).send(parts)
  expect([response.status, event.problem]).toEqual([429, "ip-rate-limited"])
})

test("what has no route is refused without being counted", async () => {
  const { keys, bindings } = counter(0)
  const response = await createGateway({}, { bindings }).fetch({ target: "/nope" })
  expect([response.status, keys]).toEqual([404, []])
})

test("no field but the platform's chooses the address", async () => {
  const { keys, bindings } = counter(1)
  const gateway = createGateway({}, { bindings })
  const headers = {
    "X-Forwarded-For": "198.51.100.1",
    "X-Real-IP": "198.51.100.2",
    "True-Client-IP": "198.51.100.3",
    "CF-Connecting-IPv6": "2001:db8::1",
    Forwarded: "for=198.51.100.4",
  }
  await gateway.fetch()
  expect((await gateway.fetch({ headers })).status).toBe(429)
  expect(new Set(keys)).toEqual(new Set([`${CLIENT_ADDRESS}/32`]))
})

test("addresses that are none have one limit together", async () => {
  const { keys, bindings } = counter(2)
  const gateway = createGateway({}, { bindings })
  const garbage = ["", "garbage", "192.0.2.1, 192.0.2.2", "192.0.2.01", "x".repeat(2_000), "unknown"]
  const statuses: number[] = []
  for (const address of garbage) statuses.push((await gateway.fetch(from(address))).status)
  expect([statuses, new Set(keys)]).toEqual([[401, 401, 429, 429, 429, 429], new Set(["unknown"])])
})

describe("a binding that is no help stops nobody", () => {
  test.each<readonly [string, RateLimit["limit"]]>([
    ["rejects", () => Promise.reject(new Error("SECRET"))],
    [
      "throws",
      () => {
        throw new TypeError("SECRET")
      },
    ],
    ["answers with nothing", () => Promise.resolve(undefined as unknown as RateLimitOutcome)],
    ["answers with something else", () => Promise.resolve({ success: "no" } as unknown as RateLimitOutcome)],
  ])("when it %s, and the event says so", async (_, limit) => {
    const { response, event } = await createGateway({}, { bindings: { IP_LIMIT: { limit } } }).send()
    expect([response.status, event.ip_limit, event.level]).toEqual([200, "unavailable", "warn"])
    expect(JSON.stringify(event)).not.toContain("SECRET")
  })

  test("when it does not answer in time, and the event says so", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })
    const limit = vi.fn(() => new Promise<never>(() => {}))
    const gateway = createGateway({}, { bindings: { IP_LIMIT: { limit } } })
    const pending = gateway.send()
    await vi.waitUntil(() => limit.mock.calls.length > 0)
    await vi.advanceTimersByTimeAsync(IP_LIMIT_TIMEOUT_MS)
    vi.useRealTimers()
    const { response, event } = await pending
    expect([response.status, event.ip_limit]).toEqual([200, "unavailable"])
  })

  test("and the certificate is asked for all the same", async () => {
    const limit = () => Promise.reject(new Error("down"))
    const gateway = createGateway({}, { bindings: { IP_LIMIT: { limit } } })
    await expectRefusal(gateway, await gateway.send({ cert: "none" }), {
      status: 401,
      code: "client-cert-required",
      event: { ip_limit: "unavailable" },
    })
  })

  test("when there is none, and there is nothing to say", async () => {
    const { response, event } = await createGateway().send()
    expect([response.status, event.ip_limit, event.level]).toEqual([200, undefined, "info"])
  })
})

test("the binding of wrangler.toml counts and lets pass", async () => {
  const { IP_LIMIT } = env
  if (IP_LIMIT === undefined) throw new Error("wrangler.toml has no IP_LIMIT")
  const limit = vi.fn((options: RateLimitOptions) => IP_LIMIT.limit(options))
  const { response } = await createGateway({}, { bindings: { IP_LIMIT: { limit } } }).send()
  expect([response.status, await limit.mock.results[0]?.value]).toEqual([200, { success: true }])
})

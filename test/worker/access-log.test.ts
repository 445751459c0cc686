/**
 * Goal: every request leaves exactly one event, whatever became of it, and no event says more than it may. Method: one
 * request for each way in which a request can end, with canaries wherever a caller can write something.
 */
import { describe, expect, test, vi } from "vitest"
import type { AccessEvent } from "../../src/core/record/event.ts"
import { createGateway, eventOf, fixtures, writtenLines, type GatewayOptions, type RequestParts } from "./harness.ts"

/** Every key that an event may have, in its order. */
const KEYS = [
  "timestamp",
  "level",
  "event",
  "request_id",
  "trace_id",
  "span_id",
  "outcome",
  "status",
  "method",
  "host",
  "path",
  "route",
  "client_id",
  "client_address",
  "problem",
  "reason",
  "latency_ms",
  "origin",
  "origin_ms",
  "origin_attempts",
  "certificate_fingerprint",
  "certificate_days_left",
  "ip_limit",
  "gate",
  "rate_limit_policy",
  "rate_limit_remaining",
  "rate_limit_retry_after_ms",
  "rate_limit_shadowed",
  "rate_limit_soft",
  "guard",
  "guard_retry_after_ms",
  "guard_outcome",
  "guard_untold",
  "origin_unhealthy",
  "config_version",
] as const satisfies readonly (keyof AccessEvent)[]

const BROKEN_GATE: GatewayOptions = {
  bindings: {
    CLIENT_GATE: {
      getByName: () => ({ admit: () => Promise.reject(new Error("x")) }),
    } as unknown as Env["CLIENT_GATE"],
  },
}
const BROKEN_IP_LIMIT: GatewayOptions = { bindings: { IP_LIMIT: { limit: () => Promise.reject(new Error("x")) } } }
const CLOSED = { ORIGINS: { stub: { url: `http://127.0.0.1:${fixtures.closedPort}` } } }
const SPENT = { LIMITS: { generous: { rate: "1/d", burst: 1 } } }

interface Ending {
  readonly parts: RequestParts
  readonly overrides?: Readonly<Record<string, unknown>>
  readonly options?: GatewayOptions
  /** Requests before it. */
  readonly before?: number
  readonly event: Partial<AccessEvent>
}

const FORWARDED = { outcome: "forwarded", level: "info" } as const
const REFUSED = { outcome: "refused", level: "warn" } as const

const ENDINGS: Readonly<Record<string, Ending>> = {
  forwarded: { parts: {}, event: { ...FORWARDED, status: 200, origin: "stub" } },
  "forwarded and redirected": { parts: { target: "/public/redirect" }, event: { ...FORWARDED, status: 302 } },
  "forwarded and failed": {
    parts: { target: "/public/503" },
    event: { outcome: "forwarded", level: "error", status: 503 },
  },
  answered: { parts: { target: "/healthz" }, event: { outcome: "answered", level: "info", status: 200 } },
  "refused by target": { parts: { host: "c.test" }, event: { ...REFUSED, problem: "misdirected-request" } },
  "refused by route": { parts: { target: "/nope" }, event: { ...REFUSED, problem: "route-not-found" } },
  "refused by certificate": { parts: { cert: "none" }, event: { ...REFUSED, problem: "client-cert-required" } },
  "refused by identity": { parts: { cert: "two uris" }, event: { ...REFUSED, problem: "client-unknown" } },
  "refused by client-gate": { parts: {}, overrides: SPENT, before: 1, event: { ...REFUSED, problem: "rate-limited" } },
  "refused because client-gate failed": {
    parts: {},
    options: BROKEN_GATE,
    event: { outcome: "refused", level: "error", problem: "service-unavailable" },
  },
  "refused because the origin failed": {
    parts: {},
    overrides: CLOSED,
    event: { outcome: "refused", level: "error", problem: "origin-unreachable" },
  },
  "passed uncounted because ip-limit failed": {
    parts: {},
    options: BROKEN_IP_LIMIT,
    event: { outcome: "forwarded", level: "warn", ip_limit: "unavailable" },
  },
  failed: {
    parts: {},
    options: { nowMs: failingClock() },
    event: { outcome: "failed", level: "error", problem: "internal-error" },
  },
}

describe.each(Object.entries(ENDINGS))(
  "a request that is %s",
  (_, { parts, overrides, options, before = 0, event }) => {
    async function exchange(): Promise<AccessEvent> {
      const gateway = createGateway(overrides, options)
      for (let i = 0; i < before; i++) await gateway.fetch(parts)
      return eventOf(await gateway.fetch(parts))
    }

    test("leaves one event that says so", async () => {
      expect(await exchange()).toMatchObject({ event: "request", ...event })
      expect(writtenLines()).toHaveLength(1 + before)
    })

    test("leaves an event of known keys in a known order", async () => {
      const keys = Object.keys(await exchange())
      expect(keys).toEqual(KEYS.filter((key) => keys.includes(key)))
    })
  },
)

test("an event says when, who, what, which way and how long", async () => {
  const gateway = createGateway({}, { nowMs: () => 1_798_761_600_000 })
  const { event } = await gateway.send({ target: "/public/%41?q=1" })
  expect(event).toEqual({
    timestamp: "2027-01-01T00:00:00.000Z",
    level: "info",
    event: "request",
    request_id: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
    trace_id: expect.stringMatching(/^[0-9a-f]{32}$/) as string,
    span_id: expect.stringMatching(/^[0-9a-f]{16}$/) as string,
    outcome: "forwarded",
    status: 200,
    method: "GET",
    host: "gw.test",
    path: "/public/A",
    route: "/public/**",
    client_id: gateway.clientId("acme-a"),
    client_address: "192.0.2.7",
    latency_ms: 0,
    origin: "stub",
    origin_ms: 0,
    certificate_fingerprint: fixtures.certificates["acme-a"].fingerprint,
    certificate_days_left: expect.any(Number) as number,
    gate: "asked",
    rate_limit_policy: "generous",
    rate_limit_remaining: 999,
    config_version: gateway.config.version,
  } satisfies AccessEvent)
})

test("latency is the time to the header and holds the origin's share", async () => {
  let nowMs = Date.now()
  const { event } = await createGateway({}, { nowMs: () => (nowMs += 10) }).send()
  expect(event.origin_ms).toBe(10)
  expect(event.latency_ms).toBeGreaterThan(event.origin_ms ?? 0)
})

describe("LOG-02 secrets that a caller sends are in no event and no problem", () => {
  const headers = {
    Authorization: "Bearer SECRETJWT",
    Cookie: "sid=SECRETC",
    "X-Api-Key": "SECRETK",
    "Idempotency-Key": '"SECRETI"',
    "Proxy-Authorization": "Basic SECRETP",
    "User-Agent": "SECRETU",
    Referer: "https://SECRETR.example/",
    "X-Client-Id": "SECRETX",
    tracestate: "vendor=SECRETT",
  }
  const target = "/pay?token=SECRETQ&password=SECRETW&code=SECRETO"

  test.each<readonly [string, RequestParts, Readonly<Record<string, unknown>>]>([
    ["forwarded", {}, {}],
    ["refused without a certificate", { cert: "none" }, {}],
    ["refused without a route", { target: target.replace("/pay", "/nope") }, {}],
    ["refused because the origin failed", {}, CLOSED],
    ["refused as a duplicate", { headers: { ...headers, "Content-Type": "a/SECRETA, b/SECRETB" } }, {}],
  ])("when %s", async (_, parts, overrides) => {
    const gateway = createGateway(overrides)
    const errors = vi.spyOn(console, "error")
    const response = await gateway.fetch({ method: "POST", target, headers, body: "SECRETBODY", ...parts })
    const isForwarded = eventOf(response).outcome === "forwarded"
    const written = [...writtenLines(), JSON.stringify(errors.mock.calls), isForwarded ? "" : await response.text()]
    expect(written.join("\n")).not.toContain("SECRET")
  })
})

test.each(["/public/%1b%5b31m%0a%7b%22level%22%3a%22audit%22%7d", "/public/%e2%80%a8%e2%80%ae"])(
  "LOG-01 %s leaves one line without control characters",
  async (target) => {
    await createGateway().send({ target, headers: { "User-Agent": "a\u001b[2J\u0007" } })
    expect(writtenLines()).toHaveLength(1)
    expect(writtenLines()[0]).toMatch(/^[\x20-\x7e]*$/)
  },
)

test("LOG-01 an address that only looks like one is cut and escaped", async () => {
  const { event } = await createGateway().send({ headers: { "CF-Connecting-IP": `\u001b[31m${"x".repeat(2_000)}` } })
  expect(event.client_address).toHaveLength(1_024)
  expect(writtenLines()[0]).toMatch(/^[\x20-\x7e]*(?:…[\x20-\x7e]*)?$/)
})

test("console = false keeps the console silent", async () => {
  await createGateway({ GATEWAY: { hosts: ["gw.test"], console: false } }).fetch()
  expect(writtenLines()).toEqual([])
})

/** A clock that works until a request has a client certificate to look at, and then does not. */
function failingClock(): () => number {
  let calls = 0
  return () => {
    calls += 1
    if (calls === 2) throw new Error("SECRET clock")
    return 1_798_761_600_000
  }
}

test("LOG-03 a card number in a path and a token in an id are masked in the event", async () => {
  const { event } = await createGateway().send({
    target: "/public/4111111111111111?card=4111-1111-1111-1111",
    headers: { "X-Note": "4111 1111 1111 1111", "X-Request-Id": "4111-1111-1111-1111" },
  })
  expect(event.path).toBe("/public/[redacted]")
  expect(JSON.stringify(event)).not.toMatch(/4111/)
})

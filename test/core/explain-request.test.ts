/**
 * Goal: `sekisho explain` says what a running gateway would do, and why. Method: one configuration with a case for each answer; how it
 * is printed is tested with the process (`test/e2e/command-explain.test.ts`).
 */
import { describe, expect, test } from "vitest"
import { describeRoute } from "../../cli/describe.ts"
import { explainRequest, type Explanation } from "../../cli/explain-request.ts"
import { loadConfig } from "../../src/config/load.ts"

const NOW_MS = Date.UTC(2026, 10, 28, 12)
const FINGERPRINT = "ab".repeat(32)
const loaded = loadConfig({
  GATEWAY: { hosts: ["gw.example", "eu.example"] },
  CLIENTS: [
    { id: "acme", certificates: [{ fingerprint: FINGERPRINT }], limits: { standard: "gold" } },
    { id: "off", certificates: [{ fingerprint: "cd".repeat(32) }], disabled: true },
    { id: "old", certificates: [{ fingerprint: "ef".repeat(32), retire_at: "2026-01-01" }] },
  ],
  ORIGINS: { bank: { url: "https://core.bank.example/base", client_cert: "xfcc" } },
  LIMITS: {
    standard: { rate: "50/s", burst: 100 },
    gold: { rate: "500/s", burst: 1_000 },
    few: { concurrent: 2 },
  },
  GUARDS: {
    credentials: { max_failures: 5, failure_duration: "10m", backoff: { kind: "lineal", duration: "5m" } },
  },
  TOKENS: {
    login: { issuer: "https://login.example", jwks_url: "https://login.example/jwks", audience: "https://gw.example" },
  },
  ROUTES: [
    { path: "/healthz", client_certificate: "none", methods: ["GET"], respond: { status: 204 } },
    {
      prefix: "/v1",
      origin: "bank",
      limits: "standard",
      rewrite: { strip_prefix: "/v1" },
      forward_headers: ["accept"],
    },
    { path: "/login", origin: "bank", limits: ["standard", "few"], guard: "credentials", cost: 2 },
    { regex: "^/x(.*)$", origin: "bank", limits: "standard", rewrite: { path: "/a/$1/c" } },
    { host: "eu.example", prefix: "/v1", origin: "bank", limits: "standard" },
    {
      path: "/transfers",
      origin: "bank",
      limits: "standard",
      methods: ["GET", "POST"],
      token: "login",
      scopes: { GET: ["transfers:read"], POST: ["transfers:write"] },
    },
  ],
})
if (!loaded.ok) throw new Error(JSON.stringify(loaded.errors))
const { config } = loaded

function explain(method: string, url: string, id?: string): Explanation {
  const client = config.clients.find((one) => one.id === id)
  return explainRequest(config, { method, url, client }, NOW_MS)
}

/** Returns the text and the reasons of one stage. */
function said({ steps }: Explanation, stage: string): string {
  const step = steps.find((one) => one.stage === stage)
  return [step?.text, ...(step?.notes ?? [])].join("\n")
}

describe("explainRequest()", () => {
  test.each([
    [
      "GET",
      "/v1/a?x=%2f",
      "acme",
      { kind: "forwarded", origin: "bank", url: "https://core.bank.example/base/a?x=%2f" },
    ],
    ["GET", "https://eu.example/v1/a", "acme", { kind: "forwarded", url: "https://core.bank.example/base/v1/a" }],
    ["GET", "https://gw.example/healthz", undefined, { kind: "answered", status: 204 }],
    [
      "GET",
      "https://other.example/v1",
      "acme",
      { kind: "refused", stage: "target", code: "misdirected-request", status: 421 },
    ],
    ["GET", "/v1/../x", "acme", { kind: "refused", stage: "target", code: "path-rejected", status: 400 }],
    ["GET", "ftp://gw.example/v1", "acme", { kind: "refused", stage: "target", code: "host-rejected" }],
    ["GET", "/nope", "acme", { kind: "refused", stage: "route", code: "route-not-found", status: 404 }],
    ["POST", "/healthz", "acme", { kind: "refused", stage: "route", code: "method-not-allowed", status: 405 }],
    ["GET", "/x..", "acme", { kind: "refused", stage: "route", code: "path-rejected", status: 400 }],
    ["GET", "/v1", undefined, { kind: "refused", stage: "certificate", code: "client-cert-required", status: 401 }],
    ["GET", "/v1", "off", { kind: "refused", stage: "identity", code: "client-disabled", status: 403 }],
    ["GET", "/v1", "old", { kind: "refused", stage: "identity", code: "client-cert-retired", status: 401 }],
  ])("ends %s %s of %s as the gateway would", (method, url, client, end) => {
    expect(explain(method, url, client).end).toMatchObject(end)
  })

  test("names the stages in the order of a request, the last of which decides", () => {
    const { steps } = explain("GET", "/v1", "acme")
    expect(steps.map(({ stage }) => stage)).toEqual([
      "target",
      "route",
      "certificate",
      "identity",
      "client-gate",
      "origin",
    ])
    expect(explain("GET", "/v1", "off").steps.map(({ isPassed }) => isPassed)).toEqual([true, true, true, false])
  })

  test("says which route it is, why, and what becomes of the path", () => {
    expect(said(explain("GET", "/v1/a", "acme"), "route")).toMatch(
      /^ROUTES\[1\] \/v1\/\*\*\n.*longest prefix, .*\n.*origin bank, without \/v1\n\/v1\/a becomes \/a$/,
    )
  })

  test.each([
    ["https://eu.example/v1", /among the routes of eu\.example, which come first/],
    ["https://eu.example/login", /none of eu\.example's own matches/],
    ["https://gw.example/login", /on any host/],
  ])("says why the host leads there: %s", (url, expected) => {
    expect(said(explain("GET", url, "acme"), "route")).toMatch(expected)
  })

  test("says what limits are the client's own, and that tokens of them are lent", () => {
    const gate = said(explain("GET", "/v1", "acme"), "client-gate")
    expect(gate).toMatch(/lends[^]*limit gold: 500 per 1s, burst 1000\n.*CLIENTS\[0\]\.limits/)
  })

  test("says that the object is asked where requests at once are limited, with guards and cost", () => {
    const gate = said(explain("POST", "/login", "acme"), "client-gate")
    expect(gate).toMatch(/asked for every request[^]*few[^]*costs 2\nguard credentials, for the client$/)
  })

  test("says which token is needed, and which scopes this method needs", () => {
    const explanation = explain("HEAD", "/transfers", "acme")
    expect(said(explanation, "token")).toMatch(/^needs an access token of login\n.*https:\/\/login\.example, bound/)
    expect(said(explanation, "access-policy")).toMatch(/^needs the scopes transfers:read\n/)
  })

  test("names the fields that the origin gets", () => {
    const origin = said(explain("GET", "/v1", "acme"), "origin")
    expect(origin).toMatch(/fields set: X-Request-Id, X-Client-Id, X-Forwarded-Client-Cert, .*Via\n.*: accept, and/)
  })

  test("says when a path is written in another way than its canonical one", () => {
    expect(said(explain("GET", "/%761", "acme"), "target")).toMatch(/\/v1\nthis is the canonical spelling/)
    expect(said(explain("GET", "/v1", "acme"), "target")).not.toMatch(/canonical/)
  })
})

test("a route with idempotency keys says where it wants them, and for which methods", () => {
  const keyed = loadConfig({
    GATEWAY: { hosts: ["gw.example"], idempotency: { keys: ["IDEMPOTENCY_KEY"] } },
    CLIENTS: [{ id: "acme", certificates: [{ fingerprint: FINGERPRINT }] }],
    ORIGINS: { bank: { url: "https://core.bank.example" } },
    LIMITS: { standard: { rate: "50/s", burst: 100 } },
    ROUTES: [
      { path: "/pay", origin: "bank", limits: "standard", idempotency: "required" },
      {
        path: "/old",
        origin: "bank",
        limits: "standard",
        idempotency: { required: false, header: "x-key", ttl: "1h" },
      },
      {
        path: "/safe",
        origin: "bank",
        limits: "standard",
        idempotency: { origin_idempotent: true },
      },
    ],
  })
  if (!keyed.ok) throw new Error(JSON.stringify(keyed.errors))
  const { clients, routes } = keyed.config
  const ask = (method: string, url: string): string =>
    said(explainRequest(keyed.config, { method, url, client: clients[0] }, NOW_MS), "idempotency")
  expect([ask("POST", "/pay"), ask("POST", "/old"), ask("GET", "/pay")]).toEqual([
    "needs a key in idempotency-key\ntaken as new; repeats get the same answer for 1d",
    "counts a key, where there is one, in x-key\ntaken as new; repeats get the same answer for 1h",
    "",
  ])
  expect(routes.map((route) => describeRoute(route).at(-1))).toEqual([
    "origin bank, once for each idempotency-key, kept 1d",
    "origin bank, once for each x-key (optional), kept 1h",
    "origin bank, once for each idempotency-key, kept 1d, again when in doubt",
  ])
})

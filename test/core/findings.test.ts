/**
 * Findings about configurations that are valid: what starts and then surprises. The parts of a wrangler file are written
 * here as `sekisho check` reads them.
 */
// First, because the package of certificates does not load without it.
import "../../cli/pki/reflection.ts"
import { beforeAll, describe, expect, test } from "vitest"
import { createAuthority } from "../../cli/pki/certificate.ts"
import { parseSubject } from "../../cli/pki/name.ts"
import type { Finding } from "../../cli/finding.ts"
import { findFindings } from "../../cli/findings.ts"
import type { WranglerEnvironment } from "../../cli/wrangler-file.ts"
import { VARIABLE_BYTES_MAX } from "../../src/core/bounds.ts"
import { load } from "./config-fixtures.ts"

const NOW_MS = Date.UTC(2026, 10, 28, 12)
const SKI = "73656b6973686f2d646576656c6f706d656e742d"
const VARS = {
  GATEWAY: { hosts: ["localhost"] },
  ISSUERS: { partners: { ski: "00000000000000000000000000000000deadbeef" }, development: { ski: SKI } },
  CLIENTS: [{ id: "acme", certificates: [{ issuer: "partners", san_uri: "spiffe://partners.example/acme" }] }],
  ORIGINS: { bank: { url: "https://core.bank.example" } },
  LIMITS: { standard: { rate: "1/s", burst: 1 } },
  ROUTES: [{ prefix: "/accounts", origin: "bank", limits: "standard" }],
  SINKS: [{ kind: "otlp", url: "https://collector.bank.example/v1/logs" }],
}
const ENVIRONMENT: WranglerEnvironment = {
  name: undefined,
  vars: VARS,
  workersDev: false,
  previewUrls: false,
  objectBindings: [{ name: "CLIENT_GATE", class_name: "ClientGate" }],
  sqliteClasses: ["ClientGate"],
  crons: [],
  rateLimits: [{ name: "IP_LIMIT", simple: { period: 10 } }],
  fetchers: new Map(),
  queueProducers: [{ binding: "EVENTS", queue: "events" }],
  queueConsumers: [{ queue: "events", dead_letter_queue: "dead" }],
}

/** Returns the findings about the sound environment above with some parts replaced, as severity and path. */
function findIn(
  parts: Partial<WranglerEnvironment>,
  vars: Readonly<Record<string, unknown>> = {},
): readonly (readonly [Finding["severity"], string])[] {
  return findAll(parts, vars).map(({ severity, path }) => [severity, path])
}

function findAll(parts: Partial<WranglerEnvironment>, vars: Readonly<Record<string, unknown>>): readonly Finding[] {
  const environment = { ...ENVIRONMENT, ...parts, vars: { ...VARS, ...vars } }
  return findFindings(environment, load(environment.vars), SKI, NOW_MS)
}

test("findFindings() finds nothing in a sound environment", () => {
  expect(findIn({})).toEqual([])
})

describe("bindings", () => {
  test.each([
    ["no object binding", { objectBindings: [] }, "durable_objects.bindings"],
    [
      "an object binding of another class",
      { objectBindings: [{ name: "CLIENT_GATE", class_name: "Other" }] },
      "durable_objects.bindings",
    ],
    ["no migration", { sqliteClasses: [] }, "migrations"],
    [
      "a limit per address of another period",
      { rateLimits: [{ name: "IP_LIMIT", simple: { period: 60 } }] },
      "ratelimits",
    ],
    ["no queue for events", { queueProducers: [], queueConsumers: [] }, "queues.producers"],
    [
      "a queue that nobody takes events from",
      { queueConsumers: [{ queue: "other", dead_letter_queue: "dead" }] },
      "queues.consumers",
    ],
  ] satisfies readonly (readonly [string, Partial<WranglerEnvironment>, string])[])(
    "findFindings() reports %s as an error",
    (_, parts, path) => {
      expect(findIn(parts)).toEqual([["error", path]])
    },
  )

  test.each([[[]], [[{ name: "OTHER", simple: { period: 10 } }]]])(
    "findFindings() warns that nothing limits strangers when the limits are %j",
    (rateLimits) => {
      expect(findIn({ rateLimits })).toEqual([["warning", "ratelimits"]])
    },
  )

  test("findFindings() warns of a queue without a dead-letter queue", () => {
    expect(findIn({ queueConsumers: [{ queue: "events" }] })).toEqual([["warning", "queues.consumers"]])
  })

  test("findFindings() wants no queue without sinks, and warns that there are none", () => {
    expect(findIn({ queueProducers: [], queueConsumers: [] }, { SINKS: [] })).toEqual([["warning", "SINKS"]])
  })
})

describe("exposure", () => {
  test.each([
    ["workers_dev", { workersDev: undefined }],
    ["workers_dev", { workersDev: true }],
    ["preview_urls", { previewUrls: undefined }],
    ["preview_urls", { previewUrls: true }],
  ] as const)("findFindings() warns of %s when it is %j", (path, parts) => {
    expect(findIn(parts)).toEqual([["warning", path]])
  })

  test("findFindings() warns of an environment that does not say that Cloudflare stands in front", () => {
    expect(findIn({ name: "production" })).toEqual([["warning", "PLATFORM"]])
    expect(findIn({ name: "production" }, { PLATFORM: "cloudflare" })).toEqual([])
  })

  test("findFindings() warns of a top level that believes request.cf", () => {
    expect(findIn({}, { PLATFORM: "cloudflare" })).toEqual([["warning", "PLATFORM"]])
  })
})

describe("variables", () => {
  /** A ROUTES variable of exactly so many octets as JSON. */
  function routesOf(bytes: number): readonly unknown[] {
    const route = (body: string) => ({ path: "/x", client_certificate: "none", respond: { status: 200, body } })
    const routes: unknown[] = []
    while (Buffer.byteLength(JSON.stringify(routes)) < bytes - 1_100)
      routes.push({ ...route("x".repeat(800)), path: `/x${routes.length}` })
    const rest = bytes - Buffer.byteLength(JSON.stringify([...routes, route("")]))
    return [...routes, route("x".repeat(rest))]
  }

  test.each([
    [VARIABLE_BYTES_MAX * 0.8, []],
    [VARIABLE_BYTES_MAX * 0.8 + 1, [["warning", "ROUTES"]]],
    [VARIABLE_BYTES_MAX, [["warning", "ROUTES"]]],
    [VARIABLE_BYTES_MAX + 1, [["error", "ROUTES"]]],
  ])("findFindings() on a variable of %d octets gives %j", (bytes, findings) => {
    const routes = routesOf(Math.floor(bytes))
    expect(Buffer.byteLength(JSON.stringify(routes))).toBe(Math.floor(bytes))
    expect(findIn({}, { ROUTES: routes })).toEqual(findings)
  })

  test("findFindings() counts octets, not characters", () => {
    const body = "道".repeat(900)
    const respond = { path: "/x", client_certificate: "none", respond: { status: 200, body } }
    expect(findIn({}, { ROUTES: [respond, { ...respond, path: "/y" }] })).toEqual([["error", "ROUTES"]])
  })

  test("findFindings() names the variable that is full, and the one to go on with", () => {
    const [finding] = findAll({}, { ROUTES_2: routesOf(VARIABLE_BYTES_MAX + 1) })
    expect(finding).toMatchObject({ path: "ROUTES_2", text: expect.stringContaining("5121 of the 5120") as string })
  })
})

describe("clients and routes", () => {
  test.each([
    "spiffe://Partners.example/acme",
    "spiffe://partners.example",
    "spiffe://partners.example/",
    "spiffe://partners.example/a/",
    "spiffe://partners.example/a//b",
    "spiffe://partners.example/../a",
    "spiffe://partners.example/a%20b",
    "spiffe://partners.example:443/a",
  ])("findFindings() warns of a client that no SPIFFE certificate can match: %s", (sanUri) => {
    const clients = [{ id: "acme", certificates: [{ issuer: "partners", san_uri: sanUri }] }]
    expect(findIn({}, { CLIENTS: clients })).toEqual([["warning", 'client "acme"']])
  })

  test.each(["spiffe://partners.example/a/b.c_d-E", "https://partners.example/acme", "urn:example:acme"])(
    "findFindings() takes the URI %s",
    (sanUri) => {
      const clients = [{ id: "acme", certificates: [{ issuer: "partners", san_uri: sanUri }] }]
      expect(findIn({}, { CLIENTS: clients })).toEqual([])
    },
  )

  test("findFindings() warns of the development CA in front of which Cloudflare stands", () => {
    const certificates = [{ issuer: "development", subject: "CN=acme" }, { fingerprint: "0".repeat(64) }]
    const parts = { name: "production" }
    const [finding, ...others] = findAll(parts, { PLATFORM: "cloudflare", CLIENTS: [{ id: "acme", certificates }] })
    expect(others).toEqual([])
    expect(finding).toMatchObject({ severity: "warning", text: expect.stringMatching(/^one of its/) as string })
  })

  test("findFindings() warns of a client's own set in place of one that no route names", () => {
    const LIMITS = { ...VARS.LIMITS, unused: { quota: "1/day" } }
    const CLIENTS = [{ ...VARS.CLIENTS[0], limits: { standard: "unused", unused: "standard" } }]
    expect(findIn({}, { LIMITS, CLIENTS })).toEqual([["warning", "CLIENTS[0].limits.unused"]])
  })

  test.each([
    ["10s", [["warning", 'limit "standard-concurrent"']]],
    ["11s", []],
  ])("findFindings() holds a lease of %s against the time that an origin may take", (lease, expected) => {
    expect(findIn({}, { LIMITS: { standard: { concurrent: 1, lease } } })).toEqual(expected)
  })

  test("findFindings() warns of a route that no request can reach, and says which one takes them", () => {
    const [finding, ...others] = findAll(
      {},
      {
        ROUTES: [{ prefix: "/accounts", methods: ["GET"], origin: "bank", limits: "standard" }],
        ROUTES_2: [{ prefix: "/accounts", methods: ["HEAD"], origin: "bank", limits: "standard" }],
      },
    )
    expect(others).toEqual([])
    expect(finding).toMatchObject({ path: "ROUTES_2[0]", text: expect.stringContaining("ROUTES[0]") as string })
  })

  const onHosts = (...routes: readonly object[]): readonly Finding[] =>
    findAll(
      {},
      {
        GATEWAY: { hosts: ["localhost", "b.example"] },
        ROUTES: routes.map((route) => ({ origin: "bank", limits: "standard", ...route })),
      },
    )

  test("findFindings() names the hosts on which a host's own route takes the paths of another", () => {
    expect(onHosts({ path: "/a" }, { prefix: "/", host: "b.example" })).toEqual([
      {
        severity: "warning",
        path: "ROUTES[0]",
        text: "no request to b.example can reach this route: ROUTES[1] takes them all",
      },
    ])
  })

  test("findFindings() warns of a host without any route", () => {
    expect(onHosts({ path: "/a", host: "localhost" }).map(({ path, text }) => `${path} ${text}`)).toEqual([
      "GATEWAY.hosts no route is on b.example: it answers 404 only",
    ])
  })
})

describe("guards", () => {
  const GUARD = { max_failures: 3, failure_duration: "1m", backoff: { kind: "lineal", duration: "5m" } }
  const route = (path: string, origin: string, ...guard: readonly string[]) => ({
    path,
    origin,
    limits: "standard",
    ...(guard.length === 0 ? {} : { guard }),
  })

  test("findFindings() warns of a guard that no route names", () => {
    const GUARDS = { credentials: GUARD, unused: GUARD }
    expect(findIn({}, { GUARDS, ROUTES: [route("/login", "bank", "credentials")] })).toEqual([
      ["warning", "GUARDS.unused"],
    ])
  })

  test.each([
    ["9999ms", [["warning", "GUARDS.credentials"]]],
    ["10s", [["warning", "GUARDS.credentials"]]],
    ["10001ms", []],
  ])("findFindings() holds a pending_ttl of %s against the time that an origin may take", (pendingTtl, expected) => {
    const GUARDS = { credentials: { ...GUARD, pending_ttl: pendingTtl } }
    expect(findIn({}, { GUARDS, ROUTES: [route("/login", "bank", "credentials")] })).toEqual(expected)
  })

  test("findFindings() compares pending_ttl with the slowest origin of the routes that name the guard", () => {
    const url = "https://core.bank.example"
    const vars = {
      GUARDS: { credentials: { ...GUARD, pending_ttl: "15s" }, other: GUARD },
      ORIGINS: { bank: { url, timeout: "1s" }, slow: { url, timeout: "20s" }, slowest: { url, timeout: "25s" } },
      ROUTES: [
        route("/login", "bank", "credentials"),
        route("/pin", "slow", "credentials", "other"),
        route("/x", "slowest", "other"),
      ],
    }
    const [finding, ...others] = findAll({}, vars)
    expect(others).toEqual([])
    expect(finding).toEqual({
      severity: "warning",
      path: "GUARDS.credentials",
      text: 'waits 15s for an answer (pending_ttl), but the origin "slow" may take 20s to begin it: what comes later counts for nothing',
    })
  })

  test("findFindings() asks no time of a guard whose routes are answered here", () => {
    const answered = { path: "/login", respond: { status: 200 }, limits: "standard", guard: "credentials" }
    expect(findIn({}, { GUARDS: { credentials: { ...GUARD, pending_ttl: "1ms" } }, ROUTES: [answered] })).toEqual([])
  })
})

describe("tokens", () => {
  const SERVER = {
    issuer: "https://login.bank.example",
    jwks_url: "https://login.bank.example/jwks",
    audience: "https://api.bank.example",
  }
  const route = { prefix: "/accounts", origin: "bank", limits: "standard" }
  const asking = (server: object) => ({
    TOKENS: { login: { ...SERVER, ...server } },
    ROUTES: [{ ...route, token: "login" }],
  })

  test("a server whose tokens a route asks for is fine", () => {
    expect(findIn({}, asking({}))).toEqual([])
  })

  test.each([
    ["a server that no route names", { TOKENS: { login: SERVER } }, "TOKENS.login"],
    ["a token that is tied to nothing", asking({ certificate_bound: false, client_claim: false }), "TOKENS.login"],
    [
      "keys on the machine of the Worker",
      { PLATFORM: "cloudflare", ...asking({ jwks_url: "http://127.0.0.1:9100/jwks" }) },
      "TOKENS.login.jwks_url",
    ],
    [
      "ids at no authorization server",
      { CLIENTS: [{ ...VARS.CLIENTS[0], oauth_clients: ["portal"] }] },
      "CLIENTS[0].oauth_clients",
    ],
  ])("%s is worth a warning", (_, vars, path) => {
    const parts = "PLATFORM" in vars ? { name: "production" } : {}
    expect(findIn(parts, vars)).toEqual([["warning", path]])
  })
})

describe("rules of clients", () => {
  const DAY_MS = 86_400_000
  const digest = (digit: string): string => digit.repeat(64)
  const after = (days: number): string => new Date(NOW_MS + days * DAY_MS).toISOString()
  const name = { issuer: "partners", san_uri: "spiffe://partners.example/acme" }
  const rulesOf = (...certificates: readonly unknown[]) => findIn({}, { CLIENTS: [{ id: "acme", certificates }] })
  const RULE_2 = ["warning", "CLIENTS[0].certificates[1]"]

  test.each([
    [-1, [RULE_2]],
    [29, [RULE_2]],
    [31, []],
  ])("findFindings() holds a window that ends in %d days against the time of warnings", (days, expected) => {
    expect(rulesOf({ spki: digest("1") }, { spki: digest("2"), retire_at: after(days) })).toEqual(expected)
  })

  test("findFindings() warns of a client whose rules are all retired", () => {
    expect(rulesOf({ spki: digest("1"), retire_at: after(-1) })).toContainEqual(["warning", 'client "acme"'])
  })

  test("findFindings() warns of a window on a certificate that a name matches for good", () => {
    expect(rulesOf(name, { spki: digest("1"), retire_at: after(90) })).toEqual([RULE_2])
  })

  test("findFindings() takes windows of a key and a name that end together", () => {
    expect(rulesOf({ ...name, retire_at: after(90) }, { spki: digest("1"), retire_at: after(90) })).toEqual([])
  })

  test("findFindings() takes a name that is to end beside its successor", () => {
    const next = { issuer: "partners", san_dns: "api.acme.example" }
    expect(rulesOf(next, { ...name, retire_at: after(90) })).toEqual([])
  })

  test.each([
    ["a URI and a SPIFFE id", name, { issuer: "partners", spiffe_id: name.san_uri }],
    ["a key with and without its CA", { spki: digest("1") }, { spki: digest("1"), issuer: "partners" }],
  ])("findFindings() warns of two rules for the same thing: %s", (_, first, second) => {
    expect(rulesOf(first, second)).toEqual([RULE_2])
  })

  test("findFindings() warns of a client that is disabled", () => {
    const CLIENTS = [{ id: "acme", disabled: true, certificates: [name] }]
    expect(findIn({}, { CLIENTS })).toEqual([["warning", 'client "acme"']])
  })
})

describe("assertions", () => {
  const GATEWAY = { hosts: ["localhost"], assertion: { issuer: "https://api.bank.example", keys: ["ASSERTION_KEY"] } }
  const JWKS = { path: "/.well-known/jwks.json", client_certificate: "none", jwks: true }
  const ROUTES = [...VARS.ROUTES, JWKS]
  const bank = { url: "https://core.bank.example", assertion: true }

  test("findFindings() finds nothing in an origin that gets assertions and a route that shows the keys", () => {
    expect(findIn({}, { GATEWAY, ROUTES, ORIGINS: { bank } })).toEqual([])
  })

  test("findFindings() warns of keys that sign nothing", () => {
    expect(findIn({}, { GATEWAY, ROUTES })).toEqual([["warning", "GATEWAY.assertion"]])
  })

  test("findFindings() warns of keys that no route shows", () => {
    expect(findIn({}, { GATEWAY, ORIGINS: { bank } })).toEqual([["warning", "ROUTES"]])
  })

  test("findFindings() warns of two hosts that believe the same assertions, not of one host under two names", () => {
    const slow = { ...bank, timeout: "60s", assertion: { audience: "bank" } }
    const other = { url: "https://other.example", assertion: { audience: "bank" } }
    expect(findIn({}, { GATEWAY, ROUTES, ORIGINS: { bank, slow } })).toEqual([])
    expect(findIn({}, { GATEWAY, ROUTES, ORIGINS: { bank, other } })).toEqual([["warning", "ORIGINS.other.assertion"]])
  })
})

describe("revocation lists", () => {
  let issuers: object
  beforeAll(async () => {
    const ski = "27846e5e89a3c0f4"
    const { certificatePem: certificate } = await createAuthority(parseSubject("CN=CA"), Date.now(), ski)
    issuers = { ...VARS.ISSUERS, own: { ski, certificate, crl: { url: "http://crl.example/ca.crl" } } }
  })

  const BOUND: Partial<WranglerEnvironment> = {
    objectBindings: [...ENVIRONMENT.objectBindings, { name: "REVOCATION_LIST", class_name: "RevocationList" }],
    sqliteClasses: ["ClientGate", "RevocationList"],
    crons: ["*/5 * * * *"],
  }

  test("that have what they need are no finding", () => {
    expect(findIn(BOUND, { ISSUERS: issuers })).toEqual([])
  })

  test.each<readonly [string, Partial<WranglerEnvironment>, Finding["severity"], string]>([
    ["object binding", { objectBindings: ENVIRONMENT.objectBindings }, "error", "durable_objects.bindings"],
    ["migration", { sqliteClasses: ["ClientGate"] }, "error", "migrations"],
    ["cron trigger", { crons: [] }, "warning", "triggers.crons"],
  ])("without %s are one", (_, parts, severity, path) => {
    expect(findIn({ ...BOUND, ...parts }, { ISSUERS: issuers })).toEqual([[severity, path]])
  })
})

describe("the admin room", () => {
  const ADMIN = { hosts: ["admin.test"], token_secret: "ADMIN_TOKEN" }
  const METRICS = { name: "METRICS", class_name: "Metrics" }
  const objectBindings = [...ENVIRONMENT.objectBindings, METRICS]
  const sqliteClasses = ["ClientGate", "Metrics"]

  test("findFindings() says that nothing counts for it without an object of its own", () => {
    expect(findIn({}, { ADMIN })).toEqual([["error", "durable_objects.bindings"]])
    expect(findIn({ objectBindings }, { ADMIN })).toEqual([["error", "migrations"]])
    expect(findIn({ objectBindings, sqliteClasses }, { ADMIN })).toEqual([])
  })
})

describe("audit trails", () => {
  const audited = {
    ROUTES: [{ prefix: "/accounts", origin: "bank", limits: "standard", audit: "required" }],
    SINKS: [...VARS.SINKS, { kind: "ndjson", url: "https://records.bank.example/", takes: ["audit"] }],
  }
  const bound: Partial<WranglerEnvironment> = {
    objectBindings: [...ENVIRONMENT.objectBindings, { name: "AUDIT_TRAIL", class_name: "AuditTrail" }],
    sqliteClasses: ["ClientGate", "AuditTrail"],
  }

  test("that have what they need are no finding", () => {
    expect(findIn(bound, audited)).toEqual([])
  })

  test("findFindings() finds an audit sink without its object and its migration", () => {
    expect(findIn({}, audited)).toEqual([
      ["error", "durable_objects.bindings"],
      ["error", "migrations"],
    ])
  })

  test("findFindings() warns when every sink takes trails only", () => {
    expect(findIn({ ...bound, queueProducers: [] }, { SINKS: [audited.SINKS[1]] })).toEqual([["warning", "SINKS"]])
  })
})

describe("routes with idempotency keys", () => {
  const VARS_KEYED = {
    GATEWAY: { hosts: ["localhost"], idempotency: { keys: ["IDEMPOTENCY_KEY"] } },
    ROUTES: [{ prefix: "/pay", origin: "bank", limits: "standard", idempotency: "required" }],
  }
  const BOUND_KEYED: Partial<WranglerEnvironment> = {
    objectBindings: [...ENVIRONMENT.objectBindings, { name: "IDEMPOTENCY_LEDGER", class_name: "IdempotencyLedger" }],
    sqliteClasses: ["ClientGate", "IdempotencyLedger"],
  }

  test("that have what they need are no finding", () => {
    expect(findIn(BOUND_KEYED, VARS_KEYED)).toEqual([])
  })

  test.each<readonly [string, Partial<WranglerEnvironment>, string]>([
    ["object binding", { objectBindings: ENVIRONMENT.objectBindings }, "durable_objects.bindings"],
    ["migration", { sqliteClasses: ["ClientGate"] }, "migrations"],
  ])("without their %s are an error", (_, parts, path) => {
    expect(findIn({ ...BOUND_KEYED, ...parts }, VARS_KEYED)).toEqual([["error", path]])
  })

  test("are missed where the gateway names secrets for records", () => {
    const { GATEWAY } = VARS_KEYED
    expect(findIn(BOUND_KEYED, { GATEWAY })).toEqual([["warning", "GATEWAY.idempotency"]])
  })
})

/**
 * Goal: a configuration is complete and right, or every error in it is named with place, value and what is accepted.
 * Method: one valid sample and what becomes of it, one change a test, one thoroughly broken configuration against its
 * literal list of errors, and random JSON in every variable.
 */
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { configurationVariables, loadConfig } from "../../src/config/load.ts"
import { matchHostRoute } from "../../src/core/route/virtual-host.ts"
import { readDataSet } from "../conformance.ts"
import { errorsOf, load } from "./config-fixtures.ts"

type Environment = Readonly<Record<string, unknown>>

const FINGERPRINT = "ab".repeat(32)
const SKI = "73656b6973686f2d646576656c6f706d656e742d"

const VALID = {
  GATEWAY: { hosts: ["localhost", "api.bank.example"] },
  ISSUERS: { partners: { ski: SKI.toUpperCase() } },
  CLIENTS: [
    { id: "acme", certificates: [{ issuer: "partners", san_uri: "spiffe://partners.example/acme" }] },
    { id: "globex", certificates: [{ issuer: "partners", subject: "CN=globex, O=Globex, C=JP" }] },
    { id: "initech", certificates: [{ fingerprint: "AB:".repeat(32).slice(0, -1) }] },
  ],
  LIMITS: { standard: { rate: "0.5/s", burst: 20 }, payments: { rate: "12/minute", burst: 3 } },
  GUARDS: {
    credentials: {
      max_failures: 5,
      failure_duration: "10m",
      backoff: { kind: "exponential", min: "1m", max: "1h", random_factor: 0.2 },
    },
  },
  ORIGINS: { bank: { url: "http://127.0.0.1:9000/base/", timeout: "5s" }, core: { url: "https://core.bank.example" } },
  ROUTES: [
    { path: "/healthz", methods: ["GET"], client_certificate: "none", respond: { status: 200, body: "ok\n" } },
    { path: "/payments", methods: ["POST"], origin: "bank", limits: "payments", cost: 3, forward_headers: ["accept"] },
    { prefix: "/accounts", origin: "core", limits: "standard" },
    { regex: "^/v[0-9]+/items$", methods: ["GET"], origin: "bank", limits: "standard" },
  ],
  SINKS: [
    { kind: "otlp", url: "http://127.0.0.1:4318/v1/logs" },
    { kind: "ndjson", url: "https://collector.example/in", authorization_secret: "SINK_AUTHORIZATION" },
  ],
}

const ASSERTING = {
  hosts: ["localhost"],
  assertion: { issuer: "https://api.bank.example", keys: ["ASSERTION_KEY", "ASSERTION_KEY_2"] },
}

/** The valid sample with one route more. */
const withRoute = (route: unknown): Environment => ({ ...VALID, ROUTES: [...VALID.ROUTES, route] })
const withCertificate = (certificate: unknown): Environment => ({
  ...VALID,
  CLIENTS: [{ id: "acme", certificates: [certificate] }],
})

describe("a valid configuration", () => {
  const config = load(VALID)

  test("has defaults for what GATEWAY leaves out", () => {
    expect(config).toMatchObject({ via: "sekisho", logsToConsole: true, flushMs: 1_000, hasLegacyFields: false })
  })

  test("takes from GATEWAY what it says", () => {
    const gateway = { hosts: ["[::1]"], via: "gw-1", console: false, log_flush: "100ms", legacy_ratelimit: true }
    expect(load({ ...VALID, GATEWAY: gateway })).toMatchObject({
      hosts: new Set(["[::1]"]),
      via: "gw-1",
      logsToConsole: false,
      flushMs: 100,
      hasLegacyFields: true,
    })
  })

  test("has clients with the keys of their issuers and parsed names", () => {
    const usual = { isDisabled: false, limitSets: new Map(), mode: "enforce" }
    expect(config.clients).toEqual([
      {
        id: "acme",
        place: "CLIENTS[0]",
        oauthClients: new Set(["acme"]),
        certificates: [{ kind: "san-uri", issuerSki: SKI, sanUri: "spiffe://partners.example/acme" }],
        ...usual,
      },
      {
        id: "globex",
        place: "CLIENTS[1]",
        oauthClients: new Set(["globex"]),
        ...usual,
        certificates: [
          {
            kind: "subject",
            issuerSki: SKI,
            subjectKey:
              '[["[\\"2.5.4.6\\",\\"t\\",\\"JP\\"]"],["[\\"2.5.4.10\\",\\"t\\",\\"Globex\\"]"],["[\\"2.5.4.3\\",\\"t\\",\\"globex\\"]"]]',
          },
        ],
      },
      {
        id: "initech",
        place: "CLIENTS[2]",
        oauthClients: new Set(["initech"]),
        certificates: [{ kind: "fingerprint", fingerprint: FINGERPRINT }],
        ...usual,
      },
    ])
  })

  test("has an index of every certificate", () => {
    expect([...config.clientIndex.byFingerprint.values()].map(({ client: { id } }) => id)).toEqual(["initech"])
    const names = config.clientIndex.byIssuer.get(SKI)
    const ids = [names?.["san-uri"], names?.subject].flatMap((map) =>
      [...(map ?? [])].map(([, { client }]) => client.id),
    )
    expect(ids).toEqual(["acme", "globex"])
  })

  test("has limits in integers", () => {
    const bucket = { kind: "bucket", mode: "enforce" }
    expect(config.limitSets).toEqual([
      { name: "standard", limits: [{ ...bucket, name: "standard", burst: 20, rate: { count: 1, periodMs: 2_000 } }] },
      { name: "payments", limits: [{ ...bucket, name: "payments", burst: 3, rate: { count: 12, periodMs: 60_000 } }] },
    ])
  })

  test("has up to three limits in a set, with a zone and a lease unless they are given", () => {
    const sets = {
      all: { rate: "1/s", burst: 1, quota: "10/month", concurrent: 2, mode: "shadow" },
      own: { quota: "9/day", timezone: "Asia/Tokyo", concurrent: 3, lease: "60s" },
    }
    expect(load({ ...VALID, LIMITS: { ...VALID.LIMITS, ...sets } }).limitSets.slice(2)).toEqual([
      {
        name: "all",
        limits: [
          { kind: "bucket", name: "all", mode: "shadow", burst: 1, rate: { count: 1, periodMs: 1_000 } },
          { kind: "quota", name: "all-month", mode: "shadow", limit: 10, unit: "month", timezone: "UTC" },
          { kind: "concurrency", name: "all-concurrent", mode: "shadow", maxConcurrent: 2, leaseTtlMs: 130_000 },
        ],
      },
      {
        name: "own",
        limits: [
          { kind: "quota", name: "own-day", mode: "enforce", limit: 9, unit: "day", timezone: "Asia/Tokyo" },
          { kind: "concurrency", name: "own-concurrent", mode: "enforce", maxConcurrent: 3, leaseTtlMs: 60_000 },
        ],
      },
    ])
  })

  test("has routes with several sets, and clients with sets of their own", () => {
    const route = { path: "/a", origin: "bank", limits: ["payments", "standard"] }
    const client = { ...VALID.CLIENTS[0], limits: { standard: "payments" }, mode: "shadow" }
    const { clients, limitSets, routes } = load({ ...VALID, CLIENTS: [client], ROUTES: [route] })
    expect(routes[0]?.limitSets).toEqual([limitSets[1], limitSets[0]])
    expect(clients[0]).toMatchObject({ limitSets: new Map([["standard", limitSets[1]]]), mode: "shadow" })
  })

  test("has guards with their defaults", () => {
    expect(config.guards).toEqual([
      {
        name: "credentials",
        maxFailures: 5,
        failureDurationMs: 600_000,
        backoff: {
          kind: "exponential",
          minBackoffMs: 60_000,
          maxBackoffMs: 3_600_000,
          randomFactor: 0.2,
          resetBackoffMs: 3_600_000,
        },
        guardResetTimeoutMs: null,
        inFlight: "optimistic",
        pendingTtlMs: 30_000,
        successPolicy: "reset",
        key: { kind: "client" },
        outcomes: { failureStatuses: [401, 403], verdictHeader: "guard-outcome" },
      },
    ])
  })

  test("has origins in parts, with a time-out", () => {
    expect(config.origins).toMatchObject([
      {
        name: "bank",
        urls: [{ base: { scheme: "http", authority: "127.0.0.1:9000", path: "/base", isLoopback: true } }],
        timeoutMs: 5_000,
        assertion: undefined,
        clientCert: "rfc9440",
      },
      {
        name: "core",
        urls: [{ base: { scheme: "https", authority: "core.bank.example", path: "", isLoopback: false } }],
        timeoutMs: 10_000,
        assertion: undefined,
        clientCert: "rfc9440",
      },
    ])
  })

  test("has what is asserted to an origin, by default to its name, and nothing where it says so", () => {
    const ORIGINS = {
      bank: { url: "https://bank.example", assertion: true },
      core: { url: "https://core.example", assertion: { audience: "urn:core" }, client_cert: "both" },
      plain: { url: "https://plain.example", assertion: false, client_cert: "none" },
    }
    const { assertion, origins } = load({ ...VALID, GATEWAY: ASSERTING, ORIGINS })
    expect(assertion).toEqual({ issuer: "https://api.bank.example", keys: ["ASSERTION_KEY", "ASSERTION_KEY_2"] })
    expect(origins).toMatchObject([
      { assertion: { issuer: "https://api.bank.example", audience: "bank" }, clientCert: "rfc9440" },
      { assertion: { issuer: "https://api.bank.example", audience: "urn:core" }, clientCert: "both" },
      { assertion: undefined, clientCert: "none" },
    ])
  })

  test("has a route that shows the public keys to GET unless it says otherwise", () => {
    const route = { path: "/keys", client_certificate: "none", jwks: true }
    const { routes } = load({ ...withRoute(route), GATEWAY: ASSERTING })
    expect(routes.at(-1)).toMatchObject({ methods: ["GET"], needsClientCertificate: false, action: { kind: "jwks" } })
  })

  test("has routes with their references resolved", () => {
    expect(config.routes[1]).toEqual({
      match: { kind: "exact", path: "/payments" },
      label: "/payments",
      place: "ROUTES[1]",
      methods: ["POST"],
      needsClientCertificate: true,
      limitSets: [config.limitSets[1]],
      cost: 3,
      guards: [],
      blockedStatus: 429,
      isAudited: false,
      isSoft: false,
      tellsExpiry: false,
      log: { sampleRatio: 1, level: "info" },
      action: {
        kind: "forward",
        origin: config.origins[0],
        forwardHeaders: new Set(["accept"]),
        messages: {
          requestBytesMax: 1_048_576,
          responseBytesMax: undefined,
          requestFields: { set: [], remove: [] },
          responseFields: { set: [], remove: [] },
          hasSecurityFields: false,
          cors: undefined,
          locationAllowed: undefined,
        },
      },
    })
  })

  test("has routes that answer by themselves", () => {
    expect(config.routes[0]).toMatchObject({
      needsClientCertificate: false,
      limitSets: [],
      action: { kind: "respond", status: 200, body: "ok\n", contentType: "text/plain; charset=utf-8" },
    })
  })

  test("names routes by their patterns", () => {
    expect(config.routes.map(({ label }) => label)).toEqual([
      "/healthz",
      "/payments",
      "/accounts/**",
      "~ ^/v[0-9]+/items$",
    ])
  })

  test("lets a route without methods take all of them", () => {
    expect(config.routes[2]?.methods).toEqual(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
  })

  test("has a route table that finds a route again and again", () => {
    const found = [1, 2].map(() => matchHostRoute(config.routeTable, "localhost", "GET", "/v1/items"))
    expect(found).toEqual([1, 2].map(() => ({ kind: "found", route: config.routes[3] })))
  })

  test("has sinks with the names of their secrets", () => {
    expect(config.sinks).toMatchObject([
      { kind: "otlp", url: "http://127.0.0.1:4318/v1/logs", authorizationSecret: undefined },
      { kind: "ndjson", url: "https://collector.example/in", authorizationSecret: "SINK_AUTHORIZATION" },
    ])
  })

  test("is frozen", () => {
    const parts = [config, config.clients, config.clients[0], config.limitSets[0]?.limits[0], config.routes[0]?.action]
    expect(parts.every((part) => Object.isFrozen(part))).toBe(true)
  })

  test("has a version that only its content changes", () => {
    const reversed = Object.fromEntries(Object.entries(VALID).toReversed())
    const changed = { ...VALID, GATEWAY: { hosts: ["localhost"] } }
    const versions = [VALID, reversed, { ...VALID, SECRET: "x" }, changed].map((variables) => load(variables).version)
    expect(versions.map((version) => version === config.version)).toEqual([true, true, true, false])
  })

  test("is read beside bindings, secrets and texts of other names", () => {
    const others = { EVENTS: new Map(), PLATFORM: "cloudflare", SECRET: "x", NUMBER: 1, NOTHING: null }
    expect(load({ ...VALID, ...others }).version).toBe(config.version)
  })

  test("may be the smallest one", () => {
    const route = { path: "/", client_certificate: "none", respond: { status: 204 } }
    expect(errorsOf({ GATEWAY: { hosts: ["localhost"] }, ROUTES: [route] })).toEqual([])
  })
})

describe("variables that share a family", () => {
  const split = {
    ...VALID,
    ROUTES_2: [{ path: "/2", origin: "bank", limits: "standard" }],
    ROUTES: [{ path: "/0", origin: "bank", limits: "standard" }],
    ROUTES_10: [{ path: "/10", origin: "bank", limits: "standard" }],
  }

  test("are read in the order of their names", () => {
    expect(load(split).routes.map(({ place }) => place)).toEqual(["ROUTES[0]", "ROUTES_10[0]", "ROUTES_2[0]"])
  })

  test("are named in errors", () => {
    const routes = [{ path: "/2", origin: "bnak", limits: "standard" }]
    expect(errorsOf({ ...split, ROUTES_2: routes })).toEqual([
      'ROUTES_2[0].origin | "bnak" | one of "bank", "core" (ORIGINS)',
    ])
  })

  test("may not repeat a client id", () => {
    const clients = [{ id: "acme", certificates: [{ fingerprint: "cd".repeat(32) }] }]
    expect(errorsOf({ ...VALID, CLIENTS_2: clients })).toEqual([
      'CLIENTS_2[0].id | "acme" | an id that no other client has; CLIENTS[0] has it already',
    ])
  })

  test.each([
    ["fingerprint", { fingerprint: FINGERPRINT }, "CLIENTS[2].certificates[0]"],
    ["subject", { issuer: "partners", subject: "cn=globex,o=Globex,c=JP" }, "CLIENTS[1].certificates[0]"],
    ["URI", { issuer: "partners", san_uri: "spiffe://partners.example/acme" }, "CLIENTS[0].certificates[0]"],
  ])("may not repeat a certificate by its %s", (_, certificate, taken) => {
    const result = loadConfig({ ...VALID, CLIENTS_2: [{ id: "hooli", certificates: [certificate] }] })
    expect(!result.ok && result.errors.map(({ path, accepted }) => [path, accepted])).toEqual([
      ["CLIENTS_2[0].certificates[0]", `a certificate that nothing else matches; ${taken} matches the same one`],
    ])
  })

  test("may not repeat a certificate under another name of its issuer", () => {
    const certificate = { issuer: "again", san_uri: "spiffe://partners.example/acme" }
    const environment = {
      ...VALID,
      ISSUERS: { ...VALID.ISSUERS, again: { ski: SKI } },
      CLIENTS_2: [{ id: "hooli", certificates: [certificate] }],
    }
    expect(errorsOf(environment)).toHaveLength(1)
  })
})

describe("variables", () => {
  test.each([
    ["GATEWAYS", { hosts: ["x"] }],
    ["LIMIT", { standard: { rate: "1/s", burst: 1 } }],
    ["OTHER", [1]],
  ])("of the unknown name %s are errors when they hold a table or an array", (name, value) => {
    expect(errorsOf({ ...VALID, [name]: value })).toEqual([
      `${name} | ${JSON.stringify(value)} | one of the variables GATEWAY, ADMIN, ISSUERS, LIMITS, GUARDS, TOKENS, ORIGINS, ROUTES, CLIENTS, SINKS (ROUTES, CLIENTS and SINKS also with a suffix, such as ROUTES_2)`,
    ])
  })

  test.each([
    [
      "GATEWAY",
      "x",
      '"x" | GATEWAY: a table with hosts, via, console, log_flush, traces, legacy_ratelimit, certificate_warning, assertion, idempotency',
    ],
    ["GUARDS", [], "[] | a table of named tables, such as [vars.GUARDS.example]"],
    ["GUARDS", "x", '"x" | a table of named tables, such as [vars.GUARDS.example]'],
    ["SINKS", {}, "{} | an array of tables, such as [[vars.SINKS]]"],
    ["SINKS", "x", '"x" | an array of tables, such as [[vars.SINKS]]'],
    ["SINKS_2", 1, "1 | an array of tables, such as [[vars.SINKS_2]]"],
    ["ROUTES", [], "(missing) | at least one route"],
  ])("%s may not be %j", (name, value, expected) => {
    expect(errorsOf({ ...VALID, [name]: value })).toEqual([`${name} | ${expected}`])
  })

  test("may lack everything but hosts and routes, and say so", () => {
    expect(errorsOf({})).toEqual(["GATEWAY.hosts | (missing) | required: at least one host name"])
  })

  test("configurationVariables() returns tables, arrays and what is known by its name", () => {
    const environment = { GATEWAY: "x", ROUTES_2: 1, OTHER: {}, LIST: [], TEXT: "x", BINDING: new Map() }
    expect([...configurationVariables(environment).keys()]).toEqual(["GATEWAY", "ROUTES_2", "OTHER", "LIST"])
  })
})

const CERTIFICATE_KINDS =
  "exactly one of fingerprint, spki (with or without issuer), and, each with issuer, san_uri, san_dns, san_email, spiffe_id and subject"
const NO_CLIENT = 'on a route with client_certificate = "none": there is no client to count'
const PATH = 'a path in canonical form, such as "/accounts" (no dot or empty segments, no encoded slash)'
const ORIGIN_URL = 'an http or https URL without query and user information, such as "https://core.bank.example"'
const SINK_URL = 'an https URL, or an http URL on loopback, such as "https://collector.example/v1/logs"'
const FORWARD = { origin: "bank", limits: "standard" }
const RATE = 'a rate such as "50/s", "0.5/s", "100/minute", "1000/h"'
const QUOTA = 'a quota such as "1000/hour", "100000/day", "2000000/month"'
const SETS = 'one of "standard", "payments", "small" (LIMITS)'
const REPLACEMENTS =
  'a table of names defined in LIMITS, such as { standard = "standard-gold" }: instead of which set this client has which'

describe("one error", () => {
  test.each([
    ["without hosts", { hosts: [] }, "GATEWAY.hosts | [] | at least one host name"],
    [
      "with a host in upper case",
      { hosts: ["localhost", "API.bank.example"] },
      'GATEWAY.hosts[1] | "API.bank.example" | a host name in lower case without port, such as "api.bank.example"',
    ],
    [
      "with a port",
      { hosts: ["localhost:8443"] },
      'GATEWAY.hosts[0] | "localhost:8443" | a host name in lower case without port, such as "api.bank.example"',
    ],
    [
      "with a flush that takes too long",
      { hosts: ["localhost"], log_flush: "1m" },
      'GATEWAY.log_flush | "1m" | a duration from 10 ms to 5000 ms, such as "1s" (units ms, s, m, h, d)',
    ],
    ["with a text for a flag", { hosts: ["localhost"], console: "yes" }, 'GATEWAY.console | "yes" | true or false'],
  ])("in a GATEWAY %s", (_, gateway, expected) => {
    expect(errorsOf({ ...VALID, GATEWAY: gateway })).toEqual([expected])
  })

  const KEY_ACCEPTS = 'the name of a Worker secret, such as "ASSERTION_KEY", that holds a private JWK'
  const ISSUER_ACCEPTS = 'an https URL without query, at most 256 characters, such as "https://api.bank.example"'
  test.each([
    [
      "without keys",
      { issuer: "https://x.example" },
      '.keys | (missing) | required: a list of 1 to 4 names of Worker secrets that hold private JWKs, such as ["ASSERTION_KEY"]',
    ],
    [
      "with no keys",
      { issuer: "https://x.example", keys: [] },
      '.keys | [] | a list of 1 to 4 names of Worker secrets that hold private JWKs, such as ["ASSERTION_KEY"]',
    ],
    [
      "with a key twice",
      { issuer: "https://x.example", keys: ["A", "A"] },
      '.keys[1] | "***" | a name that is not in the list already',
    ],
    [
      "with five keys",
      { issuer: "https://x.example", keys: ["A", "B", "C", "D", "E"] },
      '.keys | ["***","***","***","***","***"] | at most 4 names: the key that signs, and those beside it',
    ],
    [
      "with the key itself",
      { issuer: "https://x.example", keys: ['{"d":"hunter2"}'] },
      `.keys[0] | "***" | ${KEY_ACCEPTS}`,
    ],
    [
      "with a name that reads like a variable",
      { issuer: "https://x.example", keys: ["ROUTES_KEY"] },
      '.keys[0] | "***" | a name that does not begin like a variable of the configuration',
    ],
    [
      "with a name that is the one of a variable",
      { issuer: "https://x.example", keys: ["TOKENS"] },
      '.keys[0] | "***" | a name that does not begin like a variable of the configuration',
    ],
    ["with an issuer that is no URL", { issuer: "bank", keys: ["A"] }, `.issuer | "bank" | ${ISSUER_ACCEPTS}`],
    [
      "with an http issuer",
      { issuer: "http://x.example", keys: ["A"] },
      `.issuer | "http://x.example" | ${ISSUER_ACCEPTS}`,
    ],
    [
      "with a key that there is not",
      { issuer: "https://x.example", keys: ["A"], audience: "x" },
      '.audience | "x" | no such key; assertion has: issuer, keys',
    ],
  ])("in an assertion %s", (_, assertion, expected) => {
    expect(errorsOf({ ...VALID, GATEWAY: { hosts: ["localhost"], assertion } })).toEqual([
      `GATEWAY.assertion${expected}`,
    ])
  })

  const NEEDED = 'GATEWAY.assertion = { issuer = "https://...", keys = ["ASSERTION_KEY"] }'
  test("in an origin that asks for assertions of a gateway without keys", () => {
    const ORIGINS = { ...VALID.ORIGINS, bank: { url: "https://bank.example", assertion: true } }
    expect(errorsOf({ ...VALID, ORIGINS })).toEqual([
      `ORIGINS.bank.assertion | true | no assertion without ${NEEDED}, which names the keys`,
    ])
  })

  test("in the keys is no second one in the origins and routes that need them", () => {
    const ORIGINS = { ...VALID.ORIGINS, bank: { url: "https://bank.example", assertion: true } }
    const route = { path: "/keys", client_certificate: "none", jwks: true }
    const GATEWAY = { hosts: ["localhost"], assertion: { issuer: "https://x.example" } }
    expect(errorsOf({ ...withRoute(route), ORIGINS, GATEWAY })).toHaveLength(1)
  })

  const ORIGIN_ASSERTION =
    'true, false, or a table such as { audience = "core-bank" } (1 to 256 visible ASCII characters)'
  test.each([
    ["an assertion in words", { assertion: "yes" }, `.assertion | "yes" | ${ORIGIN_ASSERTION}`],
    [
      "an audience with a space",
      { assertion: { audience: "core bank" } },
      `.assertion | {"audience":"core bank"} | ${ORIGIN_ASSERTION}`,
    ],
    [
      "another form of certificate",
      { client_cert: "pem" },
      '.client_cert | "pem" | "rfc9440" or "xfcc" or "both" or "none"',
    ],
  ])("in an origin with %s", (_, change, expected) => {
    const ORIGINS = { ...VALID.ORIGINS, bank: { url: "https://bank.example", ...change } }
    expect(errorsOf({ ...VALID, GATEWAY: ASSERTING, ORIGINS })).toEqual([`ORIGINS.bank${expected}`])
  })

  test.each([
    [
      "shows keys and forwards",
      { path: "/x", limits: "standard", origin: "bank", jwks: true },
      '[4] | {"origin":"bank","jwks":true} | exactly one of origin (one of "bank", "core" (ORIGINS)), respond and jwks = true',
    ],
    [
      "shows no keys",
      { path: "/x", limits: "standard", jwks: false },
      '[4] | {"jwks":false} | exactly one of origin (one of "bank", "core" (ORIGINS)), respond and jwks = true',
    ],
    [
      "shows keys softly",
      { path: "/x", limits: "standard", jwks: true, soft: true },
      "[4].soft | true | no soft on a route that is answered here: it has no origin that could be unhealthy",
    ],
    [
      "switches an assertion off",
      { path: "/x", limits: "standard", origin: "bank", assertion: false },
      "[4].assertion | false | no such key",
    ],
  ])("in a route that %s", (_, route, expected) => {
    const [error = "", ...others] = errorsOf({ ...withRoute(route), GATEWAY: ASSERTING })
    expect([error.slice(0, `ROUTES${expected}`.length), others]).toEqual([`ROUTES${expected}`, []])
  })

  test("in a route that shows keys of a gateway without any", () => {
    expect(errorsOf(withRoute({ path: "/keys", client_certificate: "none", jwks: true }))).toEqual([
      `ROUTES[4].jwks | true | no jwks without ${NEEDED}, whose keys it shows`,
    ])
  })

  test.each([
    [
      "without issuer",
      { san_uri: "spiffe://a/b" },
      '[0].issuer | (missing) | the CA that issues this certificate: one of "partners" (ISSUERS)',
    ],
    [
      "of an unknown issuer",
      { issuer: "partner", san_uri: "spiffe://a/b" },
      '[0].issuer | "partner" | one of "partners" (ISSUERS)',
    ],
    [
      "with an issuer in upper case",
      { issuer: "Partners", san_uri: "spiffe://a/b" },
      '[0].issuer | "Partners" | one of "partners" (ISSUERS)',
    ],
    [
      "with an issuer that is no text",
      { issuer: 1, san_uri: "spiffe://a/b" },
      "[0].issuer | 1 | a name defined in ISSUERS",
    ],
    ["without anything", {}, `[0] | {} | ${CERTIFICATE_KINDS}`],
    ["with an issuer only", { issuer: "partners" }, `[0] | {"issuer":"partners"} | ${CERTIFICATE_KINDS}`],
    [
      "by URI and subject",
      { issuer: "partners", san_uri: "a:b", subject: "CN=a" },
      `[0] | {"issuer":"partners","san_uri":"a:b","subject":"CN=a"} | ${CERTIFICATE_KINDS}`,
    ],
    [
      "by fingerprint and issuer",
      { issuer: "partners", fingerprint: FINGERPRINT },
      '[0].issuer | "partners" | no issuer beside a fingerprint, which names one certificate by itself',
    ],
    [
      "by the SHA-1",
      { fingerprint: "ab".repeat(20) },
      `[0].fingerprint | "${"ab".repeat(20)}" | the SHA-256 of the certificate: 64 hex digits, colons allowed`,
    ],
    [
      "by a name in one line",
      { issuer: "partners", subject: "/C=JP/CN=a" },
      '[0].subject | "/C=JP/CN=a" | a distinguished name as RFC 4514 writes it; this one needs an attribute type and "=" at "/C=JP/CN=a"; if it means what it seems to, that is "CN=a,C=JP"',
    ],
    [
      "by a URI without scheme",
      { issuer: "partners", san_uri: "partners.example/acme" },
      '[0].san_uri | "partners.example/acme" | the URI in the certificate, such as "spiffe://partners.example/acme" (visible ASCII, scheme first)',
    ],
    [
      "with an unknown key",
      { fingerprint: FINGERPRINT, common_name: "acme" },
      '[0].common_name | "acme" | no such key; a certificate has: fingerprint, spki, issuer, san_uri, san_dns, san_email, spiffe_id, subject, retire_at',
    ],
  ])("in a certificate %s", (_, certificate, expected) => {
    expect(errorsOf(withCertificate(certificate))).toEqual([`CLIENTS[0].certificates${expected}`])
  })

  test("in a certificate whose issuer is not defined anywhere", () => {
    const environment = { ...withCertificate({ issuer: "partners", san_uri: "spiffe://a/b" }), ISSUERS: {} }
    expect(errorsOf(environment)).toEqual([
      'CLIENTS[0].certificates[0].issuer | "partners" | a name of ISSUERS, which has none yet',
    ])
  })

  test.each([
    ["Acme", '"Acme"'],
    ["-acme", '"-acme"'],
    ["", '""'],
    ["a".repeat(65), `"${"a".repeat(65)}"`],
    ["acme/b", '"acme/b"'],
  ])("in the client id %j", (id, value) => {
    expect(errorsOf({ ...VALID, CLIENTS: [{ id, certificates: [{ fingerprint: FINGERPRINT }] }] })).toEqual([
      `CLIENTS[0].id | ${value} | 1 to 64 lower-case letters, digits, dots, underscores or hyphens, starting and ending with a letter or digit`,
    ])
  })

  test.each([
    ["without any pattern", { ...FORWARD }, "[4] | {} | exactly one of path, prefix and regex"],
    [
      "with path and prefix",
      { path: "/a", prefix: "/b", ...FORWARD },
      '[4] | {"path":"/a","prefix":"/b"} | exactly one of path, prefix and regex',
    ],
    ["with a dot segment", { path: "/a/../b", ...FORWARD }, `[4].path | "/a/../b" | ${PATH}`],
    ["with an encoded slash", { prefix: "/a%2Fb", ...FORWARD }, `[4].prefix | "/a%2Fb" | ${PATH}`],
    ["with an empty segment", { path: "/a//b", ...FORWARD }, `[4].path | "/a//b" | ${PATH}`],
    ["with a path that is not absolute", { path: "a", ...FORWARD }, `[4].path | "a" | ${PATH}`],
    [
      "with an encoding that is not needed",
      { path: "/%61", ...FORWARD },
      '[4].path | "/%61" | the path in canonical form: "/a"',
    ],
    ["with a query", { path: "/a?b", ...FORWARD }, '[4].path | "/a?b" | a path without query and fragment'],
    [
      "with neither origin nor answer",
      { path: "/a", limits: "standard" },
      '[4] | {} | exactly one of origin (one of "bank", "core" (ORIGINS)), respond and jwks = true',
    ],
    [
      "with origin and answer",
      { path: "/a", respond: { status: 200 }, ...FORWARD },
      '[4] | {"origin":"bank","respond":{"status":200}} | exactly one of origin (one of "bank", "core" (ORIGINS)), respond and jwks = true',
    ],
    [
      "without limits",
      { path: "/a", origin: "bank" },
      '[4].limits | (missing) | the limits that each client has here: one of "standard", "payments" (LIMITS), or a list of them',
    ],
    [
      "with limits that do not exist",
      { path: "/a", origin: "bank", limits: "Standard" },
      '[4].limits | "Standard" | one of "standard", "payments" (LIMITS)',
    ],
    [
      "with a cost above the burst",
      { path: "/a", origin: "bank", limits: "payments", cost: 4 },
      '[4].cost | 4 | at most the burst of the limit "payments" (3); more would never be admitted',
    ],
    [
      "with limits of which one does not exist",
      { path: "/a", origin: "bank", limits: ["standard", "gold"] },
      '[4].limits[1] | "gold" | one of "standard", "payments" (LIMITS)',
    ],
    [
      "with a limit twice",
      { path: "/a", origin: "bank", limits: ["standard", "standard"] },
      '[4].limits[1] | "standard" | a name that is not in the list already',
    ],
    [
      "with an empty list of limits",
      { path: "/a", origin: "bank", limits: [] },
      "[4].limits | [] | a name defined in LIMITS, or a list of 1 to 8 such names",
    ],
    [
      "with a cost above one burst of several",
      { path: "/a", origin: "bank", limits: ["standard", "payments"], cost: 20 },
      '[4].cost | 20 | at most the burst of the limit "payments" (3); more would never be admitted',
    ],
    ["with a cost of nothing", { path: "/a", cost: 0, ...FORWARD }, "[4].cost | 0 | a whole number from 1 to 1000000"],
    [
      "with an origin but without certificates",
      { path: "/a", client_certificate: "none", origin: "bank" },
      '[4].client_certificate | "none" | "required" on a route with an origin: only routes answered here (respond, jwks) may do without a certificate',
    ],
    [
      "with limits but without certificates",
      { path: "/a", client_certificate: "none", respond: { status: 200 }, limits: "standard" },
      `[4].limits | "standard" | no limits ${NO_CLIENT}`,
    ],
    [
      "with a cost but without certificates",
      { path: "/a", client_certificate: "none", respond: { status: 200 }, cost: 2 },
      `[4].cost | 2 | no cost ${NO_CLIENT}`,
    ],
    [
      "with certificates by another word",
      { path: "/a", client_certificate: "optional", ...FORWARD },
      '[4].client_certificate | "optional" | "required" or "none"',
    ],
    [
      "with forwarded fields but nothing to forward",
      { path: "/a", respond: { status: 200 }, limits: "standard", forward_headers: ["accept"] },
      '[4].forward_headers | ["accept"] | no forward_headers on a route that forwards nothing',
    ],
    [
      "with a body in an answer that has none",
      { path: "/a", client_certificate: "none", respond: { status: 204, body: "x" } },
      '[4].respond.body | "x" | no body: an answer with status 204 has none',
    ],
    [
      "with an answer that is no final one",
      { path: "/a", client_certificate: "none", respond: { status: 101 } },
      "[4].respond.status | 101 | a whole number from 200 to 599",
    ],
    [
      "with no method",
      { path: "/a", methods: [], ...FORWARD },
      "[4].methods | [] | at least one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
    ],
    [
      "with TRACE",
      { path: "/a", methods: ["GET", "TRACE"], ...FORWARD },
      '[4].methods[1] | "TRACE" | "GET" or "HEAD" or "POST" or "PUT" or "PATCH" or "DELETE" or "OPTIONS"',
    ],
    [
      "with a forwarded field in upper case",
      { path: "/a", forward_headers: ["Accept"], ...FORWARD },
      '[4].forward_headers[0] | "Accept" | a header field name in lower case: letters, digits, hyphens',
    ],
    [
      "with the path of another",
      { path: "/payments", ...FORWARD },
      '[4] | "POST /payments" | a path and method that no other route has; ROUTES[1] has them already',
    ],
  ])("in a route %s", (_, route, expected) => {
    expect(errorsOf(withRoute(route))).toEqual([`ROUTES${expected}`])
  })

  test.each(["/v[0-9]+", "^/(a+)+$", "^/a(?=b)$", "^/[$", "^/\\1$", 5])("in the expression %j", (regex) => {
    const result = loadConfig(withRoute({ regex, ...FORWARD }))
    expect(!result.ok && result.errors.map(({ path, value }) => [path, value])).toEqual([
      ["ROUTES[4].regex", JSON.stringify(regex)],
    ])
  })

  test.each([
    ["ftp://bank.example"],
    ["bank.example"],
    ["//bank.example"],
    ["https://"],
    ["https://bank.example:0/"],
    ["https://bank.example/a/../b"],
    ["https://bank.example\\evil"],
    ["https://bank.example#x"],
  ])("in the origin URL %s", (url) => {
    expect(errorsOf({ ...VALID, ORIGINS: { ...VALID.ORIGINS, bank: { url } } })).toEqual([
      `ORIGINS.bank.url | ${JSON.stringify(url)} | ${ORIGIN_URL}`,
    ])
  })

  test.each([
    ["http://collector.example/v1/logs", "https: events leave the machine encrypted (http is for loopback only)"],
    ["http://127.0.0.1.evil.example/", "https: events leave the machine encrypted (http is for loopback only)"],
    ["http://localhost.evil.example/", "https: events leave the machine encrypted (http is for loopback only)"],
    ["http://10.0.0.1/", "https: events leave the machine encrypted (http is for loopback only)"],
    ["wss://collector.example", SINK_URL],
  ])("in the sink URL %s", (url, accepted) => {
    expect(errorsOf({ ...VALID, SINKS: [{ kind: "otlp", url }] })).toEqual([
      `SINKS[0].url | ${JSON.stringify(url)} | ${accepted}`,
    ])
  })

  test.each(["http://localhost:4318/v1/logs", "http://[::1]:4318/", "http://127.1.2.3/", "https://10.0.0.1/"])(
    "is not in the sink URL %s",
    (url) => {
      expect(errorsOf({ ...VALID, SINKS: [{ kind: "otlp", url }] })).toEqual([])
    },
  )

  test.each([
    ["rate", { rate: "50", burst: 1 }, '.rate | "50" | a rate such as "50/s", "0.5/s", "100/minute", "1000/h"'],
    [
      "rate per something that every object has",
      { rate: "5/constructor", burst: 1 },
      '.rate | "5/constructor" | a rate such as "50/s", "0.5/s", "100/minute", "1000/h"',
    ],
    ["burst", { rate: "1/s", burst: 1.5 }, ".burst | 1.5 | a whole number from 1 to 1000000"],
    ["burst that is missing", { rate: "1/s" }, ".burst | (missing) | required: a whole number from 1 to 1000000"],
    ["rate that is missing", { burst: 1 }, `.rate | (missing) | required: ${RATE}`],
    ["quota", { quota: "1000" }, `.quota | "1000" | ${QUOTA}`],
    ["quota of nothing", { quota: "0/day" }, `.quota | "0/day" | ${QUOTA}`],
    ["quota per something else", { quota: "1/week" }, `.quota | "1/week" | ${QUOTA}`],
    [
      "time zone",
      { quota: "1/day", timezone: "Asia/Edo" },
      '.timezone | "Asia/Edo" | a time zone of the IANA database, such as "Asia/Tokyo"',
    ],
    [
      "time zone without a quota",
      { rate: "1/s", burst: 1, timezone: "Asia/Tokyo" },
      '.timezone | "Asia/Tokyo" | no timezone without a quota, which begins and ends by it',
    ],
    ["concurrency", { concurrent: 1_001 }, ".concurrent | 1001 | a whole number from 1 to 1000"],
    [
      "lease",
      { concurrent: 1, lease: "2h" },
      '.lease | "2h" | a duration from 1000 ms to 3600000 ms, such as "60s" (units ms, s, m, h, d)',
    ],
    [
      "lease without concurrency",
      { quota: "1/day", lease: "60s" },
      '.lease | "60000ms" | no lease without concurrent: it is how long a request holds its place at most',
    ],
    ["mode", { quota: "1/day", mode: "log" }, '.mode | "log" | "enforce" or "shadow"'],
    ["lack", { mode: "shadow" }, ' | {"mode":"shadow"} | at least one of rate (with burst), quota and concurrent'],
    [
      "product of burst and period",
      { rate: "0.000001/d", burst: 1_000_000 },
      ".burst | 1000000 | a burst of at most 104 at this rate",
    ],
  ])("in the %s of a limit", (_, limit, expected) => {
    expect(errorsOf({ ...VALID, LIMITS: { ...VALID.LIMITS, standard: limit } })).toEqual([`LIMITS.standard${expected}`])
  })

  test.each([
    ["kind", { kind: "linear" }, 'backoff.kind | "linear" | a table with kind = "lineal" or kind = "exponential"'],
    [
      "duration",
      { kind: "lineal", duration: "0s" },
      'backoff.duration | "0s" | a duration from 1 ms to 31536000000 ms, such as "5m" (units ms, s, m, h, d)',
    ],
    [
      "order of bounds",
      { kind: "exponential", min: "1h", max: "1m", random_factor: 0 },
      'backoff.max | "60000ms" | a duration of at least backoff.min (3600000 ms)',
    ],
    [
      "random factor",
      { kind: "exponential", min: "1m", max: "1h", random_factor: 2 },
      "backoff.random_factor | 2 | a number from 0 to 1",
    ],
    [
      "reset",
      { kind: "exponential", min: "1m", max: "1h", random_factor: 0, reset: "never" },
      'backoff.reset | "never" | a duration such as "1h", or "manual"',
    ],
  ])("in the %s of a guard's backoff", (_, backoff, expected) => {
    const guard = { ...VALID.GUARDS.credentials, backoff }
    expect(errorsOf({ ...VALID, GUARDS: { credentials: guard } })).toEqual([`GUARDS.credentials.${expected}`])
  })

  test("in two sets of which one has a policy with the other one's name", () => {
    const limits = { "a-day": { rate: "1/s", burst: 1 }, a: { quota: "1/day" } }
    expect(errorsOf({ ...VALID, LIMITS: { ...VALID.LIMITS, ...limits } })).toEqual([
      'LIMITS.a | "a-day" | another name: LIMITS.a-day has a policy of that name already',
    ])
  })

  test.each([
    ["no table", "standard", ` | "standard" | ${REPLACEMENTS}`],
    ["no texts", { standard: 1 }, ` | {"standard":1} | ${REPLACEMENTS}`],
    ["a name that is none", { standrd: "payments" }, `.standrd | "standrd" | ${SETS}`],
    ["a set that is none", { standard: "gold" }, `.standard | "gold" | ${SETS}`],
    [
      "a set that gives less than a route costs",
      { payments: "small" },
      ' | "small" | a set that gives at least the cost of ROUTES[1] (3)',
    ],
  ])("in the limits of a client: %s", (_, limits, expected) => {
    const LIMITS = { ...VALID.LIMITS, small: { rate: "1/s", burst: 2 } }
    expect(errorsOf({ ...VALID, LIMITS, CLIENTS: [{ ...VALID.CLIENTS[0], limits }] })).toEqual([
      `CLIENTS[0].limits${expected}`,
    ])
  })

  test("in the name of a limit", () => {
    expect(errorsOf({ ...VALID, LIMITS: { ...VALID.LIMITS, "Fast!": { rate: "1/s", burst: 1 } } })).toEqual([
      'LIMITS.Fast! | "Fast!" | a name of 1 to 64 lower-case letters, digits, dots, underscores or hyphens, starting and ending with a letter or digit',
    ])
  })

  test("is not in two routes of which one pattern only looks like the other", () => {
    const routes = [
      { path: "/a/**", ...FORWARD },
      { prefix: "/a", ...FORWARD },
      { prefix: "/a/", ...FORWARD },
    ]
    expect(errorsOf({ ...VALID, ROUTES: routes })).toEqual([])
  })

  test("is not in two routes of one path that take different methods", () => {
    expect(errorsOf(withRoute({ path: "/payments", methods: ["GET"], ...FORWARD }))).toEqual([])
  })
})

test("loadConfig() reports everything that is wrong with a thoroughly broken configuration", () => {
  const broken = {
    GATEWAY: { host: ["localhost"], via: "my gateway" },
    ISSUERS: { partners: { ski: "xyz" } },
    LIMIT: { standard: { rate: "1/s", burst: 1 } },
    LIMITS: { standard: { rate: "10/week", burst: 0, brust: 1, quota: "1/week" } },
    ORIGINS: { bank: { url: "https://user:hunter2@bank.example/?key=hunter2", timeout: "10" } },
    CLIENTS: [
      { id: "acme", certificates: [{ issuer: "partners", san_uri: "spiffe://a/b" }] },
      { id: "acme", certificates: [] },
      { id: "acme", certificates: [{ issuer: "nobody", subject: "CN=a" }] },
      "globex",
    ],
    ROUTES: [
      { path: "/a", origin: "bank", limits: "standard" },
      { path: "/b", origin: "bnak", limits: "standrd" },
      { path: "/c/", prefix: "/d", respond: { status: 99 } },
      { path: "/e", client_certificate: "none", origin: "bank", cost: 2 },
    ],
    SINKS: [{ kind: "syslog", url: "http://collector.example", authorization: "Bearer hunter2" }, { kind: "otlp" }],
  }
  expect(errorsOf(broken)).toEqual([
    'LIMIT | {"standard":{"rate":"1/s","burst":1}} | one of the variables GATEWAY, ADMIN, ISSUERS, LIMITS, GUARDS, TOKENS, ORIGINS, ROUTES, CLIENTS, SINKS (ROUTES, CLIENTS and SINKS also with a suffix, such as ROUTES_2)',
    "GATEWAY.hosts | (missing) | required: at least one host name",
    'GATEWAY.via | "my gateway" | the pseudonym of this gateway in Via: letters, digits, dots, hyphens',
    'GATEWAY.host | ["localhost"] | no such key; GATEWAY has: hosts, via, console, log_flush, traces, legacy_ratelimit, certificate_warning, assertion, idempotency',
    'ISSUERS.partners.ski | "xyz" | the subject key identifier of the CA in hex, such as "27846e5e89a3c0f4..."',
    'LIMITS.standard.rate | "10/week" | a rate such as "50/s", "0.5/s", "100/minute", "1000/h"',
    "LIMITS.standard.burst | 0 | a whole number from 1 to 1000000",
    'LIMITS.standard.quota | "1/week" | a quota such as "1000/hour", "100000/day", "2000000/month"',
    "LIMITS.standard.brust | 1 | no such key; a limit has: rate, burst, quota, timezone, concurrent, lease, mode",
    `ORIGINS.bank.url | "https://***@bank.example/?***" | ${ORIGIN_URL}`,
    'ORIGINS.bank.timeout | "10" | a duration from 10 ms to 100000 ms, such as "10s" (units ms, s, m, h, d)',
    "CLIENTS[1].certificates | [] | at least one certificate to recognise the client by",
    'CLIENTS[3] | "globex" | a client: a table with id, certificates, disabled, limits, mode, oauth_clients',
    'CLIENTS[2].id | "acme" | an id that no other client has; CLIENTS[0] has it already',
    'CLIENTS[2].certificates[0].issuer | "nobody" | one of "partners" (ISSUERS)',
    "ROUTES[2].respond.status | 99 | a whole number from 200 to 599",
    'ROUTES[1].origin | "bnak" | one of "bank" (ORIGINS)',
    'ROUTES[1].limits | "standrd" | one of "standard" (LIMITS)',
    'ROUTES[3].client_certificate | "none" | "required" on a route with an origin: only routes answered here (respond, jwks) may do without a certificate',
    `ROUTES[3].cost | 2 | no cost ${NO_CLIENT}`,
    'SINKS[0].kind | "syslog" | "otlp" or "ndjson" or "loki"',
    'SINKS[0].url | "http://collector.example" | https: events leave the machine encrypted (http is for loopback only)',
    'SINKS[0].authorization | "***" | no such key; a sink has: kind, url, takes, authorization_secret, header_secrets, gzip',
    `SINKS[1].url | (missing) | required: ${SINK_URL}`,
  ])
})

describe("values in errors", () => {
  const values = (environment: Environment): string => {
    const result = loadConfig(environment)
    return result.ok ? "" : result.errors.map(({ value }) => value).join("\n")
  }

  test("are cut at 80 characters", () => {
    expect(values({ ...VALID, OTHER: { text: "x".repeat(500) } })).toBe(`{"text":"${"x".repeat(68)}...`)
  })

  test.each([
    [
      "a secret in place of its name",
      { SINKS: [{ kind: "otlp", url: "https://a.example", authorization_secret: "Bearer hunter2" }] },
    ],
    ["a secret under a misspelt key", { SINKS: [{ kind: "otlp", url: "https://a.example", api_key: "hunter2" }] }],
    ["a secret inside a table", { OTHER: { nested: { password: "hunter2" } } }],
    ["a secret in a list", { GATEWAY: { hosts: ["a.example"], asertion: { keys: ["hunter2"] } } }],
    ["a secret in a list in place of one", { SINKS: [{ kind: "otlp", authorization_secret: ["hunter2"] }] }],
    ["a secret in a table in place of one", { OTHER: { authorization: { value: "hunter2" } } }],
    ["a secret in a variable of a known family", { SINKS_TOKEN: "hunter2" }],
    ["the user information of a URL", { ORIGINS: { bank: { url: "https://bank:hunter2@bank.example" } } }],
    ["the query of a URL", { SINKS: [{ kind: "otlp", url: "https://a.example/?key=hunter2" }] }],
  ])("do not show %s", (_, variables) => {
    const shown = values({ ...VALID, ...variables })
    expect([shown.includes("***"), shown.includes("hunter2")]).toEqual([true, false])
  })
})

describe("any configuration", () => {
  const name = fc.constantFrom(...Object.keys(VALID), "ROUTES_2", "CLIENTS_2", "OTHER")
  const keys =
    "id certificates path prefix regex origin limits respond status hosts kind url backoff rate burst standard bank methods __proto__ constructor toString"
  const key = fc.constantFrom("", ...keys.split(" "))
  const leaf = fc.oneof(
    fc.constantFrom("/", "^/$", "bank", "standard", "1/s", "10s", "https://a.example", "GET", "none", "a", FINGERPRINT),
    fc.jsonValue({ maxDepth: 1 }),
    fc.integer(),
  )
  const { json } = fc.letrec<{ json: unknown }>((tie) => ({
    json: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      leaf,
      fc.array(tie("json"), { maxLength: 3 }),
      fc
        .array(fc.tuple(key, tie("json")), { maxLength: 4 })
        .map((entries) => JSON.parse(JSON.stringify(Object.fromEntries(entries))) as unknown),
    ),
  }))

  test("is accepted, or refused with at least one error that names its place and what is accepted", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(name, json), { maxLength: 3 }), fc.boolean(), (changes, fromValid) => {
        const result = loadConfig({ ...(fromValid ? VALID : {}), ...Object.fromEntries(changes) })
        if (result.ok) return
        expect(result.errors.length).toBeGreaterThan(0)
        for (const { path, accepted, value } of result.errors) {
          expect(path).toMatch(/^[A-Z]/)
          expect(accepted.length).toBeGreaterThan(5)
          expect(accepted).not.toMatch(/undefined|NaN|\[object|Invalid/)
          expect((value ?? "").length).toBeLessThanOrEqual(80)
        }
      }),
      { seed: 22, numRuns: 3_000 },
    )
  })

  test("with one changed leaf is accepted, or refused there or where something refers to it", () => {
    const referrers: Readonly<Record<string, string>> = { ISSUERS: "CLIENTS", LIMITS: "ROUTES", ORIGINS: "ROUTES" }
    fc.assert(
      fc.property(fc.constantFrom(...leavesOf(VALID)), fc.jsonValue(), (place, value) => {
        const changed: unknown = JSON.parse(JSON.stringify(VALID))
        setAt(changed, place, value)
        const result = loadConfig(changed as Environment)
        const variable = String(place[0])
        const expected = [variable, referrers[variable] ?? variable]
        for (const { path } of result.ok ? [] : result.errors)
          expect(expected.some((start) => path.startsWith(start))).toBe(true)
      }),
      { seed: 23, numRuns: 2_000 },
    )
  })
})

type Place = readonly (string | number)[]

function leavesOf(node: unknown, place: Place = []): readonly Place[] {
  if (typeof node !== "object" || node === null) return [place]
  return Object.entries(node).flatMap(([name, item]) =>
    leavesOf(item, [...place, Array.isArray(node) ? Number(name) : name]),
  )
}

function setAt(root: unknown, place: Place, value: unknown): void {
  let node = root as Record<string | number, unknown>
  for (const name of place.slice(0, -1)) node = node[name] as Record<string | number, unknown>
  node[place.at(-1) ?? ""] = value
}

interface SpiffeVectors {
  readonly ids: readonly { readonly id: string; readonly valid: boolean }[]
}
const spiffe = readDataSet("spiffe/spiffe-id-vectors.json") as SpiffeVectors | undefined

describe.skipIf(spiffe === undefined)("SPIFFE ids", () => {
  test("that are valid are accepted", () => {
    const valid = (spiffe?.ids ?? []).filter((item) => item.valid).map(({ id }) => id)
    const refused = valid.filter((id) => errorsOf(withCertificate({ issuer: "partners", san_uri: id })).length > 0)
    expect(refused).toEqual([])
  })

  test("with controls, spaces or octets beyond ASCII are refused", () => {
    const odd = (spiffe?.ids ?? []).filter(({ id }) => /[^\x21-\x7e]/.test(id)).map(({ id }) => id)
    const accepted = odd.filter((id) => errorsOf(withCertificate({ issuer: "partners", san_uri: id })).length === 0)
    expect([accepted, odd.length > 10]).toEqual([[], true])
  })
})

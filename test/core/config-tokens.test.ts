/**
 * Goal: authorization servers, and the tokens and scopes that routes ask for, are resolved completely, or every error is named
 * with place, value and what is accepted. Method: one valid sample, one change a test.
 */
import { describe, expect, test } from "vitest"
import { errorsOf, load } from "./config-fixtures.ts"

const SERVER = {
  issuer: "https://login.bank.example",
  jwks_url: "https://login.bank.example/jwks",
  audience: "https://api.bank.example",
}
const GUARD = { max_failures: 3, failure_duration: "1m", backoff: { kind: "lineal", duration: "5m" } }
const ROUTE = { path: "/pay", methods: ["GET", "POST"], origin: "bank", limits: "standard", token: "login" }
const CLIENT = { id: "acme", certificates: [{ fingerprint: "a".repeat(64) }] }
const VALID = {
  GATEWAY: { hosts: ["localhost"] },
  CLIENTS: [CLIENT],
  LIMITS: { standard: { rate: "1/s", burst: 10 } },
  GUARDS: { strict: GUARD, accounts: { ...GUARD, key: "header:x-account-id" } },
  TOKENS: { login: SERVER },
  ORIGINS: { bank: { url: "https://core.bank.example" } },
  ROUTES: [ROUTE],
}
const withServer = (keys: object) => ({ ...VALID, TOKENS: { login: { ...SERVER, ...keys } } })
const withRoute = (keys: object) => ({ ...VALID, ROUTES: [{ ...ROUTE, ...keys }] })

describe("an authorization server", () => {
  test("is strict unless told otherwise", () => {
    expect(load(VALID).authorizationServers[0]).toMatchObject({
      name: "login",
      issuer: "https://login.bank.example",
      jwksUrl: "https://login.bank.example/jwks",
      audience: { kind: "sole", value: "https://api.bank.example" },
      algorithms: ["PS256", "ES256"],
      types: ["at+jwt"],
      clockToleranceMs: 5_000,
      lifetimeMsMax: 86_400_000,
      isCertificateBound: true,
      clientClaim: "client_id",
      staleMsMax: 3_600_000,
    })
  })

  test.each([
    [{ audience: ["a", "b"] }, { audience: { kind: "any", values: ["a", "b"] } }],
    [{ algorithms: ["EdDSA", "RS256"] }, { algorithms: ["EdDSA", "RS256"] }],
    [{ typ: "application/AT+JWT" }, { types: ["at+jwt"] }],
    [{ typ: ["at+jwt", "JWT"] }, { types: ["at+jwt", "jwt"] }],
    [{ clock_tolerance: "1m" }, { clockToleranceMs: 60_000 }],
    [{ max_lifetime: "1h" }, { lifetimeMsMax: 3_600_000 }],
    [{ certificate_bound: false }, { isCertificateBound: false }],
    [{ client_claim: "sub" }, { clientClaim: "sub" }],
    [{ client_claim: false }, { clientClaim: null }],
    [{ max_stale: "0s" }, { staleMsMax: 0 }],
    [{ jwks_url: "http://127.0.0.1:9100/jwks" }, { jwksUrl: "http://127.0.0.1:9100/jwks" }],
  ])("may say %j", (keys, expected) => {
    expect(load(withServer(keys)).authorizationServers[0]).toMatchObject(expected)
  })

  test.each([
    [{ issuer: "" }, 'TOKENS.login.issuer | ""'],
    [{ jwks_url: "http://login.bank.example/jwks" }, 'TOKENS.login.jwks_url | "http://login.bank.example/jwks"'],
    [{ jwks_url: "/jwks" }, 'TOKENS.login.jwks_url | "/jwks"'],
    [{ audience: [] }, "TOKENS.login.audience | []"],
    [{ algorithms: ["HS256"] }, 'TOKENS.login.algorithms[0] | "HS256"'],
    [{ algorithms: ["none"] }, 'TOKENS.login.algorithms[0] | "none"'],
    [{ algorithms: [] }, "TOKENS.login.algorithms | []"],
    [{ typ: [] }, "TOKENS.login.typ | []"],
    [{ clock_tolerance: "61s" }, 'TOKENS.login.clock_tolerance | "61s"'],
    [{ max_lifetime: "0s" }, 'TOKENS.login.max_lifetime | "0s"'],
    [{ client_claim: "azp" }, 'TOKENS.login.client_claim | "azp"'],
    [{ client_claim: true }, "TOKENS.login.client_claim | true"],
    [{ max_stale: "8d" }, 'TOKENS.login.max_stale | "8d"'],
    [{ guard: "nobody" }, 'TOKENS.login.guard | "nobody" | one of "strict", "accounts" (GUARDS)'],
    [{ guard: true }, "TOKENS.login.guard | true"],
    [{ guard: "accounts" }, 'TOKENS.login.guard | "accounts" | a guard that counts by client or address'],
    [{ jwks: "x" }, 'TOKENS.login.jwks | "x" | no such key'],
  ])("may not say %j", (keys, expected) => {
    const errors = errorsOf(withServer(keys))
    expect([errors.length, errors[0]?.startsWith(expected)]).toEqual([1, true])
  })

  test.each(["issuer", "jwks_url", "audience"])("has to say %s", (key) => {
    const { [key]: _, ...rest } = SERVER as Readonly<Record<string, string>>
    expect(errorsOf({ ...VALID, TOKENS: { login: rest } })).toEqual([
      expect.stringMatching(`^TOKENS\\.login\\.${key} \\| \\(missing\\) \\| required: `) as string,
    ])
  })
})

describe("the guard of tokens", () => {
  const guardsOf = (environment: Readonly<Record<string, unknown>>) => load(environment).routes[0]?.guards

  test("is there unasked: five failures a minute, five minutes to an hour, successes clear nothing", () => {
    expect(guardsOf(VALID)).toMatchObject([
      {
        name: "token:login",
        maxFailures: 5,
        failureDurationMs: 60_000,
        backoff: { minBackoffMs: 300_000, maxBackoffMs: 3_600_000, randomFactor: 0.2, resetBackoffMs: 3_600_000 },
        guardResetTimeoutMs: 3_600_000,
        successPolicy: "ignore",
        inFlight: "optimistic",
        key: { kind: "client" },
        outcomes: { failureProblems: ["token-invalid", "token-binding-mismatch", "token-client-mismatch"] },
      },
    ])
  })

  test("may be switched off", () => {
    expect(guardsOf(withServer({ guard: false }))).toEqual([])
  })

  test("may be one of the configuration, which then counts bad tokens", () => {
    const [guard] = guardsOf(withServer({ guard: "strict" })) ?? []
    expect([guard?.name, guard?.maxFailures, guard?.outcomes.failureProblems?.length]).toEqual(["strict", 3, 3])
  })

  test("comes beside those that the route names", () => {
    expect(guardsOf(withRoute({ guard: "strict" }))?.map(({ name }) => name)).toEqual(["strict", "token:login"])
  })

  test("cannot be one of those, too", () => {
    expect(errorsOf({ ...withServer({ guard: "strict" }), ROUTES: [{ ...ROUTE, guard: "strict" }] })).toEqual([
      'ROUTES[0].guard | "strict" | a guard other than the one that counts bad tokens here already (TOKENS names it)',
    ])
  })

  test("makes blocked_status meaningful", () => {
    const off = { ...withServer({ guard: false }), ROUTES: [{ ...ROUTE, blocked_status: 403 }] }
    expect([errorsOf(withRoute({ blocked_status: 403 })).length, errorsOf(off).length]).toEqual([0, 1])
  })
})

describe("a route", () => {
  test("without scopes needs none of any method", () => {
    const { token } = load(VALID).routes[0] ?? {}
    expect([token?.server.name, token?.isForwarded, [...(token?.scopes ?? [])]]).toEqual([
      "login",
      false,
      [
        ["GET", []],
        ["POST", []],
      ],
    ])
  })

  test("with a list of scopes needs all of them for every method", () => {
    expect([...(load(withRoute({ scopes: ["a", "b"] })).routes[0]?.token?.scopes.values() ?? [])]).toEqual([
      ["a", "b"],
      ["a", "b"],
    ])
  })

  test.each([
    [{ GET: ["read"], POST: [] }, ["GET", "POST"]],
    [{ GET: ["read"], POST: ["pay"], HEAD: [] }, ["GET", "POST", "HEAD"]],
  ])("may say for each method: %j", (scopes, methods) => {
    expect([...(load(withRoute({ scopes })).routes[0]?.token?.scopes.keys() ?? [])]).toEqual(methods)
  })

  test.each([
    [{ token: "nobody" }, ['ROUTES[0].token | "nobody" | one of "login" (TOKENS)']],
    [
      { scopes: { GET: ["read"] } },
      ["ROUTES[0].scopes.POST | (missing) | the scopes that POST needs: a list of scopes, or [] for none"],
    ],
    [
      { scopes: { GET: ["read"], POST: ["pay"], PUT: ["pay"] } },
      ['ROUTES[0].scopes.PUT | ["pay"] | a method of this route: GET, POST'],
    ],
    [
      { token: undefined, scopes: ["read"] },
      ['ROUTES[0].scopes | ["read"] | no scopes without token: a token grants them'],
    ],
    [
      { token: undefined, forward_token: true },
      ["ROUTES[0].forward_token | true | no forward_token without token: Authorization is forwarded then"],
    ],
    [
      { forward_token: true, forward_headers: ["x"] },
      ['ROUTES[0].forward_headers | ["x"] | a list with "authorization": forward_token = true forwards it'],
    ],
    [
      { forward_headers: ["authorization"] },
      [
        'ROUTES[0].forward_headers | ["authorization"] | a list without "authorization", or forward_token = true: the token ends here otherwise',
      ],
    ],
    [
      { client_certificate: "none", limits: undefined, origin: undefined, respond: { status: 200 } },
      ['ROUTES[0].token | "login" | no token on a route with client_certificate = "none": nobody could be tied to it'],
    ],
    [
      { origin: undefined, respond: { status: 200 }, forward_token: true },
      ["ROUTES[0].forward_token | true | no forward_token on a route that forwards nothing"],
    ],
  ])("with %j contradicts itself", (keys, expected) => {
    const { ROUTES: routes, ...rest } = withRoute(keys)
    const route = Object.fromEntries(Object.entries(routes[0] ?? {}).filter(([, value]) => value !== undefined))
    expect(errorsOf({ ...rest, ROUTES: [route] })).toEqual(expected)
  })

  test.each([[[]], [["a b"]], [['"']], [["a", "a"]], ["read"], [{}], [{ GET: "read", POST: [] }], [7]])(
    "has no scopes like %j",
    (scopes) => {
      expect(errorsOf(withRoute({ scopes }))[0]).toMatch(
        /^ROUTES\[0\]\.scopes \| .+ \| a list of 1 to 32 different scopes/,
      )
    },
  )
})

describe("a client", () => {
  test("is at authorization servers what it is here, unless told otherwise", () => {
    const clients = [
      CLIENT,
      { id: "globex", certificates: [{ fingerprint: "b".repeat(64) }], oauth_clients: ["p1", "p2"] },
    ]
    expect(load({ ...VALID, CLIENTS: clients }).clients.map(({ oauthClients }) => [...oauthClients])).toEqual([
      ["acme"],
      ["p1", "p2"],
    ])
  })

  test.each([[[]], [["a", "a"]], ["a"], [["a b"]], [[7]]])("has no ids like %j", (names) => {
    const errors = errorsOf({ ...VALID, CLIENTS: [{ ...CLIENT, oauth_clients: names }] })
    expect(errors).toEqual([expect.stringMatching(/^CLIENTS\[0\]\.oauth_clients \| /) as string])
  })

  test("shares no id with another, also not the one that it has by itself", () => {
    const other = { id: "globex", certificates: [{ fingerprint: "b".repeat(64) }], oauth_clients: ["acme"] }
    expect(errorsOf({ ...VALID, CLIENTS: [CLIENT, other] })).toEqual([
      'CLIENTS[1].oauth_clients | "acme" | an id that no other client has; CLIENTS[0] has it already',
    ])
  })
})

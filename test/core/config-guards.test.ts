/**
 * Goal: guards and the routes that name them are resolved completely, or every error is named with place, value and what
 * is accepted. Method: one valid sample, one change a test. The rest of the configuration is in `config.test.ts`.
 */
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { loadConfig } from "../../src/config/load.ts"
import { FAILURE_STATUSES_MAX } from "../../src/core/bounds.ts"
import { parseGuardConfig } from "../../src/core/guard/guard-config.ts"
import { parseOutcomeRules } from "../../src/core/guard/outcome.ts"
import { errorsOf, load } from "./config-fixtures.ts"

const GUARD = { max_failures: 5, failure_duration: "10m", backoff: { kind: "lineal", duration: "5m" } }
const ROUTE = { path: "/login", origin: "bank", limits: "standard" }
const VALID = {
  GATEWAY: { hosts: ["localhost"] },
  LIMITS: { standard: { rate: "1/s", burst: 10 } },
  GUARDS: { credentials: GUARD, accounts: { ...GUARD, key: "header:x-account-id" }, slow: GUARD },
  ORIGINS: { bank: { url: "https://core.bank.example" } },
  ROUTES: [ROUTE],
}
const NAMES = 'one of "credentials", "accounts", "slow" (GUARDS)'
const STATUSES = "a list of at most 50 whole numbers from 200 to 499"
const KEYS = '"client", "address", or "header:" and a field name in lower case, such as "header:x-account-id"'
const VERDICT =
  'a field name of at most 64 letters, digits and hyphens, such as "guard-outcome", or false: none is read'

const withGuard = (keys: object) => ({ ...VALID, GUARDS: { ...VALID.GUARDS, credentials: { ...GUARD, ...keys } } })
const withRoute = (keys: object) => ({ ...VALID, ROUTES: [{ ...ROUTE, ...keys }] })

const guardOf = (keys: object) => load(withGuard(keys)).guards[0]

describe("a guard", () => {
  test("counts for the client, takes 401 and 403 for failures and believes Guard-Outcome unless told otherwise", () => {
    expect(guardOf({})).toMatchObject({
      key: { kind: "client" },
      outcomes: { failureStatuses: [401, 403], verdictHeader: "guard-outcome" },
    })
  })

  test.each([
    ["client", { kind: "client" }],
    ["address", { kind: "address" }],
    ["header:x-account-id", { kind: "header", name: "x-account-id" }],
    [`header:${"a".repeat(64)}`, { kind: "header", name: "a".repeat(64) }],
  ])("counts by the key %s", (key, expected) => {
    expect(guardOf({ key })?.key).toEqual(expected)
  })

  test.each([
    ["client", undefined, "reset"],
    ["header:x-account-id", undefined, "reset"],
    ["address", undefined, "ignore"],
    ["address", "reset", "reset"],
    ["client", "ignore", "ignore"],
  ])("with the key %s and the success policy %s has the policy %s", (key, policy, expected) => {
    const keys = { key, ...(policy === undefined ? {} : { success_policy: policy }) }
    expect(guardOf(keys)?.successPolicy).toBe(expected)
  })

  test.each([[[422]], [[]], [[200, 499]], [Array.from({ length: FAILURE_STATUSES_MAX }, (_, index) => 400 + index)]])(
    "takes exactly the statuses %j for failures",
    (statuses) => {
      expect(guardOf({ failure_statuses: statuses })?.outcomes.failureStatuses).toEqual(statuses)
    },
  )

  test.each([
    ["X-Login-Verdict", "x-login-verdict"],
    [false, null],
  ])("reads the verdict from %j", (header, expected) => {
    expect(guardOf({ verdict_header: header })?.outcomes.verdictHeader).toBe(expected)
  })

  test.each([
    ["", KEYS],
    ["clients", KEYS],
    ["Client", KEYS],
    ["header:", KEYS],
    ["header:X-Account-Id", KEYS],
    ["header: x-account-id", KEYS],
    ["header:x_account", KEYS],
    [`header:${"a".repeat(65)}`, KEYS],
    [1, KEYS],
    [
      "header:x-client-id",
      "a field that origins receive: the gateway removes or sets x-client-id itself, so callers could write anything there",
    ],
    [
      "header:authorization",
      "a field that names an account or the like: authorization may differ with every guess, and each would count alone",
    ],
  ])("does not count by the key %j", (key, accepted) => {
    expect(errorsOf(withGuard({ key }))).toEqual([`GUARDS.credentials.key | ${JSON.stringify(key)} | ${accepted}`])
  })

  test.each([[[199]], [[500]], [[401.5]], [["401"]], ["401"], [401], [null], [{}]])(
    "does not take the statuses %j for failures",
    (statuses) => {
      expect(errorsOf(withGuard({ failure_statuses: statuses }))).toEqual([
        `GUARDS.credentials.failure_statuses | ${JSON.stringify(statuses)} | ${STATUSES}`,
      ])
    },
  )

  test("does not take more statuses than the bound for failures", () => {
    const statuses = Array.from({ length: FAILURE_STATUSES_MAX + 1 }, (_, index) => 400 + index)
    expect(errorsOf(withGuard({ failure_statuses: statuses }))).toEqual([
      expect.stringMatching(/^GUARDS\.credentials\.failure_statuses \| .* at most 50 /),
    ])
  })

  test("does not name a status twice", () => {
    expect(errorsOf(withGuard({ failure_statuses: [401, 403, 401] }))).toEqual([
      "GUARDS.credentials.failure_statuses[2] | 401 | a status that is not in the list already",
    ])
  })

  test.each([true, "", "a b", "x".repeat(65), 1, null])("does not read the verdict from %j", (header) => {
    expect(errorsOf(withGuard({ verdict_header: header }))).toEqual([
      `GUARDS.credentials.verdict_header | ${JSON.stringify(header)} | ${VERDICT}`,
    ])
  })

  test("needs something that can be a failure", () => {
    expect(errorsOf(withGuard({ failure_statuses: [], verdict_header: false }))).toEqual([
      "GUARDS.credentials.failure_statuses | [] | at least one status where no verdict_header is read",
    ])
  })

  test("that is accepted is one that the core accepts, whatever the keys are", () => {
    const keys = fc.record(
      {
        max_failures: fc.oneof(fc.integer({ min: -100, max: 1_100 }), fc.double()),
        failure_duration: fc.constantFrom("0s", "1ms", "30d", "31d", "soon"),
        pending_ttl: fc.constantFrom("1ms", "1d", "2d"),
        in_flight: fc.constantFrom("optimistic", "reserve", "both"),
        key: fc.constantFrom("client", "address", "header:x-account-id", "header:cookie"),
        failure_statuses: fc.uniqueArray(fc.integer({ min: 199, max: 499 }), { maxLength: 60 }),
        verdict_header: fc.oneof(fc.boolean(), fc.constant("x-verdict"), fc.string({ maxLength: 70 })),
      },
      { requiredKeys: [] },
    )
    let accepted = 0
    fc.assert(
      fc.property(keys, (changes) => {
        const result = loadConfig(withGuard(changes))
        if (!result.ok) return
        accepted += 1
        for (const guard of result.config.guards)
          expect([parseGuardConfig(guard).ok, parseOutcomeRules(guard.outcomes).ok]).toEqual([true, true])
      }),
      { seed: 20_261_128, numRuns: 2_000 },
    )
    expect(accepted).toBeGreaterThan(100)
  })
})

describe("a route", () => {
  test("asks no guard, blocks with 429 and is not soft unless told otherwise", () => {
    expect(load(VALID).routes[0]).toMatchObject({ guards: [], blockedStatus: 429, isSoft: false })
  })

  test("asks the guard it names", () => {
    const { guards, routes } = load(withRoute({ guard: "credentials", blocked_status: 403 }))
    expect([routes[0]?.guards, routes[0]?.blockedStatus]).toEqual([[guards[0]], 403])
  })

  test("asks all guards it names, in their order", () => {
    const { guards, routes } = load(withRoute({ guard: ["slow", "credentials"] }))
    expect(routes[0]?.guards).toEqual([guards[2], guards[0]])
  })

  test("is soft when it says so", () => {
    expect(load(withRoute({ soft: true })).routes[0]?.isSoft).toBe(true)
  })

  test("may ask a guard where it answers by itself: the guard opens elsewhere and blocks here too", () => {
    const route = { path: "/login", respond: { status: 200 }, limits: "standard", guard: "slow", soft: false }
    expect(load({ ...VALID, ROUTES: [route] }).routes[0]?.guards.map(({ name }) => name)).toEqual(["slow"])
  })

  test("shows its origin the field that its guard counts by", () => {
    const keys = { guard: "accounts", forward_headers: ["accept", "x-account-id"] }
    expect(errorsOf(withRoute(keys))).toEqual([])
    expect(errorsOf(withRoute({ ...keys, forward_headers: ["accept"] }))).toEqual([
      'ROUTES[0].forward_headers | ["accept"] | a list with "x-account-id": the guard "accounts" counts by that field, so the origin has to be shown it',
    ])
  })

  const REFERENCES = "a name defined in GUARDS, or a list of 1 to 4 such names"
  test.each([
    ["a name that is none", { guard: "login" }, `.guard | "login" | ${NAMES}`],
    ["a name that is none in a list", { guard: ["slow", "login"] }, `.guard[1] | "login" | ${NAMES}`],
    [
      "a name that it has already",
      { guard: ["slow", "slow"] },
      '.guard[1] | "slow" | a name that is not in the list already',
    ],
    ["an empty list", { guard: [] }, `.guard | [] | ${REFERENCES}`],
    ["five names", { guard: ["a", "b", "c", "d", "e"] }, `.guard | ["a","b","c","d","e"] | ${REFERENCES}`],
    ["no name", { guard: true }, `.guard | true | ${REFERENCES}`],
    [
      "a status for nobody",
      { blocked_status: 403 },
      ".blocked_status | 403 | no blocked_status without guard: nobody is blocked here",
    ],
    [
      "a status that is no refusal",
      { guard: "slow", blocked_status: 399 },
      ".blocked_status | 399 | a whole number from 400 to 499",
    ],
    [
      "a status that blames the server",
      { guard: "slow", blocked_status: 500 },
      ".blocked_status | 500 | a whole number from 400 to 499",
    ],
    ["a soft that is no flag", { soft: "yes" }, '.soft | "yes" | true or false'],
  ])("does not take %s", (_, keys, expected) => {
    expect(errorsOf(withRoute(keys))).toEqual([`ROUTES[0]${expected}`])
  })

  test("names the guards that there are when there are none", () => {
    expect(errorsOf({ ...withRoute({ guard: "slow" }), GUARDS: {} })).toEqual([
      'ROUTES[0].guard | "slow" | a name of GUARDS, which has none yet',
    ])
  })

  test("has no second error about a guard that has errors of its own", () => {
    const broken = { ...GUARD, max_failures: 0 }
    expect(errorsOf({ ...withRoute({ guard: "slow" }), GUARDS: { slow: broken } })).toEqual([
      "GUARDS.slow.max_failures | 0 | a whole number from 1 to 1000",
    ])
  })

  test("has no guard where there is no client to count", () => {
    const route = { path: "/healthz", client_certificate: "none", respond: { status: 200 }, guard: "slow" }
    expect(errorsOf({ ...VALID, ROUTES: [route] })).toEqual([
      'ROUTES[0].guard | "slow" | no guard on a route with client_certificate = "none": there is no client to count',
    ])
  })

  test("is not soft where there is no origin", () => {
    const route = { path: "/login", respond: { status: 200 }, limits: "standard", soft: true }
    expect(errorsOf({ ...VALID, ROUTES: [route] })).toEqual([
      "ROUTES[0].soft | true | no soft on a route that is answered here: it has no origin that could be unhealthy",
    ])
  })
})

test.each(["yes", 1, null])("GATEWAY.legacy_ratelimit is not %j", (value) => {
  expect(errorsOf({ ...VALID, GATEWAY: { ...VALID.GATEWAY, legacy_ratelimit: value } })).toEqual([
    `GATEWAY.legacy_ratelimit | ${JSON.stringify(value)} | true or false`,
  ])
})

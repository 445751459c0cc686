/**
 * Goal: what gateway and routes say about idempotency keys becomes complete terms, or an error that says what is accepted. Method:
 * one valid sample, one change a test.
 */
import { describe, expect, test } from "vitest"
import { loadConfig } from "../../src/config/load.ts"

const ROUTE = { path: "/pay", origin: "bank", limits: "standard", methods: ["POST"] }
const GATEWAY = { hosts: ["localhost"], idempotency: { keys: ["IDEMPOTENCY_KEY"] } }

function loadKeyed(keys: object, gateway: object = GATEWAY, base: object = ROUTE) {
  return loadConfig({
    GATEWAY: gateway,
    LIMITS: { standard: { rate: "1/s", burst: 10 } },
    ORIGINS: { bank: { url: "https://core.bank.example" } },
    ROUTES: [{ ...base, ...keys }],
  })
}

function termsOf(idempotency: unknown, gateway?: object): unknown {
  const result = loadKeyed({ idempotency }, gateway)
  if (!result.ok) throw new Error(JSON.stringify(result.errors))
  const action = result.config.routes[0]?.action
  return action?.kind === "forward" ? action.idempotency : undefined
}

function errorsOf(keys: object, gateway?: object, base?: object): readonly string[] {
  const result = loadKeyed(keys, gateway, base)
  return result.ok ? [] : result.errors.map(({ accepted, path }) => `${path} | ${accepted}`)
}

const DEFAULTS = {
  isRequired: true,
  field: "idempotency-key",
  isUnquoted: false,
  ttlMs: 86_400_000,
  isOriginIdempotent: false,
}

describe("idempotency of a route", () => {
  test("is undefined where the route says nothing", () => {
    const result = loadKeyed({})
    expect(result.ok && result.config.routes[0]?.action).toMatchObject({ idempotency: undefined })
  })

  test.each([
    ["required", DEFAULTS],
    ["optional", { ...DEFAULTS, isRequired: false }],
    [{}, DEFAULTS],
    [
      { required: false, header: "x-idempotency-key", unquoted: true, ttl: "30d", origin_idempotent: true },
      {
        isRequired: false,
        field: "x-idempotency-key",
        isUnquoted: true,
        ttlMs: 2_592_000_000,
        isOriginIdempotent: true,
      },
    ],
  ])("%j becomes complete terms", (idempotency, terms) => {
    expect(termsOf(idempotency)).toEqual(terms)
  })

  test("has the time to live of the gateway unless it has its own", () => {
    const gateway = { ...GATEWAY, idempotency: { keys: ["K"], ttl: "10m" } }
    expect([termsOf("required", gateway), termsOf({ ttl: "1h" }, gateway)]).toMatchObject([
      { ttlMs: 600_000 },
      { ttlMs: 3_600_000 },
    ])
  })

  test.each([true, "yes", 1, { ttl: "9m" }, { ttl: "31d" }, { required: "yes" }, { unknown: 1 }, { header: "X-Key" }])(
    "%j is refused with what would be accepted",
    (idempotency) => {
      const [error = "", ...others] = errorsOf({ idempotency })
      expect(error).toMatch(/^ROUTES\[0\]\.idempotency/)
      expect(error).toMatch(/"required", "optional"|duration|true or false|header field name|no such key/)
      expect(others).toEqual([])
    },
  )

  test.each(["authorization", "x-client-id", "content-type", "cookie", "connection", "x-request-id", "host"])(
    "a key may not come in %s",
    (header) => {
      expect(errorsOf({ idempotency: { header } })).toEqual([
        'ROUTES[0].idempotency.header | a field for keys, such as "idempotency-key" or "x-idempotency-key"',
      ])
    },
  )

  test("is refused where it protects nothing", () => {
    expect(errorsOf({ idempotency: "required", methods: ["GET", "OPTIONS"] })).toEqual([
      "ROUTES[0].idempotency | no idempotency on a route whose methods change nothing: keys count for the others only",
    ])
    const answered = { path: "/x", limits: "standard", respond: { status: 200 } }
    expect(errorsOf({ idempotency: "required" }, GATEWAY, answered)).toEqual([
      "ROUTES[0].idempotency | no idempotency on a route that forwards nothing",
    ])
    expect(errorsOf({ idempotency: "required" }, { hosts: ["localhost"] })).toEqual([
      'ROUTES[0].idempotency | no idempotency without GATEWAY.idempotency = { keys = ["IDEMPOTENCY_KEY"] }, which names the secrets that protect records',
    ])
  })
})

describe("idempotency of the gateway", () => {
  test.each([
    [{ keys: [] }, /keys \| a list of 1 to 4 names of Worker secrets/],
    [{ keys: ["ROUTES_KEY"] }, /keys\[0\] \| a name that does not begin like a variable/],
    [{ keys: ["A", "A"] }, /keys\[1\] \| a name that is not in the list already/],
    [{ keys: ["A", "B", "C", "D", "E"] }, /keys \| at most 4 names/],
    [{ keys: ["A"], ttl: "1s" }, /ttl \| a duration from 600000 ms/],
    [{}, /keys \| required: a list/],
  ])("%j is refused with what would be accepted, and routes are not blamed", (idempotency, message) => {
    const errors = errorsOf({ idempotency: "required" }, { hosts: ["localhost"], idempotency })
    expect(errors).toHaveLength(1)
    expect(errors[0]).toMatch(message)
  })

  test("names the secrets, the one in use first", () => {
    const result = loadKeyed({}, { ...GATEWAY, idempotency: { keys: ["B", "A"], ttl: "48h" } })
    expect(result.ok && result.config.idempotency).toEqual({ keys: ["B", "A"], ttlMs: 172_800_000 })
  })
})

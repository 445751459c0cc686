/**
 * Goal: what an origin may be configured with is complete after loading, and what contradicts itself is refused with its place
 * and with what would be accepted. Method: one mistake at a time in a configuration that is otherwise sound.
 */
import { describe, expect, test } from "vitest"
import type { Origin } from "../../src/config/config.ts"
import { loadConfig } from "../../src/config/load.ts"
import { findFindings } from "../../cli/findings.ts"
import type { FetcherKind, WranglerEnvironment } from "../../cli/wrangler-file.ts"
import { load as loadVariables } from "./config-fixtures.ts"

const URL_A = "https://a.bank.example"
const URL_B = "https://b.bank.example"
const SKI = "ab".repeat(20)

function variables(origin: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return {
    GATEWAY: { hosts: ["api.bank.example"] },
    ISSUERS: { partners: { ski: SKI } },
    CLIENTS: [{ id: "acme", certificates: [{ issuer: "partners", san_uri: "spiffe://partners.example/acme" }] }],
    LIMITS: { standard: { rate: "1/s", burst: 1 } },
    ORIGINS: { bank: origin },
    ROUTES: [{ prefix: "/accounts", origin: "bank", limits: "standard" }],
  }
}

function load(origin: Readonly<Record<string, unknown>>): Origin {
  return loadVariables(variables(origin)).origins[0] as Origin
}

function errorsOf(origin: Readonly<Record<string, unknown>>): readonly (readonly [string, string])[] {
  const loaded = loadConfig(variables(origin))
  return loaded.ok ? [] : loaded.errors.map(({ accepted, path }) => [path, accepted])
}

describe("loadConfig()", () => {
  test("makes an origin of one URL complete", () => {
    expect(load({ url: URL_A })).toMatchObject({
      urls: [{ base: { authority: "a.bank.example" }, weight: 1, isBackup: false }],
      binding: undefined,
      preservesHost: false,
      totalTimeoutMs: undefined,
      retry: { retriesMax: 1, hasIdempotent: false, statuses: new Set() },
      breaker: { isEnforced: false, closed: { maxFailures: 5, failureDurationMs: 10_000 } },
    })
  })

  test("skips failing URLs by default where there are several", () => {
    expect(load({ urls: [{ url: URL_A }, { url: URL_B, weight: 3, backup: true }] })).toMatchObject({
      urls: [
        { weight: 1, isBackup: false },
        { weight: 3, isBackup: true },
      ],
      breaker: { isEnforced: true },
    })
  })

  test.each([
    [{ url: URL_A, breaker: {} }, true],
    [{ urls: [{ url: URL_A }, { url: URL_B }], breaker: false }, false],
  ])("of %j has a breaker that is enforced: %s", (origin, isEnforced) => {
    expect(load(origin).breaker.isEnforced).toBe(isEnforced)
  })

  test("takes a breaker as it is written", () => {
    const { closed, tripped } = load({ url: URL_A, breaker: { failures: 2, window: "3s", open: "4s" } }).breaker
    expect(closed).toMatchObject({ maxFailures: 2, failureDurationMs: 3_000, backoff: { durationMs: 4_000 } })
    expect(tripped).toMatchObject({ maxFailures: 1, inFlight: "reserve", backoff: { durationMs: 4_000 } })
  })

  test.each([
    [{}, "ORIGINS.bank", /exactly one of url/],
    [{ url: URL_A, urls: [{ url: URL_B }] }, "ORIGINS.bank", /exactly one of url/],
    [{ urls: [] }, "ORIGINS.bank.urls", /1 to 16 tables/],
    [{ urls: Array.from({ length: 17 }, (_, i) => ({ url: `${URL_A}/${i}` })) }, "ORIGINS.bank.urls", /1 to 16 tables/],
    [{ urls: [{ url: URL_A, weight: 0 }] }, "ORIGINS.bank.urls[0].weight", /from 1 to 1000/],
    [{ urls: [{ url: URL_A, backup: true }] }, "ORIGINS.bank.urls", /at least one URL without backup/],
    [{ urls: [{ url: URL_A }, { url: URL_A }] }, "ORIGINS.bank.urls[1].url", /not in the list already/],
    [{ url: URL_A, preserve_host: true }, "ORIGINS.bank.preserve_host", /only with binding/],
    [{ url: URL_A, binding: "bank" }, "ORIGINS.bank.binding", /capital letters/],
    [{ url: URL_A, binding: "CLIENT_GATE" }, "ORIGINS.bank.binding", /is the gateway's/],
    [{ url: URL_A, timeout: "10s", total_timeout: "9s" }, "ORIGINS.bank.total_timeout", /at least the timeout/],
    [{ url: URL_A, retries: 4 }, "ORIGINS.bank.retries", /from 0 to 3/],
    [{ url: URL_A, retry_statuses: [404] }, "ORIGINS.bank.retry_statuses", /502, 503 and 504/],
    [{ url: URL_A, retries: 0, retry_statuses: [503] }, "ORIGINS.bank.retry_statuses", /no retry_statuses/],
    [{ url: URL_A, retries: 0, retry_idempotent: true }, "ORIGINS.bank.retry_idempotent", /no retry_idempotent/],
    [{ url: URL_A, breaker: true }, "ORIGINS.bank.breaker", /false, or a table/],
    [{ url: URL_A, breaker: { failures: 0 } }, "ORIGINS.bank.breaker.failures", /from 1 to/],
  ])("refuses %j at %s", (origin, path, accepted) => {
    expect(errorsOf(origin)).toEqual([[path, expect.stringMatching(accepted) as string]])
  })
})

describe("findFindings()", () => {
  test.each<
    [string, Readonly<Record<string, unknown>>, readonly (readonly [string, FetcherKind])[], readonly string[]]
  >([
    ["nothing about a service that is declared", { binding: "BANK" }, [["BANK", "service"]], []],
    ["a binding that no environment declares", { binding: "BANK" }, [["OTHER", "service"]], ["ORIGINS.bank.binding"]],
    [
      "a host that is kept behind a client certificate",
      { binding: "BANK", preserve_host: true },
      [["BANK", "mtls_certificate"]],
      ["ORIGINS.bank.preserve_host"],
    ],
    [
      "nothing about a host that is kept inside a private network",
      { binding: "BANK", preserve_host: true },
      [["BANK", "vpc_service"]],
      [],
    ],
    [
      "a client certificate that no TLS shows",
      { binding: "BANK", url: "http://a.bank.example" },
      [["BANK", "mtls_certificate"]],
      ["ORIGINS.bank"],
    ],
  ])("finds %s", (_, origin, fetchers, paths) => {
    const vars = variables({ url: URL_A, ...origin })
    const loaded = loadConfig(vars)
    if (!loaded.ok) throw new Error(JSON.stringify(loaded.errors))
    const environment: WranglerEnvironment = {
      name: undefined,
      vars,
      workersDev: false,
      previewUrls: false,
      objectBindings: [{ name: "CLIENT_GATE", class_name: "ClientGate" }],
      sqliteClasses: ["ClientGate"],
      crons: [],
      rateLimits: [{ name: "IP_LIMIT", simple: { period: 10 } }],
      fetchers: new Map(fetchers),
      queueProducers: [{ binding: "EVENTS", queue: "events" }],
      queueConsumers: [{ queue: "events", dead_letter_queue: "dead" }],
    }
    const findings = findFindings(environment, loaded.config, SKI, 1_798_761_600_000).map(({ path }) => path)
    expect(findings.filter((path) => path.startsWith("ORIGINS"))).toEqual(paths)
  })
})

/**
 * Goal: every request is counted once in each family that it belongs to, and no caller can make a series. Method: facts of
 * single requests, and random hostile ones.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { METRIC_FAMILIES, bucketOf } from "../../src/core/metric/metric-catalogue.ts"
import { observeRequest, type RequestFacts } from "../../src/core/metric/metrics.ts"
import { METHODS } from "../../src/core/route/route.ts"

const NOTHING: RequestFacts = {
  route: undefined,
  method: "GET",
  status: 404,
  problem: undefined,
  reason: undefined,
  latencyMs: 1,
  origin: undefined,
  originMs: undefined,
  originAttempts: undefined,
  gate: undefined,
  isGuardUntold: false,
  isIpLimitUnavailable: false,
  revocationUnknown: undefined,
  idempotency: undefined,
  isWebSocket: false,
  clientId: undefined,
  certificateEndsMs: undefined,
  certificateRetiresAtMs: undefined,
}
const FORWARDED: RequestFacts = {
  ...NOTHING,
  route: "/balance",
  status: 200,
  latencyMs: 12,
  origin: "bank",
  originMs: 9,
  originAttempts: 1,
  gate: { decidedBy: "local", refusal: undefined },
  clientId: "acme",
  certificateEndsMs: 1_000,
}

/** Returns what a request counts, by family and labels. */
function observe(facts: Partial<RequestFacts>): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  const put = (name: string, labels: readonly (string | undefined)[], value: number): void =>
    void counts.set([name, ...labels.filter((label) => label !== undefined)].join(" "), value)
  observeRequest(
    { ...NOTHING, ...facts },
    {
      add: (name, count, ...labels) => put(name, labels, count),
      time: (name, durationMs, ...labels) => put(name, labels, durationMs),
      noteCertificate: (clientId, endsMs) => put("certificate", [clientId], endsMs),
    },
  )
  return counts
}

describe("observeRequest()", () => {
  test("counts a request that was forwarded, the gateway's time apart from the origin's", () => {
    expect(observe(FORWARDED)).toEqual(
      new Map([
        ["sekisho_requests /balance GET 2xx", 1],
        ["sekisho_request_duration_seconds", 3],
        ["sekisho_gate_decisions local admitted", 1],
        ["sekisho_origin_duration_seconds bank", 9],
        ["sekisho_origin_attempts bank", 1],
        ["certificate acme", 1_000],
      ]),
    )
  })

  test("counts a request that had no route", () => {
    expect(observe({ problem: "route-not-found" })).toEqual(
      new Map([
        ["sekisho_requests unmatched GET 4xx", 1],
        ["sekisho_request_duration_seconds", 1],
        ["sekisho_refusals route-not-found", 1],
      ]),
    )
  })

  test.each<readonly [string, Partial<RequestFacts>, string, number]>([
    [
      "a refusal by a limit",
      { gate: { decidedBy: "asked", refusal: { kind: "limit" } } },
      "sekisho_gate_decisions asked refused",
      1,
    ],
    [
      "a refusal by a guard",
      { gate: { decidedBy: "local", refusal: { kind: "blocked" } } },
      "sekisho_gate_decisions local refused",
      1,
    ],
    [
      "a gate that nobody could ask",
      { gate: { decidedBy: "asked", refusal: { kind: "unavailable" } } },
      "sekisho_gate_decisions asked unavailable",
      1,
    ],
    ["attempts", { originAttempts: 3 }, "sekisho_origin_attempts bank", 3],
    ["a timeout of the origin", { problem: "origin-timeout" }, "sekisho_origin_timeouts bank", 1],
    ["an open breaker", { problem: "service-unavailable", reason: "breaker_open" }, "sekisho_breaker_open bank", 1],
    ["a guard that was not told", { isGuardUntold: true }, "sekisho_guard_untold", 1],
    ["a limit per address that is down", { isIpLimitUnavailable: true }, "sekisho_ip_limit_unavailable", 1],
    ["keys of tokens that are out of reach", { reason: "token_keys_unavailable" }, "sekisho_token_keys_unavailable", 1],
    ["a certificate of which nobody knows", { revocationUnknown: "stale" }, "sekisho_revocation_unknown stale", 1],
    ["an idempotency key", { idempotency: "replayed" }, "sekisho_idempotency replayed", 1],
    ["a WebSocket", { isWebSocket: true, status: 101 }, "sekisho_websocket_opened", 1],
    ["an overlap window that ends first", { certificateRetiresAtMs: 999 }, "certificate acme", 999],
    ["a clock that was put back", { latencyMs: -5 }, "sekisho_request_duration_seconds", 0],
  ])("counts %s", (_, facts, series, count) => {
    expect(observe({ ...FORWARDED, ...facts }).get(series)).toBe(count)
  })

  test("MET-01 whatever callers send without a certificate makes at most 50 series", () => {
    const series = new Set<string>()
    fc.assert(
      fc.property(
        fc.oneof(fc.constantFrom(...METHODS, "TRACE", "CONNECT"), fc.string()),
        fc.constantFrom("route-not-found", "method-not-allowed", "client-cert-required", "misdirected-request"),
        fc.integer({ min: 100, max: 599 }),
        (method, problem, status) => {
          for (const name of observe({ method, problem, status }).keys()) series.add(name)
          return series.size <= 50
        },
      ),
      { seed: 20261128, numRuns: 10_000 },
    )
    expect([...series].some((name) => name.includes("OTHER"))).toBe(true)
  })
})

test.each([
  [0, 0],
  [1, 0],
  [1.5, 1],
  [2, 1],
  [5_000, 11],
  [5_001, 12],
  [Number.MAX_SAFE_INTEGER, 12],
])("bucketOf() puts %d ms into bucket %d, bounds belong to the bucket below", (durationMs, bucket) => {
  expect(bucketOf("sekisho_request_duration_seconds", durationMs)).toBe(bucket)
})

test("names of families end with their unit, and none of them like a sample", () => {
  for (const [name, family] of Object.entries(METRIC_FAMILIES)) {
    expect(name).toMatch(/^sekisho(?:_[a-z]+)+$/)
    expect(name).not.toMatch(/_(?:total|sum|count|bucket|created|info)$/)
    if ("unit" in family) expect(name.endsWith(`_${family.unit}`)).toBe(true)
  }
})

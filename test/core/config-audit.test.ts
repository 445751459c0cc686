/**
 * Goal: a route either requires a trail that somebody takes, or the configuration is refused; a sink takes what it says. Method: one
 * valid sample, one change a test.
 */
import { expect, test } from "vitest"
import { errorsOf, load } from "./config-fixtures.ts"

const EVENTS = { kind: "otlp", url: "https://collector.bank.example/v1/logs" }
const TRAILS = { kind: "ndjson", url: "https://records.bank.example/", takes: ["audit"] }
const ROUTE = { path: "/payments", origin: "bank", limits: "standard", audit: "required" }

const sample = (route: object, sinks: readonly unknown[] = [EVENTS, TRAILS]) => ({
  GATEWAY: { hosts: ["localhost"] },
  LIMITS: { standard: { rate: "1/s", burst: 10 } },
  ORIGINS: { bank: { url: "https://core.bank.example" } },
  ROUTES: [{ ...ROUTE, ...route }],
  SINKS: sinks,
})

test.each([
  ["required", true],
  ["off", false],
  [undefined, false],
])("audit = %j is resolved", (audit, isAudited) => {
  const { audit: _, ...route } = ROUTE
  const config = load({ ...sample({}), ROUTES: [audit === undefined ? route : { ...route, audit }] })
  expect(config.routes[0]?.isAudited).toBe(isAudited)
})

test("a sink takes events unless it says otherwise, and may take both", () => {
  const { sinks } = load(sample({}, [EVENTS, { ...TRAILS, takes: ["events", "audit"] }]))
  expect(sinks.map(({ takes }) => [...takes])).toEqual([["events"], ["events", "audit"]])
})

test("what goes to a sink that takes trails is not compressed unless it is asked for", () => {
  const { sinks } = load(
    sample({}, [EVENTS, TRAILS, { ...TRAILS, url: "https://other.bank.example/", takes: ["audit"], gzip: true }]),
  )
  expect(sinks.map(({ isCompressed }) => isCompressed)).toEqual([true, false, true])
})

test("a trail that no sink takes is no trail", () => {
  expect(errorsOf(sample({}, [EVENTS]))).toEqual([
    'ROUTES[0].audit | "required" | no audit = "required" without a sink for it: SINKS needs one with takes = ["audit"]',
  ])
})

test("a route without an origin has nothing to put on a trail", () => {
  const { limits, origin, ...route } = ROUTE
  expect([limits, origin]).toEqual(["standard", "bank"])
  const answered = { ...route, client_certificate: "none", respond: { status: 200 } }
  expect(errorsOf({ ...sample({}), ROUTES: [answered] })).toEqual([
    'ROUTES[0].audit | "required" | no audit = "required" on a route that forwards nothing',
  ])
})

test.each([
  [
    { ...TRAILS, kind: "otlp" },
    'SINKS[1].takes | ["audit"] | no "audit" unless kind = "ndjson": a trail is delivered line by line',
  ],
  [
    { ...TRAILS, takes: [] },
    'SINKS[1].takes | [] | a list of what it takes, out of "events", "traces" and "audit", such as ["events"]',
  ],
  [{ ...TRAILS, takes: ["audit", "logs"] }, 'SINKS[1].takes[1] | "logs" | "events" or "traces" or "audit"'],
  [
    { ...TRAILS, takes: "audit" },
    'SINKS[1].takes | "audit" | a list of what it takes, out of "events", "traces" and "audit", such as ["events"]',
  ],
])("a sink %j is an error", (sink, error) => {
  expect(errorsOf(sample({ audit: "off" }, [EVENTS, sink]))).toEqual([error])
})

test("an error of the sink hides behind no error of the route", () => {
  expect(errorsOf(sample({}, [{ ...TRAILS, url: "x" }])).map((line) => line.split(" ")[0])).toEqual(["SINKS[0].url"])
})

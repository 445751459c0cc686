/**
 * Goal: what isolates count arrives in the object of the metrics exactly once, whatever fails on the way, and stays there.
 * Method: the real object on workerd's SQLite; isolates as they are, with an object that fails or answers too late, and a clock
 * for `scheduler.wait` that the test moves. Every test reads differences, because there is one object for all of them.
 */
import {
  abortAllDurableObjects,
  createExecutionContext,
  evictDurableObject,
  runInDurableObject,
  waitOnExecutionContext,
} from "cloudflare:test"
import { env } from "cloudflare:workers"
import { afterEach, beforeEach, expect, test, vi } from "vitest"
import type { Metrics } from "../../durable-objects/metrics.ts"
import { METRIC_SERIES_MAX } from "../../src/core/bounds.ts"
import type { MetricReport } from "../../src/core/metric/metric-report.ts"
import { createMetrics } from "../../src/observe/metrics.ts"
import { createTally } from "../../src/observe/metric-tally.ts"
import { createOriginHealth } from "../../src/origin/origin-health.ts"
import { createGateway } from "./harness.ts"

const BUILD = { version: "1", configVersion: "2" }

function metricsBinding(): NonNullable<Env["METRICS"]> {
  if (env.METRICS === undefined) throw new Error("wrangler.toml has no METRICS")
  return env.METRICS
}
const stub = () => metricsBinding().getByName("gateway")

/** Returns the samples that the object shows, by name and labels. */
async function samples(name = "gateway"): Promise<ReadonlyMap<string, number>> {
  const text = await metricsBinding().getByName(name).expose(BUILD, "openmetrics")
  return new Map(
    text
      .split("\n")
      .filter((line) => line !== "" && !line.startsWith("#"))
      .map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ") + 1))]),
  )
}

const report = (seq: number, count: number, boot = "isolate"): MetricReport => ({
  boot,
  seq,
  counters: [["sekisho_events_dropped", [], count]],
  histograms: [],
  gauges: [],
  certificates: [],
})
const DROPPED = "sekisho_events_dropped_total"

let waits: { readonly ms: number; readonly end: () => void }[]
/** Ends the waits that have begun, as if their time had passed. */
const passTime = (): void => waits.splice(0).forEach(({ end }) => end())

beforeEach(() => {
  waits = []
  vi.spyOn(console, "error").mockReturnValue()
})
afterEach(() => {
  vi.restoreAllMocks()
})
function holdTime(): void {
  vi.spyOn(scheduler, "wait").mockImplementation(
    (ms) => new Promise<void>((resolve) => waits.push({ ms, end: resolve })),
  )
}

test("report() adds what isolates tell, and a report that comes twice once", async () => {
  const object = metricsBinding().getByName("adds")
  await object.report(report(1, 2, "x"))
  await object.report(report(1, 2, "x"))
  await object.report(report(1, 3, "y"))
  await object.report(report(2, 4, "x"))
  expect((await samples("adds")).get(DROPPED)).toBe(9)
})

test("report() remembers through an eviction, and through an abort right after the answer", async () => {
  const object = metricsBinding().getByName("remembers")
  await object.report(report(1, 5))
  await evictDurableObject(object)
  expect((await samples("remembers")).get(DROPPED)).toBe(5)
  await metricsBinding().getByName("remembers").report(report(2, 1))
  await abortAllDurableObjects()
  await metricsBinding().getByName("remembers").report(report(2, 1))
  expect((await samples("remembers")).get(DROPPED)).toBe(6)
})

test("report() takes nonsense for nothing", async () => {
  const object = metricsBinding().getByName("nonsense")
  await object.report({ boot: 7 } as unknown as MetricReport)
  await runInDurableObject(object, (_: Metrics, { storage }) => {
    expect(storage.sql.exec("SELECT state FROM metrics").toArray()).toEqual([])
  })
})

test("a row that is damaged begins again at zero, and counts on", async () => {
  const object = metricsBinding().getByName("damaged")
  await object.report(report(1, 5))
  await runInDurableObject(object, (_: Metrics, { storage }) => {
    storage.sql.exec("UPDATE metrics SET state = '{'")
  })
  expect((await samples("damaged")).get(DROPPED)).toBe(0)
  await object.report(report(2, 3))
  expect((await samples("damaged")).get(DROPPED)).toBe(3)
})

test("the fullest row that there can be is stored", async () => {
  const object = metricsBinding().getByName("full")
  const counters = Array.from(
    { length: METRIC_SERIES_MAX + 1 },
    (_, index) => ["sekisho_requests", [`/${index}`.padEnd(128, "x"), "OPTIONS", "2xx"], 1] as const,
  )
  await object.report({ ...report(1, 1), counters })
  expect((await samples("full")).size).toBeGreaterThan(METRIC_SERIES_MAX)
})

/** An isolate, and an object that can be told to fail. */
function createScene() {
  const told: MetricReport[] = []
  let failure: (() => Promise<void>) | undefined
  let now = 1_000_000
  const { config } = createGateway({ GATEWAY: { hosts: ["gw.test"], log_flush: "100ms" } })
  const metrics = createMetrics({
    config,
    fillRandom: (octets) => crypto.getRandomValues(octets),
    nowMs: () => now,
    originHealth: createOriginHealth(() => 0),
  })
  const object = {
    getByName: () => ({
      report: async (sent: MetricReport) => {
        told.push(structuredClone(sent))
        await failure?.()
      },
    }),
  } as unknown as NonNullable<Env["METRICS"]>
  const pending: Promise<unknown>[] = []
  return {
    told,
    metrics,
    object,
    count: () => metrics.add("sekisho_events_dropped", 1),
    reportSoon: () => metrics.reportSoon(object, { waitUntil: (promise) => void pending.push(promise) }),
    settle: async () => {
      while (pending.length > 0) await pending.shift()
    },
    pass: (ms: number) => (now += ms),
    fail: (how: (() => Promise<void>) | undefined) => (failure = how),
    counts: () => told.map(({ seq, counters }) => [seq, counters[0]?.[2] ?? 0]),
  }
}

test("an isolate reports at once, then what has come meanwhile together, ten flushes apart", async () => {
  holdTime()
  const { count, counts, pass, reportSoon, settle } = createScene()
  count()
  reportSoon()
  await settle()
  for (let index = 0; index < 5; index++) {
    count()
    reportSoon()
  }
  expect([counts(), waits.map(({ ms }) => ms)]).toEqual([[[1, 1]], [1_000]])
  pass(1_000)
  passTime()
  await settle()
  expect(counts()).toEqual([
    [1, 1],
    [2, 5],
  ])
})

test("a report that is not heard is repeated under its number, and counting goes on beside it", async () => {
  holdTime()
  const { count, counts, fail, pass, reportSoon, settle, told } = createScene()
  fail(() => Promise.reject(new Error("reset")))
  count()
  reportSoon()
  await settle()
  fail(undefined)
  count()
  count()
  reportSoon()
  pass(1_000)
  passTime()
  await vi.waitUntil(() => waits.length > 0)
  pass(1_000)
  passTime()
  await settle()
  expect(counts()).toEqual([
    [1, 1],
    [1, 1],
    [2, 2],
  ])
  expect(new Set(told.map(({ boot }) => boot)).size).toBe(1)
})

test("a report that nobody has heard for five minutes is given up: the object may have forgotten its number", async () => {
  const { count, counts, fail, metrics, object, pass } = createScene()
  fail(() => Promise.reject(new Error("gone")))
  count()
  await metrics.report(object)
  pass(300_000)
  fail(undefined)
  count()
  count()
  await metrics.report(object)
  expect(counts()).toEqual([
    [1, 1],
    [2, 2],
  ])
})

test("report() tells what is on its way first, then what has come since", async () => {
  const { count, counts, fail, metrics, object } = createScene()
  fail(() => Promise.reject(new Error("reset")))
  count()
  await metrics.report(object)
  fail(undefined)
  count()
  await metrics.report(object)
  expect(counts()).toEqual([
    [1, 1],
    [1, 1],
    [2, 1],
  ])
})

test("a failing object costs a word on the console for each report, without what it said", async () => {
  const errors = vi.spyOn(console, "error").mockReturnValue()
  const { count, fail, metrics, object } = createScene()
  fail(() => Promise.reject(Object.assign(new Error("SECRET"), { overloaded: true })))
  count()
  await metrics.report(object)
  expect(errors.mock.calls).toEqual([['{"level":"error","event":"metrics_untold","reason":"object_overloaded"}']])
})

test("an isolate says which origins are unhealthy, and what waits", async () => {
  const { metrics, object, told } = createScene()
  metrics.setGauge("sekisho_events_waiting", 3)
  await metrics.report(object)
  expect(told[0]?.gauges).toEqual([["sekisho_events_waiting", [], 3]])
})

test("a tally counts what a full family has no room for in one series more", () => {
  const tally = createTally()
  for (let index = 0; index < METRIC_SERIES_MAX + 5; index++)
    tally.add("sekisho_requests", 1, `/${index}`, "GET", "2xx")
  const { counters } = tally.take()
  expect(counters).toHaveLength(METRIC_SERIES_MAX + 1)
  expect(counters.find(([, [route]]) => route === "_other")).toEqual([
    "sekisho_requests",
    ["_other", "_other", "_other"],
    5,
  ])
})

test("a tally starts again at zero when it is emptied, and shows only what is new", () => {
  const tally = createTally()
  tally.add("sekisho_refusals", 2, "rate-limited")
  tally.time("sekisho_origin_duration_seconds", 7.4, "bank")
  tally.noteCertificate("acme", 9)
  tally.noteCertificate("acme", 5)
  tally.noteCertificate("acme", 7)
  expect(tally.take()).toMatchObject({
    counters: [["sekisho_refusals", ["rate-limited"], 2]],
    histograms: [["sekisho_origin_duration_seconds", ["bank"], expect.anything(), 7]],
    certificates: [["acme", 5]],
  })
  expect([tally.hasNews(), tally.take()]).toEqual([false, { counters: [], histograms: [], certificates: [] }])
  tally.add("sekisho_refusals", 1, "rate-limited")
  expect(tally.take().counters).toEqual([["sekisho_refusals", ["rate-limited"], 1]])
})

test("requests of a gateway are counted by route, method and status, refusals by code, and the client's certificate is noted", async () => {
  const gateway = createGateway({}, { counts: true })
  await gateway.fetch()
  await gateway.fetch({ target: "/public/y?z" })
  await gateway.fetch({ method: "PUT", target: "/nowhere", headers: { "X-Any": "1" } })
  await gateway.fetch({ cert: "none" })
  await gateway.report()
  const shown = await samples(gateway.name)
  expect(Object.fromEntries([...shown].filter(([key]) => /requests|refusals|gate_|attempts|_count/.test(key)))).toEqual(
    {
      'sekisho_requests_total{route="/public/**",method="GET",status_class="2xx"}': 2,
      'sekisho_requests_total{route="/public/**",method="GET",status_class="4xx"}': 1,
      'sekisho_requests_total{route="unmatched",method="PUT",status_class="4xx"}': 1,
      'sekisho_refusals_total{code="client-cert-required"}': 1,
      'sekisho_refusals_total{code="route-not-found"}': 1,
      sekisho_request_duration_seconds_count: 4,
      'sekisho_origin_duration_seconds_count{origin="stub"}': 2,
      'sekisho_gate_decisions_total{decided_by="asked",result="admitted"}': expect.any(Number) as number,
      'sekisho_origin_attempts_total{origin="stub"}': 2,
    },
  )
  expect(shown.get(`sekisho_certificate_expiry_days{client="${gateway.clientId("acme-a")}"}`)).toBeGreaterThan(0)
})

test("MET-01 strangers with paths, methods, hosts and user agents of their own make less than 50 series", async () => {
  const gateway = createGateway(
    { GATEWAY: { hosts: ["gw.test"], log_flush: "10ms", console: false } },
    { counts: true },
  )
  const methods = ["GET", "POST", "PURGE", "PROPFIND", "MKCOL", "PUT", "DELETE"]
  const strangers = Array.from({ length: 300 }, async (_, index) =>
    gateway.fetch({
      method: methods[index % methods.length] ?? "GET",
      host: index % 3 === 0 ? `h${index}.test` : "gw.test",
      target: `/${index % 2 === 0 ? crypto.randomUUID() : `public/${index}`}`,
      headers: { "User-Agent": crypto.randomUUID() },
      cert: "none",
    }),
  )
  await Promise.all(strangers)
  await gateway.report()
  const shown = [...(await samples(gateway.name)).keys()].filter((key) => key.includes("{") && !key.includes("le="))
  expect([shown.length > 5, shown.length < 50]).toEqual([true, true])
  expect(shown.join("\n")).not.toMatch(/h[0-9]+\.test|public\/[0-9]|PURGE|MKCOL|[0-9a-f]{8}-/)
})

test("an object of a client that opens a guard counts that", async () => {
  const before = (await samples()).get('sekisho_guard_openings_total{guard="counted"}') ?? 0
  const guard = {
    name: "counted",
    config: {
      maxFailures: 5,
      failureDurationMs: 60_000,
      backoff: { kind: "lineal", durationMs: 60_000 },
      guardResetTimeoutMs: null,
      inFlight: "optimistic",
      pendingTtlMs: 30_000,
      successPolicy: "reset",
    },
  } as const
  const object = env.CLIENT_GATE.getByName(`opens-${crypto.randomUUID()}`)
  expect(await object.administer(guard, { action: "block", durationMs: 60_000 })).toBe(true)
  await vi.waitUntil(async () => ((await samples()).get('sekisho_guard_openings_total{guard="counted"}') ?? 0) > before)
  await object.administer(guard, { action: "unblock" })
  expect((await samples()).get('sekisho_guard_openings_total{guard="counted"}')).toBe(before + 1)
})

test("a gateway without the object answers, and counts for nobody", async () => {
  const gateway = createGateway({}, { counts: true, bindings: { METRICS: undefined } as unknown as Partial<Env> })
  expect((await gateway.fetch()).status).toBe(200)
})

test("reports wait for no request and keep their answer from nobody", async () => {
  holdTime()
  const { metrics, object, count } = createScene()
  const ctx = createExecutionContext()
  count()
  metrics.reportSoon(object, ctx)
  await waitOnExecutionContext(ctx)
  expect(waits).toEqual([])
  await stub().expose(BUILD, "text")
})

/**
 * What one simulated run consists of: limits, isolates, arrivals, network, faults and events. A seed determines all of it,
 * so a run is named by its seed. The ranges are wider than any deployment, because bugs live at the edges.
 */
import { isWorthLending } from "../src/core/lease/lease-sizing.ts"
import { createRandom } from "./random.ts"
import type { Random } from "./random.ts"

/** A limit: a token bucket. */
export interface SimulatedLimit {
  readonly name: string
  readonly burst: number
  readonly rate: { readonly count: number; readonly periodMs: number }
}

/** A quota of one hour in UTC, whose requests are those of every client limit. */
export interface SimulatedQuota {
  readonly name: string
  readonly limit: number
}

/** What a request draws on. */
export interface Drawn {
  readonly limits: readonly SimulatedLimit[]
  readonly quotas: readonly SimulatedQuota[]
}

/** How requests arrive. Rates are per second, over all isolates. */
export type Arrivals =
  | { readonly kind: "poisson"; readonly rate: number }
  /** Poisson at `rate` for `onMs`, then nothing for `offMs`. */
  | { readonly kind: "on-off"; readonly rate: number; readonly onMs: number; readonly offMs: number }
  /** One request to every isolate, a pause, then `burst` requests at once. The client that wants more than its due. */
  | { readonly kind: "hoarding"; readonly pauseMs: number; readonly burst: number }

/** One message's fate. */
export interface Network {
  readonly delayMs: number
  /** Uniform, both ways, as a share of the delay. */
  readonly spread: number
  /** Probability that a message takes ten times as long, and so is overtaken. */
  readonly slow: number
  readonly loss: number
  readonly duplication: number
}

/** A run. */
export interface Scenario {
  readonly seed: number
  readonly durationMs: number
  readonly isolates: number
  /** Isolate k gets requests in proportion to 1/k^zipf. */
  readonly zipf: number
  /** Limits that every request draws on, and those that a share of the requests draws on as well. */
  readonly limits: readonly SimulatedLimit[]
  readonly routeLimits: readonly SimulatedLimit[]
  readonly routeShare: number
  /** Quotas that every request draws on. */
  readonly quotas: readonly SimulatedQuota[]
  /** What the object's clock shows when the run begins, epoch ms: an hour ends some seconds later. */
  readonly clockMs: number
  readonly arrivals: Arrivals
  /** Costs, one drawn per request. */
  readonly costs: readonly [number, ...number[]]
  readonly ttlMs: number
  readonly marginMs: number
  readonly callTimeoutMs: number
  readonly network: Network
  /** Share by which isolate clocks run slow or fast, and ms by which a reading may be old. */
  readonly drift: number
  readonly freezeMs: number
  /** Per second, over all isolates. */
  readonly isolateRestarts: number
  readonly objectRestarts: number
  /** New limits for all requests from a time on. */
  readonly changes: readonly { readonly atMs: number; readonly limits: readonly SimulatedLimit[] }[]
  readonly quotaChanges: readonly { readonly atMs: number; readonly quotas: readonly SimulatedQuota[] }[]
  readonly blocks: readonly { readonly atMs: number; readonly untilMs: number }[]
  /** While the guard counts failures. */
  readonly troubles: readonly { readonly atMs: number; readonly untilMs: number }[]
  /** Probability of a call on terms that lend nothing ahead. */
  readonly single: number
  /** Share of the requests that the object decides itself, without a lease. */
  readonly direct: number
  /** Share of the requests after which an isolate drops its lease. */
  readonly drops: number
}

/** Returns the run that a seed stands for. */
export function createScenario(seed: number): Scenario {
  const random = createRandom(seed, "scenario")
  const durationMs = random.integer(2_000, 8_000)
  const limit = randomLimit(random, "client")
  const rate = (limit.rate.count * 1000) / limit.rate.periodMs
  const hasFaults = random.chance(0.75)
  const faults = hasFaults ? randomFaults(random) : NO_FAULTS
  const ttlMs = random.pick([50, 250, 500, 1000, 1000, 1000, 2000])
  const delayMs = random.pick([2, 15, 15, 40, 150])
  const callTimeoutMs = random.pick([100, 300, 1000])
  // A lease may live twice the longest round trip, and an answer after the time-out is not taken.
  const longestLifeMs = Math.max(ttlMs, 2.2 * callTimeoutMs)
  const isolates = random.pick([1, 2, 4, 8, 16, 32])
  return {
    seed,
    isolates,
    zipf: random.pick([0, 0.5, 1, 1, 1.5]),
    routeLimits: random.chance(0.3) ? [randomLimit(random, "route")] : [],
    routeShare: random.next(),
    arrivals: randomArrivals(random, limit, rate, ttlMs),
    costs: random.chance(0.7)
      ? [1]
      : random.pick<Scenario["costs"]>([[1, 1, 1, 5], [2], [3, 1], [0, 1, 2], [7, 1, 1000]]),
    ttlMs,
    // The promise needs a margin above what the clocks of this run can do, and so has one.
    marginMs: Math.ceil(2.2 * faults.drift * longestLifeMs) + faults.freezeMs + 2,
    callTimeoutMs,
    ...faults,
    network: { ...faults.network, delayMs },
    changes: randomChanges(random, limit, durationMs),
    blocks: randomSpans(random, 0.2, durationMs),
    troubles: randomSpans(random, 0.2, durationMs),
    single: random.chance(0.1) ? 0.5 : 0,
    direct: random.chance(0.2) ? 0.1 : 0,
    ...randomQuotas(createRandom(seed, "quotas"), durationMs, [limit]),
  }
}

/** Length of a quota's window, in ms. */
export const QUOTA_WINDOW_MS = 3_600_000
/** An hour that ends in the year 2027. */
const HOUR_END_MS = 500_000 * QUOTA_WINDOW_MS

/** Longest run with quotas, in ms: what is special about them happens around the end of the hour. */
const QUOTA_RUN_MS_MAX = 3_000

type Quotas = Pick<Scenario, "durationMs" | "limits" | "quotas" | "clockMs" | "quotaChanges" | "drops"> &
  Partial<Pick<Scenario, "routeLimits" | "changes">>

/** In half of the runs, from a stream of their own: the others are what they were before there were quotas. */
function randomQuotas(random: Random, runMs: number, limits: readonly SimulatedLimit[]): Quotas {
  if (random.chance(0.5)) return { durationMs: runMs, limits, quotas: [], clockMs: 0, quotaChanges: [], drops: 0 }
  const durationMs = Math.min(runMs, QUOTA_RUN_MS_MAX)
  const clockMs = HOUR_END_MS - Math.round(durationMs * random.pick([0.3, 0.5, 0.7, 0.9]))
  const limit = random.pick([3, 20, 100, 300, 1000, 3000])
  const quotaChanges = random.chance(0.2)
    ? [
        {
          atMs: random.integer(1, durationMs),
          quotas: [{ name: "hourly", limit: Math.ceil(limit * random.pick([0.3, 2])) }],
        },
      ]
    : []
  const drops = random.chance(0.3) ? random.pick([0.005, 0.05]) : 0
  const quotas = { durationMs, quotas: [{ name: "hourly", limit }], clockMs, quotaChanges, drops }
  // Alone, a quota is lent from without a bucket that keeps leases small.
  return random.chance(0.3) ? { limits: [], routeLimits: [], changes: [], ...quotas } : { limits, ...quotas }
}

/**
 * Whether this run must refuse next to nothing: steady demand below the rate, a burst with room for two requests per
 * isolate and worth lending, and nothing going wrong.
 */
export function mustServeAll(scenario: Scenario): boolean {
  const { arrivals, limits, routeLimits, costs, isolates, network, callTimeoutMs } = scenario
  const [limit] = limits
  if (!isFaultless(scenario) || arrivals.kind !== "poisson" || limit === undefined || !isWorthLending(limit))
    return false
  if (routeLimits.length > 0 || costs.length > 1 || 2 * isolates * costs[0] > limit.burst) return false
  const longestTripMs = 2 * network.delayMs * (1 + network.spread)
  return longestTripMs < callTimeoutMs && arrivals.rate * costs[0] * limit.rate.periodMs <= 900 * limit.rate.count
}

function isFaultless(scenario: Scenario): boolean {
  const { network, drift, freezeMs, isolateRestarts, objectRestarts, drops } = scenario
  const { changes, quotaChanges, blocks, troubles } = scenario
  const rates = [
    network.slow,
    network.loss,
    network.duplication,
    drift,
    freezeMs,
    isolateRestarts,
    objectRestarts,
    drops,
  ]
  return (
    rates.every((rate) => rate === 0) &&
    [changes, quotaChanges, blocks, troubles].every((events) => events.length === 0)
  )
}

type Faults = Pick<Scenario, "network" | "drift" | "freezeMs" | "isolateRestarts" | "objectRestarts">

const NO_FAULTS: Faults = {
  network: { delayMs: 15, spread: 0.3, slow: 0, loss: 0, duplication: 0 },
  drift: 0,
  freezeMs: 0,
  isolateRestarts: 0,
  objectRestarts: 0,
}

function randomFaults(random: Random): Faults {
  const some = (values: readonly [number, ...number[]]) => (random.chance(0.5) ? random.pick(values) : 0)
  return {
    network: {
      delayMs: 15,
      spread: random.pick([0, 0.3, 0.9]),
      slow: some([0.02, 0.1]),
      loss: some([0.01, 0.05, 0.2]),
      duplication: some([0.02, 0.2]),
    },
    drift: some([0.001, 0.01, 0.05]),
    freezeMs: some([5, 40]),
    isolateRestarts: some([0.5, 5]),
    objectRestarts: some([0.3, 2]),
  }
}

function randomLimit(random: Random, name: string): SimulatedLimit {
  const perSecond = random.pick([1, 5, 20, 100, 100, 300])
  const rate = random.chance(0.8)
    ? { count: perSecond, periodMs: 1000 }
    : { count: random.integer(1, 7), periodMs: random.integer(7, 900) }
  return { name, burst: random.pick([1, 2, 7, 20, 100, 100, 400]), rate }
}

function randomArrivals(random: Random, limit: SimulatedLimit, rate: number, ttlMs: number): Arrivals {
  const load = Math.min(400, Math.max(2, rate * random.pick([0.2, 0.9, 0.9, 1.5, 5])))
  const kind = random.next()
  if (kind < 0.5) return { kind: "poisson", rate: load }
  if (kind < 0.75) {
    const onMs = random.integer(50, 1500)
    return { kind: "on-off", rate: Math.min(600, load * 3), onMs, offMs: random.integer(50, 2 * onMs) }
  }
  const pauseMs = Math.round(ttlMs * random.pick([0.3, 0.7, 0.95, 1.02]))
  return { kind: "hoarding", pauseMs, burst: Math.min(300, 2 * limit.burst + 5) }
}

function randomChanges(random: Random, limit: SimulatedLimit, durationMs: number): Scenario["changes"] {
  const times = random.chance(0.25) ? random.integer(1, 3) : 0
  return Array.from({ length: times }, () => {
    const { burst, rate } = random.chance(0.5) ? randomLimit(random, limit.name) : limit
    const changed = { name: limit.name, burst: Math.max(1, Math.round(burst * random.pick([0.2, 0.5, 2]))), rate }
    return { atMs: random.integer(1, durationMs), limits: [changed] }
  }).toSorted((a, b) => a.atMs - b.atMs)
}

function randomSpans(random: Random, probability: number, durationMs: number): Scenario["blocks"] {
  if (!random.chance(probability)) return []
  const atMs = random.integer(100, durationMs)
  return [{ atMs, untilMs: atMs + random.integer(50, 4_000) }]
}

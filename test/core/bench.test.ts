/**
 * What a bench makes of its figures is right, and it measures what it was asked for. Goal: a table can be believed as far as its
 * figures. Method: the pure parts with small numbers; no time, no load.
 */
import { describe, expect, test } from "vitest"
import { gzipBytesOf, groupParts } from "../../bench/bundle.ts"
import { requestsOf } from "../../bench/bodies.ts"
import { clientId, clientVariables, renamed } from "../../bench/identities.ts"
import { arrivalsMs, latencyRow, type OpenSlice } from "../../bench/latency.ts"
import { percentiles, type Slice } from "../../bench/load.ts"
import { parseBenchOptions } from "../../bench/options.ts"
import { sumRunUs } from "../../bench/process.ts"
import {
  compareRounds,
  formatSpread,
  median,
  medianInterval,
  runRounds,
  spreadOf,
  warmUpRounds,
} from "../../bench/rounds.ts"
import { routeVariables } from "../../bench/scale.ts"
import { stageRows, stageVariants } from "../../bench/stages.ts"
import { formatStartUp } from "../../bench/startup.ts"
import { createRandom } from "../../simulation/random.ts"

const slice = (cpuUs: number, errors = 0): Slice => ({ cpuUs, p50Ms: 1, p99Ms: 2, errors, perSecond: 1_000 })

describe("parseBenchOptions()", () => {
  test("measures targets when nothing is named", () => {
    expect(parseBenchOptions([])).toEqual({
      mode: "targets",
      alternatives: false,
      only: undefined,
      rounds: 5,
      processes: 1,
      requests: 4_000,
      warmUp: 20_000,
      seconds: 4,
      profile: undefined,
      v8Default: false,
      json: false,
    })
  })

  test("reads a mode and its amounts", () => {
    expect(parseBenchOptions(["--stages", "--rounds", "2", "--warm-up", "0", "--v8-default", "--json"])).toMatchObject({
      mode: "stages",
      rounds: 2,
      warmUp: 0,
      v8Default: true,
      json: true,
    })
  })

  test.each([
    ["two modes", ["--stages", "--gate"], "--stages and --gate are measured one at a time"],
    ["no rounds", ["--rounds", "0"], '--rounds is a whole number of at least 1, not "0"'],
    ["half a request", ["--requests", "0.5"], '--requests is a whole number of at least 1, not "0.5"'],
    ["a number in another notation", ["--warm-up", "1e3"], '--warm-up is a whole number of at least 0, not "1e3"'],
    ["a series that there is not", ["--scale", "--only", "route"], "--only is one of routes, clients,"],
    ["an unknown flag", ["--stage"], "Unknown option '--stage'"],
  ])("refuses %s", (_, args, message) => {
    expect(() => parseBenchOptions(args)).toThrow(message)
  })
})

describe("runRounds()", () => {
  test("counts no round before the warm-up is sent, and measures backwards in every other round", async () => {
    const log: string[] = []
    let measured = 0
    const measure = (name: string) => async (): Promise<string> => {
      log.push(name)
      return `${name}${measured++}`
    }
    const slices = await runRounds({ rounds: 2, requests: 10, warmUp: 11 }, [measure("a"), measure("b")])
    expect(log.join("")).toBe("abbaabba")
    expect(slices).toEqual([
      ["a4", "a7"],
      ["b5", "b6"],
    ])
  })

  test.each([
    [0, 10, 1],
    [10, 10, 1],
    [11, 10, 2],
    [5_000, 4_000, 2],
  ])("a warm-up of %i requests in slices of %i takes %i rounds", (warmUp, requests, rounds) => {
    expect(warmUpRounds({ warmUp, requests })).toBe(rounds)
  })
})

describe("statistics", () => {
  test("median() is the middle, of an even count the upper one", () => {
    expect(median([3, 1, 2])).toBe(2)
    expect(median([4, 1, 3, 2])).toBe(3)
    expect(median([])).toBeNaN()
  })

  test("compareRounds() compares what was measured in the same round only", () => {
    // The difference of both medians would be -8.
    expect(compareRounds([10, 30, 21], [5, 29, 40], (a, b) => a - b)).toEqual({ median: 1, min: -19, max: 5 })
    expect(compareRounds([2, 4], [1], (a, b) => a / b)).toEqual({ median: 2, min: 2, max: 2 })
  })

  test.each([
    [5, undefined],
    [6, { low: 1, high: 6 }],
    [8, { low: 1, high: 8 }],
    [9, { low: 2, high: 8 }],
    [20, { low: 6, high: 15 }],
  ])("medianInterval() of %i numbers leaves out what lies beyond by chance in one case of 40", (count, interval) => {
    expect(medianInterval(Array.from({ length: count }, (_, index) => count - index))).toEqual(interval)
  })

  test("medianInterval() holds the median in 95 of 100 cases or more", () => {
    const random = createRandom(95, "medians")
    const isHeld = Array.from({ length: 4_000 }, () => {
      const interval = medianInterval(Array.from({ length: 9 }, () => random.next()))
      return interval !== undefined && interval.low <= 0.5 && 0.5 <= interval.high
    })
    expect(isHeld.filter(Boolean).length).toBeGreaterThan(0.95 * isHeld.length)
  })

  test("formatSpread() shows all three figures alike", () => {
    expect(formatSpread(spreadOf([1, 2.26, 10]), 1)).toBe("2.3 [1.0 to 10.0]")
  })

  test("sumRunUs() adds the run time of threads, without those that have ended", () => {
    expect(sumRunUs(["1500000 9 9\n", "", "500 1 1\n"])).toBe(1_500.5)
  })
})

describe("stages", () => {
  test("stageVariants() adds one stage at a time and ends with the whole pipeline", () => {
    expect(stageVariants(["first", "second", "origin"])).toEqual([
      { adds: "(empty pipeline)", order: ["origin"], isOriginPlain: true },
      { adds: "first", order: ["first", "origin"], isOriginPlain: true },
      { adds: "second", order: ["first", "second", "origin"], isOriginPlain: true },
      { adds: "origin", order: ["first", "second", "origin"], isOriginPlain: false },
    ])
  })

  test("stageRows() compares each with the one before it, and the last with the first", () => {
    const rows = stageRows(
      ["floor", "one", "two"],
      [
        [slice(100), slice(200), slice(100)],
        [slice(110), slice(250), slice(120)],
        [slice(111), slice(249, 2), slice(140, 1)],
      ],
    )
    expect(rows.map(({ addedUs, addedUsMax, addedUsMin, adds }) => [adds, addedUs, addedUsMin, addedUsMax])).toEqual([
      ["floor", 0, 0, 0],
      ["one", 20, 10, 50],
      ["two", 1, -1, 20],
      ["all of it", 40, 11, 49],
    ])
    expect(rows.map(({ errors }) => errors)).toEqual([0, 0, 3, 3])
  })
})

describe("scale", () => {
  test("routeVariables() makes as many routes, and the one that is asked for", () => {
    const routes = routeVariables(10)
    expect(routes).toHaveLength(10)
    expect(routes.filter((route) => "path" in route && route.path === "/balance")).toHaveLength(1)
    expect(routes.filter((route) => "prefix" in route)).toHaveLength(4)
  })

  test("clientVariables() names as many clients, each once", () => {
    expect(new Set(clientVariables(1_200).map((client) => JSON.stringify(client))).size).toBe(1_200)
    expect(clientId(99_999)).toHaveLength(clientId(0).length)
  })

  test("renamed() changes the name in a certificate and nothing else", () => {
    expect(renamed(Buffer.from("before client-000000 after"), 12).toString()).toBe("before client-000012 after")
    expect(() => renamed(Buffer.from("nobody"), 1)).toThrow("does not name")
  })

  test.each([
    [1_024, 4_000, 4_000],
    [65_536, 100, 100],
    [1_048_576, 4_000, 400],
    [50 * 1_048_576, 4_000, 8],
    [1_000 * 1_048_576, 4_000, 4],
  ])("of bodies of %i octets in slices of %i, %i are sent", (bytes, requests, sent) => {
    expect(requestsOf(bytes, requests)).toBe(sent)
  })
})

describe("latency", () => {
  test("arrivalsMs() is the same for the same seed, in order, and as many as asked for", () => {
    const arrivals = arrivalsMs(500, 20_000, 1)
    expect(arrivals).toEqual(arrivalsMs(500, 20_000, 1))
    expect(arrivals).not.toEqual(arrivalsMs(500, 20_000, 2))
    expect(arrivals).toEqual(arrivals.toSorted((a, b) => a - b))
    // Ten thousand are expected; their number varies by a hundred.
    expect(Math.abs(arrivals.length - 10_000)).toBeLessThan(400)
    expect(arrivals.at(-1)).toBeLessThan(20_000)
  })

  test("arrivalsMs() is no clockwork: as many gaps are shorter than the mean as of a Poisson process", () => {
    const arrivals = arrivalsMs(1_000, 20_000, 3)
    const gaps = arrivals.slice(1).map((atMs, index) => atMs - (arrivals[index] ?? 0))
    const short = gaps.filter((gap) => gap < 1).length / gaps.length
    expect(short).toBeCloseTo(1 - Math.exp(-1), 1)
  })

  test("latencyRow() takes what is added within each round", () => {
    const open = (p50Ms: number, p99Ms: number, errors = 0): OpenSlice => ({ p50Ms, p99Ms, errors })
    const row = latencyRow(
      "gateway",
      900,
      [open(2, 9), open(5, 20, 1), open(3, 8)],
      [open(1, 5), open(4, 19), open(1, 6)],
    )
    expect(row.addedP50Ms).toEqual({ median: 1, min: 1, max: 2 })
    expect(row.addedP99Ms).toEqual({ median: 2, min: 1, max: 4 })
    expect(row.p99Ms).toEqual({ median: 9, min: 8, max: 20 })
    expect(row.errors).toBe(1)
  })

  test("percentiles() are those of the sorted numbers", () => {
    const numbers = Array.from({ length: 100 }, (_, index) => 100 - index)
    expect(percentiles(numbers, [0.5, 0.99, 1])).toEqual([51, 100, 100])
    expect(percentiles([], [0.5])).toEqual([Number.NaN])
  })
})

describe("start-up", () => {
  test("groupParts() adds by package and by folder, largest first, and leaves out what left nothing", () => {
    expect(
      groupParts({
        "src/core/a.ts": 5,
        "src/core/deep/b.ts": 6,
        "src/index.ts": 1,
        "src/config/types.ts": 0,
        "node_modules/hono/dist/hono.js": 20,
        "../elsewhere/node_modules/@scope/name/index.js": 12,
      }),
    ).toEqual([
      { name: "hono", bytes: 20 },
      { name: "@scope/name", bytes: 12 },
      { name: "src/core", bytes: 11 },
      { name: "src/index.ts", bytes: 1 },
    ])
  })

  test("gzipBytesOf() is the size as it is uploaded", () => {
    expect(gzipBytesOf("x".repeat(10_000))).toBeLessThan(100)
    expect(gzipBytesOf("")).toBeGreaterThan(0)
  })

  test("formatStartUp() says what was added within the rounds, and by what", () => {
    const addedUs = [71_000, 69_000, 70_000]
    expect(
      formatStartUp({
        emptyUs: 50_000,
        boundUs: 62_000,
        parsedUs: 83_000,
        startedUs: 120_000,
        answeredUs: 148_000,
        addedUs,
      }),
    ).toBe(
      "70 ms [69 to 71] of CPU beyond a Worker that does nothing: 12 for objects and queue, 21 to parse the code, 37 to run it; 28 more up to the first answer",
    )
  })
})

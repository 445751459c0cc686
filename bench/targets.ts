/**
 * What the whole gateway costs: CPU time per request against a Worker that only calls fetch, on the same workerd, and beside
 * what people would use instead. Each ratio is taken within its round.
 */
import { randomUUID } from "node:crypto"
import { join } from "node:path"
import { mintAssertionKey } from "../cli/assertion-keys.ts"
import { mintRecordKey } from "../cli/record-keys.ts"
import { startAlternatives } from "./alternatives.ts"
import { FLOORS, startFloor } from "./floors.ts"
import { runSlice, type Slice } from "./load.ts"
import { plainGateway, startOrigin } from "./parties.ts"
import { memoryBytesOf } from "./process.ts"
import { countErrors, median, printRows, runRounds, type RoundsOptions } from "./rounds.ts"
import { requestFields } from "./worker.ts"
import { startBareGateway } from "./workerd.ts"

/** Something to measure that runs: where it listens, and whose CPU time counts. */
export interface Target {
  readonly name: string
  /** What it does, and what not. */
  readonly does: string
  readonly port: number
  readonly pid: number
  /** True: each request posts 200 octets under a key of its own. */
  readonly isKeyed?: boolean
  close(): Promise<void>
}

/** Measures and prints all targets. */
export async function benchTargets(options: RoundsOptions & { readonly alternatives: boolean }): Promise<void> {
  const { alternatives, directory, requests, v8Flags } = options
  const origin = await startOrigin()
  const targets: Target[] = []
  try {
    const originUrl = origin.url
    const fields = await requestFields(join(directory, "pki"))
    for (const name of ["pass-through", "essentials"] as const)
      targets.push({ name, does: FLOORS[name], ...(await startFloor(name, originUrl, join(directory, name), v8Flags)) })
    for (const { overrides, ...target } of variantsFor(originUrl, await mintAssertionKey("ES256")))
      targets.push({ ...target, ...(await startBareGateway(overrides, join(directory, target.name), { v8Flags })) })
    if (alternatives) targets.push(...(await startAlternatives(originUrl, directory, v8Flags)))
    const slices = await runRounds(
      options,
      targets.map(({ isKeyed, pid, port: own }) => {
        const url = new URL(`http://localhost:${own}/balance`)
        return () =>
          isKeyed
            ? runSlice(url, () => ({ ...fields, "Idempotency-Key": `"${randomUUID()}"` }), requests, pid, {
                body: PAYMENT,
              })
            : runSlice(url, fields, requests, pid)
      }),
    )
    report(targets, slices, options)
  } finally {
    origin.close()
    await Promise.all(targets.map(async (target) => target.close()))
  }
}

/** What a keyed request posts. */
const PAYMENT = Buffer.from(JSON.stringify({ filler: "x".repeat(187) }))

function variantsFor(originUrl: string, assertionKey: string) {
  const gateway = plainGateway(originUrl)
  const withEvents = { ...gateway, SINKS: [{ kind: "otlp", url: originUrl }] }
  return [
    { name: "gateway", does: "all stages, one rate, leased; no events", overrides: gateway },
    { name: "gateway + events", does: "the same, with events to the queue", overrides: withEvents },
    {
      name: "gateway + traces",
      does: "with events and the spans of every request to the queue",
      overrides: {
        ...withEvents,
        SINKS: [...withEvents.SINKS, { kind: "otlp", url: `${originUrl}/v1/traces`, takes: ["traces"] }],
      },
    },
    {
      name: "gateway + console",
      does: "with events to the queue and to the console",
      overrides: { ...withEvents, GATEWAY: { hosts: ["localhost"] } },
    },
    {
      name: "gateway + assertion",
      does: "no events; an assertion for the origin, ES256",
      overrides: {
        ...gateway,
        GATEWAY: { ...gateway.GATEWAY, assertion: { issuer: "https://localhost", keys: ["ASSERTION_KEY"] } },
        ORIGINS: { bank: { url: originUrl, assertion: true } },
        ASSERTION_KEY: assertionKey,
      },
    },
    {
      name: "gateway + audit",
      does: "no events; intent and outcome on the client's trail: two object calls a request",
      overrides: {
        ...gateway,
        ROUTES: gateway.ROUTES.map((route) => ({ ...route, audit: "required" })),
        SINKS: [{ kind: "ndjson", url: originUrl, takes: ["audit"] }],
      },
    },
    {
      name: "gateway + key",
      does: "no events; POST of 200 octets under an idempotency key: two object calls a request, the answer encrypted",
      isKeyed: true,
      overrides: {
        ...gateway,
        GATEWAY: { ...gateway.GATEWAY, idempotency: { keys: ["RECORD_KEY"] } },
        ROUTES: gateway.ROUTES.map((route) => ({ ...route, methods: ["POST"], idempotency: "required" })),
        RECORD_KEY: mintRecordKey("bench"),
      },
    },
    {
      name: "gateway, asking",
      does: "no events; a rate too quick to lend: one object call a request",
      overrides: { ...gateway, LIMITS: { standard: { rate: "1000000/s", burst: 100_000 } } },
    },
  ]
}

function report(
  targets: readonly Target[],
  slices: readonly (readonly Slice[])[],
  options: Omit<RoundsOptions, "directory">,
): void {
  const [floor = []] = slices
  const rows = targets.map(({ does, name, pid }, index) => {
    const own = slices[index] ?? []
    const ratios = own.map(({ cpuUs }, round) => cpuUs / (floor[round]?.cpuUs ?? Number.NaN))
    return {
      target: name,
      does,
      cpuUs: median(own.map(({ cpuUs }) => cpuUs)),
      ratio: median(ratios),
      ratioMin: Math.min(...ratios),
      ratioMax: Math.max(...ratios),
      p50Ms: median(own.map(({ p50Ms }) => p50Ms)),
      p99Ms: median(own.map(({ p99Ms }) => p99Ms)),
      memoryBytes: memoryBytesOf(pid),
      errors: countErrors(own),
    }
  })
  printRows(options, rows, {
    heading: ["target", "CPU us/request", "ratio", "p50 ms", "p99 ms", "RSS MiB", "errors", "does"],
    cellsOf: (row) => [
      row.target,
      row.cpuUs.toFixed(0),
      `${row.ratio.toFixed(2)} [${row.ratioMin.toFixed(2)}-${row.ratioMax.toFixed(2)}]`,
      row.p50Ms.toFixed(2),
      row.p99Ms.toFixed(2),
      (row.memoryBytes / 1_048_576).toFixed(0),
      String(row.errors),
      row.does,
    ],
    note: "medians, ratio within a round [min-max]",
  })
}

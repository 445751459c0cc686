/**
 * What the whole gateway costs: CPU time per request against a Worker that only calls fetch, on the same workerd.
 *
 * Targets take turns in rounds and each ratio is taken within its round, so that the machine's mood cancels out.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { mintAssertionKey } from "../cli/assertion-keys.ts"
import { createPaint, formatTable } from "../cli/terminal.ts"
import { runSlice, type Slice } from "./load.ts"
import { requestFields, ROOT, startMeasuredWorker, type MeasuredWorker } from "./worker.ts"

interface Target extends MeasuredWorker {
  readonly name: string
  readonly does: string
}

/** How much to measure, and how to print it. */
export interface TargetsOptions {
  readonly rounds: number
  /** Requests of one slice: one target in one round. */
  readonly requests: number
  readonly json: boolean
  /** For certificates and state; the caller removes it. */
  readonly directory: string
}

/** Measures and prints all targets. */
export async function benchTargets({ rounds, requests, json, directory }: TargetsOptions): Promise<void> {
  const origin = spawn(process.execPath, [join(ROOT, "bench/origin.ts")], { stdio: ["ignore", "pipe", "inherit"] })
  const targets: Target[] = []
  try {
    const [port] = (await once(createInterface(origin.stdout), "line")) as [string]
    const fields = await requestFields(join(directory, "pki"))
    for (const { name, does, config, overrides } of targetsFor(
      `http://127.0.0.1:${port}`,
      await mintAssertionKey("ES256"),
    )) {
      targets.push({ name, does, ...(await startMeasuredWorker(config, overrides, join(directory, name))) })
    }
    const slices = new Map<Target, Slice[]>(targets.map((target) => [target, []]))
    for (let round = -1; round < rounds; round++) {
      for (const target of targets) {
        const url = new URL(`http://127.0.0.1:${target.worker.port}/balance`)
        const slice = await runSlice(url, fields, requests, target.pid)
        // The first round warms code and connections up and is not counted.
        if (round >= 0) slices.get(target)?.push(slice)
      }
    }
    report(slices, { rounds, requests, json })
  } finally {
    origin.kill()
    await Promise.all(targets.map(({ worker }) => worker.close()))
  }
}

function targetsFor(originUrl: string, assertionKey: string) {
  const gateway = {
    PLATFORM: "cloudflare",
    // The platform's binding is simulated here by a second Worker that writes to a database: not what it costs there.
    IP_LIMIT: undefined,
    GATEWAY: { hosts: ["localhost"], console: false },
    ORIGINS: { bank: { url: originUrl } },
    LIMITS: { standard: { rate: "1000000/s", burst: 1_000_000 } },
    ROUTES: [{ path: "/balance", methods: ["GET"], origin: "bank", limits: "standard" }],
  }
  return [
    {
      name: "pass-through",
      does: "fetch only",
      config: "bench/pass-through.toml",
      overrides: { ORIGIN: originUrl },
    },
    {
      name: "gateway",
      does: "all stages, one rate, leased; no events",
      config: "wrangler.toml",
      overrides: { ...gateway, SINKS: [] },
    },
    {
      name: "gateway + assertion",
      does: "the same, with an assertion for the origin, ES256",
      config: "wrangler.toml",
      overrides: {
        ...gateway,
        SINKS: [],
        GATEWAY: { ...gateway.GATEWAY, assertion: { issuer: "https://localhost", keys: ["ASSERTION_KEY"] } },
        ORIGINS: { bank: { url: originUrl, assertion: true } },
        ASSERTION_KEY: assertionKey,
      },
    },
    {
      name: "gateway + events",
      does: "the gateway, with console events and the queue",
      config: "wrangler.toml",
      overrides: {
        ...gateway,
        GATEWAY: { hosts: ["localhost"], log_flush: "1s" },
        SINKS: [{ kind: "otlp", url: originUrl }],
      },
    },
    {
      name: "gateway, asking",
      does: "no events; a rate too quick to lend: one object call a request",
      config: "wrangler.toml",
      overrides: { ...gateway, LIMITS: { standard: { rate: "1000000/s", burst: 100_000 } }, SINKS: [] },
    },
  ]
}

function report(
  slices: ReadonlyMap<Target, readonly Slice[]>,
  { rounds, requests, json }: Omit<TargetsOptions, "directory">,
): void {
  const targets = [...slices.keys()]
  const [floor = []] = slices.values()
  const rows = targets.map((target) => {
    const own = slices.get(target) ?? []
    const ratios = own.map(({ cpuUs }, round) => cpuUs / (floor[round]?.cpuUs ?? Number.NaN))
    return {
      target: target.name,
      does: target.does,
      cpuUs: median(own.map(({ cpuUs }) => cpuUs)),
      ratio: median(ratios),
      ratioMin: Math.min(...ratios),
      ratioMax: Math.max(...ratios),
      p50Ms: median(own.map(({ p50Ms }) => p50Ms)),
      p99Ms: median(own.map(({ p99Ms }) => p99Ms)),
      errors: own.reduce((sum, { errors }) => sum + errors, 0),
    }
  })
  if (json) {
    console.log(JSON.stringify({ rounds, requests, node: process.version, rows }))
    return
  }
  const cells = rows.map((row) => [
    row.target,
    row.cpuUs.toFixed(0),
    `${row.ratio.toFixed(2)} [${row.ratioMin.toFixed(2)}-${row.ratioMax.toFixed(2)}]`,
    row.p50Ms.toFixed(2),
    row.p99Ms.toFixed(2),
    String(row.errors),
    row.does,
  ])
  console.log(
    `\n${formatTable(["target", "CPU us/request", "ratio", "p50 ms", "p99 ms", "errors", "does"], cells, createPaint(process.stdout))}\n`,
  )
  console.log(
    `  ${rounds} rounds of ${requests} requests over 16 connections; medians, ratio within a round [min-max]\n`,
  )
}

function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

/**
 * What the whole gateway costs: CPU time per request against a Worker that only calls fetch, on the same workerd.
 * Each ratio is taken within its round.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { mintAssertionKey } from "../cli/assertion-keys.ts"
import { runSlice, type Slice } from "./load.ts"
import { countErrors, median, printRows, runRounds, type RoundsOptions } from "./rounds.ts"
import { requestFields, ROOT, startMeasuredWorker, type MeasuredWorker } from "./worker.ts"

interface Target extends MeasuredWorker {
  readonly name: string
  readonly does: string
}

/** Measures and prints all targets. */
export async function benchTargets(options: RoundsOptions): Promise<void> {
  const { directory, requests, rounds } = options
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
    const slices = await runRounds(
      rounds,
      targets.map(({ pid, worker }) => {
        const url = new URL(`http://127.0.0.1:${worker.port}/balance`)
        return () => runSlice(url, fields, requests, pid)
      }),
    )
    report(targets, slices, options)
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
      name: "gateway + traces",
      does: "the same, with the spans of every request",
      config: "wrangler.toml",
      overrides: {
        ...gateway,
        GATEWAY: { hosts: ["localhost"], log_flush: "1s" },
        SINKS: [
          { kind: "otlp", url: originUrl },
          { kind: "otlp", url: `${originUrl}/v1/traces`, takes: ["traces"] },
        ],
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
  targets: readonly Target[],
  slices: readonly (readonly Slice[])[],
  options: Omit<RoundsOptions, "directory">,
): void {
  const [floor = []] = slices
  const rows = targets.map(({ does, name }, index) => {
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
      errors: countErrors(own),
    }
  })
  printRows(options, rows, {
    heading: ["target", "CPU us/request", "ratio", "p50 ms", "p99 ms", "errors", "does"],
    cellsOf: (row) => [
      row.target,
      row.cpuUs.toFixed(0),
      `${row.ratio.toFixed(2)} [${row.ratioMin.toFixed(2)}-${row.ratioMax.toFixed(2)}]`,
      row.p50Ms.toFixed(2),
      row.p99Ms.toFixed(2),
      String(row.errors),
      row.does,
    ],
    note: "medians, ratio within a round [min-max]",
  })
}

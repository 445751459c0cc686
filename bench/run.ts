/**
 * `npm run bench`: CPU time per request of the gateway against a Worker that only calls fetch, on the same workerd.
 *
 * Targets take turns in rounds and each ratio is taken within its round, so that the machine's mood cancels out. Linux only:
 * CPU time is read from /proc. Flags: --rounds <n> (5), --requests <n> per slice (4000), --json.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { X509Certificate } from "node:crypto"
import { DEVELOPMENT_SKI } from "../cli/pki/development-ski.ts"
import { ensurePki } from "../cli/pki/ensure.ts"
import { createPaint, formatTable } from "../cli/terminal.ts"
import { startWorkerProcess, type WorkerProcess } from "../cli/worker-process.ts"
import { mintAssertionKey } from "../cli/assertion-keys.ts"
import { NO_CLIENT_CERTIFICATE } from "../src/core/platform-certificate.ts"
import { runSlice, workerdChildren, type Slice } from "./load.ts"

interface Target {
  readonly name: string
  readonly does: string
  readonly worker: WorkerProcess
  readonly pid: number
}

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    requests: { type: "string", default: "4000" },
    json: { type: "boolean", default: false },
  },
})
const rounds = Number(values.rounds)
const requests = Number(values.requests)
const root = fileURLToPath(new URL("..", import.meta.url))
const directory = await mkdtemp(join(tmpdir(), "sekisho-bench-"))
const origin = spawn(process.execPath, [join(root, "bench/origin.ts")], { stdio: ["ignore", "pipe", "inherit"] })
const targets: Target[] = []

try {
  const [port] = (await once(createInterface(origin.stdout), "line")) as [string]
  const originUrl = `http://127.0.0.1:${port}`
  const headers = {
    Host: "localhost",
    "MF-CF-Blob": JSON.stringify({ tlsClientAuth: await clientAuth() }),
    "CF-Connecting-IP": "127.0.0.1",
    Accept: "application/json",
  }
  const gateway = {
    PLATFORM: "cloudflare",
    // The platform's binding is simulated here by a second Worker that writes to a database: not what it costs there.
    IP_LIMIT: undefined,
    GATEWAY: { hosts: ["localhost"], console: false },
    ORIGINS: { bank: { url: originUrl } },
    LIMITS: { standard: { rate: "1000000/s", burst: 1_000_000 } },
    ROUTES: [{ path: "/balance", methods: ["GET"], origin: "bank", limits: "standard" }],
  }
  targets.push(
    await start("pass-through", "fetch only", "bench/pass-through.toml", { ORIGIN: originUrl }),
    await start("gateway", "all stages, one object call a request; no events", "wrangler.toml", {
      ...gateway,
      SINKS: [],
    }),
    await start("gateway + assertion", "the same, with an assertion for the origin, ES256", "wrangler.toml", {
      ...gateway,
      SINKS: [],
      GATEWAY: {
        ...gateway.GATEWAY,
        assertion: { issuer: "https://localhost", keys: ["ASSERTION_KEY"] },
      },
      ORIGINS: { bank: { url: originUrl, assertion: true } },
      ASSERTION_KEY: await mintAssertionKey("ES256"),
    }),
    await start("gateway + events", "the gateway, with console events and the queue", "wrangler.toml", {
      ...gateway,
      GATEWAY: { hosts: ["localhost"], log_flush: "1s" },
      SINKS: [{ kind: "otlp", url: originUrl }],
    }),
  )
  const slices = new Map<Target, Slice[]>(targets.map((target) => [target, []]))
  for (let round = -1; round < rounds; round++) {
    for (const target of targets) {
      const slice = await runSlice(
        new URL(`http://127.0.0.1:${target.worker.port}/balance`),
        headers,
        requests,
        target.pid,
      )
      // The first round warms code and connections up and is not counted.
      if (round >= 0) slices.get(target)?.push(slice)
    }
  }
  report(slices)
} finally {
  origin.kill()
  await Promise.all(targets.map(({ worker }) => worker.close()))
  await rm(directory, { recursive: true, force: true })
}

async function start(
  name: string,
  does: string,
  config: string,
  overrides: Readonly<Record<string, unknown>>,
): Promise<Target> {
  const before = new Set(workerdChildren())
  const worker = await startWorkerProcess({
    configFile: join(root, config),
    environment: undefined,
    overrides,
    stateDirectory: join(directory, name),
    onConsole: () => {},
    onRestart: () => {},
  })
  const pid = workerdChildren().find((child) => !before.has(child))
  if (pid === undefined) throw new Error("The measured workerd process was not found; the bench needs Linux's /proc")
  return { name, does, worker, pid }
}

/** What Cloudflare would say about the first development client's certificate. */
async function clientAuth(): Promise<unknown> {
  const pki = await ensurePki(join(directory, "pki"), {
    clients: [{ id: "acme", sanUri: "spiffe://partners.example/acme", subject: "CN=acme,O=Acme,C=JP" }],
    hosts: ["localhost"],
    nowMs: Date.now(),
  })
  const certificate = new X509Certificate(await readFile(pki.clients[0]?.certificatePath ?? ""))
  return {
    ...NO_CLIENT_CERTIFICATE,
    certPresented: "1",
    certVerified: "SUCCESS",
    certFingerprintSHA256: pki.clients[0]?.fingerprint,
    certIssuerSKI: DEVELOPMENT_SKI,
    certRFC9440: `:${certificate.raw.toString("base64")}:`,
  }
}

function report(slices: ReadonlyMap<Target, readonly Slice[]>): void {
  const floor = slices.get(targets[0] as Target) ?? []
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
  if (values.json) {
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

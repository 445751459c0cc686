/**
 * The Worker on this machine: bundled by esbuild as wrangler bundles it, run by workerd with the bindings of the
 * configuration file, reachable on a loopback port of its own.
 *
 * The port leads to workerd itself, not to a development server in front of it, so requests arrive byte for byte and cost
 * what they cost in production. It is no boundary: only the edge may connect, and proves each request with a key.
 */
import { build } from "esbuild"
import {
  convertV4MiniflareOptions,
  Miniflare,
  NoOpLog,
  type MiniflareOptions,
  type V4MiniflareOptions,
} from "miniflare"
import { unstable_getMiniflareWorkerOptions } from "wrangler"
import { UsageError } from "./usage-error.ts"

/** What to run. */
export interface WorkerProcessOptions {
  /** Absolute path of the wrangler configuration file. */
  readonly configFile: string
  readonly environment: string | undefined
  /** Variables and secrets on top of those of the file; undefined removes one, also a rate-limit binding of that name. */
  readonly overrides: Readonly<Record<string, unknown>>
  /** Directory for the state of Durable Objects and queues. */
  readonly stateDirectory: string
  /** Told what the Worker writes to its console. */
  readonly onConsole: (line: { readonly level: string; readonly message: string }) => void
  /** Told when workerd was started again after it had died. */
  readonly onRestart: () => void
}

/** A Worker that runs. */
export interface WorkerProcess {
  readonly hostname: string
  readonly port: number
  /** Size of the bundle in octets. */
  readonly bundleBytes: number
  /** Bundles again and replaces the running Worker, with new overrides if given; state is kept. */
  reload(overrides?: Readonly<Record<string, unknown>>): Promise<void>
  /** Does what a cron trigger does on the platform: here no clock pulls it. */
  trigger(): Promise<void>
  close(): Promise<void>
}

const HOST = "127.0.0.1"

/** Starts the Worker and returns once it accepts connections. */
export async function startWorkerProcess(options: WorkerProcessOptions): Promise<WorkerProcess> {
  const first = await createOptions(options, options.overrides)
  const miniflare = new Miniflare(first.miniflareOptions)
  await miniflare.ready
  const url = await miniflare.unsafeGetDirectURL()
  return {
    hostname: HOST,
    port: Number(url.port),
    bundleBytes: first.bundleBytes,
    async reload(overrides = options.overrides) {
      await miniflare.setOptions((await createOptions(options, overrides, Number(url.port))).miniflareOptions)
    },
    async trigger() {
      const worker = await miniflare.getWorker()
      await worker.scheduled()
    },
    close: () => miniflare.dispose(),
  }
}

async function createOptions(
  options: WorkerProcessOptions,
  overrides: Readonly<Record<string, unknown>>,
  port = 0,
): Promise<{ readonly miniflareOptions: MiniflareOptions; readonly bundleBytes: number }> {
  const { main, workerOptions } = unstable_getMiniflareWorkerOptions(options.configFile, options.environment)
  if (main === undefined) throw new UsageError(`${options.configFile} names no main module; add main = "src/index.ts"`)
  const code = await bundle(main)
  const { modulesRules: _, ratelimits, ...worker } = workerOptions
  const bindings = Object.fromEntries(
    Object.entries({ ...(worker.bindings as Readonly<Record<string, unknown>>), ...overrides }).filter(
      ([, value]) => value !== undefined,
    ),
  )
  // Wrangler's declarations do not resolve the types of its own worker options, so they are named here.
  const miniflareOptions = convertV4MiniflareOptions({
    host: HOST,
    port: 0,
    cf: false,
    workers: [
      {
        name: "sekisho",
        ...worker,
        ratelimits: Object.fromEntries(
          Object.entries(ratelimits ?? {}).filter(([name]) => !(name in overrides && overrides[name] === undefined)),
        ),
        bindings,
        modules: [{ type: "ESModule", path: "index.js", contents: code }],
        unsafeDirectSockets: [{ host: HOST, port }],
      },
    ],
  } as V4MiniflareOptions)
  return {
    bundleBytes: Buffer.byteLength(code),
    miniflareOptions: {
      ...miniflareOptions,
      log: new NoOpLog(),
      logRequests: false,
      resourcePersistencePath: options.stateDirectory,
      handleStructuredLogs: ({ level, message }) => options.onConsole({ level, message }),
      unsafeHandleRuntimeRestart: options.onRestart,
    },
  }
}

async function bundle(main: string): Promise<string> {
  const result = await build({
    entryPoints: [main],
    bundle: true,
    write: false,
    format: "esm",
    target: "esnext",
    conditions: ["workerd", "worker", "browser"],
    external: ["cloudflare:*", "node:*"],
    logLevel: "silent",
  }).catch((error: unknown) => {
    throw new UsageError(`The Worker does not build: ${error instanceof Error ? error.message : String(error)}`)
  })
  return result.outputFiles[0]?.text ?? ""
}

/**
 * Workers on workerd itself: no development server, no proxy, nothing in the process but the Worker and its objects.
 *
 * A development server adds several times the cost of a request. What it would simulate is bound here to what costs nothing:
 * queues to a Worker that takes everything, and no limit per address.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdir, writeFile } from "node:fs/promises"
import { createRequire } from "node:module"
import { join } from "node:path"
import { createInterface } from "node:readline"
import type { Plugin } from "esbuild"
import { readEnvironment } from "../cli/wrangler-file.ts"
import { bundle } from "./bundle.ts"
import { ROOT } from "./worker.ts"

/** How a Worker is run. */
export interface RunSettings {
  /** Default {@link FIXED_COLLECTIONS}. */
  readonly v8Flags?: readonly string[]
  /** What is put in the place of sources. */
  readonly plugins?: readonly Plugin[]
  /** True: objects stay in memory however long nobody asks them; else, as on the platform, for ten seconds. */
  readonly keepsObjects?: boolean
}

/** A Worker to measure. */
export interface BareWorker extends RunSettings {
  /** Absolute path of the module with the handlers. */
  readonly entry: string
  /** Texts become text bindings, everything else a JSON binding. */
  readonly variables: Readonly<Record<string, unknown>>
  /** Class by the name of its binding; all of them with SQLite. */
  readonly objects: Readonly<Record<string, string>>
  /** Names of queue bindings. */
  readonly queues: readonly string[]
  readonly compatibilityFlags: readonly string[]
  /** One of its own, for the bundle and for storage. */
  readonly directory: string
}

/** A Worker that runs. */
export interface RunningWorker {
  readonly port: number
  readonly pid: number
  /** Octets of the bundle, minified. */
  readonly bundleBytes: number
  close(): Promise<void>
}

/**
 * Collections at fixed points instead of when the collector likes: the same requests cost the same CPU. Every target has them,
 * so ratios stay comparable; absolute figures are higher than with the platform's own settings (no flags).
 */
export const FIXED_COLLECTIONS: readonly string[] = ["--gc-global", "--max-semi-space-size=1"]

/** That of wrangler.toml, for every Worker: a target on an older runtime would be another one. */
const COMPATIBILITY_DATE = "2026-11-01"

const QUEUE_WORKER = `export default { fetch: () => Response.json({ metadata: { metrics: { backlogCount: 0, backlogBytes: 0 } } }) }`

/** Starts the Worker and returns once it accepts connections. Throws what workerd says when it does not. */
export async function startBareWorker(worker: BareWorker): Promise<RunningWorker> {
  await mkdir(join(worker.directory, "storage"), { recursive: true })
  const { code } = await bundle(worker.entry, worker.plugins)
  await writeFile(join(worker.directory, "worker.js"), code)
  await writeFile(join(worker.directory, "config.capnp"), configOf(worker))
  const workerd = spawn(
    binaryPath(),
    ["serve", join(worker.directory, "config.capnp"), "--experimental", "--control-fd=3"],
    // Lines of a console would be read by a process whose time is the machine's too.
    { stdio: ["ignore", "ignore", "pipe", "pipe"] },
  )
  let said = ""
  workerd.stderr?.setEncoding("utf8").on("data", (text: string) => (said = `${said}${text}`.slice(-SAID_LENGTH_MAX)))
  const exited = once(workerd, "exit")
  const lines = createInterface(workerd.stdio[3] as NodeJS.ReadableStream)
  const port = new Promise<number>((resolve) => {
    lines.on("line", (line) => {
      const message = JSON.parse(line) as { readonly event: string; readonly port?: number }
      if (message.event === "listen" && message.port !== undefined) resolve(message.port)
    })
  })
  const started = await Promise.race([port, exited.then(() => undefined)])
  if (started === undefined || workerd.pid === undefined) throw new Error(`workerd did not start:\n${said}`)
  return {
    port: started,
    pid: workerd.pid,
    bundleBytes: code.length,
    async close() {
      workerd.kill()
      await exited
    },
  }
}

/**
 * Starts the gateway with the objects and queues of wrangler.toml, and with variables in place of those of the file; undefined
 * removes one.
 */
export async function startBareGateway(
  overrides: Readonly<Record<string, unknown>>,
  directory: string,
  settings: RunSettings = {},
): Promise<RunningWorker> {
  return startBareWorker({ ...describeGateway(overrides), directory, ...settings })
}

/** Returns the gateway as {@link startBareGateway} starts it. */
export function describeGateway(overrides: Readonly<Record<string, unknown>> = {}): Omit<BareWorker, "directory"> {
  const { objectBindings, queueProducers, vars } = readEnvironment(join(ROOT, "wrangler.toml"), undefined)
  return {
    entry: join(ROOT, "src/index.ts"),
    variables: { ...vars, ...overrides },
    objects: Object.fromEntries(objectBindings.map(({ class_name: className, name }) => [name, className])),
    queues: queueProducers.map(({ binding }) => binding),
    compatibilityFlags: ["enable_request_signal"],
  }
}

/** How much of what workerd says is kept for the case that it does not start. */
const SAID_LENGTH_MAX = 4_096

/** The workerd that miniflare brings, so that the bench measures what `npm start` runs. */
function binaryPath(): string {
  const ofMiniflare = createRequire(createRequire(import.meta.url).resolve("miniflare"))
  return (ofMiniflare("workerd") as { readonly default: string }).default
}

function configOf({
  compatibilityFlags,
  directory,
  keepsObjects = false,
  objects,
  queues,
  v8Flags = FIXED_COLLECTIONS,
  variables,
}: BareWorker): string {
  const text = (value: string): string => JSON.stringify(value)
  const bindings = [
    ...Object.entries(variables).flatMap(([name, value]) =>
      value === undefined
        ? []
        : [
            typeof value === "string"
              ? `(name = ${text(name)}, text = ${text(value)})`
              : `(name = ${text(name)}, json = ${text(JSON.stringify(value))})`,
          ],
    ),
    ...Object.entries(objects).map(
      ([name, className]) => `(name = ${text(name)}, durableObjectNamespace = (className = ${text(className)}))`,
    ),
    ...queues.map((name) => `(name = ${text(name)}, queue = (name = "queue"))`),
  ]
  const namespaces = [...new Set(Object.values(objects))].map(
    (className) =>
      `(className = ${text(className)}, uniqueKey = ${text(className)}, enableSql = true, preventEviction = ${keepsObjects})`,
  )
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .main),
    (name = "queue", worker = .queue),
    (name = "internet", network = (allow = ["private", "public"])),
    (name = "storage", disk = (path = ${text(join(directory, "storage"))}, writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (cfBlobHeader = "MF-CF-Blob"), service = "main")],
  v8Flags = [${v8Flags.map(text).join(", ")}],
);
const main :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = ${text(COMPATIBILITY_DATE)},
  compatibilityFlags = [${compatibilityFlags.map(text).join(", ")}],
  bindings = [${bindings.join(",\n    ")}],
  durableObjectNamespaces = [${namespaces.join(", ")}],
  ${namespaces.length === 0 ? "" : 'durableObjectStorage = (localDisk = "storage"),'}
);
const queue :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = ${text(QUEUE_WORKER)})],
  compatibilityDate = ${text(COMPATIBILITY_DATE)},
);
`
}

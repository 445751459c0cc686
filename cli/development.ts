/**
 * The gateway on one machine: development PKI, TLS edge, Worker on workerd, and on request a sample bank and a sample sink.
 *
 * Everything is real: a TLS handshake with client certificates, workerd with its own storage, sockets between all parts.
 * `sekisho dev` shows it to people, the end-to-end tests drive it.
 */
import { randomBytes } from "node:crypto"
import { readFile } from "node:fs/promises"
import { createServer } from "node:net"
import { setTimeout as delay } from "node:timers/promises"
import { join, resolve } from "node:path"
import type { EdgeMaterial } from "../edge/options.ts"
import { startEdge } from "../edge/server.ts"
import type { SinkSpan } from "../examples/sink/traces.ts"
import type { Config } from "../src/config/config.ts"
import { adminTokenPath, ensureAdminToken } from "./admin-token.ts"
import { ensureAssertionKeys } from "./assertion-keys.ts"
import { createBankProof } from "./bank-proof.ts"
import { loadAccepted } from "./configuration.ts"
import { startCrlServer } from "./crl-server.ts"
import { NO_SAMPLES, startSamples } from "./development-samples.ts"
import { developmentVariables } from "./development-variables.ts"
import { watchList, watchSources } from "./development-watch.ts"
import { noticeOf, type Notice } from "./edge-notices.ts"
import { ensureDevelopmentPki } from "./pki.ts"
import type { Pki } from "./pki/ensure.ts"
import { ensureRecordKeys } from "./record-keys.ts"
import type { Paint } from "./terminal.ts"
import { UsageError } from "./usage-error.ts"
import { startWorkerProcess } from "./worker-process.ts"
import { findConfigFile, readEnvironment } from "./wrangler-file.ts"

/** What to run, and who is told about it. */
export interface DevelopmentOptions {
  /** Path of the wrangler configuration. */
  readonly configFile: string
  readonly environment: string | undefined
  /** Port of the TLS edge; 0 lets the system choose. */
  readonly port: number
  /** Directory for certificates and state. */
  readonly state: string
  /** Start the sample bank for an origin "bank", a sample issuer for an origin "issuer" and TOKENS "sample", and a sample sink in place of the configured ones. */
  readonly samples: boolean
  /** Watch the configuration and the sources, and take changes over while running. */
  readonly watches: boolean
  /** Variables that replace those of the file; for tests. */
  readonly overrides?: Readonly<Record<string, unknown>>
  readonly paint: Paint
  /** Called with every event that reaches the sample sink. */
  readonly onRecord: (event: Readonly<Record<string, unknown>>) => void
  /** Called with every span that reaches the sample sink; absent: no request is traced. */
  readonly onSpan?: (span: SinkSpan) => void
  /** Called with what happens beside requests: restarts, reloads, TLS failures. */
  readonly onNotice: (notice: Notice) => void
}

export type { Notice } from "./edge-notices.ts"

/** What runs, and how to end it. */
export interface Development {
  readonly url: string
  readonly port: number
  readonly config: Config
  readonly pki: Pki
  readonly worker: { readonly hostname: string; readonly port: number; readonly bundleBytes: number }
  /**
   * Takes configuration, sources and certificates over anew, with other overrides when some are given. Rejects and keeps
   * what runs when any of it does not hold.
   */
  reload(overrides?: Readonly<Record<string, unknown>>): Promise<void>
  /** Addresses of the samples, when they run. */
  readonly bankUrl: string | undefined
  readonly issuerUrl: string | undefined
  readonly sinkUrl: string | undefined
  /** Where the metrics are, and the file with what an administrator shows; undefined without an admin room that takes a token. */
  readonly admin: { readonly metricsUrl: string; readonly tokenPath: string } | undefined
  /** File in which the sample sink keeps audit trails. Lives as long as the state of this port. */
  readonly trailFile: string | undefined
  /** Ends the sample bank or sink alone: for trying what happens without them. */
  stopBank(): Promise<void>
  stopSink(): Promise<void>
  /** Ends everything: no new requests, those in flight finish. */
  close(): Promise<void>
}

const LOOPBACK = "127.0.0.1"
/** What the queue takes from an isolate's flush to the sink on one machine, with room, in ms. */
const QUEUE_MOMENT_MS = 200
/** How often the Worker is told to look after its duties, in ms. */
const DUTIES_PERIOD_MS = 30_000

/** Starts everything and returns once the edge accepts connections. */
export async function startDevelopment(options: DevelopmentOptions): Promise<Development> {
  const file = findConfigFile(options.configFile)
  const read = (overrides = options.overrides) => {
    const environment = readEnvironment(file, options.environment)
    const merged = { ...environment, vars: { ...environment.vars, ...overrides } }
    return { environment: merged, config: loadAccepted(merged, options.paint).config }
  }
  const { environment, config } = read()
  await refuseTakenPort(options.port)
  const closers: (() => Promise<void>)[] = []
  const close = async (): Promise<void> => {
    const failures: unknown[] = []
    for (const closer of closers.splice(0).toReversed()) await closer().catch((error: unknown) => failures.push(error))
    if (failures.length > 0) throw failures[0]
  }
  try {
    const pki = await ensureDevelopmentPki(environment, servedHosts(config), options.state)
    const trailFile = join(resolve(options.state), `audit-${options.port}.ndjson`)
    let edgePort = 0
    const proof = createBankProof(LOOPBACK, () => edgePort, await readFile(pki.ca.certificatePath, "utf8"))
    proof.use(config)
    const samples = options.samples ? await startSamples(config, trailFile, proof, options, closers) : NO_SAMPLES
    const crlServer = await startCrlServer(LOOPBACK, pki.crlPath)
    closers.push(() => crlServer.close())
    const assertionKey = randomBytes(32)
    const overridesOf = async (
      vars: Readonly<Record<string, unknown>>,
      { admin, assertion, idempotency }: Config,
      overrides = options.overrides,
    ) => ({
      ...(await ensureAssertionKeys(assertion?.keys ?? [], options.state)),
      ...(admin?.tokenSecret === undefined
        ? {}
        : { [admin.tokenSecret]: await ensureAdminToken(admin.tokenSecret, options.state) }),
      ...(await ensureRecordKeys(idempotency?.keys ?? [], options.state)),
      ...overrides,
      ...developmentVariables(vars, samples, {
        certificate: await readFile(pki.ca.certificatePath, "utf8"),
        crlUrl: crlServer.url,
      }),
      // The Worker stands behind this edge and no other: it believes nothing that the key does not cover.
      PLATFORM: undefined,
      EDGE_KEY: assertionKey.toString("hex"),
    })
    const worker = await startWorkerProcess({
      configFile: file,
      environment: options.environment,
      overrides: await overridesOf(environment.vars, config),
      stateDirectory: join(resolve(options.state), `worker-${options.port}`),
      onConsole: ({ level, message }) => {
        // Events arrive by the sink; what is left is for people.
        if (!message.startsWith('{"timestamp"'))
          options.onNotice({ level: level === "error" ? "error" : "info", text: message })
      },
      onRestart: () =>
        options.onNotice({ level: "warn", text: "workerd died and was started again; stored state is intact" }),
    })
    closers.push(async () => {
      // The events of the last requests wait up to log_flush in the isolate; their queue and sink get a moment more.
      await delay(config.flushMs + QUEUE_MOMENT_MS)
      await worker.close()
    })
    const edge = await startEdge({
      port: options.port,
      ...(await readMaterial(pki, config)),
      worker: { hostname: worker.hostname, port: worker.port },
      assertionKey,
      onEvent: (event) => noticeOf(event).forEach(options.onNotice),
    })
    closers.push(() => edge.close())
    edgePort = edge.port
    const reload = async (overrides = options.overrides): Promise<void> => {
      const fresh = read(overrides)
      // A new client gets its certificate, a new host its name in the server's.
      const freshPki = await ensureDevelopmentPki(fresh.environment, servedHosts(fresh.config), options.state)
      const material = await readMaterial(freshPki, fresh.config)
      await worker.reload(await overridesOf(fresh.environment.vars, fresh.config, overrides))
      edge.reload(material)
      proof.use(fresh.config)
      await worker.trigger()
    }
    const takeList = async (): Promise<void> => {
      edge.reload({ crls: [await readFile(pki.crlPath, "utf8")] })
      await worker.trigger()
    }
    await worker.trigger()
    const duties = setInterval(() => void worker.trigger().catch(() => {}), DUTIES_PERIOD_MS)
    closers.push(async () => clearInterval(duties))
    if (options.watches) {
      const watchers = [
        ...watchSources(file, reload, options.onNotice),
        watchList(pki.crlPath, takeList, options.onNotice),
      ]
      closers.push(async () => watchers.forEach((watcher) => watcher.close()))
    }
    const [host = "localhost"] = config.hosts
    const [adminHost = ""] = config.admin?.hosts ?? []
    const adminSecret = config.admin?.tokenSecret
    return {
      url: `https://${host}:${edge.port}`,
      port: edge.port,
      config,
      pki,
      worker,
      bankUrl: samples.bankUrl,
      issuerUrl: samples.issuerUrl,
      sinkUrl: samples.sink?.eventsUrl,
      admin:
        adminSecret === undefined
          ? undefined
          : {
              metricsUrl: `https://${adminHost}:${edge.port}/metrics`,
              tokenPath: adminTokenPath(adminSecret, options.state),
            },
      trailFile: samples.sink && trailFile,
      reload,
      stopBank: samples.stopBank,
      stopSink: samples.stopSink,
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** Fails early and in words when somebody else listens on the port. */
async function refuseTakenPort(port: number): Promise<void> {
  const probe = createServer()
  await new Promise<void>((done, fail) => {
    probe.once("error", fail)
    probe.listen(port, LOOPBACK, () => probe.close(() => done()))
  }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "EADDRINUSE")
      throw new UsageError(
        `Port ${port} is taken: something else listens there, perhaps another gateway.\nChoose another one: npm start -- --port ${port > 64_535 ? port - 1_000 : port + 1_000}`,
      )
    if (error.code === "EACCES")
      throw new UsageError(`Port ${port} needs privileges. Choose one above 1023: npm start -- --port 8443`)
    throw error
  })
}

/** What the edge proves itself with, whom it believes and what it serves. */
async function readMaterial(pki: Pki, config: Config): Promise<EdgeMaterial> {
  return {
    certificate: await readFile(pki.server.certificatePath, "utf8"),
    privateKey: await readFile(pki.server.keyPath, "utf8"),
    clientCas: await readFile(pki.ca.certificatePath, "utf8"),
    crls: [await readFile(pki.crlPath, "utf8")],
    hosts: [...servedHosts(config)],
    adminHosts: [...(config.admin?.hosts ?? [])],
  }
}

/** The hosts of clients and those of administrators: who may do what there the Worker says. */
function servedHosts({ admin, hosts }: Config): ReadonlySet<string> {
  return new Set([...hosts, ...(admin?.hosts ?? [])])
}

/**
 * The Worker's entry: reads the configuration, hands requests to the pipeline or the admin room, queue batches to the sinks, and cron triggers to
 * the duties.
 *
 * An invalid configuration throws while the module loads, so that neither a deployment nor a local start gets past it.
 */
import { env as environment } from "cloudflare:workers"
import { AuditTrailObject } from "../durable-objects/audit-trail.ts"
import { createEmbeddedDirectory } from "./client-directory.ts"
import { loadConfig, type ConfigError } from "./config/load.ts"
import type { MetricsRecorder } from "./context.ts"
import { createFront } from "./front.ts"
import { createAssertionKeys } from "./keys/assertion-keys.ts"
import { createRecordKeys } from "./keys/record-keys.ts"
import { createMetrics } from "./observe/metrics.ts"
import { deliverBatch } from "./observe/sink.ts"
import { createOriginHealth } from "./origin/origin-health.ts"
import { resolveTrust } from "./platform.ts"
import { runDuties } from "./scheduled.ts"
import type { SinkEndpoint } from "./sinks/post.ts"

export { ClientGate } from "../durable-objects/client-gate.ts"
export { IdempotencyLedger } from "../durable-objects/idempotency-ledger.ts"
export { Metrics } from "../durable-objects/metrics.ts"
export { RevocationList } from "../durable-objects/revocation-list.ts"

const loaded = loadConfig({ ...environment })
if (!loaded.ok)
  throw new Error(
    `Configuration invalid; "npx sekisho check" explains it:\n${loaded.errors.map(formatError).join("\n")}`,
  )
const { config } = loaded
const auditSinks = config.sinks.filter(({ takes }) => takes.has("audit"))

/** Trails go to the sinks of the version that runs: no object stores where to, so none delivers to a place that is withdrawn. */
export class AuditTrail extends AuditTrailObject {
  protected override get sinks(): readonly SinkEndpoint[] {
    return auditSinks
  }
}

const directory = createEmbeddedDirectory(config)
const nowMs = (): number => Date.now()
const fillRandom = (octets: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> => crypto.getRandomValues(octets)
const originHealth = createOriginHealth(() => Math.random())
// Shared by requests and by batches of the queue: both run in this isolate.
const metrics = createMetrics({ config, fillRandom, nowMs, originHealth })
const answer = createFront({
  config,
  trust: resolveTrust(environment),
  nowMs,
  fillRandom,
  originHealth,
  directory,
  metrics,
  assertionKeys: config.assertion && createAssertionKeys(config.assertion, { ...environment }),
  recordKeys: config.idempotency && createRecordKeys(config.idempotency, { ...environment }),
})

export default {
  fetch: answer,
  queue: async (batch, env) => {
    let hasFailed = false
    const counter: Pick<MetricsRecorder, "add"> = {
      add(...counted) {
        hasFailed = true
        metrics.add(...counted)
      },
    }
    await deliverBatch(batch, config, { ...env }, counter)
    // Here and now: what a batch leaves for later keeps the next one waiting.
    if (hasFailed) await metrics.report(env.METRICS)
  },
  scheduled: ({ scheduledTime }, env) => runDuties({ config, directory, scheduledMs: scheduledTime }, env),
} satisfies ExportedHandler<Env>

function formatError({ path, value, accepted }: ConfigError): string {
  return `  ${path}${value === undefined ? "" : ` = ${value}`}: expected ${accepted}`
}

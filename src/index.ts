/**
 * The Worker's entry: reads the configuration, hands requests to the pipeline or the admin room, queue batches to the sinks, and cron triggers to
 * the duties.
 *
 * An invalid configuration throws while the module loads, so that neither a deployment nor a local start gets past it.
 */
import { env as environment, tracing } from "cloudflare:workers"
import { AuditTrailObject } from "../durable-objects/audit-trail.ts"
import { createEmbeddedDirectory } from "./client-directory.ts"
import { loadConfig, type ConfigError } from "./config/load.ts"
import type { PlatformSpan } from "./context.ts"
import type { AlertCode } from "./core/record/alert.ts"
import { redactText } from "./core/record/redaction.ts"
import { createFront } from "./front.ts"
import { createAssertionKeys } from "./keys/assertion-keys.ts"
import { createRecordKeys } from "./keys/record-keys.ts"
import { createMetrics } from "./observe/metrics.ts"
import { createSinkDelivery } from "./observe/sink.ts"
import { createOriginHealth } from "./origin/origin-health.ts"
import { resolveTrust } from "./platform.ts"
import { runDuties } from "./scheduled.ts"
import type { SinkEndpoint } from "./sinks/post.ts"

export { ClientGate } from "../durable-objects/client-gate.ts"
export { IdempotencyLedger } from "../durable-objects/idempotency-ledger.ts"
export { Metrics } from "../durable-objects/metrics.ts"
export { RevocationList } from "../durable-objects/revocation-list.ts"

const CONFIG_REJECTED: AlertCode = "config-rejected"
const loaded = loadConfig({ ...environment })
if (!loaded.ok) {
  // Nothing else of this version will ever write: the console is all there is.
  console.error(
    JSON.stringify({
      level: "error",
      event: "config.rejected",
      alert: CONFIG_REJECTED,
      reason: placesOf(loaded.errors),
    }),
  )
  throw new Error(
    `Configuration invalid; "npx sekisho check" explains it:\n${loaded.errors.map(formatError).join("\n")}`,
  )
}
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
  platformSpan,
  assertionKeys: config.assertion && createAssertionKeys(config.assertion, { ...environment }),
  recordKeys: config.idempotency && createRecordKeys(config.idempotency, { ...environment }),
})

const deliverBatch = createSinkDelivery(config, nowMs, metrics)

export default {
  fetch: answer,
  queue: (batch, env) => deliverBatch(batch, { queue: env.EVENTS, metrics: env.METRICS, secrets: { ...env } }),
  scheduled: ({ scheduledTime }, env) => runDuties({ config, directory, scheduledMs: scheduledTime }, env),
} satisfies ExportedHandler<Env>

/** The types promise it; a runtime that is older than they are has none. */
function platformSpan(): PlatformSpan | undefined {
  const active = (tracing as Partial<Tracing> | undefined)?.getActiveSpan?.()
  return active?.isTraced === true
    ? { setAttributes: (attributes) => void active.setAttributes({ ...attributes }) }
    : undefined
}

/** Where the errors are; values stay out of records. */
function placesOf(errors: readonly ConfigError[]): string {
  return redactText(errors.map(({ path }) => path).join(" "))
}

function formatError({ path, value, accepted }: ConfigError): string {
  return `  ${path}${value === undefined ? "" : ` = ${value}`}: expected ${accepted}`
}

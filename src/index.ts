/**
 * The Worker's entry: reads the configuration, hands requests to the pipeline, queue batches to the sinks, and cron triggers to
 * the duties.
 *
 * An invalid configuration throws while the module loads, so that neither a deployment nor a local start gets past it.
 */
import { env as environment } from "cloudflare:workers"
import { createEmbeddedDirectory } from "./client-directory.ts"
import { loadConfig, type ConfigError } from "./config/load.ts"
import { createApplication } from "./gateway.ts"
import { createAssertionKeys } from "./keys/assertion-keys.ts"
import { createRecordKeys } from "./keys/record-keys.ts"
import { deliverBatch } from "./observe/sink.ts"
import { createOriginHealth } from "./origin/origin-health.ts"
import { resolveTrust } from "./platform.ts"
import { runDuties } from "./scheduled.ts"

export { ClientGate } from "../durable-objects/client-gate.ts"
export { IdempotencyLedger } from "../durable-objects/idempotency-ledger.ts"
export { RevocationList } from "../durable-objects/revocation-list.ts"

const loaded = loadConfig({ ...environment })
if (!loaded.ok)
  throw new Error(
    `Configuration invalid; "npx sekisho check" explains it:\n${loaded.errors.map(formatError).join("\n")}`,
  )
const { config } = loaded

const directory = createEmbeddedDirectory(config)
const application = createApplication({
  config,
  trust: resolveTrust(environment),
  nowMs: () => Date.now(),
  fillRandom: (octets) => crypto.getRandomValues(octets),
  originHealth: createOriginHealth(() => Math.random()),
  directory,
  assertionKeys: config.assertion && createAssertionKeys(config.assertion, { ...environment }),
  recordKeys: config.idempotency && createRecordKeys(config.idempotency, { ...environment }),
})

export default {
  fetch: (request, env, ctx) => application.fetch(request, env, ctx),
  queue: (batch, env) => deliverBatch(batch, config, { ...env }),
  scheduled: ({ scheduledTime }, env) => runDuties({ config, directory, scheduledMs: scheduledTime }, env),
} satisfies ExportedHandler<Env>

function formatError({ path, value, accepted }: ConfigError): string {
  return `  ${path}${value === undefined ? "" : ` = ${value}`}: expected ${accepted}`
}

/**
 * The Worker's entry: reads the configuration, hands requests to the pipeline, queue batches to the sinks, and cron triggers to
 * the duties.
 *
 * An invalid configuration throws while the module loads, so that neither a deployment nor a local start gets past it.
 */
import { env as environment, tracing } from "cloudflare:workers"
import { createEmbeddedDirectory } from "./client-directory.ts"
import { loadConfig, type ConfigError } from "./config/load.ts"
import type { AlertCode } from "./core/alert.ts"
import { redactText } from "./core/redaction.ts"
import type { PlatformSpan } from "./context.ts"
import { createApplication } from "./gateway.ts"
import { createAssertionKeys } from "./keys/assertion-keys.ts"
import { createSinkDelivery } from "./observe/sink.ts"
import { createOriginHealth } from "./origin/origin-health.ts"
import { resolveTrust } from "./platform.ts"
import { runDuties } from "./scheduled.ts"

export { ClientGate } from "../durable-objects/client-gate.ts"
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

const directory = createEmbeddedDirectory(config)
const application = createApplication({
  config,
  trust: resolveTrust(environment),
  nowMs: () => Date.now(),
  fillRandom: (octets) => crypto.getRandomValues(octets),
  originHealth: createOriginHealth(() => Math.random()),
  directory,
  platformSpan,
  assertionKeys: config.assertion && createAssertionKeys(config.assertion, { ...environment }),
})

const deliverBatch = createSinkDelivery(config, () => Date.now())

export default {
  fetch: (request, env, ctx) => application.fetch(request, env, ctx),
  queue: (batch, env) => deliverBatch(batch, { queue: env.EVENTS, secrets: { ...env } }),
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

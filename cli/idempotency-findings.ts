/**
 * What a valid configuration still gets wrong about idempotency keys. Pure; a part of `cli/findings.ts`.
 */
import type { Config } from "../src/config/config.ts"
import { error, warning, type Finding } from "./finding.ts"
import type { WranglerEnvironment } from "./wrangler-file.ts"

/** Returns what routes with keys lack. */
export function checkIdempotency(
  { objectBindings, sqliteClasses }: WranglerEnvironment,
  { idempotency, routes }: Config,
): readonly Finding[] {
  const keyed = routes.filter(({ action }) => action.kind === "forward" && action.idempotency !== undefined)
  if (keyed.length === 0) {
    if (idempotency === undefined) return []
    return [warning("GATEWAY.idempotency", "has no effect: no route has idempotency, so no key counts")]
  }
  const findings: Finding[] = []
  if (!objectBindings.some(({ name, class_name: c }) => name === "IDEMPOTENCY_LEDGER" && c === "IdempotencyLedger")) {
    const text =
      'lacks { name = "IDEMPOTENCY_LEDGER", class_name = "IdempotencyLedger" }: every request with an idempotency key'
    findings.push(error("durable_objects.bindings", `${text} would be refused with 503`))
  }
  if (!sqliteClasses.includes("IdempotencyLedger"))
    findings.push(error("migrations", 'lacks new_sqlite_classes = ["IdempotencyLedger"], in a tag of its own'))
  return findings
}

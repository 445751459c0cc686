/**
 * Sinks, and what each of them takes. Pure; called by `config/load.ts`.
 */
import type { Sink, SinkContentKind } from "./config.ts"
import type { Report } from "./report.ts"
import type { Parsed } from "./schema.ts"

const EVENTS: readonly SinkContentKind[] = ["events"]

/** Returns the sinks; what contradicts itself is reported. */
export function resolveSinks(
  parsed: readonly (readonly [place: string, sink: Parsed<"SINK">])[],
  report: Report,
): readonly Sink[] {
  return parsed.map(([place, { authorization_secret: authorizationSecret, kind, takes = EVENTS, url }]) => {
    if (takes.includes("audit") && kind !== "ndjson") {
      // A verifier reads lines as they were hashed; inside another format they would be something else.
      report(`${place}.takes`, takes, 'no "audit" unless kind = "ndjson": a trail is delivered line by line')
    }
    return { kind, url, takes: new Set(takes), authorizationSecret }
  })
}

/** Returns whether any item of the variables of sinks is meant to take audit trails, whatever else is wrong with it. */
export function namesAuditSink(variables: Iterable<unknown>): boolean {
  return [...variables].flat().some((item) => {
    const takes = (item as { readonly takes?: unknown } | null | undefined)?.takes
    return Array.isArray(takes) && takes.includes("audit")
  })
}

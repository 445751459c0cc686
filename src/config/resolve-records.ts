/**
 * Sinks with what they take, and nothing that contradicts itself. Pure; called by `config/load.ts`.
 */
import { sinkId } from "../core/record/sink-record.ts"
import type { Sink } from "./config.ts"
import type { Report } from "./report.ts"
import type { Parsed } from "./schema.ts"

/** Returns the sinks in their order; what contradicts itself or another sink is reported. */
export function resolveSinks(
  parsed: readonly (readonly [place: string, sink: Parsed<"SINK">])[],
  report: Report,
): readonly Sink[] {
  const placeOf = new Map<string, string>()
  return parsed.map(([place, parts]) => {
    const sink = resolveSink(place, parts, report)
    const taken = placeOf.get(sinkId(sink))
    // It would get every record twice, and what is left for one of the two could not be told apart.
    if (taken !== undefined)
      report(`${place}.url`, sink.url, `a url that no other ${sink.kind} sink has; ${taken} has it`)
    placeOf.set(sinkId(sink), place)
    return sink
  })
}

function resolveSink(place: string, parts: Parsed<"SINK">, report: Report): Sink {
  const {
    header_secrets: headerSecrets = new Map<string, string>(),
    kind,
    takes = ["events"],
    // Who keeps trails keeps octets as they come, and may not look at how they are encoded.
    gzip = !takes.includes("audit"),
    url,
  } = parts
  if (takes.includes("traces")) {
    if (kind !== "otlp") report(`${place}.takes`, takes, 'no "traces" but with kind = "otlp": no other kind has spans')
    else if (takes.length > 1)
      report(`${place}.takes`, takes, '["traces"] alone: OTLP has a URL of its own for them, and so a sink of its own')
  }
  if (takes.includes("audit") && kind !== "ndjson") {
    // A verifier reads lines as they were hashed; inside another format they would be something else.
    report(`${place}.takes`, takes, 'no "audit" unless kind = "ndjson": a trail is delivered line by line')
  }
  return {
    kind,
    url,
    authorizationSecret: parts.authorization_secret,
    headerSecrets: [...headerSecrets],
    takes: new Set(takes),
    isCompressed: gzip,
  }
}

/** Returns whether any item of the variables of sinks is meant to take audit trails, whatever else is wrong with it. */
export function namesAuditSink(variables: Iterable<unknown>): boolean {
  return [...variables].flat().some((item) => {
    const takes = (item as { readonly takes?: unknown } | null | undefined)?.takes
    return Array.isArray(takes) && takes.includes("audit")
  })
}

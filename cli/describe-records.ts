/**
 * Sinks and what of a route is on the record, in the words of a table for people. Pure.
 */
import type { Route, Sink } from "../src/config/config.ts"

/** Returns the cells of a sink: kind, URL, what it takes, whether bodies are compressed, where its credentials are. */
export function describeSink(sink: Sink): readonly string[] {
  const { authorizationSecret, headerSecrets, isCompressed, kind, takes, url } = sink
  const secrets = [
    ...(authorizationSecret === undefined ? [] : [`secret ${authorizationSecret}`]),
    ...headerSecrets.map(([field, secret]) => `${field} from secret ${secret}`),
  ]
  return [kind, url, [...takes].join(", "), isCompressed ? "gzip" : "as they are", secrets.join(", ") || "none"]
}

/** Returns which of a route's events are on the record, to be put behind what it does; nothing where all are. */
export function describeLog({ level, sampleRatio }: Route["log"]): string {
  const share =
    sampleRatio === 1
      ? ""
      : sampleRatio === 0
        ? ", logs refusals only"
        : `, logs ${sampleRatio * 100} % and all refusals`
  return share + (level === "info" || sampleRatio === 0 ? "" : `, as ${level}`)
}

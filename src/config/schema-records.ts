/**
 * What values about records accept: which of them a sink takes, where its credentials are, what of a route is on the record, and
 * how many traces are exported. Used by `config/schema.ts`.
 */
import * as v from "valibot"
import { LOG_ALL, type RouteLog } from "../core/record/sampling.ts"
import { isJsonObject } from "../core/untrusted.ts"
import { isSecretName } from "./schema-names.ts"
import type { Schema } from "./schema-parts.ts"
import { list, oneOf, table, textEntries, value } from "./schema-parts.ts"

/** What a sink may take. */
export const TAKES = ["events", "traces", "audit"] as const

/** Value of `SINKS.takes`. */
export const sinkTakes = list(
  'a list of what it takes, out of "events", "traces" and "audit", such as ["events"]',
  oneOf(...TAKES),
)

/** Field names that the gateway sets itself, or that frame the message. */
const OWN_FIELDS: ReadonlySet<string> = new Set([
  "authorization",
  "connection",
  "content-encoding",
  "content-length",
  "content-type",
  "expect",
  "host",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
])

/** Value of `SINKS.header_secrets`: fields, and the secrets that hold their values. */
export const headerSecrets: Schema<ReadonlyMap<string, string>> = value(
  'a table of at most 8 field names in lower case and names of Worker secrets that hold their values, such as { "x-api-key" = "SINK_API_KEY" }; authorization_secret is for Authorization',
  (input) => {
    const entries = textEntries(input)
    const isGood = entries?.every(
      ([field, secret]) => /^[a-z0-9][a-z0-9-]{0,63}$/.test(field) && !OWN_FIELDS.has(field) && isSecretName(secret),
    )
    return entries !== undefined && isGood === true && entries.length > 0 && entries.length <= 8
      ? new Map(entries)
      : undefined
  },
)

/** A share from 0 to 1. */
const ratio = (): Schema<number> =>
  value("a number from 0 to 1, such as 0.1", (input) =>
    typeof input === "number" && input >= 0 && input <= 1 ? input : undefined,
  )

const LOG_ACCEPTS =
  '"all", "refusals", or a table such as { sample = 0.1, level = "debug" } (sample from 0 to 1, level "info" or "debug", of requests that went well)'

/** Value of `ROUTES.log`. */
export const routeLog = value(LOG_ACCEPTS, (input): RouteLog | undefined => {
  if (input === "all") return LOG_ALL
  if (input === "refusals") return { sampleRatio: 0, level: "info" }
  if (!isJsonObject(input) || !Object.keys(input).every((key) => key === "sample" || key === "level")) return undefined
  const { sample = 1, level = "info" } = input
  if (typeof sample !== "number" || !(sample >= 0 && sample <= 1)) return undefined
  return level === "info" || level === "debug" ? { sampleRatio: sample, level } : undefined
})

/** Value of `GATEWAY.traces`. */
export const traces = table("traces", { ratio: v.exactOptional(ratio()) })

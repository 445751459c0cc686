/**
 * What an operator writes about origins beside their URL: several URLs, what fetches, retries and the breaker. Parts of
 * `config/schema.ts`.
 */
import * as v from "valibot"
import { GUARD_FAILURES_MAX, ORIGIN_URLS_MAX, ORIGIN_WEIGHT_MAX } from "../core/bounds.ts"
import type { BaseUrl } from "./schema-names.ts"
import { flag, integer, table, text, value, type Schema } from "./schema-parts.ts"

const BINDING = /^[A-Z][A-Z0-9_]{0,63}$/
/** Names that the gateway itself gives a meaning. */
const OWN_BINDINGS: ReadonlySet<string> = new Set([
  "CLIENT_GATE",
  "REVOCATION_LIST",
  "METRICS",
  "IP_LIMIT",
  "EVENTS",
  "PLATFORM",
  "EDGE_KEY",
])

/** Name of a binding that has `fetch`. */
export const originBinding = text(
  'the name of a service, mTLS certificate or VPC service binding, such as "BANK" (capital letters, digits, underscores)',
  (input) => {
    if (!BINDING.test(input)) return undefined
    return OWN_BINDINGS.has(input) ? { refused: `a binding of your own: "${input}" is the gateway's` } : input
  },
)

/** One URL among several. */
export const originUrls = (url: Schema<BaseUrl>) => {
  const accepts = `1 to ${ORIGIN_URLS_MAX} tables such as { url = "https://core.bank.example", weight = 1, backup = false }`
  const item = table("a URL of an origin", {
    url,
    weight: v.exactOptional(integer(1, ORIGIN_WEIGHT_MAX)),
    backup: v.exactOptional(flag()),
  })
  return v.pipe(v.array(item, accepts), v.minLength(1, accepts), v.maxLength(ORIGIN_URLS_MAX, accepts))
}

/** Statuses after which a request is sent again: those that say that it was not the origin itself. */
export const retryStatuses = value("a list of statuses out of 502, 503 and 504", (input) =>
  Array.isArray(input) && input.every((status): status is number => RETRY_STATUSES.has(status)) ? input : undefined,
)
const RETRY_STATUSES: ReadonlySet<unknown> = new Set([502, 503, 504])

/** When a URL is skipped; false for never. */
export const originBreaker = (duration: Schema<number>) => {
  const terms = table("a breaker", {
    failures: v.exactOptional(integer(1, GUARD_FAILURES_MAX)),
    window: v.exactOptional(duration),
    open: v.exactOptional(duration),
  })
  const off = value('false, or a table such as { failures = 5, window = "10s", open = "10s" }', (input) =>
    input === false ? NO_BREAKER : undefined,
  )
  // Not a union: that would say of a table only that it is none, and not what is wrong in it.
  return v.lazy((input) => (typeof input === "object" && input !== null ? terms : off))
}
const NO_BREAKER = false as const

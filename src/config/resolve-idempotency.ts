/**
 * What a route says about idempotency keys, with its defaults, or what contradicts it: a key that nothing reads is a protection
 * that somebody believes in. Pure; called by `config/load.ts` and `config/resolve-routes.ts`.
 */
import { IDEMPOTENCY_TTL_MS_DEFAULT, RECORD_KEYS_MAX } from "../core/bounds.ts"
import { isRequestFieldForwarded } from "../core/message/forwarding.ts"
import { isSafeMethod } from "../core/idempotency/idempotency-key.ts"
import { METHODS } from "../core/route/route.ts"
import type { IdempotencyTerms, RouteIdempotency } from "./config.ts"
import type { Report } from "./report.ts"
import type { Parsed } from "./schema.ts"

/** What `GATEWAY.idempotency` has to say before a route can have keys, in words. */
const IDEMPOTENCY_NEEDED = 'GATEWAY.idempotency = { keys = ["IDEMPOTENCY_KEY"] }'

/** The field of the draft. */
const FIELD = "idempotency-key"

/** Fields that mean something else already, first letters of families among them. */
const TAKEN =
  /^(?:accept|authorization|cache-control|content-|cookie|date|from|host|if-|origin|range|referer|user-agent)/

/** Returns the terms of the gateway; undefined when it says nothing about keys. */
export function resolveIdempotencyTerms(
  idempotency: Parsed<"GATEWAY">["idempotency"],
  report: Report,
): IdempotencyTerms | undefined {
  if (idempotency === undefined) return undefined
  const { keys, ttl: ttlMs = IDEMPOTENCY_TTL_MS_DEFAULT } = idempotency
  if (keys.length > RECORD_KEYS_MAX)
    report(
      "GATEWAY.idempotency.keys",
      keys,
      `at most ${RECORD_KEYS_MAX} names: each is looked under with every request`,
    )
  for (const [index, name] of keys.entries())
    if (keys.indexOf(name) < index)
      report(`GATEWAY.idempotency.keys[${index}]`, name, "a name that is not in the list already")
  return { keys, ttlMs }
}

/** Returns what the route says; undefined when it says nothing. `ttlMs` is the gateway's, undefined when it has no keys. */
export function resolveRouteIdempotency(
  place: string,
  { idempotency, methods = METHODS, origin }: Parsed<"ROUTE">,
  ttlMs: number | undefined,
  report: Report,
): RouteIdempotency | undefined {
  if (idempotency === undefined) return undefined
  const at = `${place}.idempotency`
  const terms: Exclude<typeof idempotency, string> =
    typeof idempotency === "string" ? { required: idempotency === "required" } : idempotency
  if (origin === undefined) report(at, idempotency, "no idempotency on a route that forwards nothing")
  if (ttlMs === undefined)
    report(
      at,
      idempotency,
      `no idempotency without ${IDEMPOTENCY_NEEDED}, which names the secrets that protect records`,
    )
  if (methods.every(isSafeMethod))
    report(at, idempotency, "no idempotency on a route whose methods change nothing: keys count for the others only")
  const field = terms.header ?? FIELD
  // What the gateway takes away or sets itself is not the caller's to choose.
  if (!isRequestFieldForwarded(field, new Set(), undefined) || TAKEN.test(field))
    report(`${at}.header`, field, 'a field for keys, such as "idempotency-key" or "x-idempotency-key"')
  return {
    isRequired: terms.required ?? true,
    field,
    isUnquoted: terms.unquoted ?? false,
    ttlMs: terms.ttl ?? ttlMs ?? IDEMPOTENCY_TTL_MS_DEFAULT,
    isOriginIdempotent: terms.origin_idempotent ?? false,
  }
}

/**
 * What an operator writes about idempotency keys: on the gateway and on a route. Parts of `config/schema.ts`.
 */
import * as v from "valibot"
import { IDEMPOTENCY_TTL_MS_MAX, IDEMPOTENCY_TTL_MS_MIN, RECORD_KEYS_MAX } from "../core/bounds.ts"
import { duration, headerName } from "./schema-names.ts"
import { flag, list, table, value, type Schema } from "./schema-parts.ts"

const ttl = duration(IDEMPOTENCY_TTL_MS_MIN, IDEMPOTENCY_TTL_MS_MAX, "24h")

/** `GATEWAY.idempotency`. `secretName` takes the name of a Worker secret. */
export const gatewayIdempotency = (secretName: Schema<string>) =>
  table("idempotency", {
    keys: list(
      `a list of 1 to ${RECORD_KEYS_MAX} names of Worker secrets that hold symmetric JWKs, such as ["IDEMPOTENCY_KEY"]`,
      secretName,
    ),
    ttl: v.exactOptional(ttl),
  })

const WORDS = ["required", "optional"] as const

const word = value(`"required", "optional", or a table`, (input) => WORDS.find((known) => known === input))

/** `ROUTES.idempotency`: a word means the table with its defaults. */
export const routeIdempotency = v.union(
  [
    word,
    table("idempotency", {
      required: v.exactOptional(flag()),
      header: v.exactOptional(headerName),
      unquoted: v.exactOptional(flag()),
      ttl: v.exactOptional(ttl),
      origin_idempotent: v.exactOptional(flag()),
    }),
  ],
  '"required", "optional", or a table such as { required = true, header = "x-idempotency-key", unquoted = true, ttl = "24h", origin_idempotent = false } (ttl from 10m to 30d)',
)

/**
 * What an operator writes about the messages that a route forwards: sizes, fields, web origins, redirects. Parts of
 * `config/schema.ts`.
 */
import * as v from "valibot"
import { BODY_LIMIT_BYTES_MAX, CORS_MAX_AGE_SECONDS_MAX } from "../core/bounds.ts"
import { parseWebOrigin } from "../core/message/cors.ts"
import { METHODS } from "../core/route/route.ts"
import { parseSizeBytes } from "../core/size.ts"
import { duration, headerName, method } from "./schema-names.ts"
import { flag, list, oneOf, table, text, textEntries, value } from "./schema-parts.ts"

const size = text(
  `a size from 0B to ${BODY_LIMIT_BYTES_MAX} octets, such as "1MiB" (units B, KiB, MiB, GiB)`,
  (input) => {
    const bytes = parseSizeBytes(input)
    return bytes !== undefined && bytes <= BODY_LIMIT_BYTES_MAX ? bytes : undefined
  },
)

/** Names and values are judged where they are resolved, one by one. */
const fieldValues = value('a table of field names in lower case and texts, such as { "x-env" = "prod" }', textEntries)
const fieldRules = table("field rules", {
  set: v.exactOptional(fieldValues),
  remove: v.exactOptional(list("header field names", headerName, 0)),
})

const webOrigin = text(
  'a web origin in lower case without default port and path, such as "https://app.bank.example" (no "*", no "null")',
  parseWebOrigin,
)
const cors = table("cors", {
  origins: list('at least one web origin, such as ["https://app.bank.example"]', webOrigin),
  methods: v.exactOptional(list(`at least one of ${METHODS.join(", ")}`, method)),
  headers: v.exactOptional(list("header field names", headerName, 0)),
  expose: v.exactOptional(list("header field names", headerName, 0)),
  max_age: v.exactOptional(duration(0, CORS_MAX_AGE_SECONDS_MAX * 1_000, "10m")),
  credentials: v.exactOptional(flag()),
})

/** Keys of a route, all of which mean something only where it forwards. */
export const messages = {
  max_request_bytes: v.exactOptional(size),
  max_response_bytes: v.exactOptional(size),
  request_headers: v.exactOptional(fieldRules),
  response_headers: v.exactOptional(fieldRules),
  security_headers: v.exactOptional(flag()),
  cors: v.exactOptional(cors),
  location: v.exactOptional(oneOf("rewrite", "pass")),
  location_allow: v.exactOptional(list("web origins", webOrigin, 0)),
}

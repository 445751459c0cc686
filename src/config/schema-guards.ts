/**
 * What an operator writes about guards: how blocks grow, whom failures count for, which answers are failures. Parts of
 * `config/schema.ts`.
 */
import * as v from "valibot"
import { FAILURE_STATUSES_MAX, GUARD_KEY_FIELD_LENGTH_MAX } from "../core/bounds.ts"
import { refuseKeyField } from "../core/guard/key-field.ts"
import { parseOutcomeRules } from "../core/guard/outcome.ts"
import { duration, HEADER_NAME } from "./schema-names.ts"
import { oneOf, table, text, value } from "./schema-parts.ts"

const YEAR_MS = 365 * 86_400_000

const ratio = value("a number from 0 to 1", (input) =>
  typeof input === "number" && input >= 0 && input <= 1 ? input : undefined,
)
const lineal = table("a lineal backoff", { kind: oneOf("lineal"), duration: duration(1, YEAR_MS, "5m") })
const exponential = table("an exponential backoff", {
  kind: oneOf("exponential"),
  min: duration(1, YEAR_MS, "1m"),
  max: duration(1, YEAR_MS, "1h"),
  random_factor: ratio,
  reset: v.exactOptional(
    v.union([oneOf("manual"), duration(0, YEAR_MS, "1h")], 'a duration such as "1h", or "manual"'),
  ),
})
/** How long blocks are. */
export const backoff = v.variant("kind", [lineal, exponential], 'a table with kind = "lineal" or kind = "exponential"')

/** What a guard tells callers apart by. */
export const guardKey = text(
  '"client", "address", or "header:" and a field name in lower case, such as "header:x-account-id"',
  (input) => {
    if (input === "client" || input === "address") return { kind: input } as const
    const name = input.slice("header:".length)
    if (!input.startsWith("header:") || name.length > GUARD_KEY_FIELD_LENGTH_MAX || !HEADER_NAME.test(name))
      return undefined
    const refused = refuseKeyField(name)
    return refused === undefined ? ({ kind: "header", name } as const) : { refused }
  },
)

/** Statuses of answers that are failures. */
export const failureStatuses = value(
  `a list of at most ${FAILURE_STATUSES_MAX} whole numbers from 200 to 499`,
  (input): readonly number[] | undefined => {
    const parsed = parseOutcomeRules({ failureStatuses: input })
    return parsed.ok ? parsed.rules.failureStatuses : undefined
  },
)

/** The field in which an origin says how a request ended. Becomes null where none is read. */
export const verdictHeader = value(
  'a field name of at most 64 letters, digits and hyphens, such as "guard-outcome", or false: none is read',
  (input): string | null | undefined => {
    if (input === false) return null
    const parsed = typeof input === "string" ? parseOutcomeRules({ verdictHeader: input }) : undefined
    return parsed?.ok === true ? parsed.rules.verdictHeader : undefined
  },
)

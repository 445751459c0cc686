/**
 * Which request fields a guard may count by: fields that name the thing whose guessing is counted, such as an account.
 *
 * A counter that a guesser can change at will counts nothing. So a field that never reaches the origin is refused, because
 * its value could be anything, and so is one that carries the credential itself or describes the message, because every
 * guess would then have a counter of its own. Pure and total. Called by the configuration.
 */
import { isRequestFieldForwarded } from "../message/forwarding.ts"

/** Fields that carry what is guessed, or differ from one request to the next without meaning another account. */
const UNFIT_FIELDS: ReadonlySet<string> = new Set([
  "api-key",
  "authorization",
  "cache-control",
  "cookie",
  "date",
  "dpop",
  "host",
  "idempotency-key",
  "origin",
  "pragma",
  "range",
  "referer",
  "set-cookie",
  "signature",
  "signature-input",
  "user-agent",
  "x-api-key",
  "x-auth-token",
  "x-csrf-token",
])

/** First letters of the families of the same kind. */
const UNFIT_FAMILIES: readonly string[] = ["accept", "content-", "if-", "sec-"]

/**
 * Returns what a guard may count by instead of this field, in words; undefined when it may count by it.
 *
 * @param name lower case
 */
export function refuseKeyField(name: string): string | undefined {
  if (!isRequestFieldForwarded(name, NOTHING_NOMINATED, undefined)) {
    return `a field that origins receive: the gateway removes or sets ${name} itself, so callers could write anything there`
  }
  if (UNFIT_FIELDS.has(name) || UNFIT_FAMILIES.some((family) => name.startsWith(family))) {
    return `a field that names an account or the like: ${name} may differ with every guess, and each would count alone`
  }
  return undefined
}
const NOTHING_NOMINATED: ReadonlySet<string> = new Set()

/**
 * The header fields that tell a client how its limits stand: RateLimit-Policy, RateLimit, RateLimit-Shadow, Retry-After,
 * and the X-RateLimit fields that older clients look for.
 *
 * The `client-gate` stage puts them on every answer that passed a limit. Pure and total: any status becomes a field
 * value that parses, because a malformed one would be dropped by the client as a whole.
 *
 * @see draft-ietf-httpapi-ratelimit-headers-10
 */
import { ceilDiv } from "./gcra.ts"
import type { PolicyStatus } from "./limit.ts"

/** Largest integer of a structured field. @see RFC 9651 §3.3.1 */
const FIELD_INTEGER_MAX = 999_999_999_999_999

/**
 * Returns the value of RateLimit-Policy, such as `"burst";q=10;w=5`, or undefined without policies: an empty list is
 * expressed by not sending the field (RFC 9651 §4.1).
 *
 * @see draft-ietf-httpapi-ratelimit-headers-10 §3
 */
export function formatRateLimitPolicy(
  policies: readonly Pick<PolicyStatus, "name" | "quota" | "windowSec">[],
): string | undefined {
  return formatList(
    policies.map(
      ({ name, quota, windowSec }) => `${formatString(name)};q=${formatInteger(quota)};w=${formatInteger(windowSec)}`,
    ),
  )
}

/**
 * Returns the value of RateLimit, such as `"burst";r=6;t=1`, or undefined without policies. `t` is the time until there
 * is more quota, in seconds and rounded up; a full limit has none.
 *
 * @see draft-ietf-httpapi-ratelimit-headers-10 §4
 */
export function formatRateLimit(
  policies: readonly Pick<PolicyStatus, "name" | "remaining" | "nextMs">[],
): string | undefined {
  return formatList(
    policies.map(({ name, remaining, nextMs }) => {
      const limit = `${formatString(name)};r=${formatInteger(remaining)}`
      return nextMs > 0 ? `${limit};t=${secondsOf(nextMs)}` : limit
    }),
  )
}

/**
 * Returns the value of RateLimit-Shadow, such as `"burst"`: the limits in shadow mode that would have refused. Undefined
 * when none would. A field of this gateway: the draft knows no shadow mode.
 */
export function formatRateLimitShadow(names: readonly string[]): string | undefined {
  return formatList(names.map(formatString))
}

/**
 * Returns the value of Retry-After in whole seconds: rounded up, so that a client that obeys is not refused again, and
 * at least 1, so that it never reads "at once".
 *
 * @see RFC 9110 §10.2.3
 */
export function formatRetryAfter(retryAfterMs: number): string {
  return secondsOf(retryAfterMs)
}

/**
 * Returns X-RateLimit-Limit, -Remaining and -Reset of the policy with the least remaining (the first of several), in this
 * order; an empty list without policies. For clients that cannot read a structured field: they see one limit, the one
 * that they will meet first.
 *
 * No standard defines these names, and gateways disagree about the last one: some write seconds from now, some an instant in
 * epoch seconds. Here it is whole seconds from now until there is more, rounded up, and 0 when the limit is full: what most
 * gateways mean, what `t` and Retry-After mean, and right for a client whose clock is wrong.
 */
export function formatLegacyFields(
  policies: readonly Pick<PolicyStatus, "quota" | "remaining" | "nextMs">[],
): readonly (readonly [name: string, value: string])[] {
  const [first, ...others] = policies
  if (first === undefined) return []
  const { quota, remaining, nextMs } = others.reduce(
    (least, other) => (other.remaining < least.remaining ? other : least),
    first,
  )
  return [
    ["X-RateLimit-Limit", formatInteger(quota)],
    ["X-RateLimit-Remaining", formatInteger(remaining)],
    ["X-RateLimit-Reset", nextMs > 0 ? secondsOf(nextMs) : "0"],
  ]
}

/** What stands in a structured-field string as it is. */
const PLAIN = /^[\x20-!#-[\]-~]*$/

function formatList(members: readonly string[]): string | undefined {
  return members.length === 0 ? undefined : members.join(", ")
}

/** A structured-field string. Configuration allows letters, digits and the like; anything else is made harmless. */
function formatString(text: string): string {
  if (PLAIN.test(text)) return `"${text}"`
  return `"${text.replaceAll(/[^\x20-\x7e]/g, "_").replaceAll(/["\\]/g, String.raw`\$&`)}"`
}

function formatInteger(value: number): string {
  return value > 0 ? String(Math.min(Math.floor(value), FIELD_INTEGER_MAX)) : "0"
}

function secondsOf(ms: number): string {
  return formatInteger(ms > 1000 ? ceilDiv(Math.min(ms, Number.MAX_SAFE_INTEGER), 1000) : 1)
}

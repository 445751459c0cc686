/**
 * The rule of the limit per address: what one limit counts, and what the answer of the counter means.
 *
 * The counter is a coarse first net and no proof of anything, so a counter that does not answer lets the request pass and
 * is reported; an address that cannot be read is counted all the same. Pure and total. Called by the `ip-limit` stage.
 */
import { limitPrefix, parseIpAddress } from "../message/ip-address.ts"

/** The key of every caller without a readable address: together they have the limit of one. */
export const UNKNOWN_ADDRESS_KEY = "unknown"

/** What became of the question to the counter. `answer` is untrusted. */
export type IpLimitAsked =
  | { readonly kind: "answered"; readonly answer: unknown }
  | { readonly kind: "failed" }
  | { readonly kind: "late" }

/** What to do with the request: `unavailable` passes too, and the event says so. */
export type IpLimitDecision = "pass" | "refuse" | "unavailable"

/**
 * Returns the key under which a caller is counted: the IPv4 address, or the /64 of an IPv6 address, in its one canonical
 * spelling. No address, several of them and anything that is not exactly one share {@link UNKNOWN_ADDRESS_KEY}.
 *
 * @param address value of the field in which the platform names the caller; null when there is none
 */
export function ipLimitKey(address: string | null): string {
  const parsed = address === null ? undefined : parseIpAddress(address)
  return parsed === undefined ? UNKNOWN_ADDRESS_KEY : limitPrefix(parsed)
}

/** Returns what to do. Only a clear no refuses; an answer without a clear yes or no is none. */
export function decideIpLimit(asked: IpLimitAsked): IpLimitDecision {
  if (asked.kind !== "answered") return "unavailable"
  const { answer } = asked
  if (typeof answer !== "object" || answer === null || !("success" in answer)) return "unavailable"
  if (answer.success === true) return "pass"
  return answer.success === false ? "refuse" : "unavailable"
}

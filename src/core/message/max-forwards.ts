/**
 * How many gateways a request may still pass. Only OPTIONS is judged: TRACE passes no route, and for every other method the
 * field has no meaning. Pure and total; called by the `origin` stage.
 *
 * @see RFC 9110 §7.6.2
 */

/** What the field asks for. */
export type MaxForwardsDecision =
  /** Nothing: it is not there or has no meaning. */
  | { readonly kind: "pass" }
  /** This gateway is the last recipient. */
  | { readonly kind: "answer" }
  /** The origin gets this value. */
  | { readonly kind: "forward"; readonly value: string }
  | { readonly kind: "malformed" }

/** Returns what Max-Forwards asks for. @param value of the field; null when there is none */
export function decideMaxForwards(method: string, value: string | null): MaxForwardsDecision {
  if (method !== "OPTIONS" || value === null) return { kind: "pass" }
  if (!/^[0-9]{1,9}$/.test(value)) return { kind: "malformed" }
  const hops = Number(value)
  return hops === 0 ? { kind: "answer" } : { kind: "forward", value: String(hops - 1) }
}

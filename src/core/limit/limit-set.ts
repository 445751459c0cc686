/**
 * Which limits one client meets on one route: the route's sets, with this client's own in their place.
 *
 * A *set* is what one table of the configuration allows: a bucket, a quota and a concurrency limit, as many of them as it
 * names. Pure; the `client-gate` stage asks once per route and client and keeps the answer.
 */
import type { NamedLimit } from "./limit.ts"

/** The limits of one table, at least one. Their names tell them apart from those of every other set. */
export interface LimitSet {
  readonly name: string
  readonly limits: readonly NamedLimit[]
}

/** How a client differs from the others. */
export interface ClientLimits {
  /** Sets of this client's own, by the name of the set that routes ask for. */
  readonly limitSets: ReadonlyMap<string, LimitSet>
  /** `shadow`: no limit refuses this client anything. */
  readonly mode: "enforce" | "shadow"
}

/**
 * Returns every limit that applies, in the order of the sets. A set is replaced once: what replaces it is not looked up
 * again. Two sets that become the same one apply once, so that a request is not counted in it twice.
 */
export function limitsFor(sets: readonly LimitSet[], client: ClientLimits): readonly NamedLimit[] {
  const effective = new Set(sets.map((set) => client.limitSets.get(set.name) ?? set))
  const limits = [...effective].flatMap((set) => set.limits)
  return client.mode === "shadow" ? limits.map((limit) => ({ ...limit, mode: "shadow" })) : limits
}

/**
 * Soft mode: what becomes of a client's limits while the origin of its route answers badly too often.
 *
 * Clients of an unhealthy origin repeat what it failed at, and 429s help nobody then. So limits go on counting and refuse
 * nothing; guards refuse as ever. Pure and total; called by the `client-gate` stage.
 */
import type { GateVerdict } from "./gate-verdict.ts"
import type { NamedLimit } from "../limit/limit.ts"

/** Returns the limits as they are asked about a request that they may not refuse: all of them in shadow mode. */
export function softenLimits(limits: readonly NamedLimit[]): readonly NamedLimit[] {
  return limits.map((limit) => ({ ...limit, mode: "shadow" }))
}

/**
 * Returns the verdict on such a request. What limits would have refused is named apart from what those that are in shadow mode
 * anyhow would have. A verdict by a lease, which refuses, is one that the request passes all the same.
 *
 * @param limits as they are configured
 */
export function softenVerdict(limits: readonly NamedLimit[], verdict: GateVerdict): GateVerdict {
  const { refusal, shadowed } = verdict
  if (refusal?.kind === "limit") return { ...verdict, refusal: undefined, softened: refusal.violated }
  const isShadow = (name: string): boolean => limits.some((limit) => limit.name === name && limit.mode === "shadow")
  return { ...verdict, shadowed: shadowed.filter(isShadow), softened: shadowed.filter((name) => !isShadow(name)) }
}

/**
 * What the gate says about one request, whoever decided it: the client's object for this request alone, or an isolate with
 * what it was lent. From here on nothing needs to know which. Pure and total; the `client-gate` stage acts on it.
 */
import type { AdmissionDecision } from "../limit/admission.ts"
import type { GateDecision, LeaseGrant } from "./client-gate.ts"
import type { GuardStanding } from "./gate-guards.ts"
import type { LeaseDenial } from "../lease/lease-holder.ts"
import { standingOf } from "../lease/lease-standing.ts"
import type { NamedLimit, PolicyStatus } from "../limit/limit.ts"

/** Why a request may not pass. `retryAfterMs` is null when no time can be told, or waiting does not help. */
export type GateRefusal =
  | {
      readonly kind: "limit"
      /** Names of all limits that refuse. */
      readonly violated: readonly string[]
      /** The kind of the limit that decides how long. */
      readonly refusedBy: NamedLimit["kind"]
      readonly retryAfterMs: number | null
      /** The state of a limit was lost, so it has nothing to give for a while. */
      readonly isLost: boolean
    }
  | {
      readonly kind: "blocked"
      readonly guard: string
      readonly reason: "open" | "inflight"
      readonly retryAfterMs: number | null
    }
  /** It is not known what the object says. */
  | { readonly kind: "unavailable"; readonly reason: string; readonly isOverloaded: boolean }
  /** The gateway asked for something that no client can answer for. */
  | { readonly kind: "fault"; readonly reason: string }

/** The decision on one request. */
export interface GateVerdict {
  /** `local`: by the isolate alone. `asked`: the object was asked for this request. */
  readonly decidedBy: "local" | "asked"
  /** Buckets and quotas as they are told to the client, those in shadow mode last. */
  readonly policies: readonly PolicyStatus[]
  /** Limits in shadow mode that would have refused. */
  readonly shadowed: readonly string[]
  /** Limits that would have refused, had the origin been healthy. */
  readonly softened: readonly string[]
  /** What outcomes of this request have to name, for each guard of the object that was asked. */
  readonly standings: readonly GuardStanding[]
  readonly refusal: GateRefusal | undefined
}

/** Returns the verdict of an object's decision. */
export function verdictOfDecision({ admission, block, standings }: GateDecision): GateVerdict {
  const { policies, shadowPolicies, shadowed } = admission
  return {
    decidedBy: "asked",
    policies: [...policies, ...shadowPolicies],
    shadowed,
    softened: [],
    standings,
    refusal: block === null ? refusalOf(admission) : { kind: "blocked", ...blockOf(block) },
  }
}

/** Returns the verdict when the object did not answer. @param failure what is known of why */
export function unavailableVerdict({
  reason,
  isOverloaded,
}: {
  readonly reason: string
  readonly isOverloaded: boolean
}): GateVerdict {
  return {
    decidedBy: "asked",
    policies: [],
    shadowed: [],
    softened: [],
    standings: [],
    refusal: { kind: "unavailable", reason, isOverloaded },
  }
}

/** What an isolate knows when it decides by a lease. */
export interface LeaseDecided {
  readonly decidedBy: GateVerdict["decidedBy"]
  /** The limits of the lease. */
  readonly limits: readonly NamedLimit[]
  /** The object's last answer; undefined when there was none yet. */
  readonly grant: LeaseGrant | undefined
  /** Ms since that answer, and this isolate's clock, epoch ms. */
  readonly elapsedMs: number
  readonly nowMs: number
  /** Tokens at hand after this request. */
  readonly tokens: number
  readonly cost: number
  /** Undefined for an admission. */
  readonly denial: LeaseDenial | undefined
  /** Why the object did not answer, for a denial that says so. */
  readonly failure: { readonly reason: string; readonly isOverloaded: boolean } | undefined
}

/** Returns the verdict of an isolate that holds a lease. */
export function verdictOfLease(decided: LeaseDecided): GateVerdict {
  const { decidedBy, grant, elapsedMs, nowMs, tokens, cost, denial } = decided
  const refusal = denial === undefined ? undefined : refusalOfDenial(denial, decided)
  const refused =
    refusal?.kind === "limit" ? { cost, violated: refusal.violated, retryAfterMs: refusal.retryAfterMs } : undefined
  return {
    decidedBy,
    policies: standingOf(grant?.policies ?? [], { elapsedMs, tokens, refused }),
    shadowed: [],
    softened: [],
    // Admitted here and now: the guard's clock may differ by a little, which it allows for.
    standings: (grant?.standings ?? []).map((standing) => ({ ...standing, admittedAtMs: nowMs })),
    refusal,
  }
}

/** Returns the policy that an operator would ask about first: the first that refused, else the one with the least left. */
export function decisivePolicy({
  policies,
  refusal,
}: GateVerdict): Pick<PolicyStatus, "name" | "remaining"> | undefined {
  const [refusing] = refusal?.kind === "limit" ? refusal.violated : []
  // One that refuses for want of a place is no policy with a number, and has nothing left.
  if (refusing !== undefined) return policies.find(({ name }) => name === refusing) ?? { name: refusing, remaining: 0 }
  return policies.toSorted((a, b) => a.remaining - b.remaining)[0]
}

function refusalOf(decision: AdmissionDecision): GateRefusal | undefined {
  if (decision.admitted) return undefined
  if (decision.reason === "invalid-request") return { kind: "fault", reason: "admission_invalid_request" }
  const { violated, refusedBy, retryAfterMs, lost } = decision
  return { kind: "limit", violated, refusedBy, retryAfterMs, isLost: lost.length > 0 }
}

function refusalOfDenial(
  { retryAfterMs, ...denial }: LeaseDenial,
  { grant, failure, limits }: LeaseDecided,
): GateRefusal {
  switch (denial.reason) {
    case "limit":
    case "too-large":
      return {
        kind: "limit",
        violated: denial.violated,
        refusedBy: longestOf(limits, denial.violated),
        retryAfterMs,
        isLost: grant?.isLost ?? false,
      }
    case "blocked":
      return { kind: "blocked", guard: grant?.block?.guard ?? "", reason: "open", retryAfterMs }
    case "unavailable":
      return { kind: "unavailable", ...(failure ?? { reason: "object_timeout", isOverloaded: false }) }
  }
}

/** A quota that is used up is out for longer than a bucket that is empty. */
function longestOf(limits: readonly NamedLimit[], violated: readonly string[]): NamedLimit["kind"] {
  return limits.some(({ kind, name }) => kind === "quota" && violated.includes(name)) ? "quota" : "bucket"
}

function blockOf({ guard, reason, retryAfterMs }: NonNullable<GateDecision["block"]>) {
  return { guard, reason, retryAfterMs }
}

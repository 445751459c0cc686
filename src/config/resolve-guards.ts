/**
 * Guards: one table becomes a guard that is complete, and what a guard could never count is an error. Pure; called by
 * `config/load.ts`.
 */
import { GUARD_PENDING_TTL_MS_DEFAULT } from "../core/bounds.ts"
import { OUTCOME_RULES_DEFAULT } from "../core/guard/outcome.ts"
import type { Guard } from "./config.ts"
import type { Report } from "./report.ts"
import type { Parsed } from "./schema.ts"

/** Returns the guard of one table, with its defaults. */
export function resolveGuard(name: string, guard: Parsed<"GUARD">, report: Report): Guard {
  const place = `GUARDS.${name}`
  const { key = { kind: "client" } } = guard
  return {
    name,
    maxFailures: guard.max_failures,
    failureDurationMs: guard.failure_duration,
    backoff: resolveBackoff(place, guard, report),
    guardResetTimeoutMs: guard.guard_reset_timeout ?? null,
    inFlight: guard.in_flight ?? "optimistic",
    pendingTtlMs: guard.pending_ttl ?? GUARD_PENDING_TTL_MS_DEFAULT,
    // Behind one address are many: a guesser would clear guesses with a valid credential of its own.
    successPolicy: guard.success_policy ?? (key.kind === "address" ? "ignore" : "reset"),
    key,
    outcomes: resolveOutcomes(place, guard, report),
  }
}

function resolveBackoff(place: string, { backoff }: Parsed<"GUARD">, report: Report): Guard["backoff"] {
  if (backoff.kind === "lineal") return { kind: "lineal", durationMs: backoff.duration }
  if (backoff.max < backoff.min) {
    report(`${place}.backoff.max`, `${backoff.max}ms`, `a duration of at least backoff.min (${backoff.min} ms)`)
  }
  return {
    kind: "exponential",
    minBackoffMs: backoff.min,
    maxBackoffMs: backoff.max,
    randomFactor: backoff.random_factor,
    resetBackoffMs: backoff.reset === "manual" ? null : (backoff.reset ?? backoff.max),
  }
}

function resolveOutcomes(place: string, guard: Parsed<"GUARD">, report: Report): Guard["outcomes"] {
  const { failure_statuses: failureStatuses = OUTCOME_RULES_DEFAULT.failureStatuses } = guard
  const { verdict_header: verdictHeader = OUTCOME_RULES_DEFAULT.verdictHeader } = guard
  for (const [index, status] of failureStatuses.entries()) {
    if (failureStatuses.indexOf(status) < index)
      report(`${place}.failure_statuses[${index}]`, status, "a status that is not in the list already")
  }
  if (failureStatuses.length === 0 && verdictHeader === null) {
    report(`${place}.failure_statuses`, failureStatuses, "at least one status where no verdict_header is read")
  }
  return { failureStatuses, verdictHeader }
}

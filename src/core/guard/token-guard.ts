/**
 * The guard of routes that ask for a token: whoever keeps presenting tokens that are not good is guessing.
 *
 * It counts for the client of the presented certificate, never for a client that a token names, and only what the gateway
 * itself found wrong with a token. A token that is missing, expired or lacks a scope is no guess. A good token clears
 * nothing, because one valid credential would launder any number of guesses. Pure.
 */
import { GUARD_PENDING_TTL_MS_DEFAULT } from "../bounds.ts"
import type { RouteGuard } from "../gate/gate-plan.ts"
import type { OutcomeRules } from "./outcome.ts"

/** What counts as a failure for the guard of tokens. */
export const TOKEN_OUTCOMES: OutcomeRules = {
  failureStatuses: [],
  verdictHeader: null,
  failureProblems: ["token-invalid", "token-binding-mismatch", "token-client-mismatch"],
}

/**
 * Returns the guard that routes with tokens of an authorization server have unasked: five failures within a minute, then
 * blocks from five minutes to an hour. Its name holds a colon, which no configured name does.
 */
export function createTokenGuard(server: string): RouteGuard {
  return {
    name: `token:${server}`,
    maxFailures: 5,
    failureDurationMs: 60_000,
    backoff: {
      kind: "exponential",
      minBackoffMs: 300_000,
      maxBackoffMs: 3_600_000,
      randomFactor: 0.2,
      resetBackoffMs: 3_600_000,
    },
    guardResetTimeoutMs: 3_600_000,
    inFlight: "optimistic",
    pendingTtlMs: GUARD_PENDING_TTL_MS_DEFAULT,
    successPolicy: "ignore",
    key: { kind: "client" },
    outcomes: TOKEN_OUTCOMES,
  }
}

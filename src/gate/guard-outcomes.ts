/**
 * Tells guards how the requests that they admitted ended. What an answer counts as is `core/guard/outcome.ts`; which outcomes a
 * guard has to hear is `core/guard/guard.ts`.
 *
 * A failure is told before the answer leaves, so that whoever waits for an answer before he guesses again meets a guard
 * that knows. So is the end of a reserved place, or the client's next request would find it taken. What cannot be told is
 * noted for the event; a reserved place that nobody gives back frees itself.
 */
import type { ClientObjects } from "./client-object.ts"
import type { Guard } from "../config/config.ts"
import type { GatewayContext } from "../context.ts"
import type { GuardOutcome, GuardStanding } from "../core/gate/gate-guards.ts"
import { demandOf, isLendableGuard } from "../core/gate/gate-plan.ts"
import { needsOutcome } from "../core/guard/guard.ts"
import { classifyOutcome, type OutcomeResult } from "../core/guard/outcome.ts"

/** A guard that a request has passed, and whose object holds it. */
export interface PassedGuard {
  readonly guard: Guard
  readonly objectName: string
  readonly standing: GuardStanding
  /** Forgets what this isolate was lent on the word of that guard. */
  readonly dropLease: () => void
}

/** One call: the outcome of one request for the guards of one object that see it alike. */
interface Telling {
  readonly objectName: string
  readonly result: OutcomeResult
  readonly outcomes: GuardOutcome[]
}

/**
 * Tells every guard of the request what it has to hear, and notes on the exchange what the request counted as. Resolves when
 * the answer may leave; never rejects.
 *
 * @param id under which the request was admitted
 * @param isRefusedHere the gate itself refused, after some guards had let the request pass: that is nobody's failure
 */
export async function tellGuards(
  c: GatewayContext,
  objects: ClientObjects,
  id: string,
  passed: readonly PassedGuard[],
  isRefusedHere: boolean,
): Promise<void> {
  const tellings: Telling[] = []
  let isUrgent = false
  for (const { guard, objectName, standing, dropLease } of passed) {
    // A repeat gets what was counted when the origin said it.
    const isNeutral = isRefusedHere || c.get("exchange").idempotency === "replayed"
    const result = isNeutral ? "neutral" : outcomeFor(c, guard)
    note(c, result)
    if (result === "failure") dropLease()
    if (!needsOutcome(guard, standing, result)) continue
    isUrgent ||= result === "failure" || !isLendableGuard(guard)
    const outcome = { ...demandOf(guard), admission: standing }
    const telling = tellings.find((other) => other.objectName === objectName && other.result === result)
    if (telling === undefined) tellings.push({ objectName, result, outcomes: [outcome] })
    else telling.outcomes.push(outcome)
  }
  if (tellings.length === 0) return
  const told = Promise.all(
    tellings.map(async ({ objectName, result, outcomes }) => {
      const asked = await objects.call(c, objectName, async (object) => object.record({ id, result }, outcomes))
      if ("failure" in asked) c.get("exchange").guardUntold = asked.failure.reason
    }),
  )
  if (isUrgent) await told
  else c.executionCtx.waitUntil(told)
}

function outcomeFor(c: GatewayContext, { outcomes }: Guard): OutcomeResult {
  const exchange = c.get("exchange")
  const isOrigin = exchange.outcome === "forwarded"
  return classifyOutcome(
    {
      status: c.res.status,
      source: isOrigin ? "origin" : "gateway",
      problem: exchange.problem,
      isAborted: exchange.outcome === "aborted",
      isTimeout: exchange.problem === "origin-timeout",
      originVerdict: outcomes.verdictHeader === null ? null : c.res.headers.get(outcomes.verdictHeader),
    },
    outcomes,
  )
}

/** A failure for one guard is what the record is about, whatever the others made of it. */
function note(c: GatewayContext, result: OutcomeResult): void {
  const exchange = c.get("exchange")
  if (result === "failure" || result === "error") exchange.guardOutcome = "failure"
  else if (result === "success") exchange.guardOutcome ??= "success"
}

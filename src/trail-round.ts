/**
 * Trails on the daily round: wakes the object of every client's trail, so that what waits in one is delivered although the platform has
 * given up on its alarm and its client sends nothing.
 */
import { isRoundDue, visitClients, type RoundOutcome } from "./client-round.ts"
import type { Gateway } from "./context.ts"
import { GATEWAY_TRAIL } from "./core/audit/audit-record.ts"

/**
 * Wakes the trails of the clients of the hour that begins at `scheduledMs`, see {@link visitClients}, and each time the one that is no
 * client's. Does nothing where no sink takes trails. Rejects when that one cannot be woken.
 */
export async function wakeTrails(
  { config, directory }: Pick<Gateway, "config" | "directory">,
  { AUDIT_TRAIL: trails }: Pick<Env, "AUDIT_TRAIL">,
  scheduledMs: number,
): Promise<RoundOutcome> {
  const hasTrails = config.sinks.some(({ takes }) => takes.has("audit"))
  if (trails === undefined || !hasTrails || !isRoundDue(scheduledMs)) return { asked: 0, unanswered: 0 }
  const outcome = await visitClients("trail_round", directory, scheduledMs, ({ id }) => trails.getByName(id).wake())
  await trails.getByName(GATEWAY_TRAIL).wake()
  return outcome
}

/**
 * The daily round: visits every client once a day, also those that send nothing. Duties of the cron go on it.
 *
 * Clients are spread over the hours of a day by their id; a run takes those of its hour, a bounded number of them at a time. Who does not
 * answer is left for tomorrow.
 */
import type { ConfiguredClient } from "./config/config.ts"
import type { ClientDirectory } from "./context.ts"
import { CLIENT_GATE_TIMEOUT_MS, CLIENT_ROUND_BATCH, CLIENT_ROUND_SLOTS } from "./core/bounds.ts"
import { LATE, withDeadline } from "./deadline.ts"

const HOUR_MS = 3_600_000

/** What a run did. */
export interface RoundOutcome {
  readonly asked: number
  readonly unanswered: number
}

/** Returns whether a cron run due at `scheduledMs`, epoch ms, is one of the round: those at a full hour are. */
export function isRoundDue(scheduledMs: number): boolean {
  return new Date(scheduledMs).getUTCMinutes() === 0
}

/**
 * Visits the clients of the hour that begins at `scheduledMs`, the nominal time of a cron run in epoch ms. Runs that are not
 * at a full hour do nothing, so the cron may be as frequent as its other duties want it. Never rejects.
 *
 * @param name of the duty, for what is said on the console when it is not complete
 * @param visit may reject, and is waited for a bounded time
 */
export async function visitClients(
  name: string,
  directory: ClientDirectory,
  scheduledMs: number,
  visit: (client: ConfiguredClient) => Promise<unknown>,
): Promise<RoundOutcome> {
  let asked = 0
  let unanswered = 0
  if (!isRoundDue(scheduledMs)) return { asked, unanswered }
  const slot = Math.floor(scheduledMs / HOUR_MS) % CLIENT_ROUND_SLOTS

  const visitBatch = async (batch: readonly ConfiguredClient[]): Promise<void> => {
    const answers = await Promise.all(batch.map((client) => isVisited(client, visit)))
    asked += batch.length
    unanswered += answers.filter((isAnswered) => !isAnswered).length
  }

  let failure: string | undefined
  try {
    let batch: ConfiguredClient[] = []
    for await (const client of directory.clientsOf(slot, CLIENT_ROUND_SLOTS)) {
      batch.push(client)
      if (batch.length < CLIENT_ROUND_BATCH) continue
      await visitBatch(batch)
      batch = []
    }
    await visitBatch(batch)
  } catch (error) {
    failure = error instanceof Error ? error.name : typeof error
  }
  if (unanswered > 0 || failure !== undefined) {
    const reason = failure === undefined ? {} : { reason: `directory_failed ${failure}` }
    console.error(JSON.stringify({ level: "error", event: `${name}_incomplete`, asked, unanswered, ...reason }))
  }
  return { asked, unanswered }
}

async function isVisited(
  client: ConfiguredClient,
  visit: (client: ConfiguredClient) => Promise<unknown>,
): Promise<boolean> {
  try {
    return (await withDeadline(visit(client), CLIENT_GATE_TIMEOUT_MS)) !== LATE
  } catch {
    return false
  }
}

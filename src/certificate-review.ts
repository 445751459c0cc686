/**
 * The daily review: asks the object of every client which certificates end soon, also of clients that send nothing.
 *
 * A duty of the cron. Clients are spread over the hours of a day by their id; a run takes those of its hour, a bounded number
 * of them at a time. An object that does not answer is left for tomorrow, and the run says how many did not. Decides nothing:
 * what is told, and that it is told once a day, is `core/certificate-watch.ts` in the object.
 */
import type { ConfiguredClient } from "./config/config.ts"
import type { Gateway } from "./context.ts"
import { CERTIFICATE_REVIEW_BATCH, CERTIFICATE_REVIEW_SLOTS, CLIENT_GATE_TIMEOUT_MS } from "./core/bounds.ts"
import { LATE, withDeadline } from "./deadline.ts"

const HOUR_MS = 3_600_000

/** What a run did. */
export interface ReviewOutcome {
  readonly asked: number
  readonly unanswered: number
}

/**
 * Reviews the clients of the hour that begins at `scheduledMs`, the nominal time of a cron run in epoch ms. Runs that are not
 * at a full hour do nothing, so the cron may be as frequent as its other duties want it. Never throws.
 */
export async function reviewCertificates(
  { config, directory }: Pick<Gateway, "config" | "directory">,
  env: Pick<Env, "CLIENT_GATE">,
  scheduledMs: number,
): Promise<ReviewOutcome> {
  let asked = 0
  let unanswered = 0
  if (new Date(scheduledMs).getUTCMinutes() !== 0) return { asked, unanswered }
  const slot = Math.floor(scheduledMs / HOUR_MS) % CERTIFICATE_REVIEW_SLOTS

  const reviewBatch = async (batch: readonly ConfiguredClient[]): Promise<void> => {
    const answers = await Promise.all(batch.map((client) => review(env, client, config.certificateWarningMs)))
    asked += batch.length
    unanswered += answers.filter((isAnswered) => !isAnswered).length
  }

  let failure: string | undefined
  try {
    let batch: ConfiguredClient[] = []
    for await (const client of directory.clientsOf(slot, CERTIFICATE_REVIEW_SLOTS)) {
      batch.push(client)
      if (batch.length < CERTIFICATE_REVIEW_BATCH) continue
      await reviewBatch(batch)
      batch = []
    }
    await reviewBatch(batch)
  } catch (error) {
    failure = error instanceof Error ? error.name : typeof error
  }
  if (unanswered > 0 || failure !== undefined) {
    const reason = failure === undefined ? {} : { reason: `directory_failed ${failure}` }
    console.error(
      JSON.stringify({ level: "error", event: "certificate_review_incomplete", asked, unanswered, ...reason }),
    )
  }
  return { asked, unanswered }
}

/** Asks one object. Returns whether it answered in time. */
async function review(
  env: Pick<Env, "CLIENT_GATE">,
  { certificates, id, place }: ConfiguredClient,
  warningMs: number,
): Promise<boolean> {
  const rules = certificates.flatMap(({ retireAtMs }, index) =>
    retireAtMs === undefined ? [] : [{ rule: `${place}.certificates[${index}]`, retireAtMs }],
  )
  try {
    const reviewed = env.CLIENT_GATE.getByName(id).reviewCertificates(rules, warningMs)
    return (await withDeadline(reviewed, CLIENT_GATE_TIMEOUT_MS)) !== LATE
  } catch {
    return false
  }
}

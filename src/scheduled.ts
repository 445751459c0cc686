/**
 * What the gateway does without a request: a list of duties that the cron trigger of `wrangler.toml` runs, every five minutes.
 *
 * A duty may come late, twice or never, and decides by itself whether there is anything to do. One that fails keeps no other
 * from running; it is said on the console and runs again the next time.
 */
import { reviewCertificates } from "./certificate-review.ts"
import type { Gateway } from "./context.ts"
import { redactText } from "./core/record/redaction.ts"
import { wakeTrails } from "./trail-round.ts"

/** What duties know: the gateway's configuration and clients, and when they were due, epoch ms. */
export interface DutyContext extends Pick<Gateway, "config" | "directory"> {
  readonly scheduledMs: number
}

/** One thing to do. `name` is for what is said about it. */
interface Duty {
  readonly name: string
  readonly run: (context: DutyContext, env: Env) => Promise<unknown>
}

const DUTIES: readonly Duty[] = [
  { name: "refresh_revocation_lists", run: refreshRevocationLists },
  { name: "review_certificates", run: (context, env) => reviewCertificates(context, env, context.scheduledMs) },
  { name: "wake_trails", run: (context, env) => wakeTrails(context, env, context.scheduledMs) },
]

/** Runs every duty. Never rejects. */
export async function runDuties(context: DutyContext, env: Env): Promise<void> {
  await Promise.all(
    DUTIES.map(async ({ name, run }) => {
      try {
        await run(context, env)
      } catch (error) {
        const reason = redactText(String(error))
        console.error(JSON.stringify({ level: "error", event: "duty_failed", duty: name, reason }))
      }
    }),
  )
}

/** Asks the object of every CA with a list to fetch it, if it is due. */
async function refreshRevocationLists({ config }: DutyContext, env: Env): Promise<void> {
  const sources = [...config.issuers.values()].flatMap(({ crl }) => (crl === undefined ? [] : [crl.source]))
  const asked = await Promise.allSettled(
    sources.map((source) => env.REVOCATION_LIST.getByName(source.ca.ski).refresh(source)),
  )
  const failed = asked.find((outcome) => outcome.status === "rejected")
  if (failed !== undefined) throw failed.reason
}

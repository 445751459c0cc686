/**
 * The review of certificates on the daily round: asks the object of every client which of its certificates end soon. Decides nothing:
 * what is told, and that it is told once a day, is `core/certificate/certificate-watch.ts` in the object.
 */
import { visitClients, type RoundOutcome } from "./client-round.ts"
import type { Gateway } from "./context.ts"

/** Reviews the clients of the hour that begins at `scheduledMs`, see {@link visitClients}. Never rejects. */
export async function reviewCertificates(
  { config, directory }: Pick<Gateway, "config" | "directory">,
  env: Pick<Env, "CLIENT_GATE">,
  scheduledMs: number,
): Promise<RoundOutcome> {
  return visitClients("certificate_review", directory, scheduledMs, async ({ certificates, id, place }) => {
    const rules = certificates.flatMap(({ retireAtMs }, index) =>
      retireAtMs === undefined ? [] : [{ rule: `${place}.certificates[${index}]`, retireAtMs }],
    )
    await env.CLIENT_GATE.getByName(id).reviewCertificates(rules, config.certificateWarningMs)
  })
}

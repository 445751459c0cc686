/**
 * Tells the client's object which certificates are in use: each once a day (UTC) and isolate, behind the answer. The object
 * remembers them for the daily review and warns of those that end soon.
 *
 * One per isolate. No request waits for it, and nothing is decided on it; a report that was not heard is repeated a minute
 * later with the next use.
 */
import type { ClientObjects } from "./client-object.ts"
import type { ConfiguredClient } from "../config/config.ts"
import type { Gateway, GatewayContext } from "../context.ts"
import { CERTIFICATE_NOTE_RETRY_MS, CERTIFICATE_NOTES_MAX, CLIENT_GATE_TIMEOUT_MS } from "../core/bounds.ts"
import type { ClientCertificate } from "../core/certificate/certificate.ts"
import { remember } from "../memory.ts"

/** Takes note of certificates in use. */
export interface CertificateNotes {
  /** Returns at once and never throws. `retiresAtMs` is the end of the certificate's overlap window, epoch ms. */
  add(
    c: GatewayContext,
    client: ConfiguredClient,
    certificate: ClientCertificate,
    retiresAtMs: number | undefined,
  ): void
}

const DAY_MS = 86_400_000

/** Returns the notes of one isolate. */
export function createCertificateNotes(
  { config, nowMs }: Pick<Gateway, "config" | "nowMs">,
  objects: ClientObjects,
): CertificateNotes {
  /** When the next report of a certificate is due, epoch ms. */
  const dueMs = new Map<string, number>()

  async function report(
    c: GatewayContext,
    client: ConfiguredClient,
    { fingerprint, notAfterMs }: ClientCertificate,
    retiresAtMs: number | undefined,
  ): Promise<void> {
    const note = { fingerprint, notAfterMs, retiresAtMs: retiresAtMs ?? null }
    const asked = await objects.callOnce(
      c,
      client.id,
      async (object) => object.noteCertificate(note, config.certificateWarningMs),
      CLIENT_GATE_TIMEOUT_MS,
    )
    if ("failure" in asked) dueMs.set(fingerprint, nowMs() + CERTIFICATE_NOTE_RETRY_MS)
  }

  return {
    add(c, client, certificate, retiresAtMs) {
      const now = nowMs()
      if (now < (dueMs.get(certificate.fingerprint) ?? -Infinity)) return
      // What is forgotten here is reported once more, which costs a call and tells nothing twice.
      remember(dueMs, certificate.fingerprint, (Math.floor(now / DAY_MS) + 1) * DAY_MS, CERTIFICATE_NOTES_MAX)
      c.executionCtx.waitUntil(report(c, client, certificate, retiresAtMs))
    },
  }
}

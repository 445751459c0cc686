/**
 * The field that tells a client when its certificate ends, on routes that say so. No standard has one.
 *
 * Pure and total; called by the `identity` stage.
 *
 * @see RFC 9110 §5.6.7 (HTTP-date)
 */
import { effectiveTimeMs } from "../clock.ts"

/**
 * Returns the HTTP-date of the instant from which on the certificate is refused: the end of its validity, or of its overlap
 * window where that is earlier. Fractions of a second are cut, so it is never later than the refusal.
 */
export function formatExpires(notAfterMs: number, retiresAtMs: number | undefined): string {
  return new Date(effectiveTimeMs(0, Math.min(notAfterMs, retiresAtMs ?? Infinity))).toUTCString()
}

/**
 * Who may be in the admin room, as far as that can be told without asking anybody: which secret is good enough to be asked for,
 * and which web pages may send requests there. Pure and total; called by `src/admin/`.
 */
import { parseBase64url } from "./base64url.ts"
import { ADMIN_TOKEN_BYTES_MIN } from "./bounds.ts"

/** The secret of the administrators, or why there is none to compare with. */
export type AdminSecret =
  | { readonly ok: true; readonly secret: string }
  | { readonly ok: false; readonly reason: "admin_secret_missing" | "admin_secret_weak" }

/**
 * Returns the secret in a Worker secret: base64url of at least {@link ADMIN_TOKEN_BYTES_MIN} octets. Whether these are random
 * nobody can see; that they are too few everybody can.
 */
export function readAdminSecret(value: unknown): AdminSecret {
  if (typeof value !== "string" || value === "") return { ok: false, reason: "admin_secret_missing" }
  const octets = parseBase64url(value)
  if (octets === undefined || octets.length < ADMIN_TOKEN_BYTES_MIN) return { ok: false, reason: "admin_secret_weak" }
  return { ok: true, secret: value }
}

/**
 * Returns true for a request that no web page of another origin has sent, as far as its browser says so: no Origin field, or
 * the origin of this very host.
 *
 * @param origin the Origin field; null when there is none
 * @param host the Host field as received, port included
 * @see RFC 6454 §7
 */
export function isOwnPage(origin: string | null, host: string): boolean {
  return origin === null || origin === `https://${host.toLowerCase()}`
}

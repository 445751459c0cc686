/**
 * SPIFFE ids: which texts are one, and which id a certificate carries.
 *
 * A workload's id has a path, and its certificate carries exactly one URI; with two it is not known which one is meant.
 * Compared octet by octet: the grammar leaves one spelling for each id. Pure and total; called by `core/certificate/certificate.ts`
 * and the configuration.
 *
 * @see SPIFFE-ID §2, X.509-SVID §2
 */
import { SPIFFE_ID_BYTES_MAX } from "../bounds.ts"
import type { SubjectAltName } from "./x509.ts"

/** Lower-case trust domain without port or user; path segments that are neither empty nor `.` nor `..`; no query. */
const GRAMMAR = /^spiffe:\/\/[a-z0-9._-]{1,255}(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._-]+)*$/

/** Returns true for a SPIFFE id, also one of a trust domain alone. */
export function isSpiffeId(text: string): boolean {
  return text.length <= SPIFFE_ID_BYTES_MAX && GRAMMAR.test(text)
}

/** Returns true for the SPIFFE id of a workload: one with a path. Only such an id is in a leaf. */
export function isWorkloadId(text: string): boolean {
  return isSpiffeId(text) && text.includes("/", "spiffe://".length)
}

/** Returns the id of a leaf with these names, or undefined when they are not those of an X.509-SVID. */
export function spiffeIdOf(names: readonly SubjectAltName[]): string | undefined {
  const [uri, ...others] = names.filter(({ type }) => type === "uri")
  return uri !== undefined && others.length === 0 && isWorkloadId(uri.value) ? uri.value : undefined
}

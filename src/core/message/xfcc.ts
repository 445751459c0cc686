/**
 * The client's certificate as Envoy writes it: one element of `X-Forwarded-Client-Cert`, for origins that read that.
 *
 * Made of parsed facts, never of printed ones. No text of a certificate can end a value or begin a pair, also not for a
 * reader that knows no escaping: a quotation mark, a comma, a semicolon or a backslash of a name is written as `\XX`, which
 * RFC 4514 reads as the same name, so a quoted value holds no quotation mark and no backslash before one. Pure and total.
 *
 * @see Envoy, HTTP connection manager, x-forwarded-client-cert
 */
import { formatRfc4514, type DistinguishedName } from "../certificate/distinguished-name.ts"
import type { SubjectAltName } from "../certificate/x509.ts"

/** What of a certificate the field says. */
export interface XfccFacts {
  /** SHA-256 of the leaf's DER, 64 lower-case hex digits. */
  readonly fingerprint: string
  readonly subject: DistinguishedName
  readonly subjectAltNames: readonly SubjectAltName[]
}

/**
 * Returns the element: `Hash`, `Subject` (RFC 4514, always quoted) and a `URI` for each URI among the alternative names, in
 * the order of the certificate. A name with octets that no URI has (RFC 3986 §2) is left away: written in
 * another spelling it would be another name. `By` names a certificate of the proxy; this one has none towards its callers
 * that an origin could know.
 */
export function formatXfcc({ fingerprint, subject, subjectAltNames }: XfccFacts): string {
  return [
    `Hash=${fingerprint}`,
    `Subject="${formatSubject(subject)}"`,
    ...subjectAltNames
      .filter(({ type, value }) => type === "uri" && URI_TEXT.test(value))
      .map(({ value }) => `URI=${/[,;=]/.test(value) ? `"${value}"` : value}`),
  ].join(";")
}

/** Characters of RFC 3986 §2: neither a quotation mark nor a backslash nor a space. */
const URI_TEXT = /^[A-Za-z0-9._~:/?#[\]@!$&'()*+,;=%-]+$/

function formatSubject(subject: DistinguishedName): string {
  return formatRfc4514(subject).replace(
    /\\([^0-9A-Fa-f])/g,
    (_, char: string) => `\\${char.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

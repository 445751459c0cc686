/**
 * Which client a verified certificate belongs to: exactly one, or nobody.
 *
 * A client is known by SHA-256 fingerprint, by (issuer key, SAN URI) or by (issuer key, whole subject name). Every kind of
 * match is looked up, and all that match must name the same client. Common names, printed names, SHA-1 and wildcards take
 * no part. Lookups are by map, so a directory of 100,000 clients costs what one of ten does. Pure; called by the
 * `identity` stage with the directory that the configuration compiled.
 */
import type { ClientCertificate } from "./certificate.ts"

/** How a client's certificate is recognised. Hex is lower case; `subjectKey` is `nameKey` of the configured name. */
export type CertificateMatch =
  | { readonly kind: "fingerprint"; readonly fingerprint: string }
  | { readonly kind: "san-uri"; readonly issuerSki: string; readonly sanUri: string }
  | { readonly kind: "subject"; readonly issuerSki: string; readonly subjectKey: string }

/** A client: its canonical id and the certificates it may present. */
export interface Client {
  readonly id: string
  readonly certificates: readonly CertificateMatch[]
}

/** Clients by every key that can identify them. */
export type ClientDirectory<C extends Client = Client> = ReadonlyMap<string, C>

/** The client of a certificate, or why there is none. `candidates` are ids, for the log only. */
export type IdentityDecision<C extends Client> =
  | { readonly ok: true; readonly client: C; readonly matchedBy: CertificateMatch["kind"] }
  | {
      readonly ok: false
      readonly code: "client-unknown"
      readonly reason: "no_match"
      readonly candidates: readonly string[]
    }
  | {
      readonly ok: false
      readonly code: "client-ambiguous"
      readonly reason: "several_matches"
      readonly candidates: readonly string[]
    }

/** Returns the directory key of a match: one string per thing that may identify, never shared by two kinds. */
export function matchKey(match: CertificateMatch): string {
  switch (match.kind) {
    case "fingerprint":
      return `fingerprint ${match.fingerprint}`
    case "san-uri":
      return `san-uri ${match.issuerSki} ${match.sanUri}`
    case "subject":
      return `subject ${match.issuerSki} ${match.subjectKey}`
  }
}

/** Returns the directory of clients. The configuration has already refused a key that two clients share. */
export function compileDirectory<C extends Client>(clients: readonly C[]): ClientDirectory<C> {
  return new Map(clients.flatMap((client) => client.certificates.map((match) => [matchKey(match), client] as const)))
}

/** Decides which client presents a certificate. */
export function decideIdentity<C extends Client>(
  directory: ClientDirectory<C>,
  certificate: ClientCertificate,
): IdentityDecision<C> {
  const found = new Map<string, { readonly client: C; readonly kind: CertificateMatch["kind"] }>()
  for (const match of presentedMatches(certificate)) {
    const client = directory.get(matchKey(match))
    if (client !== undefined && !found.has(client.id)) found.set(client.id, { client, kind: match.kind })
  }
  const [only, ...others] = found.values()
  if (only === undefined) return { ok: false, code: "client-unknown", reason: "no_match", candidates: [] }
  if (others.length > 0)
    return { ok: false, code: "client-ambiguous", reason: "several_matches", candidates: [...found.keys()].toSorted() }
  return { ok: true, client: only.client, matchedBy: only.kind }
}

/** Everything a certificate can be recognised by. Without the issuer's key only the fingerprint identifies it. */
function presentedMatches(certificate: ClientCertificate): readonly CertificateMatch[] {
  const { fingerprint, issuerSki, subjectKey } = certificate
  const matches: CertificateMatch[] = [{ kind: "fingerprint", fingerprint }]
  if (issuerSki === undefined) return matches
  const uris = certificate.subjectAltNames.filter((name) => name.type === "uri").map((name) => name.value)
  for (const sanUri of uris) {
    // A SPIFFE certificate carries exactly one URI (SPIFFE X.509-SVID §2); with two it is not known which one is meant.
    if (!sanUri.toLowerCase().startsWith("spiffe:") || uris.length === 1)
      matches.push({ kind: "san-uri", issuerSki, sanUri })
  }
  matches.push({ kind: "subject", issuerSki, subjectKey })
  return matches
}

/**
 * Which client a verified certificate belongs to: exactly one, or nobody.
 *
 * A client is known by the digest of a certificate or of its key, or by a name together with the key of the CA that issued it.
 * Every kind of match is looked up, and all that match must name the same client. Common names, printed names, SHA-1 and
 * wildcards take no part. Lookups are by map, so a directory of 100,000 clients costs what one of ten does. Pure; called
 * by the client directory with the index that the configuration compiled.
 */
import type { ClientCertificate } from "./certificate.ts"
import { normalizeDnsName, normalizeEmail } from "./san-name.ts"
import { isInstant, membersOf } from "../untrusted.ts"

/**
 * How a client's certificate is recognised. Hex is lower case; `subjectKey` is `nameKey` of the configured name; DNS names
 * and mail addresses are as `core/certificate/san-name.ts` writes them.
 */
export type CertificateMatch =
  | { readonly kind: "fingerprint"; readonly fingerprint: string }
  | { readonly kind: "spki"; readonly spki: string; readonly issuerSki?: string }
  | { readonly kind: "san-uri"; readonly issuerSki: string; readonly sanUri: string }
  | { readonly kind: "san-dns"; readonly issuerSki: string; readonly sanDns: string }
  | { readonly kind: "san-email"; readonly issuerSki: string; readonly sanEmail: string }
  | { readonly kind: "spiffe-id"; readonly issuerSki: string; readonly spiffeId: string }
  | { readonly kind: "subject"; readonly issuerSki: string; readonly subjectKey: string }

/** A match, and when it stops to count: `retireAtMs` is the end of its overlap window, epoch ms. */
export type CertificateRule = CertificateMatch & { readonly retireAtMs?: number }

/** A client: its canonical id and the certificates it may present. */
export interface Client {
  readonly id: string
  readonly certificates: readonly CertificateRule[]
  /** Known, and refused. */
  readonly isDisabled: boolean
}

/** A rule and whose it is. */
export interface IndexedRule<C extends Client = Client> {
  readonly client: C
  readonly rule: CertificateRule
}

/** Kinds of names, each of which counts under the key of its issuer. */
type NameKind = Exclude<CertificateMatch["kind"], "fingerprint" | "spki">

/**
 * Rules by everything that can identify a client. The keys of its maps are texts that a certificate's facts hold already: a
 * busy connection looks up without writing a text anew.
 */
export interface ClientIndex<C extends Client = Client> {
  readonly byFingerprint: ReadonlyMap<string, IndexedRule<C>>
  /** Of one key several rules, each under another issuer or under none. */
  readonly bySpki: ReadonlyMap<string, readonly IndexedRule<C>[]>
  readonly byIssuer: ReadonlyMap<string, Readonly<Record<NameKind, ReadonlyMap<string, IndexedRule<C>>>>>
}

/** The client of a certificate, or why there is none. */
export type IdentityDecision<C extends Client> =
  | {
      readonly ok: true
      readonly client: C
      readonly matchedBy: CertificateMatch["kind"]
      /** From when on this certificate is refused, epoch ms; undefined while a rule without an end matches it too. */
      readonly retiresAtMs: number | undefined
    }
  | IdentityRefusal<C>

/** Nobody, or somebody who may not pass. `candidates` are ids, for the log only. */
export type IdentityRefusal<C extends Client> =
  | { readonly ok: false; readonly code: "client-unknown"; readonly reason: "no_match" }
  | {
      readonly ok: false
      readonly code: "client-ambiguous"
      readonly reason: "several_matches"
      readonly candidates: readonly string[]
    }
  | { readonly ok: false; readonly code: "client-disabled"; readonly reason: "client_disabled"; readonly client: C }
  | {
      readonly ok: false
      readonly code: "client-cert-retired"
      readonly reason: "cert_retired"
      readonly client: C
      /** When the last of the rules that match ended, epoch ms. */
      readonly retiresAtMs: number
    }

/**
 * Returns true for what a directory may answer with. A directory that reads its answer from somewhere else is the gateway's
 * own code, so this looks for answers that are missing or half there, not for forged ones.
 */
export function isIdentityDecision(value: unknown): boolean {
  const { candidates, client, code, ok, retiresAtMs } = membersOf(value)
  const { certificates, id } = membersOf(client)
  const isClient = typeof id === "string" && id !== "" && Array.isArray(certificates)
  if (ok === true) return isClient && (retiresAtMs === undefined || isInstant(retiresAtMs))
  if (ok !== false) return false
  if (code === "client-unknown") return true
  if (code === "client-ambiguous") return Array.isArray(candidates)
  if (code === "client-cert-retired") return isClient && isInstant(retiresAtMs)
  return code === "client-disabled" && isClient
}

/** Returns the key of a match: one text per thing that may identify, never shared by two kinds. */
export function matchKey(match: CertificateMatch): string {
  switch (match.kind) {
    case "fingerprint":
      return `fingerprint ${match.fingerprint}`
    case "spki":
      return `spki ${match.spki} ${match.issuerSki ?? ""}`
    case "san-uri":
      return `san-uri ${match.issuerSki} ${match.sanUri}`
    case "san-dns":
      return `san-dns ${match.issuerSki} ${match.sanDns}`
    case "san-email":
      return `san-email ${match.issuerSki} ${match.sanEmail}`
    case "spiffe-id":
      return `spiffe-id ${match.issuerSki} ${match.spiffeId}`
    case "subject":
      return `subject ${match.issuerSki} ${match.subjectKey}`
  }
}

/**
 * Returns what a match shares with every other one that can be told to match the same certificate: the same key with or
 * without its CA, the same URI as such or as a SPIFFE id. Others may still meet in one certificate, which only shows then.
 */
export function overlapKey(match: CertificateMatch): string {
  if (match.kind === "spki") return `spki ${match.spki}`
  if (match.kind === "spiffe-id")
    return matchKey({ kind: "san-uri", issuerSki: match.issuerSki, sanUri: match.spiffeId })
  return matchKey(match)
}

/** Returns true when two matches with the same {@link overlapKey} can match one certificate. */
export function overlaps(a: CertificateMatch, b: CertificateMatch): boolean {
  if (a.kind !== "spki" || b.kind !== "spki") return true
  return a.issuerSki === undefined || b.issuerSki === undefined || a.issuerSki === b.issuerSki
}

/** Returns the index of clients. The configuration has already refused a rule that occurs twice. */
export function compileClientIndex<C extends Client>(clients: readonly C[]): ClientIndex<C> {
  const byFingerprint = new Map<string, IndexedRule<C>>()
  const bySpki = new Map<string, IndexedRule<C>[]>()
  const byIssuer = new Map<string, Record<NameKind, Map<string, IndexedRule<C>>>>()
  for (const client of clients) {
    for (const rule of client.certificates) {
      const indexed = { client, rule }
      if (rule.kind === "fingerprint") byFingerprint.set(rule.fingerprint, indexed)
      else if (rule.kind === "spki") bySpki.set(rule.spki, [...(bySpki.get(rule.spki) ?? []), indexed])
      else {
        const names = byIssuer.get(rule.issuerSki) ?? {
          "san-uri": new Map<string, IndexedRule<C>>(),
          "san-dns": new Map<string, IndexedRule<C>>(),
          "san-email": new Map<string, IndexedRule<C>>(),
          "spiffe-id": new Map<string, IndexedRule<C>>(),
          subject: new Map<string, IndexedRule<C>>(),
        }
        byIssuer.set(rule.issuerSki, names)
        names[rule.kind].set(nameOf(rule), indexed)
      }
    }
  }
  return { byFingerprint, bySpki, byIssuer }
}

function nameOf(match: Extract<CertificateMatch, { readonly kind: NameKind }>): string {
  switch (match.kind) {
    case "san-uri":
      return match.sanUri
    case "san-dns":
      return match.sanDns
    case "san-email":
      return match.sanEmail
    case "spiffe-id":
      return match.spiffeId
    case "subject":
      return match.subjectKey
  }
}

/** Decides which client presents a certificate, and whether it may at `nowMs`. */
export function decideIdentity<C extends Client>(
  index: ClientIndex<C>,
  certificate: ClientCertificate,
  nowMs: number,
): IdentityDecision<C> {
  const matched = matchingRules(index, certificate)
  const [first] = matched
  if (first === undefined) return { ok: false, code: "client-unknown", reason: "no_match" }
  const { client } = first
  // Also rules that have ended count here: what once was somebody's certificate does not quietly become another's.
  if (matched.some((other) => other.client.id !== client.id)) {
    const candidates = [...new Set(matched.map((other) => other.client.id))].toSorted()
    return { ok: false, code: "client-ambiguous", reason: "several_matches", candidates }
  }
  if (client.isDisabled) return { ok: false, code: "client-disabled", reason: "client_disabled", client }
  const ends = matched.map(({ rule: { retireAtMs } }) => retireAtMs ?? Infinity)
  const retiresAtMs = Math.max(...ends)
  if (nowMs >= retiresAtMs)
    return { ok: false, code: "client-cert-retired", reason: "cert_retired", client, retiresAtMs }
  const lasting = matched.find(({ rule: { retireAtMs = Infinity } }) => nowMs < retireAtMs) ?? first
  return {
    ok: true,
    client,
    matchedBy: lasting.rule.kind,
    retiresAtMs: retiresAtMs === Infinity ? undefined : retiresAtMs,
  }
}

/** Returns every rule that matches. Without the issuer's key only digests identify a certificate. */
function matchingRules<C extends Client>(
  { byFingerprint, byIssuer, bySpki }: ClientIndex<C>,
  { fingerprint, issuerSki, spiffeId, spki, subjectAltNames, subjectKey }: ClientCertificate,
): readonly IndexedRule<C>[] {
  const matched: IndexedRule<C>[] = []
  const add = (indexed: IndexedRule<C> | undefined): void => {
    if (indexed !== undefined) matched.push(indexed)
  }
  add(byFingerprint.get(fingerprint))
  for (const indexed of bySpki.get(spki) ?? []) {
    const { rule } = indexed
    if (rule.kind === "spki" && (rule.issuerSki === undefined || rule.issuerSki === issuerSki)) add(indexed)
  }
  const names = issuerSki === undefined ? undefined : byIssuer.get(issuerSki)
  if (names === undefined) return matched
  if (spiffeId !== undefined) add(names["spiffe-id"].get(spiffeId))
  let uris = 0
  for (const { type } of subjectAltNames) if (type === "uri") uris += 1
  for (const { type, value } of subjectAltNames) {
    // A SPIFFE certificate carries exactly one URI (SPIFFE X.509-SVID §2); with two it is not known which one is meant.
    if (type === "uri" && (uris === 1 || !value.toLowerCase().startsWith("spiffe:"))) add(names["san-uri"].get(value))
    if (type === "dns" && names["san-dns"].size > 0) add(names["san-dns"].get(normalizeDnsName(value) ?? ""))
    if (type === "email" && names["san-email"].size > 0) add(names["san-email"].get(normalizeEmail(value) ?? ""))
  }
  add(names.subject.get(subjectKey))
  return matched
}

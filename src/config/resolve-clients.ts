/**
 * Clients with their references resolved: every rule under the key of the CA that issues the certificate, every id and every
 * rule once, no two clients with rules that meet, and the sets of limits that are a client's own. Pure; called by
 * `config/load.ts`.
 */
import {
  matchKey,
  overlapKey,
  overlaps,
  type CertificateMatch,
  type CertificateRule,
} from "../core/certificate/identity.ts"
import type { LimitSet } from "../core/limit/limit-set.ts"
import type { ConfiguredClient } from "./config.ts"
import { nameList, type Report } from "./report.ts"
import type { Parsed } from "./schema.ts"

/** What clients refer to. Names are as written, also of tables with errors of their own: no second error about those. */
export interface KnownNames {
  readonly issuers: ReadonlyMap<string, Parsed<"ISSUER">>
  readonly issuerNames: readonly string[]
  readonly limitSets: ReadonlyMap<string, LimitSet>
  readonly limitNames: readonly string[]
}

/** A rule, where it stands, and the place of its client. */
interface PlacedRule {
  readonly at: string
  readonly client: string
  readonly match: CertificateMatch
}

/** Returns the clients; what contradicts itself or another client is reported. */
export function resolveClients(
  parsed: readonly (readonly [place: string, client: Parsed<"CLIENT">])[],
  known: KnownNames,
  report: Report,
): readonly ConfiguredClient[] {
  const placeOfId = new Map<string, string>()
  const placeOfOauthClient = new Map<string, string>()
  const rulesByKey = new Map<string, PlacedRule[]>()
  return parsed.map(([place, client]) => {
    const other = placeOfId.get(client.id)
    if (other !== undefined) report(`${place}.id`, client.id, `an id that no other client has; ${other} has it already`)
    else placeOfId.set(client.id, place)
    const certificates = client.certificates.flatMap((certificate, index): CertificateRule[] => {
      const at = `${place}.certificates[${index}]`
      const match = resolveMatch(at, certificate, known, report)
      if (match === undefined) return []
      const { retire_at: retireAtMs } = certificate
      const key = overlapKey(match)
      const sharing = rulesByKey.get(key) ?? []
      // One client may say the same thing in two ways; only twice in the same way is a slip for certain.
      const taken = sharing.find((other) =>
        other.client === place ? matchKey(other.match) === matchKey(match) : overlaps(other.match, match),
      )
      if (taken === undefined) rulesByKey.set(key, [...sharing, { at, client: place, match }])
      else
        report(at, asWritten(certificate), `a certificate that nothing else matches; ${taken.at} matches the same one`)
      return [retireAtMs === undefined ? match : { ...match, retireAtMs }]
    })
    const limitSets = resolveLimits(`${place}.limits`, client.limits ?? new Map(), known, report)
    const { disabled: isDisabled = false, id, mode = "enforce" } = client
    const oauthClients = new Set(client.oauth_clients ?? [id])
    for (const name of oauthClients) {
      const taken = placeOfOauthClient.get(name)
      // A token of either client would be good for both. That ids are equal is said once.
      if (taken !== undefined && taken !== other)
        report(`${place}.oauth_clients`, name, `an id that no other client has; ${taken} has it already`)
      else placeOfOauthClient.set(name, place)
    }
    return { id, place, certificates, isDisabled, limitSets, mode, oauthClients }
  })
}

function resolveLimits(
  place: string,
  replacements: ReadonlyMap<string, string>,
  { limitSets, limitNames }: KnownNames,
  report: Report,
): ReadonlyMap<string, LimitSet> {
  const resolved = new Map<string, LimitSet>()
  for (const [name, own] of replacements) {
    if (!limitNames.includes(name)) report(`${place}.${name}`, name, nameList(limitNames, "LIMITS"))
    if (!limitNames.includes(own)) report(`${place}.${name}`, own, nameList(limitNames, "LIMITS"))
    const set = limitSets.get(own)
    if (set !== undefined) resolved.set(name, set)
  }
  return resolved
}

type Certificate = Parsed<"CLIENT">["certificates"][number]

const KINDS = ["fingerprint", "spki", "san_uri", "san_dns", "san_email", "spiffe_id", "subject"] as const
const ONE_OF =
  "exactly one of fingerprint, spki (with or without issuer), and, each with issuer, san_uri, san_dns, san_email, spiffe_id and subject"

function resolveMatch(
  place: string,
  certificate: Certificate,
  known: KnownNames,
  report: Report,
): CertificateMatch | undefined {
  const { fingerprint, issuer, san_dns: sanDns, san_email: sanEmail, san_uri: sanUri, spki, subject } = certificate
  if (KINDS.filter((kind) => certificate[kind] !== undefined).length !== 1) {
    report(place, asWritten(certificate), ONE_OF)
    return undefined
  }
  if (fingerprint !== undefined) {
    if (issuer !== undefined)
      report(`${place}.issuer`, issuer, "no issuer beside a fingerprint, which names one certificate by itself")
    return { kind: "fingerprint", fingerprint }
  }
  if (spki !== undefined && issuer === undefined) return { kind: "spki", spki }
  const issuerSki = resolveIssuer(`${place}.issuer`, issuer, known, report)
  if (issuerSki === undefined) return undefined
  if (spki !== undefined) return { kind: "spki", spki, issuerSki }
  if (sanUri !== undefined) return { kind: "san-uri", issuerSki, sanUri }
  if (sanDns !== undefined) return { kind: "san-dns", issuerSki, sanDns }
  if (sanEmail !== undefined) return { kind: "san-email", issuerSki, sanEmail }
  if (certificate.spiffe_id !== undefined) return { kind: "spiffe-id", issuerSki, spiffeId: certificate.spiffe_id }
  return subject === undefined ? undefined : { kind: "subject", issuerSki, subjectKey: subject.key }
}

/** Returns the key identifier of the CA that a rule names; what names none is reported. */
function resolveIssuer(
  place: string,
  issuer: string | undefined,
  { issuers, issuerNames: names }: KnownNames,
  report: Report,
): string | undefined {
  if (issuer === undefined) {
    // The same name can be issued by any CA that the zone trusts; the CA is part of who it is.
    report(place, undefined, `the CA that issues this certificate: ${nameList(names, "ISSUERS")}`)
    return undefined
  }
  const ski = issuers.get(issuer)?.ski
  if (ski === undefined && !names.includes(issuer)) report(place, issuer, nameList(names, "ISSUERS"))
  return ski
}

/** The rule's table as the operator wrote it: parsed subjects and instants are not what stands in the file. */
function asWritten({ retire_at: retireAtMs, subject, ...rest }: Certificate): Readonly<Record<string, string>> {
  return {
    ...rest,
    ...(subject === undefined ? {} : { subject: subject.text }),
    ...(retireAtMs === undefined ? {} : { retire_at: new Date(retireAtMs).toISOString() }),
  }
}

/**
 * Clients with their references resolved: every certificate under the key of the CA that issues it, every id and every
 * certificate once, and the sets of limits that are a client's own. Pure; called by `config/load.ts`.
 */
import { matchKey, type CertificateMatch } from "../core/identity.ts"
import type { LimitSet } from "../core/limit-set.ts"
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

/** Returns the clients; what contradicts itself or another client is reported. */
export function resolveClients(
  parsed: readonly (readonly [place: string, client: Parsed<"CLIENT">])[],
  known: KnownNames,
  report: Report,
): readonly ConfiguredClient[] {
  const placeOfId = new Map<string, string>()
  const placeOfKey = new Map<string, string>()
  const placeOfOauthClient = new Map<string, string>()
  return parsed.map(([place, client]) => {
    const other = placeOfId.get(client.id)
    if (other !== undefined) report(`${place}.id`, client.id, `an id that no other client has; ${other} has it already`)
    else placeOfId.set(client.id, place)
    const certificates = client.certificates.flatMap((certificate, index): CertificateMatch[] => {
      const at = `${place}.certificates[${index}]`
      const match = resolveMatch(at, certificate, known, report)
      if (match === undefined) return []
      const taken = placeOfKey.get(matchKey(match))
      if (taken !== undefined)
        report(at, asWritten(certificate), `a certificate that nothing else matches; ${taken} matches the same one`)
      else placeOfKey.set(matchKey(match), at)
      return [match]
    })
    const limitSets = resolveLimits(`${place}.limits`, client.limits ?? new Map(), known, report)
    const oauthClients = new Set(client.oauth_clients ?? [client.id])
    for (const name of oauthClients) {
      const taken = placeOfOauthClient.get(name)
      // A token of either client would be good for both. That ids are equal is said once.
      if (taken !== undefined && taken !== other)
        report(`${place}.oauth_clients`, name, `an id that no other client has; ${taken} has it already`)
      else placeOfOauthClient.set(name, place)
    }
    return { id: client.id, place, certificates, limitSets, mode: client.mode ?? "enforce", oauthClients }
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

function resolveMatch(
  place: string,
  certificate: Certificate,
  { issuers, issuerNames: names }: KnownNames,
  report: Report,
): CertificateMatch | undefined {
  const { fingerprint, issuer, san_uri: sanUri, subject } = certificate
  const kinds = [fingerprint, sanUri, subject].filter((part) => part !== undefined).length
  if (kinds !== 1) {
    report(place, asWritten(certificate), "exactly one of fingerprint, san_uri (with issuer) and subject (with issuer)")
    return undefined
  }
  if (fingerprint !== undefined) {
    if (issuer !== undefined)
      report(`${place}.issuer`, issuer, "no issuer beside a fingerprint, which names one certificate by itself")
    return { kind: "fingerprint", fingerprint }
  }
  if (issuer === undefined) {
    // The same name can be issued by any CA that the zone trusts; the CA is part of who it is.
    report(`${place}.issuer`, undefined, `the CA that issues this certificate: ${nameList(names, "ISSUERS")}`)
    return undefined
  }
  const ski = issuers.get(issuer)?.ski
  if (ski === undefined) {
    if (!names.includes(issuer)) report(`${place}.issuer`, issuer, nameList(names, "ISSUERS"))
    return undefined
  }
  if (sanUri !== undefined) return { kind: "san-uri", issuerSki: ski, sanUri }
  return subject === undefined ? undefined : { kind: "subject", issuerSki: ski, subjectKey: subject.key }
}

/** The certificate's table as the operator wrote it: the parsed subject is not what stands in the file. */
function asWritten({ subject, ...rest }: Certificate): Readonly<Record<string, string>> {
  return subject === undefined ? rest : { ...rest, subject: subject.text }
}

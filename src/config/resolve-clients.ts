/**
 * Clients with their references resolved: every certificate under the key of the CA that issues it, every id and every
 * certificate once. Pure; called by `config/load.ts`.
 */
import { matchKey, type CertificateMatch, type Client } from "../core/identity.ts"
import { nameList, type Report } from "./report.ts"
import type { Parsed } from "./schema.ts"

/** CAs by name, and all names as written: also those whose own table has errors, so that a reference is no second error. */
export interface KnownIssuers {
  readonly issuers: ReadonlyMap<string, Parsed<"ISSUER">>
  readonly names: readonly string[]
}

/** Returns the clients; what contradicts itself or another client is reported. */
export function resolveClients(
  parsed: readonly (readonly [place: string, client: Parsed<"CLIENT">])[],
  known: KnownIssuers,
  report: Report,
): readonly Client[] {
  const placeOfId = new Map<string, string>()
  const placeOfKey = new Map<string, string>()
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
    return { id: client.id, certificates }
  })
}

type Certificate = Parsed<"CLIENT">["certificates"][number]

function resolveMatch(
  place: string,
  certificate: Certificate,
  { issuers, names }: KnownIssuers,
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

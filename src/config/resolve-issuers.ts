/**
 * CAs with what revokes their certificates: the list of a CA needs the CA's certificate, because only its key tells whether a
 * list is the CA's. Pure; called by `config/load.ts`.
 */
import { CRL_REFRESH_MS_DEFAULT } from "../core/bounds.ts"
import { formatRfc4514, nameKey } from "../core/certificate/distinguished-name.ts"
import { formatHex } from "../core/hex.ts"
import type { Issuer, IssuerCrl } from "./config.ts"
import type { Report } from "./report.ts"
import type { Parsed } from "./schema.ts"

/** Returns the CAs by key identifier. Two names for one CA are allowed, two opinions on its revocations are not. */
export function resolveIssuers(
  parsed: ReadonlyMap<string, Parsed<"ISSUER">>,
  report: Report,
): ReadonlyMap<string, Issuer> {
  const issuers = new Map<string, Issuer>()
  for (const [name, issuer] of parsed) {
    const revokedSerials = new Set(issuer.revoked_serials)
    const resolved = { name, ski: issuer.ski, revokedSerials, crl: resolveCrl(name, issuer, report) }
    const other = issuers.get(issuer.ski)
    const isPlain = issuer.crl === undefined && issuer.revoked_serials === undefined
    if (other === undefined || (other.crl === undefined && other.revokedSerials.size === 0))
      issuers.set(issuer.ski, resolved)
    else if (!isPlain) {
      const accepted = `revoked_serials and crl of this key identifier in one place; ISSUERS.${other.name} has it too`
      report(`ISSUERS.${name}.ski`, issuer.ski, accepted)
    }
  }
  return issuers
}

function resolveCrl(name: string, issuer: Parsed<"ISSUER">, report: Report): IssuerCrl | undefined {
  const { certificate, crl, ski } = issuer
  const place = `ISSUERS.${name}.certificate`
  if (certificate !== undefined && certificate.subjectKeyId !== ski) {
    const found = certificate.subjectKeyId === undefined ? "has none" : `has ${certificate.subjectKeyId}`
    report(
      place,
      formatRfc4514(certificate.subject),
      `a certificate whose subject key identifier is that of ski; this one ${found}`,
    )
    return undefined
  }
  if (crl === undefined) return undefined
  if (certificate === undefined) {
    report(place, undefined, "the certificate of the CA as PEM, which a list is verified with")
    return undefined
  }
  // RFC 5280 §6.3.3 (f): a key that may not sign lists has signed none.
  if (!certificate.allowsCrlSigning) {
    report(
      place,
      formatRfc4514(certificate.subject),
      "a certificate whose key usage allows the signing of lists (cRLSign)",
    )
    return undefined
  }
  const publicKey = formatHex(certificate.publicKey)
  return {
    source: {
      issuer: name,
      url: crl.url,
      refreshMs: crl.refresh ?? CRL_REFRESH_MS_DEFAULT,
      ca: { nameKey: nameKey(certificate.subject), ski, publicKey },
    },
    whenUnknown: crl.stale ?? "refuse",
  }
}

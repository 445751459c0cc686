/**
 * What the configuration may say of certificates: whose they are, by which CA, and which of them are revoked. Each carries the
 * sentence that tells an operator what it accepts. Pure; used by `config/schema.ts`.
 */
import { SERIAL_BYTES_MAX } from "../core/bounds.ts"
import { normalizeKeyId } from "../core/certificate/certificate.ts"
import { formatRfc4514, nameKey, parseRfc4514 } from "../core/certificate/distinguished-name.ts"
import { decodePem } from "../core/certificate/pem.ts"
import { parsePrintedName } from "../core/certificate/printed-name.ts"
import { normalizeDnsName, normalizeEmail } from "../core/certificate/san-name.ts"
import { isWorkloadId } from "../core/certificate/spiffe-id.ts"
import { parseSpkiPin } from "../core/certificate/spki-pin.ts"
import { parseHost } from "../core/route/target.ts"
import { parseSerial, parseX509 } from "../core/certificate/x509.ts"
import { text } from "./schema-parts.ts"

export const keyId = text('the subject key identifier of the CA in hex, such as "27846e5e89a3c0f4..."', (input) => {
  const hex = normalizeKeyId(input)
  return hex !== undefined && hex.length >= 16 && hex.length <= 128 ? hex : undefined
})

/** Becomes the spelling of `core/certificate/x509.ts`. */
export const serial = text(
  `the serial number of a certificate: 1 to ${SERIAL_BYTES_MAX} octets in hex, colons allowed, such as "4A:1B:0C"`,
  parseSerial,
)

export const caCertificate = text(
  'the certificate of the CA as PEM: one block "-----BEGIN CERTIFICATE-----"',
  (input) => {
    const octets = Uint8Array.from(input, (char) => Math.min(char.charCodeAt(0), 0xff))
    const der = decodePem(octets, ["CERTIFICATE"])
    if (der === undefined) return undefined
    const facts = parseX509(der)
    if (facts === undefined) return { refused: "a certificate that is not damaged" }
    return facts.isCa ? facts : { refused: "the certificate of a CA; this one is none (basicConstraints)" }
  },
)

export const crlUrl = text(
  'an http or https URL without user information and fragment, such as "http://crl.partners.example/ca.crl"',
  (input) => {
    const match = /^https?:\/\/([^/?#@]+)(?:[/?][\x21-\x7e]*)?$/.exec(input)
    return match === null || input.includes("#") || parseHost(match[1] ?? "") === undefined ? undefined : input
  },
)

export const fingerprint = text("the SHA-256 of the certificate: 64 hex digits, colons allowed", (input) => {
  const hex = normalizeKeyId(input)
  return hex?.length === 64 ? hex : undefined
})

export const subject = text(
  'a distinguished name as RFC 4514 writes it, such as "CN=client-a,O=Acme,C=JP"',
  (input) => {
    const parsed = parseRfc4514(input)
    if (!("error" in parsed)) return { text: input, key: nameKey(parsed.name) }
    // The one-line form is copied from dashboards and logs; read back it is a guess, so it is shown and not taken.
    const oneLine = parsePrintedName(input, "legacy") ?? []
    const hint =
      oneLine.length === 0 ? "" : `; if it means what it seems to, that is ${JSON.stringify(formatRfc4514(oneLine))}`
    return { refused: `a distinguished name as RFC 4514 writes it; this one ${parsed.error}${hint}` }
  },
)

export const sanUri = text(
  'the URI in the certificate, such as "spiffe://partners.example/acme" (visible ASCII, scheme first)',
  (input) => (/^[a-z][a-z0-9+.-]*:[\x21-\x7e]+$/.test(input) ? input : undefined),
)

export const spki = text(
  "the SHA-256 of the certificate's SubjectPublicKeyInfo: 64 hex digits, or base64 as a pin of RFC 7469 has it",
  parseSpkiPin,
)

export const sanDns = text(
  'the DNS name in the certificate, such as "client.acme.example" (ASCII, no wildcard, no trailing dot)',
  normalizeDnsName,
)

export const sanEmail = text(
  'the mail address in the certificate, such as "gateway@acme.example" (ASCII)',
  normalizeEmail,
)

export const spiffeId = text(
  'a SPIFFE id with a path, such as "spiffe://partners.example/acme" (lower-case trust domain; letters, digits, dots, hyphens, underscores)',
  (input) => (isWorkloadId(input) ? input : undefined),
)

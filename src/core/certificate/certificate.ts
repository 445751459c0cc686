/**
 * From what the platform says about a connection to a client certificate the gateway will reason about, or a refusal.
 *
 * Two questions, asked in this order: does the platform vouch for a certificate ({@link decidePresented}), and do the
 * facts inside the leaf agree with it and suit a client ({@link decideLeaf}). Facts of a leaf are parsed once and then
 * only compared, so the second question costs no parsing on a busy connection. Pure and total; called by the
 * `certificate` stage, which does the decoding and hashing between the two.
 *
 * Reasons are for the log. The caller learns one of two codes, a prober nothing more.
 */
import { LEAF_BYTES_MAX } from "../bounds.ts"
import type { DistinguishedName } from "./distinguished-name.ts"
import type { TlsClientAuth } from "./platform-certificate.ts"
import { spiffeIdOf } from "./spiffe-id.ts"
import { EKU_CLIENT_AUTH, type SubjectAltName, type X509Facts } from "./x509.ts"

/** A verified client certificate: what later stages may rely on. Hex is lower case, instants are epoch ms. */
export interface ClientCertificate {
  /** SHA-256 of the leaf's DER, 64 hex digits. */
  readonly fingerprint: string
  /** SHA-256 of the leaf's SubjectPublicKeyInfo, 64 hex digits. */
  readonly spki: string
  /** Subject key identifier of the CA that the platform verified the leaf against; undefined when it did not say. */
  readonly issuerSki: string | undefined
  readonly subject: DistinguishedName
  /** {@link nameKey} of the subject. */
  readonly subjectKey: string
  readonly subjectAltNames: readonly SubjectAltName[]
  /** The SPIFFE id, when the leaf follows the rules of an X.509-SVID: its only URI, and a key that issues nothing. */
  readonly spiffeId: string | undefined
  readonly serial: string
  readonly notBeforeMs: number
  readonly notAfterMs: number
  /** The leaf as an RFC 9440 byte sequence, ready for the `Client-Cert` field. */
  readonly rfc9440: string
}

/** Why a certificate was refused; exact, and only for the log. */
export type CertificateReason =
  | "no_cert"
  | "cert_revoked"
  | "cert_revoked_by_configuration"
  | "cert_expired"
  | "cert_not_yet_valid"
  | "unknown_issuer"
  | "crl_unavailable"
  | "eku"
  | "key_usage"
  | "ca_certificate"
  | "verification_failed"
  | "leaf_missing"
  | "leaf_too_large"
  | "leaf_malformed"
  | "fingerprint_mismatch"
  | "issuer_mismatch"

/** A refused certificate. `status` differs from the code's usual one where the certificate is good but unreadable. */
export interface CertificateRefusal {
  readonly ok: false
  readonly code: "client-cert-required" | "client-cert-invalid"
  readonly status?: 403
  readonly reason: CertificateReason
}

/** SHA-256 over the leaf and over its key, recomputed by this gateway, 64 lower-case hex digits each. */
export interface LeafDigests {
  readonly fingerprint: string
  readonly spki: string
}

/** The leaf that the platform vouches for, still encoded. */
export interface PresentedLeaf {
  readonly ok: true
  readonly rfc9440: string
  /** `certFingerprintSHA256` as given; compared with the recomputed one, never used by itself. */
  readonly claimedFingerprint: string
  readonly issuerSki: string | undefined
}

/**
 * Decides whether the platform vouches for a client certificate, from the untrusted value of
 * `request.cf.tlsClientAuth`. Anything but the three exact values means no.
 */
export function decidePresented(value: unknown): PresentedLeaf | CertificateRefusal {
  const auth = (typeof value === "object" && value !== null ? value : {}) as Partial<
    Record<keyof TlsClientAuth, unknown>
  >
  if (auth.certPresented !== "1") return refuse("no_cert", "client-cert-required")
  if (auth.certVerified !== "SUCCESS") return refuse(explainVerification(auth.certVerified))
  if (auth.certRevoked !== "0") return refuse("cert_revoked")
  // Identity lives inside the leaf. Without the leaf there is none: falling back to a printed name is how names are forged.
  if (auth.certRFC9440TooLarge === true) return { ...refuse("leaf_too_large"), status: 403 }
  const rfc9440 = auth.certRFC9440
  if (typeof rfc9440 !== "string" || rfc9440 === "") return refuse("leaf_missing")
  if (!/^:[A-Za-z0-9+/]+={0,2}:$/.test(rfc9440)) return refuse("leaf_malformed")
  if ((rfc9440.length - 2) * 0.75 > LEAF_BYTES_MAX + 2) return { ...refuse("leaf_too_large"), status: 403 }
  const ski = typeof auth.certIssuerSKI === "string" ? normalizeKeyId(auth.certIssuerSKI) : undefined
  const fingerprint = typeof auth.certFingerprintSHA256 === "string" ? auth.certFingerprintSHA256.toLowerCase() : ""
  return { ok: true, rfc9440, claimedFingerprint: fingerprint, issuerSki: ski }
}

/**
 * Decides whether a leaf's facts agree with the platform and suit a client now.
 *
 * @param facts `parseX509` of the leaf's DER, undefined when it is malformed
 * @param digests of that DER
 */
export function decideLeaf(
  presented: PresentedLeaf,
  facts: X509Facts | undefined,
  { fingerprint, spki }: LeafDigests,
  nowMs: number,
): { readonly ok: true; readonly certificate: ClientCertificate } | CertificateRefusal {
  if (facts === undefined) return refuse("leaf_malformed")
  if (presented.claimedFingerprint !== fingerprint) return refuse("fingerprint_mismatch")
  // The leaf names its issuer's key, the platform names the key it verified with: two CAs must not be mistaken for one.
  if (
    presented.issuerSki !== undefined &&
    facts.authorityKeyId !== undefined &&
    presented.issuerSki !== facts.authorityKeyId
  ) {
    return refuse("issuer_mismatch")
  }
  if (nowMs < facts.notBeforeMs) return refuse("cert_not_yet_valid")
  if (nowMs > facts.notAfterMs) return refuse("cert_expired")
  if (facts.isCa) return refuse("ca_certificate")
  if (!facts.allowsSignature) return refuse("key_usage")
  if (facts.extendedKeyUsages?.includes(EKU_CLIENT_AUTH) !== true) return refuse("eku")
  return {
    ok: true,
    certificate: {
      fingerprint,
      spki,
      issuerSki: presented.issuerSki,
      subject: facts.subject,
      subjectKey: facts.subjectKey,
      subjectAltNames: facts.subjectAltNames,
      spiffeId: facts.allowsIssuing ? undefined : spiffeIdOf(facts.subjectAltNames),
      serial: facts.serial,
      notBeforeMs: facts.notBeforeMs,
      notAfterMs: facts.notAfterMs,
      rfc9440: presented.rfc9440,
    },
  }
}

/** Returns whole days until the certificate ends, rounded down; negative once it has ended. */
export function daysLeft(notAfterMs: number, nowMs: number): number {
  return Math.floor((notAfterMs - nowMs) / 86_400_000)
}

/** Returns a key identifier as lower-case hex without separators, or undefined when it is not hex. */
export function normalizeKeyId(text: string): string | undefined {
  const hex = text.replaceAll(":", "").toLowerCase()
  return /^(?:[0-9a-f]{2})+$/.test(hex) ? hex : undefined
}

/** The platform's text decides nothing (any text but "SUCCESS" is a refusal); it only names the reason in the log. */
function explainVerification(verified: unknown): CertificateReason {
  if (typeof verified !== "string") return "verification_failed"
  // First: an expired CRL and the missing issuer of a CRL say nothing about the certificate.
  if (verified.includes("CRL")) return "crl_unavailable"
  if (verified.includes("expired")) return "cert_expired"
  if (verified.includes("not yet valid")) return "cert_not_yet_valid"
  if (/issuer certificate|first certificate|self.signed/.test(verified)) return "unknown_issuer"
  if (verified.includes("purpose")) return "eku"
  if (verified.includes("revoked")) return "cert_revoked"
  return "verification_failed"
}

function refuse(
  reason: CertificateReason,
  code: CertificateRefusal["code"] = "client-cert-invalid",
): CertificateRefusal {
  return { ok: false, code, reason }
}

/**
 * The connection facts that Cloudflare puts into `request.cf.tlsClientAuth`, as one type for both sides that speak it:
 * the local edge writes it, `core/certificate/certificate.ts` reads it.
 *
 * @see https://developers.cloudflare.com/workers/runtime-apis/request/ (IncomingRequestCfProperties)
 */

/**
 * All members are strings except the two flags. Without a certificate every string is empty except `certPresented`
 * ("0"), `certVerified` ("NONE") and `certRevoked` ("0").
 */
export interface TlsClientAuth {
  readonly certPresented: "0" | "1"
  /** "SUCCESS" also for a revoked certificate; "NONE"; or "FAILED:" and an OpenSSL text. */
  readonly certVerified: string
  readonly certRevoked: "0" | "1"
  readonly certIssuerDN: string
  readonly certSubjectDN: string
  /** RFC 2253 order: most specific first, separated by a comma. */
  readonly certIssuerDNRFC2253: string
  readonly certSubjectDNRFC2253: string
  /** OpenSSL's one-line form, `/C=JP/O=Bank`; ambiguous, never used to decide. */
  readonly certIssuerDNLegacy: string
  readonly certSubjectDNLegacy: string
  /** Upper-case hex. */
  readonly certSerial: string
  readonly certIssuerSerial: string
  readonly certSKI: string
  readonly certIssuerSKI: string
  /** Lower-case hex. */
  readonly certFingerprintSHA1: string
  readonly certFingerprintSHA256: string
  /** `May 25 23:11:00 2024 GMT`, day padded with a space. */
  readonly certNotBefore: string
  readonly certNotAfter: string
  /** RFC 9440 byte sequence `:base64 DER:` of the leaf; empty above 10 KiB, then the flag is set. */
  readonly certRFC9440: string
  readonly certRFC9440TooLarge: boolean
  readonly certChainRFC9440: string
  readonly certChainRFC9440TooLarge: boolean
}

/** What the platform reports for a connection without a client certificate. */
export const NO_CLIENT_CERTIFICATE: TlsClientAuth = {
  certPresented: "0",
  certVerified: "NONE",
  certRevoked: "0",
  certIssuerDN: "",
  certSubjectDN: "",
  certIssuerDNRFC2253: "",
  certSubjectDNRFC2253: "",
  certIssuerDNLegacy: "",
  certSubjectDNLegacy: "",
  certSerial: "",
  certIssuerSerial: "",
  certSKI: "",
  certIssuerSKI: "",
  certFingerprintSHA1: "",
  certFingerprintSHA256: "",
  certNotBefore: "",
  certNotAfter: "",
  certRFC9440: "",
  certRFC9440TooLarge: false,
  certChainRFC9440: "",
  certChainRFC9440TooLarge: false,
}

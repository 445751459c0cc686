/**
 * What a TLS connection says about its client, in the fields and formats of Cloudflare's `request.cf.tlsClientAuth`.
 *
 * OpenSSL's verdict of the handshake is the upper bound: everything here can only refuse more. Validity, the path to a
 * CA and revocation are judged again for every request, so that a reloaded list, a removed CA or the end of a validity
 * takes effect on open connections. Total: a certificate that cannot be read is presented, and failed.
 */
import { createHash, X509Certificate } from "node:crypto"
import type { TLSSocket } from "node:tls"
import { LEAF_BYTES_MAX } from "../src/core/bounds.ts"
import { formatLegacy, formatRfc4514 } from "../src/core/certificate/distinguished-name.ts"
import { NO_CLIENT_CERTIFICATE, type TlsClientAuth } from "../src/core/certificate/platform-certificate.ts"
import { parseX509 } from "../src/core/certificate/x509.ts"
import { decideRevocation, type RevocationDecision } from "./revocation.ts"
import { buildChain, type Trust } from "./trust.ts"

/** The client certificate of one connection and what OpenSSL said about it. */
export interface Peer {
  /** DER; undefined when the client sent no certificate. */
  readonly leaf: Uint8Array | undefined
  /** Node's name of OpenSSL's verdict; undefined when the certificate was verified. */
  readonly verifyError: string | undefined
  /** The trust under which OpenSSL said so. */
  readonly trust: Trust
}

/** The client's details, and the revocation verdict for the log: `certVerified` alone does not name a missing list. */
export interface PeerDescription {
  readonly auth: TlsClientAuth
  readonly revocation: RevocationDecision | undefined
}

/** OpenSSL's sentences as BoringSSL, which Cloudflare links, words them. Nothing may branch on them. */
const VERIFY_TEXTS: Readonly<Record<string, string>> = {
  CERT_CHAIN_TOO_LONG: "certificate chain too long",
  CERT_HAS_EXPIRED: "certificate has expired",
  CERT_NOT_YET_VALID: "certificate is not yet valid",
  CERT_REJECTED: "certificate rejected",
  CERT_REVOKED: "certificate revoked",
  CERT_SIGNATURE_FAILURE: "certificate signature failure",
  CERT_UNTRUSTED: "certificate not trusted",
  DEPTH_ZERO_SELF_SIGNED_CERT: "self signed certificate",
  ERROR_IN_CERT_NOT_AFTER_FIELD: "format error in certificate's notAfter field",
  ERROR_IN_CERT_NOT_BEFORE_FIELD: "format error in certificate's notBefore field",
  INVALID_CA: "invalid CA certificate",
  INVALID_PURPOSE: "unsupported certificate purpose",
  PATH_LENGTH_EXCEEDED: "path length constraint exceeded",
  SELF_SIGNED_CERT_IN_CHAIN: "self signed certificate in certificate chain",
  UNABLE_TO_GET_CRL: "unable to get certificate CRL",
  UNABLE_TO_GET_ISSUER_CERT: "unable to get issuer certificate",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "unable to get local issuer certificate",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "unable to verify the first certificate",
}

/** Returns the peer of a completed handshake that ran under `trust`. */
export function readPeer(socket: TLSSocket, trust: Trust): Peer {
  const verifyError = socket.authorized ? undefined : String(socket.authorizationError ?? "UNSPECIFIED")
  return { leaf: socket.getPeerX509Certificate()?.raw, verifyError, trust }
}

/** Facts of a peer under one trust, which do not change with time. */
interface PeerFacts {
  readonly trust: Trust
  /** From the leaf to a root; the leaf alone when the path runs through an intermediate that only OpenSSL saw. */
  readonly chain: readonly X509Certificate[]
  /** Between which instants every certificate of the chain is valid, epoch ms. */
  readonly validFromMs: number
  readonly validToMs: number
  readonly auth: TlsClientAuth
}

/** Facts by peer, so that a connection costs one walk and one parse, not one per request. */
const factsOf = new WeakMap<Peer, PeerFacts>()

/** Returns what to tell the Worker about a peer at an instant. */
export function describePeer(peer: Peer, trust: Trust, nowMs: number): PeerDescription {
  if (peer.leaf === undefined) return { auth: NO_CLIENT_CERTIFICATE, revocation: undefined }
  let facts = factsOf.get(peer)
  if (facts?.trust !== trust) {
    facts = readFacts(peer, peer.leaf, trust)
    factsOf.set(peer, facts)
  }
  const { auth, chain } = facts
  if (auth.certVerified !== "SUCCESS") return { auth, revocation: undefined }
  const lapse = findLapse(facts, nowMs)
  if (lapse !== undefined) return { auth: { ...auth, certVerified: `FAILED:${lapse}` }, revocation: undefined }
  if (trust.lists === undefined) return { auth, revocation: undefined }
  const revocation = decideRevocation(trust.lists, chain, nowMs)
  // Cloudflare reports a revoked certificate as verified; whoever reads only certVerified lets it in, there and here.
  if (revocation.status === "revoked") return { auth: { ...auth, certRevoked: "1" }, revocation }
  if (revocation.status === "good") return { auth, revocation }
  return { auth: { ...auth, certVerified: `FAILED:${VERIFY_TEXTS["UNABLE_TO_GET_CRL"]}` }, revocation }
}

function findLapse({ validFromMs, validToMs }: PeerFacts, nowMs: number): string | undefined {
  // Asked this way, an instant that could not be read is a lapse.
  if (!(nowMs <= validToMs)) return VERIFY_TEXTS["CERT_HAS_EXPIRED"]
  if (!(nowMs >= validFromMs)) return VERIFY_TEXTS["CERT_NOT_YET_VALID"]
  return undefined
}

function readFacts(peer: Peer, der: Uint8Array, trust: Trust): PeerFacts {
  const leaf = readCertificate(der)
  const facts = parseX509(der)
  const fingerprints = { certFingerprintSHA1: hash("sha1", der), certFingerprintSHA256: hash("sha256", der) }
  if (leaf === undefined || facts === undefined) {
    const certVerified = "FAILED:certificate cannot be parsed"
    const validity = { validFromMs: Infinity, validToMs: -Infinity }
    return {
      trust,
      chain: [],
      ...validity,
      auth: { ...NO_CLIENT_CERTIFICATE, certPresented: "1", certVerified, ...fingerprints },
    }
  }
  const path = buildChain(leaf, trust.cas)
  const chain = path ?? [leaf]
  const issuer = path?.[1] === undefined ? undefined : parseX509(path[1].raw)
  const isTooLarge = der.length > LEAF_BYTES_MAX
  const certVerified = formatVerdict(peer, trust, path !== undefined)
  // The issuer's key identifier as the leaf states it counts only below a verified signature.
  const statedKeyId = certVerified === "SUCCESS" ? facts.authorityKeyId : undefined
  return {
    trust,
    chain,
    validFromMs: Math.max(...chain.map(({ validFromDate }) => validFromDate.getTime())),
    validToMs: Math.min(...chain.map(({ validToDate }) => validToDate.getTime())),
    auth: {
      certPresented: "1",
      certVerified,
      certRevoked: "0",
      certIssuerDN: formatRfc4514(facts.issuer),
      certSubjectDN: formatRfc4514(facts.subject),
      certIssuerDNRFC2253: formatRfc4514(facts.issuer),
      certSubjectDNRFC2253: formatRfc4514(facts.subject),
      certIssuerDNLegacy: formatLegacy(facts.issuer),
      certSubjectDNLegacy: formatLegacy(facts.subject),
      certSerial: facts.serial.toUpperCase(),
      certIssuerSerial: issuer?.serial.toUpperCase() ?? "",
      certSKI: facts.subjectKeyId?.toUpperCase() ?? "",
      certIssuerSKI: (issuer?.subjectKeyId ?? statedKeyId)?.toUpperCase() ?? "",
      ...fingerprints,
      certNotBefore: formatOpensslTime(facts.notBeforeMs),
      certNotAfter: formatOpensslTime(facts.notAfterMs),
      certRFC9440: isTooLarge ? "" : formatByteSequence(der),
      certRFC9440TooLarge: isTooLarge,
      // Node does not give out what a client sent besides its leaf.
      certChainRFC9440: "",
      certChainRFC9440TooLarge: false,
    },
  }
}

function formatVerdict(peer: Peer, trust: Trust, hasPath: boolean): string {
  if (peer.verifyError !== undefined) {
    return `FAILED:${VERIFY_TEXTS[peer.verifyError] ?? "unspecified certificate verification error"}`
  }
  // A path that only OpenSSL saw counts as long as the CAs are those it was found under.
  return hasPath || peer.trust === trust ? "SUCCESS" : `FAILED:${VERIFY_TEXTS["UNABLE_TO_GET_ISSUER_CERT_LOCALLY"]}`
}

function readCertificate(der: Uint8Array): X509Certificate | undefined {
  try {
    return new X509Certificate(der)
  } catch {
    return undefined
  }
}

function hash(algorithm: "sha1" | "sha256", der: Uint8Array): string {
  return createHash(algorithm).update(der).digest("hex")
}

/** Returns an RFC 9440 byte sequence. @see RFC 9651 §3.3.5 */
function formatByteSequence(der: Uint8Array): string {
  return `:${Buffer.from(der).toString("base64")}:`
}

/** Returns `Jan  5 00:00:00 2026 GMT`: OpenSSL pads the day with a space. */
export function formatOpensslTime(instantMs: number): string {
  const [, day = "", month = "", year = "", time = ""] = new Date(instantMs).toUTCString().split(" ")
  return `${month} ${String(Number(day)).padStart(2, " ")} ${time} ${year} GMT`
}

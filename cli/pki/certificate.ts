/**
 * What a certificate of the development PKI looks like: the profile of the CA and of its leaves (RFC 5280), ECDSA P-256
 * throughout. {@link issueLeaf} makes what a plan asks for, {@link isLeafAsPlanned} tells whether a file still is that, so
 * the two of them decide what a run of `ensurePki` writes. No file is touched here; the clock is an argument.
 */
import "./reflection.ts"
import { createPrivateKey, randomBytes, type webcrypto, X509Certificate as PlatformCertificate } from "node:crypto"
import { isIP } from "node:net"
import * as x509 from "@peculiar/x509"

const DAY_MS = 86_400_000
/** Validity of a leaf in ms. */
export const LEAF_VALIDITY_MS = 90 * DAY_MS
/** A leaf that ends sooner than this is issued anew, in ms. */
export const LEAF_RENEWAL_MS = 7 * DAY_MS
const AUTHORITY_VALIDITY_MS = 3_653 * DAY_MS
/** How far the start of a validity lies back: a container's clock may run a little behind the host's. */
const BACKDATE_MS = 5 * 60_000
/** A certificate "not yet valid" starts this far ahead, in ms: long enough to stay a specimen. */
const FUTURE_MS = 365 * DAY_MS

const KEY_ALGORITHM = { name: "ECDSA", namedCurve: "P-256" } as const
const SIGNING_ALGORITHM = { name: "ECDSA", hash: "SHA-256" } as const
const SERVER_AUTH = "1.3.6.1.5.5.7.3.1"
const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"

/** A CA that can sign: its certificate and its private key. */
export interface Authority {
  readonly certificate: x509.X509Certificate
  readonly privateKey: webcrypto.CryptoKey
}

/** A certificate and its key as PEM: the certificate as such, the key as PKCS #8. */
export interface PemPair {
  readonly certificatePem: string
  readonly keyPem: string
}

/** What a leaf certificate is to say. `period` places its validity before, around or after now. */
export interface LeafPlan {
  readonly subject: x509.Name
  readonly names: readonly { readonly type: "url" | "dns" | "ip"; readonly value: string }[]
  readonly usage: "client" | "server"
  readonly period: "past" | "current" | "future"
}

/**
 * Returns a new self-signed CA, valid for ten years, for leaves only (`pathlen:0`).
 *
 * @param keyIdentifier hex of the subject key identifier; by default one made from the key
 * @see RFC 5280 §4.2.1.9, §4.2.1.3
 */
export async function createAuthority(
  subject: x509.Name,
  nowMs: number,
  keyIdentifier?: string,
): Promise<Authority & PemPair> {
  const keys = await createKeys()
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: createSerial(),
    subject,
    issuer: subject,
    notBefore: new Date(nowMs - BACKDATE_MS),
    notAfter: new Date(nowMs + AUTHORITY_VALIDITY_MS),
    publicKey: keys.publicKey,
    signingKey: keys.privateKey,
    signingAlgorithm: SIGNING_ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      keyIdentifier === undefined
        ? await x509.SubjectKeyIdentifierExtension.create(keys.publicKey)
        : new x509.SubjectKeyIdentifierExtension(keyIdentifier),
    ],
  })
  return { certificate, privateKey: keys.privateKey, certificatePem: toPem(certificate), keyPem: await exportKey(keys) }
}

/**
 * Returns a leaf with a new key under `authority`. It never outlives the CA.
 *
 * @see RFC 5280 §4.2
 */
export async function issueLeaf(authority: Authority, plan: LeafPlan, nowMs: number): Promise<PemPair> {
  const keys = await createKeys()
  const { notBeforeMs, notAfterMs } = placeValidity(plan.period, nowMs)
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: createSerial(),
    subject: plan.subject,
    issuer: authority.certificate.subjectName,
    notBefore: new Date(notBeforeMs),
    notAfter: new Date(Math.min(notAfterMs, authority.certificate.notAfter.getTime())),
    publicKey: keys.publicKey,
    signingKey: authority.privateKey,
    signingAlgorithm: SIGNING_ALGORITHM,
    extensions: [
      ...plannedExtensions(plan),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      new x509.AuthorityKeyIdentifierExtension(subjectKeyIdentifierOf(authority.certificate)),
    ],
  })
  return { certificatePem: toPem(certificate), keyPem: await exportKey(keys) }
}

/**
 * Returns true when `pair` is what `plan` asks for and need not be issued anew: names, purpose and validity are as
 * planned, the key belongs to the certificate and the certificate is signed by `authority` (or, for a specimen of a
 * foreign CA, is not). Anything unreadable is not as planned.
 */
export function isLeafAsPlanned(
  pair: PemPair,
  plan: LeafPlan,
  authority: Authority,
  origin: "own" | "foreign",
  nowMs: number,
): boolean {
  try {
    const certificate = new x509.X509Certificate(pair.certificatePem)
    const platform = new PlatformCertificate(pair.certificatePem)
    const issuer = new PlatformCertificate(toPem(authority.certificate))
    if (!platform.checkPrivateKey(createPrivateKey(pair.keyPem))) return false
    if (platform.verify(issuer.publicKey) !== (origin === "own")) return false
    if (!isSameDer(certificate.issuerName, authority.certificate.subjectName)) return false
    if (!isSameDer(certificate.subjectName, plan.subject)) return false
    for (const planned of plannedExtensions(plan)) {
      const found = certificate.getExtension(planned.type)
      if (found === null || !Buffer.from(found.rawData).equals(Buffer.from(planned.rawData))) return false
    }
    return isPlaced(plan.period, certificate.notBefore.getTime(), certificate.notAfter.getTime(), nowMs)
  } catch {
    return false
  }
}

/** Returns true when the certificate of a pair is signed by the key of `authority`. Anything unreadable is not. */
export function isSignedBy({ certificatePem }: PemPair, authority: Authority): boolean {
  try {
    const issuer = new PlatformCertificate(toPem(authority.certificate))
    return new PlatformCertificate(certificatePem).verify(issuer.publicKey)
  } catch {
    return false
  }
}

/** Returns the names of a server certificate: each host as a DNS name or an address. */
export function serverNames(hosts: readonly string[]): LeafPlan["names"] {
  const all = new Set([...hosts.map((host) => host.toLowerCase()), "127.0.0.1", "::1"])
  return [...all].map((value) => ({ type: isIP(value) === 0 ? "dns" : "ip", value }))
}

/** Returns the subject key identifier in upper-case hex without separators, as `certIssuerSKI` of Cloudflare gives it. */
export function subjectKeyIdentifierOf(certificate: x509.X509Certificate): string {
  const keyId = certificate.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId
  if (keyId === undefined) throw new Error("Cannot read the CA certificate, it has no subject key identifier")
  return keyId.toUpperCase()
}

/** The extensions that follow from a plan alone; the key identifiers follow from the keys. */
function plannedExtensions(plan: LeafPlan): x509.Extension[] {
  return [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension([plan.usage === "client" ? CLIENT_AUTH : SERVER_AUTH]),
    new x509.SubjectAlternativeNameExtension([...plan.names]),
  ]
}

function placeValidity(period: LeafPlan["period"], nowMs: number): { notBeforeMs: number; notAfterMs: number } {
  const shiftMs = { past: -LEAF_VALIDITY_MS - DAY_MS, current: -BACKDATE_MS, future: FUTURE_MS }[period]
  const notBeforeMs = nowMs + shiftMs
  return { notBeforeMs, notAfterMs: notBeforeMs + LEAF_VALIDITY_MS }
}

function isPlaced(period: LeafPlan["period"], notBeforeMs: number, notAfterMs: number, nowMs: number): boolean {
  if (period === "past") return notAfterMs < nowMs
  if (period === "future") return notBeforeMs - nowMs > LEAF_RENEWAL_MS
  return notBeforeMs <= nowMs && notAfterMs - nowMs > LEAF_RENEWAL_MS
}

/** 16 octets of which the first starts with the bits 01: positive, never shortened, and 126 of 128 bits are random. */
function createSerial(): string {
  const octets = randomBytes(16)
  octets.writeUInt8((octets.readUInt8(0) & 0x3f) | 0x40, 0)
  return octets.toString("hex")
}

async function createKeys(): Promise<webcrypto.CryptoKeyPair> {
  return await crypto.subtle.generateKey(KEY_ALGORITHM, true, ["sign", "verify"])
}

async function exportKey(keys: webcrypto.CryptoKeyPair): Promise<string> {
  const der = await crypto.subtle.exportKey("pkcs8", keys.privateKey)
  return x509.PemConverter.encode(der, "PRIVATE KEY") + "\n"
}

function isSameDer(left: x509.Name, right: x509.Name): boolean {
  return Buffer.from(left.toArrayBuffer()).equals(Buffer.from(right.toArrayBuffer()))
}

function toPem(certificate: x509.X509Certificate): string {
  return certificate.toString("pem") + "\n"
}

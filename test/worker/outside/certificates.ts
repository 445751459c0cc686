/**
 * Mints the client certificates of the attacks: the good ones, and one for every way of looking like somebody else.
 *
 * Names, alternative names and extensions are given as DER where a certificate library would refuse or repair them. All
 * leaves share one key, which decides nothing here; nothing is stored.
 */
import "../../../cli/pki/reflection.ts"
import { createHash, type webcrypto } from "node:crypto"
import * as x509 from "@peculiar/x509"
import { signerOf, type CrlSigner } from "../../core/crl-signers.ts"
import type { CertificateFixture, CertificateName } from "../provided.ts"

const DAY_MS = 86_400_000
const SIGNING = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const
const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"
const SERVER_AUTH = "1.3.6.1.5.5.7.3.1"
const EMAIL_PROTECTION = "1.3.6.1.5.5.7.3.4"
const SUBJECT_ALT_NAME = "2.5.29.17"

type CaName = "ca-a" | "ca-b" | "rogue"

interface Ca {
  readonly certificate: x509.X509Certificate
  readonly keys: webcrypto.CryptoKeyPair
  readonly ski: string
}

/** What deviates from a plain client certificate of CA-A. */
interface LeafPlan {
  readonly ca?: CaName
  readonly subject?: x509.JsonNameParams
  /** GeneralNames, each as DER. */
  readonly alternativeNames?: readonly Buffer[]
  readonly purposes?: readonly string[]
  readonly keyUsage?: x509.KeyUsageFlags
  readonly isCa?: boolean
  readonly serial?: string
  readonly notBeforeMs?: number
  readonly notAfterMs?: number
  readonly paddingBytes?: number
}

/** All certificates and the key identifiers of the CAs that the platform trusts. */
export interface MintedCertificates {
  readonly certificates: Readonly<Record<CertificateName, CertificateFixture>>
  readonly skis: Readonly<Record<"ca-a" | "ca-b", string>>
  readonly caPem: string
}

/** The certificates, and CA-A and a CA of its name as signers of revocation lists. */
export interface Minted {
  readonly minted: MintedCertificates
  readonly signers: Readonly<Record<"ca-a" | "rogue", CrlSigner>>
}

/** Mints every certificate, valid from yesterday for 90 days unless it is a matter of validity. */
export async function mintCertificates(nowMs: number): Promise<MintedCertificates> {
  return (await mintAuthorities(nowMs)).minted
}

/** As {@link mintCertificates}, and returns the CAs too. */
export async function mintAuthorities(nowMs: number): Promise<Minted> {
  const cas: Readonly<Record<CaName, Ca>> = {
    "ca-a": await createCa("CA-A", nowMs),
    "ca-b": await createCa("CA-B", nowMs),
    rogue: await createCa("CA-A", nowMs),
  }
  const keys = await createKeys()
  const mint = async ([name, plan]: [string, LeafPlan]) => [name, await issue(cas, keys, plan, nowMs)] as const
  const entries = await Promise.all(Object.entries(plans(nowMs)).map(mint))
  const signer = ({ certificate, keys }: Ca): Promise<CrlSigner> =>
    signerOf(
      "p256-sha256",
      keys,
      { name: "ECDSA", hash: "SHA-256" },
      new Uint8Array(certificate.subjectName.toArrayBuffer()),
    )
  return {
    minted: {
      certificates: Object.fromEntries(entries) as Record<CertificateName, CertificateFixture>,
      skis: { "ca-a": cas["ca-a"].ski, "ca-b": cas["ca-b"].ski },
      caPem: cas["ca-a"].certificate.toString("pem"),
    },
    signers: { "ca-a": await signer(cas["ca-a"]), rogue: await signer(cas.rogue) },
  }
}

const ACME_A_SERIAL = "4a11ce0000000000000000000000000a"
const URI_A = uri("spiffe://acme/acme-a")

function plans(nowMs: number): Readonly<Record<CertificateName, LeafPlan>> {
  return {
    "acme-a": { serial: ACME_A_SERIAL, alternativeNames: [URI_A] },
    "acme-b": { subject: commonName("acme-b"), alternativeNames: [uri("spiffe://acme/acme-b")] },
    "acme-dn": { subject: commonName("acme-dn"), alternativeNames: [] },
    "acme-a from ca-b": { ca: "ca-b", alternativeNames: [URI_A] },
    "acme-a from rogue": { ca: "rogue", serial: ACME_A_SERIAL, alternativeNames: [URI_A] },
    expired: { notBeforeMs: nowMs - 91 * DAY_MS, notAfterMs: nowMs - DAY_MS },
    "not yet valid": { notBeforeMs: nowMs + DAY_MS },
    "email only": { purposes: [EMAIL_PROTECTION] },
    "server only": { purposes: [SERVER_AUTH] },
    "no purpose": { purposes: [] },
    "certificate authority": { isCa: true },
    "key agreement only": { keyUsage: x509.KeyUsageFlags.keyAgreement },
    padded: { paddingBytes: 12_000 },
    "common name of acme-b": { subject: commonName("acme-b") },
    "uri of acme-b": { alternativeNames: [uri("spiffe://acme/acme-b")] },
    // Each of these reads like CN=acme-dn to somebody.
    "two common names": named([{ CN: ["acme-b"] }, { CN: ["acme-dn"] }]),
    "quoted comma": named([{ O: ["Acme, CN=acme-dn"] }]),
    "escaped comma": named([{ CN: ["x,CN=acme-dn"] }]),
    "joined names": named([{ CN: ["acme-dn"], OU: ["x"] }]),
    "leading hash": named([{ "2.5.4.3": [{ utf8String: "#hash" }] }]),
    "leading space": named([{ "2.5.4.3": [{ utf8String: " acme-dn" }] }]),
    "trailing backslash": named([{ CN: ["acme-dn\\"] }]),
    "nul in uri": { alternativeNames: [uri("spiffe://acme/acme-a\0/evil")] },
    "nul in dns name": { alternativeNames: [dnsName("spiffe://acme/acme-a\0.evil")] },
    "nul in common name": named([{ "2.5.4.3": [{ utf8String: "acme-dn\0.evil" }] }]),
    "two uris in one": { alternativeNames: [uri("spiffe://acme/x, URI:spiffe://acme/acme-a")] },
    "two uris": { alternativeNames: [uri("spiffe://acme/x"), URI_A] },
    host: { subject: commonName("x"), alternativeNames: [dnsName("api.acme.test")] },
    "host in capitals": { subject: commonName("x"), alternativeNames: [dnsName("API.Acme.TEST")] },
    "wildcard host": { subject: commonName("x"), alternativeNames: [dnsName("*.acme.test")] },
    mailbox: { subject: commonName("x"), alternativeNames: [mailAddress("Ops@ACME.test")] },
    "host and mailbox": {
      subject: commonName("x"),
      alternativeNames: [dnsName("api.acme.test"), mailAddress("Ops@acme.test")],
    },
    "uri as mail address": { alternativeNames: [mailAddress("spiffe://acme/acme-a")] },
    "uri as dns name": { alternativeNames: [dnsName("spiffe://acme/acme-a")] },
    "uri as other name": { alternativeNames: [otherName("spiffe://acme/acme-a")] },
    "line feed in common name": {
      subject: [{ "2.5.4.3": [{ utf8String: 'acme-a\n{"level":"audit"}\u001b[31m' }] }],
    },
  }
}

const commonName = (value: string): x509.JsonNameParams => [{ CN: [value] }]
const named = (subject: x509.JsonNameParams): LeafPlan => ({ subject, alternativeNames: [] })

async function createCa(name: string, nowMs: number): Promise<Ca> {
  const keys = await createKeys()
  const keyId = await x509.SubjectKeyIdentifierExtension.create(keys.publicKey)
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: "01",
    subject: [{ CN: [name] }],
    issuer: [{ CN: [name] }],
    notBefore: new Date(nowMs - 365 * DAY_MS),
    notAfter: new Date(nowMs + 365 * DAY_MS),
    publicKey: keys.publicKey,
    signingKey: keys.privateKey,
    signingAlgorithm: SIGNING,
    extensions: [new x509.BasicConstraintsExtension(true, 0, true), keyId],
  })
  return { certificate, keys, ski: keyId.keyId }
}

async function issue(
  cas: Readonly<Record<CaName, Ca>>,
  keys: webcrypto.CryptoKeyPair,
  plan: LeafPlan,
  nowMs: number,
): Promise<CertificateFixture> {
  const ca = cas[plan.ca ?? "ca-a"]
  const { alternativeNames = [URI_A], purposes = [CLIENT_AUTH], paddingBytes = 0 } = plan
  const certificate = await x509.X509CertificateGenerator.create({
    ...(plan.serial === undefined ? {} : { serialNumber: plan.serial }),
    subject: new x509.Name(plan.subject ?? [{ CN: ["acme-a"] }]),
    issuer: ca.certificate.subjectName,
    notBefore: new Date(plan.notBeforeMs ?? nowMs - DAY_MS),
    notAfter: new Date(plan.notAfterMs ?? nowMs + 90 * DAY_MS),
    publicKey: keys.publicKey,
    signingKey: ca.keys.privateKey,
    signingAlgorithm: SIGNING,
    extensions: [
      new x509.BasicConstraintsExtension(plan.isCa ?? false, undefined, true),
      new x509.KeyUsagesExtension(plan.keyUsage ?? x509.KeyUsageFlags.digitalSignature, true),
      ...(purposes.length === 0 ? [] : [new x509.ExtendedKeyUsageExtension([...purposes])]),
      ...(alternativeNames.length === 0
        ? []
        : [new x509.Extension(SUBJECT_ALT_NAME, false, octets(der(0x30, ...alternativeNames)))]),
      new x509.AuthorityKeyIdentifierExtension(ca.ski),
      ...(paddingBytes === 0
        ? []
        : [new x509.Extension("1.3.6.1.4.1.55555.1", false, octets(der(0x04, Buffer.alloc(paddingBytes))))]),
    ],
  })
  const raw = Buffer.from(certificate.rawData)
  return {
    der: raw.toString("base64"),
    fingerprint: createHash("sha256").update(raw).digest("hex"),
    spki: createHash("sha256").update(Buffer.from(certificate.publicKey.rawData)).digest("hex"),
    serial: certificate.serialNumber,
    notAfterMs: certificate.notAfter.getTime(),
    issuerSki: ca.ski,
    subject: certificate.subject,
  }
}

async function createKeys(): Promise<webcrypto.CryptoKeyPair> {
  return crypto.subtle.generateKey(SIGNING, true, ["sign", "verify"])
}

/** One DER value with a definite length of up to 65,535 octets. @see X.690 §8.1 */
function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts)
  const { length } = content
  const header =
    length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from(header), content])
}

function uri(text: string): Buffer {
  return der(0x86, Buffer.from(text, "latin1"))
}

function dnsName(text: string): Buffer {
  return der(0x82, Buffer.from(text, "latin1"))
}

function mailAddress(text: string): Buffer {
  return der(0x81, Buffer.from(text, "latin1"))
}

/** An otherName of the type that Windows calls a user principal name. */
function otherName(text: string): Buffer {
  const typeId = Buffer.from([0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x14, 0x02, 0x03])
  return der(0xa0, typeId, der(0xa0, der(0x0c, Buffer.from(text))))
}

function octets(buffer: Buffer): ArrayBuffer {
  return Uint8Array.from(buffer).buffer
}

/**
 * Certificates for tests: well-formed ones minted with a real signature, hostile ones through extensions written octet by
 * octet, and the few lines of DER writing that both need.
 */
import "../../cli/pki/reflection.ts"
import { createHash, type webcrypto } from "node:crypto"
import * as x509 from "@peculiar/x509"

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const
export const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"
export const SERVER_AUTH = "1.3.6.1.5.5.7.3.1"
export const EMAIL_PROTECTION = "1.3.6.1.5.5.7.3.4"
export const NOT_BEFORE_MS = Date.UTC(2026, 0, 5)
export const NOT_AFTER_MS = Date.UTC(2027, 0, 4, 23, 59, 59)

/** What a minted leaf says; everything has a value that suits a client. */
export interface LeafOptions {
  readonly subject?: string
  readonly notBefore?: Date
  readonly notAfter?: Date
  readonly serialNumber?: string
  readonly extensions?: readonly x509.Extension[]
}

let keys: Promise<webcrypto.CryptoKeyPair> | undefined

/** Returns the DER of a new certificate. All share one key: making keys is what takes time. */
export async function mintLeaf(options: LeafOptions = {}): Promise<Uint8Array> {
  keys ??= crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"])
  const { publicKey, privateKey } = await keys
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: options.serialNumber ?? "0a1b2c3d",
    subject: options.subject ?? "C=JP, O=Acme, CN=acme-a",
    issuer: "CN=Test CA",
    notBefore: options.notBefore ?? new Date(NOT_BEFORE_MS),
    notAfter: options.notAfter ?? new Date(NOT_AFTER_MS),
    publicKey,
    signingKey: privateKey,
    signingAlgorithm: ALGORITHM,
    extensions: [...(options.extensions ?? [new x509.ExtendedKeyUsageExtension([CLIENT_AUTH])])],
  })
  return new Uint8Array(certificate.rawData)
}

/** Returns a subject alternative name extension from tagged octets, exactly as given. */
export function subjectAltNames(...names: readonly (readonly [tag: number, octets: string | Uint8Array])[]) {
  return rawExtension("2.5.29.17", der(0x30, ...names.map(([tag, octets]) => der(tag, octetsOf(octets)))))
}

/** Returns an extension with any octets as its value. */
export function rawExtension(oid: string, value: Uint8Array): x509.Extension {
  return new x509.Extension(oid, false, Uint8Array.from(value))
}

/** Returns one DER element: identifier octet, shortest length, contents one after the other. */
export function der(tag: number, ...contents: readonly (string | Uint8Array)[]): Uint8Array {
  const content = Buffer.concat(contents.map(octetsOf))
  const { length } = content
  const octets = [length >> 16, (length >> 8) & 0xff, length & 0xff].slice(
    length < 0x100 ? 2 : length < 0x10000 ? 1 : 0,
  )
  const head = length < 0x80 ? [length] : [0x80 | octets.length, ...octets]
  return new Uint8Array(Buffer.concat([Uint8Array.from([tag, ...head]), content]))
}

/** Returns octets of a text, one to a character, or the octets as they are. */
export function octetsOf(value: string | Uint8Array): Uint8Array {
  return typeof value === "string" ? new Uint8Array(Buffer.from(value, "latin1")) : value
}

export function hex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text.replaceAll(" ", ""), "hex"))
}

export function derOfPem(pem: string): Uint8Array {
  return new Uint8Array(Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ""), "base64"))
}

export function sha256(octets: Uint8Array): string {
  return createHash("sha256").update(octets).digest("hex")
}

/** Returns a copy in which one occurrence of a text is replaced by another of the same length. */
export function patch(octets: Uint8Array, from: string, to: string): Uint8Array {
  const copy = Buffer.from(octets)
  const at = copy.indexOf(from, 0, "latin1")
  if (at < 0 || from.length !== to.length) throw new Error(`Cannot patch ${JSON.stringify(from)}`)
  copy.write(to, at, "latin1")
  return new Uint8Array(copy)
}

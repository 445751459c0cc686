/**
 * How a signature over DER is verified: from an AlgorithmIdentifier and a public key to what WebCrypto has to be told.
 *
 * Decides which algorithms count (RSA with PKCS #1 or PSS padding, ECDSA and Ed25519, with SHA-2) and refuses pairs that do not
 * belong together; nothing is verified here. Pure and total; called before a revocation list is believed.
 *
 * @see RFC 4055, RFC 5758, RFC 8410
 */
import { readChildren, readDer, readOid, TAG, type DerElement } from "./der.ts"

/** Names of digests as WebCrypto writes them. */
type Digest = "SHA-256" | "SHA-384" | "SHA-512"

/** What `importKey` and `verify` of WebCrypto take. */
export interface Verification {
  readonly keyAlgorithm:
    | { readonly name: "RSASSA-PKCS1-v1_5" | "RSA-PSS"; readonly hash: Digest }
    | { readonly name: "ECDSA"; readonly namedCurve: string }
    | { readonly name: "Ed25519" }
  readonly algorithm: {
    readonly name: "RSASSA-PKCS1-v1_5" | "RSA-PSS" | "ECDSA" | "Ed25519"
    readonly hash?: Digest
    readonly saltLength?: number
  }
  /** The signature in the form that WebCrypto takes: of ECDSA the two numbers, padded, one behind the other. */
  readonly signature: Uint8Array<ArrayBuffer>
}

const RSA_KEY = "1.2.840.113549.1.1.1"
const RSA_PSS = "1.2.840.113549.1.1.10"
const MGF1 = "1.2.840.113549.1.1.8"
const EC_KEY = "1.2.840.10045.2.1"
const ED25519 = "1.3.101.112"
const DIGESTS: ReadonlyMap<string, Digest> = new Map([
  ["2.16.840.1.101.3.4.2.1", "SHA-256"],
  ["2.16.840.1.101.3.4.2.2", "SHA-384"],
  ["2.16.840.1.101.3.4.2.3", "SHA-512"],
])
const RSA_PKCS1: ReadonlyMap<string, Digest> = new Map([
  ["1.2.840.113549.1.1.11", "SHA-256"],
  ["1.2.840.113549.1.1.12", "SHA-384"],
  ["1.2.840.113549.1.1.13", "SHA-512"],
])
const ECDSA: ReadonlyMap<string, Digest> = new Map([
  ["1.2.840.10045.4.3.2", "SHA-256"],
  ["1.2.840.10045.4.3.3", "SHA-384"],
  ["1.2.840.10045.4.3.4", "SHA-512"],
])
/** Curves by object identifier, with the octets of one coordinate. */
const CURVES: ReadonlyMap<string, readonly [name: string, octets: number]> = new Map([
  ["1.2.840.10045.3.1.7", ["P-256", 32]],
  ["1.3.132.0.34", ["P-384", 48]],
  ["1.3.132.0.35", ["P-521", 66]],
])

/** Returns true when the algorithm is one that can be verified, with a key that fits. */
export function isSignatureAlgorithm(algorithm: Uint8Array): boolean {
  const [oid = "", parameters] = readAlgorithm(algorithm) ?? []
  return (
    RSA_PKCS1.has(oid) || ECDSA.has(oid) || oid === ED25519 || (oid === RSA_PSS && readPss(parameters) !== undefined)
  )
}

/**
 * Returns how to verify, or undefined when the algorithm does not count, the key is of another kind or the signature does
 * not have its form.
 *
 * @param algorithm AlgorithmIdentifier, DER
 * @param publicKey SubjectPublicKeyInfo, DER
 * @param signature content of the BIT STRING, without its first octet
 */
export function planVerification(
  algorithm: Uint8Array,
  publicKey: Uint8Array,
  signature: Uint8Array,
): Verification | undefined {
  const [oid = "", parameters] = readAlgorithm(algorithm) ?? []
  const [keyAlgorithm] = children(readDer(publicKey)) ?? []
  const [keyOid, keyParameters] = (keyAlgorithm === undefined ? undefined : readAlgorithm(keyAlgorithm.bytes)) ?? []
  const digest = RSA_PKCS1.get(oid)
  if (digest !== undefined && keyOid === RSA_KEY) {
    const name = "RSASSA-PKCS1-v1_5"
    return { keyAlgorithm: { name, hash: digest }, algorithm: { name }, signature: Uint8Array.from(signature) }
  }
  const pss = oid === RSA_PSS ? readPss(parameters) : undefined
  if (pss !== undefined && keyOid === RSA_KEY) {
    const name = "RSA-PSS"
    return {
      keyAlgorithm: { name, hash: pss.hash },
      algorithm: { name, saltLength: pss.saltLength },
      signature: Uint8Array.from(signature),
    }
  }
  const hash = ECDSA.get(oid)
  if (hash !== undefined && keyOid === EC_KEY) {
    const curveOid = keyParameters?.tag === TAG.oid ? readOid(keyParameters.content) : undefined
    const [namedCurve, octets] = CURVES.get(curveOid ?? "") ?? []
    const raw = octets === undefined ? undefined : ecdsaSignature(signature, octets)
    if (namedCurve === undefined || raw === undefined) return undefined
    return { keyAlgorithm: { name: "ECDSA", namedCurve }, algorithm: { name: "ECDSA", hash }, signature: raw }
  }
  if (oid === ED25519 && keyOid === ED25519) {
    const name = "Ed25519"
    return { keyAlgorithm: { name }, algorithm: { name }, signature: Uint8Array.from(signature) }
  }
  return undefined
}

/** Returns object identifier and parameters of an AlgorithmIdentifier. */
function readAlgorithm(bytes: Uint8Array): readonly [oid: string, parameters: DerElement | undefined] | undefined {
  const [type, parameters, rest] = children(readDer(bytes)) ?? []
  const oid = type?.tag === TAG.oid ? readOid(type.content) : undefined
  return oid === undefined || rest !== undefined ? undefined : [oid, parameters]
}

/** Returns digest and salt length; undefined unless everything is written out and both digests are the same. @see RFC 4055 §3.1 */
function readPss(
  parameters: DerElement | undefined,
): { readonly hash: Digest; readonly saltLength: number } | undefined {
  const [hashField, maskField, saltField, ...rest] = children(parameters) ?? []
  if (hashField?.tag !== 0xa0 || maskField?.tag !== 0xa1 || saltField?.tag !== 0xa2) return undefined
  // The last member says where the signature ends, and has one value.
  if (rest.length > 1 || (rest[0] !== undefined && rest[0].tag !== 0xa3)) return undefined
  const hash = digestIn(readDer(hashField.content))
  const [maskOid, maskHash] = readAlgorithm(maskField.content) ?? []
  const salt = readDer(saltField.content)
  if (hash === undefined || maskOid !== MGF1 || digestIn(maskHash) !== hash) return undefined
  const [saltLength, more] = salt?.tag === TAG.integer ? salt.content : []
  return saltLength === undefined || more !== undefined || saltLength > 127 ? undefined : { hash, saltLength }
}

function digestIn(algorithm: DerElement | undefined): Digest | undefined {
  return algorithm === undefined ? undefined : DIGESTS.get(readAlgorithm(algorithm.bytes)?.[0] ?? "")
}

/** Returns both numbers of an ECDSA signature at their full width. @see RFC 3279 §2.2.3, W3C WebCrypto §23.7.2 */
function ecdsaSignature(der: Uint8Array, octets: number): Uint8Array<ArrayBuffer> | undefined {
  const numbers = children(readDer(der))
  if (numbers?.length !== 2) return undefined
  const raw = new Uint8Array(octets * 2)
  for (const [index, number] of numbers.entries()) {
    if (number.tag !== TAG.integer || (number.content[0] ?? 0x80) >= 0x80) return undefined
    const value = number.content[0] === 0 ? number.content.subarray(1) : number.content
    if (value.length > octets) return undefined
    raw.set(value, octets * (index + 1) - value.length)
  }
  return raw
}

function children(element: DerElement | undefined): readonly DerElement[] | undefined {
  return element?.tag === TAG.sequence ? readChildren(element) : undefined
}

/**
 * CAs that sign revocation lists for tests, one for every kind of key that a list may be signed with. The lists are those of
 * `crl-fixtures.ts`.
 */
import { webcrypto } from "node:crypto"
import { der, hex } from "./certificate-fixtures.ts"
import { crlOf, ECDSA_SHA256, ISSUER, tbsCertList, type CrlParts } from "./crl-fixtures.ts"

/** A CA, as far as signing and verifying lists goes. */
export interface CrlSigner {
  /** Its name, DER. */
  readonly issuer: Uint8Array
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Uint8Array
  /** AlgorithmIdentifier of its signatures, DER. */
  readonly algorithm: Uint8Array
  readonly sign: (octets: Uint8Array) => Promise<Uint8Array>
}

/** Names of the kinds. */
export const SIGNER_KINDS = [
  "rsa-sha256",
  "rsa-sha384",
  "rsa-sha512",
  "rsa-pss",
  "p256-sha256",
  "p384-sha384",
  "p384-sha256",
  "p521-sha512",
  "ed25519",
] as const
export type SignerKind = (typeof SIGNER_KINDS)[number]

const NULL = hex("0500")
const SHA256 = der(0x30, hex("0609608648016503040201"), NULL)
const RSA = { modulusLength: 2_048, publicExponent: Uint8Array.of(1, 0, 1) }
const ALGORITHMS: Readonly<Record<SignerKind, Uint8Array>> = {
  "rsa-sha256": der(0x30, hex("06092a864886f70d01010b"), NULL),
  "rsa-sha384": der(0x30, hex("06092a864886f70d01010c"), NULL),
  "rsa-sha512": der(0x30, hex("06092a864886f70d01010d"), NULL),
  "rsa-pss": der(
    0x30,
    hex("06092a864886f70d01010a"),
    der(
      0x30,
      der(0xa0, SHA256),
      der(0xa1, der(0x30, hex("06092a864886f70d010108"), SHA256)),
      der(0xa2, der(0x02, Uint8Array.of(32))),
    ),
  ),
  "p256-sha256": ECDSA_SHA256,
  "p384-sha384": der(0x30, hex("06082a8648ce3d040303")),
  "p384-sha256": ECDSA_SHA256,
  "p521-sha512": der(0x30, hex("06082a8648ce3d040304")),
  ed25519: der(0x30, hex("06032b6570")),
}

/** Returns a new CA of a kind. All bear the same name. */
export async function createSigner(kind: SignerKind): Promise<CrlSigner> {
  const [family = "", digest = "sha256"] = kind.split("-")
  const hash = `SHA-${digest.slice(3)}`
  const generate = (algorithm: object): Promise<webcrypto.CryptoKeyPair> =>
    webcrypto.subtle.generateKey(algorithm as webcrypto.EcKeyGenParams, true, ["sign", "verify"])
  if (kind === "rsa-pss")
    return signerOf(kind, await generate({ ...RSA, name: "RSA-PSS", hash: "SHA-256" }), {
      name: "RSA-PSS",
      saltLength: 32,
    })
  if (family === "rsa") {
    const name = "RSASSA-PKCS1-v1_5"
    return signerOf(kind, await generate({ ...RSA, name, hash }), { name })
  }
  if (kind === "ed25519") return signerOf(kind, await generate({ name: "Ed25519" }), { name: "Ed25519" })
  const curve = `P-${family.slice(1)}`
  return signerOf(kind, await generate({ name: "ECDSA", namedCurve: curve }), { name: "ECDSA", hash })
}

/** Returns the signer of a key pair that exists. */
export async function signerOf(
  kind: SignerKind,
  keys: webcrypto.CryptoKeyPair,
  algorithm: { readonly name: string; readonly hash?: string; readonly saltLength?: number },
  issuer: Uint8Array = ISSUER,
): Promise<CrlSigner> {
  return {
    issuer,
    publicKey: new Uint8Array(await webcrypto.subtle.exportKey("spki", keys.publicKey)),
    algorithm: ALGORITHMS[kind],
    async sign(octets) {
      const signature = await webcrypto.subtle.sign(algorithm, keys.privateKey, Uint8Array.from(octets))
      const raw = new Uint8Array(signature)
      return algorithm.name === "ECDSA" ? derSignature(raw) : raw
    },
  }
}

/** Returns a list that the CA has signed. */
export async function signedCrl(signer: CrlSigner, parts: CrlParts = {}): Promise<Uint8Array> {
  const said = { algorithm: signer.algorithm, issuer: signer.issuer, ...parts }
  return crlOf({ ...said, signature: parts.signature ?? (await signer.sign(tbsCertList(said))) })
}

/** The two numbers of an ECDSA signature as DER. */
function derSignature(raw: Uint8Array): Uint8Array {
  const half = raw.length / 2
  const [r, s] = [raw.subarray(0, half), raw.subarray(half)].map((number) => {
    const digits = Buffer.from(number)
      .toString("hex")
      .replace(/^(?:00)+(?=..)/, "")
    return der(0x02, hex(/^[89a-f]/.test(digits) ? `00${digits}` : digits))
  })
  return der(0x30, r ?? "", s ?? "")
}

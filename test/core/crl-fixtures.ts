/**
 * Revocation lists for tests, written octet by octet from parts, so that every shape of RFC 5280 §5 and every way of leaving it
 * can be made. Signatures are real where a test gives a key.
 */
import { der, hex } from "./certificate-fixtures.ts"

export const THIS_UPDATE_MS = Date.UTC(2026, 10, 1)
export const NEXT_UPDATE_MS = Date.UTC(2026, 11, 1)
export const ISSUER = name("Test CA")
/** AlgorithmIdentifiers. */
export const ECDSA_SHA256 = der(0x30, hex("06082a8648ce3d040302"))
export const SHA1_RSA = der(0x30, hex("06092a864886f70d010105"), hex("0500"))

/** What a list says; everything has a value that suits a complete list of version 2. */
export interface CrlParts {
  /** Null leaves it away: version 1. */
  readonly version?: number | null
  readonly algorithm?: Uint8Array
  readonly outerAlgorithm?: Uint8Array
  readonly issuer?: Uint8Array
  readonly thisUpdate?: Uint8Array
  readonly nextUpdate?: Uint8Array | null
  /** Whole entries; null leaves the list of them away. */
  readonly entries?: readonly Uint8Array[] | null
  /** Whole extensions; null leaves them away. */
  readonly extensions?: readonly Uint8Array[] | null
  readonly signature?: Uint8Array
  readonly surplus?: Uint8Array
}

export function name(commonName: string): Uint8Array {
  return der(0x30, der(0x31, der(0x30, hex("0603550403"), der(0x0c, commonName))))
}

/** A UTCTime, or a GeneralizedTime from 2050 on. */
export function time(ms: number): Uint8Array {
  const text = `${new Date(ms).toISOString().replaceAll(/[-:T]/g, "").slice(0, 14)}Z`
  return text < "2050" ? der(0x17, text.slice(2)) : der(0x18, text)
}

export function entry(serial: string, ...extensions: readonly Uint8Array[]): Uint8Array {
  const list = extensions.length === 0 ? new Uint8Array() : der(0x30, ...extensions)
  return der(0x30, der(0x02, hex(serial)), time(THIS_UPDATE_MS), list)
}

export function extension(oid: string, value: string | Uint8Array, isCritical = false): Uint8Array {
  const octets = typeof value === "string" ? hex(value) : value
  return der(0x30, encodeOid(oid), isCritical ? hex("0101ff") : new Uint8Array(), der(0x04, octets))
}

export const CRL_NUMBER = extension("2.5.29.20", "020107")

/** Returns the part that is signed. */
export function tbsCertList(parts: CrlParts = {}): Uint8Array {
  const { version = 1, entries = [entry("0a1b")], extensions = [CRL_NUMBER], nextUpdate = time(NEXT_UPDATE_MS) } = parts
  const absent = new Uint8Array()
  return der(
    0x30,
    version === null ? absent : der(0x02, Uint8Array.of(version)),
    parts.algorithm ?? ECDSA_SHA256,
    parts.issuer ?? ISSUER,
    parts.thisUpdate ?? time(THIS_UPDATE_MS),
    nextUpdate ?? absent,
    entries === null ? absent : der(0x30, ...entries),
    extensions === null ? absent : der(0xa0, der(0x30, ...extensions)),
    parts.surplus ?? absent,
  )
}

/** Returns a list as DER. Without a signature it has one of no meaning. */
export function crlOf(parts: CrlParts = {}): Uint8Array {
  return der(
    0x30,
    tbsCertList(parts),
    parts.outerAlgorithm ?? parts.algorithm ?? ECDSA_SHA256,
    der(0x03, Uint8Array.of(0), parts.signature ?? hex("3006020101020101")),
  )
}

export function pemOf(octets: Uint8Array, label = "X509 CRL"): string {
  const lines =
    Buffer.from(octets)
      .toString("base64")
      .match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`
}

function encodeOid(oid: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = oid.split(".").map(Number)
  const octets = [first * 40 + second, ...rest].flatMap((arc) => {
    const digits = [arc & 0x7f]
    for (let left = arc >> 7; left > 0; left >>= 7) digits.unshift((left & 0x7f) | 0x80)
    return digits
  })
  return der(0x06, Uint8Array.from(octets))
}

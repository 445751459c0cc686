/**
 * Facts of an X.509 certificate, read from its DER.
 *
 * Only what identity and admission decide on, as typed values: names as attributes, subject alternative names with their
 * type and octets, times as instants. Nothing is verified here: the chain is the platform's word. Pure and total;
 * `undefined` means "not a certificate this gateway will reason about".
 *
 * @see RFC 5280 §4.1, §4.2
 */
import { SERIAL_BYTES_MAX } from "../bounds.ts"
import { isNestingBounded, readChildren, readDer, readLatin1, readOid, readTime, TAG, type DerElement } from "./der.ts"
import { nameKey, readName, type DistinguishedName } from "./distinguished-name.ts"
import { formatHex, parseHex } from "../hex.ts"

/**
 * One subject alternative name. `value` holds the octets one to a character, so a NUL or a comma inside a name stays
 * inside it and never ends it.
 */
export interface SubjectAltName {
  readonly type: "uri" | "dns" | "email" | "ip" | "directory" | "other"
  readonly value: string
}

/** Facts of one certificate. Hex is lower case; instants are epoch ms. */
export interface X509Facts {
  /** {@link formatSerial} of the number. */
  readonly serial: string
  readonly issuer: DistinguishedName
  readonly subject: DistinguishedName
  /** {@link nameKey} of the subject. */
  readonly subjectKey: string
  readonly notBeforeMs: number
  readonly notAfterMs: number
  readonly subjectAltNames: readonly SubjectAltName[]
  /** Object identifiers of the extended key usages; undefined when the extension is absent. */
  readonly extendedKeyUsages: readonly string[] | undefined
  /** True when the key usage extension is absent or allows digital signatures, which TLS client authentication needs. */
  readonly allowsSignature: boolean
  /** True when the key usage extension allows signing certificates or revocation lists. */
  readonly allowsIssuing: boolean
  /** The same for the signatures of revocation lists. */
  readonly allowsCrlSigning: boolean
  readonly isCa: boolean
  readonly subjectKeyId: string | undefined
  readonly authorityKeyId: string | undefined
  /** The SubjectPublicKeyInfo, DER. */
  readonly publicKey: Uint8Array
}

/** Object identifier of the extended key usage "TLS web client authentication". @see RFC 5280 §4.2.1.12 */
export const EKU_CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"

const OID = {
  subjectKeyId: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  authorityKeyId: "2.5.29.35",
  extendedKeyUsage: "2.5.29.37",
} as const

/** Context-specific identifier octets of GeneralName. @see RFC 5280 §4.2.1.6 */
const GENERAL_NAMES: ReadonlyMap<number, SubjectAltName["type"]> = new Map([
  [0x81, "email"],
  [0x82, "dns"],
  [0x86, "uri"],
  [0x87, "ip"],
  [0xa4, "directory"],
])

/** Returns the facts of a DER certificate, or undefined when it is malformed, oddly nested or repeats an extension. */
export function parseX509(der: Uint8Array): X509Facts | undefined {
  const certificate = readDer(der)
  if (certificate?.tag !== TAG.sequence || !isNestingBounded(certificate)) return undefined
  const [tbs] = readChildren(certificate) ?? []
  if (tbs?.tag !== TAG.sequence) return undefined
  const fields = [...(readChildren(tbs) ?? [])]
  if (fields[0]?.tag === 0xa0) fields.shift()
  const [serial, , issuer, validity, subject, publicKey, ...optional] = fields
  if (serial?.tag !== TAG.integer || issuer === undefined || validity === undefined || subject === undefined)
    return undefined
  if (publicKey?.tag !== TAG.sequence) return undefined
  const issuerName = readName(issuer)
  const subjectName = readName(subject)
  const [notBefore, notAfter] = (readChildren(validity) ?? []).map(readTime)
  const wrappers = optional.filter((field) => field.tag === 0xa3)
  const extensions = wrappers.length > 1 ? undefined : readExtensions(wrappers[0])
  if (issuerName === undefined || subjectName === undefined || notBefore === undefined || notAfter === undefined)
    return undefined
  if (extensions === undefined) return undefined
  const read = <T>(oid: string, reader: (value: DerElement) => T | undefined): T | undefined | "malformed" => {
    const value = extensions.get(oid)
    return value === undefined ? undefined : (reader(value) ?? "malformed")
  }
  const subjectAltNames = read(OID.subjectAltName, readGeneralNames)
  const extendedKeyUsages = read(OID.extendedKeyUsage, readOids)
  const keyUsage = read(OID.keyUsage, readKeyUsage)
  const isCa = read(OID.basicConstraints, readIsCa)
  const subjectKeyId = read(OID.subjectKeyId, (value) =>
    value.tag === TAG.octetString ? formatHex(value.content) : undefined,
  )
  const authorityKeyId = read(OID.authorityKeyId, readAuthorityKeyId)
  if (
    subjectAltNames === "malformed" ||
    extendedKeyUsages === "malformed" ||
    keyUsage === "malformed" ||
    isCa === "malformed" ||
    subjectKeyId === "malformed" ||
    authorityKeyId === "malformed"
  ) {
    return undefined
  }
  return {
    serial: formatSerial(serial.content),
    issuer: issuerName,
    subject: subjectName,
    subjectKey: nameKey(subjectName),
    notBeforeMs: notBefore,
    notAfterMs: notAfter,
    subjectAltNames: subjectAltNames ?? [],
    extendedKeyUsages,
    allowsSignature: keyUsage === undefined || (keyUsage & 0x80) !== 0,
    allowsIssuing: keyUsage !== undefined && (keyUsage & 0x06) !== 0,
    allowsCrlSigning: keyUsage === undefined || (keyUsage & 0x02) !== 0,
    isCa: isCa ?? false,
    subjectKeyId,
    authorityKeyId: authorityKeyId === "" ? undefined : authorityKeyId,
    publicKey: publicKey.bytes,
  }
}

/**
 * Returns the octets of a serial number as lower-case hex without leading zero octets: the one spelling in which a
 * certificate and a revocation list name the same number. A negative one stays in two's complement.
 */
export function formatSerial(octets: Uint8Array): string {
  const hex = formatHex(octets)
  return hex.startsWith("00") ? hex.replace(/^(?:00)+(?=..)/, "") : hex
}

/** Returns {@link formatSerial} of a serial number as people write it: hex of any case, colons allowed; undefined for anything else. */
export function parseSerial(text: string): string | undefined {
  const digits = text.replaceAll(":", "")
  const octets = parseHex(digits.length % 2 === 0 ? digits : `0${digits}`)
  return octets === undefined || octets.length === 0 || octets.length > SERIAL_BYTES_MAX
    ? undefined
    : formatSerial(octets)
}

/** Returns extension values by OID, or undefined when one is malformed or occurs twice (RFC 5280 §4.2). */
function readExtensions(wrapper: DerElement | undefined): ReadonlyMap<string, DerElement> | undefined {
  const extensions = new Map<string, DerElement>()
  if (wrapper === undefined) return extensions
  const [list, rest] = readChildren(wrapper) ?? []
  if (rest !== undefined) return undefined
  for (const extension of (list?.tag === TAG.sequence && readChildren(list)) || [undefined]) {
    const parts = extension === undefined ? [] : (readChildren(extension) ?? [])
    const value = parts.at(-1)
    const oid = parts[0]?.tag === TAG.oid ? readOid(parts[0].content) : undefined
    if (oid === undefined || value?.tag !== TAG.octetString || parts.length > 3 || extensions.has(oid)) return undefined
    const inner = readDer(value.content)
    // An extension this file does not read may hold anything; one it reads has to be DER.
    if (inner !== undefined) extensions.set(oid, inner)
    else if ((Object.values(OID) as string[]).includes(oid)) return undefined
  }
  return extensions
}

function readGeneralNames(value: DerElement): readonly SubjectAltName[] | undefined {
  if (value.tag !== TAG.sequence) return undefined
  return readChildren(value)?.map((name) => ({
    type: GENERAL_NAMES.get(name.tag) ?? "other",
    value: readLatin1(name.content),
  }))
}

function readOids(value: DerElement): readonly string[] | undefined {
  const oids =
    value.tag === TAG.sequence
      ? readChildren(value)?.map((child) => (child.tag === TAG.oid ? readOid(child.content) : undefined))
      : undefined
  return oids?.every((oid) => oid !== undefined) === true ? oids : undefined
}

/**
 * Returns the first eight bits of KeyUsage, bit 0 (digitalSignature) as 0x80; keyCertSign is 0x04 and cRLSign 0x02.
 *
 * @see RFC 5280 §4.2.1.3
 */
function readKeyUsage(value: DerElement): number | undefined {
  if (value.tag !== TAG.bitString || value.content.length < 2 || (value.content[0] ?? 0) > 7) return undefined
  return value.content[1]
}

function readIsCa(value: DerElement): boolean | undefined {
  if (value.tag !== TAG.sequence) return undefined
  const parts = readChildren(value)
  if (parts === undefined) return undefined
  const [first] = parts
  return first?.tag === TAG.boolean && first.content[0] !== 0
}

/**
 * Returns the key identifier of an authority key identifier extension, "" when it has none, undefined when it is malformed
 * or the identifier is empty.
 */
export function readAuthorityKeyId(value: DerElement): string | undefined {
  if (value.tag !== TAG.sequence) return undefined
  const parts = readChildren(value)
  if (parts === undefined) return undefined
  const keyId = parts.find((child) => child.tag === 0x80)
  return keyId === undefined ? "" : formatHex(keyId.content) || undefined
}

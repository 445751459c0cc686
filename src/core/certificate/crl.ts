/**
 * Facts of a certificate revocation list, read from its DER or from PEM around it.
 *
 * A list answers "is this serial revoked?", so whatever it says in a way that this file does not understand could turn a
 * revoked certificate into a good one: such a list is refused as a whole, with a reason. Nothing is verified here; who must
 * have signed it, and whether it is current, is decided in `core/certificate/revocation.ts`. Pure, total, linear in its size.
 *
 * @see RFC 5280 §5
 */
import { CRL_BYTES_MAX, CRL_ENTRIES_MAX, SERIAL_BYTES_MAX } from "../bounds.ts"
import { readChildren, readDer, readLatin1, readOid, readSpan, readTime, TAG, type DerElement } from "./der.ts"
import { readName, type DistinguishedName } from "./distinguished-name.ts"
import { formatHex } from "../hex.ts"
import { decodePem, isPem } from "./pem.ts"
import { isSignatureAlgorithm } from "./signature.ts"
import { formatSerial, readAuthorityKeyId } from "./x509.ts"

/** Why a certificate was revoked, in the words of RFC 5280 §5.3.1. Every one of them means revoked, a hold too. */
export type RevocationReason = (typeof REASONS)[number]

/** One revoked certificate. */
export interface RevokedEntry {
  /** When it was revoked, epoch ms. */
  readonly revokedAtMs: number
  readonly reason: RevocationReason
}

/** Facts of one list. Hex is lower case, instants are epoch ms. */
export interface CrlFacts {
  readonly issuer: DistinguishedName
  readonly thisUpdateMs: number
  readonly nextUpdateMs: number
  /** CRL number in hex without leading zeros; undefined in a list of version 1, which has none. */
  readonly number: string | undefined
  readonly authorityKeyId: string | undefined
  /** Places that this list says it is published at; empty when it does not say. */
  readonly urls: readonly string[]
  /** By serial, as `core/certificate/x509.ts` writes serials. */
  readonly entries: ReadonlyMap<string, RevokedEntry>
  /** The octets under the signature, the AlgorithmIdentifier (DER) and the signature itself. */
  readonly signed: Uint8Array
  readonly signatureAlgorithm: Uint8Array
  readonly signature: Uint8Array
}

/** Why a list is not used, with the sentence for people. */
export const CRL_PROBLEMS = {
  crl_too_large: `it has more than ${CRL_BYTES_MAX} octets or ${CRL_ENTRIES_MAX} entries`,
  crl_not_pem: "it is neither DER nor one whole PEM block of the label X509 CRL",
  crl_malformed: "it is damaged, or no certificate revocation list",
  crl_algorithm_unsupported: "its signature is not RSA, ECDSA or Ed25519 with SHA-2, or it names two algorithms",
  crl_next_update_missing: "it does not say until when it is valid (nextUpdate)",
  crl_number_missing: "it has no CRL number",
  crl_delta: "it is a delta list: complete lists are needed",
  crl_indirect: "it is indirect, so its entries may be of other issuers",
  crl_scope: "it covers only some certificates, or only some reasons",
  crl_removes_entry: "it removes an entry, which only a delta list may",
  crl_critical_extension: "it has a critical extension that is not understood",
  crl_repeated: "it names a serial or an extension twice",
} as const

/** A reason of {@link CRL_PROBLEMS}. */
export type CrlProblem = keyof typeof CRL_PROBLEMS

/** A list, or why it is not used. */
export type CrlResult =
  | { readonly ok: true; readonly crl: CrlFacts }
  | { readonly ok: false; readonly reason: CrlProblem }

const OID = {
  number: "2.5.29.20",
  reasonCode: "2.5.29.21",
  deltaIndicator: "2.5.29.27",
  issuingDistributionPoint: "2.5.29.28",
  certificateIssuer: "2.5.29.29",
  authorityKeyId: "2.5.29.35",
} as const
const REASONS = [
  "unspecified",
  "keyCompromise",
  "cACompromise",
  "affiliationChanged",
  "superseded",
  "cessationOfOperation",
  "certificateHold",
  "privilegeWithdrawn",
  "aACompromise",
] as const
/** CRLReason by number; 7 is not used, 8 is removeFromCRL. @see RFC 5280 §5.3.1 */
const REASON_BY_CODE: ReadonlyMap<number, RevocationReason | "removeFromCRL"> = new Map([
  ...REASONS.slice(0, 7).map((reason, code) => [code, reason] as const),
  [8, "removeFromCRL"],
  [9, "privilegeWithdrawn"],
  [10, "aACompromise"],
])
/** Different extensions of entries that are remembered while a list is read. */
const REMEMBERED_MAX = 100
/** RFC 7468 §6 names the first; some tools write the second. */
const LABELS = ["X509 CRL", "CRL"]

/** How a list is given up from within: the only thing that is thrown here, and caught in {@link parseCrl}. */
class Unusable {
  readonly reason: CrlProblem
  constructor(reason: CrlProblem) {
    this.reason = reason
  }
}

/** Returns the facts of a list in DER or PEM, or why it is not used. Never throws. */
export function parseCrl(octets: Uint8Array): CrlResult {
  if (octets.length > CRL_BYTES_MAX) return { ok: false, reason: "crl_too_large" }
  const der = isPem(octets) ? decodePem(octets, LABELS) : octets
  if (der === undefined) return { ok: false, reason: "crl_not_pem" }
  try {
    return { ok: true, crl: readCrl(der) }
  } catch (error) {
    return { ok: false, reason: error instanceof Unusable ? error.reason : "crl_malformed" }
  }
}

function readCrl(der: Uint8Array): CrlFacts {
  const list = readDer(der)
  if (list === undefined && der[0] !== TAG.sequence) throw new Unusable("crl_not_pem")
  const [tbs, outerAlgorithm, signature, surplus] = childrenOf(list, TAG.sequence)
  if (tbs === undefined || outerAlgorithm === undefined || signature?.tag !== TAG.bitString || surplus !== undefined)
    throw new Unusable("crl_malformed")
  const fields = [...childrenOf(tbs, TAG.sequence)]
  const isVersion2 = fields[0]?.tag === TAG.integer
  if (isVersion2 && formatHex(fields.shift()?.content ?? new Uint8Array()) !== "01") throw new Unusable("crl_malformed")
  const algorithm = fields.shift()
  // Two that differ are how one of them is forged: only one of them is signed.
  if (algorithm === undefined || formatHex(algorithm.bytes) !== formatHex(outerAlgorithm.bytes))
    throw new Unusable(algorithm === undefined ? "crl_malformed" : "crl_algorithm_unsupported")
  if (!isSignatureAlgorithm(algorithm.bytes)) throw new Unusable("crl_algorithm_unsupported")
  const issuerField = fields.shift()
  const issuer = issuerField === undefined ? undefined : readName(issuerField)
  const thisUpdateField = fields.shift()
  const thisUpdateMs = thisUpdateField === undefined ? undefined : readTime(thisUpdateField)
  if (issuer === undefined || issuer.length === 0 || thisUpdateMs === undefined) throw new Unusable("crl_malformed")
  const nextUpdateMs = isTime(fields[0]) ? readTime(fields[0]) : undefined
  if (nextUpdateMs === undefined) throw new Unusable(isTime(fields[0]) ? "crl_malformed" : "crl_next_update_missing")
  fields.shift()
  if (nextUpdateMs < thisUpdateMs) throw new Unusable("crl_malformed")
  const entries = readEntries(fields[0]?.tag === TAG.sequence ? fields.shift() : undefined, isVersion2)
  const wrapper = fields.shift()
  if (fields.length > 0 || (wrapper !== undefined && (wrapper.tag !== 0xa0 || !isVersion2)))
    throw new Unusable("crl_malformed")
  const extensions = readListExtensions(wrapper)
  // A conforming CA writes one (RFC 5280 §5.2.3). Only version 1 has no place for it.
  if (isVersion2 && extensions.number === undefined) throw new Unusable("crl_number_missing")
  // The signature is whole octets: their unused bits are none.
  if (signature.content[0] !== 0) throw new Unusable("crl_malformed")
  return {
    issuer,
    thisUpdateMs,
    nextUpdateMs,
    ...extensions,
    entries,
    signed: tbs.bytes,
    signatureAlgorithm: algorithm.bytes,
    signature: signature.content.subarray(1),
  }
}

/** Walks over spans: views of each of 100,000 entries and their parts would take most of the time. */
function readEntries(list: DerElement | undefined, isVersion2: boolean): ReadonlyMap<string, RevokedEntry> {
  const entries = new Map<string, RevokedEntry>()
  const reasons = new Map<string, RevocationReason>()
  if (list === undefined) return entries
  const bytes = list.content
  for (let offset = 0; offset < bytes.length;) {
    const entry = readSpan(bytes, offset)
    const serial = entry?.tag === TAG.sequence ? readSpan(bytes, entry.start, entry.end) : undefined
    const date = serial?.tag === TAG.integer ? readSpan(bytes, serial.end, entry?.end) : undefined
    if (entry === undefined || serial === undefined || date === undefined) throw new Unusable("crl_malformed")
    const serialBytes = serial.end - serial.start
    if (serialBytes === 0 || serialBytes > SERIAL_BYTES_MAX) throw new Unusable("crl_malformed")
    const revokedAtMs = readTime({ tag: date.tag, content: bytes.subarray(date.start, date.end) })
    if (revokedAtMs === undefined) throw new Unusable("crl_malformed")
    let reason: RevocationReason = "unspecified"
    if (date.end < entry.end) {
      const extensions = bytes.subarray(date.end, entry.end)
      // Most entries of a list have the same few extensions, and an equal one means the same.
      const extensionsKey = formatHex(extensions)
      const known = reasons.get(extensionsKey)
      reason = known ?? readEntryExtensions(isVersion2 ? readDer(extensions) : undefined)
      if (known === undefined && reasons.size < REMEMBERED_MAX) reasons.set(extensionsKey, reason)
    }
    const key = formatSerial(bytes.subarray(serial.start, serial.end))
    if (entries.has(key)) throw new Unusable("crl_repeated")
    if (entries.size >= CRL_ENTRIES_MAX) throw new Unusable("crl_too_large")
    entries.set(key, { revokedAtMs, reason })
    offset = entry.end
  }
  return entries
}

function readEntryExtensions(element: DerElement | undefined): RevocationReason {
  let reason: RevocationReason = "unspecified"
  for (const [oid, { isCritical, value }] of readExtensions(element)) {
    if (oid === OID.certificateIssuer) throw new Unusable("crl_indirect")
    if (oid === OID.reasonCode) {
      const code = readDer(value)
      if (code?.tag !== TAG.enumerated || code.content.length !== 1) throw new Unusable("crl_malformed")
      const known = REASON_BY_CODE.get(code.content[0] ?? -1)
      if (known === "removeFromCRL") throw new Unusable("crl_removes_entry")
      // Whatever the number may mean, the certificate is revoked.
      reason = known ?? "unspecified"
    } else if (isCritical) throw new Unusable("crl_critical_extension")
  }
  return reason
}

function readListExtensions(wrapper: DerElement | undefined): Pick<CrlFacts, "number" | "authorityKeyId" | "urls"> {
  let number: string | undefined
  let authorityKeyId: string | undefined
  let urls: readonly string[] = []
  if (wrapper === undefined) return { number, authorityKeyId, urls }
  for (const [oid, { isCritical, value }] of readExtensions(readDer(wrapper.content))) {
    if (oid === OID.deltaIndicator) throw new Unusable("crl_delta")
    if (oid === OID.issuingDistributionPoint) {
      urls = readIssuingDistributionPoint(readDer(value))
      continue
    }
    // Also one that is known and must not be critical (RFC 5280 §5.2.1, §5.2.3): such a CA means something else by it.
    if (isCritical) throw new Unusable("crl_critical_extension")
    if (oid === OID.number) {
      const element = readDer(value)
      // Positive, in its shortest form, at most 20 octets.
      if (element?.tag !== TAG.integer || !/^(?:00$|00[89a-f]|(?!00)[0-7])/.test(formatHex(element.content)))
        throw new Unusable("crl_malformed")
      if (element.content.length > SERIAL_BYTES_MAX) throw new Unusable("crl_malformed")
      number = formatHex(element.content).replace(/^0+(?=.)/, "")
    } else if (oid === OID.authorityKeyId) {
      const element = readDer(value)
      const keyId = element === undefined ? undefined : readAuthorityKeyId(element)
      if (keyId === undefined) throw new Unusable("crl_malformed")
      authorityKeyId = keyId === "" ? undefined : keyId
    }
  }
  return { number, authorityKeyId, urls }
}

/**
 * Returns the URLs of an issuing distribution point; gives up on one that leaves certificates or reasons out. A name relative
 * to the issuer gives no URL, and `core/certificate/revocation.ts` asks for one.
 *
 * @see RFC 5280 §5.2.5
 */
function readIssuingDistributionPoint(point: DerElement | undefined): readonly string[] {
  let urls: readonly string[] = []
  let previousTag = -1
  for (const field of childrenOf(point, TAG.sequence)) {
    if ((field.tag & 0x1f) <= previousTag) throw new Unusable("crl_malformed")
    previousTag = field.tag & 0x1f
    switch (field.tag) {
      case 0xa0: {
        const [name] = readChildren(field) ?? []
        const names = name?.tag === 0xa0 ? readChildren(name) : undefined
        urls = (names ?? []).filter(({ tag }) => tag === 0x86).map(({ content }) => readLatin1(content))
        // A name of any other kind limits the list all the same, to a place that nobody configures.
        if (urls.length === 0) throw new Unusable("crl_scope")
        break
      }
      // onlyContainsUserCerts: clients are all that is asked about.
      case 0x81:
        break
      case 0x84:
        if (field.content[0] !== 0) throw new Unusable("crl_indirect")
        break
      case 0x82:
      case 0x85:
        if (field.content[0] !== 0) throw new Unusable("crl_scope")
        break
      default:
        throw new Unusable("crl_scope")
    }
  }
  return urls
}

interface Extension {
  readonly isCritical: boolean
  readonly value: Uint8Array
}

function readExtensions(list: DerElement | undefined): ReadonlyMap<string, Extension> {
  const extensions = new Map<string, Extension>()
  for (const extension of childrenOf(list, TAG.sequence)) {
    const parts = childrenOf(extension, TAG.sequence)
    const [type] = parts
    const value = parts.at(-1)
    const critical = parts.length === 3 ? parts[1] : undefined
    const oid = type?.tag === TAG.oid ? readOid(type.content) : undefined
    if (oid === undefined || value?.tag !== TAG.octetString || parts.length < 2 || parts.length > 3)
      throw new Unusable("crl_malformed")
    if (parts.length === 3 && (critical?.tag !== TAG.boolean || critical.content.length !== 1))
      throw new Unusable("crl_malformed")
    if (extensions.has(oid)) throw new Unusable("crl_repeated")
    extensions.set(oid, { isCritical: critical !== undefined && critical.content[0] !== 0, value: value.content })
  }
  return extensions
}

function isTime(element: DerElement | undefined): element is DerElement {
  return element?.tag === TAG.utcTime || element?.tag === TAG.generalizedTime
}

function childrenOf(element: DerElement | undefined, tag: number): readonly DerElement[] {
  const children = element?.tag === tag ? readChildren(element) : undefined
  if (children === undefined) throw new Unusable("crl_malformed")
  return children
}

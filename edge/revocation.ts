/**
 * Certificate revocation lists: which are usable, and whether a chain is revoked.
 *
 * Loading throws on whatever cannot be interpreted completely (damaged, delta, indirect, scoped, unknown critical
 * extension). Deciding is total and closed: a list that is missing, stale, from the future or not signed by the issuer
 * is no list, and then the answer is "unavailable", never "good". OpenSSL's own check is not used because Node loads
 * only the first list of a text (nodejs/node#65576) and decides at the handshake only; this one runs per request.
 *
 * @see RFC 5280 §5, §6.3
 */
import { verify, type X509Certificate } from "node:crypto"
import { readChildren, readDer, readOid, readTime, TAG, type DerElement } from "../src/core/certificate/der.ts"
import { formatHex } from "../src/core/hex.ts"
import { formatRfc4514, readName } from "../src/core/certificate/distinguished-name.ts"
import { formatSerial } from "../src/core/certificate/x509.ts"

/** One list. Serials are lower-case hex without a leading zero octet; instants are epoch ms. */
export interface RevocationList {
  /** Hex of the DER of the issuer's name: lists are matched on octets, not on printed names. */
  readonly issuerKey: string
  /** The issuer for display, RFC 4514. */
  readonly issuerName: string
  readonly thisUpdateMs: number
  readonly nextUpdateMs: number
  readonly serials: ReadonlySet<string>
  readonly signed: Uint8Array
  readonly signature: Uint8Array
  /** Name of the digest; null for the Edwards curves. */
  readonly digest: string | null
  /** Verdicts on the signature by issuer fingerprint; a list is verified once per issuer, not once per request. */
  readonly verdicts: Map<string, boolean>
}

/** `good`: every link is covered and clean. `unavailable` carries the reason and the issuer whose list is missing. */
export type RevocationDecision =
  | { readonly status: "good" | "revoked" }
  | { readonly status: "unavailable"; readonly issuer: string; readonly reason: string }

const DIGESTS: ReadonlyMap<string, string | null> = new Map([
  ["1.2.840.113549.1.1.11", "sha256"],
  ["1.2.840.113549.1.1.12", "sha384"],
  ["1.2.840.113549.1.1.13", "sha512"],
  ["1.2.840.10045.4.3.2", "sha256"],
  ["1.2.840.10045.4.3.3", "sha384"],
  ["1.2.840.10045.4.3.4", "sha512"],
  ["1.3.101.112", null],
  ["1.3.101.113", null],
])
const KEY_USAGE = "2.5.29.15"
/** Extensions that change what a list means; each is refused by name because ignoring one would be wrong. */
const UNSUPPORTED: ReadonlyMap<string, string> = new Map([
  ["2.5.29.27", "it is a delta list"],
  ["2.5.29.28", "it is limited to a distribution point or indirect"],
  ["2.5.29.29", "it is indirect (an entry names another issuer)"],
])
/** CRLReason removeFromCRL, which only a delta list may use. */
const REASON_REMOVE = "0a0108"
const REASON_CODE = "2.5.29.21"

/** Returns the lists of PEM blocks, or throws an error that numbers the unusable one and says why. */
export function parseRevocationLists(pems: readonly string[]): readonly RevocationList[] {
  return pems.map((pem, index) => {
    const der = Buffer.from(pem.replace(/-----[A-Z0-9 ]+-----|\s/g, ""), "base64")
    const list = parseRevocationList(der)
    if (typeof list === "string") throw new Error(`Cannot use revocation list ${index + 1}, ${list}`)
    return list
  })
}

function parseRevocationList(der: Uint8Array): RevocationList | string {
  const [tbs, outerAlgorithm, signature] = readChildren(readDer(der) ?? EMPTY) ?? []
  if (tbs?.tag !== TAG.sequence || outerAlgorithm === undefined || signature?.tag !== TAG.bitString) {
    return "it is damaged: ask the CA for a new one"
  }
  const fields = [...(readChildren(tbs) ?? [])]
  if (fields[0]?.tag === TAG.integer) fields.shift()
  const [algorithm, issuer, thisUpdate, nextUpdate, ...rest] = fields
  const name = issuer === undefined ? undefined : readName(issuer)
  if (algorithm === undefined || issuer === undefined || name === undefined || thisUpdate === undefined)
    return "it is damaged"
  if (formatHex(algorithm.bytes) !== formatHex(outerAlgorithm.bytes)) return "its two signature algorithms differ"
  const digest = DIGESTS.get(readOid(readChildren(algorithm)?.[0]?.content ?? new Uint8Array()) ?? "")
  if (digest === undefined) return "its signature algorithm is not supported: use RSA or ECDSA with SHA-2, or EdDSA"
  const thisUpdateMs = readTime(thisUpdate)
  const nextUpdateMs = nextUpdate === undefined ? undefined : readTime(nextUpdate)
  if (thisUpdateMs === undefined || nextUpdateMs === undefined) return "it has no thisUpdate or no nextUpdate"
  const serials = readEntries(rest[0]?.tag === TAG.sequence ? rest.shift() : undefined)
  if (typeof serials === "string") return serials
  const [extensions, ...surplus] = rest
  if (surplus.length > 0 || (extensions !== undefined && extensions.tag !== 0xa0)) return "it is damaged"
  const unsupported = extensions === undefined ? undefined : refuseExtensions(readChildren(extensions)?.[0])
  if (unsupported !== undefined) return unsupported
  return {
    issuerKey: formatHex(issuer.bytes),
    issuerName: formatRfc4514(name),
    thisUpdateMs,
    nextUpdateMs,
    serials,
    signed: tbs.bytes,
    signature: signature.content.subarray(1),
    digest,
    verdicts: new Map(),
  }
}

const EMPTY: DerElement = { tag: 0, bytes: new Uint8Array(), content: new Uint8Array() }

function readEntries(element: DerElement | undefined): ReadonlySet<string> | string {
  const serials = new Set<string>()
  const entries = element === undefined ? [] : readChildren(element)
  if (entries === undefined) return "its entries are damaged"
  for (const entry of entries) {
    const [serial, date, extensions] = readChildren(entry) ?? []
    if (serial?.tag !== TAG.integer || date === undefined) return "one of its entries is damaged"
    const unsupported = extensions === undefined ? undefined : refuseExtensions(extensions)
    if (unsupported !== undefined) return unsupported
    serials.add(formatSerial(serial.content))
  }
  return serials
}

/** Returns why a list with these extensions cannot be used, or undefined. */
function refuseExtensions(list: DerElement | undefined): string | undefined {
  for (const extension of (list?.tag === TAG.sequence && readChildren(list)) || [EMPTY]) {
    const [type, ...values] = readChildren(extension) ?? []
    const oid = type?.tag === TAG.oid ? readOid(type.content) : undefined
    const value = values.at(-1)
    if (oid === undefined || value?.tag !== TAG.octetString) return "one of its extensions is damaged"
    const reason = UNSUPPORTED.get(oid)
    if (reason !== undefined) return `${reason}, which is not supported: use complete lists`
    if (oid === REASON_CODE && formatHex(value.content) === REASON_REMOVE)
      return "it removes an entry: use complete lists"
    const isCritical = values.length > 1 && values[0]?.content[0] !== 0
    if (isCritical && oid !== REASON_CODE) return `its critical extension ${oid} is not supported`
  }
  return undefined
}

/**
 * Decides on a chain from leaf to root: each certificate except the root needs the current list of its issuer. Serials
 * count per issuer. When several current lists of one issuer are given, the newest speaks. A chain that does not end
 * in a self-issued certificate is incomplete and has no good end.
 */
export function decideRevocation(
  lists: readonly RevocationList[],
  chain: readonly X509Certificate[],
  nowMs: number,
): RevocationDecision {
  let decision: RevocationDecision = { status: "good" }
  for (const [index, certificate] of chain.entries()) {
    const names = readNames(certificate)
    if (names?.issuerKey === names?.subjectKey) break
    const issuer = chain[index + 1]
    const found =
      names === undefined || issuer === undefined ? NOT_CONFIGURED : selectList(lists, names.issuerKey, issuer, nowMs)
    if (names !== undefined && typeof found !== "string" && found.serials.has(names.serial))
      return { status: "revoked" }
    if (typeof found === "string" && decision.status === "good") {
      decision = { status: "unavailable", issuer: certificate.issuer.replaceAll("\n", ", "), reason: found }
    }
  }
  return decision
}

/** Why no list can cover a certificate whose issuer is not configured: there is no key to verify one with. */
const NOT_CONFIGURED = "it is not in the client CA bundle"

/** Returns the CAs without a usable list, each with the reason: all their clients are refused. */
export function findUncovered(
  lists: readonly RevocationList[],
  cas: readonly X509Certificate[],
  nowMs: number,
): readonly { readonly issuer: string; readonly reason: string }[] {
  return cas.flatMap((ca) => {
    const found = selectList(lists, readNames(ca)?.subjectKey ?? "", ca, nowMs)
    return typeof found === "string" ? [{ issuer: ca.subject.replaceAll("\n", ", "), reason: found }] : []
  })
}

/** Returns the usable list of an issuer, or why there is none. */
function selectList(
  lists: readonly RevocationList[],
  issuerKey: string,
  issuer: X509Certificate,
  nowMs: number,
): RevocationList | string {
  const named = lists.filter((list) => list.issuerKey === issuerKey)
  if (named.length === 0) return "no list is configured for it"
  const signed = named.filter((list) => isSignedBy(list, issuer))
  if (signed.length === 0) return "the list of that name is not signed by it"
  const current = signed.filter((list) => list.thisUpdateMs <= nowMs && nowMs < list.nextUpdateMs)
  const newest = current.toSorted((left, right) => right.thisUpdateMs - left.thisUpdateMs)[0]
  return newest ?? "its list is stale or not yet valid"
}

function isSignedBy(list: RevocationList, issuer: X509Certificate): boolean {
  const known = list.verdicts.get(issuer.fingerprint256)
  if (known !== undefined) return known
  let isValid = false
  try {
    isValid = maySignLists(issuer) && verify(list.digest, list.signed, issuer.publicKey, list.signature)
  } catch {
    // An issuer whose key does not fit the algorithm has not signed.
  }
  list.verdicts.set(issuer.fingerprint256, isValid)
  return isValid
}

/** Names of a certificate as keys, and its serial. */
interface Names {
  readonly issuerKey: string
  readonly subjectKey: string
  readonly serial: string
}

/** They do not change, and every request asks for them. */
const namesOf = new WeakMap<X509Certificate, { readonly names: Names | undefined }>()

/** Returns both names as keys and the serial, or undefined when the certificate is not DER. */
function readNames(certificate: X509Certificate): Names | undefined {
  const known = namesOf.get(certificate)
  if (known !== undefined) return known.names
  const names = parseNames(certificate)
  namesOf.set(certificate, { names })
  return names
}

function parseNames(certificate: X509Certificate): Names | undefined {
  const fields = [...(readChildren(readChildren(readDer(certificate.raw) ?? EMPTY)?.[0] ?? EMPTY) ?? [])]
  if (fields[0]?.tag === 0xa0) fields.shift()
  const [serial, , issuer, , subject] = fields
  if (serial === undefined || issuer === undefined || subject === undefined) return undefined
  return {
    issuerKey: formatHex(issuer.bytes),
    subjectKey: formatHex(subject.bytes),
    serial: formatSerial(serial.content),
  }
}

/** Bit 6 of KeyUsage is cRLSign; without the extension every use is allowed. @see RFC 5280 §4.2.1.3, §6.3.3 (f) */
function maySignLists(issuer: X509Certificate): boolean {
  const fields = readChildren(readChildren(readDer(issuer.raw) ?? EMPTY)?.[0] ?? EMPTY) ?? []
  const wrapper = fields.find((field) => field.tag === 0xa3)
  const extensions = readChildren(readChildren(wrapper ?? EMPTY)?.[0] ?? EMPTY) ?? []
  for (const extension of extensions) {
    const parts = readChildren(extension) ?? []
    if (parts[0]?.tag !== TAG.oid || readOid(parts[0].content) !== KEY_USAGE) continue
    const bits = readDer(parts.at(-1)?.content ?? new Uint8Array())
    return ((bits?.content[1] ?? 0) & 0x02) !== 0
  }
  return true
}

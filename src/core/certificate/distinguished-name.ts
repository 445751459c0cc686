/**
 * Distinguished names: read from DER, read from and written as text, compared.
 *
 * A name is compared as parsed attributes, never as text: printed names can be made to look like other names. Comparison
 * is exact on decoded characters, ignores the string type and the order inside one RDN, and keeps the order between
 * RDNs. Pure and total. Called by `core/certificate/x509.ts`, the configuration and the local edge.
 *
 * @see RFC 4514 (text form), RFC 5280 §4.1.2.4 (Name)
 */
import { readChildren, readDer, readOid, readText, readUtf8, TAG, type DerElement } from "./der.ts"
import { formatHex, parseHex } from "../hex.ts"

/** One attribute. `text` when the value is of a string type, otherwise `hex` of the whole DER value. */
export type NameAttribute =
  | { readonly oid: string; readonly text: string }
  | { readonly oid: string; readonly hex: string }

/** One relative distinguished name: usually one attribute, several in a multi-valued RDN. */
export type RelativeName = readonly NameAttribute[]

/** RDNs in certificate order, most general first. Text forms run the other way. */
export type DistinguishedName = readonly RelativeName[]

/** Attribute types with a keyword, as OpenSSL (and so Cloudflare and nginx) print them. */
const KEYWORDS: readonly (readonly [keyword: string, oid: string])[] = [
  ["CN", "2.5.4.3"],
  ["SN", "2.5.4.4"],
  ["serialNumber", "2.5.4.5"],
  ["C", "2.5.4.6"],
  ["L", "2.5.4.7"],
  ["ST", "2.5.4.8"],
  ["street", "2.5.4.9"],
  ["O", "2.5.4.10"],
  ["OU", "2.5.4.11"],
  ["title", "2.5.4.12"],
  ["businessCategory", "2.5.4.15"],
  ["postalCode", "2.5.4.17"],
  ["GN", "2.5.4.42"],
  ["initials", "2.5.4.43"],
  ["generationQualifier", "2.5.4.44"],
  ["dnQualifier", "2.5.4.46"],
  ["pseudonym", "2.5.4.65"],
  ["organizationIdentifier", "2.5.4.97"],
  ["UID", "0.9.2342.19200300.100.1.1"],
  ["DC", "0.9.2342.19200300.100.1.25"],
  ["emailAddress", "1.2.840.113549.1.9.1"],
  ["jurisdictionL", "1.3.6.1.4.1.311.60.2.1.1"],
  ["jurisdictionST", "1.3.6.1.4.1.311.60.2.1.2"],
  ["jurisdictionC", "1.3.6.1.4.1.311.60.2.1.3"],
]
const OID_BY_KEYWORD = new Map(KEYWORDS.map(([keyword, oid]) => [keyword.toLowerCase(), oid]))
const KEYWORD_BY_OID = new Map(KEYWORDS.map(([keyword, oid]) => [oid, keyword]))

/** Returns the OID of an attribute type's keyword, of any case, or of its dotted form; undefined when it is not known. */
export function oidOfKeyword(keyword: string): string | undefined {
  return /^[0-9]/.test(keyword) ? keyword : OID_BY_KEYWORD.get(keyword.toLowerCase())
}

/** Returns the name in a DER `Name` element, or undefined when it is malformed. */
export function readName(element: DerElement): DistinguishedName | undefined {
  if (element.tag !== TAG.sequence) return undefined
  const name: RelativeName[] = []
  for (const set of readChildren(element) ?? [undefined]) {
    if (set?.tag !== TAG.set) return undefined
    const attributes: NameAttribute[] = []
    for (const pair of readChildren(set) ?? []) {
      const [type, value, rest] = (pair.tag === TAG.sequence && readChildren(pair)) || []
      if (type?.tag !== TAG.oid || value === undefined || rest !== undefined) return undefined
      const oid = readOid(type.content)
      if (oid === undefined) return undefined
      attributes.push(readValue(oid, value))
    }
    if (attributes.length === 0) return undefined
    name.push(attributes)
  }
  return name
}

/**
 * Returns a key that two names share exactly when they are equal: a map key, not for display. Injective, because it is
 * JSON of the parsed attributes.
 */
export function nameKey(name: DistinguishedName): string {
  return JSON.stringify(
    name.map((rdn) =>
      rdn
        .map((attribute) =>
          JSON.stringify(
            "text" in attribute ? [attribute.oid, "t", attribute.text] : [attribute.oid, "h", attribute.hex],
          ),
        )
        .toSorted(),
    ),
  )
}

/**
 * Returns the name as OpenSSL's RFC 2253 output gives it, which is what Cloudflare and nginx print: most specific RDN
 * first, last attribute of an RDN first, everything outside printable ASCII as `\XX` octets, unknown types as OID and
 * `#hex`. {@link parseRfc4514} reads the same name back.
 */
export function formatRfc4514(name: DistinguishedName): string {
  return name
    .toReversed()
    .map((rdn) => rdn.toReversed().map(formatAttribute).join("+"))
    .join(",")
}

/** Returns OpenSSL's one-line form (`/C=JP/O=Bank`). Ambiguous by nature: for display only. */
export function formatLegacy(name: DistinguishedName): string {
  return name
    .map((rdn) =>
      rdn
        .map((attribute) => `${KEYWORD_BY_OID.get(attribute.oid) ?? attribute.oid}=${formatLegacyValue(attribute)}`)
        .join("+"),
    )
    .map((rdn) => `/${rdn}`)
    .join("")
}

/**
 * Returns the name in an RFC 4514 text, or a sentence about the first thing that is wrong with it. Types are keywords of
 * any case or dotted OIDs; a space around separators is accepted because vendors print it; `;` and quoted values of
 * RFC 2253 are not.
 *
 * @see RFC 4514 §3
 */
export function parseRfc4514(text: string): { readonly name: DistinguishedName } | { readonly error: string } {
  const name: RelativeName[] = []
  let rdn: NameAttribute[] = []
  let rest = text
  if (text.trim() === "") return { error: "is empty" }
  for (;;) {
    const type = /^ *([A-Za-z][A-Za-z0-9-]*|(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))+) *=/.exec(rest)
    if (type === null) return { error: `needs an attribute type and "=" at ${quoteStart(rest)}` }
    const keyword = type[1] ?? ""
    const oid = oidOfKeyword(keyword)
    if (oid === undefined) return { error: `has the unknown attribute type "${keyword}"; give its dotted OID` }
    const value = takeValue(rest.slice(type[0].length))
    if ("error" in value) return { error: `${value.error} in the value of ${keyword}` }
    if ("hex" in value) {
      const element = readDer(parseHex(value.hex) ?? new Uint8Array())
      if (element === undefined) return { error: `has a #hex value of ${keyword} that is not DER` }
      rdn.push(readValue(oid, element))
    } else rdn.push({ oid, text: value.text })
    const separator = value.rest.slice(0, 1)
    if (separator !== "+") {
      name.unshift(rdn)
      rdn = []
    }
    if (separator === "") return { name }
    rest = value.rest.slice(1)
  }
}

function readValue(oid: string, element: DerElement): NameAttribute {
  const text = readText(element)
  return text === undefined ? { oid, hex: formatHex(element.bytes) } : { oid, text }
}

/** Takes one attribute value off the text: a `#hex` string or an escaped string up to the next bare separator. */
function takeValue(
  input: string,
):
  | { readonly text: string; readonly rest: string }
  | { readonly hex: string; readonly rest: string }
  | { readonly error: string } {
  const text = input.replace(/^ +/, "")
  const hex = /^#([0-9A-Fa-f]*) *(?=[,+]|$)/.exec(text)
  if (hex !== null) return { hex: hex[1] ?? "", rest: text.slice(hex[0].length) }
  if (text.startsWith("#")) return { error: "is no hexadecimal string behind #" }
  const octets: number[] = []
  let end = 0
  let length = 0
  for (let i = 0; i < text.length;) {
    const char = text[i] ?? ""
    if (char === "," || char === "+") break
    const pair = /^\\([0-9A-Fa-f]{2})/.exec(text.slice(i, i + 3))
    if (pair !== null) {
      octets.push(Number.parseInt(pair[1] ?? "", 16))
      i += 3
    } else if (char === "\\") {
      const escaped = text[i + 1] ?? ""
      if (!/^[ "#+,;<=>\\]$/.test(escaped)) return { error: "is a backslash that escapes nothing" }
      octets.push(escaped.charCodeAt(0))
      i += 2
    } else if (/^[";<>\0]$/.test(char)) return { error: `is an unescaped ${JSON.stringify(char)}` }
    else {
      const point = text.codePointAt(i) ?? 0
      octets.push(...utf8Octets(point))
      i += point > 0xffff ? 2 : 1
      end = i
      // Unescaped spaces at the end do not belong to the value.
      if (char !== " ") length = octets.length
      continue
    }
    length = octets.length
    end = i
  }
  const value = readUtf8(Uint8Array.from(octets.slice(0, length)))
  return value === undefined ? { error: "are \\XX pairs that are not UTF-8" } : { text: value, rest: text.slice(end) }
}

function utf8Octets(point: number): number[] {
  if (point < 0x80) return [point]
  if (point < 0x800) return [0xc0 | (point >> 6), 0x80 | (point & 0x3f)]
  if (point < 0x10000) return [0xe0 | (point >> 12), 0x80 | ((point >> 6) & 0x3f), 0x80 | (point & 0x3f)]
  return [0xf0 | (point >> 18), 0x80 | ((point >> 12) & 0x3f), 0x80 | ((point >> 6) & 0x3f), 0x80 | (point & 0x3f)]
}

function formatAttribute(attribute: NameAttribute): string {
  const keyword = KEYWORD_BY_OID.get(attribute.oid)
  if (!("text" in attribute)) return `${keyword ?? attribute.oid}=#${attribute.hex.toUpperCase()}`
  if (keyword === undefined) return `${attribute.oid}=#${utf8StringHex(attribute.text)}`
  const chars = Array.from(attribute.text)
  const escaped = chars.map((char, index) => {
    const point = char.codePointAt(0) ?? 0
    if (point < 0x20 || point > 0x7e)
      return utf8Octets(point)
        .map((octet) => `\\${octet.toString(16).toUpperCase().padStart(2, "0")}`)
        .join("")
    const isBorder = index === 0 || index === chars.length - 1
    if (/[,+"\\<>;]/.test(char) || (isBorder && char === " ") || (index === 0 && char === "#")) return `\\${char}`
    return char
  })
  return `${keyword}=${escaped.join("")}`
}

/** DER of a UTF8String as hex: how an attribute type without a keyword prints its text. */
function utf8StringHex(text: string): string {
  const octets = Array.from(text).flatMap((char) => utf8Octets(char.codePointAt(0) ?? 0))
  const length =
    octets.length < 0x80
      ? [octets.length]
      : octets.length < 0x100
        ? [0x81, octets.length]
        : [0x82, octets.length >> 8, octets.length & 0xff]
  return formatHex(Uint8Array.from([TAG.utf8String, ...length, ...octets])).toUpperCase()
}

function formatLegacyValue(attribute: NameAttribute): string {
  if (!("text" in attribute)) return `#${attribute.hex.toUpperCase()}`
  return Array.from(attribute.text, (char) => {
    const point = char.codePointAt(0) ?? 0
    if (point < 0x20 || point > 0x7e)
      return utf8Octets(point)
        .map((octet) => `\\x${octet.toString(16).toUpperCase().padStart(2, "0")}`)
        .join("")
    return char === "/" || char === "+" ? `\\${char}` : char
  }).join("")
}

function quoteStart(text: string): string {
  return text === "" ? "the end" : JSON.stringify(text.slice(0, 12))
}

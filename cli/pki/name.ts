/**
 * Turns the string form of a distinguished name (RFC 4514) into the X.501 name that goes into a certificate. The string
 * is written most specific part first, the encoding runs the other way round; mixing the two up gives a certificate that
 * prints correctly and matches nothing. Strict: whatever is not the grammar is refused with its position.
 */
import "./reflection.ts"
import { Name } from "@peculiar/x509"

/** Object identifiers of the attribute types that a subject may name: RFC 4514 §3 and those of eIDAS certificates. */
const ATTRIBUTE_TYPES: Readonly<Record<string, string>> = {
  CN: "2.5.4.3",
  SERIALNUMBER: "2.5.4.5",
  C: "2.5.4.6",
  L: "2.5.4.7",
  ST: "2.5.4.8",
  STREET: "2.5.4.9",
  O: "2.5.4.10",
  OU: "2.5.4.11",
  ORGANIZATIONIDENTIFIER: "2.5.4.97",
  UID: "0.9.2342.19200300.100.1.1",
  DC: "0.9.2342.19200300.100.1.25",
}
/** Types whose syntax is PrintableString, and the one that is IA5String; every other one is UTF8String. RFC 5280 §A.1 */
const PRINTABLE_TYPES = new Set(["2.5.4.5", "2.5.4.6"])
const DOMAIN_COMPONENT = "0.9.2342.19200300.100.1.25"

type Encoded = { printableString: string } | { ia5String: string } | { utf8String: string }
type Relative = Record<string, Encoded[]>

const TYPE = /\s*([A-Za-z][A-Za-z0-9-]*|[0-2](?:\.(?:0|[1-9][0-9]*))+)=/y
/** One piece of a value: an escaped octet, an escaped character, or anything that need not be escaped. */
const PIECE = /\\([0-9A-Fa-f]{2})|\\([ "#+,;<=>\\])|([^"+,;<>\\\0])/uy

/**
 * Returns the name that an RFC 4514 string describes, in the order of its encoding.
 *
 * Blanks around an attribute are ignored, as people write them. Refused with an error: an empty name, an unknown
 * attribute type, an empty value, an unescaped special character, the `#hex` form of a value.
 *
 * @see RFC 4514 §3 (grammar), §2.1 (the order is reversed)
 */
export function parseSubject(text: string): Name {
  const relatives: Relative[] = []
  let position = 0
  let isContinued = false
  for (;;) {
    TYPE.lastIndex = position
    const type = TYPE.exec(text)
    if (type === null) throw invalid(text, position, "an attribute type and an equals sign, such as CN=")
    const written = type[1] ?? ""
    const oid = written.includes(".") ? written : ATTRIBUTE_TYPES[written.toUpperCase()]
    if (oid === undefined)
      throw invalid(text, position, `one of ${Object.keys(ATTRIBUTE_TYPES).join(", ")} or a dotted OID`)
    const { value, end } = readValue(text, TYPE.lastIndex)
    const relative: Relative = isContinued ? (relatives.at(-1) ?? {}) : {}
    if (!isContinued) relatives.push(relative)
    const encoded = encode(oid, value)
    if (encoded === undefined) throw invalid(text, TYPE.lastIndex, `only letters, digits and ' ( ) + , - . / : = ?`)
    relative[oid] = [...(relative[oid] ?? []), encoded]
    if (end === text.length) return new Name(relatives.toReversed())
    isContinued = text[end] === "+"
    position = end + 1
  }
}

/** Reads a value up to the separator behind it; blanks at either end are dropped unless they are escaped. */
function readValue(text: string, start: number): { value: string; end: number } {
  const octets: Buffer[] = []
  let position = start
  let blanksAtEnd = 0
  for (;;) {
    PIECE.lastIndex = position
    const piece = PIECE.exec(text)
    if (piece === null) break
    const [, octet, escaped, plain] = piece
    position = PIECE.lastIndex
    if (plain === " ") {
      if (octets.length > 0) blanksAtEnd += 1
      continue
    }
    if (plain === "#" && octets.length === 0) throw invalid(text, position - 1, "a character string, not the #hex form")
    octets.push(Buffer.from(" ".repeat(blanksAtEnd)))
    blanksAtEnd = 0
    octets.push(octet === undefined ? Buffer.from(escaped ?? plain ?? "") : Buffer.from(octet, "hex"))
  }
  if (position < text.length && text[position] !== "," && text[position] !== "+") {
    throw invalid(text, position, "a comma, a plus sign or an escaped character")
  }
  if (octets.length === 0) throw invalid(text, start, "a value")
  return { value: new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(octets)), end: position }
}

/** Undefined when the value has characters that the attribute's string type has not. */
function encode(oid: string, value: string): Encoded | undefined {
  const isPrintable = /^[A-Za-z0-9 '()+,./:=?-]*$/.test(value)
  if (PRINTABLE_TYPES.has(oid)) return isPrintable ? { printableString: value } : undefined
  if (oid === DOMAIN_COMPONENT) return isPrintable ? { ia5String: value } : undefined
  return { utf8String: value }
}

function invalid(text: string, position: number, wanted: string): Error {
  return new Error(`Cannot read the subject ${JSON.stringify(text)} at character ${position + 1}, expected ${wanted}`)
}

/**
 * Reads DER: the part of X.690 that certificates and certificate revocation lists need.
 *
 * Strict where laxness makes two readers disagree: definite lengths in their shortest form, low tag numbers, no byte
 * outside its parent. Every function is total: `undefined` means "not DER". Pure; called by what reads
 * certificates, names, signatures and revocation lists.
 *
 * @see ITU-T X.690 §8.1, §10.1
 */
import { DER_DEPTH_MAX } from "../bounds.ts"

/** One element: `tag` is the identifier octet, `bytes` the whole encoding, `content` the value octets (views, not copies). */
export interface DerElement {
  readonly tag: number
  readonly bytes: Uint8Array
  readonly content: Uint8Array
}

/** Identifier octets of the universal types used here. */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  numericString: 0x12,
  printableString: 0x13,
  t61String: 0x14,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  visibleString: 0x1a,
  universalString: 0x1c,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
} as const

/** Returns the element at the start of `bytes` and nothing behind it, or undefined when `bytes` is not exactly one element. */
export function readDer(bytes: Uint8Array): DerElement | undefined {
  const element = readElement(bytes, 0)
  return element !== undefined && element.bytes.length === bytes.length ? element : undefined
}

/** Returns the elements inside a constructed element, or undefined when its content is not a sequence of elements. */
export function readChildren(parent: DerElement): readonly DerElement[] | undefined {
  const children: DerElement[] = []
  let offset = 0
  while (offset < parent.content.length) {
    const child = readElement(parent.content, offset)
    if (child === undefined) return undefined
    children.push(child)
    offset += child.bytes.length
  }
  return children
}

/** Returns true when `bytes` nests no deeper than the bound; bounds the work of everything that recurses into it. */
export function isNestingBounded(element: DerElement, depth: number = DER_DEPTH_MAX): boolean {
  if ((element.tag & 0x20) === 0) return true
  if (depth === 0) return false
  return readChildren(element)?.every((child) => isNestingBounded(child, depth - 1)) ?? true
}

function readElement(bytes: Uint8Array, offset: number): DerElement | undefined {
  const span = readSpan(bytes, offset)
  if (span === undefined) return undefined
  const { tag, start, end } = span
  return { tag, bytes: bytes.subarray(offset, end), content: bytes.subarray(start, end) }
}

/** Where the content of an element starts and ends, for walks over so many that a view of each would be what takes the time. */
export interface DerSpan {
  readonly tag: number
  readonly start: number
  readonly end: number
}

/** Returns the span of the element at `offset` that ends at or before `limit`, or undefined when there is none. */
export function readSpan(bytes: Uint8Array, offset: number, limit: number = bytes.length): DerSpan | undefined {
  const tag = bytes[offset]
  const first = bytes[offset + 1]
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f) return undefined
  let length = first
  let start = offset + 2
  if (first >= 0x80) {
    const octets = first & 0x7f
    // 0 octets is the indefinite form; above 3 nothing fits that is read here.
    if (octets === 0 || octets > 3) return undefined
    length = 0
    for (let i = 0; i < octets; i++) {
      const octet = bytes[start++]
      if (octet === undefined || (i === 0 && octet === 0)) return undefined
      length = length * 256 + octet
    }
    if (length < 0x80) return undefined
  }
  const end = start + length
  return end > limit ? undefined : { tag, start, end }
}

/**
 * Returns the dotted form of an object identifier's content octets, or undefined when an arc is not in its shortest form or
 * above 2^53.
 *
 * @see ITU-T X.690 §8.19
 */
export function readOid(content: Uint8Array): string | undefined {
  const arcs: number[] = []
  let arc = 0
  let isStart = true
  for (const octet of content) {
    if (isStart && octet === 0x80) return undefined
    arc = arc * 128 + (octet & 0x7f)
    if (!Number.isSafeInteger(arc)) return undefined
    isStart = octet < 0x80
    if (isStart) {
      arcs.push(arc)
      arc = 0
    }
  }
  const first = arcs[0]
  if (first === undefined || !isStart) return undefined
  const root = Math.min(2, Math.floor(first / 40))
  return [root, first - root * 40, ...arcs.slice(1)].join(".")
}

/**
 * Returns the text of a string element, or undefined when the type is no string type or the octets are not valid in it.
 * A NUL and other controls are ordinary characters here: cutting at them is how names are forged.
 */
export function readText(element: DerElement): string | undefined {
  const { content } = element
  switch (element.tag) {
    case TAG.utf8String:
      return readUtf8(content)
    case TAG.numericString:
    case TAG.printableString:
    case TAG.ia5String:
    case TAG.visibleString:
      return content.every((octet) => octet < 0x80) ? readLatin1(content) : undefined
    case TAG.t61String:
      return readLatin1(content)
    case TAG.bmpString:
      return readWideText(content, 2)
    case TAG.universalString:
      return readWideText(content, 4)
    default:
      return undefined
  }
}

/** Returns one character per octet (ISO 8859-1): a lossless view of octets as text. */
export function readLatin1(octets: Uint8Array): string {
  let text = ""
  for (const octet of octets) text += String.fromCharCode(octet)
  return text
}

/** Returns the text of UTF-8 octets, or undefined when they are not UTF-8. */
export function readUtf8(octets: Uint8Array): string | undefined {
  if (octets.every((octet) => octet < 0x80)) return readLatin1(octets)
  let escaped = ""
  for (const octet of octets) escaped += `%${octet.toString(16).padStart(2, "0")}`
  try {
    return decodeURIComponent(escaped)
  } catch {
    return undefined
  }
}

function readWideText(octets: Uint8Array, width: 2 | 4): string | undefined {
  if (octets.length % width !== 0) return undefined
  let text = ""
  for (let i = 0; i < octets.length; i += width) {
    let point = 0
    for (const octet of octets.subarray(i, i + width)) point = point * 256 + octet
    if (point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return undefined
    text += String.fromCodePoint(point)
  }
  return text
}

/**
 * Returns the instant of a UTCTime or GeneralizedTime in epoch ms, or undefined when it is not in the only forms that
 * certificates and revocation lists may have: to the second, in UTC, with a Z.
 *
 * @see RFC 5280 §4.1.2.5
 */
export function readTime({ tag, content }: Pick<DerElement, "tag" | "content">): number | undefined {
  const yearDigits = tag === TAG.utcTime ? 2 : 4
  const isTime = tag === TAG.utcTime || tag === TAG.generalizedTime
  if (!isTime || content.length !== yearDigits + 11 || content[content.length - 1] !== 0x5a) return undefined
  for (let i = 0; i < content.length - 1; i++) if (!isDigit(content[i])) return undefined
  const twoDigits = (at: number): number => (content[at] ?? 0) * 10 + (content[at + 1] ?? 0) - 0x30 * 11
  const ofCentury = twoDigits(yearDigits - 2)
  const century = yearDigits === 4 ? twoDigits(0) * 100 : ofCentury >= 50 ? 1900 : 2000
  const [year, month, day] = [century + ofCentury, twoDigits(yearDigits), twoDigits(yearDigits + 2)]
  const [hour, minute, second] = [twoDigits(yearDigits + 4), twoDigits(yearDigits + 6), twoDigits(yearDigits + 8)]
  const instant = Date.UTC(year, month - 1, day, hour, minute, second)
  const date = new Date(instant)
  // Date.UTC takes the years 0 to 99 for 1900 to 1999 and carries what is too large into the next field.
  const isCarried = date.getUTCFullYear() !== year || date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day
  return isCarried || hour > 23 || minute > 59 || second > 59 ? undefined : instant
}

function isDigit(octet: number | undefined): boolean {
  return octet !== undefined && octet >= 0x30 && octet <= 0x39
}

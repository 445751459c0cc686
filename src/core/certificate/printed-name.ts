/**
 * Distinguished names as Cloudflare prints them, in three forms, read for people: to show a name, and to compare a printed
 * one with the name inside a certificate when something does not fit. Nothing decides on what stands here.
 *
 * - `rfc2253` (`certSubjectDNRFC2253`): unambiguous, most specific RDN first.
 * - `default` (`certSubjectDN`): documented with blanks behind the commas and in either order, so the order is not known.
 * - `legacy` (`certSubjectDNLegacy`): one line with slashes. A value may hold what looks like the next attribute, so two
 *   different names can be printed alike, and a name that is read back is only the likeliest one.
 *
 * Pure and total; called by the configuration, which says how a name in the wrong form is written in the right one.
 */
import {
  formatLegacy,
  nameKey,
  oidOfKeyword,
  parseRfc4514,
  type DistinguishedName,
  type NameAttribute,
  type RelativeName,
} from "./distinguished-name.ts"
import { readUtf8 } from "./der.ts"

/** Which of the three fields a printed name comes from. */
export type PrintedForm = "rfc2253" | "default" | "legacy"

/** Returns the name in a printed text, RDNs in certificate order as far as the form tells, or undefined. */
export function parsePrintedName(text: string, form: PrintedForm): DistinguishedName | undefined {
  // A certificate may have an empty subject, and then all three are empty.
  if (text === "") return []
  if (form === "legacy") return parseLegacy(text)
  const parsed = parseRfc4514(text)
  return "error" in parsed ? undefined : parsed.name
}

/**
 * Returns true when a printed text is what the platform would print for `name`. In the legacy form other names may print so
 * too, and in the default form those with the same RDNs in another order: it is a hint for people, never a proof.
 */
export function isPrintOf(text: string, form: PrintedForm, name: DistinguishedName): boolean {
  if (form === "legacy") return text === formatLegacy(name)
  const parsed = parsePrintedName(text, form)
  if (parsed === undefined) return false
  if (form === "rfc2253") return nameKey(parsed) === nameKey(name)
  const keys = (of: DistinguishedName): string => JSON.stringify(of.map((rdn) => nameKey([rdn])).toSorted())
  return keys(parsed) === keys(name)
}

/** What begins an attribute: a slash or plus sign that nothing escapes, a known type and an equals sign. */
const BORDER = /(?<!\\)([/+])([A-Za-z][A-Za-z0-9-]*|(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))+)=/g

function parseLegacy(text: string): DistinguishedName | undefined {
  const borders = [...text.matchAll(BORDER)].flatMap(({ 0: whole, 1: separator = "", 2: keyword = "", index }) => {
    const oid = oidOfKeyword(keyword)
    return oid === undefined ? [] : [{ index, end: index + whole.length, separator, oid }]
  })
  const [first] = borders
  if (first?.index !== 0 || first.separator !== "/") return undefined
  const name: RelativeName[] = []
  let rdn: NameAttribute[] = []
  for (const [position, { end, oid, separator }] of borders.entries()) {
    const value = unescapeLegacy(text.slice(end, borders[position + 1]?.index))
    if (value === undefined) return undefined
    if (separator === "/") {
      rdn = []
      name.push(rdn)
    }
    rdn.push({ oid, text: value })
  }
  return name
}

/** Undoes `\/`, `\+` and runs of `\xXX`; any other backslash is a backslash. Undefined when the octets are not UTF-8. */
function unescapeLegacy(text: string): string | undefined {
  let isBroken = false
  const value = text.replaceAll(/\\([/+])|(?:\\x[0-9A-F]{2})+/g, (escaped: string, separator: string | undefined) => {
    if (separator !== undefined) return separator
    const octets = escaped
      .split("\\x")
      .slice(1)
      .map((pair) => Number.parseInt(pair, 16))
    const decoded = readUtf8(Uint8Array.from(octets))
    isBroken ||= decoded === undefined
    return decoded ?? ""
  })
  return isBroken ? undefined : value
}

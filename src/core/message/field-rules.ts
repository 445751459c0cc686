/**
 * Header fields that a route sets or removes, and which of them it may touch at all.
 *
 * Values are static. The gateway's own fields, framing and hop-by-hop fields are out of reach: an operator's line must not
 * be able to name a client, end a message or hide a limit. Pure and total; checked by the configuration, applied by
 * `src/origin/`.
 *
 * @see RFC 9110 §5.5 (field values)
 */
import { FIELD_RULES_MAX, FIELD_VALUE_LENGTH_MAX } from "../bounds.ts"
import { isRequestFieldForwarded, isResponseFieldForwarded } from "./forwarding.ts"

/** What a route does to the fields of one direction. Names are lower case; removals come first. */
export interface FieldRules {
  readonly set: readonly (readonly [name: string, value: string])[]
  readonly remove: readonly string[]
}

/** The direction of a message. */
export type Direction = "request" | "response"

/** Rules that change nothing. */
export const NO_FIELD_RULES: FieldRules = { set: [], remove: [] }

/** Fields without which a message is read as another one. */
const FRAMING: ReadonlySet<string> = new Set([
  "content-encoding",
  "content-length",
  "content-range",
  "date",
  "host",
  "max-forwards",
  "origin",
])
/** Fields of answers that the gateway writes itself, on some routes or on all. */
const OWN_RESPONSE_FIELDS: ReadonlySet<string> = new Set([
  "allow",
  "content-location",
  "location",
  "retry-after",
  "vary",
  "x-client-certificate-expires",
])
const OWN_RESPONSE_FAMILIES: readonly string[] = ["access-control-", "x-ratelimit-"]

/** Returns true when a route may set or remove this field. `name` is lower case. */
export function isFieldAdjustable(name: string, direction: Direction): boolean {
  if (FRAMING.has(name)) return false
  if (direction === "request") return isRequestFieldForwarded(name, NONE, undefined)
  return (
    isResponseFieldForwarded(name, NONE) &&
    !OWN_RESPONSE_FIELDS.has(name) &&
    !OWN_RESPONSE_FAMILIES.some((family) => name.startsWith(family))
  )
}
const NONE: ReadonlySet<string> = new Set()

/** Returns true for a value of 1 to FIELD_VALUE_LENGTH_MAX visible ASCII characters, with spaces and tabs between them. */
export function isStaticFieldValue(value: string): boolean {
  return value.length <= FIELD_VALUE_LENGTH_MAX && /^[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?$/.test(value)
}

/** Returns true when there are few enough rules: all of them run with every message. */
export function isRuleCountAllowed({ remove, set }: FieldRules): boolean {
  return set.length + remove.length <= FIELD_RULES_MAX
}

/** A header section that rules are applied to. */
export interface AdjustableSection {
  has(name: string): boolean
  set(name: string, value: string): void
  delete(name: string): void
}

/** Applies the rules to a section in place. */
export function applyFieldRules(section: AdjustableSection, { remove, set }: FieldRules): void {
  for (const name of remove) section.delete(name)
  for (const [name, value] of set) section.set(name, value)
}

/**
 * What `security_headers` adds where the origin says nothing itself: TLS for a year, no sniffing, no framing, no referrer.
 * Nothing that would change how a page of the origin works.
 */
export const SECURITY_FIELDS: readonly (readonly [name: string, value: string])[] = [
  ["Strict-Transport-Security", "max-age=31536000"],
  ["X-Content-Type-Options", "nosniff"],
  ["Content-Security-Policy", "frame-ancestors 'none'"],
  ["Referrer-Policy", "no-referrer"],
]

/** Adds to a section in place what of {@link SECURITY_FIELDS} is not there. */
export function addSecurityFields(section: AdjustableSection): void {
  for (const [name, value] of SECURITY_FIELDS) if (!section.has(name)) section.set(name, value)
}

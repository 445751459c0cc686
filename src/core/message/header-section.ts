/**
 * Whether a request's header section may be read at all: not too many or too large fields, no control character in a value,
 * no singleton field twice.
 *
 * The local edge checks the lines themselves and Cloudflare most of this; the Worker assumes neither. Pure and total. Called
 * by the `target` stage, and by `src/origin/` for answers.
 *
 * @see RFC 9110 §5.5 (field values), RFC 6585 §5 (431)
 */
import { HEADER_BYTES_MAX, HEADER_COUNT_MAX } from "../bounds.ts"
import type { ProblemCode } from "../problem.ts"
import { findRepeatedField } from "./singleton-fields.ts"

/** Field values by name in lower case, several lines joined by a comma. */
export type ReceivedFields = ReadonlyMap<string, string>

/** A section that was read, or its first fault. */
export type HeaderRead = { readonly ok: true; readonly fields: ReceivedFields } | ({ readonly ok: false } & HeaderFault)

/** Why a section is not read. `reason` holds numbers and names, never a value. */
export interface HeaderFault {
  readonly code: Extract<ProblemCode, "headers-too-large" | "malformed-header" | "duplicate-header" | "host-rejected">
  readonly reason: string
}

/** Every control character but the tab: a parser behind the gateway may end a line or a string at one. */
const CONTROL = /[\0-\x08\x0a-\x1f\x7f]/

/**
 * Returns why the header section of an origin's answer may not be handed on, or undefined: the bounds of a request hold for it,
 * and a caller's parser must not end a line where the gateway saw none. @see RFC 9110 §5.5
 */
export function findAnswerFault(section: Iterable<readonly [name: string, value: string]>): string | undefined {
  let count = 0
  let bytes = 0
  for (const [name, value] of section) {
    if (CONTROL.test(value)) return `control_in_${name}`
    count += 1
    bytes += name.length + value.length
  }
  return count > HEADER_COUNT_MAX || bytes > HEADER_BYTES_MAX ? `${count}_fields_${bytes}_octets` : undefined
}

/**
 * Reads a header section, once for all who want to know something of it.
 *
 * @param section fields in any order, names in lower case. Lines of one name come joined, but for Set-Cookie, which says nothing in a
 *   request: of those the last is kept, and all are counted
 */
export function readHeaderSection(section: Iterable<readonly [name: string, value: string]>): HeaderRead {
  const fields = new Map<string, string>()
  let count = 0
  let bytes = 0
  let controlled: string | undefined
  for (const [name, value] of section) {
    count += 1
    bytes += name.length + value.length
    if (controlled === undefined && CONTROL.test(value)) controlled = name
    fields.set(name, value)
  }
  if (count > HEADER_COUNT_MAX || bytes > HEADER_BYTES_MAX)
    return { ok: false, code: "headers-too-large", reason: `${count}_fields_${bytes}_octets` }
  if (controlled !== undefined) return { ok: false, code: "malformed-header", reason: `control_in_${controlled}` }
  const repeated = findRepeatedField(fields)
  if (repeated === undefined) return { ok: true, fields }
  return repeated === "host"
    ? { ok: false, code: "host-rejected", reason: "host_repeated" }
    : { ok: false, code: "duplicate-header", reason: repeated }
}

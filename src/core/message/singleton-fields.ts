/**
 * Whether a header field that may occur once occurred more often, judged from its joined value.
 *
 * The runtime joins repeated lines with a comma before any code sees them, so two lines have to be recognised in one
 * value; taking either the first or the last would let two readers see two requests. Pure and total. Called by
 * `core/message/header-section.ts`; the local edge sees the lines themselves.
 *
 * @see RFC 9110 §5.3
 */

/** A comma outside quoted strings, or a string without an end, which may have swallowed one. */
const LIST = /^(?:[^",]|"(?:[^"\\]|\\.)*")*(?:,|"(?!(?:[^"\\]|\\.)*"))/
/**
 * Credentials with commas that are nevertheless one field: one scheme, then `name=value` parameters (Digest, AWS4). A
 * token68 such as `abc==` is no parameter, so it may not be followed by a comma.
 */
const PARAMETERS = (() => {
  const token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
  const parameter = `${token}[ \\t]*=[ \\t]*(?:"(?:[^"\\\\]|\\\\.)*"|[^ \\t",=][^ \\t",]*)`
  return new RegExp(`^[ \\t]*${token}[ \\t]+${parameter}(?:[ \\t]*,[ \\t]*${parameter})*[ \\t]*$`)
})()

const isList = (value: string): boolean => LIST.test(value)
const hasComma = (value: string): boolean => value.includes(",")

/** One test a field, true for values that only several lines give. */
const REPEATED: readonly (readonly [name: string, isRepeated: (value: string) => boolean])[] = [
  ["authorization", (value) => hasComma(value) && !PARAMETERS.test(value)],
  ["content-length", hasComma],
  ["content-type", isList],
  ["host", hasComma],
  ["idempotency-key", isList],
  ["sec-websocket-key", hasComma],
  ["x-request-id", hasComma],
]

/** Returns the name of the first singleton field that occurs more than once, or undefined. */
export function findRepeatedField(fields: ReadonlyMap<string, string>): string | undefined {
  return REPEATED.find(([name, isRepeated]) => isRepeated(fields.get(name) ?? ""))?.[0]
}

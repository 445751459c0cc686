/**
 * Whether a header field that may occur once occurred more often, judged from its joined value.
 *
 * The runtime joins repeated lines with a comma before any code sees them, so two lines have to be recognised in one
 * value; taking either the first or the last would let two readers see two requests. Pure and total. Called by the
 * `target` stage; the local edge sees the lines themselves.
 *
 * @see RFC 9110 §5.3
 */

/** One pattern a field that only a repeated value matches. */
const REPEATED: readonly (readonly [name: string, pattern: RegExp])[] = [
  // A second scheme behind a comma; parameters of one scheme (Digest) have "=" there.
  ["authorization", /,\s*[!#$%&'*+.^_`|~0-9A-Za-z-]+\s+\S/],
  ["content-length", /,/],
  // A second media type behind a comma; a boundary may hold a comma, but no type.
  ["content-type", /,\s*[\w.+-]+\/[\w.+-]+/],
  ["host", /,/],
  // Strings may hold commas, so only a comma between two of them counts; bare keys have none.
  ["idempotency-key", /^\s*(?:"(?:[^"\\]|\\.)*"|[^",]*)\s*,/],
  ["sec-websocket-key", /,/],
  ["x-request-id", /,/],
]

/** Returns the name of the first singleton field that occurs more than once, or undefined. */
export function findRepeatedField(get: (name: string) => string | null): string | undefined {
  return REPEATED.find(([name, pattern]) => pattern.test(get(name) ?? ""))?.[0]
}

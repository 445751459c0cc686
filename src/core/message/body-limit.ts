/**
 * Whether a body fits its limit: told at once where its length is announced, else counted octet by octet on its way.
 *
 * An announced length is kept by the framing (RFC 9112 §6.3), so such a body is never counted. Octets are those on the
 * wire: nothing is decoded, so a small encoded body stays small here. Pure and total; called by `src/origin/`.
 */

/** What to do about the length of a body. */
export type LengthDecision =
  /** It is longer than the limit, or its length is no number. */
  | "too-large"
  /** It fits, because its framing says so, or because there is no limit. */
  | "fits"
  /** Only counting tells. */
  | "count"

/**
 * Returns what the announced length says. A length that is no whole number cannot be kept by anything, so it is too large.
 *
 * @param contentLength value of Content-Length; null when the body is delimited in another way
 * @param bytesMax octets, undefined for no limit
 */
export function decideLength(contentLength: string | null, bytesMax: number | undefined): LengthDecision {
  if (bytesMax === undefined) return "fits"
  if (contentLength === null) return "count"
  return /^[0-9]{1,15}$/.test(contentLength) && Number(contentLength) <= bytesMax ? "fits" : "too-large"
}

/** Octets of a body so far. */
export interface ByteCount {
  readonly bytes: number
  /** Once true it stays true. */
  readonly isOver: boolean
}

/** The count before the first octet. */
export const NO_BYTES: ByteCount = { bytes: 0, isOver: false }

/** Returns the count after a piece of `bytes` octets: over as soon as the sum is larger than `bytesMax`. */
export function countBytes(count: ByteCount, bytes: number, bytesMax: number): ByteCount {
  const sum = count.bytes + bytes
  return { bytes: sum, isOver: count.isOver || sum > bytesMax }
}

/**
 * Octets of a stream, up to a bound.
 */

/** What was read: the whole stream, or as many pieces as were read when it turned out too long. */
export interface ReadOctets {
  readonly isWhole: boolean
  readonly octets: Uint8Array<ArrayBuffer>
}

/** Reads to the end, or until there are more than `bytesMax` octets. Rejects when the stream fails. */
export async function readOctets(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  bytesMax: number,
): Promise<ReadOctets> {
  const pieces: Uint8Array[] = []
  let bytes = 0
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    pieces.push(next.value)
    bytes += next.value.byteLength
    if (bytes > bytesMax) return { isWhole: false, octets: joinOctets(pieces) }
  }
  return { isWhole: true, octets: joinOctets(pieces) }
}

/** Returns all pieces in a row. */
export function joinOctets(pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const octets = new Uint8Array(pieces.reduce((bytes, piece) => bytes + piece.byteLength, 0))
  let offset = 0
  for (const piece of pieces) {
    octets.set(piece, offset)
    offset += piece.byteLength
  }
  return octets
}

/**
 * MurmurHash3 of 32 bits (x86 variant): tells texts apart and costs next to nothing. Whoever wants two texts of one hash finds them, so
 * nothing that has to be safe rests on it. Pure and total.
 *
 * @see https://github.com/aappleby/smhasher, MurmurHash3_x86_32
 */

/** Returns the hash of octets, a whole number of 32 bits. @param seed a whole number; every one gives another hash */
export function murmur3(octets: Uint8Array, seed: number): number {
  const blocksLength = octets.length - (octets.length % 4)
  const blocks = new Uint32Array(octets.slice(0, blocksLength).buffer)
  // A loop of our own would be hot enough for the optimizing compiler, which takes some ten times as long as all of this where an
  // isolate begins.
  const hash = blocks.reduce(addBlock, seed)
  const rest = octets.subarray(blocksLength).reduceRight((block, octet) => (block << 8) | octet, 0)
  return finish(hash ^ scramble(rest) ^ octets.length)
}

function addBlock(hash: number, block: number): number {
  return Math.imul(rotate(hash ^ scramble(block), 13), 5) + 0xe6546b64
}

function scramble(block: number): number {
  return Math.imul(rotate(Math.imul(block, 0xcc9e2d51), 15), 0x1b873593)
}

function rotate(bits: number, by: number): number {
  return (bits << by) | (bits >>> (32 - by))
}

function finish(hash: number): number {
  const once = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  const twice = Math.imul(once ^ (once >>> 13), 0xc2b2ae35)
  return (twice ^ (twice >>> 16)) >>> 0
}

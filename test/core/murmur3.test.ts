/**
 * Goal: the hash is the published one. Method: texts with known hashes, and the checksum over all lengths up to 255 with which
 * SMHasher recognises an implementation.
 */
import { expect, test } from "vitest"
import { murmur3 } from "../../src/core/murmur3.ts"

const octetsOf = (text: string): Uint8Array => new TextEncoder().encode(text)

test.each([
  ["", 0, 0],
  ["", 1, 0x514e28b7],
  ["", 0xffffffff, 0x81f16f39],
  ["test", 0, 0xba6bd213],
  ["test", 0x9747b28c, 0x704b81dc],
  ["Hello, world!", 0, 0xc0363e43],
  ["Hello, world!", 0x9747b28c, 0x24884cba],
  ["The quick brown fox jumps over the lazy dog", 0, 0x2e4ff723],
  ["The quick brown fox jumps over the lazy dog", 0x9747b28c, 0x2fa826cd],
])("murmur3(%j, %i) is %i", (text, seed, hash) => {
  expect(murmur3(octetsOf(text), seed)).toBe(hash)
})

test("the hashes of all lengths have SMHasher's checksum", () => {
  const hashes = new DataView(new ArrayBuffer(4 * 256))
  for (let length = 0; length < 256; length++) {
    const octets = Uint8Array.from({ length }, (_, index) => index)
    hashes.setUint32(4 * length, murmur3(octets, 256 - length), true)
  }
  expect(murmur3(new Uint8Array(hashes.buffer), 0)).toBe(0xb0f57ee3)
})

/**
 * Goal: the edge reads frame heads alike however octets are cut, and knows where a frame of its own may stand. Method: properties
 * over random frames and cuts; each way to break the protocol is `test/e2e/edge-websocket.test.ts`.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { createFrameScanner, formatCloseFrame, FRAGMENTS_MAX } from "../../edge/frames.ts"
import { formatFrame } from "../../examples/bank/websocket.ts"

const SEED = { seed: 53 }
const frames = fc.array(
  fc.record({
    opcode: fc.constantFrom(1, 2, 9, 10),
    length: fc.oneof(fc.integer({ min: 0, max: 300 }), fc.constant(65_536)),
  }),
  { maxLength: 6 },
)
const octetsOf = (list: readonly { readonly opcode: number; readonly length: number }[]): Buffer =>
  Buffer.concat(list.map(({ opcode, length }) => formatFrame(opcode, Buffer.alloc(opcode > 8 ? length % 126 : length))))

describe("createFrameScanner()", () => {
  test("finds no fault in frames however they are cut, and ends between two of them", () => {
    fc.assert(
      fc.property(frames, fc.integer({ min: 1, max: 5_000 }), (list, size) => {
        const octets = octetsOf(list)
        const scanner = createFrameScanner("server")
        for (let i = 0; i < octets.length; i += size) expect(scanner.scan(octets.subarray(i, i + size))).toBeUndefined()
        expect(scanner.isBetweenFrames).toBe(true)
      }),
      SEED,
    )
  })

  test("is between frames at the end of each and nowhere else", () => {
    const octets = octetsOf([
      { opcode: 1, length: 0 },
      { opcode: 2, length: 130 },
      { opcode: 9, length: 3 },
    ])
    const scanner = createFrameScanner("server")
    const ends = [...octets].flatMap((octet, i) => {
      scanner.scan(Uint8Array.of(octet))
      return scanner.isBetweenFrames ? [i + 1] : []
    })
    expect(ends).toEqual([2, 2 + 4 + 130, octets.length])
  })

  test("never throws and holds on to a fault's code, whatever comes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.constantFrom("client", "server"), (octets, sender) => {
        expect([undefined, 1002, 1008, 1009]).toContain(createFrameScanner(sender).scan(octets))
      }),
      SEED,
    )
  })

  test("counts a message over its fragments", () => {
    const scanner = createFrameScanner("server", 100)
    expect(scanner.scan(formatFrame(1, Buffer.alloc(60), false))).toBeUndefined()
    expect(scanner.scan(formatFrame(9, Buffer.alloc(60)))).toBeUndefined()
    expect(scanner.scan(formatFrame(0, Buffer.alloc(41)))).toBe(1009)
  })

  test("starts counting anew with each message", () => {
    const scanner = createFrameScanner("server", 100)
    for (let i = 0; i < 5; i++) expect(scanner.scan(formatFrame(1, Buffer.alloc(100)))).toBeUndefined()
  })

  test("WSK-06 refuses a message in endless empty parts", () => {
    const scanner = createFrameScanner("server")
    expect(scanner.scan(formatFrame(1, Buffer.alloc(0), false))).toBeUndefined()
    const empty = formatFrame(0, Buffer.alloc(0), false)
    for (let i = 1; i < FRAGMENTS_MAX; i++) expect(scanner.scan(empty)).toBeUndefined()
    expect(scanner.scan(empty)).toBe(1008)
  })

  test("RFC 6455 §5.5.1 takes nothing behind a close frame", () => {
    const scanner = createFrameScanner("server")
    expect(scanner.scan(formatCloseFrame(1000, "bye"))).toBeUndefined()
    expect([scanner.isClosed, scanner.isBetweenFrames]).toEqual([true, true])
    expect(scanner.scan(formatFrame(1, Buffer.from("x")))).toBe(1002)
  })
})

/**
 * Goal: the sample bank's WebSocket reads frames as RFC 6455 says, however they are cut, and ends with the code for what is none.
 * Method: the RFC's examples, properties over cuts, and each fault by hand.
 */
import { IncomingMessage } from "node:http"
import { Socket } from "node:net"
import { Duplex } from "node:stream"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { acceptanceOf, acceptWebSocket, createFrameReader, formatFrame } from "../../examples/bank/websocket.ts"

function read(octets: Buffer, size = octets.length, messageBytesMax = 1_000): readonly unknown[] {
  const told: unknown[] = []
  const reader = createFrameReader(messageBytesMax, {
    message: (data) => told.push(data),
    ping: (payload) => told.push(["ping", payload.toString()]),
    close: (code, reason) => told.push(["close", code, reason]),
    fault: (code) => told.push(["fault", code]),
  })
  for (let i = 0; i < octets.length; i += Math.max(1, size)) reader(octets.subarray(i, i + size))
  return told
}

function masked(opcode: number, payload: string | Buffer, isFinal = true): Buffer {
  const frame = formatFrame(opcode, Buffer.from(payload), isFinal)
  const data = Buffer.from(payload)
  const head = frame.subarray(0, frame.length - data.length)
  head[1] = (head[1] ?? 0) | 0x80
  const mask = Buffer.from([1, 2, 3, 4])
  return Buffer.concat([head, mask, data.map((octet, i) => octet ^ (mask[i & 3] ?? 0))])
}

test("RFC 6455 §1.3 proves the sample key", () => {
  expect(acceptanceOf("dGhlIHNhbXBsZSBub25jZQ==")).toBe("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
})

test("RFC 6455 §5.7 writes the sample frame", () => {
  expect(formatFrame(1, Buffer.from("Hello")).toString("hex")).toBe("810548656c6c6f")
})

describe("createFrameReader()", () => {
  test("RFC 6455 §5.7 reads the sample of a masked text", () => {
    expect(read(Buffer.from("818537fa213d7f9f4d5158", "hex"))).toEqual(["Hello"])
  })

  test("reads the same messages however octets are cut", () => {
    const message = fc.string({ unit: "grapheme", maxLength: 60 })
    fc.assert(
      fc.property(fc.array(message, { maxLength: 5 }), fc.integer({ min: 1, max: 50 }), (texts, size) => {
        expect(read(Buffer.concat(texts.map((text) => masked(1, text))), size)).toEqual(texts)
      }),
      { seed: 57 },
    )
  })

  test("puts fragments together around a ping", () => {
    const octets = Buffer.concat([masked(1, "Hel", false), masked(9, "?"), masked(0, "lo")])
    expect(read(octets)).toEqual([["ping", "?"], "Hello"])
  })

  test("tells a close with its code and reason, and nothing behind it", () => {
    const payload = Buffer.concat([Buffer.from([0x0f, 0xa0]), Buffer.from("bye")])
    expect(read(Buffer.concat([masked(8, payload), masked(1, "more")]))).toEqual([["close", 4000, "bye"]])
    expect(read(masked(8, ""))).toEqual([["close", 1005, ""]])
  })

  test.each<[string, Buffer, number]>([
    ["an unmasked frame", formatFrame(1, Buffer.from("x")), 1002],
    ["a reserved bit", Buffer.from([0xc1, 0x80, 0, 0, 0, 0]), 1002],
    ["an unknown opcode", masked(3, "x"), 1002],
    ["a continuation of nothing", masked(0, "x"), 1002],
    ["a text inside a message", Buffer.concat([masked(1, "x", false), masked(1, "y")]), 1002],
    ["a fragmented ping", masked(9, "x", false), 1002],
    ["a ping of 126 octets", masked(9, "x".repeat(126)), 1002],
    ["a message above the bound", masked(2, Buffer.alloc(1_001)), 1009],
    [
      "fragments above the bound",
      Buffer.concat([masked(2, Buffer.alloc(600), false), masked(0, Buffer.alloc(401))]),
      1009,
    ],
    ["text that is no UTF-8", masked(1, Buffer.from([0xff])), 1007],
    ["the close code 1005", masked(8, Buffer.from([0x03, 0xed])), 1002],
    ["half a close code", masked(8, Buffer.from([3])), 1002],
  ])("ends at %s", (_, octets, code) => {
    expect(read(octets)).toEqual([["fault", code]])
  })
})

describe("acceptWebSocket()", () => {
  /** A handshake, and a socket whose other end reads nothing. */
  function handshake(): readonly [IncomingMessage, Duplex] {
    const request = new IncomingMessage(new Socket())
    request.method = "GET"
    request.headers = { upgrade: "websocket", "sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZQ==" }
    return [request, new Duplex({ read() {}, write() {}, writableHighWaterMark: 1 })]
  }

  test("waits once for a client that does not read, however much is sent to it", () => {
    const [request, socket] = handshake()
    const octets = Buffer.concat(Array.from({ length: 50 }, () => masked(1, "echo")))
    acceptWebSocket(request, socket, octets, { onMessage: (data, open) => open.send(data) })
    expect([socket.isPaused(), socket.listenerCount("drain")]).toEqual([true, 1])
  })

  test("opens nothing for a client that has left: nobody would be told of the end", () => {
    const [request, socket] = handshake()
    socket.destroy()
    expect(acceptWebSocket(request, socket, Buffer.alloc(0), { onMessage() {} })).toBeUndefined()
  })
})

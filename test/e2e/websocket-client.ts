/**
 * A WebSocket client of octets: masked frames as the test writes them, and what comes back, cut into frames.
 */
import { randomBytes } from "node:crypto"
import type { TLSSocket } from "node:tls"

/** A frame as it came. */
export interface ReceivedFrame {
  readonly opcode: number
  readonly payload: Buffer
}

/** What has come over a connection so far. */
export interface WireSocket {
  /** The answer to the handshake, up to its empty line; resolves when it is there or the connection has ended. */
  readonly head: Promise<string>
  /** Everything behind the head, also of an answer that is no 101. */
  rest(): Buffer
  /** Resolves with the frame of this index, undefined when the connection ends before it. */
  frame(index: number): Promise<ReceivedFrame | undefined>
  /** Resolves with the code of the first close frame, 1005 for an empty one, 1006 when the connection ends without. */
  readonly closeCode: Promise<number>
  readonly ended: Promise<void>
  write(octets: Buffer | string): void
  send(text: string): void
  close(code: number): void
  readonly socket: TLSSocket
}

/** Returns a masked frame. */
export function clientFrame(opcode: number, payload: Buffer | string, isFinal = true, isMasked = true): Buffer {
  const data = Buffer.from(payload)
  const length =
    data.length < 126
      ? Buffer.from([data.length])
      : data.length < 65_536
        ? Buffer.from([126, data.length >> 8, data.length & 255])
        : Buffer.concat([Buffer.from([127, 0, 0, 0, 0]), uint32(data.length)])
  length[0] = (length[0] ?? 0) | (isMasked ? 0x80 : 0)
  const mask = isMasked ? randomBytes(4) : Buffer.alloc(0)
  const masked = isMasked ? data.map((octet, i) => octet ^ (mask[i & 3] ?? 0)) : data
  return Buffer.concat([Buffer.from([(isFinal ? 0x80 : 0) | opcode]), length, mask, masked])
}

function uint32(value: number): Buffer {
  const octets = Buffer.alloc(4)
  octets.writeUInt32BE(value)
  return octets
}

/** The lines of a handshake for a host. */
export function handshake(host: string, target = "/ws", fields: readonly string[] = []): string {
  return [
    `GET ${target} HTTP/1.1`,
    `Host: ${host}`,
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ...fields,
    "",
    "",
  ].join("\r\n")
}

/** Reads a connection on which a handshake is sent. */
export function readWire(socket: TLSSocket): WireSocket {
  let octets = Buffer.alloc(0)
  let isEnded = false
  const waits = new Set<() => void>()
  const tell = (): void => waits.forEach((wait) => wait())
  socket.on("data", (chunk: Buffer) => {
    octets = Buffer.concat([octets, chunk])
    tell()
  })
  socket.on("error", () => {})
  const ended = new Promise<void>((resolve) => {
    socket.on("close", () => {
      isEnded = true
      tell()
      resolve()
    })
  })
  const until = <T>(find: () => T | undefined): Promise<T | undefined> =>
    new Promise((resolve) => {
      const wait = (): void => {
        const found = find()
        if (found === undefined && !isEnded) return
        waits.delete(wait)
        resolve(found)
      }
      waits.add(wait)
      wait()
    })
  const headEnd = (): number => octets.indexOf("\r\n\r\n") + 4
  const frames = (): readonly ReceivedFrame[] => (headEnd() < 4 ? [] : readFrames(octets.subarray(headEnd())))
  return {
    socket,
    ended,
    head: until(() => (headEnd() < 4 ? undefined : octets.subarray(0, headEnd()).toString("latin1"))).then(
      (head) => head ?? octets.toString("latin1"),
    ),
    rest: () => octets.subarray(headEnd()),
    frame: (index) => until(() => frames()[index]),
    closeCode: until(() => frames().find(({ opcode }) => opcode === 8)).then((frame) =>
      frame === undefined ? 1006 : frame.payload.length < 2 ? 1005 : frame.payload.readUInt16BE(0),
    ),
    write: (data) => void socket.write(data),
    send: (text) => void socket.write(clientFrame(1, text)),
    close: (code) => void socket.write(clientFrame(8, Buffer.from([code >> 8, code & 255]))),
  }
}

function readFrames(octets: Buffer): readonly ReceivedFrame[] {
  const frames: ReceivedFrame[] = []
  for (let at = 0; at + 2 <= octets.length;) {
    const short = (octets[at + 1] ?? 0) & 0x7f
    const start = at + 2 + (short === 126 ? 2 : short === 127 ? 8 : 0)
    if (start > octets.length) break
    const length =
      short === 126 ? octets.readUInt16BE(at + 2) : short === 127 ? Number(octets.readBigUInt64BE(at + 2)) : short
    if (start + length > octets.length) break
    frames.push({ opcode: (octets[at] ?? 0) & 15, payload: octets.subarray(start, start + length) })
    at = start + length
  }
  return frames
}

/**
 * The server's side of a WebSocket on a Node socket (RFC 6455), as small as it can be: no extensions, whole messages of bounded
 * size, everything that breaks the protocol ends the connection with the code for it. A peer that does not read is not read
 * from, so nothing piles up.
 */
import { createHash } from "node:crypto"
import type { IncomingMessage } from "node:http"
import type { Duplex } from "node:stream"

/** What a server does with a connection. */
export interface ServerSocketOptions {
  /** Chosen from those that the client offered. */
  readonly protocol?: string | undefined
  /** Largest message that is taken, octets; default 1 MiB, larger ones end the connection with 1009. */
  readonly messageBytesMax?: number
  /** Further fields of the answer. */
  readonly fields?: readonly string[]
  readonly onMessage: (data: string | Buffer, socket: ServerSocket) => void
  /** Called once: the code of the client's close frame, 1005 for one without, 1006 when there was none. */
  readonly onClose?: (code: number, reason: string) => void
}

/** One open WebSocket. */
export interface ServerSocket {
  /** Sends a text, or octets as a binary message; nothing once it is closing. */
  send(data: string | Uint8Array): void
  /** Starts the closing handshake, or answers the client's. Without a code the frame is empty. */
  close(code?: number, reason?: string): void
  /** Breaks off without a close frame. */
  destroy(): void
}

const MESSAGE_BYTES_MAX = 1_048_576
/** Frames that one message may be cut into: a bound on what an empty one costs. */
const FRAGMENTS_MAX = 1_024
/** How long a client may take to answer a close frame, in ms. */
const CLOSE_MS = 5_000
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

/** Returns what proves that the key was read. @see RFC 6455 §4.2.2 */
export function acceptanceOf(key: string): string {
  return createHash("sha1")
    .update(key + GUID)
    .digest("base64")
}

/** Returns one unmasked final frame. @see RFC 6455 §5.2 */
export function formatFrame(opcode: number, payload: Uint8Array, isFinal = true): Buffer {
  const { length } = payload
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10)
  head[0] = (isFinal ? 0x80 : 0) | opcode
  if (length < 126) head[1] = length
  else if (length < 65_536) {
    head[1] = 126
    head.writeUInt16BE(length, 2)
  } else {
    head[1] = 127
    head.writeBigUInt64BE(BigInt(length), 2)
  }
  return Buffer.concat([head, payload])
}

/**
 * Answers a handshake and speaks the protocol from there on. Returns undefined when the client has left, and, after an answer of
 * 400 or 426, when the request is none. @param head what had arrived behind the request
 */
export function acceptWebSocket(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  options: ServerSocketOptions,
): ServerSocket | undefined {
  // It is gone for good: nothing would ever tell that it closes.
  if (socket.destroyed) return undefined
  const { headers, method } = request
  const key = headers["sec-websocket-key"]
  const isVersion = headers["sec-websocket-version"] === "13"
  if (method !== "GET" || key === undefined || !isVersion || headers.upgrade?.toLowerCase() !== "websocket") {
    const status = isVersion ? "400 Bad Request" : "426 Upgrade Required\r\nSec-WebSocket-Version: 13"
    socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
    return undefined
  }
  const fields = [
    "Upgrade: websocket",
    "Connection: Upgrade",
    `Sec-WebSocket-Accept: ${acceptanceOf(key)}`,
    ...(options.protocol === undefined ? [] : [`Sec-WebSocket-Protocol: ${options.protocol}`]),
    ...(options.fields ?? []),
  ]
  socket.write(`HTTP/1.1 101 Switching Protocols\r\n${fields.join("\r\n")}\r\n\r\n`)
  return speak(socket, head, options)
}

function speak(
  socket: Duplex,
  head: Buffer,
  { messageBytesMax = MESSAGE_BYTES_MAX, onClose, onMessage }: ServerSocketOptions,
): ServerSocket {
  let isClosing = false
  let received: { readonly code: number; readonly reason: string } | undefined

  const open: ServerSocket = {
    send(data) {
      if (isClosing) return
      const payload = typeof data === "string" ? Buffer.from(data) : data
      write(formatFrame(typeof data === "string" ? OPCODE.text : OPCODE.binary, payload))
    },
    close(code, reason = "") {
      if (isClosing) return
      isClosing = true
      write(formatFrame(OPCODE.close, code === undefined ? Buffer.alloc(0) : formatClose(code, reason)))
      if (received !== undefined) socket.end()
      else setTimeout(() => socket.destroy(), CLOSE_MS).unref()
    },
    destroy: () => void socket.destroy(),
  }
  const read = createFrameReader(messageBytesMax, {
    message: (data) => {
      if (!isClosing) onMessage(data, open)
    },
    ping: (payload) => {
      if (!isClosing) write(formatFrame(OPCODE.pong, payload))
    },
    close: (code, reason) => {
      received = { code, reason }
      if (isClosing) socket.end()
      else open.close(code === 1005 ? undefined : code, reason)
    },
    fault: (code, reason) => {
      open.close(code, reason)
      socket.end()
    },
  })

  function write(frame: Buffer): void {
    if (socket.destroyed || socket.write(frame) || socket.isPaused()) return
    socket.pause()
    socket.once("drain", () => socket.resume())
  }

  socket.on("data", read)
  socket.on("error", () => {})
  socket.on("end", () => socket.end())
  socket.on("close", () => onClose?.(received?.code ?? 1006, received?.reason ?? ""))
  if (head.length > 0) read(head)
  return open
}

function formatClose(code: number, reason: string): Buffer {
  const payload = Buffer.alloc(2 + Buffer.byteLength(reason))
  payload.writeUInt16BE(code, 0)
  payload.write(reason, 2)
  return payload
}

/** What a reader tells. After a fault nothing more is told. */
export interface FrameEvents {
  readonly message: (data: string | Buffer) => void
  readonly ping: (payload: Buffer) => void
  /** 1005 for an empty close frame. */
  readonly close: (code: number, reason: string) => void
  /** The peer broke the protocol; the code says how. */
  readonly fault: (code: number, reason: string) => void
}

/**
 * Returns a function that takes octets of a client as they arrive, in pieces of any size, and tells messages, pings and the end.
 * Holds one message of at most `messageBytesMax` octets and one frame header. @see RFC 6455 §5
 */
export function createFrameReader(messageBytesMax: number, events: FrameEvents): (chunk: Buffer) => void {
  let waiting: Buffer = Buffer.alloc(0)
  let fragments: Buffer[] = []
  let messageOpcode = 0
  let isOver = false

  function fault(code: number, reason: string): undefined {
    isOver = true
    waiting = Buffer.alloc(0)
    fragments = []
    events.fault(code, reason)
    return undefined
  }

  /** Takes one frame off what waits. Returns undefined when it is not complete, or was the last. */
  function takeFrame(): { readonly opcode: number; readonly isFinal: boolean; readonly payload: Buffer } | undefined {
    if (waiting.length < 2) return undefined
    const [first = 0, second = 0] = waiting
    const isFinal = (first & 0x80) !== 0
    const opcode = first & 0x0f
    const isControl = opcode >= 8
    if ((first & 0x70) !== 0 || ![0, 1, 2, 8, 9, 10].includes(opcode)) return fault(1002, "unknown frame")
    if ((second & 0x80) === 0) return fault(1002, "unmasked frame")
    const short = second & 0x7f
    if (isControl && (short > 125 || !isFinal)) return fault(1002, "control frame too long or in parts")
    const headBytes = short === 126 ? 4 : short === 127 ? 10 : 2
    if (waiting.length < headBytes) return undefined
    const length = short === 126 ? waiting.readUInt16BE(2) : short === 127 ? Number(waiting.readBigUInt64BE(2)) : short
    const held = isControl ? 0 : fragments.reduce((sum, fragment) => sum + fragment.length, 0)
    if (!isControl && held + length > messageBytesMax) return fault(1009, "message too large")
    if (waiting.length < headBytes + 4 + length) return undefined
    const mask = waiting.subarray(headBytes, headBytes + 4)
    const payload = Buffer.from(waiting.subarray(headBytes + 4, headBytes + 4 + length))
    for (let i = 0; i < length; i++) payload[i] = (payload[i] ?? 0) ^ (mask[i & 3] ?? 0)
    waiting = waiting.subarray(headBytes + 4 + length)
    return { opcode, isFinal, payload }
  }

  function takeClose(payload: Buffer): void {
    isOver = true
    if (payload.length === 0) return events.close(1005, "")
    const code = payload.length === 1 ? 0 : payload.readUInt16BE(0)
    const reason = decodeText(payload.subarray(2))
    const isCode = (code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006) || code >= 3000
    if (!isCode || code > 4999) return fault(1002, "close code out of range")
    if (reason === undefined) return fault(1007, "reason is not UTF-8")
    events.close(code, reason)
  }

  function takeData(opcode: number, isFinal: boolean, payload: Buffer): void {
    const isContinuation = opcode === OPCODE.continuation
    if (isContinuation === (messageOpcode === 0)) return fault(1002, "fragments out of order")
    if (!isContinuation) messageOpcode = opcode
    fragments.push(payload)
    if (fragments.length > FRAGMENTS_MAX) return fault(1008, "too many fragments")
    if (!isFinal) return
    const octets = Buffer.concat(fragments)
    const isText = messageOpcode === OPCODE.text
    fragments = []
    messageOpcode = 0
    if (!isText) return events.message(octets)
    const text = decodeText(octets)
    if (text === undefined) return fault(1007, "text is not UTF-8")
    events.message(text)
  }

  return (chunk) => {
    if (isOver) return
    waiting = waiting.length === 0 ? chunk : Buffer.concat([waiting, chunk])
    for (let frame = takeFrame(); frame !== undefined && !isOver; frame = isOver ? undefined : takeFrame()) {
      const { isFinal, opcode, payload } = frame
      if (opcode === OPCODE.close) takeClose(payload)
      else if (opcode === OPCODE.ping) events.ping(payload)
      else if (opcode !== OPCODE.pong) takeData(opcode, isFinal, payload)
    }
  }
}

function decodeText(octets: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(octets)
  } catch {
    return undefined
  }
}

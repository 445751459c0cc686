/**
 * Whether octets of one direction of a WebSocket are frames, and whether a message ends where they end. Reads frame heads only:
 * payloads are counted, never held. Total; holds at most 14 octets.
 *
 * Clients' frames have to be masked, no extension is ever negotiated, and what the Worker's platform would not take (messages
 * above its bound, messages in endless parts) ends here.
 *
 * @see RFC 6455 §5
 */
import { WEBSOCKET_MESSAGE_BYTES_MAX } from "../src/core/bounds.ts"

/** Who sends the frames. */
export type FrameSender = "client" | "server"

/** How a sender broke the protocol, as the code of a close frame. @see RFC 6455 §7.4.1 */
export type FrameFault = 1002 | 1008 | 1009

/** What has been read of one direction so far. */
export interface FrameScanner {
  /** Reads on. Returns how the sender broke the protocol, undefined while it has not. Not to be asked again after a fault. */
  scan(chunk: Uint8Array): FrameFault | undefined
  /** True between two frames: only there a frame of the edge's own may stand. */
  readonly isBetweenFrames: boolean
  /** True once a close frame has begun. */
  readonly isClosed: boolean
}

/** Most frames one message may be cut into: an empty one costs its receiver as much as a full one. */
export const FRAGMENTS_MAX = 65_536

const OPCODES: ReadonlySet<number> = new Set([0, 1, 2, 8, 9, 10])
const CLOSE = 8
const CONTROL_BYTES_MAX = 125

/** Returns a scanner of one direction. @param messageBytesMax largest message, in octets */
export function createFrameScanner(sender: FrameSender, messageBytesMax = WEBSOCKET_MESSAGE_BYTES_MAX): FrameScanner {
  let head: number[] = []
  let payloadLeft = 0
  let messageBytes = 0
  let fragments = 0
  let isClosed = false

  /** Returns how many octets the head has, as far as it is known. */
  function headBytes(): number {
    const short = (head[1] ?? 0) & 0x7f
    const maskBytes = sender === "client" ? 4 : 0
    return head.length < 2 ? 2 : 2 + (short === 126 ? 2 : short === 127 ? 8 : 0) + maskBytes
  }

  function takeHead(): FrameFault | undefined {
    const [first = 0, second = 0] = head
    const opcode = first & 0x0f
    const isFinal = (first & 0x80) !== 0
    const short = second & 0x7f
    const length =
      short < 126 ? short : head.slice(2, short === 126 ? 4 : 10).reduce((sum, octet) => sum * 256 + octet, 0)
    if (short === 126 ? length < 126 : short === 127 && length < 65_536) return 1002
    head = []
    payloadLeft = length
    if (opcode >= CLOSE) {
      if (opcode === CLOSE) isClosed = true
      return !isFinal || length > CONTROL_BYTES_MAX ? 1002 : undefined
    }
    if ((opcode === 0) === (fragments === 0)) return 1002
    messageBytes += length
    fragments += 1
    if (messageBytes > messageBytesMax) return 1009
    if (fragments > FRAGMENTS_MAX) return 1008
    if (isFinal) {
      messageBytes = 0
      fragments = 0
    }
    return undefined
  }

  /** What the first two octets say already: a sender of nonsense is not waited for. */
  function faultOfStart(): FrameFault | undefined {
    const [first = 0, second] = head
    if ((first & 0x70) !== 0 || !OPCODES.has(first & 0x0f)) return 1002
    return second !== undefined && ((second & 0x80) !== 0) !== (sender === "client") ? 1002 : undefined
  }

  return {
    scan(chunk) {
      for (let i = 0; i < chunk.length;) {
        if (payloadLeft > 0) {
          const skipped = Math.min(payloadLeft, chunk.length - i)
          payloadLeft -= skipped
          i += skipped
          continue
        }
        // Behind a close frame there are no more frames. @see RFC 6455 §5.5.1
        if (isClosed) return 1002
        head.push(chunk[i++] ?? 0)
        const fault = faultOfStart() ?? (head.length < headBytes() ? undefined : takeHead())
        if (fault !== undefined) return fault
      }
      return undefined
    },
    get isBetweenFrames() {
      return head.length === 0 && payloadLeft === 0
    },
    get isClosed() {
      return isClosed
    },
  }
}

/** Returns a close frame of a server. `reason` has at most 123 octets. */
export function formatCloseFrame(code: number, reason: string): Buffer {
  const text = Buffer.from(reason)
  const head = Buffer.from([0x80 | CLOSE, 2 + text.length, code >> 8, code & 0xff])
  return Buffer.concat([head, text])
}

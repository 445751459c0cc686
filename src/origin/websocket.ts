/**
 * A WebSocket between a client and an origin: hands messages and closes on in both directions, counts them, and closes both
 * sides when nothing moves, when a message is too large, or when asking again says that the client may no longer have it.
 *
 * What is decided is `core/message/websocket.ts`; what is asked again the stages have left in the exchange. An open socket keeps its
 * request alive, and with it the timer; an isolate that ends takes its sockets along.
 */
import type { OpenSocket, Recheck, SocketEnd } from "../context.ts"
import { WEBSOCKET_CLOSE_TIMEOUT_MS } from "../core/bounds.ts"
import {
  afterRecheck,
  decideSocket,
  GATEWAY_CLOSES,
  relayClose,
  type Close,
  type CloseCause,
  type SocketWatch,
  type WebSocketTerms,
} from "../core/message/websocket.ts"

type Side = "client" | "origin"

const OTHER: Readonly<Record<Side, Side>> = { client: "origin", origin: "client" }

/** What a bridge needs to know beside the origin's end. */
export interface BridgeOptions {
  readonly terms: WebSocketTerms
  readonly rechecks: readonly Recheck[]
  readonly nowMs: () => number
}

/** A bridge, and the end of it that the client gets. */
export interface Bridge {
  readonly client: WebSocket
  readonly socket: OpenSocket
}

/** Connects a client to the origin's end of a WebSocket and starts handing on. Never throws once it has started. */
export function openBridge(origin: WebSocket, { terms, rechecks, nowMs }: BridgeOptions): Bridge {
  const [client, server] = Object.values(new WebSocketPair())
  if (client === undefined || server === undefined) throw new Error("WebSocketPair has two ends")
  const ends: Readonly<Record<Side, WebSocket>> = { client: server, origin }
  const openedMs = nowMs()
  const counts = { messagesIn: 0, bytesIn: 0, messagesOut: 0, bytesOut: 0 }
  const isClosed = { client: false, origin: false }
  let watch: SocketWatch = { lastMessageMs: openedMs, lastRecheckMs: openedMs, unknowns: 0 }
  /** Who closed, with what: the first counts. */
  let cause: Pick<SocketEnd, "closedBy" | "code" | "reason"> | undefined
  let timer: number | null = null
  let settle: (end: SocketEnd) => void
  const closed = new Promise<SocketEnd>((resolve) => (settle = resolve))
  const recheckMs = Math.min(terms.recheckMs, ...rechecks.map(({ everyMs }) => everyMs ?? Number.POSITIVE_INFINITY))

  function handOn(from: Side, data: unknown): void {
    if (cause !== undefined || (typeof data !== "string" && !(data instanceof ArrayBuffer))) return
    const bytes = typeof data === "string" ? encoder.encode(data).length : data.byteLength
    watch = { ...watch, lastMessageMs: nowMs() }
    if (from === "client") {
      counts.messagesIn += 1
      counts.bytesIn += bytes
    } else {
      counts.messagesOut += 1
      counts.bytesOut += bytes
    }
    if (bytes > terms.messageBytesMax) return closeBoth("message_too_large")
    try {
      ends[OTHER[from]].send(data)
    } catch {
      // Its end is broken already; the event that says so is on its way.
    }
  }

  /** One side has closed, or broke off: the other one is told, and its answer goes back. */
  function noteClose(from: Side, code: number, reason: string): void {
    if (isClosed[from]) return
    isClosed[from] = true
    if (cause === undefined) {
      cause = { closedBy: from, code, reason: undefined }
      startClosing()
    }
    const other = OTHER[from]
    closeEnd(ends[other], relayClose(code, reason, from))
    // The platform leaves a closed end open for this answer; where the other side closed first it is its own close.
    if (isClosed[other]) finish()
  }

  function closeBoth(closeCause: CloseCause, reason: string = closeCause): void {
    if (cause !== undefined) return
    const close = GATEWAY_CLOSES[closeCause]
    cause = { closedBy: "gateway", code: close.code, reason }
    startClosing()
    closeEnd(ends.client, close)
    closeEnd(ends.origin, close)
  }

  /** From here on a side that does not answer is not waited for. */
  function startClosing(): void {
    if (timer !== null) clearTimeout(timer)
    timer = setTimeout(finish, WEBSOCKET_CLOSE_TIMEOUT_MS)
  }

  function finish(): void {
    if (timer !== null) clearTimeout(timer)
    timer = null
    const { closedBy, code, reason } = cause ?? { closedBy: "gateway", code: undefined, reason: undefined }
    settle({ openedMs, closedMs: nowMs(), closedBy, code, reason, ...counts })
  }

  async function look(): Promise<void> {
    const duty = decideSocket(watch, { idleTimeoutMs: terms.idleTimeoutMs, recheckMs }, nowMs())
    if (duty.kind === "idle") return closeBoth("idle")
    if (duty.kind === "recheck") {
      const standings = await Promise.all(rechecks.map(async ({ ask }) => ask()))
      const step = afterRecheck(watch, standings, nowMs())
      watch = step.watch
      if (step.close !== undefined) return closeBoth(step.close.cause, step.close.reason)
    }
    if (cause === undefined) wait(duty.kind === "wait" ? duty.waitMs : 0)
  }

  function wait(waitMs: number): void {
    timer = setTimeout(() => void look().catch(() => closeBoth("unknown", "recheck_failed")), waitMs)
  }

  for (const side of ["client", "origin"] as const) {
    const end = ends[side]
    end.binaryType = "arraybuffer"
    end.addEventListener("message", ({ data }) => handOn(side, data))
    end.addEventListener("close", ({ code, reason }) => noteClose(side, code, reason))
    end.addEventListener("error", () => noteClose(side, ABNORMAL, ""))
    end.accept({ allowHalfOpen: true })
  }
  wait(0)
  return { client, socket: { closed } }
}

/** No close frame came. @see RFC 6455 §7.1.5 */
const ABNORMAL = 1006
const encoder = new TextEncoder()

function closeEnd(end: WebSocket, { code, reason }: Close): void {
  try {
    if (code === undefined) end.close()
    else end.close(code, reason)
  } catch {
    // Closed already, or broken: there is nobody to tell.
  }
}

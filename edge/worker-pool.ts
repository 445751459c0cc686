/**
 * Connections to the Worker, each for one request at a time and used again, most lately used first.
 *
 * Node's own client does the same at several times the cost, because it serves everything; this one writes what the edge has judged
 * already and reads by `edge/response-reader.ts`. A connection about which anything is in doubt is not used again: nobody's answer may
 * become somebody else's.
 */
import { connect, type Socket } from "node:net"
import type { WorkerAddress } from "./options.ts"
import { createResponseReader, type ResponseHead, type ResponseReader } from "./response-reader.ts"

/** A request for the Worker, judged and complete but for its body. */
export interface WorkerRequest {
  readonly method: string
  readonly target: string
  /** Names and values in turn; framing and Connection among them. */
  readonly fields: readonly string[]
  readonly body: "none" | "length" | "chunked"
}

/** Who is told about an exchange. After `onEnd`, `onFailure` or `onSwitch`, and after it was cut off, nothing more is told. */
export interface WorkerListener {
  onHead(head: ResponseHead): void
  /** Nothing of the body has come with the head. */
  onPause(): void
  /** Returns false when it takes no more for now; {@link WorkerExchange.resume} lets the rest come. */
  onBody(part: Buffer): boolean
  onEnd(): void
  /** The Worker has switched protocols: the socket is the listener's, `head` came behind the 101. */
  onSwitch(rawHeaders: readonly string[], socket: Socket, head: Buffer): void
  /** More of the request's body may be written. */
  onDrain(): void
  /** @param isSent false when the Worker cannot have seen the request */
  onFailure(reason: string, isSent: boolean): void
}

/** One request under way. */
export interface WorkerExchange {
  /** Writes a part of the request's body; false when the next should wait for `onDrain`. */
  write(part: Buffer): boolean
  /** The request's body is complete. */
  end(): void
  resume(): void
  /** Ends it at once. workerd takes a half-closed connection for a patient caller; only a reset tells it to stop. */
  cutOff(): void
}

/** The connections of one edge. */
export interface WorkerPool {
  send(address: WorkerAddress, request: WorkerRequest, listener: WorkerListener): WorkerExchange
  /** Ends all of them. */
  close(): void
}

/** Idle connections to the Worker end before workerd ends them (5 s), or a request could be sent into a closing one. In ms. */
const IDLE_MS = 2_000
const IDLE_CONNECTIONS_MAX = 64
/** Returns a pool that has no connection yet. */
export function createWorkerPool(): WorkerPool {
  const idle: WorkerConnection[] = []
  const all = new Set<WorkerConnection>()
  // Looked at now and then, so that a request costs no timer.
  const sweep = setInterval(() => {
    for (const connection of idle.filter((one) => one.isStale())) connection.destroy()
  }, IDLE_MS / 2)
  sweep.unref()

  function take(hostname: string, port: number): WorkerConnection | undefined {
    for (let i = idle.length - 1; i >= 0; i--) {
      const connection = idle[i]
      if (connection?.hostname !== hostname || connection.port !== port) continue
      idle.splice(i, 1)
      if (!connection.isStale()) return connection
      connection.destroy()
    }
    return undefined
  }

  function open({ hostname, port }: WorkerAddress): WorkerConnection {
    const connection = new WorkerConnection(hostname, port, {
      onFree() {
        if (idle.length < IDLE_CONNECTIONS_MAX) idle.push(connection)
        else connection.destroy()
      },
      onGone() {
        all.delete(connection)
        const index = idle.indexOf(connection)
        if (index >= 0) idle.splice(index, 1)
      },
    })
    all.add(connection)
    return connection
  }

  return {
    send(address, request, listener) {
      const head = formatHead(request)
      const connection = take(address.hostname, address.port) ?? open(address)
      return connection.start(head, request, listener)
    },
    close() {
      clearInterval(sweep)
      for (const connection of all) connection.destroy()
    },
  }
}

/** Throws when a line would end early: what is written was judged before, and this is for the day on which something was not. */
function formatHead({ fields, method, target }: WorkerRequest): string {
  let head = `${method} ${target} HTTP/1.1\r\n`
  let isSound = isOneLine(method) && isOneLine(target)
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] ?? ""
    const value = fields[i + 1] ?? ""
    isSound &&= isOneLine(name) && isOneLine(value)
    head += `${name}: ${value}\r\n`
  }
  if (!isSound) throw new Error("a line of the request would end early")
  return `${head}\r\n`
}

function isOneLine(text: string): boolean {
  return !text.includes("\n") && !text.includes("\r") && !text.includes("\0")
}

/** A request in progress on a connection. */
interface Current {
  readonly listener: WorkerListener
  readonly reader: ResponseReader
  isRequestComplete: boolean
  switchHeaders: readonly string[]
  isHeadAlone: boolean
  isHeld: boolean
}

/** One connection. Its listeners stay for as long as it lives. */
class WorkerConnection {
  readonly hostname: string
  readonly port: number
  readonly #socket: Socket
  readonly #owner: { readonly onFree: () => void; readonly onGone: () => void }
  #current: Current | undefined
  #isConnected = false
  #idleSinceMs = 0

  constructor(hostname: string, port: number, owner: { readonly onFree: () => void; readonly onGone: () => void }) {
    this.hostname = hostname
    this.port = port
    this.#owner = owner
    this.#socket = connect({ host: hostname, port, noDelay: true })
    this.#socket.once("connect", () => (this.#isConnected = true))
    this.#socket.on("data", this.#onData)
    this.#socket.on("drain", this.#onDrain)
    this.#socket.on("end", this.#onEnd)
    this.#socket.on("error", this.#onError)
    this.#socket.on("close", this.#onClose)
  }

  isStale(): boolean {
    return performance.now() - this.#idleSinceMs >= IDLE_MS
  }

  destroy(): void {
    this.#socket.destroy()
  }

  start(head: string, { body, method }: WorkerRequest, listener: WorkerListener): WorkerExchange {
    const current: Current = {
      listener,
      isRequestComplete: body === "none",
      switchHeaders: [],
      isHeadAlone: false,
      isHeld: false,
      reader: createResponseReader(method, {
        onHead(head) {
          if (head.status === 101) {
            current.switchHeaders = head.rawHeaders
            return
          }
          current.isHeadAlone = true
          listener.onHead(head)
        },
        onBody: (part) => {
          current.isHeadAlone = false
          // The listener may have cut it off on the way.
          if (this.#current === current && !listener.onBody(part)) current.isHeld = true
        },
      }),
    }
    this.#current = current
    // Not as single octets: of a character beyond them only a part would be left, and that could be the end of a line.
    this.#socket.write(head, "utf8")
    return {
      write: (part) => this.#current === current && this.#writeBody(part, body),
      end: () => {
        if (this.#current !== current || current.isRequestComplete) return
        current.isRequestComplete = true
        if (body === "chunked") this.#socket.write("0\r\n\r\n", "latin1")
      },
      resume: () => {
        if (this.#current !== current) return
        current.isHeld = false
        this.#socket.resume()
      },
      cutOff: () => {
        if (this.#current !== current) return
        this.#current = undefined
        this.#socket.resetAndDestroy()
      },
    }
  }

  #writeBody(part: Buffer, body: WorkerRequest["body"]): boolean {
    // An empty chunk would be the last one.
    if (part.length === 0) return true
    if (body !== "chunked") return this.#socket.write(part)
    this.#socket.cork()
    this.#socket.write(`${part.length.toString(16)}\r\n`, "latin1")
    this.#socket.write(part)
    const mayGoOn = this.#socket.write("\r\n", "latin1")
    this.#socket.uncork()
    return mayGoOn
  }

  readonly #onData = (chunk: Buffer): void => {
    const current = this.#current
    // Nobody has asked for it.
    if (current === undefined) return this.destroy()
    const fault = current.reader.read(chunk)
    // The listener may have cut it off meanwhile.
    if (this.#current !== current) return
    if (fault !== undefined) return this.#fail(fault)
    const { reader } = current
    if (reader.switched !== undefined) return this.#handOver(current, reader.switched)
    if (reader.isComplete) return this.#finish(current)
    if (current.isHeadAlone) {
      current.isHeadAlone = false
      current.listener.onPause()
    }
    if (current.isHeld) this.#socket.pause()
  }

  readonly #onDrain = (): void => this.#current?.listener.onDrain()

  readonly #onEnd = (): void => {
    const current = this.#current
    if (current === undefined) return this.destroy()
    const fault = current.reader.end()
    if (fault === undefined) this.#finish(current)
    else this.#fail(fault)
  }

  readonly #onError = (error: NodeJS.ErrnoException): void => this.#fail(error.code ?? error.message)

  readonly #onClose = (): void => {
    this.#owner.onGone()
    this.#fail("closed without an answer")
  }

  #finish(current: Current): void {
    this.#current = undefined
    const isFree = current.reader.isReusable && current.isRequestComplete && !this.#socket.destroyed
    if (isFree) {
      this.#idleSinceMs = performance.now()
      this.#owner.onFree()
    } else if (current.isRequestComplete) this.#socket.destroy()
    // Only a reset tells workerd that the rest of a body is not coming.
    else this.#socket.resetAndDestroy()
    current.listener.onEnd()
  }

  #fail(reason: string): void {
    const current = this.#current
    this.#current = undefined
    this.#socket.destroy()
    current?.listener.onFailure(reason, this.#isConnected)
  }

  #handOver(current: Current, head: Buffer): void {
    this.#current = undefined
    const socket = this.#socket
    socket.off("data", this.#onData)
    socket.off("drain", this.#onDrain)
    socket.off("end", this.#onEnd)
    socket.off("error", this.#onError)
    socket.off("close", this.#onClose)
    this.#owner.onGone()
    current.listener.onSwitch(current.switchHeaders, socket, head)
  }
}

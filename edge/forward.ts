/**
 * Carries one exchange to the Worker and back: streams both bodies with back-pressure, ends one side when the other
 * breaks, and never lets a truncated answer look complete. What to answer when the Worker fails is the caller's.
 */
import {
  request as startRequest,
  type Agent,
  type ClientRequest,
  type IncomingMessage,
  type ServerResponse,
} from "node:http"
import type { Socket } from "node:net"
import { responseFields } from "./fields.ts"
import type { EdgeTimeouts, WorkerAddress } from "./options.ts"

/** One accepted request, and the way to the Worker. */
export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly hasBody: boolean
  /** True when the caller waits for a 100 before it sends the body. */
  readonly isContinueExpected: boolean
  readonly worker: WorkerAddress
  readonly agent: Agent
  /** For the Worker, names and values in turn. */
  readonly fields: readonly string[]
  readonly timeouts: EdgeTimeouts
  /** Asked when the response starts: whether the connection ends with it. */
  readonly isLast: () => boolean
  /** Called when the Worker switches protocols: from there on its socket is the caller's. Undefined where nobody asked for it. */
  readonly onSwitch: ((rawHeaders: readonly string[], worker: Socket, head: Buffer) => void) | undefined
  /** Called at most once, before anything was sent to the caller. `isSent` is false when the Worker cannot have seen the request. */
  readonly onFailure: (reason: string, isSent: boolean) => void
}

/**
 * How long the edge waits for a final answer before it asks for an announced body, in ms: a refusal takes the Worker a
 * few ms, and the caller is spared sending a body for it. @see RFC 9110 §10.1.1
 */
const CONTINUE_DELAY_MS = 250

/**
 * Starts the exchange. Returns at once; the response ends, or is destroyed, when it is over. The returned function
 * abandons it before the response has started: nothing more is written to the response from here.
 */
export function forward(exchange: Exchange): () => void {
  const { request, response, worker, agent, fields, timeouts } = exchange
  const outgoing = startRequest({
    hostname: worker.hostname,
    port: worker.port,
    agent,
    method: request.method ?? "GET",
    path: request.url ?? "/",
    headers: fields,
    setHost: false,
  })
  let isSettled = false
  const continuation = exchange.isContinueExpected
    ? setTimeout(() => response.writeContinue(), CONTINUE_DELAY_MS)
    : undefined
  const deadline = setTimeout(() => outgoing.destroy(new Error("no answer before the deadline")), timeouts.workerMs)
  const settle = (): boolean => {
    clearTimeout(deadline)
    clearTimeout(continuation)
    const isFirst = !isSettled
    isSettled = true
    return isFirst
  }
  outgoing.on("response", (incoming) => {
    if (settle()) answer(exchange, incoming, () => cutOff(outgoing))
  })
  const { onSwitch } = exchange
  if (onSwitch !== undefined) {
    outgoing.on("upgrade", (incoming, socket, head) => {
      if (settle() && !response.destroyed) onSwitch(incoming.rawHeaders, socket, head)
      else socket.destroy()
    })
  }
  const fail = (reason: string, isSent: boolean): void => {
    // After the response has started, its own events tell how it ended.
    if (settle() && !response.destroyed) exchange.onFailure(reason, isSent)
  }
  outgoing.on("error", (error: NodeJS.ErrnoException) => fail(error.code ?? error.message, error.syscall !== "connect"))
  // Node closes without an error when the Worker switches protocols, which nobody asked it to.
  outgoing.on("close", () => fail("closed without an answer", true))
  response.on("close", () => {
    settle()
    if (!response.writableFinished) cutOff(outgoing)
  })
  // An aborted body is followed by the close of the response.
  request.on("error", () => {})
  if (exchange.hasBody) {
    // The Worker may answer from the header alone, and Node would hold it back until the body starts.
    outgoing.flushHeaders()
    request.pipe(outgoing)
  } else outgoing.end()
  return () => {
    settle()
    cutOff(outgoing)
  }
}

/** Ends an exchange at once. workerd takes a half-closed connection for a patient caller; only a reset tells it to stop. */
function cutOff(outgoing: ClientRequest): void {
  outgoing.socket?.resetAndDestroy()
  outgoing.destroy()
}

function answer(exchange: Exchange, incoming: IncomingMessage, abandon: () => void): void {
  const { request, response, timeouts } = exchange
  // A connection whose request was not read to its end has no place where the next one starts.
  const isLast = exchange.isLast() || (exchange.hasBody && !request.complete)
  const fields = [...responseFields(incoming.rawHeaders), ...(isLast ? ["Connection", "close"] : [])]
  // Every way in which an answer can break off ends in its close.
  incoming.on("error", () => {})
  incoming.on("close", () => {
    if (!incoming.complete) response.destroy()
  })
  try {
    response.writeHead(incoming.statusCode ?? 502, incoming.statusMessage ?? "", fields)
  } catch {
    // The Worker sent what may not be sent on, a control character for instance.
    response.destroy()
    abandon()
    return
  }
  response.flushHeaders()
  incoming.on("end", () => {
    if (!incoming.complete) return
    request.unpipe()
    if (exchange.hasBody && !request.complete) abandon()
    endAfterBody(request, response, exchange.hasBody, timeouts.lingerMs)
  })
  incoming.pipe(response, { end: false })
}

/**
 * Ends a response once the request's body has arrived or `lingerMs` have passed. Closing earlier would reset the
 * connection under a sender that has not read the answer yet.
 *
 * @see RFC 9112 §9.6
 */
export function endAfterBody(
  request: IncomingMessage,
  response: ServerResponse,
  hasBody: boolean,
  lingerMs: number,
): void {
  if (!hasBody || request.complete) {
    response.end()
    return
  }
  const timer = setTimeout(() => response.end(), lingerMs)
  const end = (): void => {
    clearTimeout(timer)
    response.end()
  }
  request.once("end", end)
  request.once("close", end)
  request.resume()
}

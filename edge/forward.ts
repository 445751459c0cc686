/**
 * Carries one exchange to the Worker and back: streams both bodies with back-pressure, ends one side when the other
 * breaks, and never lets a truncated answer look complete. What to answer when the Worker fails is the caller's.
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { Socket } from "node:net"
import { responseFields } from "./fields.ts"
import type { EdgeTimeouts, WorkerAddress } from "./options.ts"
import type { Framing } from "./request-grammar.ts"
import type { ResponseHead } from "./response-reader.ts"
import type { WorkerPool } from "./worker-pool.ts"

/** One accepted request, and the way to the Worker. */
export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly framing: Framing
  /** True when the caller waits for a 100 before it sends the body. */
  readonly isContinueExpected: boolean
  readonly worker: WorkerAddress
  readonly pool: WorkerPool
  /** For the Worker, names and values in turn, framing and Connection among them. */
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
  const { fields, framing, onSwitch, pool, request, response, timeouts, worker } = exchange
  const hasBody = framing !== "none"
  let isSettled = false
  const settle = (): boolean => {
    clearTimeout(deadline)
    clearTimeout(continuation)
    const isFirst = !isSettled
    isSettled = true
    return isFirst
  }
  const fail = (reason: string, isSent: boolean): void => {
    stopBody()
    // After the response has started, that it breaks off is all that can be said.
    if (!settle()) response.destroy()
    else if (!response.destroyed) exchange.onFailure(reason, isSent)
  }
  const stopBody = (): void => {
    request.off("data", onBody)
    request.off("end", onBodyEnd)
  }
  const onBody = (part: Buffer): void => {
    if (!outgoing.write(part)) request.pause()
  }
  const onBodyEnd = (): void => outgoing.end()

  const outgoing = pool.send(
    worker,
    { method: request.method ?? "GET", target: request.url ?? "/", fields, body: framing },
    {
      onHead(head) {
        if (settle() && !startAnswer(exchange, head)) {
          // The Worker sent what may not be sent on, a control character for instance.
          response.destroy()
          outgoing.cutOff()
        }
      },
      // Node's flushHeaders() would write octets above ASCII as UTF-8, other than with a body behind them.
      onPause: () => void response.write("", "latin1"),
      onBody(part) {
        if (response.write(part)) return true
        response.once("drain", () => outgoing.resume())
        return false
      },
      onEnd() {
        stopBody()
        endAfterBody(request, response, hasBody, timeouts.lingerMs)
      },
      onSwitch(rawHeaders, socket, head) {
        if (onSwitch === undefined) {
          socket.on("error", () => {})
          socket.destroy()
          fail("switched protocols unasked", true)
        } else if (settle() && !response.destroyed) onSwitch(rawHeaders, socket, head)
        else socket.destroy()
      },
      onDrain: () => request.resume(),
      onFailure: fail,
    },
  )
  const deadline = setTimeout(() => {
    outgoing.cutOff()
    fail("no answer before the deadline", true)
  }, timeouts.workerMs)
  const continuation = exchange.isContinueExpected
    ? setTimeout(() => response.writeContinue(), CONTINUE_DELAY_MS)
    : undefined
  response.on("close", () => {
    settle()
    if (!response.writableFinished) outgoing.cutOff()
  })
  // An aborted body is followed by the close of the response.
  request.on("error", () => {})
  if (hasBody) {
    request.on("data", onBody)
    request.on("end", onBodyEnd)
  }
  return () => {
    settle()
    stopBody()
    outgoing.cutOff()
  }
}

/** Writes the head of the answer; false when it cannot be sent on. */
function startAnswer(exchange: Exchange, { rawHeaders, reason, status }: ResponseHead): boolean {
  const { framing, request, response } = exchange
  // A connection whose request was not read to its end has no place where the next one starts.
  const isLast = exchange.isLast() || (framing !== "none" && !request.complete)
  const fields = responseFields(rawHeaders)
  if (isLast) fields.push("Connection", "close")
  try {
    response.writeHead(status, reason, fields)
    return true
  } catch {
    return false
  }
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

/**
 * The place of a request among those in progress: it ends when the answer has reached the caller, and not before.
 */
import type { GatewayContext } from "../context.ts"

/**
 * Lets the request go on, and calls `release` exactly once: when its answer has been delivered or never will be, or when the
 * WebSocket that it became is closed.
 */
export async function holdPlace(c: GatewayContext, next: () => Promise<void>, release: () => void): Promise<void> {
  let isHeld = true
  const releaseOnce = (): void => {
    if (isHeld) release()
    isHeld = false
  }
  const caller = c.req.raw.signal
  caller.addEventListener(
    "abort",
    () => {
      // A socket may still be closing; it tells by itself when it has.
      if (c.get("exchange").socket === undefined) releaseOnce()
    },
    { once: true },
  )
  let isStreaming = false
  try {
    await next()
    const { socket } = c.get("exchange")
    if (socket !== undefined) {
      isStreaming = true
      c.executionCtx.waitUntil(socket.closed.then(releaseOnce))
      return
    }
    // What the gateway answers by itself is written at once. Of HEAD there is nothing to deliver.
    const { body, headers, status, statusText } = c.res
    if (c.get("exchange").outcome !== "forwarded" || body === null || c.req.raw.method === "HEAD") return
    const { readable, writable } = createPassage(headers)
    // The octets are the origin's own: what it encoded is not encoded again.
    const answer = new Response(readable, { headers, status, statusText, encodeBody: "manual" })
    // Hono merges a second answer into the first one; this one is the first with another body.
    c.res = undefined
    c.res = answer
    isStreaming = true
    const delivered = body.pipeTo(writable).then(releaseOnce, releaseOnce)
    // Without this the platform would drop the pipe with the caller, and nobody would be told.
    c.executionCtx.waitUntil(delivered)
  } finally {
    if (!isStreaming || (caller.aborted && c.get("exchange").socket === undefined)) releaseOnce()
  }
}

/** Returns a stream that hands octets on as they are. A length that the origin announced stays announced. */
function createPassage(headers: Headers): TransformStream<Uint8Array, Uint8Array> {
  const length = headers.get("content-length") ?? ""
  return /^[0-9]{1,15}$/.test(length) ? new FixedLengthStream(Number(length)) : new IdentityTransformStream()
}

/**
 * Counts a body while it streams, and breaks it off at the octet that is too many. What is counted is `core/message/body-limit.ts`.
 *
 * Only for bodies whose length nobody has announced: a counted body passes through JavaScript piece by piece. It holds at
 * most one piece, and asks for the next one when that one is taken.
 */
import { countBytes, NO_BYTES } from "../core/message/body-limit.ts"

/**
 * Returns the body with a limit: octets as they come, then an error in the place of what is too many, so that no reader takes
 * the part for the whole.
 *
 * An error alone does not keep a request from looking complete: of a stream made in JavaScript that fails, workerd sends what
 * there was and then the last chunk. So `onExceeded` has to end the call as well.
 *
 * @param onExceeded called once
 */
export function limitBody(
  body: ReadableStream<Uint8Array>,
  bytesMax: number,
  onExceeded: () => void,
): ReadableStream<Uint8Array> {
  const { readable, writable } = new IdentityTransformStream()
  // How it ends, the reader of the other end is told.
  pump(body, writable, bytesMax, onExceeded).catch(() => {})
  return readable
}

async function pump(
  body: ReadableStream<Uint8Array>,
  writable: WritableStream<Uint8Array>,
  bytesMax: number,
  onExceeded: () => void,
): Promise<void> {
  const reader = body.getReader()
  const writer = writable.getWriter()
  writer.closed.catch(() => {})
  let count = NO_BYTES
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      count = countBytes(count, next.value.byteLength, bytesMax)
      if (count.isOver) {
        const error = new Error("body_too_large")
        await writer.abort(error)
        onExceeded()
        throw error
      }
      await writer.write(next.value)
    }
    await writer.close()
  } catch (error) {
    await Promise.allSettled([writer.abort(error), reader.cancel(error)])
  }
}

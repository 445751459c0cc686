/**
 * Reads a request's body whole, up to a bound. Shared by the samples, which refuse what is longer.
 */
import type { IncomingMessage } from "node:http"

/** Returns the body, or undefined when it is longer than `bytesMax`; the connection then stays open for the refusal. */
export async function readBody(request: IncomingMessage, bytesMax: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > bytesMax) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

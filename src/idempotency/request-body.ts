/**
 * The body of a request with an idempotency key, held in memory: whether a repeat is the same request shows in its octets, and
 * that has to be known before the origin is asked. Bounded in octets and in time.
 */
import { decideLength } from "../core/message/body-limit.ts"
import { IDEMPOTENCY_REQUEST_TIMEOUT_MS } from "../core/bounds.ts"
import { LATE, withDeadline } from "../deadline.ts"
import { readOctets } from "./octets.ts"

/** The octets, undefined for a request without content, or why they are not there. */
export type BodyResult =
  | { readonly ok: true; readonly octets: Uint8Array<ArrayBuffer> | undefined }
  | { readonly ok: false; readonly reason: "content_length" | "chunked" | "late" | "broken_off" }

/** Returns the body of at most `bytesMax` octets. Never rejects. */
export async function readRequestBody({ body, headers }: Request, bytesMax: number): Promise<BodyResult> {
  if (body === null) return { ok: true, octets: undefined }
  if (decideLength(headers.get("content-length"), bytesMax) === "too-large")
    return { ok: false, reason: "content_length" }
  const reader = (body as ReadableStream<Uint8Array>).getReader()
  try {
    const read = await withDeadline(readOctets(reader, bytesMax), IDEMPOTENCY_REQUEST_TIMEOUT_MS)
    if (read !== LATE && read.isWhole) return { ok: true, octets: read.octets }
    void reader.cancel().catch(() => {})
    return { ok: false, reason: read === LATE ? "late" : "chunked" }
  } catch {
    // The caller has left in the middle: nobody reads the answer.
    return { ok: false, reason: "broken_off" }
  }
}

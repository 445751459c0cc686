/**
 * The answer of an origin on its way into the ledger and out of it again. What is kept of it is `core/idempotency/stored-answer.ts`.
 *
 * An answer is held until it is whole, so that a repeat gets every octet or none of them. One that is too long, or takes too
 * long, is handed on as it comes and is not kept.
 */
import type { MessageRules } from "../config/config.ts"
import { IDEMPOTENCY_ANSWER_BYTES_MAX, IDEMPOTENCY_ANSWER_TIMEOUT_MS } from "../core/bounds.ts"
import { addSecurityFields, applyFieldRules } from "../core/message/field-rules.ts"
import { keepHead, parseStoredHead } from "../core/idempotency/stored-answer.ts"
import { joinOctets } from "./octets.ts"

/** An answer that was looked into. `response` is what the caller gets, octet for octet what the origin sent. */
export type HeldAnswer =
  | { readonly kind: "whole"; readonly octets: Uint8Array; readonly response: Response }
  /** Not kept. `delivered` settles, and never rejects, when the body is out. */
  | { readonly kind: "streaming"; readonly response: Response; readonly delivered: Promise<void> }
  /** It broke off. Nothing of it has reached the caller. */
  | { readonly kind: "broken"; readonly reason: string }

/** Holds an answer until it is whole, or is found not to be kept. */
export async function holdAnswer(response: Response): Promise<HeldAnswer> {
  const { body, headers, status, statusText } = response
  const parts = { headers, status, statusText, encodeBody: "manual" } as const
  const kept = (octets: Uint8Array<ArrayBuffer>, content: Uint8Array<ArrayBuffer> | null): HeldAnswer => ({
    kind: "whole",
    octets: packAnswer(status, headers, octets),
    response: new Response(content, parts),
  })
  if (body === null) return kept(new Uint8Array(), null)
  if (Number(headers.get("content-length")) > IDEMPOTENCY_ANSWER_BYTES_MAX)
    return { kind: "streaming", response, delivered: Promise.resolve() }
  const reader = (body as ReadableStream<Uint8Array>).getReader()
  const pieces: Uint8Array[] = []
  let bytes = 0
  const { promise: late, resolve: end } = Promise.withResolvers<undefined>()
  const timer = setTimeout(end, IDEMPOTENCY_ANSWER_TIMEOUT_MS)
  try {
    for (;;) {
      const reading = reader.read()
      const next = await Promise.race([reading, late])
      if (next === undefined) return streamOn(parts, pieces, reading, reader)
      if (next.done) {
        const octets = joinOctets(pieces)
        return kept(octets, octets)
      }
      pieces.push(next.value)
      bytes += next.value.byteLength
      if (bytes > IDEMPOTENCY_ANSWER_BYTES_MAX) return streamOn(parts, pieces, reader.read(), reader)
    }
  } catch (error) {
    return { kind: "broken", reason: error instanceof Error ? error.message : "broken_off" }
  } finally {
    clearTimeout(timer)
  }
}

/** Hands on what was read, what is being read, and the rest. */
function streamOn(
  parts: ResponseInit & { readonly headers: Headers },
  pieces: readonly Uint8Array[],
  reading: Promise<ReadableStreamReadResult<Uint8Array>>,
  reader: ReadableStreamDefaultReader<Uint8Array>,
): HeldAnswer {
  // With its length where that was announced, so that a part of it looks like one.
  const length = /^[0-9]{1,15}$/.exec(parts.headers.get("content-length") ?? "")
  const { readable, writable } =
    length === null ? new IdentityTransformStream() : new FixedLengthStream(Number(length[0]))
  const writer = writable.getWriter()
  const pump = async (): Promise<void> => {
    try {
      for (const piece of pieces) await writer.write(piece)
      for (let next = await reading; !next.done; next = await reader.read()) await writer.write(next.value)
      await writer.close()
    } catch (error) {
      // An end in the middle must not look like an end: the reader of the other end is told.
      await Promise.allSettled([writer.abort(error), reader.cancel(error)])
    }
  }
  writer.closed.catch(() => {})
  return { kind: "streaming", response: new Response(readable, parts), delivered: pump() }
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const LINE_FEED = 10

/** The head as a line of JSON, then the octets of the body. */
function packAnswer(status: number, headers: Headers, octets: Uint8Array): Uint8Array {
  return joinOctets([encoder.encode(`${JSON.stringify(keepHead(status, headers))}\n`), octets])
}

/**
 * Returns the answer for a repeat, with what the route says about fields; undefined when the octets hold none.
 */
export function unpackAnswer(packed: Uint8Array, rules: MessageRules): Response | undefined {
  const end = packed.indexOf(LINE_FEED)
  const head = end === -1 ? undefined : parseStoredHead(decoder.decode(packed.subarray(0, end)))
  if (head === undefined) return undefined
  const { fields, status } = head
  const isBodiless = status === 204 || status === 205 || status === 304
  const response = new Response(isBodiless ? null : packed.slice(end + 1), { status, encodeBody: "manual" })
  for (const [name, value] of fields) response.headers.append(name, value)
  applyFieldRules(response.headers, rules.responseFields)
  if (rules.hasSecurityFields) addSecurityFields(response.headers)
  response.headers.set("Idempotency-Replayed", "true")
  return response
}

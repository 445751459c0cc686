/**
 * One request to a sink, bounded in time and in what is read of its answer.
 *
 * Of the answer nothing but its status, Retry-After and, of an OTLP receiver, the count of what it has not taken is used, and no more
 * than 64 KB of it is read, decompressed.
 */
import { SINK_GZIP_BYTES_MIN, SINK_RESPONSE_BYTES_MAX, SINK_TIMEOUT_MS } from "../core/bounds.ts"
import { countNotTaken, decideDelivery, type Delivery } from "../core/record/delivery.ts"

/** Where to post. */
export interface SinkEndpoint {
  readonly url: string
  /** Name of the Worker secret that holds the Authorization value; undefined for none. */
  readonly authorizationSecret: string | undefined
  /** Further fields, each with the name of the Worker secret that holds its value. */
  readonly headerSecrets: readonly (readonly [field: string, secret: string])[]
  readonly isCompressed: boolean
}

/** What to post. */
export interface SinkContent {
  readonly mediaType: string
  readonly text: string
  readonly records: number
}

/** Returns what came of it. Never rejects. */
export async function postToSink(
  sink: SinkEndpoint,
  { mediaType, records, text }: SinkContent,
  secrets: Readonly<Record<string, unknown>>,
): Promise<Delivery> {
  const headers = new Headers({ "Content-Type": mediaType })
  const { authorizationSecret, headerSecrets } = sink
  const fields =
    authorizationSecret === undefined
      ? headerSecrets
      : [["authorization", authorizationSecret] as const, ...headerSecrets]
  try {
    for (const [field, name] of fields) {
      const secret = secrets[name]
      // Without the secret the sink would refuse, or worse, accept from anybody: keep the records until it is there.
      if (typeof secret !== "string") return { kind: "retry", reason: `secret_missing ${name}`, delaySeconds: 60 }
      headers.set(field, secret)
    }
    const isCompressed = sink.isCompressed && text.length >= SINK_GZIP_BYTES_MIN
    if (isCompressed) headers.set("Content-Encoding", "gzip")
    const response = await fetch(sink.url, {
      method: "POST",
      headers,
      body: isCompressed ? await compress(text) : text,
      redirect: "manual",
      signal: AbortSignal.timeout(SINK_TIMEOUT_MS),
    })
    // The status has decided: records whose acceptance breaks off in mid-answer would be sent twice.
    const answer = await readBounded(response).catch(() => "")
    const delivery = decideDelivery(response.status, response.headers.get("retry-after"), Date.now())
    return delivery.kind === "delivered" ? { ...delivery, dropped: countNotTaken(answer, records) } : delivery
  } catch {
    return decideDelivery(undefined, null, Date.now())
  }
}

async function compress(text: string): Promise<ArrayBuffer> {
  return new Response(new Response(text).body?.pipeThrough(new CompressionStream("gzip"))).arrayBuffer()
}

/** Reads an answer to its end, so that the connection can be used again, or gives up on it at the bound and returns "". */
async function readBounded(response: Response): Promise<string> {
  if (response.body === null) return ""
  const reader = response.body.getReader()
  const decoder = new TextDecoder()
  let text = ""
  for (let bytes = 0; bytes <= SINK_RESPONSE_BYTES_MAX;) {
    const { done, value } = await reader.read()
    if (done) return text + decoder.decode()
    bytes += (value as Uint8Array).length
    text += decoder.decode(value as Uint8Array, { stream: true })
  }
  await reader.cancel()
  return ""
}

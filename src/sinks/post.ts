/**
 * One request to a sink, bounded in time and in what is read of its answer.
 *
 * Nothing of the answer but its status and Retry-After is used, and no more than 64 KB of it is read.
 */
import { SINK_RESPONSE_BYTES_MAX, SINK_TIMEOUT_MS } from "../core/bounds.ts"
import { decideDelivery, type Delivery } from "../core/delivery.ts"

/** Where to post. */
export interface SinkEndpoint {
  readonly url: string
  /** Name of the Worker secret that holds the Authorization value; undefined for none. */
  readonly authorizationSecret: string | undefined
}

/** What to post. */
export interface SinkContent {
  readonly mediaType: string
  readonly text: string
}

/** Returns what came of it. Never rejects. */
export async function postToSink(
  sink: SinkEndpoint,
  { mediaType, text }: SinkContent,
  secrets: Readonly<Record<string, unknown>>,
): Promise<Delivery> {
  const headers = new Headers({ "Content-Type": mediaType })
  if (sink.authorizationSecret !== undefined) {
    const secret = secrets[sink.authorizationSecret]
    // Without the secret the sink would refuse, or worse, accept from anybody: keep the records until it is there.
    if (typeof secret !== "string") return { kind: "retry", reason: "authorization_secret_missing", delaySeconds: 60 }
    headers.set("Authorization", secret)
  }
  try {
    const response = await fetch(sink.url, {
      method: "POST",
      headers,
      body: text,
      redirect: "manual",
      signal: AbortSignal.timeout(SINK_TIMEOUT_MS),
    })
    // The status has decided: records whose acceptance breaks off in mid-answer would be sent twice.
    await drain(response).catch(() => undefined)
    return decideDelivery(response.status, response.headers.get("retry-after"), Date.now())
  } catch {
    return decideDelivery(undefined, null, Date.now())
  }
}

/** Reads an answer to its end so that the connection can be used again, or gives up on it at the bound. */
async function drain(response: Response): Promise<void> {
  if (response.body === null) return
  const reader = response.body.getReader()
  for (let bytes = 0; bytes <= SINK_RESPONSE_BYTES_MAX;) {
    const { done, value } = await reader.read()
    if (done) return
    bytes += (value as Uint8Array).length
  }
  await reader.cancel()
}

/**
 * Ends an answer whose body takes too long: by breaking off, so that no reader takes the part for the whole.
 *
 * Only for origins with a `total_timeout`: the body passes through a pipe of the platform, octet for octet.
 */

/** An answer with a deadline, and what has to be kept alive until it is delivered. */
export interface BoundedAnswer {
  readonly response: Response
  /** Settles, and never rejects, when the body is delivered, broken off or given up. */
  readonly delivered: Promise<void>
}

/**
 * Returns the answer with a body that breaks off after `restMs`, which may have passed already. The call of the origin ends with
 * the pipe.
 */
export function limitBodyTime(response: Response, restMs: number): BoundedAnswer {
  const { body, headers, status, statusText } = response
  if (body === null) return { response, delivered: Promise.resolve() }
  const late = new AbortController()
  const length = /^[0-9]{1,15}$/.exec(headers.get("content-length") ?? "")
  const { readable, writable } =
    length === null ? new IdentityTransformStream() : new FixedLengthStream(Number(length[0]))
  const timer = setTimeout(
    () => {
      late.abort(new Error("total_timeout"))
    },
    Math.max(0, restMs),
  )
  const stop = (): void => clearTimeout(timer)
  return {
    response: new Response(readable, { headers, status, statusText, encodeBody: "manual" }),
    delivered: body.pipeTo(writable, { signal: late.signal }).then(stop, stop),
  }
}

/**
 * What a failed call of a Durable Object means for the request that made it: once more on a fresh stub, or refuse.
 *
 * Called by every stage that asks an object. Pure and total for any thrown value. Unknown means refuse: whatever the
 * object may have done, the request is not admitted.
 *
 * @see https://developers.cloudflare.com/durable-objects/best-practices/error-handling/
 */

/** What to do about a failed call. `reason` is for the log only; nothing of the error's text decides or is repeated. */
export interface ObjectErrorDecision {
  /** Call once more, on a new stub: the old one keeps failing after a disconnect. */
  readonly retry: boolean
  /** The object has more calls than it can take; the refusal says so to the client. */
  readonly overloaded: boolean
  readonly reason: "object_overloaded" | "object_reset" | "object_unreachable" | "object_failed"
}

/**
 * Decides on a failed call.
 *
 * An overloaded object is never called again, whatever else the error says: retries are what keeps it overloaded. An
 * object that was reset, or an error that the platform marks as retryable, earns one fresh stub. The first call may have
 * been carried out before it failed, so the repeat may take a second token: that errs against the client, never for it.
 *
 * @param error whatever was thrown
 * @param attempt number of the call that failed, 1 for the first; only the first is ever repeated
 */
export function decideObjectError(error: unknown, attempt: number): ObjectErrorDecision {
  const { overloaded, durableObjectReset, retryable } = flagsOf(error)
  if (overloaded === true) return { retry: false, overloaded: true, reason: "object_overloaded" }
  const retry = attempt === 1
  if (durableObjectReset === true) return { retry, overloaded: false, reason: "object_reset" }
  if (retryable === true) return { retry, overloaded: false, reason: "object_unreachable" }
  return { retry: false, overloaded: false, reason: "object_failed" }
}

interface Flags {
  readonly overloaded?: unknown
  readonly durableObjectReset?: unknown
  readonly retryable?: unknown
}

/** Reads all flags or none: a thrown value whose members throw in turn is one that nothing is known about. */
function flagsOf(error: unknown): Flags {
  if (typeof error !== "object" || error === null) return {}
  try {
    const { overloaded, durableObjectReset, retryable }: Flags = error
    return { overloaded, durableObjectReset, retryable }
  } catch {
    return {}
  }
}

/**
 * Calls objects, and knows what such a call can do wrong: it waits a bounded time, repeats once on a fresh stub where
 * `core/gate/object-error.ts` allows it, leaves an overloaded object alone for a while, and otherwise says that the answer is not
 * known. Never throws. One for each class of objects and isolate.
 */
import type { Gateway, GatewayContext } from "../context.ts"
import { LEASE_HOLDERS_PER_ISOLATE_MAX, OVERLOAD_DENY_MS } from "../core/bounds.ts"
import { decideObjectError } from "../core/gate/object-error.ts"
import { LATE, withDeadline } from "../deadline.ts"
import { remember } from "../memory.ts"

/** Why it is not known what an object said. */
export interface ObjectFailure {
  readonly reason: string
  readonly isOverloaded: boolean
  /** Another call, on a fresh stub, may succeed. */
  readonly mayRepeat: boolean
}

/** What the object answered, or why that is not known. */
export type Asked<T> = { readonly answer: T } | { readonly failure: ObjectFailure }

/** How one isolate reaches the objects of a class. */
export interface ObjectCalls<Stub> {
  /**
   * Returns what `call` got from the object of this name, calling twice at most. A call that was repeated or came late may
   * have been carried out all the same: the caller of this function must not be harmed by that.
   */
  call<T>(c: Pick<GatewayContext, "env">, name: string, call: (object: Stub) => Promise<T>): Promise<Asked<T>>
  /** As `call`, once and for `timeoutMs` at most: for callers that repeat by themselves. */
  callOnce<T>(
    c: Pick<GatewayContext, "env">,
    name: string,
    call: (object: Stub) => Promise<T>,
    timeoutMs: number,
  ): Promise<Asked<T>>
  /** Whether the object was overloaded a moment ago: it is not called then. */
  isOverloaded(name: string): boolean
}

const OVERLOADED: ObjectFailure = { reason: "object_overloaded", isOverloaded: true, mayRepeat: false }

/**
 * Returns the calls of one isolate.
 *
 * @param stubOf a fresh stub of the object of this name; may throw where the binding is missing
 * @param timeoutMs longest wait for each of the two calls of `call`
 */
export function createObjectCalls<Stub>(
  { nowMs }: Pick<Gateway, "nowMs">,
  stubOf: (env: Env, name: string) => Stub,
  timeoutMs: number,
): ObjectCalls<Stub> {
  const overloadedUntilMs = new Map<string, number>()

  function isOverloaded(name: string): boolean {
    if (overloadedUntilMs.size === 0) return false
    const untilMs = overloadedUntilMs.get(name)
    if (untilMs === undefined) return false
    if (nowMs() < untilMs) return true
    overloadedUntilMs.delete(name)
    return false
  }

  async function callOnce<T>(
    c: Pick<GatewayContext, "env">,
    name: string,
    call: (object: Stub) => Promise<T>,
    timeoutMs: number,
    attempt = 1,
  ): Promise<Asked<T>> {
    // Calls are what keeps it overloaded.
    if (isOverloaded(name)) return { failure: OVERLOADED }
    try {
      // A fresh stub each time: after a reset the old one keeps failing.
      const answer = await withDeadline(call(stubOf(c.env, name)), timeoutMs)
      if (answer !== LATE) return { answer }
      return { failure: { reason: "object_timeout", isOverloaded: false, mayRepeat: false } }
    } catch (error) {
      const { retry, overloaded, reason } = decideObjectError(error, attempt)
      if (overloaded) remember(overloadedUntilMs, name, nowMs() + OVERLOAD_DENY_MS, LEASE_HOLDERS_PER_ISOLATE_MAX)
      return { failure: { reason, isOverloaded: overloaded, mayRepeat: retry } }
    }
  }

  return {
    isOverloaded,
    callOnce: (c, name, call, timeoutMs) => callOnce(c, name, call, timeoutMs),
    async call(c, name, call) {
      const asked = await callOnce(c, name, call, timeoutMs)
      if (!("failure" in asked) || !asked.failure.mayRepeat) return asked
      return callOnce(c, name, call, timeoutMs, 2)
    },
  }
}

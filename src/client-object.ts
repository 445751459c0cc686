/**
 * Calls a client's object, and knows what such a call can do wrong: it waits a bounded time, repeats once on a fresh stub
 * where `core/object-error.ts` allows it, and otherwise says that the answer is not known. Never throws.
 */
import type { GatewayContext } from "./context.ts"
import { CLIENT_GATE_TIMEOUT_MS } from "./core/bounds.ts"
import { decideObjectError } from "./core/object-error.ts"
import { LATE, withDeadline } from "./deadline.ts"

/** A stub of a client's object. */
type ClientObject = ReturnType<Env["CLIENT_GATE"]["getByName"]>

/** What the object answered, or why that is not known. */
export type Asked<T> = { readonly answer: T } | { readonly failure: string; readonly overloaded: boolean }

/**
 * Returns what `call` got from the object of a client. A call that was repeated or came late may have been carried out all
 * the same: the caller of this function must not be harmed by that.
 */
export async function callClientObject<T>(
  c: GatewayContext,
  clientId: string,
  call: (object: ClientObject) => Promise<T>,
): Promise<Asked<T>> {
  for (let attempt = 1; ; attempt++) {
    try {
      // A fresh stub each time: after a reset the old one keeps failing.
      const answer = await withDeadline(call(c.env.CLIENT_GATE.getByName(clientId)), CLIENT_GATE_TIMEOUT_MS)
      return answer === LATE ? { failure: "object_timeout", overloaded: false } : { answer }
    } catch (error) {
      const { retry, overloaded, reason } = decideObjectError(error, attempt)
      if (!retry) return { failure: reason, overloaded }
    }
  }
}

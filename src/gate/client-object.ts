/**
 * How stages reach the objects of clients. One per isolate: an object that one stage finds overloaded is left alone by all.
 */
import type { Gateway } from "../context.ts"
import { CLIENT_GATE_TIMEOUT_MS } from "../core/bounds.ts"
import { createObjectCalls, type ObjectCalls } from "./object-calls.ts"

/** A stub of a client's object. */
export type ClientObject = ReturnType<Env["CLIENT_GATE"]["getByName"]>

/** How one isolate reaches objects. */
export type ClientObjects = ObjectCalls<ClientObject>

/** Returns the calls of one isolate. */
export function createClientObjects(gateway: Pick<Gateway, "nowMs">): ClientObjects {
  return createObjectCalls(gateway, (env, name) => env.CLIENT_GATE.getByName(name), CLIENT_GATE_TIMEOUT_MS)
}

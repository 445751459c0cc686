/**
 * The client directory that is compiled into the gateway: the clients of the `CLIENTS` variables.
 *
 * The default behind `ClientDirectory` of `context.ts`. It answers at once and from memory, so it can neither be slow nor be
 * down. One per isolate.
 */
import type { Config } from "./config/config.ts"
import type { ClientDirectory } from "./context.ts"
import { reviewSlotOf } from "./core/certificate/certificate-watch.ts"
import { decideIdentity } from "./core/certificate/identity.ts"

/** Returns the directory of a configuration. */
export function createEmbeddedDirectory({ clients, clientIndex }: Config): ClientDirectory {
  return {
    find: (certificate, nowMs) => decideIdentity(clientIndex, certificate, nowMs),
    clientsOf: (slot, slots) => clients.filter(({ id }) => reviewSlotOf(id, slots) === slot),
  }
}

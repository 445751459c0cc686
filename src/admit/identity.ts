/**
 * Stage `identity`: which client a verified certificate belongs to.
 *
 * Asks the client directory, whatever stands behind it. One that fails, is late or answers nonsense admits nobody: a client
 * that is not known is not a client with fewer rights. Behind the answer the client's object learns which certificate was used.
 */
import type { ConfiguredClient } from "../config/config.ts"
import { required, type Gateway, type GatewayContext, type StageHandler } from "../context.ts"
import { CLIENT_DIRECTORY_TIMEOUT_MS } from "../core/bounds.ts"
import type { ClientCertificate } from "../core/certificate/certificate.ts"
import { formatExpires } from "../core/certificate/expiry-field.ts"
import { isIdentityDecision, type IdentityDecision } from "../core/certificate/identity.ts"
import { HOLDS, type Standing } from "../core/message/websocket.ts"
import { LATE, withDeadline } from "../deadline.ts"
import { createCertificateNotes } from "../gate/certificate-notes.ts"
import type { ClientObjects } from "../gate/client-object.ts"
import { refuse, refuseUnavailable } from "../reply.ts"

/** Returns the stage. */
export function createIdentityStage(gateway: Gateway, objects: ClientObjects): StageHandler {
  const { nowMs } = gateway
  const notes = createCertificateNotes(gateway, objects)
  return function identity(c, next) {
    const { certificate } = c.get("exchange")
    if (certificate === undefined) return next()
    const decision = ask(gateway, certificate, nowMs())
    // A directory in memory costs no wait.
    return "then" in decision
      ? decision.then<Response | void>((decided) => act(c, next, certificate, decided))
      : act(c, next, certificate, decision)
  }

  /** Does what is decided. */
  function act(
    c: GatewayContext,
    next: () => Promise<void>,
    certificate: ClientCertificate,
    decision: Decision,
  ): Response | Promise<void> {
    const exchange = c.get("exchange")
    if ("failure" in decision) return refuseUnavailable(c, decision.failure)
    // Somebody who is known and may not pass is on the record by name.
    if ("client" in decision) exchange.client = decision.client
    if ("retiresAtMs" in decision && decision.retiresAtMs !== undefined)
      exchange.certificateRetiresAtMs = decision.retiresAtMs
    if (!decision.ok) {
      const candidates = decision.code === "client-ambiguous" ? decision.candidates : []
      return refuse(c, decision.code, { reason: [decision.reason, ...candidates].join(" ") })
    }
    notes.add(c, decision.client, certificate, decision.retiresAtMs)
    exchange.rechecks?.push({ ask: () => recheck(gateway, certificate, decision.client.id) })
    if (!required(exchange.route, "route").tellsExpiry) return next()
    return next().then(() =>
      c.res.headers.set("X-Client-Certificate-Expires", formatExpires(certificate.notAfterMs, decision.retiresAtMs)),
    )
  }
}

/** Whether the certificate of an open socket still belongs to the same client, which may still pass. */
async function recheck(gateway: Gateway, certificate: ClientCertificate, clientId: string): Promise<Standing> {
  const decision = await ask(gateway, certificate, gateway.nowMs())
  if ("failure" in decision) return { kind: "unknown", reason: decision.failure }
  if (!decision.ok) return { kind: "ended", reason: decision.reason }
  return decision.client.id === clientId ? HOLDS : { kind: "ended", reason: "certificate_of_another_client" }
}

/** What the directory says, or why it says nothing. */
type Decision = IdentityDecision<ConfiguredClient> | { readonly failure: string }

const FAILED = { failure: "directory_failed" } as const

/** Asks the directory for a bounded time. Neither throws nor rejects. */
function ask({ directory }: Gateway, certificate: ClientCertificate, nowMs: number): Decision | Promise<Decision> {
  try {
    const found = directory.find(certificate, nowMs)
    return "then" in found ? withDeadline(found, CLIENT_DIRECTORY_TIMEOUT_MS).then(read, () => FAILED) : read(found)
  } catch {
    return FAILED
  }
}

function read(answer: IdentityDecision<ConfiguredClient> | typeof LATE): Decision {
  if (answer === LATE) return { failure: "directory_timeout" }
  return isIdentityDecision(answer) ? answer : { failure: "directory_invalid" }
}

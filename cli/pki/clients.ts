/**
 * Which certificates the development PKI issues for the clients of a configuration, so that each of them is recognised.
 */
import { normalizeKeyId } from "../../src/core/certificate/certificate.ts"
import type { WranglerEnvironment } from "../wrangler-file.ts"
import type { PkiClientOptions } from "./plan.ts"

/** Shape of a client in the variables; only read after the configuration was accepted. */
interface ClientVariable {
  readonly id: string
  readonly certificates: readonly RuleVariable[]
}

interface RuleVariable {
  readonly issuer?: string
  readonly spki?: string
  readonly san_uri?: string
  readonly spiffe_id?: string
  readonly subject?: string
}

/**
 * Returns a certificate plan for every client that the development CA can serve: those recognised by a URI, a SPIFFE id or a
 * subject, and those recognised by the key of a certificate that it has issued. What the configuration does not fix gets a
 * plain default.
 *
 * @param developmentSki key identifier of the development CA, lower-case hex
 */
export function planClients({ vars }: WranglerEnvironment, developmentSki: string): readonly PkiClientOptions[] {
  const issuers = (vars["ISSUERS"] ?? {}) as Readonly<Record<string, { readonly ski: string }>>
  const clients = Object.keys(vars)
    .filter((name) => name.startsWith("CLIENTS"))
    .toSorted()
    .flatMap((name) => vars[name] as readonly ClientVariable[])
  return clients.flatMap(({ id, certificates }) => {
    const own = certificates.filter(
      ({ issuer }) => issuer !== undefined && normalizeKeyId(issuers[issuer]?.ski ?? "") === developmentSki,
    )
    const named = own.find((rule) => (rule.san_uri ?? rule.spiffe_id ?? rule.subject) !== undefined)
    if (named === undefined && !own.some(({ spki }) => spki !== undefined)) return []
    return [
      {
        id,
        sanUri: named?.san_uri ?? named?.spiffe_id ?? `spiffe://partners.example/${id}`,
        subject: named?.subject ?? `CN=${id},OU=API,O=${id},C=JP`,
        ...(named === undefined ? { isPinned: true } : {}),
      },
    ]
  })
}

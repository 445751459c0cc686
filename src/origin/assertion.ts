/**
 * The proof that a request came through the gateway, for an origin that asks for it. What it says is `core/assertion/gateway-assertion.ts`.
 */
import type { Origin } from "../config/config.ts"
import { required, type AssertionKeys, type Exchange, type KeyResult } from "../context.ts"
import { assertionClaims, signedQuery } from "../core/assertion/gateway-assertion.ts"

/** Returns the signed assertion about this request, why there is none, or undefined when the origin asks for none. */
export async function signAssertion(
  exchange: Exchange,
  { assertion }: Origin,
  method: string,
  keys: AssertionKeys | undefined,
  configVersion: string,
  nowMs: () => number,
): Promise<KeyResult | undefined> {
  if (assertion === undefined) return undefined
  const query = signedQuery(exchange.query ?? "")
  const queryDigest = query === undefined ? undefined : await crypto.subtle.digest("SHA-256", encoder.encode(query))
  const claims = assertionClaims(
    {
      ...assertion,
      clientId: required(exchange.client, "client").id,
      scopes: exchange.token && [...exchange.token.scopes],
      certificateFingerprint: required(exchange.certificate, "certificate").fingerprint,
      requestId: exchange.requestId,
      method,
      host: required(exchange.host, "host"),
      path: required(exchange.path, "path"),
      queryDigest: queryDigest && new Uint8Array(queryDigest),
      configVersion,
    },
    nowMs(),
  )
  return required(keys, "assertionKeys").sign(claims)
}
const encoder = new TextEncoder()

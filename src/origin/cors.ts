/**
 * What web origins are told of a route, on every answer of the `origin` stage. The rule is `core/message/cors.ts`.
 */
import { decideCors, varyOnOrigin, type CorsDecision, type CorsPolicy } from "../core/message/cors.ts"

/** Returns what a request is to the policy of its route. */
export function decideRequestCors(policy: CorsPolicy, { headers, method }: Request): CorsDecision {
  return decideCors(policy, {
    method,
    origin: headers.get("origin"),
    requestMethod: headers.get("access-control-request-method"),
  })
}

/** Puts the word of the gateway about web origins on an answer, in the place of whatever the origin has said about them. */
export function setCorsFields(headers: Headers, decision: CorsDecision): void {
  const said = [...headers.keys()].filter((name) => name.startsWith("access-control-"))
  for (const name of said) headers.delete(name)
  headers.set("Vary", varyOnOrigin(headers.get("vary")))
  if ("fields" in decision) for (const [name, value] of decision.fields) headers.set(name, value)
}

/**
 * The answer that a caller gets from an origin: its status and content as they came, its fields without those that end at the
 * gateway. Which those are is `core/forwarding.ts`.
 */
import { isResponseFieldForwarded, parseConnection, variesOnCertificate } from "../core/forwarding.ts"

/** Returns the origin's answer with fields that may be changed, without those that end at the gateway. */
export function createCallerResponse(answer: Response): Response {
  const { headers, status, statusText } = answer
  const response = new Response(answer.body, { headers, status, statusText, encodeBody: "manual" })
  const nominated = parseConnection(answer.headers.get("connection"))
  for (const name of answer.headers.keys()) {
    if (!isResponseFieldForwarded(name, nominated)) response.headers.delete(name)
  }
  if (variesOnCertificate(answer.headers.get("vary"))) response.headers.set("Vary", "*")
  return response
}

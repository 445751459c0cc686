/**
 * Whether a request came through the local edge, and with what the edge vouches for. The rules are `core/assertion/edge-assertion.ts`.
 *
 * Asked by the `certificate` stage and by the admin room. Each remembers the ids that it has accepted by itself: an assertion is bound
 * to its host, and no host is both a client's and an administrator's.
 */
import type { GatewayContext } from "./context.ts"
import {
  decideAssertion,
  parseAssertion,
  signedText,
  type AssertionDecision,
  type SeenAssertions,
} from "./core/assertion/edge-assertion.ts"
import { parseHex } from "./core/hex.ts"

/** Returns whether to believe what `request.cf` of this request says; each assertion once. */
export type AssertionCheck = (
  c: GatewayContext,
  cf: Readonly<Record<string, unknown>> | undefined,
) => Promise<AssertionDecision>

/** Returns the check of edge assertions: imports the key once, remembers accepted ids for as long as they are valid. */
export function createAssertionCheck(key: Uint8Array<ArrayBuffer>, nowMs: () => number): AssertionCheck {
  let imported: Promise<CryptoKey> | undefined
  let seen: SeenAssertions = new Map()
  return async (c, cf) => {
    const { edgeAssertion, ...facts } = cf ?? {}
    const assertion = parseAssertion(edgeAssertion)
    const mac = parseHex(assertion?.mac ?? "")
    let isMacValid = false
    if (assertion !== undefined && mac !== undefined) {
      const { headers, method, url } = c.req.raw
      const host = headers.get("host") ?? ""
      const target = url.slice(url.indexOf("/", url.indexOf("://") + 3))
      const text = signedText(
        assertion,
        { method, host, target, clientAddress: headers.get("cf-connecting-ip") ?? "" },
        JSON.stringify(facts),
      )
      imported ??= crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["verify"])
      isMacValid = await crypto.subtle.verify("HMAC", await imported, mac, new TextEncoder().encode(text))
    }
    const outcome = decideAssertion(seen, edgeAssertion, isMacValid, nowMs())
    seen = outcome.seen
    return outcome.decision
  }
}

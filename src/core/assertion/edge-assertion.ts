/**
 * What the local TLS edge vouches for, and whether the Worker believes it.
 *
 * On Cloudflare the platform fills `request.cf`. Locally anything that reaches the Worker's port can write it, so a
 * Worker that stands behind the edge accepts connection details only with an assertion: a MAC over the details and the
 * request they belong to, valid once and for at most 30 s. The edge builds it with {@link signedText}; the `certificate`
 * stage checks the MAC and asks {@link decideAssertion}. Pure: keys, MAC and clock stay in the shells.
 */
import { EDGE_ASSERTION_AGE_MS_MAX, EDGE_ASSERTION_SEEN_MAX } from "../bounds.ts"
import { isUuid } from "../message/request-id.ts"

/** The member `edgeAssertion` of the `cf` object that the edge sends. */
export interface EdgeAssertion {
  /** Request id minted by the edge (UUIDv7); also the nonce against replay. */
  readonly rid: string
  /** Instant after which the assertion is worthless, epoch ms. */
  readonly exp: number
  /** HMAC-SHA-256 over {@link signedText}, 64 lower-case hex digits. */
  readonly mac: string
}

/** The request an assertion is bound to, as both sides see it on the wire between them. */
export interface AssertedRequest {
  readonly method: string
  /** The Host field, byte for byte. */
  readonly host: string
  /** Path and query, byte for byte. */
  readonly target: string
  /** The value of CF-Connecting-IP that the edge set. */
  readonly clientAddress: string
}

/** The assertion ids an isolate has accepted and that have not expired yet: id to expiry, in order of acceptance. */
export type SeenAssertions = ReadonlyMap<string, number>

/** Whether to believe an assertion. `reason` is for the log only. */
export type AssertionDecision =
  | { readonly accepted: true; readonly requestId: string }
  | {
      readonly accepted: false
      readonly reason:
        | "edge_assertion_missing"
        | "edge_assertion_malformed"
        | "edge_assertion_expired"
        | "edge_assertion_forged"
        | "edge_assertion_replayed"
        | "edge_assertion_overflow"
    }

const MAC = /^[0-9a-f]{64}$/

/**
 * Returns the text that the MAC covers. `cfJson` is `JSON.stringify` of the `cf` object without its `edgeAssertion`
 * member. One field a line and no field may hold a line feed, so no two requests share a text.
 */
export function signedText(
  assertion: Pick<EdgeAssertion, "rid" | "exp">,
  request: AssertedRequest,
  cfJson: string,
): string {
  return [
    "sekisho-edge-assertion/1",
    assertion.rid,
    String(assertion.exp),
    request.method,
    request.host,
    request.target,
    request.clientAddress,
    cfJson,
  ].join("\n")
}

/** Returns the assertion in an untrusted value, or undefined when a member is missing or malformed. Other members are ignored. */
export function parseAssertion(value: unknown): EdgeAssertion | undefined {
  if (typeof value !== "object" || value === null) return undefined
  const { rid, exp, mac } = value as Partial<Record<keyof EdgeAssertion, unknown>>
  if (typeof rid !== "string" || !isUuid(rid)) return undefined
  if (typeof exp !== "number" || !Number.isSafeInteger(exp)) return undefined
  if (typeof mac !== "string" || !MAC.test(mac)) return undefined
  return { rid, exp, mac }
}

/**
 * Decides on an assertion and returns the ids to remember from now on.
 *
 * @param seen ids accepted before; the returned map replaces it and no longer holds expired ones
 * @param value the untrusted `edgeAssertion` member
 * @param isMacValid whether the MAC over {@link signedText} matched, compared in constant time by the caller
 */
export function decideAssertion(
  seen: SeenAssertions,
  value: unknown,
  isMacValid: boolean,
  nowMs: number,
): { readonly seen: SeenAssertions; readonly decision: AssertionDecision } {
  const refuse = (reason: Extract<AssertionDecision, { accepted: false }>["reason"]) => ({
    seen,
    decision: { accepted: false, reason } as const,
  })
  if (value === undefined) return refuse("edge_assertion_missing")
  const assertion = parseAssertion(value)
  if (assertion === undefined) return refuse("edge_assertion_malformed")
  if (!isMacValid) return refuse("edge_assertion_forged")
  if (nowMs >= assertion.exp || assertion.exp - nowMs > EDGE_ASSERTION_AGE_MS_MAX)
    return refuse("edge_assertion_expired")
  if (seen.has(assertion.rid)) return refuse("edge_assertion_replayed")
  const kept = forgetExpired(seen, nowMs)
  // Forgetting a live id would let it be replayed, so a full memory refuses.
  if (kept.size >= EDGE_ASSERTION_SEEN_MAX) return refuse("edge_assertion_overflow")
  kept.set(assertion.rid, assertion.exp)
  return { seen: kept, decision: { accepted: true, requestId: assertion.rid } }
}

/**
 * Returns the map without the expired ids at its front. Ids arrive in about the order in which they expire, so the
 * front holds what can go; the map is changed in place because the caller gives it up (a copy would cost O(n) a request).
 */
function forgetExpired(seen: SeenAssertions, nowMs: number): Map<string, number> {
  const map = seen as Map<string, number>
  for (const [rid, exp] of map) {
    if (exp > nowMs) break
    map.delete(rid)
  }
  return map
}

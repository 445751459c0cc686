/**
 * Cross-origin requests of browsers: which web origins may read the answers of a route, and what a preflight is told.
 *
 * The list is exact and nothing of a request is reflected but an origin that stands on it. A request with another origin is
 * refused, not only made unreadable: a browser sends simple requests without asking. Pure and total; called by the `origin`
 * stage, behind everything that admits, so that a preflight skips no check.
 *
 * @see Fetch Standard, "CORS protocol"
 */

/** What a route says about other web origins. */
export interface CorsPolicy {
  /** Serialised origins, such as `https://app.bank.example`. */
  readonly origins: ReadonlySet<string>
  /** Methods that pages may use, upper case. */
  readonly methods: readonly string[]
  /** Request fields that pages may set, lower case. */
  readonly headers: readonly string[]
  /** Response fields that pages may read, lower case. */
  readonly expose: readonly string[]
  readonly maxAgeSeconds: number
  readonly hasCredentials: boolean
}

/** The parts of a request that the protocol reads. */
export interface CorsRequest {
  readonly method: string
  readonly origin: string | null
  /** Value of Access-Control-Request-Method. */
  readonly requestMethod: string | null
}

/** What a request is to the policy, and the fields that its answer gets. */
export type CorsDecision =
  /** No page of another origin asks; caches still have to keep its answer apart. */
  | { readonly kind: "absent" }
  | { readonly kind: "refused" }
  | { readonly kind: "preflight" | "allowed"; readonly fields: readonly (readonly [name: string, value: string])[] }

/** Returns what a request is to the policy. */
export function decideCors(policy: CorsPolicy, { method, origin, requestMethod }: CorsRequest): CorsDecision {
  if (origin === null) return { kind: "absent" }
  if (!policy.origins.has(origin)) return { kind: "refused" }
  const fields: (readonly [string, string])[] = [["Access-Control-Allow-Origin", origin]]
  if (policy.hasCredentials) fields.push(["Access-Control-Allow-Credentials", "true"])
  if (method !== "OPTIONS" || requestMethod === null) {
    if (policy.expose.length > 0) fields.push(["Access-Control-Expose-Headers", policy.expose.join(", ")])
    return { kind: "allowed", fields }
  }
  fields.push(["Access-Control-Allow-Methods", policy.methods.join(", ")])
  if (policy.headers.length > 0) fields.push(["Access-Control-Allow-Headers", policy.headers.join(", ")])
  fields.push(["Access-Control-Max-Age", String(policy.maxAgeSeconds)])
  return { kind: "preflight", fields }
}

/**
 * Returns a web origin in its one serialisation, or undefined: http or https, a lower-case host, no default port, nothing
 * behind it. `*` and `null` name nobody and are none.
 *
 * @see RFC 6454 §6.2
 */
export function parseWebOrigin(text: string): string | undefined {
  const match = /^(https?):\/\/(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}))?$/.exec(
    text,
  )
  if (match === null || Number(match[2] ?? 1) > 65_535) return undefined
  return match[2] === (match[1] === "https" ? "443" : "80") ? undefined : text
}

/** Returns a Vary field that also names Origin, because the answer depends on it. @see RFC 9110 §12.5.5 */
export function varyOnOrigin(vary: string | null): string {
  if (vary === null || vary.trim() === "") return "Origin"
  const members = new Set(vary.split(",").map((member) => member.trim().toLowerCase()))
  return members.has("*") || members.has("origin") ? vary : `${vary}, Origin`
}

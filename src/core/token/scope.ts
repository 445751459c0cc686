/**
 * Scopes: what an access token allows, and what a method of a route asks for.
 *
 * A scope is compared as it is written, with case. A claim that is not exactly what RFC 6749 allows grants nothing, because
 * readers that repair it differently would grant different things. Pure and total. Called by the configuration, by
 * `core/token/access-token.ts` and by the `access-policy` stage.
 *
 * @see RFC 6749 §3.3
 */

const SCOPE_TOKEN = /^[\x21\x23-\x5b\x5d-\x7e]+$/

/** Returns true for one scope: visible ASCII without quotation mark and backslash. */
export function isScopeToken(text: string): boolean {
  return SCOPE_TOKEN.test(text)
}

/**
 * Returns the scopes in a `scope` claim: a string of scopes with single spaces between them. Anything else, a list included,
 * grants none.
 */
export function parseScope(claim: unknown): ReadonlySet<string> {
  if (typeof claim !== "string") return NONE
  const scopes = claim.split(" ")
  return scopes.every(isScopeToken) ? new Set(scopes) : NONE
}
const NONE: ReadonlySet<string> = new Set()

/** Scopes that a route asks for, all of them, by method. */
export type ScopesByMethod = ReadonlyMap<string, readonly string[]>

/**
 * Returns the scopes that a method asks for; HEAD asks for what GET does unless it has an entry. Undefined when nobody said:
 * the caller refuses, because unknown means no.
 */
export function scopesFor(scopes: ScopesByMethod, method: string): readonly string[] | undefined {
  return scopes.get(method) ?? (method === "HEAD" ? scopes.get("GET") : undefined)
}

/** Returns those of the required scopes that were not granted. */
export function missingScopes(required: readonly string[], granted: ReadonlySet<string>): readonly string[] {
  return required.filter((scope) => !granted.has(scope))
}

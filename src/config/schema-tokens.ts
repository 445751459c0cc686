/**
 * What an operator writes about tokens: audiences, types, claims, scopes. Parts of `config/schema.ts`.
 */
import { normalizeType, type TokenAudience } from "../core/token/access-token.ts"
import { OAUTH_CLIENTS_MAX, ROUTE_SCOPES_MAX } from "../core/bounds.ts"
import { TOKEN_ALGORITHMS } from "../core/token/json-web-key.ts"
import { isScopeToken } from "../core/token/scope.ts"
import { list, oneOf, text, value } from "./schema-parts.ts"

const VISIBLE = /^[\x21-\x7e]{1,512}$/
const isVisible = (input: unknown): input is string => typeof input === "string" && VISIBLE.test(input)

/** The exact `iss` of a server's tokens. */
export const tokenIssuer = text(
  'the exact issuer of the tokens, such as "https://login.bank.example" (1 to 512 visible ASCII characters)',
  (input) => (VISIBLE.test(input) ? input : undefined),
)

/** One text: nobody else may be in `aud`. A list: `aud` has to contain one of them. */
export const tokenAudience = value(
  'what tokens for this gateway have in aud: a text when it stands there alone, such as "https://api.bank.example", or a list of texts when one of them has to be among others',
  (input): TokenAudience | undefined => {
    if (isVisible(input)) return { kind: "sole", value: input }
    return isListOf(input, isVisible) ? { kind: "any", values: input } : undefined
  },
)

/** Signatures of a key pair only: with a shared secret whoever verifies can also sign. */
export const tokenAlgorithms = list(`at least one of ${TOKEN_ALGORITHMS.join(", ")}`, oneOf(...TOKEN_ALGORITHMS))

/** Becomes a list of types in lower case without `application/`. */
export const tokenTypes = value(
  'a media type of tokens such as "at+jwt" or "JWT", or a list of them',
  (input): readonly string[] | undefined => {
    const types = typeof input === "string" ? [input] : input
    const isType = (item: unknown): item is string => typeof item === "string" && /^[\w.+/-]{1,64}$/.test(item)
    return isListOf(types, isType) ? types.map(normalizeType) : undefined
  },
)

/** Becomes null where no claim names the client. */
export const clientClaim = value('"client_id", "sub" or false', (input): "client_id" | "sub" | null | undefined => {
  if (input === "client_id" || input === "sub") return input
  return input === false ? null : undefined
})

/** Becomes null where no guard counts. */
export const tokenGuard = value(
  "a name defined in GUARDS, or false: nothing counts bad tokens",
  (input): string | null | undefined => {
    if (input === false) return null
    return typeof input === "string" ? input : undefined
  },
)

const isScope = (item: unknown): item is string => typeof item === "string" && isScopeToken(item)
const isScopes = (input: unknown): input is readonly string[] =>
  Array.isArray(input) && input.length <= ROUTE_SCOPES_MAX && input.every(isScope) && isDistinct(input)

/** A list for all methods of a route, or a table with a list for each. */
export const routeScopes = value(
  `a list of 1 to ${ROUTE_SCOPES_MAX} different scopes, all of them required, or a table of such lists by method, such as { GET = ["read"], POST = ["write"] }, where [] asks for none`,
  (input): readonly string[] | ReadonlyMap<string, readonly string[]> | undefined => {
    if (Array.isArray(input)) return isScopes(input) && input.length > 0 ? input : undefined
    if (typeof input !== "object" || input === null) return undefined
    const entries = Object.entries(input)
    const lists = entries.map(([, scopes]: [string, unknown]) => scopes)
    if (lists.length === 0 || !lists.every(isScopes)) return undefined
    return new Map(entries.map(([method], index) => [method, lists[index] ?? []]))
  },
)

/** Ids at authorization servers. @see RFC 6749 §2.2 */
export const oauthClients = value(
  `a list of 1 to ${OAUTH_CLIENTS_MAX} different client ids as authorization servers write them (visible ASCII)`,
  (input): readonly string[] | undefined =>
    isListOf(input, isVisible) && input.length <= OAUTH_CLIENTS_MAX && isDistinct(input) ? input : undefined,
)

function isListOf(input: unknown, isItem: (item: unknown) => item is string): input is readonly string[] {
  return Array.isArray(input) && input.length > 0 && input.every(isItem)
}

function isDistinct(items: readonly unknown[]): boolean {
  return new Set(items).size === items.length
}

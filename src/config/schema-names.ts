/**
 * What names, times, paths and URLs in the configuration look like: one grammar for each, whichever table it stands in.
 *
 * Each carries the sentence that tells an operator what it accepts, so none is described twice. Pure; used by `config/schema.ts`
 * and its parts.
 */
import { checkRouteRegex } from "../core/route/route-regex.ts"
import { METHODS } from "../core/route/route.ts"
import { canonicalizePath, parseHost } from "../core/route/target.ts"
import { parseDurationMs } from "../core/time.ts"
import { oneOf, type Schema, text } from "./schema-parts.ts"

/** Variables that hold one table each, tables of tables, and arrays that may be split over several variables. */
export const TABLES = ["GATEWAY", "ADMIN", "ISSUERS", "LIMITS", "GUARDS", "TOKENS", "ORIGINS"] as const
export const SPLIT_ARRAYS = ["ROUTES", "CLIENTS", "SINKS"] as const

/** Returns the family of a split array: `ROUTES`, `ROUTES_PAYMENTS` and `ROUTES2` are one. */
export function variableFamily(name: string): (typeof SPLIT_ARRAYS)[number] | undefined {
  return SPLIT_ARRAYS.find((family) => name.startsWith(family))
}

/** Returns true for the name of a variable that is read as configuration, whatever it holds. */
export function isKnownVariable(name: string): boolean {
  return (TABLES as readonly string[]).includes(name) || variableFamily(name) !== undefined
}

const ID = /^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$/
const ID_ACCEPTS =
  "1 to 64 lower-case letters, digits, dots, underscores or hyphens, starting and ending with a letter or digit"
/** Canonical client ids name Durable Objects, header values and label values: one narrow grammar suits all. */
export const id = text(ID_ACCEPTS, (input) => (ID.test(input) ? input : undefined))
/** A name that another variable defines; whether it does, and which ones it does, is said where it is resolved. */
export const reference = (variable: string): Schema<string> => text(`a name defined in ${variable}`, (input) => input)
/** A name in a table of names: limits, origins, issuers. */
export const TABLE_NAME = { test: (name: string): boolean => ID.test(name), accepts: ID_ACCEPTS }

export const duration = (minMs: number, maxMs: number, example: string): Schema<number> =>
  text(`a duration from ${minMs} ms to ${maxMs} ms, such as "${example}" (units ms, s, m, h, d)`, (input) => {
    const durationMs = parseDurationMs(input)
    return durationMs !== undefined && durationMs >= minMs && durationMs <= maxMs ? durationMs : undefined
  })

export const host = text('a host name in lower case without port, such as "api.bank.example"', (input) => {
  const parsed = parseHost(input)
  return parsed !== undefined && parsed.port === undefined && parsed.host === input ? input : undefined
})

export const canonicalPath = text(
  'a path in canonical form, such as "/accounts" (no dot or empty segments, no encoded slash)',
  (input) => {
    if (/[?#]/.test(input)) return { refused: "a path without query and fragment" }
    const canonical = canonicalizePath(input)
    if (!canonical.ok) return undefined
    return canonical.path === input
      ? input
      : { refused: `the path in canonical form: ${JSON.stringify(canonical.path)}` }
  },
)

export const routeRegex = text('a regular expression anchored with ^ and $, such as "^/v[0-9]+/items$"', (input) => {
  const checked = checkRouteRegex(input)
  return checked.ok ? { regex: checked.regex, source: input } : { refused: checked.expected }
})

export const method = oneOf(...METHODS)

export const HEADER_NAME = /^[a-z0-9]+(?:-[a-z0-9]+)*$/
export const headerName = text("a header field name in lower case: letters, digits, hyphens", (input) =>
  HEADER_NAME.test(input) ? input : undefined,
)

const LOOPBACK = /^(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])$/
/** The parts of an absolute http(s) URL that the gateway builds on. */
export interface BaseUrl {
  readonly scheme: "http" | "https"
  /** Host and port as written. */
  readonly authority: string
  /** Path without a trailing slash; "" for the root. */
  readonly path: string
  readonly isLoopback: boolean
}

export function parseBaseUrl(input: string): BaseUrl | undefined {
  const match = /^(https?):\/\/([^/?#]+)(\/[^?#]*)?$/.exec(input)
  const authority = match?.[2] ?? ""
  const parsed = parseHost(authority)
  const canonical = canonicalizePath(match?.[3] ?? "/")
  if (match === null || parsed === undefined || !canonical.ok) return undefined
  return {
    scheme: match[1] === "https" ? "https" : "http",
    authority,
    path: canonical.path.replace(/\/$/, ""),
    isLoopback: LOOPBACK.test(parsed.host),
  }
}

export const originUrl = text(
  'an http or https URL without query and user information, such as "https://core.bank.example"',
  parseBaseUrl,
)

export const sinkUrl = text(
  'an https URL, or an http URL on loopback, such as "https://collector.example/v1/logs"',
  (input) => {
    const url = parseBaseUrl(input)
    if (url === undefined) return undefined
    // Events name clients and paths: they cross a network only encrypted.
    return url.scheme === "https" || url.isLoopback
      ? input
      : { refused: "https: events leave the machine encrypted (http is for loopback only)" }
  },
)

export const jwksUrl = text(
  "the https URL of the key set of the authorization server, or an http URL on loopback, without query",
  (input) => {
    const url = parseBaseUrl(input)
    if (url === undefined) return undefined
    // Whoever could answer in its place would sign tokens for everybody.
    return url.scheme === "https" || url.isLoopback ? input : { refused: "https (http is for loopback only)" }
  },
)

/** Names of Worker secrets, such as keys and credentials: none that is taken for a variable of the configuration. */
export const secretName = (holds: string): Schema<string> =>
  text(`the name of a Worker secret, such as ${holds}`, (input) => {
    if (isKnownVariable(input)) return { refused: "a name that does not begin like a variable of the configuration" }
    return isSecretName(input) ? input : undefined
  })

/** Returns whether a Worker secret may have this name. */
export function isSecretName(input: string): boolean {
  return /^[A-Z][A-Z0-9_]{0,63}$/.test(input) && !isKnownVariable(input)
}

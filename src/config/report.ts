/**
 * How the configuration's errors are collected: each names its place, its value as short JSON, and what is accepted.
 *
 * Errors are printed and logged, so a value that may be a secret is never shown: neither under a name that sounds like one,
 * nor the user information and query of a URL. Pure; called by `config/load.ts` and what it resolves with.
 */

/** One thing wrong with the configuration. */
export interface ConfigError {
  /** Where, such as `ROUTES[2].limits`. */
  readonly path: string
  /** What stands there, as short JSON; undefined when nothing does. */
  readonly value: string | undefined
  /** What would be accepted there. */
  readonly accepted: string
}

/** Takes an error: where, what stands there (undefined: nothing), and what would be accepted. */
export type Report = (path: string, value: unknown, accepted: string) => void

/** Returns a report that appends to `errors`. */
export function createReport(errors: ConfigError[]): Report {
  return (path, value, accepted) => {
    errors.push({ path, value: value === undefined ? undefined : describeValue(path, value), accepted })
  }
}

/** Returns the names that a reference may take, in words. `variable` is where they are defined. */
export function nameList(names: readonly string[], variable: string): string {
  return names.length === 0
    ? `a name of ${variable}, which has none yet`
    : `one of ${names.map((name) => `"${name}"`).join(", ")} (${variable})`
}

const VALUE_LENGTH_MAX = 80
/** `keys` are names of secrets; an operator who puts a key there instead must not read it in a log. */
const SECRET_NAME = /secret|token|password|passwd|credential|authorization|private|api[_-]?key|^keys\b/i
/** The name of an authorization server, in spite of its key. */
const SERVER_NAME = /^ROUTES\w*\[[0-9]+\]\.token$/
const MASK = "***"

function describeValue(path: string, value: unknown): string {
  const ownName = path.slice(path.lastIndexOf(".") + 1)
  const json =
    JSON.stringify(value, (name, item: unknown) => {
      const isSecret = SECRET_NAME.test(name === "" ? ownName : name) && !SERVER_NAME.test(path)
      if (isSecret) return maskTexts(item)
      return typeof item === "string" ? maskUrl(item) : item
    }) ?? String(value)
  return json.length > VALUE_LENGTH_MAX ? `${json.slice(0, VALUE_LENGTH_MAX - 3)}...` : json
}

/** Returns the value with every text in it masked, however deep: a list or a table where a secret belongs may hold it. */
function maskTexts(value: unknown): unknown {
  if (typeof value === "string") return MASK
  if (typeof value !== "object" || value === null) return value
  return JSON.parse(JSON.stringify(value, (_, item: unknown) => (typeof item === "string" ? MASK : item)))
}

/** Returns a URL without what stands for a caller's identity in it; any other text as it is. */
function maskUrl(text: string): string {
  if (!text.includes("://")) return text
  return text.replace(/:\/\/[^/?#]*@/, `://${MASK}@`).replace(/\?.*$/s, `?${MASK}`)
}

/**
 * A configuration as tests read it: what it becomes, or its errors in one line each.
 */
import type { Config } from "../../src/config/config.ts"
import { loadConfig } from "../../src/config/load.ts"

type Environment = Readonly<Record<string, unknown>>

/** Returns what a valid configuration becomes. Throws its errors when it has any. */
export function load(environment: Environment): Config {
  const result = loadConfig(environment)
  if (!result.ok) throw new Error(JSON.stringify(result.errors))
  return result.config
}

/** Returns the errors as `path | value | accepted`, which is how an operator reads them; none of a valid configuration. */
export function errorsOf(environment: Environment): readonly string[] {
  const result = loadConfig(environment)
  return result.ok
    ? []
    : result.errors.map(({ path, value, accepted }) => `${path} | ${value ?? "(missing)"} | ${accepted}`)
}

/**
 * The configuration of one environment, for commands that need a valid one, and its errors as people read them.
 */
import type { Config } from "../src/config/config.ts"
import { loadConfig, type ConfigError } from "../src/config/load.ts"
import { printable, type Paint } from "./terminal.ts"
import { UsageError } from "./usage-error.ts"
import type { WranglerEnvironment } from "./wrangler-file.ts"

/** Returns the configuration, or throws an error that lists everything that is wrong. */
export function loadAccepted(environment: WranglerEnvironment, paint: Paint): { readonly config: Config } {
  const loaded = loadConfig(environment.vars)
  if (!loaded.ok)
    throw new UsageError(
      `The configuration has ${count(loaded.errors.length, "error")}:\n\n${formatErrors(loaded.errors, paint)}`,
    )
  return loaded
}

/** Returns one paragraph per error: place, value, what would be accepted. */
export function formatErrors(errors: readonly ConfigError[], paint: Paint): string {
  return errors
    .map(
      ({ path, value, accepted }) =>
        `${paint("bold", printable(path))}${value === undefined ? paint("dim", "  is missing") : `  ${paint("red", printable(value))}`}\n    ${paint("dim", "expected")} ${printable(accepted)}`,
    )
    .join("\n")
}

/** Returns "1 error", "2 errors". */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`
}

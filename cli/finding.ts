/**
 * What `sekisho check` has to say about a valid configuration, as one shape for everything that looks for such things. Pure.
 */

/** One finding. An error stops a deployment or leaves the gateway without a part it needs; a warning is for thought. */
export interface Finding {
  readonly severity: "error" | "warning"
  readonly path: string
  readonly text: string
}

/** Returns an error. @param path where in the configuration */
export function error(path: string, text: string): Finding {
  return { severity: "error", path, text }
}

/** Returns a warning. @param path where in the configuration */
export function warning(path: string, text: string): Finding {
  return { severity: "warning", path, text }
}

/**
 * First look at values that nobody has vouched for: stored rows, configuration, messages of another version of the
 * Worker. Narrows, never converts and never throws. The parsers of the limits start here.
 */

/** Returns the value in a JSON text; undefined for a text that is none, and for anything that is no text. */
export function parseJson(text: unknown): unknown {
  if (typeof text !== "string") return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Returns true for what JSON calls an object: members by name, no list. */
export function isJsonObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

/** Returns the value's members to be checked one by one; of anything that is no object, none. */
export function membersOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {}
}

/** Returns true for an integer from 0 to 2^53 - 1. */
export function isCount(value: unknown): value is number {
  return isInstant(value) && value >= 0
}

/** Returns true for an integer from 1 to 2^53 - 1. */
export function isPositiveInteger(value: unknown): value is number {
  return isCount(value) && value > 0
}

/** Returns true for an exact integer of either sign, as epoch ms are. */
export function isInstant(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value)
}

/**
 * Returns true for a whole number of any size. How much of it fits is decided by comparison and never by arithmetic on it.
 */
export function isWholeNumber(n: number): boolean {
  return Number.isInteger(n) && n >= 0
}

/**
 * Sizes as people write them in the configuration, as octets. Pure and total.
 */

/** A map, not a table: a table also has what every object inherits. Powers of 1,024 only, so that no unit has two readings. */
const UNIT_BYTES: ReadonlyMap<string, number> = new Map([
  ["B", 1],
  ["KiB", 1_024],
  ["MiB", 1_048_576],
  ["GiB", 1_073_741_824],
])

/** Returns the octets of `512B`, `64KiB`, `1MiB` or `2GiB` (a whole number and a unit, with case), or undefined. */
export function parseSizeBytes(text: string): number | undefined {
  const match = /^([0-9]{1,12})(B|KiB|MiB|GiB)$/.exec(text)
  const bytes = Number(match?.[1]) * (UNIT_BYTES.get(match?.[2] ?? "") ?? Number.NaN)
  return Number.isSafeInteger(bytes) ? bytes : undefined
}

/** Returns a size as people write it: the largest unit that divides it. `bytes` is a whole number of octets. */
export function formatSize(bytes: number): string {
  for (const [unit, unitBytes] of [...UNIT_BYTES].toReversed())
    if (bytes > 0 && bytes % unitBytes === 0) return `${bytes / unitBytes}${unit}`
  return `${bytes}B`
}

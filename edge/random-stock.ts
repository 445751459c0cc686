/**
 * Randomness in stock: asking the system for ten octets at a time costs more than what they are for.
 */
import { randomBytes } from "node:crypto"

/** How much is asked for at once, in octets. */
const STOCK_BYTES = 4_096

/** Returns a source of random octets, each given out once; at most {@link STOCK_BYTES} at a time. */
export function createRandomStock(): (size: number) => Uint8Array {
  let stock = new Uint8Array(0)
  let used = 0
  return (size) => {
    if (used + size > stock.length) {
      stock = Uint8Array.from(randomBytes(STOCK_BYTES))
      used = 0
    }
    used += size
    return stock.subarray(used - size, used)
  }
}

/**
 * The only randomness of the simulation: numbers that a seed determines. Streams of one seed are independent, so that a
 * change in how often the network draws does not change the arrivals.
 */

/** A stream of random numbers. */
export interface Random {
  /** Uniform, 0 inclusive to 1 exclusive. */
  next(): number
  /** Uniform integer, both ends inclusive. */
  integer(min: number, max: number): number
  /** True with this probability. */
  chance(probability: number): boolean
  /** Exponential with this mean. */
  exponential(mean: number): number
  /** One of the values. */
  pick<T>(values: readonly [T, ...T[]]): T
}

/** Returns the stream of this name. The same seed and name give the same numbers, on every machine. */
export function createRandom(seed: number, stream: string): Random {
  let state = hash(seed, stream)
  function next(): number {
    // mulberry32: 32 bits of state are enough for a simulation and exact in doubles.
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
  return {
    next,
    integer: (min, max) => min + Math.floor(next() * (max - min + 1)),
    chance: (probability) => probability > 0 && next() < probability,
    exponential: (mean) => -Math.log(1 - next()) * mean,
    pick: (values) => values[Math.floor(next() * values.length)] ?? values[0],
  }
}

function hash(seed: number, stream: string): number {
  let state = Math.imul(seed | 0, 0x9e3779b1) ^ 0x811c9dc5
  for (const character of stream) state = Math.imul(state ^ (character.codePointAt(0) ?? 0), 0x01000193)
  return Math.imul(state ^ (state >>> 16), 0x85ebca6b)
}

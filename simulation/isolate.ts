/**
 * One isolate in the simulation: a clock of its own, and one real holder per set of limits.
 */
import { createHolder } from "../src/core/lease/lease-holder.ts"
import type { LeaseHolder } from "../src/core/lease/lease-holder.ts"
import type { Random } from "./random.ts"

/** A holder, and what the world knows about it that it does not know itself. */
export interface SimulatedHolder {
  holder: LeaseHolder
  /** By the isolate's clock: the end of its lease, worked out from the messages alone. */
  leaseEndMs: number
  /** By the isolate's clock: when it sent the running call. */
  sentAtMs: number
  /** The youngest request that the running call counts. */
  countedId: number
  /** Tokens on the way to it that it may still take, and by its clock until when. */
  pendingTokens: number
  pendingEndMs: number
}

/** A process that can end at any time and is then replaced by one that knows nothing. */
export class SimulatedIsolate {
  readonly holders: readonly SimulatedHolder[]
  readonly #random: Random
  readonly #offsetMs: number
  readonly #speed: number
  readonly #freezeMs: number
  #lastReadingMs = 0

  constructor(
    boot: string,
    sets: number,
    clock: { readonly drift: number; readonly freezeMs: number },
    random: Random,
  ) {
    this.#random = random
    // Clocks agree on nothing: neither the time nor how fast it passes.
    this.#offsetMs = random.integer(1_000_000, 9_000_000)
    this.#speed = 1 + (2 * random.next() - 1) * clock.drift
    this.#freezeMs = clock.freezeMs
    this.holders = Array.from({ length: sets }, (_, index) => ({
      holder: createHolder(`${boot}-${index}`),
      leaseEndMs: 0,
      sentAtMs: 0,
      countedId: 0,
      pendingTokens: 0,
      pendingEndMs: 0,
    }))
  }

  /** Reads the clock, which may stand still for a while but never runs back. */
  read(nowMs: number): number {
    const lagMs = this.#freezeMs > 0 && this.#random.chance(0.5) ? this.#random.integer(0, this.#freezeMs) : 0
    this.#lastReadingMs = Math.max(this.#lastReadingMs, this.#at(nowMs - lagMs))
    return this.#lastReadingMs
  }

  /** The oldest time that the next reading can show. */
  oldestReading(nowMs: number): number {
    return this.#freezeMs === 0 ? this.#at(nowMs) : Math.max(this.#lastReadingMs, this.#at(nowMs - this.#freezeMs))
  }

  #at(trueMs: number): number {
    return Math.floor(this.#offsetMs + trueMs * this.#speed)
  }
}

/**
 * What a lease draws on: one member per limit, and the few operations that the ledger needs of it.
 *
 * The ledger knows members only through {@link LeaseMember}, so a limit of another kind joins by implementing it, as
 * `core/limit/quota-member.ts` does. The token bucket here keeps the rule that makes leases exact: it refills only up to `burst`
 * minus what is lent out. The stored bucket always names its full burst, so it is an ordinary bucket again once nothing
 * is lent. Pure.
 */
import { ceilDiv, settle } from "../limit/gcra.ts"
import type { BucketConfig, BucketState } from "../limit/gcra.ts"

/** One limit as the ledger sees it. Immutable: every operation returns the member afterwards. */
export interface LeaseMember<Self> {
  /** Most tokens at once, lent ones included. */
  readonly capacity: number
  /**
   * Tokens per ms that come back by themselves. 0 for a limit that counts what is lent as used and gets nothing back before
   * its next window.
   */
  readonly ratePerMs: number
  /** Whole tokens that can be taken now. */
  readonly available: number
  /** Longest that a token taken now may stay unspent, in ms: infinite for a bucket, the rest of the window for a quota. */
  readonly validMs: number
  /**
   * Start of the present window, epoch ms; 0 for a limit without windows. A token belongs to the window in which it was
   * taken and comes back in no other.
   */
  readonly sinceMs: number
  /**
   * Lets time pass up to `nowMs` under the configuration so far, while `outstanding` tokens are lent (infinite: all are).
   */
  settle(outstanding: number, nowMs: number): Self
  /** Changes to the present configuration, at the time it is settled to. */
  adopt(outstanding: number): Self
  /** Takes `n` tokens. The caller has checked `available`. */
  take(n: number): Self
  /** Puts back `n` tokens that were lent and can never be spent. The caller stops counting them as lent. */
  give(n: number): Self
  /** Whether more was given than a limit that was lowered since holds. Then no lease on it is prolonged. */
  isOverdrawn(outstanding: number): boolean
  /** Ms from the last settling until `n` tokens, at most `capacity`, are there, if nothing is lent. */
  waitMs(n: number): number
}

/** The limits of one client by name. The name is the one under which a lease counts. */
export type LeasePool<M> = Readonly<Record<string, M>>

/**
 * Returns whether a limit refills by itself. What is lent then has to be kept out of the refill, and what comes back after
 * it stopped being counted as lent has been refilled already.
 */
export function isRefilling({ ratePerMs }: { readonly ratePerMs: number }): boolean {
  return ratePerMs > 0
}

/** A token bucket as a member. */
export class BucketMember implements LeaseMember<BucketMember> {
  /** What is stored. */
  readonly state: BucketState
  readonly #config: BucketConfig

  /**
   * @param state the bucket as stored, under whatever configuration it has accrued
   * @param config the configuration from the next settling on; the stored one when a call does not name the bucket
   */
  constructor(state: BucketState, config: BucketConfig = configOf(state)) {
    this.state = state
    this.#config = config
  }

  get capacity(): number {
    return this.#config.burst
  }

  get ratePerMs(): number {
    return this.#config.rate.count / this.#config.rate.periodMs
  }

  get available(): number {
    return Math.floor(this.state.level / this.state.periodMs)
  }

  get validMs(): number {
    return Number.POSITIVE_INFINITY
  }

  get sinceMs(): number {
    return 0
  }

  settle(outstanding: number, nowMs: number): BucketMember {
    return this.#with(settleLent(this.state, configOf(this.state), outstanding, nowMs))
  }

  adopt(outstanding: number): BucketMember {
    return this.#with(settleLent(this.state, this.#config, outstanding, this.state.lastMs))
  }

  take(n: number): BucketMember {
    return this.#with({ ...this.state, level: this.state.level - n * this.state.periodMs })
  }

  give(n: number): BucketMember {
    const { level, burst, periodMs } = this.state
    return this.#with({ ...this.state, level: Math.min(burst * periodMs, level + n * periodMs) })
  }

  isOverdrawn(outstanding: number): boolean {
    return outstanding > this.capacity
  }

  waitMs(n: number): number {
    const { level, periodMs, count } = this.state
    return ceilDiv(Math.max(0, n * periodMs - level), count)
  }

  #with(state: BucketState): BucketMember {
    return new BucketMember(state, this.#config)
  }
}

/** Settles a bucket that may hold only what is not lent, before and after a change of configuration. */
function settleLent(state: BucketState, config: BucketConfig, outstanding: number, nowMs: number): BucketState {
  const { burst, rate } = config
  const free = Math.max(0, burst - outstanding)
  const lent = { ...state, burst: Math.max(0, state.burst - outstanding) }
  const settled = settle(lent, { burst: free, rate }, nowMs)
  return { ...settled, burst, level: Math.min(settled.level, free * settled.periodMs) }
}

function configOf({ burst, count, periodMs }: BucketState): BucketConfig {
  return { burst, rate: { count, periodMs } }
}

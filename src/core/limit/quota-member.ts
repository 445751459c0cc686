/**
 * A calendar quota as a limit that leases draw on.
 *
 * What is lent counts as used from the moment it is taken, so a quota never subtracts it from anything: a token that is
 * spent, lost or never heard of again was counted once. Only a token that certainly will not be spent comes back, and only
 * in the window in which it was taken. Pure and total; `core/lease/lease-pool.ts` makes it.
 */
import type { LeaseMember } from "../lease/lease-member.ts"
import { settleQuota } from "./quota.ts"
import type { QuotaConfig, QuotaState } from "./quota.ts"

/** A calendar quota as a member. */
export class QuotaMember implements LeaseMember<QuotaMember> {
  /** What is stored. */
  readonly state: QuotaState
  readonly #config: QuotaConfig | undefined

  /**
   * @param state the quota as stored, of whatever calendar it counted by
   * @param config the configuration from the next settling on; undefined when no call names the quota: it then knows its
   *   window but not its limit, and has nothing to give
   */
  constructor(state: QuotaState, config?: QuotaConfig) {
    this.state = state
    this.#config = config
  }

  get capacity(): number {
    return this.#config?.limit ?? this.state.used
  }

  get ratePerMs(): number {
    return 0
  }

  get available(): number {
    return Math.max(0, this.capacity - this.state.used)
  }

  get validMs(): number {
    return this.#restMs
  }

  get sinceMs(): number {
    return this.state.startMs
  }

  /** Moves to the window of `nowMs`; what is lent is counted already, whatever it is. */
  settle(_outstanding: number, nowMs: number): QuotaMember {
    const { unit, timezone } = this.state
    return this.#with(settleQuota(this.state, { limit: this.capacity, unit, timezone }, nowMs))
  }

  adopt(_outstanding: number): QuotaMember {
    return this.#config === undefined ? this : this.#with(settleQuota(this.state, this.#config, this.state.lastMs))
  }

  take(n: number): QuotaMember {
    return this.#with({ ...this.state, used: this.state.used + n })
  }

  give(n: number): QuotaMember {
    return this.#with({ ...this.state, used: Math.max(0, this.state.used - n) })
  }

  /** Used beyond the limit, which then was lowered. */
  isOverdrawn(_outstanding: number): boolean {
    return this.state.used > this.capacity
  }

  waitMs(n: number): number {
    return n <= this.available ? 0 : this.#restMs
  }

  get #restMs(): number {
    return this.state.endMs - this.state.lastMs
  }

  #with(state: QuotaState): QuotaMember {
    return state === this.state ? this : new QuotaMember(state, this.#config)
  }
}

/**
 * What must hold in every run, worked out independently of the code that is simulated: with its own buckets in floating
 * point, from the admissions as they happened and the tokens as they lie about.
 *
 * The bound for all windows `[s, t]` at once is a bucket that never refuses: it starts full, every admission takes from it,
 * and it falls below 0 exactly when some window saw more than `burst + rate * (t - s)`. A quota is a count per hour.
 */
import type { BucketState } from "../src/core/limit/gcra.ts"
import type { LeaseLedger } from "../src/core/lease/lease-ledger.ts"
import { QUOTA_WINDOW_MS } from "./scenario.ts"
import type { Drawn, Scenario, SimulatedLimit, SimulatedQuota } from "./scenario.ts"

/** A promise that did not hold. */
export interface Violation {
  readonly atMs: number
  readonly promise:
    | "window-bound"
    | "level-and-lent-within-burst"
    | "level-and-lent-rise-by-rate"
    | "unspent-within-lent"
    | "quota-bound"
    | "unspent-within-used"
    | "no-admission-after-lease"
    | "block-bound"
    | "refusal-honesty"
    | "decided-once"
    | "liveness"
  readonly detail: string
}

/** Slack for the rounding of doubles, in tokens. */
const EPSILON = 1e-6

interface Audit {
  tokens: number
  lastMs: number
  limit: SimulatedLimit
  /** A limit that may still be in force beside `limit`: the one before it, or the one that a restart falls back to. */
  other: SimulatedLimit
  /** Until when the larger burst of the two counts; infinite until the change is durable. */
  graceUntilMs: number
  /** Whether the object has ever stored it. Before that nothing was granted, and a restart begins it anew, full. */
  isStored: boolean
}

interface QuotaAudit {
  /** Which hour, and what was admitted of it. */
  window: number
  admitted: number
  /** The limit of the last call, and the largest of this hour. */
  limit: number
  largest: number
  /** What the object counted as used when it was last looked at. */
  used: number
}

/** Checks one run. */
export class Checker {
  readonly violations: Violation[] = []
  /** The most tokens that any limit was overdrawn by. */
  overdrawn = 0
  /** Tokens of quotas that were used up, and those of them that nobody was admitted for. */
  used = 0
  burned = 0
  readonly #audits = new Map<string, Audit>()
  readonly #quotas = new Map<string, QuotaAudit>()
  /** Level and lent tokens of a bucket when it was last looked at. */
  readonly #potentials = new Map<string, { readonly tokens: number; readonly atMs: number }>()
  readonly #clockMs: number
  #block:
    | { readonly atMs: number; readonly untilMs: number; readonly lastMs: number; readonly lent: Map<string, number> }
    | undefined

  constructor({ limits, routeLimits, quotas, clockMs }: Scenario) {
    this.#clockMs = clockMs
    for (const { name, limit } of quotas) {
      this.#quotas.set(name, { window: this.#windowAt(0), admitted: 0, limit, largest: limit, used: 0 })
    }
    for (const limit of [...limits, ...routeLimits]) {
      this.#audits.set(limit.name, {
        tokens: limit.burst,
        lastMs: 0,
        limit,
        other: limit,
        graceUntilMs: 0,
        isStored: false,
      })
    }
  }

  /** Records a broken promise; the first hundred are enough. */
  fail(atMs: number, promise: Violation["promise"], detail: string): void {
    if (this.violations.length < 100) this.violations.push({ atMs, promise, detail })
  }

  /**
   * The object worked with this limit. The larger of it and the one before counts until the change is durable, and its
   * burst until every lease from before is over.
   */
  configured(limit: SimulatedLimit, isDurable: boolean, nowMs: number, longestLifeMs: number): void {
    const audit = this.#audits.get(limit.name)
    if (audit === undefined) return
    if (!isSameLimit(audit.limit, limit)) {
      this.#potentials.delete(limit.name)
      refill(audit, nowMs)
      audit.other = largerOf(audit.limit, audit.other)
      audit.limit = limit
      audit.graceUntilMs = Number.POSITIVE_INFINITY
      if (!audit.isStored) audit.tokens = Math.max(audit.tokens, limit.burst)
    }
    audit.isStored ||= isDurable
    if (isDurable && audit.graceUntilMs === Number.POSITIVE_INFINITY) {
      refill(audit, nowMs)
      audit.other = { ...limit, burst: Math.max(limit.burst, audit.other.burst) }
      audit.graceUntilMs = nowMs + longestLifeMs
    }
  }

  /** The object worked with this quota. The largest limit of an hour is the one that binds it. */
  quotaConfigured({ name, limit }: SimulatedQuota, nowMs: number): void {
    const audit = this.#quotaAt(name, nowMs)
    if (audit === undefined) return
    audit.limit = limit
    audit.largest = Math.max(audit.largest, limit)
  }

  /** The object started again from an earlier state, in which limits may have been larger. */
  restarted(): void {
    this.#potentials.clear()
  }

  /** A request was admitted, now, in truth. */
  admitted(names: readonly string[], cost: number, nowMs: number): void {
    for (const name of names) {
      const quota = this.#quotaAt(name, nowMs)
      if (quota !== undefined) quota.admitted += cost
      if (quota !== undefined && quota.admitted > quota.largest) {
        this.overdrawn = Math.max(this.overdrawn, quota.admitted - quota.largest)
        this.fail(nowMs, "quota-bound", `${name}: ${quota.admitted} of ${quota.largest}`)
      }
      const audit = this.#audits.get(name)
      if (audit === undefined) continue
      refill(audit, nowMs)
      audit.tokens -= cost
      if (audit.tokens >= -EPSILON) continue
      this.overdrawn = Math.max(this.overdrawn, -audit.tokens)
      this.fail(nowMs, "window-bound", `${name} is overdrawn by ${(-audit.tokens).toFixed(3)}`)
    }
    this.#checkBlock(names, cost, nowMs)
  }

  /** The guard blocks the client from now on: what is lent is all that may still pass. */
  blocked(
    ledger: LeaseLedger,
    names: readonly string[],
    span: { readonly nowMs: number; readonly untilMs: number; readonly longestLifeMs: number },
  ): void {
    const { nowMs, untilMs, longestLifeMs } = span
    const lent = new Map(names.map((name) => [name, lentOf(ledger, name, nowMs + this.#clockMs)]))
    this.#block = { atMs: nowMs, untilMs, lastMs: nowMs + longestLifeMs, lent }
  }

  /** After every step: what isolates can still spend is no more than what the object counts as lent. */
  checkUnspent(ledger: LeaseLedger, unspent: ReadonlyMap<string, number>, nowMs: number): void {
    for (const [name, tokens] of unspent) {
      if (tokens === 0) continue
      const lent = lentOf(ledger, name, nowMs + this.#clockMs)
      if (tokens > lent) this.fail(nowMs, "unspent-within-lent", `${name}: ${tokens} unspent, ${lent} counted`)
    }
  }

  /** After every step: whatever was admitted of a quota in this hour, or still can be, is counted as used. */
  checkUsed(name: string, used: number, unspent: number, nowMs: number): void {
    const audit = this.#quotaAt(name, nowMs)
    if (audit === undefined) return
    audit.used = used
    if (audit.admitted + unspent <= used) return
    this.fail(nowMs, "unspent-within-used", `${name}: ${audit.admitted} admitted, ${unspent} unspent, ${used} used`)
  }

  /** The run is over. */
  end(): void {
    for (const audit of this.#quotas.values()) this.#close(audit)
  }

  #quotaAt(name: string, nowMs: number): QuotaAudit | undefined {
    const audit = this.#quotas.get(name)
    const window = this.#windowAt(nowMs)
    if (audit === undefined || audit.window === window) return audit
    this.#close(audit)
    Object.assign(audit, { window, admitted: 0, largest: audit.limit, used: 0 })
    return audit
  }

  #close({ used, admitted }: QuotaAudit): void {
    this.used += used
    this.burned += Math.max(0, used - admitted)
  }

  #windowAt(nowMs: number): number {
    return Math.floor((nowMs + this.#clockMs) / QUOTA_WINDOW_MS)
  }

  /** After every step of the object: nothing comes back to a bucket but by its rate. */
  checkBucket(ledger: LeaseLedger, name: string, bucket: BucketState, nowMs: number): void {
    const { burst, count, periodMs } = bucket
    const level = bucket.level / periodMs
    const lent = lentOf(ledger, name, nowMs + this.#clockMs)
    // A lowered limit may have more lent than it holds; then it has nothing left.
    if (level < 0 || (level > 0 && level + lent > burst + EPSILON)) {
      this.fail(nowMs, "level-and-lent-within-burst", `${name}: level ${level}, lent ${lent}, burst ${burst}`)
    }
    // Buckets that a call does not name are not brought to its time.
    const tokens = level + lentOf(ledger, name, bucket.lastMs)
    const before = this.#potentials.get(name) ?? { tokens: burst, atMs: bucket.lastMs }
    const most = before.tokens + ((bucket.lastMs - before.atMs) * count) / periodMs
    if (tokens > most + EPSILON && level > 0) {
      this.fail(nowMs, "level-and-lent-rise-by-rate", `${name}: level and lent are ${tokens}, at most ${most}`)
    }
    this.#potentials.set(name, { tokens, atMs: bucket.lastMs })
  }

  #checkBlock(names: readonly string[], cost: number, nowMs: number): void {
    const block = this.#block
    if (block === undefined || cost === 0 || nowMs >= block.untilMs) return
    if (nowMs >= block.lastMs) this.fail(nowMs, "block-bound", `admitted ${nowMs - block.atMs} ms after the block`)
    for (const name of names) {
      const rest = (block.lent.get(name) ?? 0) - cost
      block.lent.set(name, rest)
      if (rest < 0) this.fail(nowMs, "block-bound", `${name}: ${-rest} more than was lent at the block`)
    }
  }
}

/** Limits that decide at once and with full knowledge: what no distributed limiter can beat. */
export class IdealLimits {
  readonly #audits = new Map<string, Audit>()
  readonly #used = new Map<string, number>()
  #window = 0
  readonly #clockMs: number

  constructor({ clockMs }: Scenario) {
    this.#clockMs = clockMs
  }

  /** Admits if every limit has enough. */
  admit({ limits, quotas }: Drawn, cost: number, nowMs: number): boolean {
    const audits = limits.map((limit) => this.#at(limit, nowMs))
    if (audits.some(({ tokens }) => tokens + EPSILON < cost)) return false
    const window = Math.floor((nowMs + this.#clockMs) / QUOTA_WINDOW_MS)
    if (window > this.#window) this.#used.clear()
    this.#window = window
    if (quotas.some(({ name, limit }) => (this.#used.get(name) ?? 0) + cost > limit)) return false
    for (const audit of audits) audit.tokens -= cost
    for (const { name } of quotas) this.#used.set(name, (this.#used.get(name) ?? 0) + cost)
    return true
  }

  #at(limit: SimulatedLimit, nowMs: number): Audit {
    const known = this.#audits.get(limit.name)
    const audit = known ?? { tokens: limit.burst, lastMs: nowMs, limit, other: limit, graceUntilMs: 0, isStored: true }
    if (known === undefined) this.#audits.set(limit.name, audit)
    refill(audit, nowMs)
    audit.limit = limit
    audit.other = limit
    return audit
  }
}

function refill(audit: Audit, nowMs: number): void {
  const { limit, other, graceUntilMs } = audit
  const isGrace = nowMs < graceUntilMs
  const perMs = isGrace ? Math.max(perMsOf(limit), perMsOf(other)) : perMsOf(limit)
  const burst = isGrace ? Math.max(limit.burst, other.burst) : limit.burst
  audit.tokens = Math.min(burst, audit.tokens + (nowMs - audit.lastMs) * perMs)
  audit.lastMs = nowMs
}

function largerOf(a: SimulatedLimit, b: SimulatedLimit): SimulatedLimit {
  return { name: a.name, burst: Math.max(a.burst, b.burst), rate: perMsOf(a) > perMsOf(b) ? a.rate : b.rate }
}

function perMsOf({ rate }: SimulatedLimit): number {
  return rate.count / rate.periodMs
}

function isSameLimit(a: SimulatedLimit, b: SimulatedLimit): boolean {
  return a.burst === b.burst && a.rate.count === b.rate.count && a.rate.periodMs === b.rate.periodMs
}

/** Tokens that the ledger counts as lent at this time, leases that are over but not yet struck out left aside. */
function lentOf(ledger: LeaseLedger, name: string, nowMs: number): number {
  let sum = 0
  for (const holder of ledger.holders) {
    if (holder.expiresMs > nowMs && holder.names.includes(name)) sum += holder.carried + holder.granted
  }
  for (const loan of ledger.unnamed) if (loan.expiresMs > nowMs && loan.names.includes(name)) sum += loan.tokens
  return sum
}

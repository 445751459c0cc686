/**
 * Sets of limits: one table becomes up to three limits, and what no request could ever get is an error. Pure; called by
 * `config/load.ts`.
 */
import { CONCURRENCY_LEASE_GRACE_MS, ORIGIN_TIMEOUT_MS_MAX } from "../core/bounds.ts"
import { limitsFor, type LimitSet } from "../core/limit/limit-set.ts"
import type { NamedLimit } from "../core/limit/limit.ts"
import type { ConfiguredClient, Route } from "./config.ts"
import type { Report } from "./report.ts"
import { REQUIRED, type Parsed } from "./schema.ts"

/**
 * Returns the set of one table. The bucket has the name of the set; the quota adds its unit and the concurrency limit
 * `concurrent`, because these names are the policies that callers read.
 */
export function resolveLimitSet(name: string, limit: Parsed<"LIMIT">, report: Report): LimitSet {
  const place = `LIMITS.${name}`
  const { burst, concurrent, lease, mode = "enforce", quota, rate, timezone } = limit
  const limits: NamedLimit[] = []
  if (rate === undefined && burst === undefined && quota === undefined && concurrent === undefined)
    report(place, limit, "at least one of rate (with burst), quota and concurrent")
  if (rate === undefined && burst !== undefined) report(`${place}.rate`, undefined, REQUIRED.rate)
  if (rate !== undefined && burst === undefined) report(`${place}.burst`, undefined, REQUIRED.burst)
  if (rate !== undefined && burst !== undefined) {
    // The bucket counts in units of 1/periodMs cell and has to stay an exact integer.
    if (!Number.isSafeInteger(burst * rate.periodMs)) {
      const most = Math.floor(Number.MAX_SAFE_INTEGER / rate.periodMs)
      report(`${place}.burst`, burst, `a burst of at most ${most} at this rate`)
    }
    limits.push({ kind: "bucket", name, mode, burst, rate })
  }
  if (quota === undefined && timezone !== undefined)
    report(`${place}.timezone`, timezone, "no timezone without a quota, which begins and ends by it")
  if (quota !== undefined)
    limits.push({ kind: "quota", name: `${name}-${quota.unit}`, mode, ...quota, timezone: timezone ?? "UTC" })
  if (concurrent === undefined && lease !== undefined)
    report(
      `${place}.lease`,
      `${lease}ms`,
      "no lease without concurrent: it is how long a request holds its place at most",
    )
  if (concurrent !== undefined) {
    const leaseTtlMs = lease ?? ORIGIN_TIMEOUT_MS_MAX + CONCURRENCY_LEASE_GRACE_MS
    limits.push({ kind: "concurrency", name: `${name}-concurrent`, mode, maxConcurrent: concurrent, leaseTtlMs })
  }
  return { name, limits }
}

/** Reports sets of which one has a policy that is named like another one's: callers and storage could not tell them apart. */
export function reportNameClashes(sets: readonly LimitSet[], report: Report): void {
  const setOf = new Map<string, string>()
  for (const { name: set, limits } of sets) {
    for (const { name } of limits) {
      const other = setOf.get(name)
      if (other === undefined) setOf.set(name, set)
      else report(`LIMITS.${set}`, name, `another name: LIMITS.${other} has a policy of that name already`)
    }
  }
}

/** Reports routes that cost more than one of their limits can ever give, also to a client with limits of its own. */
export function reportUnpayable(routes: readonly Route[], clients: readonly ConfiguredClient[], report: Report): void {
  const special = clients.filter(({ limitSets }) => limitSets.size > 0)
  for (const { cost, limitSets, place } of routes) {
    const most = smallest(limitSets.flatMap(({ limits }) => limits))
    if (most !== undefined && cost > most.amount)
      report(`${place}.cost`, cost, `at most ${describe(most)}; more would never be admitted`)
    for (const client of special.filter(({ limitSets: own }) => limitSets.some(({ name }) => own.has(name)))) {
      const own = smallest(limitsFor(limitSets, client))
      if (own !== undefined && cost > own.amount && own.name !== most?.name)
        report(`${client.place}.limits`, own.name, `a set that gives at least the cost of ${place} (${cost})`)
    }
  }
}

interface Amount {
  readonly name: string
  readonly what: "burst" | "quota"
  readonly amount: number
}

function smallest(limits: readonly NamedLimit[]): Amount | undefined {
  return limits
    .flatMap((limit): readonly Amount[] => {
      if (limit.kind === "bucket") return [{ name: limit.name, what: "burst", amount: limit.burst }]
      return limit.kind === "quota" ? [{ name: limit.name, what: "quota", amount: limit.limit }] : []
    })
    .toSorted((a, b) => a.amount - b.amount)[0]
}

function describe({ amount, name, what }: Amount): string {
  return `the ${what} of the limit "${name}" (${amount})`
}

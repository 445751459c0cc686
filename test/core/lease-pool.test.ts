/**
 * Goal: every stored limit that can be lent is in the pool of a call, and comes out of it as it has to be stored. Method:
 * pools of a few literal states.
 */
import { describe, expect, test } from "vitest"
import { createLeasePool, storedOf } from "../../src/core/lease/lease-pool.ts"
import type { NamedBucket, NamedQuota } from "../../src/core/limit/limit.ts"
import { settle } from "../../src/core/limit/gcra.ts"
import { settleQuota } from "../../src/core/limit/quota.ts"

const T0 = 1_790_000_000_000
const BUCKET: NamedBucket = { kind: "bucket", name: "client", burst: 10, rate: { count: 1, periodMs: 1000 } }
const QUOTA: NamedQuota = { kind: "quota", name: "hourly", limit: 100, unit: "hour", timezone: "UTC" }
const NOTHING = { buckets: {}, quotas: {} }
const STORED = {
  buckets: { old: settle(undefined, BUCKET, T0) },
  quotas: { past: { ...settleQuota(undefined, QUOTA, T0), used: 7 } },
}

describe("createLeasePool()", () => {
  test("createLeasePool() starts new limits as their configuration says", () => {
    const pool = createLeasePool(NOTHING, [{ ...BUCKET, initial: 4 }, QUOTA], T0)
    expect([pool["client"]?.available, pool["hourly"]?.available]).toEqual([4, 100])
  })

  test("createLeasePool() starts new limits with nothing when stored state was lost", () => {
    const pool = createLeasePool(NOTHING, [BUCKET, QUOTA], T0, T0 - 10)
    expect([pool["client"]?.available, pool["hourly"]?.available]).toEqual([0, 0])
  })

  test("createLeasePool() has every stored limit, whatever the call names", () => {
    expect(Object.keys(createLeasePool(STORED, [QUOTA], T0)).toSorted()).toEqual(["hourly", "old", "past"])
  })

  test("createLeasePool() has the limit as the kind that the call names", () => {
    const pool = createLeasePool(STORED, [{ ...QUOTA, name: "old" }], T0)
    expect(pool["old"]?.capacity).toBe(100)
  })

  test("createLeasePool() takes a limit called constructor for new", () => {
    expect(createLeasePool(NOTHING, [{ ...BUCKET, name: "constructor" }], T0)["constructor"]?.available).toBe(10)
  })
})

describe("storedOf()", () => {
  test("storedOf() returns what the pool was made from when nothing was done", () => {
    expect(storedOf(STORED, createLeasePool(STORED, [], T0))).toEqual(STORED)
  })

  test("storedOf() returns new limits by kind", () => {
    const { buckets, quotas } = storedOf(NOTHING, createLeasePool(NOTHING, [BUCKET, QUOTA], T0))
    expect([Object.keys(buckets), Object.keys(quotas)]).toEqual([["client"], ["hourly"]])
  })

  test("storedOf() keeps the bucket of a name that is a quota now", () => {
    const { buckets } = storedOf(STORED, createLeasePool(STORED, [{ ...QUOTA, name: "old" }], T0))
    expect(buckets).toEqual(STORED.buckets)
  })
})

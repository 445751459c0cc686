/**
 * Goal: asking again for a request that goes on extends exactly its own places and tells an open guard. Method: the real object.
 */
import { env } from "cloudflare:workers"
import { expect, test } from "vitest"
import type { GuardDemand } from "../../src/core/gate/gate-guards.ts"
import type { NamedConcurrency } from "../../src/core/limit/limit.ts"

const PLACES: NamedConcurrency = { kind: "concurrency", name: "places", maxConcurrent: 1, leaseTtlMs: 60_000 }
const GUARD: GuardDemand = {
  name: "door",
  config: {
    maxFailures: 3,
    failureDurationMs: 60_000,
    backoff: { kind: "lineal", durationMs: 60_000 },
    guardResetTimeoutMs: 60_000,
    inFlight: "optimistic",
    pendingTtlMs: 30_000,
    successPolicy: "reset",
  },
}
const TERMS = { limits: [PLACES], guards: [GUARD] }

async function admit(client: string, leaseId: string): Promise<boolean> {
  const object = env.CLIENT_GATE.getByName(client)
  const { admission } = await object.admit({ ...TERMS, cost: 1, admissionId: crypto.randomUUID(), leaseId })
  return admission.admitted
}

test("renew() extends the place of a request that holds one", async () => {
  expect(await admit("renew-held", "a")).toBe(true)
  expect(await env.CLIENT_GATE.getByName("renew-held").renew("a", TERMS)).toEqual({
    renewed: ["places"],
    openGuard: null,
  })
})

test("renew() gives no place to a request that has none, and takes none from another", async () => {
  const object = env.CLIENT_GATE.getByName("renew-none")
  expect(await admit("renew-none", "a")).toBe(true)
  expect((await object.renew("b", TERMS)).renewed).toEqual([])
  expect(await object.release("b")).toEqual([])
  expect(await object.release("a")).toEqual(["places"])
  expect((await object.renew("a", TERMS)).renewed).toEqual([])
})

test("renew() tells a guard that is open, until it is closed", async () => {
  const object = env.CLIENT_GATE.getByName("renew-guard")
  expect(await object.renew(null, TERMS)).toEqual({ renewed: [], openGuard: null })
  await object.administer(GUARD, { action: "block", durationMs: 60_000 })
  expect((await object.renew(null, TERMS)).openGuard).toBe("door")
  await object.administer(GUARD, { action: "unblock" })
  expect((await object.renew(null, TERMS)).openGuard).toBeNull()
})

test("renew() creates nothing in the object of a key that is not known", async () => {
  const object = env.CLIENT_GATE.getByName("renew-unknown")
  await object.renew(null, TERMS)
  expect((await object.inspect()).guards).toEqual([])
})

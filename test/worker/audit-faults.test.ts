/**
 * Goal: LOG-10 INV-7 INV-8: whatever happens in whatever order, what a trail has said it took reaches the sink, each fact once, in a
 * chain that holds. Method: seeded runs of appends, lost answers, aborts, evictions, failing storage, lost, early and doubled
 * alarms, over a sink that keeps changing its mind; then everything works again, and the sink's lines are compared with what was
 * acknowledged. A seed that fails is in the name of its test.
 */
import { abortAllDurableObjects, evictDurableObject, runInDurableObject } from "cloudflare:test"
import { afterEach, beforeEach, expect, test, vi } from "vitest"
import type { AuditTrailObject } from "../../durable-objects/audit-trail.ts"
import { AUDIT_RETRY_MS_MAX } from "../../src/core/bounds.ts"
import { draft, recordsOf, sentLines, sinkUrl, sql, trailObject, verify, waitingLines, endpoint } from "./audit.ts"
import { setAuditSinks } from "./harness.ts"

const STEPS = 60
const BEHAVIOURS = ["200", "200", "204", "503", "429-5", "400", "reset", "cut", "endless"]

beforeEach(() => {
  // Alarms come when a run says so.
  vi.useFakeTimers({ toFake: ["Date"], now: Date.UTC(2036, 0, 1) })
  vi.spyOn(console, "error").mockImplementation(() => {})
  // A request that an abort has cut off is given up sooner than a sink is on the platform.
  const timeout = AbortSignal.timeout.bind(AbortSignal)
  vi.spyOn(AbortSignal, "timeout").mockImplementation(() => timeout(250))
})
afterEach(() => {
  vi.useRealTimers()
})

/** Numerical Recipes' generator: small, and the same everywhere. Returns a number from 0 to `below` - 1. */
function createRandom(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

test.each(Array.from({ length: 12 }, (_, index) => index + 1))(
  "seed %i",
  async (seed) => {
    const random = createRandom(seed)
    const name = `faults-${seed}-${crypto.randomUUID().slice(0, 8)}`
    const told = new Set<string>()
    const tried = new Set<string>()
    let next = 0
    const useSink = (behaviour: string) => setAuditSinks([endpoint(sinkUrl(name, behaviour))])
    const append = async (ids: readonly number[]) => {
      const drafts = ids.map((id) => draft(`${id}`, id % 2 === 0 ? "intent" : "outcome"))
      for (const { id } of drafts) tried.add(id)
      try {
        if ((await trailObject(name).append(drafts)).kind === "appended") for (const { id } of drafts) told.add(id)
      } catch {
        // Not known: nothing may follow from it.
      }
    }
    const alarm = () =>
      runInDurableObject(trailObject(name), (instance: AuditTrailObject) => instance.alarm()).catch(() => {})
    const steps: readonly (() => Promise<unknown>)[] = [
      () => append([next++]),
      () => append([next++, next++, next++]),
      () => append([Math.max(0, next - 1 - random(5)), next++]),
      async () => Promise.all([append([next++]), append([next++, next - 2]), alarm()]),
      async () => Promise.all([append([next++]), abortAllDurableObjects().catch(() => {})]),
      async () => Promise.all([alarm(), abortAllDurableObjects().catch(() => {})]),
      // One that was aborted a moment ago does not run.
      () => evictDurableObject(trailObject(name)).catch(() => {}),
      alarm,
      async () => Promise.all([alarm(), alarm()]),
      async () => useSink(BEHAVIOURS[random(BEHAVIOURS.length)] ?? "200"),
      async () => void vi.setSystemTime(Date.now() + random(30_000)),
      async () => runInDurableObject(trailObject(name), (_, { storage }) => storage.deleteAlarm()),
      async () => {
        const table = ["head", "records", "ids", "positions"][random(4)] ?? "head"
        await sql(name, `CREATE TRIGGER full BEFORE INSERT ON ${table} BEGIN SELECT RAISE(ABORT, 'SQLITE_FULL'); END`)
        await append([next++])
        await alarm()
        await sql(name, "DROP TRIGGER full")
      },
    ]
    useSink("200")
    await append([next++])
    for (let i = 0; i < STEPS; i++) await steps[random(steps.length)]?.()

    useSink("200")
    await append([next++])
    for (let i = 0; i < 10 && (await waitingLines(name)).length > 0; i++) {
      vi.setSystemTime(Date.now() + AUDIT_RETRY_MS_MAX)
      await alarm()
    }
    expect(await waitingLines(name)).toEqual([])
    const lines = await sentLines(name)
    expect(await verify(lines)).toMatchObject([{ firstSeq: 1, fault: undefined, lost: 0 }])
    const arrived = new Map(recordsOf(lines).map(({ id, seq }) => [seq, id]))
    const ids = [...arrived.values()]
    expect(new Set(ids).size).toBe(ids.length)
    expect([...told].filter((id) => !ids.includes(id))).toEqual([])
    expect(ids.filter((id) => !tried.has(id))).toEqual([])
  },
  30_000,
)

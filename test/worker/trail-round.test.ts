/**
 * Goal: a trail that nobody writes to any more is delivered to the end. Method: cron runs of a day against objects that count, and one
 * against the real object of a trail whose alarm is gone.
 */
import { runInDurableObject } from "cloudflare:test"
import { env } from "cloudflare:workers"
import { expect, test, vi } from "vitest"
import { createEmbeddedDirectory } from "../../src/client-directory.ts"
import type { Config } from "../../src/config/config.ts"
import { GATEWAY_TRAIL } from "../../src/core/audit/audit-record.ts"
import { wakeTrails } from "../../src/trail-round.ts"
import { alarmOf, draft, trailObject, useSinks } from "./audit.ts"
import { createGateway } from "./harness.ts"

const DAY_START_MS = Date.UTC(2026, 10, 28)
const TRAILS = { SINKS: [{ kind: "ndjson", url: "http://127.0.0.1:9/", takes: ["audit"] }] }

/** Runs the cron every five minutes for a day. Returns whose trails were woken, in order. */
async function wakeDay(config: Config): Promise<readonly string[]> {
  const woken: string[] = []
  const getByName = (name: string) => ({ wake: async () => void woken.push(name) })
  const trails = { AUDIT_TRAIL: { getByName } as unknown as NonNullable<Env["AUDIT_TRAIL"]> }
  const context = { config, directory: createEmbeddedDirectory(config) }
  for (let minute = 0; minute < 1_440; minute += 5) await wakeTrails(context, trails, DAY_START_MS + minute * 60_000)
  return woken
}

test("every client's trail is woken once a day, and the gateway's own every hour", async () => {
  const { config } = createGateway(TRAILS)
  const woken = await wakeDay(config)
  expect(woken.filter((name) => name !== GATEWAY_TRAIL).toSorted()).toEqual(
    config.clients.map(({ id }) => id).toSorted(),
  )
  expect(woken.filter((name) => name === GATEWAY_TRAIL)).toHaveLength(24)
})

test("no trail is woken where no sink takes any", async () => {
  expect(await wakeDay(createGateway().config)).toEqual([])
})

test("what waits in a trail without an alarm has one again after a day", async () => {
  const { config } = createGateway(TRAILS)
  const [client] = config.clients
  const name = client?.id ?? ""
  useSinks("503")
  await trailObject(name).append([draft("a")])
  await runInDurableObject(trailObject(name), (_, { storage }) => storage.deleteAlarm())
  const context = { config, directory: createEmbeddedDirectory(config) }
  for (let hour = 0; hour < 24; hour++) await wakeTrails(context, env, DAY_START_MS + hour * 3_600_000)
  await vi.waitUntil(async () => (await alarmOf(name)) !== null)
})

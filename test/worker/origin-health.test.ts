/**
 * Goal: the gateway knows which origin answers badly too often, and every request is forwarded all the same. Method: a real
 * origin that answers as its path says, and a clock that the test moves.
 */
import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test"
import { env } from "cloudflare:workers"
import { expect, test, vi } from "vitest"
import { required } from "../../src/context.ts"
import { createAccessLogStage } from "../../src/observe/access-log.ts"
import { createStagedApplication } from "../../src/chain.ts"
import { createEmbeddedDirectory } from "../../src/client-directory.ts"
import { createOriginHealth } from "../../src/origin/origin-health.ts"
import { createGateway, createRequest, fixtures, writtenLines } from "./harness.ts"

const CLOSED = { ORIGINS: { stub: { url: `http://127.0.0.1:${fixtures.closedPort}` } } }

test("an origin that nobody has asked is healthy", () => {
  expect(createOriginHealth(() => 0).isUnhealthy("bank", 0)).toBe(false)
})

test("one origin's failures say nothing about another", () => {
  const health = createOriginHealth(() => 0)
  const bank = { ...required(createGateway().config.origins[0], "origin"), name: "bank" }
  for (let i = 0; i < 5; i++) health.record(bank, { index: 0, startedMs: 0, probeId: undefined }, "failure", 0)
  expect([health.isUnhealthy("bank", 0), health.isUnhealthy("ledger", 0)]).toEqual([true, false])
})

test("five answers with 503 make an origin unhealthy, and one block later it is healthy again", async () => {
  const { gateway, clock } = createScene()
  for (let i = 0; i < 4; i++) await gateway.fetch({ target: "/public/503" })
  expect(gateway.originHealth.isUnhealthy("stub", clock.nowMs)).toBe(false)
  await gateway.fetch({ target: "/public/503" })
  expect(gateway.originHealth.isUnhealthy("stub", clock.nowMs)).toBe(true)
  clock.nowMs += 9_999
  expect(gateway.originHealth.isUnhealthy("stub", clock.nowMs)).toBe(true)
  clock.nowMs += 1
  expect(gateway.originHealth.isUnhealthy("stub", clock.nowMs)).toBe(false)
})

test("an origin that cannot be reached becomes unhealthy", async () => {
  const { gateway, clock } = createScene(CLOSED)
  for (let i = 0; i < 5; i++) await gateway.fetch()
  expect(gateway.originHealth.isUnhealthy("stub", clock.nowMs)).toBe(true)
})

test("an origin that stays silent until the deadline becomes unhealthy", async () => {
  const { gateway, clock } = createScene((name) => ({
    ORIGINS: { stub: { url: `http://127.0.0.1:${fixtures.originPort}/${name}`, timeout: "20ms" } },
  }))
  await Promise.all(Array.from({ length: 5 }, () => gateway.fetch({ target: "/public/silent" })))
  expect(gateway.originHealth.isUnhealthy("stub", clock.nowMs)).toBe(true)
})

test("callers that leave say nothing about the origin", async () => {
  const { gateway, clock } = createScene()
  for (let i = 0; i < 6; i++) {
    const caller = new AbortController()
    const pending = gateway.fetch({ target: "/public/silent", signal: caller.signal })
    await vi.waitUntil(async () => (await gateway.originRequests()).length === i + 1)
    caller.abort()
    expect((await pending).status).toBe(499)
  }
  expect(gateway.originHealth.isUnhealthy("stub", clock.nowMs)).toBe(false)
})

test("a good answer in between keeps an origin healthy", async () => {
  const { gateway, clock } = createScene()
  for (const name of ["503", "503", "503", "503", "x", "503"]) {
    await gateway.fetch({ target: `/public/${name}` })
    clock.nowMs += 1
  }
  expect(gateway.originHealth.isUnhealthy("stub", clock.nowMs)).toBe(false)
})

test("an unhealthy origin is asked like any other", async () => {
  const { gateway, clock } = createScene()
  for (let i = 0; i < 5; i++) await gateway.fetch({ target: "/public/503" })
  expect(gateway.originHealth.isUnhealthy("stub", clock.nowMs)).toBe(true)
  expect((await gateway.fetch({ target: "/public/x" })).status).toBe(200)
})

test.each([
  [true, true],
  [undefined, undefined],
] as const)("the event of a request whose origin is unhealthy (%s) says so (%s)", async (originUnhealthy, written) => {
  const application = createStagedApplication([
    createAccessLogStage(
      {
        config: createGateway().config,
        trust: { kind: "nobody" },
        nowMs: () => 1_798_761_600_000,
        fillRandom: (octets) => octets,
        originHealth: createOriginHealth(() => 0),
        directory: createEmbeddedDirectory(createGateway().config),
      },
      undefined,
      { note: () => {} },
    ),
    (c) => {
      if (originUnhealthy !== undefined) c.get("exchange").originUnhealthy = originUnhealthy
      return c.body(null, 204)
    },
  ])
  const ctx = createExecutionContext()
  await application.fetch(createRequest(), env, ctx)
  await waitOnExecutionContext(ctx)
  expect(writtenLines().map((line) => (JSON.parse(line) as Record<string, unknown>)["origin_unhealthy"])).toEqual([
    written,
  ])
})

function createScene(overrides: Parameters<typeof createGateway>[0] = {}) {
  const clock = { nowMs: Date.now() }
  return { clock, gateway: createGateway(overrides, { nowMs: () => clock.nowMs }) }
}

/**
 * Goal: the gateway is the pipeline as it is listed, and a fault of its own tells the caller nothing. Method: faults
 * injected where stages meet the outside world.
 */
import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test"
import { env, exports } from "cloudflare:workers"
import { expect, test } from "vitest"
import { createEmbeddedDirectory } from "../../src/client-directory.ts"
import { createApplication, createStages } from "../../src/gateway.ts"
import { createOriginHealth } from "../../src/origin/origin-health.ts"
import { PIPELINE } from "../../src/pipeline.ts"
import { resolveTrust } from "../../src/platform.ts"
import { createGateway, createRequest, expectRefusal, writtenLines } from "./harness.ts"

test("createStages() returns the stages in the order of the pipeline", () => {
  const stages = createStages({
    config: createGateway().config,
    trust: { kind: "nobody" },
    nowMs: () => 0,
    fillRandom: (octets) => octets,
    originHealth: createOriginHealth(() => 0),
    directory: createEmbeddedDirectory(createGateway().config),
  })
  const names = stages.map(({ name }) => name)
  expect(names.map((name) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`))).toEqual(
    PIPELINE.map(({ stage }) => stage),
  )
})

test.each<readonly [string, number, unknown]>([
  ["certificate", 2, new Error("SECRET at file:///srv/x.ts")],
  ["certificate", 2, new DOMException("SECRET", "OperationError")],
])("PRX-18 an exception in stage %s is a 500 without details, and the event has its cause", async (_, call, thrown) => {
  let calls = 0
  const gateway = createGateway(
    {},
    {
      nowMs: () => {
        calls += 1
        if (calls === call) throw thrown
        return 1_798_761_600_000
      },
    },
  )
  const exchanged = await gateway.send()
  const problem = await expectRefusal(gateway, exchanged, {
    status: 500,
    code: "internal-error",
    reason: expect.stringContaining("SECRET") as string,
    event: { level: "error" },
  })
  expect(JSON.stringify([problem, [...exchanged.response.headers]])).not.toMatch(/SECRET|\.ts|Error:/)
})

test("the Worker's entry answers with the configuration of wrangler.toml", async () => {
  const response = await exports.default.fetch(
    new Request("http://localhost/healthz", { headers: { Host: "localhost" } }),
  )
  expect([response.status, await response.text()]).toEqual([200, "ok\n"])
})

test("HDR-07 the Worker's entry believes nobody unless it was told to", async () => {
  const response = await exports.default.fetch(createRequest({ host: "localhost", target: "/balance" }))
  expect(await response.json()).toMatchObject({ status: 401, code: "edge-assertion-invalid" })
  expect(writtenLines().filter((line) => line.includes("platform_not_declared"))).toHaveLength(1)
})

test.each([
  [{}, "nobody"],
  [{ PLATFORM: "cloudflare" }, "cloudflare"],
  [{ PLATFORM: "Cloudflare" }, "nobody"],
  [{ PLATFORM: "" }, "nobody"],
  [{ EDGE_KEY: "00".repeat(32) }, "edge"],
  [{ EDGE_KEY: "00".repeat(32), PLATFORM: "cloudflare" }, "edge"],
  [{ EDGE_KEY: "00".repeat(31), PLATFORM: "cloudflare" }, "nobody"],
  [{ EDGE_KEY: "", PLATFORM: "cloudflare" }, "nobody"],
])("resolveTrust() of %j is %s", (environment, kind) => {
  expect(resolveTrust(environment).kind).toBe(kind)
})

test("a gateway without a queue still answers and logs", async () => {
  const gateway = createGateway({ SINKS: [{ kind: "ndjson", url: "http://127.0.0.1:1/" }] })
  const { CLIENT_GATE } = env
  const application = createApplication({
    config: gateway.config,
    trust: { kind: "cloudflare" },
    nowMs: () => Date.now(),
    fillRandom: (octets) => crypto.getRandomValues(octets),
    originHealth: gateway.originHealth,
    directory: createEmbeddedDirectory(gateway.config),
  })
  const ctx = createExecutionContext()
  const response = await application.fetch(createRequest(), { CLIENT_GATE }, ctx)
  await waitOnExecutionContext(ctx)
  expect([response.status, writtenLines().length]).toEqual([200, 1])
})

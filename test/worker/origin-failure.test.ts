/**
 * Goal: an origin that does not answer costs a bounded time and tells the caller nothing about itself. Method: real
 * sockets that refuse, reset, talk nonsense or stay silent; deadlines of the smallest size that the configuration allows.
 */
import { describe, expect, test, vi } from "vitest"
import { createGateway, eventOf, expectRefusal, fixtures, type TestGateway } from "./harness.ts"

const INTERNALS = /127\.0\.0\.1|localhost|\d{5}|\.ts|at |stack|stub|fetch|abort/i

function originAt(url: string, timeout = "10s"): TestGateway {
  return createGateway({ ORIGINS: { stub: { url, timeout } } })
}

describe("PRX-18", () => {
  test.each([
    ["refuses connections", () => originAt(`http://127.0.0.1:${fixtures.closedPort}`)],
    ["speaks no TLS", () => originAt(`https://127.0.0.1:${fixtures.originPort}`)],
  ])("an origin that %s is a 502 without internals, with its cause in the event", async (_, create) => {
    const gateway = create()
    const exchanged = await gateway.send()
    const problem = await expectRefusal(gateway, exchanged, {
      status: 502,
      code: "origin-unreachable",
      reason: expect.stringMatching(/./) as string,
      event: { level: "error", origin: "stub" },
    })
    const { request_id: _id, instance: _instance, ...rest } = problem
    expect(JSON.stringify(rest)).not.toMatch(INTERNALS)
    expect([...exchanged.response.headers.keys()].toSorted()).toEqual([
      "cache-control",
      "content-security-policy",
      "content-type",
      "ratelimit",
      "ratelimit-policy",
      "x-content-type-options",
      "x-request-id",
    ])
  })

  test.each(["reset", "garbage"])(
    "an origin that answers with a %s is a 502, and a GET is asked twice",
    async (behaviour) => {
      const gateway = createGateway()
      const { response, event } = await gateway.send({ target: `/public/${behaviour}` })
      expect(await response.json()).toMatchObject({ status: 502, code: "origin-unreachable" })
      expect(event).toMatchObject({ outcome: "refused", level: "error", problem: "origin-unreachable" })
      expect(await gateway.originRequests()).toHaveLength(2)
    },
  )
})

test("PRX-11 an origin that stays silent is a 504 at the deadline, and the call of it ends", async () => {
  const gateway = createGateway((name) => ({
    ORIGINS: { stub: { url: `http://127.0.0.1:${fixtures.originPort}/${name}`, timeout: "50ms" } },
  }))
  const { response, event } = await gateway.send({ target: "/public/silent" })
  expect(await response.json()).toMatchObject({ status: 504, code: "origin-timeout" })
  expect(event).toMatchObject({ outcome: "refused", level: "error", status: 504, reason: "no_answer_in_50_ms" })
  expect(event.origin_ms).toBeGreaterThanOrEqual(50)
  await vi.waitUntil(async () => (await gateway.originRequests())[0]?.isAborted)
})

test("PRX-11 the deadline ends with the header: a slow body is not cut", async () => {
  const gateway = createGateway((name) => ({
    ORIGINS: { stub: { url: `http://127.0.0.1:${fixtures.originPort}/${name}`, timeout: "50ms" } },
  }))
  const { response, event } = await gateway.send({ target: "/public/halves" })
  await scheduler.wait(100)
  const reader = (response.body as ReadableStream<Uint8Array>).getReader()
  expect(new TextDecoder().decode((await reader.read()).value)).toBe("first;")
  await reader.cancel()
  expect(event.status).toBe(200)
})

test("PRX-12 a request without an answer is not sent again", async () => {
  const gateway = createGateway()
  await gateway.send({ method: "POST", target: "/public/reset", body: "once" })
  expect(await gateway.originRequests()).toHaveLength(1)
})

test("PRX-21 a caller that leaves before the answer ends the call of the origin", async () => {
  const gateway = createGateway()
  const caller = new AbortController()
  const pending = gateway.fetch({ target: "/public/silent", signal: caller.signal })
  await vi.waitUntil(async () => (await gateway.originRequests()).length === 1)
  caller.abort()
  expect(eventOf(await pending)).toMatchObject({ outcome: "aborted", status: 499, reason: "client_gone" })
  await vi.waitUntil(async () => (await gateway.originRequests())[0]?.isAborted)
})

test("PRX-21 a caller that has left before its turn reaches no origin", async () => {
  const gateway = createGateway()
  const { event } = await gateway.send({ signal: AbortSignal.abort() })
  expect(event.reason).toBe("client_gone")
  expect(await gateway.originRequests()).toEqual([])
})

test("PRX-21 a caller that leaves in mid-answer ends the call of the origin", async () => {
  const gateway = createGateway()
  const response = await gateway.fetch({ target: "/public/halves" })
  const reader = (response.body as ReadableStream<Uint8Array>).getReader()
  await reader.read()
  await reader.cancel()
  await vi.waitUntil(async () => (await gateway.originRequests())[0]?.isAborted)
})

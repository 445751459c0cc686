/**
 * Goal: a request goes on to another URL when one fails, as often as it may and never when it must not; URLs that fail too often
 * are skipped until one request finds them back. Method: a real origin that resets connections by room, a port where nobody
 * listens, a clock that the test moves, and a choice that always takes the first URL that can be asked.
 */
import { describe, expect, test, vi } from "vitest"
import { createGateway, eventOf, fixtures, type RequestParts, type TestGateway } from "./harness.ts"

const REFUSING = `http://127.0.0.1:${fixtures.closedPort}`
type Settings = Readonly<Record<string, unknown>>

/** A gateway whose origin has a URL for each of these rooms. */
function createScene(rooms: readonly string[], settings: Settings = {}) {
  const clock = { nowMs: Date.now() }
  const gateway = createGateway(
    (name) => ({
      LIMITS: { generous: { rate: "100000/s", burst: 100_000 } },
      ORIGINS: {
        stub: {
          urls: rooms.map((room) => ({
            url: room === "refusing" ? REFUSING : `http://127.0.0.1:${fixtures.originPort}/${name}/${room}`,
          })),
          ...settings,
        },
      },
    }),
    { nowMs: () => clock.nowMs },
  )
  return { gateway, clock }
}

async function statusOf(gateway: TestGateway, parts?: RequestParts): Promise<number> {
  const response = await gateway.fetch(parts)
  await response.body?.cancel()
  return response.status
}

/** Rooms that were asked, in order. */
async function askedRooms(gateway: TestGateway): Promise<readonly string[]> {
  return (await gateway.originRequests()).map(({ target }) => target.split("/")[1] ?? "")
}

describe("PRX-12 a request whose connection fails before the header", () => {
  test.each([
    ["GET", "down"],
    ["HEAD", "down"],
    ["OPTIONS", "down"],
    ["GET", "refusing"],
  ])("goes on to the next URL when it is a %s and the first is %s", async (method, room) => {
    const { gateway } = createScene([room, "up"])
    const { response, event } = await gateway.send({ method })
    expect(response.status).toBe(200)
    expect(event).toMatchObject({ outcome: "forwarded", origin_attempts: 2 })
    expect((await askedRooms(gateway)).filter((asked) => asked !== room)).toEqual(["up"])
  })

  test.each([
    ["POST", "pay"],
    ["POST", null],
    ["PUT", null],
    ["DELETE", null],
    ["PATCH", null],
  ])("is sent once when it is a %s with the body %s", async (method, body) => {
    const { gateway } = createScene(["down", "up"])
    const { response, event } = await gateway.send({ method, body })
    expect(await response.json()).toMatchObject({ status: 502, code: "origin-unreachable" })
    expect(event.origin_attempts).toBeUndefined()
    expect(await askedRooms(gateway)).toEqual(["down"])
  })

  test.each([
    ["PUT", null, 2],
    ["DELETE", null, 2],
    ["PUT", "content", 1],
    ["POST", null, 1],
  ])("where retry_idempotent is on, and it is a %s with the body %s, is sent %d times", async (method, body, times) => {
    const { gateway } = createScene(["down", "up"], { retry_idempotent: true })
    await gateway.send({ method, body })
    expect(await askedRooms(gateway)).toHaveLength(times)
  })

  test.each([0, 1, 2, 3])("is sent again at most %d times", async (retries) => {
    const { gateway } = createScene(["down"], { retries, breaker: false })
    const { response, event } = await gateway.send()
    expect(response.status).toBe(502)
    expect([(await askedRooms(gateway)).length, event.origin_attempts ?? 1]).toEqual([retries + 1, retries + 1])
  })
})

describe("PRX-12", () => {
  test("an answer that breaks off is not asked for again", async () => {
    const { gateway } = createScene(["up", "other"])
    const response = await gateway.fetch({ target: "/public/short" })
    await expect(response.arrayBuffer()).rejects.toThrow()
    expect(await askedRooms(gateway)).toEqual(["up"])
  })

  test("a 503 is handed on", async () => {
    const { gateway } = createScene(["up", "other"])
    const { response } = await gateway.send({ target: "/public/503" })
    expect([response.status, response.headers.get("retry-after"), await response.text()]).toEqual([
      503,
      "7",
      "maintenance",
    ])
    expect(await askedRooms(gateway)).toEqual(["up"])
  })

  test.each([
    [503, 2],
    [502, 1],
    [404, 1],
    [429, 1],
    [500, 1],
  ])("with retry_statuses = [503] a request that is answered with %d is sent %d times", async (status, times) => {
    const { gateway } = createScene(["up", "other"], { retry_statuses: [503] })
    const { response } = await gateway.send({ target: `/public/answer?status=${status}` })
    expect([response.status, await response.text()]).toEqual([status, "answered"])
    expect(await askedRooms(gateway)).toEqual(["up", "other"].slice(0, times))
  })

  test("a deadline is the deadline of all attempts: nothing is sent after it", async () => {
    const { gateway } = createScene(["up", "other"], { timeout: "50ms", retries: 3 })
    const { response, event } = await gateway.send({ target: "/public/silent" })
    expect(await response.json()).toMatchObject({ status: 504, code: "origin-timeout" })
    expect([event.reason, event.origin_attempts]).toEqual(["no_answer_in_50_ms", undefined])
    expect(await askedRooms(gateway)).toEqual(["up"])
  })

  test("nothing is sent again for a caller that has left", async () => {
    const { gateway } = createScene(["up", "other"], { retries: 3 })
    const caller = new AbortController()
    const pending = gateway.fetch({ target: "/public/silent", signal: caller.signal })
    await vi.waitUntil(async () => (await gateway.originRequests()).length === 1)
    caller.abort()
    const event = eventOf(await pending)
    expect([event.reason, event.origin_attempts]).toEqual(["client_gone", undefined])
    expect(await askedRooms(gateway)).toEqual(["up"])
  })

  test("retries are a tenth of the requests beside what is saved, however all of them fail", async () => {
    const { gateway } = createScene(["down"], { breaker: false, retries: 3 })
    for (let i = 0; i < 40; i += 1) await statusOf(gateway)
    // The last of what is saved is spent within the first requests; from then on ten earn one.
    expect((await askedRooms(gateway)).length).toBeGreaterThan(40)
    expect((await askedRooms(gateway)).length).toBeLessThanOrEqual(40 + 10 + 4)
  })

  test("an origin that flaps sees no POST twice, and at most a tenth more of the others", async () => {
    const { gateway } = createScene(["flapping"], { breaker: false })
    for (let i = 0; i < 60; i += 1) {
      await statusOf(gateway, { target: `/public/get-${i}` })
      if (i % 3 === 0) await statusOf(gateway, { method: "POST", target: `/public/post-${i}`, body: "pay" })
    }
    const requests = await gateway.originRequests()
    const posts = requests.filter(({ method }) => method === "POST").map(({ target }) => target)
    expect(posts).toHaveLength(20)
    expect(new Set(posts).size).toBe(20)
    expect(requests.length).toBeLessThanOrEqual(80 + 8 + 10)
  })
})

describe("the breaker of a URL", () => {
  test("skips it after five failures, and the others serve", async () => {
    const { gateway } = createScene(["down", "up"])
    const statuses = []
    for (let i = 0; i < 8; i += 1) statuses.push(await statusOf(gateway))
    expect(statuses).toEqual(Array.from({ length: 8 }, () => 200))
    expect((await askedRooms(gateway)).filter((room) => room === "down")).toHaveLength(5)
  })

  test("leaves the origin healthy while another URL serves", async () => {
    const { gateway, clock } = createScene(["down", "up"])
    for (let i = 0; i < 8; i += 1) await statusOf(gateway)
    expect(gateway.originHealth.isUnhealthy("stub", clock.nowMs)).toBe(false)
  })

  const BREAKER = { failures: 2, window: "10s", open: "3s" }

  test("of the only one refuses with the rest of the block, and asks nobody", async () => {
    const { gateway, clock } = createScene(["down"], { retries: 0, breaker: BREAKER })
    for (let i = 0; i < 2; i += 1) await statusOf(gateway)
    clock.nowMs += 500
    const { response, event } = await gateway.send()
    expect(await response.json()).toMatchObject({ status: 503, code: "service-unavailable" })
    expect(response.headers.get("retry-after")).toBe("3")
    expect(event).toMatchObject({ outcome: "refused", reason: "breaker_open", origin_unhealthy: true })
    expect(await askedRooms(gateway)).toHaveLength(2)
  })

  test("that the operator has not asked for refuses nothing", async () => {
    const { gateway } = createScene(["down"], { retries: 0 })
    for (let i = 0; i < 8; i += 1) expect(await statusOf(gateway)).toBe(502)
    expect(await askedRooms(gateway)).toHaveLength(8)
  })

  test("lets one request at a time find out whether it is back", async () => {
    const { gateway, clock } = createScene(["up"], { retries: 0, breaker: BREAKER })
    for (let i = 0; i < 2; i += 1) await statusOf(gateway, { target: "/public/503" })
    clock.nowMs += 3_000
    const caller = new AbortController()
    const probe = gateway.fetch({ target: "/public/silent", signal: caller.signal })
    await vi.waitUntil(async () => (await gateway.originRequests()).length === 3)
    expect(eventOf(await gateway.fetch())).toMatchObject({ status: 503, reason: "breaker_open" })
    caller.abort()
    await probe
    // Whoever left has found nothing out: the next one does, and those behind it pass.
    expect([await statusOf(gateway), await statusOf(gateway)]).toEqual([200, 200])
  })

  test("opens again when that request fails", async () => {
    const { gateway, clock } = createScene(["down"], { retries: 0, breaker: BREAKER })
    for (let i = 0; i < 2; i += 1) await statusOf(gateway)
    clock.nowMs += 3_000
    expect([await statusOf(gateway), await statusOf(gateway)]).toEqual([502, 503])
  })

  test("leaves a backup alone until no other can be asked", async () => {
    const clock = { nowMs: Date.now() }
    const gateway = createGateway(
      (name) => ({
        ORIGINS: {
          stub: {
            urls: ["backup", "down"].map((room) => ({
              url: `http://127.0.0.1:${fixtures.originPort}/${name}/${room}`,
              backup: room === "backup",
            })),
            retries: 0,
            breaker: BREAKER,
          },
        },
      }),
      { nowMs: () => clock.nowMs },
    )
    const statuses = [await statusOf(gateway), await statusOf(gateway), await statusOf(gateway)]
    expect(statuses).toEqual([502, 502, 200])
    expect(await askedRooms(gateway)).toEqual(["down", "down", "backup"])
  })
})

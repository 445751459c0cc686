/**
 * Goal: the failure table. Whatever part is down, a caller gets an answer that says so, or a transfer that visibly broke, and
 * never waits for nothing; what the others need of the gateway goes on.
 * Method: one road whose parts are ended one after another, worst last. Origins of the test's own tell when a request has
 * arrived, so that a part dies exactly while requests run.
 */
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import { request as startRequest } from "node:https"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { startSink, type Sink } from "../../examples/sink/server.ts"
import { childrenOf, readFirstChunk, startOrigin, startRoad, type Origin, type Road } from "./road.ts"

const ORIGIN_TIMEOUT_MS = 400
const PAYMENT = JSON.stringify({ amount: 1, currency: "JPY", to: "globex-operating", reference: "failures" })

let steady: Origin
let mortal: Origin
let road: Road
let secondSink: Sink | undefined

beforeAll(async () => {
  // Neither answers by itself: the test does, or nobody.
  steady = await startOrigin(() => {})
  mortal = await startOrigin(() => {})
  road = await startRoad({
    overrides: {
      ORIGINS: {
        bank: { url: "http://127.0.0.1:9000", timeout: `${ORIGIN_TIMEOUT_MS}ms` },
        steady: { url: steady.url },
        mortal: { url: mortal.url },
      },
      LIMITS: { standard: { rate: "1000/s", burst: 1_000 }, payments: { rate: "1/h", burst: 3 } },
      ROUTES_OWN: [
        { prefix: "/steady", origin: "steady", limits: "standard" },
        { prefix: "/mortal", origin: "mortal", limits: "standard" },
      ],
    },
    // One second is the shortest wait between two deliveries of the queue that is none.
    edit: (toml) => toml.replace("retry_delay = 5", "retry_delay = 1"),
  })
})
afterAll(async () => {
  await road?.close()
  await secondSink?.close()
  await steady?.close()
  await mortal?.close()
})

/** Starts a call and resolves once the origin has it. */
async function callAt(origin: Origin, path: string) {
  const arrival = origin.arrival()
  const answered = road.call(path, { as: "acme" })
  const [request, response] = await arrival
  return { answered, request, response }
}

/** Starts a request that the test itself will break off, under an id that the record can be searched for. */
async function open(path: string, id: string, fields: Readonly<Record<string, string>> = {}, method = "GET") {
  const outgoing = startRequest({
    ...(await road.identity("acme")),
    host: "127.0.0.1",
    servername: "localhost",
    port: road.port,
    path,
    method,
    headers: { Host: "localhost", "X-Request-Id": id, ...fields },
    agent: false,
  })
  outgoing.on("error", () => {})
  return outgoing
}

describe("the origin", () => {
  test("that never answers is answered 504 at the configured timeout", async () => {
    const startedMs = performance.now()
    const answer = await road.call("/slow?ms=60000", { as: "acme" })
    expect([answer.status, answer.code]).toEqual([504, "origin-timeout"])
    expect(performance.now() - startedMs).toBeLessThan(ORIGIN_TIMEOUT_MS + 2_000)
    const event = await road.eventOf(answer.id)
    expect(event).toMatchObject({ level: "error", origin: "bank", reason: `no_answer_in_${ORIGIN_TIMEOUT_MS}_ms` })
    expect(Number(event["origin_ms"])).toBeGreaterThanOrEqual(ORIGIN_TIMEOUT_MS - 1)
  })

  test("that resets the connection before its header is answered 502", async () => {
    const answer = await road.call("/failing", { as: "acme" })
    expect([answer.status, answer.code]).toEqual([502, "origin-unreachable"])
    expect(await road.eventOf(answer.id)).toMatchObject({ problem: "origin-unreachable", origin: "bank" })
  })

  test("that breaks off inside its body breaks the caller's transfer, also one without a length", async () => {
    const withLength = await road.call("/failing?after=headers", { as: "acme" })
    const { answered, response } = await callAt(steady, "/steady/chunked")
    response.write("begun", () => response.socket?.resetAndDestroy())
    const chunked = await answered
    expect([withLength.status, withLength.isComplete]).toEqual([200, false])
    expect([chunked.status, chunked.isComplete]).toEqual([200, false])
  })

  test("that dies while requests run is answered 502, those requests and the next ones", async () => {
    const running = []
    for (let index = 0; index < 3; index++) running.push((await callAt(mortal, `/mortal/${index}`)).answered)
    await mortal.close()
    const answers = [...(await Promise.all(running)), await road.call("/mortal/next", { as: "acme" })]
    expect(answers.map(({ status, code }) => [status, code])).toEqual(answers.map(() => [502, "origin-unreachable"]))
    for (const { id } of answers) {
      expect(await road.eventOf(id)).toMatchObject({
        outcome: "refused",
        problem: "origin-unreachable",
        level: "error",
      })
    }
  })

  test("that is dead does not touch routes to others", async () => {
    expect((await road.call("/balance", { as: "acme" })).status).toBe(200)
  })
})

describe("the caller", () => {
  test("that leaves inside its body takes the origin's request along, and the gateway lives", async () => {
    const arrival = steady.arrival()
    const outgoing = await open("/steady/upload", "leaves-upload", { "Content-Length": "1000000" }, "POST")
    outgoing.write("x".repeat(1_000))
    const [request] = await arrival
    const isAborted = new Promise<boolean>((done) => request.once("error", () => done(!request.complete)))
    request.resume()
    outgoing.destroy()
    expect(await isAborted).toBe(true)
    expect(await road.eventOf("leaves-upload")).toMatchObject({ client_id: "acme", outcome: "aborted", status: 499 })
    expect((await road.call("/balance", { as: "acme" })).status).toBe(200)
  })

  test("that leaves inside the answer takes the origin's answer along, and the gateway lives", async () => {
    const arrival = steady.arrival()
    const outgoing = await open("/steady/download", "leaves-download")
    const firstChunk = readFirstChunk(outgoing)
    outgoing.end()
    const [, response] = await arrival
    response.write("x".repeat(1_000))
    await firstChunk
    const closed = once(response, "close")
    outgoing.destroy()
    // The origin learns it at the latest when it writes on.
    const writing = setInterval(() => response.write("x".repeat(1_000)), 10)
    await closed
    clearInterval(writing)
    expect(await road.eventOf("leaves-download")).toMatchObject({ status: 200, outcome: "forwarded" })
    expect((await road.call("/balance", { as: "acme" })).status).toBe(200)
  })

  test("that leaves while it waits takes the origin's request along and is on the record", async () => {
    const arrival = steady.arrival()
    const outgoing = await open("/steady/wait", "leaves-waiting")
    outgoing.end()
    const [, response] = await arrival
    const closed = once(response, "close")
    const leftMs = performance.now()
    outgoing.destroy()
    await closed
    // Long before the origin's own timeout of 10 s.
    expect(performance.now() - leftMs).toBeLessThan(5_000)
    expect(await road.eventOf("leaves-waiting")).toMatchObject({ client_id: "acme", outcome: "aborted", status: 499 })
    expect((await road.call("/balance", { as: "acme" })).status).toBe(200)
  })
})

test("without the sink requests pass, and their events arrive when it is back", async () => {
  await road.stopSink()
  const answers = [await road.call("/balance", { as: "acme" }), await road.call("/balance")]
  expect(answers.map(({ status }) => status)).toEqual([200, 401])
  await road.noticeOf(/sink_unavailable/)
  const port = Number(new URL(road.sinkUrl ?? "").port)
  secondSink = await startSink({ host: "127.0.0.1", port, onRecord: road.record })
  const events = await Promise.all(answers.map(({ id }) => road.eventOf(id)))
  expect(events.map(({ status }) => status)).toEqual([200, 401])
})

test.skipIf(process.platform === "win32")(
  "REL-14 without workerd nothing hangs, it is back within 5 s, and a spent limit is still spent",
  async () => {
    const pay = () =>
      road.call("/payments", {
        as: "acme",
        method: "POST",
        headers: { "Content-Type": "application/json", "Idempotency-Key": `"${randomUUID()}"` },
        body: PAYMENT,
      })
    const before = [await pay(), await pay(), await pay(), await pay()]
    expect(before.map(({ status }) => status)).toEqual([201, 201, 201, 429])
    const running = []
    for (let index = 0; index < 3; index++) running.push((await callAt(steady, `/steady/${index}`)).answered)
    const [pid = 0] = childrenOf("workerd")
    const isBack = road.noticeOf(/started again/)
    const killedMs = performance.now()
    process.kill(pid, "SIGKILL")
    const answers = await Promise.allSettled(running)
    for (const answer of answers) {
      if (answer.status === "fulfilled" && answer.value.isComplete) expect([502, 503]).toContain(answer.value.status)
    }
    const next = road.call("/balance", { as: "acme" })
    await isBack
    expect([200, 502, 503]).toContain((await next).status)
    expect((await road.call("/balance", { as: "acme" })).status).toBe(200)
    expect(performance.now() - killedMs).toBeLessThan(5_000)
    const after = await pay()
    expect([after.status, after.code]).toEqual([429, "rate-limited"])
    expect(childrenOf("workerd")).toHaveLength(1)
  },
)

test("close() lets a request in flight finish, takes no new one and leaves no process behind", async () => {
  const { answered, response } = await callAt(steady, "/steady/last")
  const closed = road.close()
  await expect(road.call("/balance", { as: "acme" })).rejects.toThrow(/ECONNREFUSED|ECONNRESET|socket/)
  response.end("done")
  expect(await answered).toMatchObject({ status: 200, body: "done", isComplete: true })
  await closed
  expect(childrenOf("workerd")).toEqual([])
})

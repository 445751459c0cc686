/**
 * Goal: acceptance attacks on limits and guards that need the whole road: several addresses, several clients, real load.
 * Method: one road with an origin of the test's own. Loads are sent by a schedule that waits for no answer; what is asserted
 * is who was answered what and what the record says, never how long it took.
 */
import { setTimeout as delay } from "node:timers/promises"
import { Agent } from "node:https"
import { afterAll, beforeAll, expect, test } from "vitest"
import { startOrigin, startRoad, type Answer, type Certificate, type Origin, type Road } from "./road.ts"

const RATE_PER_SECOND = 10
const BURST = 10
const LOAD_SECONDS = 3

let origin: Origin
let road: Road

beforeAll(async () => {
  origin = await startOrigin((request, response) => {
    response.statusCode = request.url?.startsWith("/guess") === true ? 401 : 200
    response.end("ok")
  })
  road = await startRoad({
    overrides: {
      ORIGINS: { bank: { url: "http://127.0.0.1:9000" }, own: { url: origin.url } },
      LIMITS: {
        standard: { rate: "1000/s", burst: 1_000 },
        payments: { rate: "1/s", burst: 3 },
        narrow: { rate: `${RATE_PER_SECOND}/s`, burst: BURST },
      },
      GUARDS: {
        credentials: { max_failures: 5, failure_duration: "10m", backoff: { kind: "lineal", duration: "10m" } },
      },
      ROUTES_OWN: [
        { prefix: "/narrow", origin: "own", limits: "narrow" },
        { prefix: "/guess", origin: "own", limits: "standard", guard: "credentials" },
      ],
    },
  })
})
afterAll(async () => {
  await road?.close()
  await origin?.close()
})

/** Sends so many requests per second, whatever becomes of them, and returns all answers in order of sending. */
async function load(as: Certificate, path: string, perSecond: number): Promise<readonly Answer[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 16 })
  const startedMs = performance.now()
  const answers: Promise<Answer>[] = []
  for (let index = 0; index < perSecond * LOAD_SECONDS; index++) {
    await delay(Math.max(0, startedMs + (1_000 * index) / perSecond - performance.now()))
    answers.push(road.call(path, { as, agent }))
  }
  const settled = await Promise.all(answers)
  agent.destroy()
  return settled
}

/** Returns how often each value occurs. */
function tally(values: readonly unknown[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const value of values) counts[String(value)] = (counts[String(value)] ?? 0) + 1
  return counts
}

test("LIM-11 a client at twenty times its rate is refused, and another at half of its own is not", async () => {
  const startedMs = performance.now()
  const [hot, calm] = await Promise.all([
    load("acme", "/narrow/hot", 20 * RATE_PER_SECOND),
    load("globex", "/narrow/calm", RATE_PER_SECOND / 2),
  ])
  const elapsedMs = performance.now() - startedMs
  expect(tally(calm.map(({ status }) => status))).toEqual({ 200: calm.length })
  const codes = tally(hot.map(({ status, code }) => `${status} ${code}`))
  expect(Object.keys(codes).toSorted((a, b) => a.localeCompare(b))).toEqual(["200 undefined", "429 rate-limited"])
  const admitted = hot.filter(({ status }) => status === 200).length
  expect(admitted).toBeLessThanOrEqual(BURST + (RATE_PER_SECOND * elapsedMs) / 1_000)
})

// Only Linux answers on all of 127.0.0.0/8.
test.skipIf(process.platform !== "linux")(
  "GRD-04 five failures from five addresses block the client at a sixth, and the isolate remembers it",
  async () => {
    const guess = (address: number) =>
      road.send("GET /guess/pin HTTP/1.1", ["Host: localhost"], { as: "globex", localAddress: `127.0.0.${address}` })
    const failures = []
    for (let address = 11; address <= 15; address++) failures.push(await guess(address))
    expect(failures.map(({ statuses }) => statuses)).toEqual(failures.map(() => [401]))
    const reached = origin.requests.length
    const refused = await guess(16)
    expect([refused.statuses, refused.code]).toEqual([[429], "client-blocked"])
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(590)
    const flood = []
    for (let address = 17; address <= 36; address++) flood.push(await guess(address))
    expect(flood.map(({ code }) => code)).toEqual(flood.map(() => "client-blocked"))
    expect(origin.requests.length).toBe(reached)
    const events = await Promise.all(flood.map(({ id }) => road.eventOf(id)))
    expect(tally(events.map((event) => event["gate"]))["asked"] ?? 0).toBeLessThanOrEqual(2)
  },
)

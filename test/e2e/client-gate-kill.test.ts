/**
 * Goal: REL-14: however often workerd dies under load, no window of time sees more requests at the origin than burst
 * and rate allow for it.
 * Method: callers that send as fast as they are answered, workerd ended by SIGKILL while isolates hold leased tokens, and an
 * origin that notes when a request has arrived. When a request was admitted is not known to the millisecond, but that it was
 * between the moment when its caller sent it and the moment when the origin had it, both by the clock of this process. So
 * what was sent after x and had arrived by y was admitted between x and y, and is counted without any allowance.
 */
import { Agent, request as startRequest } from "node:https"
import { afterAll, beforeAll, expect, test } from "vitest"
import { childrenOf, readAnswer, startOrigin, startRoad, type Origin, type Road } from "./road.ts"

/** It takes far longer to refill than workerd to come back: an object that forgets would give a second burst. */
const BURST = 50
const RATE_PER_SECOND = 4
const CALLERS = 8
/** Decisions after which workerd is killed, counted from the time before: in the middle of a lease, and when all is spent. */
const KILL_AFTER = [40, 60, 60, 10, 60]
/** Decisions to wait for after the last one. */
const REST = 60

/** A request that the origin got: when it was sent and when it had arrived, in ms of this process. */
interface Arrival {
  readonly sentMs: number
  readonly arrivedMs: number
}

const sentMs: number[] = []
const arrivals: Arrival[] = []
const statuses = new Map<number, number>()
let origin: Origin
let road: Road
let decisions = 0
let onDecision: () => void = () => {}

beforeAll(async () => {
  origin = await startOrigin((request, response) => {
    const sent = sentMs[Number(/\d+$/.exec(request.url ?? "")?.[0])]
    arrivals.push({ sentMs: sent ?? Number.NaN, arrivedMs: performance.now() })
    response.end("ok")
  })
  road = await startRoad({
    overrides: {
      ORIGINS: { bank: { url: "http://127.0.0.1:9000" }, own: { url: origin.url } },
      LIMITS: {
        standard: { rate: "10/s", burst: 20 },
        payments: { rate: "1/s", burst: 3 },
        narrow: { rate: `${RATE_PER_SECOND}/s`, burst: BURST },
      },
      ROUTES_OWN: [{ prefix: "/narrow", origin: "own", limits: "narrow" }],
    },
  })
})
afterAll(async () => {
  await road?.close()
  await origin?.close()
})

/** Resolves when the gateway has admitted or refused this many more requests. */
function decided(count: number): Promise<void> {
  const enough = decisions + count
  return new Promise((done) => {
    onDecision = () => {
      if (decisions >= enough) done()
    }
  })
}

/** Calls until told to stop. A call that fails has no status: the gateway was not there. */
async function callOn(signal: AbortSignal): Promise<void> {
  const identity = await road.identity("acme")
  const agent = new Agent({ ...identity, keepAlive: true, maxSockets: 1 })
  const target = { agent, host: "127.0.0.1", port: road.port, servername: "localhost", headers: { Host: "localhost" } }
  while (!signal.aborted) {
    const index = sentMs.push(performance.now()) - 1
    const sent = startRequest({ ...target, path: `/narrow/${index}` }).end()
    const answer = await readAnswer(sent).catch(() => undefined)
    const status = answer?.status ?? 0
    statuses.set(status, (statuses.get(status) ?? 0) + 1)
    if (status !== 200 && status !== 429) continue
    decisions += 1
    onDecision()
  }
  agent.destroy()
}

/** Returns the most that any window saw beyond what the rate gives in it: to be at most the burst. */
function worstExcess(requests: readonly Arrival[]): number {
  const inOrder = requests.toSorted((a, b) => a.arrivedMs - b.arrivedMs)
  let worst = 0
  for (const { sentMs: startMs } of requests) {
    let count = 0
    for (const { sentMs: sent, arrivedMs } of inOrder) {
      if (sent < startMs) continue
      count += 1
      worst = Math.max(worst, count - (RATE_PER_SECOND * (arrivedMs - startMs)) / 1_000)
    }
  }
  return worst
}

test.skipIf(process.platform === "win32")(
  "REL-14 workerd that is killed five times under load lets no window exceed burst + rate x time",
  async () => {
    const stopped = new AbortController()
    const callers = Array.from({ length: CALLERS }, () => callOn(stopped.signal))
    const lives: number[] = []
    for (const count of KILL_AFTER) {
      const before = arrivals.length
      await decided(count)
      const [pid = 0] = childrenOf("workerd")
      const isBack = road.noticeOf(/started again/)
      process.kill(pid, "SIGKILL")
      lives.push(arrivals.length - before)
      await isBack
    }
    const before = arrivals.length
    await decided(REST)
    stopped.abort()
    await Promise.all(callers)
    lives.push(arrivals.length - before)
    const worst = worstExcess(arrivals)
    const spanMs = (arrivals.at(-1)?.arrivedMs ?? 0) - (sentMs[0] ?? 0)
    console.log(
      `${sentMs.length} sent, ${arrivals.length} admitted in ${spanMs.toFixed(0)} ms, by life ${lives.join(", ")}; ` +
        `answers ${JSON.stringify(Object.fromEntries(statuses))}; ` +
        `fullest window: rate x time + ${worst.toFixed(1)} of ${BURST}`,
    )
    expect(worst).toBeLessThanOrEqual(BURST)
    // The limit was reached, or nothing would have been shown.
    expect(statuses.get(429) ?? 0).toBeGreaterThan(0)
    expect(worst).toBeGreaterThan(BURST / 4)
  },
)

/**
 * An open loop: sends by a schedule that does not wait for answers, as clients do that do not know each other. Requests
 * travel in batches (`gate-driver.ts`), at most 200 of them per second.
 */
import { Agent, request } from "node:http"
import { setTimeout as delay } from "node:timers/promises"
import type { BatchReport } from "./batch-report.ts"

/** What a schedule came to. Counts are of requests. */
export interface Loop {
  readonly admitted: number
  readonly refused: number
  readonly failed: number
  /** Left out because too many batches had no answer yet: the machine is too slow for the schedule. */
  readonly skipped: number
  readonly elapsedMs: number
}

/** Whom to ask, and how. */
export interface LoopTarget {
  readonly url: URL
  readonly fields: Readonly<Record<string, string>>
  readonly agent: Agent
}

const BATCHES_PER_SECOND_MAX = 200
const BATCHES_IN_FLIGHT_MAX = 64

/** Returns connections for a loop. */
export function createLoopAgent(): Agent {
  return new Agent({ keepAlive: true, maxSockets: BATCHES_IN_FLIGHT_MAX })
}

/** Returns how many requests travel together at this many requests per second. */
export function batchSize(perSecond: number): number {
  return Math.ceil(perSecond / BATCHES_PER_SECOND_MAX)
}

/** Sends `perSecond` requests per second for `durationMs`, and returns when all of them are answered. */
export async function runLoop(target: LoopTarget, perSecond: number, durationMs: number): Promise<Loop> {
  const size = batchSize(perSecond)
  const intervalMs = (1_000 * size) / perSecond
  const inFlight = new Set<Promise<void>>()
  const sum = { admitted: 0, refused: 0, failed: 0, skipped: 0 }
  const startedMs = performance.now()
  for (let index = 0; index * intervalMs < durationMs; index++) {
    const waitMs = startedMs + index * intervalMs - performance.now()
    if (waitMs > 0) await delay(waitMs)
    if (inFlight.size >= BATCHES_IN_FLIGHT_MAX) {
      sum.skipped += size
      continue
    }
    const sent = sendBatch(target, size)
      .catch(() => ({ admitted: 0, refused: 0, failed: size }))
      .then(({ admitted, refused, failed }) => {
        sum.admitted += admitted
        sum.refused += refused
        sum.failed += failed
        return undefined
      })
    inFlight.add(sent)
    void sent.then(() => inFlight.delete(sent))
  }
  await Promise.all(inFlight)
  return { ...sum, elapsedMs: performance.now() - startedMs }
}

/** Sends one batch and returns its report. */
export function sendBatch(
  { url, fields, agent }: LoopTarget,
  size: number,
  more: Readonly<Record<string, string>> = {},
): Promise<BatchReport> {
  return new Promise((resolve, reject) => {
    const headers = { ...fields, ...more, "X-Bench-Requests": String(size) }
    const call = request(url, { agent, headers }, (response) => {
      const chunks: Buffer[] = []
      response.on("data", (chunk: Buffer) => chunks.push(chunk))
      response.on("error", reject)
      response.on("end", () => {
        if (response.statusCode === 200) resolve(JSON.parse(Buffer.concat(chunks).toString("utf8")) as BatchReport)
        else reject(new Error(`The driver answered ${response.statusCode}`))
      })
    })
    call.on("error", reject)
    call.end()
  })
}

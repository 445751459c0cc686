/**
 * A closed loop of keep-alive connections, and the CPU time of another process while it runs.
 */
import { Agent, request } from "node:http"
import { cpuUsOf } from "./process.ts"

/** One slice of load. Times are ms, CPU is microseconds per request of the measured process. */
export interface Slice {
  readonly cpuUs: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly errors: number
  /** Requests that were answered per second. */
  readonly perSecond: number
}

/** How a slice is sent where it is not as all the others. */
export interface SliceShape {
  /** How many requests are under way at a time; default {@link CONNECTIONS}. */
  readonly connections?: number
  /** Sent with POST; an answer of another length is an error. */
  readonly body?: Buffer
}

/** How many requests are under way at a time. */
export const CONNECTIONS = 16

/**
 * Sends `count` requests over {@link CONNECTIONS} connections and returns what they cost. A status other than 200 is an error.
 *
 * @param headers of every request, or what makes them for the request of this number
 */
export async function runSlice(
  url: URL,
  headers: Readonly<Record<string, string>> | ((index: number) => Readonly<Record<string, string>>),
  count: number,
  pid: number,
  { body, connections = CONNECTIONS }: SliceShape = {},
): Promise<Slice> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const latencies: number[] = []
  let sent = 0
  let errors = 0
  const before = cpuUsOf(pid)
  const beganMs = performance.now()
  await Promise.all(
    Array.from({ length: connections }, async () => {
      while (sent < count) {
        const index = sent++
        const startedMs = performance.now()
        const fields = typeof headers === "function" ? headers(index) : headers
        const isRight = await send(url, fields, agent, body).catch(() => false)
        latencies.push(performance.now() - startedMs)
        if (!isRight) errors += 1
      }
    }),
  )
  const perSecond = (1_000 * count) / (performance.now() - beganMs)
  const cpuUs = (cpuUsOf(pid) - before) / count
  agent.destroy()
  const [p50Ms = Number.NaN, p99Ms = Number.NaN] = percentiles(latencies, [0.5, 0.99])
  return { cpuUs, p50Ms, p99Ms, errors, perSecond }
}

/** Returns the numbers below which these shares of all of them lie; NaN when there are none. */
export function percentiles(numbers: readonly number[], shares: readonly number[]): readonly number[] {
  const sorted = numbers.toSorted((a, b) => a - b)
  return shares.map((share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN)
}

/** Sends a request and returns whether its answer has status 200, and the length of the body where one was sent. */
export function send(
  url: URL,
  headers: Readonly<Record<string, string>>,
  agent: Agent,
  body?: Buffer,
): Promise<boolean> {
  const method = body === undefined ? "GET" : "POST"
  const length = body === undefined ? {} : { "Content-Length": String(body.length) }
  return new Promise((resolve, reject) => {
    const call = request(url, { agent, method, headers: { ...headers, ...length } }, (response) => {
      let octets = 0
      response.on("data", (chunk: Buffer) => (octets += chunk.length))
      response.on("end", () => resolve(response.statusCode === 200 && (body === undefined || octets === body.length)))
      response.on("error", reject)
    })
    call.on("error", reject)
    call.end(body)
  })
}

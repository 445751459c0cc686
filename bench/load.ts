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
): Promise<Slice> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS })
  const latencies: number[] = []
  let sent = 0
  let errors = 0
  const before = cpuUsOf(pid)
  await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      while (sent < count) {
        const index = sent++
        const startedMs = performance.now()
        const status = await get(url, typeof headers === "function" ? headers(index) : headers, agent).catch(() => 0)
        latencies.push(performance.now() - startedMs)
        if (status !== 200) errors += 1
      }
    }),
  )
  const cpuUs = (cpuUsOf(pid) - before) / count
  agent.destroy()
  const sorted = latencies.toSorted((a, b) => a - b)
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
  return { cpuUs, p50Ms: at(0.5), p99Ms: at(0.99), errors }
}

function get(url: URL, headers: Readonly<Record<string, string>>, agent: Agent): Promise<number> {
  return new Promise((resolve, reject) => {
    const call = request(url, { agent, headers }, (response) => {
      response.resume()
      response.on("end", () => resolve(response.statusCode ?? 0))
      response.on("error", reject)
    })
    call.on("error", reject)
    call.end()
  })
}

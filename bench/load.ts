/**
 * A closed loop of keep-alive connections, and the CPU time of another process while it runs.
 */
import { readdirSync, readFileSync } from "node:fs"
import { Agent, request } from "node:http"

/** One slice of load. Times are ms, CPU is microseconds per request of the measured process. */
export interface Slice {
  readonly cpuUs: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly errors: number
}

const CONNECTIONS = 16
/** Ticks of /proc are hundredths of a second on every Linux that Node runs on. */
const TICK_US = 10_000

/** Sends `count` requests over 16 connections and returns what they cost. A status other than 200 is an error. */
export async function runSlice(
  url: URL,
  headers: Readonly<Record<string, string>>,
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
        sent += 1
        const startedMs = performance.now()
        const status = await get(url, headers, agent).catch(() => 0)
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

/** User and system time of a process in microseconds, from /proc. */
function cpuUsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return (Number(fields[11]) + Number(fields[12])) * TICK_US
}

/** Returns the process ids of this process's children that run workerd. */
export function workerdChildren(): readonly number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, "utf8")
        return stat.includes("(workerd)") && Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]) === process.pid
      } catch {
        return false
      }
    })
    .map(Number)
}

/**
 * The measured processes, read from Linux's /proc.
 */
import { readdirSync, readFileSync } from "node:fs"

/** Ticks of /proc are hundredths of a second on every Linux that Node runs on. */
const TICK_US = 10_000

/** Returns user and system time of a process in microseconds, in steps of 10,000. */
export function cpuUsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return (Number(fields[11]) + Number(fields[12])) * TICK_US
}

/** Returns the memory of a process that is in RAM, octets. */
export function memoryBytesOf(pid: number): number {
  const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]
  return Number(kibibytes) * 1_024
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

/**
 * The measured processes, read from Linux's /proc.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs"

/**
 * Returns the time that the threads of a process have run, user and system, in microseconds. The scheduler counts nanoseconds; the
 * ticks of `/proc/<pid>/stat` are 10 ms, which is more than many a difference that is looked for. A thread that ends takes its time
 * with it, so this is for processes that keep theirs, as workerd does.
 */
export function cpuUsOf(pid: number): number {
  return sumRunUs(
    readdirSync(`/proc/${pid}/task`).map((thread) => {
      try {
        return readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8")
      } catch {
        // It has ended in between.
        return ""
      }
    }),
  )
}

/** Returns the sum of the first figures of `schedstat` files, nanoseconds, as microseconds. */
export function sumRunUs(files: readonly string[]): number {
  return files.reduce((sum, file) => sum + Number(/^\d+/.exec(file)?.[0] ?? 0), 0) / 1_000
}

/** Returns the memory of a process that is in RAM, octets. */
export function memoryBytesOf(pid: number): number {
  return statusBytes(pid, "VmRSS")
}

function statusBytes(pid: number, name: "VmRSS" | "VmHWM"): number {
  const kibibytes = new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]
  return Number(kibibytes) * 1_024
}

/** Makes {@link peakBytesOf} begin again at what is in RAM now. */
export function resetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, "5")
}

/** Returns the most memory of a process that was in RAM at once since it began or was reset, octets. */
export function peakBytesOf(pid: number): number {
  return statusBytes(pid, "VmHWM")
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

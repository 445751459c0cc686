/**
 * The `sekisho` command as a process of its own, for tests: started with arguments, read while it runs, ended by its id.
 */
import { spawn, spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { delimiter, dirname, join, resolve } from "node:path"
import { childrenOf } from "./road.ts"

/** Root of the repository: where commands run, so that the paths they print are as an operator sees them. */
export const ROOT = resolve(import.meta.dirname, "../..")

/** A Node on this machine that package.json allows and that cannot run TypeScript by itself; undefined when there is none. */
export const OLD_NODE = (process.env["PATH"] ?? "")
  .split(delimiter)
  .map((folder) => join(folder, "node"))
  .filter((file) => existsSync(file) && existsSync(join(dirname(file), "npx")))
  .find((file) => {
    const version = spawnSync(file, ["--version"], { encoding: "utf8" }).stdout
    const major = Number(/^v(\d+)\./.exec(version)?.[1])
    return major >= 20 && major < 22
  })

/** How a command ended, and everything it said. */
export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A command that runs. */
export interface Command {
  readonly pid: number
  /** Resolves with the first match in what was or will be said on a stream; rejects when the process ends without. */
  until(pattern: RegExp, stream?: "stdout" | "stderr"): Promise<RegExpExecArray>
  readonly ended: Promise<Ended>
  /** Sends a signal, when it still runs. */
  kill(signal: NodeJS.Signals): void
}

const started = new Set<{ readonly pid: number; readonly ended: Promise<Ended> }>()

/** Ends every command that still runs, and what it has started, whatever a failed test has left behind. For afterAll. */
export async function endCommands(): Promise<void> {
  for (const { pid, ended } of started) {
    for (const descendant of descendantsOf(pid)) {
      try {
        process.kill(descendant, "SIGKILL")
      } catch {
        // It has ended with its parent.
      }
    }
    await ended
  }
}

/** Returns the ids of a process that runs and of all that it has started, children after their parents. */
function descendantsOf(pid: number): readonly number[] {
  if (!isRunning(pid)) return []
  return [pid, ...childrenOf("", pid).flatMap(descendantsOf)]
}

/** Starts a command, by default with the Node that runs the tests. */
export function startCommand(args: readonly string[], node = process.execPath, entry = "cli/sekisho.ts"): Command {
  const child = spawn(node, [join(ROOT, entry), ...args], { cwd: ROOT })
  const said = { stdout: "", stderr: "" }
  const listeners = new Set<() => void>()
  for (const stream of ["stdout", "stderr"] as const) {
    child[stream].setEncoding("utf8")
    child[stream].on("data", (text: string) => {
      said[stream] += text
      for (const listener of listeners) listener()
    })
  }
  const pid = child.pid ?? 0
  const ended = new Promise<Ended>((done) => child.on("close", (code) => done({ code, ...said })))
  const running = { pid, ended }
  started.add(running)
  void ended.then(() => started.delete(running))
  return {
    pid,
    ended,
    kill: (signal) => void child.kill(signal),
    until(pattern, stream = "stdout") {
      return new Promise((done, fail) => {
        const look = (): void => {
          const match = pattern.exec(said[stream])
          if (match === null) return
          listeners.delete(look)
          done(match)
        }
        listeners.add(look)
        look()
        void ended.then(({ code, stdout, stderr }) =>
          fail(new Error(`ended with ${code} before it said ${pattern}:\n${stdout}\n${stderr}`)),
        )
      })
    },
  }
}

/** Runs a command to its end. */
export function runCommand(...args: readonly string[]): Promise<Ended> {
  return startCommand(args).ended
}

/** Returns whether a process runs; one that has ended and was not collected by its parent does not. */
export function isRunning(pid: number): boolean {
  const { stdout } = spawnSync("ps", ["-o", "stat=", "-p", String(pid)], { encoding: "utf8" })
  return stdout.trim() !== "" && !stdout.trim().startsWith("Z")
}

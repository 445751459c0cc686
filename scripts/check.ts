/**
 * `npm run check`: everything that can be wrong with the repository besides a failing test. Runs all checks even when one
 * fails, and ends with a line that counts them.
 *
 * The size of the bundle is held to its bound: the same sources make the same octets. What a start costs is reported and held to
 * nothing, because it is as much of the machine as of the gateway.
 */
import { spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { BUNDLE_GZIP_BYTES_MAX, gzipBytesOf } from "../bench/bundle.ts"
import { formatStartUp, measureStartUp } from "../bench/startup.ts"
import { createPaint } from "../cli/terminal.ts"

/** Bundles and state of this run. */
const directory = mkdtempSync(join(tmpdir(), "sekisho-check-"))
const deployed = join(directory, "deployed")
const START_ROUNDS = 3

const CHECKS: readonly (readonly [claim: string, command: string, ...args: readonly string[]])[] = [
  ["files are formatted", "oxfmt", "--check", "."],
  ["types hold in every project", "tsc", "-b"],
  ["lint rules hold", "oxlint", "--type-aware", "--deny-warnings"],
  ["nothing is unused or undeclared", "knip"],
  ["the sample configuration is valid", process.execPath, "cli/sekisho.ts", "check"],
  ["the Worker deploys (dry run, local configuration)", "wrangler", "deploy", "--dry-run", "--env="],
  [
    "the Worker deploys (dry run, production)",
    "wrangler",
    "deploy",
    "--dry-run",
    "--env",
    "production",
    "--outdir",
    deployed,
  ],
]

const paint = createPaint(process.stdout)
let failed = 0
for (const [claim, command, ...args] of CHECKS) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: "utf8",
    shell: process.platform === "win32",
    env: { ...process.env, WRANGLER_SEND_METRICS: "false" },
  })
  const size = /Total Upload: .*/.exec(stdout ?? "")?.[0]
  console.log(
    `${status === 0 ? paint("green", "✓") : paint("red", "✗")} ${claim}${size === undefined ? "" : paint("dim", `  ${size}`)}`,
  )
  if (status === 0) continue
  failed += 1
  console.log(
    `${[stdout, stderr, error?.message].filter(Boolean).join("\n")}\n${paint("dim", `run it by itself: npx ${[command, ...args].join(" ")}`)}`,
  )
}
failed += reportSize(join(deployed, "index.js")) ? 0 : 1
await reportStart()
rmSync(directory, { recursive: true, force: true })
console.log(`\nchecks: ${CHECKS.length + 1 - failed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1

/** Prints the size of the bundle that the dry run has written, and returns whether it is within its bound. */
function reportSize(file: string): boolean {
  const kibibytes = (bytes: number): string => `${(bytes / 1_024).toFixed(1)} KiB`
  const claim = `what is deployed is at most ${kibibytes(BUNDLE_GZIP_BYTES_MAX)}, gzip`
  const bytes = existsSync(file) ? gzipBytesOf(readFileSync(file)) : Number.POSITIVE_INFINITY
  const isSmall = bytes <= BUNDLE_GZIP_BYTES_MAX
  console.log(`${isSmall ? paint("green", "✓") : paint("red", "✗")} ${claim}${paint("dim", `  ${kibibytes(bytes)}`)}`)
  if (!isSmall) console.log(paint("dim", "what is in it: npm run bench -- --startup"))
  return isSmall
}

/** Prints what a start costs, where that can be read. */
async function reportStart(): Promise<void> {
  if (process.platform !== "linux") return
  const line = await measureStartUp(directory, START_ROUNDS).then(formatStartUp, (error: unknown) => String(error))
  console.log(`· start: ${line}`)
}

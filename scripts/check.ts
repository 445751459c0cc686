/**
 * `npm run check`: everything that can be wrong with the repository besides a failing test. Runs all checks even when one
 * fails, and ends with a line that counts them.
 */
import { spawnSync } from "node:child_process"
import { createPaint } from "../cli/terminal.ts"

const CHECKS: readonly (readonly [claim: string, command: string, ...args: readonly string[]])[] = [
  ["files are formatted", "oxfmt", "--check", "."],
  ["types hold in every project", "tsc", "-b"],
  ["lint rules hold", "oxlint", "--type-aware", "--deny-warnings"],
  ["nothing is unused or undeclared", "knip"],
  ["the sample configuration is valid", process.execPath, "cli/sekisho.ts", "check"],
  ["the Worker deploys (dry run, local configuration)", "wrangler", "deploy", "--dry-run", "--env="],
  ["the Worker deploys (dry run, production)", "wrangler", "deploy", "--dry-run", "--env", "production"],
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
console.log(`\nchecks: ${CHECKS.length - failed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1

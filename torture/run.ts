/**
 * `npm run torture`: payments under load while workerd is killed at random moments and the sink of audit trails refuses, hangs, forgets
 * and says that it is busy; then the bank's ledger, what callers were told and the trails have to agree.
 *
 *   --kills N     how often workerd is killed, default 50
 *   --callers N   default 8
 *   --seed N      default one of chance; printed
 */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { createPaint, formatTable } from "../cli/terminal.ts"
import { runTorture } from "./torture.ts"

const { values } = parseArgs({
  options: {
    kills: { type: "string", default: "50" },
    callers: { type: "string", default: "8" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 1_000_000)) },
  },
})
const paint = createPaint(process.stdout)
const state = await mkdtemp(join(tmpdir(), "sekisho-torture-"))
const kills = Number(values.kills)
console.log(`\n  ${kills} kills, ${values.callers} callers, seed ${values.seed}\n`)
try {
  const report = await runTorture({
    kills,
    callers: Number(values.callers),
    seed: Number(values.seed),
    settles: true,
    state,
    paint,
    onProgress: (now) =>
      console.log(
        `  ${paint("dim", `kill ${String(now.kills).padStart(3)}`)}  ${now.payments} payments, ${now.acknowledged} acknowledged, ${now.lines} lines of trails, the sink ${now.mood}`,
      ),
  })
  const { acknowledged, claims, copies, executions, lines, open, payments, unfinished, unknown } = report
  console.log(
    `\n  ${payments} payments: ${acknowledged} acknowledged, ${unknown} unknown for good, ${open} still open. The bank made ${executions}.\n  ${lines} lines of trails, ${copies} of them copies; ${unfinished} intents that a crash has ended.\n`,
  )
  console.log(
    formatTable(
      ["", "claim", "looked at", "broken"],
      claims.map(({ broken, looked, text }) => [
        broken.length === 0 ? paint("green", "✓") : paint("red", "✗"),
        text,
        String(looked),
        String(broken.length),
      ]),
      paint,
    ),
  )
  for (const { broken, text } of claims)
    for (const line of broken.slice(0, 10)) console.log(`  ${paint("red", "✗")} ${text}: ${line}`)
  console.log()
  if (claims.some(({ broken, looked }) => broken.length > 0 || looked === 0)) process.exitCode = 1
} finally {
  await rm(state, { recursive: true, force: true })
}

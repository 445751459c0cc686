/**
 * `sekisho explain`: prints which route, limits, guards and origin a request would get, and why. The rules are
 * `explain-request.ts`.
 */
import { loadAccepted } from "./configuration.ts"
import { explainRequest, type Explanation } from "./explain-request.ts"
import { createPaint, printable, type Paint } from "./terminal.ts"
import { UsageError } from "./usage-error.ts"
import { findConfigFile, readEnvironment } from "./wrangler-file.ts"

/** What the command was asked. */
export interface ExplainFlags {
  readonly config: string
  readonly environment: string | undefined
  readonly method: string
  readonly url: string
  /** Id of the client whose certificate the caller shows. */
  readonly client: string | undefined
  readonly isJson: boolean
}

/** Runs the command; returns 0 when the request would be forwarded or answered, and 1 when it would be refused. */
export function runExplain(flags: ExplainFlags, nowMs: number): number {
  const paint = createPaint(process.stdout)
  const { config } = loadAccepted(readEnvironment(findConfigFile(flags.config), flags.environment), paint)
  const client = config.clients.find(({ id }) => id === flags.client)
  if (flags.client !== undefined && client === undefined) {
    const some = config.clients.slice(0, 10).map(({ id }) => id)
    const more = config.clients.length > some.length ? ", ..." : ""
    throw new UsageError(`There is no client "${printable(flags.client)}". Clients: ${some.join(", ")}${more}`)
  }
  const explanation = explainRequest(config, { method: flags.method, url: flags.url, client }, nowMs)
  console.log(flags.isJson ? JSON.stringify(explanation, null, 2) : formatExplanation(explanation, paint))
  return explanation.end.kind === "refused" ? 1 : 0
}

function formatExplanation({ end, steps }: Explanation, paint: Paint): string {
  const width = Math.max(...steps.map(({ stage }) => stage.length))
  const lines = steps.flatMap(({ isPassed, notes, stage, text }) => [
    `  ${isPassed ? paint("green", "✓") : paint("red", "✗")} ${paint("bold", stage.padEnd(width))}  ${printable(text)}`,
    ...notes.map((note) => paint("dim", `    ${" ".repeat(width)}  ${printable(note)}`)),
  ])
  return `\n${lines.join("\n")}\n\n  ${formatEnd(end, paint)}\n`
}

function formatEnd(end: Explanation["end"], paint: Paint): string {
  switch (end.kind) {
    case "forwarded":
      return `${paint("green", "forwarded")} to ${printable(end.origin)}`
    case "answered":
      return `${paint("green", "answered")} here with ${end.status}`
    case "refused":
      return `${paint("red", "refused")} by ${end.stage} with ${end.status} ${end.code}`
  }
}

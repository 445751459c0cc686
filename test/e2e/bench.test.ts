/**
 * Goal: every mode of the bench still measures this gateway. Method: each of them in short, as anybody would start it; figures are of no
 * interest here, only that each line is there and that every request was answered.
 */
import { execFile } from "node:child_process"
import { promisify } from "node:util"
import { expect, test } from "vitest"
import type { ScaleSeries } from "../../bench/scale.ts"
import { ORDER } from "../../src/pipeline.ts"

const SHORT = ["--rounds", "1", "--requests", "16", "--warm-up", "16", "--seconds", "1", "--json"]

/** A line of any mode. */
interface Row {
  readonly errors: number
}

async function bench<R extends Row>(...flags: readonly string[]): Promise<readonly R[]> {
  const { stdout } = await promisify(execFile)(process.execPath, ["bench/run.ts", ...flags, ...SHORT])
  return (JSON.parse(stdout) as { readonly rows: readonly R[] }).rows
}

// CPU time is read from /proc.
test.skipIf(process.platform !== "linux")(
  "npm run bench -- --stages has a line for every stage, and loses no request",
  async () => {
    const rows = await bench<Row & { readonly adds: string }>("--stages")
    expect(rows.map(({ adds }) => adds)).toEqual(["(pass-through)", "(empty pipeline)", ...ORDER, "all of it"])
    expect(rows.filter(({ errors }) => errors > 0)).toEqual([])
  },
  120_000,
)

// The others are the same code with many clients, which take their time to be made.
test.skipIf(process.platform !== "linux").each(["routes", "connections", "bodies"] satisfies ScaleSeries[])(
  "npm run bench -- --scale --only %s loses no request and changes no octet",
  async (series) => {
    const rows = await bench<Row & { readonly series: string }>("--scale", "--only", series)
    expect(rows.length).toBeGreaterThan(1)
    expect(rows.filter((row) => row.errors > 0 || row.series !== series)).toEqual([])
  },
  120_000,
)

test.skipIf(process.platform !== "linux")(
  "npm run bench -- --latency asks all of its targets and loses no request",
  async () => {
    const rows = await bench<Row & { readonly target: string }>("--latency")
    expect(rows.map(({ target }) => target)).toEqual(["pass-through", "essentials", "gateway", "gateway + events"])
    expect(rows.filter(({ errors }) => errors > 0)).toEqual([])
  },
  120_000,
)

test.skipIf(process.platform !== "linux")(
  "npm run bench -- --startup measures the bundle that is deployed",
  async () => {
    const { stdout } = await promisify(execFile)(process.execPath, ["bench/run.ts", "--startup", ...SHORT])
    const report = JSON.parse(stdout) as Readonly<Record<string, unknown>>
    expect(report["addedUs"]).toHaveLength(1)
    expect(report).toMatchObject({
      bytes: expect.toSatisfy((bytes: number) => bytes > 200_000) as number,
      ...Object.fromEntries(
        ["emptyUs", "boundUs", "parsedUs", "startedUs", "answeredUs"].map((name) => [name, expect.any(Number)]),
      ),
    })
  },
  120_000,
)

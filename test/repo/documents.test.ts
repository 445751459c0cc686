/**
 * Documents say what the code does. Goal: no table in a document drifts from the code. Method: read the tables and compare
 * them with the data that the code runs on.
 */
import { expect, test } from "vitest"
import { METRIC_FAMILIES } from "../../src/core/metric/metric-catalogue.ts"
import { PROBLEMS } from "../../src/core/problem.ts"
import { VERSION } from "../../src/core/version.ts"
import { PIPELINE } from "../../src/pipeline.ts"
import { listFiles, readMarkdownTable, readText } from "./files.ts"

test("README's pipeline table is the pipeline", () => {
  const rows = readMarkdownTable("README.md", "## The pipeline")
  expect(rows).toEqual(
    PIPELINE.map(({ verb, stage, decides, refuses, because }, index) => [
      String(index + 1),
      verb,
      stage,
      decides,
      refuses.join(", ") || "-",
      because,
    ]),
  )
})

test("README's problem table is the problem table", () => {
  const rows = readMarkdownTable("README.md", "## Refusals")
  expect(rows).toEqual(Object.entries(PROBLEMS).map(([code, { status, title }]) => [code, String(status), title]))
})

test("every problem code is refused by a stage of the pipeline, by the admin room or by the edge", () => {
  const edgeSources = listFiles()
    .filter((path) => path.startsWith("edge/") || path.startsWith("src/admin/"))
    .map(readText)
    .join("\n")
  const byStage = new Set<string>(PIPELINE.flatMap(({ refuses }) => refuses))
  const orphans = Object.keys(PROBLEMS).filter((code) => !byStage.has(code) && !edgeSources.includes(`"${code}"`))
  expect(orphans).toEqual([])
})

test("every stage answers only with the codes it declares", () => {
  const undeclared = PIPELINE.flatMap(({ stage, verb, refuses }) => {
    const source = readText(`src/${verb}/${stage}.ts`)
    const declared: readonly string[] = refuses
    return [...source.matchAll(/refuse\(c, "([a-z-]+)"/g)]
      .map(([, code = ""]) => code)
      .filter((code) => !declared.includes(code) && code !== "internal-error")
  })
  expect(undeclared).toEqual([])
})

test("every stage of the pipeline is a file named after it in the folder of its verb", () => {
  const files = new Set(listFiles())
  expect(PIPELINE.map(({ stage, verb }) => `src/${verb}/${stage}.ts`).filter((path) => !files.has(path))).toEqual([])
})

test("the version that metrics show is that of package.json", () => {
  const { version } = JSON.parse(readText("package.json")) as { version: string }
  expect(VERSION).toBe(version)
})

test("README's table of metrics is the catalogue", () => {
  const rows = readMarkdownTable("README.md", "## Metrics")
  expect(rows).toEqual(
    Object.entries(METRIC_FAMILIES).map(([name, { help, labels, type }]) => [
      name + (type === "counter" ? "_total" : type === "info" ? "_info" : ""),
      type,
      labels.join(", ") || "-",
      help,
    ]),
  )
})

test("CHANGELOG.md describes the version of package.json", () => {
  const { version } = JSON.parse(readText("package.json")) as { version: string }
  expect(readText("CHANGELOG.md")).toContain(`## ${version}`)
})

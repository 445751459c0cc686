/**
 * Goal: `npm run vectors` tells the truth, in its lines and in its exit code. Method: the command is run on the files of
 * the repository, on wrong ones and on what is no such file.
 */
import { spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, test } from "vitest"

const ROOT = fileURLToPath(new URL("../..", import.meta.url))
const LIMITER = join(ROOT, "test/vectors/limiter.json")
const GUARD = join(ROOT, "test/vectors/guard.json")

let directory = ""
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "sekisho-vectors-"))
})
afterAll(() => rmSync(directory, { recursive: true }))

function run(...files: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(ROOT, "scripts/vectors.ts"), ...files], {
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1" },
  })
  return { status, stdout, stderr, last: stdout.trimEnd().split("\n").at(-1) }
}

/** Writes a file and returns its path. */
function fileOf(content: unknown): string {
  const path = join(directory, "vectors.json")
  writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content))
  return path
}

const STEP = { at: 0, do: "acquire", n: 1, expect: { remaining: 0 } }
const SCENARIO = {
  id: "x1",
  title: "one token",
  type: "bucket",
  config: { burst: 1, rate: { count: 1, periodMs: 1000 } },
  steps: [STEP],
}
const WRONG = { ...SCENARIO, id: "x2", steps: [STEP, { ...STEP, expect: { remaining: 7, allowed: true } }] }

test("vectors plays all files of the repository", () => {
  const { status, stdout, last } = run(LIMITER, GUARD)
  const count = [LIMITER, GUARD].reduce((sum, path) => sum + JSON.parse(readFileSync(path, "utf8")).scenarios.length, 0)
  expect({ status, last }).toEqual({ status: 0, last: `${count} passed, 0 failed` })
  expect(stdout).toContain("✓ l29-midnight-does-not-exist in Cairo on 2024-04-26 the day began at 01:00 local time\n")
})

test("vectors names the step that differs, what was expected and what came, and plays on", () => {
  const { status, stdout } = run(fileOf({ format: "limiter-vectors/1", scenarios: [WRONG, SCENARIO] }))
  expect(status).toBe(1)
  expect(stdout.split("\n")).toEqual([
    "✗ x2 one token",
    "    step 1 (acquire at 0): expected remaining 7, allowed true; came remaining 0, allowed false",
    "✓ x1 one token",
    "",
    "1 passed, 1 failed",
    "",
  ])
})

test("vectors fails a wrong copy of the guard's file", () => {
  const wrong = readFileSync(GUARD, "utf8").replaceAll('"state": "open"', '"state": "closed"')
  const { status, last } = run(fileOf(wrong))
  expect(status).toBe(1)
  expect(last).not.toContain(" 0 failed")
})

test("vectors fails a scenario that its runner cannot play", () => {
  const scenario = { id: "g", title: "g", config: null, steps: 5 }
  const { status, last } = run(fileOf({ format: "guard-vectors/1", scenarios: [scenario] }))
  expect({ status, last }).toEqual({ status: 1, last: "0 passed, 1 failed" })
})

test("vectors prints no control character of a file", () => {
  const scenario = { ...SCENARIO, title: "\u001B[31mred" }
  const { stdout } = run(fileOf({ format: "limiter-vectors/1", scenarios: [scenario] }))
  expect(stdout).toContain(String.raw`✓ x1 \u001b[31mred`)
})

describe("vectors refuses with exit code 2 and plays nothing", () => {
  test.each<[string, () => readonly string[], string]>([
    ["no file", () => [], "usage: npm run vectors -- FILE..."],
    ["a file that does not exist", () => [LIMITER, join(directory, "none.json")], "ENOENT"],
    ["a file that is no JSON", () => [fileOf("{")], "JSON"],
    ["a format that it does not know", () => [fileOf({ format: "x/2", scenarios: [SCENARIO] })], '"x/2" is none of'],
    ["no format", () => [fileOf({ scenarios: [SCENARIO] })], "is missing"],
    ["a file that is null", () => [fileOf("null")], "is missing"],
    ["no scenarios", () => [fileOf({ format: "limiter-vectors/1" })], "there are no scenarios"],
    ["an empty list", () => [fileOf({ format: "limiter-vectors/1", scenarios: [] })], "there are no scenarios"],
    ["a nameless one", () => [fileOf({ format: "limiter-vectors/1", scenarios: [{}] })], "has no id or no title"],
  ])("%s", (_, files, message) => {
    const { status, stdout, stderr } = run(...files())
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" })
    expect(stderr).toContain(message)
  })
})

/**
 * Imports run one way. Goal: whoever opens a folder knows what it may depend on. Method: read every import of every source
 * file and hold it against the table below.
 */
import { describe, expect, test } from "vitest"
import { listFiles, readText } from "./files.ts"

/** What shells share that have something to wait for, to remember or to digest. */
const TOOLS = ["src/deadline.ts", "src/digest.ts", "src/memory.ts"]

/** What each folder may import from the repository. The first matching row counts. */
const ALLOWED: readonly (readonly [folder: string, targets: readonly string[]])[] = [
  ["src/core/", ["src/core/"]],
  ["src/config/", ["src/config/", "src/core/"]],
  ["src/pipeline.ts", ["src/core/"]],
  ["src/context.ts", ["src/core/", "src/config/"]],
  ["src/reply.ts", ["src/core/", "src/context.ts"]],
  ["src/platform.ts", ["src/core/", "src/context.ts"]],
  ["src/edge-assertions.ts", ["src/core/", "src/context.ts"]],
  ["src/origin/", ["src/core/", "src/config/", "src/context.ts", "src/deadline.ts", "src/memory.ts", "src/origin/"]],
  ["src/deadline.ts", []],
  ["src/digest.ts", ["src/core/"]],
  ["src/memory.ts", []],
  ["src/gate/", ["src/core/", "src/config/", "src/context.ts", ...TOOLS, "src/gate/"]],
  [
    "src/admit/",
    ["src/core/", "src/config/", "src/context.ts", "src/reply.ts", "src/edge-assertions.ts", ...TOOLS, "src/gate/"],
  ],
  ["src/tokens/", ["src/core/", "src/config/", "src/context.ts", ...TOOLS, "src/tokens/"]],
  ["src/authorize/", ["src/core/", "src/config/", "src/context.ts", "src/reply.ts", "src/tokens/"]],
  ["src/keys/", ["src/core/", "src/config/", "src/context.ts", "src/keys/"]],
  [
    "src/forward/",
    ["src/core/", "src/config/", "src/context.ts", "src/reply.ts", "src/origin/", "src/idempotency/", "src/digest.ts"],
  ],
  [
    "src/idempotency/",
    ["src/core/", "src/config/", "src/context.ts", ...TOOLS, "src/gate/object-calls.ts", "src/idempotency/"],
  ],
  ["src/sinks/", ["src/core/"]],
  [
    "src/admin/",
    [
      "src/core/",
      "src/config/",
      "src/context.ts",
      "src/reply.ts",
      "src/chain.ts",
      "src/edge-assertions.ts",
      ...TOOLS,
      "src/admin/",
      "src/tokens/",
      // The room keeps its record and counts addresses like the pipeline does.
      "src/observe/",
      "src/admit/ip-limit.ts",
    ],
  ],
  [
    "src/observe/",
    [
      "src/core/",
      "src/config/",
      "src/context.ts",
      "src/reply.ts",
      ...TOOLS,
      "src/sinks/",
      "src/observe/event-",
      "src/gate/object-calls.ts",
      "src/observe/metric-",
      "src/observe/audit-",
      "src/observe/span-",
    ],
  ],
  ["src/", ["src/", "durable-objects/"]],
  ["durable-objects/", ["src/core/", ...TOOLS, "src/sinks/", "durable-objects/"]],
  ["edge/", ["edge/", "src/core/"]],
  ["examples/", ["examples/"]],
  ["cli/", ["cli/", "edge/", "examples/", "src/core/", "src/config/", "src/pipeline.ts"]],
]

const sources = listFiles().filter(
  (path) => path.endsWith(".ts") && ALLOWED.some(([folder]) => path.startsWith(folder)),
)

describe("imports follow the arrows of ARCHITECTURE.md", () => {
  test.each(sources)("%s", (path) => {
    const allowed = ALLOWED.find(([folder]) => path.startsWith(folder))?.[1] ?? []
    const forbidden = importsOf(path).filter((target) => !allowed.some((prefix) => target.startsWith(prefix)))
    expect(forbidden).toEqual([])
  })
})

test("only the entry and the objects import the platform's modules", () => {
  const importing = sources.filter((path) => /from "cloudflare:/.test(readText(path)))
  expect(importing).toEqual([
    "durable-objects/audit-trail.ts",
    "durable-objects/client-gate.ts",
    "durable-objects/idempotency-ledger.ts",
    "durable-objects/metrics.ts",
    "durable-objects/revocation-list.ts",
    "src/index.ts",
  ])
})

test("the core and the configuration read no clock and no randomness", () => {
  const impure = sources.filter(
    (path) =>
      /^src\/(core|config)\//.test(path) &&
      /Date\.now|new Date\(\)|Math\.random|crypto\.|performance\./.test(readText(path)),
  )
  expect(impure).toEqual([])
})

/** Imports of a file as paths from the root; packages and platform modules are left out. */
function importsOf(path: string): readonly string[] {
  return [...readText(path).matchAll(/(?:from|import)\s*\(?"(\.[^"]+)"/g)].map(([, target = ""]) =>
    new URL(target, `file:///${path}`).pathname.slice(1),
  )
}

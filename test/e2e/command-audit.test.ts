/**
 * Goal: what `npm start` leaves in its file is a trail that `sekisho audit verify` proves, also when workerd was killed in between;
 * and the command names the first gap or edit, at its place, with an exit code. Method: the real command on a real gateway's
 * trail, and on trails that were changed.
 */
import { randomUUID } from "node:crypto"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { append, createTrail, draft } from "../core/audit-fixtures.ts"
import { endCommands, runCommand } from "./command.ts"
import { childrenOf, startRoad } from "./road.ts"

const ORDER = { amount: 1_250, currency: "JPY", to: "globex-operating", reference: "invoice 7" }

/** Returns a payment under a key of its own. */
const payment = () =>
  ({
    as: "acme",
    method: "POST",
    headers: { "Content-Type": "application/json", "Idempotency-Key": `"${randomUUID()}"` },
    body: JSON.stringify(ORDER),
  }) as const

let directory: string
let lines: readonly string[]

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "sekisho-audit-"))
  const trail = createTrail()
  for (let i = 0; i < 6; i++) append(trail, [draft(`${i}`), draft(`${i}`, "outcome")])
  ;({ lines } = trail)
})
afterAll(async () => {
  await endCommands()
  await rm(directory, { recursive: true, force: true })
})

async function write(name: string, content: readonly string[] | Uint8Array): Promise<string> {
  const path = join(directory, name)
  await writeFile(path, content instanceof Uint8Array ? content : content.map((line) => `${line}\n`).join(""))
  return path
}

test("the trails of a gateway whose workerd is killed are whole, and have every request once", async () => {
  const road = await startRoad({
    overrides: { LIMITS: { standard: { rate: "10/s", burst: 20 }, payments: { rate: "100/s", burst: 100 } } },
  })
  try {
    const ids: string[] = []
    const pay = async (count: number) => {
      for (let i = 0; i < count; i++) {
        const { id, status } = await road.call("/payments", payment())
        if (status === 201) ids.push(id)
      }
    }
    await pay(5)
    for (const pid of childrenOf("workerd")) process.kill(pid, "SIGKILL")
    await road.noticeOf(/workerd died/)
    await pay(5)
    const refused = await road.call("/transfers", { as: "acme" })
    expect([ids.length, refused.status]).toEqual([10, 401])
    const file = road.trailFile ?? ""
    const written = async () => readFile(file, "utf8").catch(() => "")
    for (
      let text = "";
      !(text.includes(refused.id) && ids.every((id) => text.split(id).length > 2));
      text = await written()
    )
      await delay(50)
    const { code, stdout } = await runCommand("audit", "verify", file, "--json")
    const { trails, whole } = JSON.parse(stdout) as { whole: boolean; trails: readonly Record<string, unknown>[] }
    expect([code, whole, trails.map(({ trail }) => trail)]).toEqual([0, true, [":gateway", "acme"]])
    expect(trails[1]).toMatchObject({ records: 21, first_seq: 1, last_seq: 21, unfinished: 0, lost: 0 })
    const people = await runCommand("audit", "verify", file)
    expect([people.code, people.stdout]).toEqual([0, expect.stringMatching(/acme +21 +1 to 21 .*✓ whole\n/)])
    expect(people.stdout).toContain("✓ 2 trails: complete and unedited up to the head")
  } finally {
    await road.close()
  }
}, 90_000)

describe("sekisho audit verify", () => {
  test("takes several files, in any order and with copies", async () => {
    const first = await write("first.ndjson", lines.slice(6))
    const second = await write("second.ndjson", lines.slice(0, 8).toReversed())
    const { code, stdout } = await runCommand("audit", "verify", first, second)
    expect([code, stdout]).toEqual([0, expect.stringMatching(/acme +12 +1 to 12 +2 +0 +0 +[0-9a-f]{16} +✓ whole\n/)])
  })

  test.each<readonly [string, () => readonly string[], string, number]>([
    ["a gap", () => lines.toSpliced(4, 2), "gap at 5", 5],
    ["an edit", () => lines.with(7, (lines[7] ?? "").replace("201", "200")), "edited at 8", 8],
    ["a beginning that is missing", () => lines.slice(2), "headless at 1", 1],
    ["a line that is no record", () => lines.with(3, "x"), "gap at 4", 5],
  ])("ends with 1 over %s, and names trail, place and line", async (_, change, verdict, line) => {
    const file = await write("changed.ndjson", change())
    const { code, stdout } = await runCommand("audit", "verify", file)
    expect([code, stdout]).toEqual([1, expect.stringContaining(`✗ ${verdict}`)])
    expect(stdout).toContain(`${file}:${line}`)
  })

  test("says what is unfinished and what the trail itself lacks, which is no fault", async () => {
    const trail = createTrail()
    append(trail, [draft("a"), draft("b", "loss", { lost: 42 })])
    const { code, stdout } = await runCommand("audit", "verify", await write("open.ndjson", trail.lines))
    expect(code).toBe(0)
    expect(stdout).toMatch(/1 intent: each has no outcome here/)
    expect(stdout).toMatch(/42 facts: each is not on its trail, and the trail says so/)
  })

  test("takes octets that are no UTF-8 for an edit, whatever they would be repaired to", async () => {
    const trail = createTrail()
    append(trail, [draft("a", "refusal", { target: "\ufffd" })])
    const octets = Buffer.from(`${trail.lines[0]}\n`)
    const at = octets.indexOf("\ufffd")
    const damaged = Buffer.concat([octets.subarray(0, at), Buffer.from([0xff]), octets.subarray(at + 3)])
    expect((await runCommand("audit", "verify", await write("good.ndjson", octets))).code).toBe(0)
    expect((await runCommand("audit", "verify", await write("damaged.ndjson", damaged))).code).toBe(1)
  })

  test("--part takes files that begin in the middle", async () => {
    const file = await write("part.ndjson", lines.slice(4))
    expect((await runCommand("audit", "verify", file)).code).toBe(1)
    const { code, stdout } = await runCommand("audit", "verify", "--part", file)
    expect([code, stdout]).toEqual([0, expect.stringMatching(/acme +8 +5 to 12 .*✓ whole\n/)])
  })

  test("prints faults as JSON, too", async () => {
    const file = await write("gap.ndjson", lines.toSpliced(4, 1))
    const { code, stdout } = await runCommand("audit", "verify", "--json", file)
    expect([code, JSON.parse(stdout)]).toMatchObject([
      1,
      { whole: false, trails: [{ trail: "acme", fault: { kind: "gap", seq: 5, line: 5, file } }] },
    ])
  })

  test.each([
    ["no verb", ["audit"], /takes "verify" and the files/],
    ["no file", ["audit", "verify"], /takes "verify" and the files/],
    ["a file that is not there", ["audit", "verify", "/nowhere/x"], /There is no file \/nowhere\/x/],
  ])("explains %s", async (_, args, message) => {
    const { code, stderr } = await runCommand(...args)
    expect([code, stderr]).toEqual([1, expect.stringMatching(message)])
  })

  test("proves nothing by an empty file", async () => {
    const { code, stdout } = await runCommand("audit", "verify", await write("empty.ndjson", []))
    expect([code, stdout]).toEqual([1, expect.stringContaining("there is no record in these files")])
  })
})

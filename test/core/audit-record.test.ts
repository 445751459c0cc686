/**
 * Goal: there is one way to write a record, anybody can check its hash, and nothing else is read as one. Method: the sample
 * written out by hand, every kind of change to a line, and values of every shape.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { AUDIT_GENESIS, AUDIT_KINDS, parseAuditDraft, parseAuditLine } from "../../src/core/audit/audit-record.ts"
import { EVENT_VALUE_LENGTH_MAX } from "../../src/core/bounds.ts"
import { append, createTrail, digest, draft } from "./audit-fixtures.ts"

function lineOf(value: unknown): string {
  const trail = createTrail()
  append(trail, [value])
  return trail.lines[0] ?? ""
}

test("a line is written exactly so", () => {
  const entry = `{"version":1,"trail":"acme","seq":1,"id":"a/outcome","kind":"outcome","time":"2026-11-28T12:00:00.000Z","request_id":"01a20120-ddd0-71f3-9b2e-15640c53da5a","trace_id":"a8fb46c2bb26dfcf90da633aab37792c","actor":{"client_id":"acme","certificate_fingerprint":"${"ab".repeat(32)}"},"action":{"method":"POST","route":"/payments","path":"/payments"},"target":"bank","outcome":{"result":"forwarded","status":201},"config_version":"e2f01c4f73128de5","prev":"${AUDIT_GENESIS}"`
  expect(lineOf(draft("a", "outcome"))).toBe(`${entry},"hash":"${digest(`${entry}}`)}"}`)
})

test.each(AUDIT_KINDS)("a record of the kind %s is read back as it was written", (kind) => {
  const members = { rule: "credentials", outcome: { result: "refused", status: 429, problem: "x", reason: "y" } }
  const line = lineOf(draft("a", kind, members))
  expect(parseAuditLine(line)).toMatchObject({
    ok: true,
    record: { ...draft("a", kind, members), trail: "acme", seq: 1 },
  })
})

test("what a stranger typed neither breaks a line nor hides in it", () => {
  const line = lineOf(draft("a", "refusal", { action: { method: "GET", path: "/a\n\u2028\u0085\u202e\ud800" } }))
  expect(line).toMatch(/^[\x20-\x7e\ufffd]+$/)
  expect(parseAuditLine(line)).toMatchObject({ ok: true })
})

test("a text is cut, and a member that is not of a record is left away", () => {
  const parsed = parseAuditDraft({ ...draft("a"), secret: "SECRET", target: "x".repeat(5_000) })
  expect(parsed?.target).toHaveLength(EVENT_VALUE_LENGTH_MAX)
  expect(JSON.stringify(parsed)).not.toContain("SECRET")
})

describe("a line that is no record as it was delivered", () => {
  const line = lineOf(draft("a", "outcome"))
  test.each<readonly [string, string, string]>([
    ["is empty", "", "unreadable"],
    ["is no JSON", "{", "unreadable"],
    ["is an event", '{"event":"request"}', "unreadable"],
    ["lacks its hash", line.replace(/,"hash":"[0-9a-f]+"/, ""), "unreadable"],
    ["has a time that is none", line.replace("12:00:00.000Z", "25:00:00.000Z"), "unreadable"],
    ["has a kind that is none", line.replace('"outcome"', '"result"'), "unreadable"],
    ["has the place 0", line.replace('"seq":1', '"seq":0'), "unreadable"],
    ["says that more is lost", line.replace('"prev"', '"lost":3,"prev"'), "unreadable"],
    ["is of a later version", line.replace('"version":1', '"version":2'), "foreign-version"],
    ["has white space", line.replace('"seq":1', '"seq": 1'), "rewritten"],
    ["has a member twice", line.replace('"target":"bank"', '"target":"shop","target":"bank"'), "rewritten"],
    ["has a member more", line.replace('"prev"', '"note":"x","prev"'), "rewritten"],
    ["has another order", line.replace(/("seq":1),("id":"a\/outcome")/, "$2,$1"), "rewritten"],
    ["has a number of another form", line.replace('"status":201', '"status":2.01e2'), "rewritten"],
  ])("%s", (_, text, fault) => {
    expect(text).not.toBe(line)
    expect(parseAuditLine(text)).toMatchObject({ ok: false, fault })
  })

  test("tells whose place it takes, as far as it can be read", () => {
    expect(parseAuditLine(line.replace('"outcome"', '"result"'))).toMatchObject({ trail: "acme", seq: 1 })
    expect(parseAuditLine("{")).toMatchObject({ trail: undefined, seq: undefined })
  })
})

test("any text is a record or none, and no value throws", () => {
  const parameters = { seed: 20_261_128, numRuns: 2_000 }
  fc.assert(
    fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
      expect(parseAuditLine(text).ok).toBe(false)
    }),
    parameters,
  )
  fc.assert(
    fc.property(fc.record(Object.fromEntries(Object.keys(draft("a")).map((key) => [key, fc.anything()]))), (value) => {
      const parsed = parseAuditDraft(value)
      if (parsed !== undefined) expect(parseAuditLine(lineOf(value)).ok).toBe(true)
    }),
    parameters,
  )
})

test.each([
  ["no id", { id: "" }],
  ["an id that is too long", { id: "x".repeat(257) }],
  ["a time without milliseconds", { time: "2026-11-28T12:00:00Z" }],
  ["a status that is no number", { outcome: { status: "201" } }],
  ["an action without a path", { action: { method: "GET" } }],
  ["a loss of nothing", { kind: "loss", lost: 0 }],
  ["an actor that is a list", { actor: [] }],
])("a draft with %s is none", (_, members) => {
  expect(parseAuditDraft({ ...draft("a"), ...members })).toBeUndefined()
})

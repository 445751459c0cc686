/**
 * Goal: whoever changes a delivered trail is found, at the place. Method: a chain of every kind of record, changed in every way
 * at random places; the verdict must name the place, and an unchanged chain must hold in any order and any number of copies.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { verifyTrails, type PlacedLine } from "../../src/core/audit/audit-verify.ts"
import { append, createTrail, digest, draft, placed } from "./audit-fixtures.ts"

function chainOf(length: number, name = "acme"): readonly string[] {
  const trail = createTrail()
  const kinds = ["intent", "outcome", "refusal", "block", "unblock", "configuration", "loss"] as const
  for (let i = 0; i < length; i++) {
    const kind = kinds[i % kinds.length]
    append(
      trail,
      [draft(`${i - (i % 2)}-${i}`, kind, kind === "configuration" ? { config_version: `${i}` } : {})],
      name,
    )
  }
  return trail.lines
}
const LINES = chainOf(24)
const verify = (lines: readonly PlacedLine[]) => verifyTrails(lines, digest)
const faultOf = (lines: readonly string[]) => verify(placed(lines))[0]?.fault

/** Returns a line with another member, hashed anew, as somebody would who knows the format. */
function forge(line: string): string {
  const entry = `${line.replace('"target":"bank"', '"target":"shop"').replace(/,"hash":"[0-9a-f]{64}"\}$/, "")}}`
  return `${entry.slice(0, -1)},"hash":"${digest(entry)}"}`
}

test("a whole trail holds, in any order, over several files and with copies", () => {
  fc.assert(
    fc.property(fc.shuffledSubarray([...LINES, ...LINES], { minLength: 48 }), (lines) => {
      const [verdict, ...others] = verify([...placed(lines.slice(0, 20), "a"), ...placed(lines.slice(20), "b")])
      expect(others).toEqual([])
      expect(verdict).toMatchObject({
        trail: "acme",
        records: 24,
        copies: 24,
        firstSeq: 1,
        lastSeq: 24,
        fault: undefined,
      })
    }),
    { seed: 1, numRuns: 100 },
  )
})

test("trails are told apart and listed by name", () => {
  const lines = [...chainOf(3, "globex"), ...LINES, ...chainOf(2, ":gateway")]
  expect(verify(placed(lines)).map(({ records, trail }) => [trail, records])).toEqual([
    [":gateway", 2],
    ["acme", 24],
    ["globex", 3],
  ])
})

test("nothing is no fault", () => {
  expect(verify([])).toEqual([])
})

describe("any single change is found, at its place:", () => {
  const parameters = { seed: 20_261_128, numRuns: 300 }
  const middle = fc.integer({ min: 1, max: LINES.length - 2 })

  test("a character", () => {
    fc.assert(
      fc.property(fc.nat(LINES.length - 1), fc.nat(2_000), fc.integer({ min: 0x20, max: 0x7e }), (index, at, code) => {
        const line = LINES[index] ?? ""
        const place = at % line.length
        const edited = line.slice(0, place) + String.fromCharCode(code) + line.slice(place + 1)
        const verdicts = verify(placed(LINES.with(index, edited)))
        // The one character that is the same is no change.
        expect(verdicts.some(({ fault }) => fault !== undefined)).toBe(edited !== line)
        const isTold = verdicts.some(({ fault }) => fault?.line === index + 1 || fault?.seq === index + 1)
        expect(isTold).toBe(edited !== line)
      }),
      parameters,
    )
  })

  test("a removal in between", () => {
    fc.assert(
      fc.property(middle, (index) => {
        expect(faultOf(LINES.toSpliced(index, 1))).toMatchObject({ kind: "gap", seq: index + 1, line: index + 1 })
      }),
      parameters,
    )
  })

  test("a beginning that is cut off", () => {
    expect(faultOf(LINES.slice(3))).toMatchObject({ kind: "headless", seq: 1, line: 1 })
  })

  test("two records that change their places", () => {
    fc.assert(
      fc.property(middle, (index) => {
        const swapped = (line: string, seq: number) => line.replace(/"seq":\d+/, `"seq":${seq}`)
        const lines = LINES.with(index, swapped(LINES[index + 1] ?? "", index + 1))
        const fault = faultOf(lines.with(index + 1, swapped(LINES[index] ?? "", index + 2)))
        expect(fault).toMatchObject({ kind: "edited", seq: index + 1 })
      }),
      parameters,
    )
  })

  test("a record that is hashed anew", () => {
    fc.assert(
      fc.property(middle, (index) => {
        // Its own hash is right; the next record says that it was another one.
        expect(faultOf(LINES.with(index, forge(LINES[index] ?? "")))).toMatchObject({
          kind: "unlinked",
          seq: index + 2,
        })
      }),
      parameters,
    )
  })

  test("a second record for one place", () => {
    fc.assert(
      fc.property(middle, (index) => {
        const lines = [...LINES, forge(LINES[index] ?? "")]
        expect(faultOf(lines)).toMatchObject({ kind: "fork", seq: index + 1, line: LINES.length + 1 })
      }),
      parameters,
    )
  })
})

test("a part of a trail holds by itself when it is said to be one, and has no other excuse", () => {
  const part = LINES.slice(10)
  expect(verifyTrails(placed(part), digest, true)).toMatchObject([{ firstSeq: 11, lastSeq: 24, fault: undefined }])
  expect(verifyTrails(placed(part.toSpliced(3, 1)), digest, true)[0]?.fault).toMatchObject({ kind: "gap", seq: 14 })
  const forged = LINES.with(0, forge(LINES[0] ?? ""))
  expect(verifyTrails(placed(forged), digest, true)[0]?.fault).toMatchObject({ kind: "unlinked", seq: 2 })
})

test("a record of a later version is named as such", () => {
  const lines = LINES.with(4, (LINES[4] ?? "").replace('"version":1', '"version":2'))
  expect(faultOf(lines)).toMatchObject({ kind: "foreign-version", seq: 5, line: 5 })
})

test("a line that names no trail is told of behind all trails", () => {
  const verdicts = verify(placed([...LINES, "x"]))
  expect(verdicts.map(({ fault, trail }) => [trail, fault?.kind])).toEqual([
    ["acme", undefined],
    [undefined, "unreadable"],
  ])
})

test("of several faults the first place is named", () => {
  const lines = LINES.with(20, forge(LINES[20] ?? "")).toSpliced(10, 1)
  expect(faultOf(lines)).toMatchObject({ kind: "gap", seq: 11 })
})

test("an intent without an outcome is unfinished and no fault; a refusal ends one, too", () => {
  const trail = createTrail()
  append(trail, [
    draft("a"),
    draft("a", "outcome"),
    draft("b"),
    draft("c"),
    draft("c", "refusal"),
    draft("d", "refusal"),
  ])
  expect(verify(placed(trail.lines))).toMatchObject([{ unfinished: 1, fault: undefined }])
})

test("what the trail says it lacks is summed up", () => {
  const trail = createTrail()
  append(trail, [draft("a", "loss", { lost: 4 }), draft("b", "loss", { lost: 38 })])
  expect(verify(placed(trail.lines))).toMatchObject([{ lost: 42, fault: undefined }])
})

/**
 * Goal: a header section that two readers could understand differently, or that is only there to be large, is not read.
 * Method: sections as plain lists, at and beyond each bound.
 */
import { describe, expect, test } from "vitest"
import { HEADER_BYTES_MAX, HEADER_COUNT_MAX } from "../../src/core/bounds.ts"
import { readHeaderSection } from "../../src/core/message/header-section.ts"

type Fields = readonly (readonly [name: string, value: string])[]

describe("readHeaderSection()", () => {
  test("gives the fields of an ordinary section by name", () => {
    const fields: Fields = [
      ["host", "gw.test"],
      ["accept", "*/*"],
      ["x-note", "a\tb é"],
    ]
    expect(readHeaderSection(fields)).toEqual({ ok: true, fields: new Map(fields) })
  })

  test("EDG-14 counts every line of a name that comes more than once", () => {
    const fields = Array.from({ length: HEADER_COUNT_MAX + 1 }, () => ["set-cookie", "a=b"] as const)
    expect(readHeaderSection(fields)).toMatchObject({ ok: false, code: "headers-too-large" })
    expect(readHeaderSection(fields.slice(1))).toEqual({ ok: true, fields: new Map([["set-cookie", "a=b"]]) })
  })

  test("EDG-14 accepts as many fields as the bound, and refuses one more", () => {
    const fields = (count: number): Fields => Array.from({ length: count }, (_, i) => [`x-${i}`, ""] as const)
    expect(readHeaderSection(fields(HEADER_COUNT_MAX)).ok).toBe(true)
    expect(readHeaderSection(fields(HEADER_COUNT_MAX + 1))).toMatchObject({ ok: false, code: "headers-too-large" })
  })

  test("EDG-14 accepts as many octets as the bound, and refuses one more", () => {
    const field = (bytes: number): Fields => [["x-a", "v".repeat(bytes - 3)]]
    expect(readHeaderSection(field(HEADER_BYTES_MAX)).ok).toBe(true)
    expect(readHeaderSection(field(HEADER_BYTES_MAX + 1))).toMatchObject({ ok: false, code: "headers-too-large" })
  })

  test.each(["\0", "\x08", "\n", "\r", "\x1b", "\x7f"])(
    "EDG-07 refuses the control character %j in a value",
    (control) => {
      expect(readHeaderSection([["x-a", `a${control}b`]])).toEqual({
        ok: false,
        code: "malformed-header",
        reason: "control_in_x-a",
      })
    },
  )

  test("names the field of a fault and never its value", () => {
    expect(JSON.stringify(readHeaderSection([["authorization", "SECRET\x1b"]]))).not.toContain("SECRET")
  })

  test("EDG-19 refuses a repeated singleton", () => {
    expect(readHeaderSection([["authorization", "Bearer a, Bearer b"]])).toEqual({
      ok: false,
      code: "duplicate-header",
      reason: "authorization",
    })
  })

  test("PTH-16 refuses two hosts as a host", () => {
    expect(readHeaderSection([["host", "a.test, b.test"]])).toMatchObject({ ok: false, code: "host-rejected" })
  })
})

/**
 * Goal: a header section that two readers could understand differently, or that is only there to be large, is not read.
 * Method: sections as plain lists with a lookup, at and beyond each bound.
 */
import { describe, expect, test } from "vitest"
import { HEADER_BYTES_MAX, HEADER_COUNT_MAX } from "../../src/core/bounds.ts"
import { findHeaderFault, type HeaderSection } from "../../src/core/header-section.ts"

function section(...fields: readonly (readonly [name: string, value: string])[]): HeaderSection {
  return { [Symbol.iterator]: () => fields.values(), get: (name) => fields.find(([key]) => key === name)?.[1] ?? null }
}

describe("findHeaderFault()", () => {
  test("finds nothing in an ordinary section", () => {
    expect(findHeaderFault(section(["host", "gw.test"], ["accept", "*/*"], ["x-note", "a\tb é"]))).toBeUndefined()
  })

  test("EDG-14 accepts as many fields as the bound, and refuses one more", () => {
    const fields = (count: number) => section(...Array.from({ length: count }, (_, i) => [`x-${i}`, ""] as const))
    expect(findHeaderFault(fields(HEADER_COUNT_MAX))).toBeUndefined()
    expect(findHeaderFault(fields(HEADER_COUNT_MAX + 1))?.code).toBe("headers-too-large")
  })

  test("EDG-14 accepts as many octets as the bound, and refuses one more", () => {
    const field = (bytes: number) => section(["x-a", "v".repeat(bytes - 3)])
    expect(findHeaderFault(field(HEADER_BYTES_MAX))).toBeUndefined()
    expect(findHeaderFault(field(HEADER_BYTES_MAX + 1))?.code).toBe("headers-too-large")
  })

  test.each(["\0", "\x08", "\n", "\r", "\x1b", "\x7f"])(
    "EDG-07 refuses the control character %j in a value",
    (control) => {
      expect(findHeaderFault(section(["x-a", `a${control}b`]))).toEqual({
        code: "malformed-header",
        reason: "control_in_x-a",
      })
    },
  )

  test("names the field of a fault and never its value", () => {
    expect(JSON.stringify(findHeaderFault(section(["authorization", "SECRET\x1b"])))).not.toContain("SECRET")
  })

  test("EDG-19 refuses a repeated singleton", () => {
    expect(findHeaderFault(section(["authorization", "Bearer a, Bearer b"]))).toEqual({
      code: "duplicate-header",
      reason: "authorization",
    })
  })

  test("PTH-16 refuses two hosts as a host", () => {
    expect(findHeaderFault(section(["host", "a.test, b.test"]))?.code).toBe("host-rejected")
  })
})

/**
 * How the command line looks, and that nothing it prints can act on a terminal.
 */
import * as fc from "fast-check"
import { afterEach, describe, expect, test, vi } from "vitest"
import { createPaint, formatTable, printable } from "../../cli/terminal.ts"

afterEach(() => {
  vi.unstubAllEnvs()
})

describe("createPaint()", () => {
  test("paints on a terminal", () => {
    vi.stubEnv("NO_COLOR", undefined)
    expect(createPaint({ isTTY: true })("red", "x")).toBe("\u001b[31mx\u001b[39m")
  })

  test.each([
    ["no terminal", {}, undefined],
    ["NO_COLOR", { isTTY: true }, "1"],
  ])("leaves text as it is with %s", (_, stream, noColor) => {
    vi.stubEnv("NO_COLOR", noColor)
    expect(createPaint(stream)("red", "x")).toBe("x")
  })

  test("paints when NO_COLOR is empty, as no-color.org has it", () => {
    vi.stubEnv("NO_COLOR", "")
    expect(createPaint({ isTTY: true })("red", "x")).not.toBe("x")
  })
})

describe("printable()", () => {
  test("shows control and format characters as escapes", () => {
    expect(printable("a\u001b[31m\n\u202e\u2028b")).toBe("a\\u001b[31m\\u000a\\u202e\\u2028b")
  })

  test("leaves everything else as it is", () => {
    expect(printable("関所 /a?b=ü")).toBe("関所 /a?b=ü")
  })

  test("lets no control, format or line character through", () => {
    const text = fc.string({ unit: "binary" })
    fc.assert(
      fc.property(text, (input) => !/[\p{Cc}\p{Cf}\u2028\u2029]/u.test(printable(input))),
      { seed: 41, numRuns: 100 },
    )
  })
})

describe("formatTable()", () => {
  const plain = (_: unknown, text: string): string => text

  test("aligns columns by their widest cell and leaves no space at the end", () => {
    const rows = [
      ["acme", "1"],
      ["a", ""],
    ]
    expect(formatTable(["client", "n"], rows, plain)).toBe("  client  n\n  acme    1\n  a")
  })

  test("takes a row that lacks cells", () => {
    expect(formatTable(["a", "b"], [["x"]], plain)).toBe("  a  b\n  x")
  })

  test("pads before it paints, so that colours do not shift columns", () => {
    const paintCell = (text: string, column: number): string => (column === 0 ? `<${text}>` : text)
    expect(formatTable(["name", "n"], [["a", "1"]], plain, paintCell)).toBe("  name  n\n  <a   >  1")
  })
})

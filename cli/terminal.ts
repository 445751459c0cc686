/**
 * How the command line looks: colours, tables, and safe printing of text that is not ours. Pure except for the question
 * whether a stream wants colours.
 */
import { styleText } from "node:util"

type Style = Parameters<typeof styleText>[0]

/** Paints text, or leaves it as it is. */
export type Paint = (style: Style, text: string) => string

/** Returns the paint for a stream: colours only on a terminal, and never with NO_COLOR (https://no-color.org). */
export function createPaint(stream: { readonly isTTY?: boolean }): Paint {
  const isColored = stream.isTTY === true && (process.env["NO_COLOR"] ?? "") === ""
  return (style, text) => (isColored ? styleText(style, text, { validateStream: false }) : text)
}

/** Returns text that cannot act on a terminal: every control character becomes its visible escape. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\u2028\u2029]/gu,
    (char) => `\\u${(char.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`,
  )
}

/**
 * Returns rows as aligned columns under a dimmed heading, indented by two. Widths count characters, so cells must not be
 * painted; `paintCell` paints them once they are padded.
 */
export function formatTable(
  heading: readonly string[],
  rows: readonly (readonly string[])[],
  paint: Paint,
  paintCell: (text: string, column: number) => string = (text) => text,
): string {
  const widths = heading.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => (row[column] ?? "").length)),
  )
  const line = (cells: readonly string[], paintOne: (text: string, column: number) => string) =>
    `  ${cells.map((cell, column) => paintOne(column === cells.length - 1 ? cell : cell.padEnd(widths[column] ?? 0), column)).join("  ")}`.trimEnd()
  return [line(heading, (text) => paint("dim", text)), ...rows.map((row) => line(row, paintCell))].join("\n")
}

/**
 * Goal: the guide for those who come from elsewhere names no key that does not exist, and README every field that may change on
 * the way. Method: read the documents; compare them with the schemas and with the list that the differential test goes by.
 */
import { expect, test } from "vitest"
import { SCHEMAS } from "../../src/config/schema.ts"
import { CHANGED } from "../e2e/changed-fields.ts"
import { readMarkdownTable, readText } from "./files.ts"

/** Tables of named tables and arrays are schemas of one item. */
const SCHEMA_OF: Readonly<Record<string, keyof typeof SCHEMAS>> = {
  GATEWAY: "GATEWAY",
  ADMIN: "ADMIN",
  ISSUERS: "ISSUER",
  CLIENTS: "CLIENT",
  ORIGINS: "ORIGIN",
  LIMITS: "LIMIT",
  GUARDS: "GUARD",
  ROUTES: "ROUTE",
  SINKS: "SINK",
  TOKENS: "TOKEN",
}

/** What valibot wraps a table in: an optional value, a list that is checked on its own. */
interface Shape {
  readonly entries?: Readonly<Record<string, Shape>>
  readonly wrapped?: Shape
  readonly item?: Shape
  readonly pipe?: readonly Shape[]
}

function childOf(shape: Shape | undefined, key: string): Shape | undefined {
  if (shape === undefined) return undefined
  if (shape.entries !== undefined) return shape.entries[key]
  return [shape.wrapped, shape.item, ...(shape.pipe ?? []).filter((part) => part !== shape)]
    .map((inner) => childOf(inner, key))
    .find((found) => found !== undefined)
}

function isKey(written: string): boolean {
  const [variable = "", ...keys] = written.split(".")
  const name = SCHEMA_OF[variable]
  const start: object | undefined = name && SCHEMAS[name]
  return keys.reduce<Shape | undefined>(childOf, start) !== undefined
}

const keysOf = (text: string): readonly string[] =>
  [...text.matchAll(/`([A-Z]+(?:\.[a-z_]+)+)`/g)].map(([, key = ""]) => key)

test("every key that docs/migration.md names exists", () => {
  const keys = keysOf(readText("docs/migration.md"))
  expect(keys.filter((key) => !isKey(key))).toEqual([])
  expect(keys.length).toBeGreaterThan(40)
})

test("a key that does not exist would be found, also inside a list", () => {
  expect(["ROUTES.path", "CLIENTS.certificates.spki", "ISSUERS.crl.stale"].filter(isKey)).toHaveLength(3)
  expect(["ROUTES.paths", "CLIENTS.certificates.dn", "ISSUERS.crl.path", "PATHS.path"].filter(isKey)).toEqual([])
})

test("every option of docs/migration.md says what it is here", () => {
  const rows = readMarkdownTable("docs/migration.md", "## Options")
  expect(rows.length).toBeGreaterThanOrEqual(40)
  expect(rows.filter((cells) => cells.length !== 5 || cells.includes(""))).toEqual([])
  expect(rows.filter((cells) => cells[4] === "-")).toEqual([])
})

test("README names every field that may change on the way", () => {
  const section = (
    readText("README.md").split("### What differs on the way\n")[1]?.split(/\n#+ /)[0] ?? ""
  ).toLowerCase()
  const names = [CHANGED.request, CHANGED.answer].flatMap((side) => Object.values(side).flat())
  expect(names.filter((name) => !section.includes(`\`${name}\``))).toEqual([])
})

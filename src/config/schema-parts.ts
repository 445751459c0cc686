/**
 * The parts that configuration schemas are made of: each carries the sentence that tells an operator what it accepts.
 *
 * valibot checks shapes and collects every issue; these parts see to it that an issue never says only that something is
 * wrong. Pure; used by `config/schema.ts`.
 */
import * as v from "valibot"
import { isJsonObject } from "../core/untrusted.ts"

/** A schema of T that takes anything. */
export type Schema<T> = v.GenericSchema<unknown, T>

/** What each schema accepts, in words; read when the key is missing. */
const ACCEPTS = new WeakMap<object, string>()

/** A refusal that explains more than what would be accepted in general. */
interface Refused {
  readonly refused: string
}
type Accepted<R> = Exclude<R, undefined | Refused>

/** A value that `parse` turns into what the gateway uses, or refuses with undefined or with a sentence of its own. */
export function value<R>(accepts: string, parse: (input: unknown) => R): Schema<Accepted<R>> {
  const schema = v.pipe(
    v.unknown(),
    v.rawTransform<unknown, Accepted<R>>(({ dataset, addIssue, NEVER }) => {
      const parsed = parse(dataset.value)
      if (parsed !== undefined && !isRefused(parsed)) return parsed as Accepted<R>
      addIssue({ message: isRefused(parsed) ? parsed.refused : accepts })
      return NEVER
    }),
  )
  ACCEPTS.set(schema, accepts)
  return schema
}

function isRefused(parsed: unknown): parsed is Refused {
  return typeof parsed === "object" && parsed !== null && "refused" in parsed
}

/** A text that `parse` turns into what the gateway uses. */
export const text = <R>(accepts: string, parse: (input: string) => R): Schema<Accepted<R>> =>
  value(accepts, (input) => (typeof input === "string" ? parse(input) : undefined)) as Schema<Accepted<R>>

/** A whole number within bounds, both included. */
export const integer = (min: number, max: number): Schema<number> =>
  value(`a whole number from ${min} to ${max}`, (input) =>
    typeof input === "number" && Number.isInteger(input) && input >= min && input <= max ? input : undefined,
  )

/** True or false, not in quotes. */
export const flag = (): Schema<boolean> =>
  value("true or false", (input) => (typeof input === "boolean" ? input : undefined))

/** One of the given texts. */
export const oneOf = <const T extends string>(...values: readonly T[]): Schema<T> =>
  text(values.map((item) => `"${item}"`).join(" or "), (input) => values.find((item) => item === input))

/** An array of at least `min` items. */
export function list<T>(accepts: string, item: Schema<T>, min = 1): Schema<readonly T[]> {
  const schema = v.pipe(v.array(item, accepts), v.minLength(min, accepts))
  ACCEPTS.set(schema, accepts)
  return schema
}

/** A table with exactly these keys. Schemas wrapped by `v.exactOptional` may be left out. */
export function table<const E extends v.ObjectEntries>(what: string, entries: E): v.StrictObjectSchema<E, undefined> {
  const keys = Object.keys(entries).join(", ")
  const unknownKey = value(`no such key; ${what} has: ${keys}`, () => undefined)
  const schema = v.objectWithRest(entries, unknownKey, (issue) => {
    const entry = entries[String(issue.path?.at(-1)?.key)]
    if (issue.path === undefined || entry === undefined || !issue.expected.startsWith('"'))
      return `${what}: a table with ${keys}`
    return `required: ${acceptedBy(entry)}`
  })
  ACCEPTS.set(schema, `${what}: a table with ${keys}`)
  // It accepts what a strict object accepts; valibot's own stops at the first unknown key and does not show its value.
  return schema as unknown as v.StrictObjectSchema<E, undefined>
}

/** Returns the names and texts of a table that holds nothing but texts; undefined for anything else. */
export function textEntries(input: unknown): readonly (readonly [name: string, text: string])[] | undefined {
  if (!isJsonObject(input)) return undefined
  const entries: readonly (readonly [string, unknown])[] = Object.entries(input)
  return entries.every((entry): entry is readonly [string, string] => typeof entry[1] === "string")
    ? entries
    : undefined
}

/** Returns the sentence of a schema that says what it accepts. */
export function acceptedBy(schema: object): string {
  return ACCEPTS.get(schema) ?? "a value"
}

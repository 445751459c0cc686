/**
 * Which regular expressions a route may use: those that cannot backtrack far, by construction.
 *
 * A pattern is accepted when its shape alone bounds the work. Alternatives and optional parts multiply the ways through
 * it, and each way is a flat row of atoms. In a row at most one atom has an open length between two slashes, so the next
 * slash settles it; at most one atom of a row can match a slash at all. A way thus costs at most about twice
 * path length x row length steps, and the number of ways x row length is bounded. Pure and total; called at start only.
 */

/** The compiled pattern, or a sentence naming what would be accepted instead. */
export type RouteRegexResult =
  | { readonly ok: true; readonly regex: RegExp }
  | { readonly ok: false; readonly expected: string }

/** Longest pattern in characters: bounds the recursion of the reader. */
export const PATTERN_LENGTH_MAX = 512
/** Most repetitions that a bounded repeat may ask for. */
export const REPEAT_MAX = 64
/**
 * Most ways through a pattern times atoms of the longest way: about 2 million steps on a path of REGEX_PATH_LENGTH_MAX.
 * It holds for one pattern; a request that no earlier pattern matches tries all of a table.
 */
export const PATTERN_WORK_MAX = 512

/** What a part of a pattern can cost, as the maximum over all ways through it. */
interface Cost {
  /** Different ways through the part. */
  readonly ways: number
  /** Atoms in a row. */
  readonly length: number
  /** Atoms in a row that match a slash without being one. */
  readonly slashWild: number
  /** Atoms of open length in a row without a slash; -Infinity when every way has a slash. */
  readonly bare: number
  /** The same before the first slash and after the last; -Infinity when no way has a slash. */
  readonly head: number
  readonly tail: number
  /** The same between two slashes, both inside the part. */
  readonly between: number
}

const NOTHING: Cost = { ways: 1, length: 0, slashWild: 0, bare: 0, head: -Infinity, tail: -Infinity, between: 0 }
const SLASH: Cost = { ways: 1, length: 1, slashWild: 0, bare: -Infinity, head: 0, tail: 0, between: 0 }

/** What would be accepted instead of the part that the reader stands at. */
interface Refused {
  readonly expected: string
}

/** How often an atom repeats: `least` to `most` times. `text` holds a lazy quantifier's second `?` too. */
interface Quantifier {
  readonly text: string
  readonly least: number
  readonly most: number
}

const SLASH_CODE = 0x2f
/** Printable ASCII: what a canonical path and a pattern for it consist of. */
const PATTERN = /^[!-~]*$/
const QUANTIFIER = /(?:[*+?]|\{(?<least>[0-9]+)(?<open>,(?<most>[0-9]*))?\})(?<lazy>\?)?/y
const CLASS_ITEM = /(?<from>\\.|[^\\])(?:-(?<to>\\.|[^\\\]]))?/y

/**
 * Returns the pattern compiled with the flag `u`, or what would be accepted instead.
 *
 * The pattern starts with `^` and ends with `$`. It consists of characters, classes, `.`, `\d`, `\w`, escaped
 * punctuation, groups `(...)` and `(?:...)`, alternatives in groups, and quantifiers. A group may be followed by `?`
 * only. Of open length are `*`, `+`, `{n,}` and `{n,m}`: between two slashes there is one at most, and one atom in a row
 * that is no slash but matches one (`.`, `[^a]`). Repeats go up to 64 and a slash is not repeated, for a canonical path
 * has no empty segment. Back references, lookaround, lazy quantifiers and flags are refused.
 *
 * Case matters always: a path that differs in case is another path.
 */
export function checkRouteRegex(pattern: string): RouteRegexResult {
  if (pattern.length > PATTERN_LENGTH_MAX) return refuse(`a pattern of at most ${PATTERN_LENGTH_MAX} characters`)
  if (!PATTERN.test(pattern)) return refuse("a pattern of printable ASCII characters without spaces")
  let regex: RegExp
  try {
    regex = new RegExp(pattern, "u")
  } catch {
    return refuse("a regular expression in ECMAScript syntax, as the flag u reads it")
  }
  if (!pattern.startsWith("^")) return refuse("a pattern that starts with ^ and ends with $")
  const reader = new PatternReader(pattern)
  const cost = reader.readAlternatives()
  if ("expected" in cost) return refuse(cost.expected)
  if (!reader.isAtEnd()) return refuse("a pattern that starts with ^ and ends with $")
  if (cost.slashWild > 1)
    return refuse("at most one atom that matches a slash without being one: write [^/] for . there")
  if (Math.max(cost.bare, cost.head, cost.tail, cost.between) > 1) {
    return refuse(
      "at most one of *, +, {n,}, {n,m} and . between two slashes: use fixed repeats {n} or optional characters",
    )
  }
  // A way without atoms still is a way: without the lower bound of 1, ^(|)(|)...$ would look free.
  const work = cost.ways * Math.max(1, cost.length)
  if (work > PATTERN_WORK_MAX) {
    return refuse(
      `fewer alternatives, optional parts or characters: ways x length at most ${PATTERN_WORK_MAX}, not ${work}`,
    )
  }
  return { ok: true, regex }
}

function refuse(expected: string): { readonly ok: false; readonly expected: string } {
  return { ok: false, expected }
}

/** Reads a pattern that the engine has accepted, from its `^` on, and adds up what it can cost. */
class PatternReader {
  readonly #pattern: string
  #at = 1

  constructor(pattern: string) {
    this.#pattern = pattern
  }

  /** Returns true when only the final `$` is left. */
  isAtEnd(): boolean {
    return this.#at === this.#pattern.length - 1 && this.#pattern[this.#at] === "$"
  }

  /** Reads up to the end of a group or to the final `$`. Alternatives outside a group would be anchored on one side. */
  readAlternatives(isGroup = false): Cost | Refused {
    let total: Cost | undefined
    for (;;) {
      const row = this.#readRow()
      if ("expected" in row) return row
      total = total === undefined ? row : either(total, row)
      if (this.#pattern[this.#at] !== "|") return total
      if (!isGroup) return { expected: "alternatives inside a group: ^(?:a|b)$" }
      this.#at += 1
    }
  }

  #readRow(): Cost | Refused {
    let row = NOTHING
    for (;;) {
      const next = this.#pattern[this.#at]
      if (next === undefined || next === "|" || next === ")" || next === "$") return row
      const part = this.#readPart(next)
      if ("expected" in part) return part
      row = inRow(row, part)
    }
  }

  #readPart(next: string): Cost | Refused {
    if (next === "^") return { expected: "a pattern with ^ only at its start" }
    if (next === "(") return this.#readGroup()
    if (next === "/" || this.#pattern.startsWith("\\/", this.#at)) {
      this.#at += next === "/" ? 1 : 2
      return this.#quantifySlash()
    }
    const matchesSlash = next === "[" ? this.#readClass() : next === "\\" ? this.#readEscape() : next === "."
    if (typeof matchesSlash !== "boolean") return matchesSlash
    if (next !== "[" && next !== "\\") this.#at += 1
    return this.#quantifyAtom(matchesSlash)
  }

  #readGroup(): Cost | Refused {
    const isPlain = this.#pattern[this.#at + 1] !== "?"
    if (!isPlain && !this.#pattern.startsWith("(?:", this.#at)) {
      return { expected: "groups (...) and (?:...) only, without lookaround, names or flags" }
    }
    this.#at += isPlain ? 1 : 3
    const cost = this.readAlternatives(true)
    if ("expected" in cost) return cost
    if (this.#pattern[this.#at] !== ")") return { expected: "a pattern with $ only at its end" }
    this.#at += 1
    const quantifier = this.#readQuantifier()
    if (quantifier === undefined) return cost
    return quantifier.text === "?" ? either(NOTHING, cost) : { expected: "no quantifier but ? after a group" }
  }

  #quantifySlash(): Cost | Refused {
    const quantifier = this.#readQuantifier()
    if (quantifier === undefined) return SLASH
    return quantifier.text === "?" ? either(NOTHING, SLASH) : { expected: "no quantifier but ? after a slash" }
  }

  #quantifyAtom(matchesSlash: boolean): Cost | Refused {
    const { text, least, most } = this.#readQuantifier() ?? { text: "", least: 1, most: 1 }
    if (text.length > 1 && text.endsWith("?")) return { expected: "no lazy quantifiers: anchored, they match the same" }
    if (least > REPEAT_MAX || (most > REPEAT_MAX && most !== Infinity)) {
      return { expected: `repeats of at most ${REPEAT_MAX}` }
    }
    const slashWild = matchesSlash ? 1 : 0
    // An atom that may take the slash moves the border that settles the others, so it counts as open in any case.
    const isOpen = matchesSlash || (text !== "?" && least !== most)
    const length = most === Infinity ? least + 1 : most
    const atom: Cost = { ...NOTHING, length, slashWild, bare: isOpen ? 1 : 0 }
    return text === "?" ? either(NOTHING, atom) : atom
  }

  #readQuantifier(): Quantifier | undefined {
    QUANTIFIER.lastIndex = this.#at
    const match = QUANTIFIER.exec(this.#pattern)
    if (match === null) return undefined
    this.#at = QUANTIFIER.lastIndex
    const [text] = match
    const { least, open, most } = match.groups ?? {}
    if (least === undefined)
      return { text, least: text.startsWith("+") ? 1 : 0, most: text.startsWith("?") ? 1 : Infinity }
    // {n} is n to n, {n,m} is n to m, {n,} has no end.
    return { text, least: Number(least), most: open === undefined ? Number(least) : most ? Number(most) : Infinity }
  }

  /** Reads `\d`, `\w` or escaped punctuation; returns whether it matches a slash, which none of them does. */
  #readEscape(): boolean | Refused {
    if (!isPlainEscape(this.#pattern.slice(this.#at, this.#at + 2))) {
      return { expected: "no escapes but \\d, \\w and those of punctuation; no back references" }
    }
    this.#at += 2
    return false
  }

  /** Reads a class; returns whether it matches a slash. */
  #readClass(): boolean | Refused {
    const isNegated = this.#pattern[this.#at + 1] === "^"
    this.#at += isNegated ? 2 : 1
    let holdsSlash = false
    while (this.#pattern[this.#at] !== "]") {
      CLASS_ITEM.lastIndex = this.#at
      const match = CLASS_ITEM.exec(this.#pattern)
      const { from = "", to = from } = match?.groups ?? {}
      if (match === null || ![from, to].every((item) => item.length === 1 || isPlainEscape(item))) {
        return { expected: "no escapes in a class but \\d, \\w and those of punctuation" }
      }
      this.#at = CLASS_ITEM.lastIndex
      holdsSlash ||= codeOf(from) <= SLASH_CODE && SLASH_CODE <= codeOf(to)
    }
    this.#at += 1
    return holdsSlash !== isNegated
  }
}

/** Returns true for `\d`, `\w` and escaped punctuation: escapes whose meaning ends after one character. */
function isPlainEscape(text: string): boolean {
  return /^\\[dw!-/:-@[-`{-~]$/.test(text)
}

/** Returns the code of a class item; `\d` and `\w` count as their letter, for neither holds a slash. */
function codeOf(item: string): number {
  return item.charCodeAt(item.length - 1)
}

/** Returns the cost of two parts one after the other. */
function inRow(a: Cost, b: Cost): Cost {
  return {
    ways: a.ways * b.ways,
    length: a.length + b.length,
    slashWild: a.slashWild + b.slashWild,
    bare: a.bare + b.bare,
    head: Math.max(a.head, a.bare + b.head),
    tail: Math.max(b.tail, a.tail + b.bare),
    between: Math.max(a.between, b.between, a.tail + b.head),
  }
}

/** Returns the cost of two parts of which a way takes one. */
function either(a: Cost, b: Cost): Cost {
  return {
    ways: a.ways + b.ways,
    length: Math.max(a.length, b.length),
    slashWild: Math.max(a.slashWild, b.slashWild),
    bare: Math.max(a.bare, b.bare),
    head: Math.max(a.head, b.head),
    tail: Math.max(a.tail, b.tail),
    between: Math.max(a.between, b.between),
  }
}

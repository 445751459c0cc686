/**
 * Goal: no accepted pattern can be made to backtrack far. Method: each rule by example; then random patterns are run
 * through a naive backtracking matcher that counts its steps on hostile texts, which needs no clock.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { checkRouteRegex, PATTERN_LENGTH_MAX, PATTERN_WORK_MAX } from "../../src/core/route/route-regex.ts"

/** Returns the sentence with which a pattern is refused, undefined when it is accepted. */
function refusal(pattern: string): string | undefined {
  const result = checkRouteRegex(pattern)
  return result.ok ? undefined : result.expected
}

describe("checkRouteRegex() accepts", () => {
  test.each([
    ["^/v\\d+/items$", "/v12/items", "/v/items"],
    ["^/accounts/[A-Za-z0-9-]+/transactions/[0-9]+$", "/accounts/a-1/transactions/7", "/accounts/a/b/transactions/7"],
    ["^/a$", "/a", "/A"],
    ["^\\/a\\.b$", "/a.b", "/axb"],
    ["^/(?:accounts|payments)/[0-9]{1,10}$", "/payments/1", "/cards/1"],
    ["^/(accounts|payments)$", "/accounts", "/payment"],
    ["^/accounts(?:/[0-9]+)?$", "/accounts/1", "/accounts/"],
    ["^/accounts/?$", "/accounts/", "/accounts//"],
    ["^(?:/a|/b/c)$", "/b/c", "/b"],
    ["^/(?:[a-z]+|[0-9]{3})/x$", "/123/x", "/12/x"],
    ["^/.*$", "/a/b/c", "a"],
    ["^/files/.+\\.pdf$", "/files/a/b.pdf", "/files/.pdf"],
    ["^/a/.*/b/[^/]+$", "/a/x/y/b/c", "/a/b/c"],
    ["^/[0-9a-f]{8}-[0-9a-f]{4}$", "/0123abcd-0123", "/0123abcd-012"],
    ["^/\\d\\d?-\\d\\d?$", "/1-12", "/1-123"],
    ["^/[\\w.~-]+$", "/a.b~c-d", "/a/b"],
    ["^/[$|()*+?.]$", "/$", "/a"],
    ["^/[^/]$", "/a", "//"],
    ["^/a{64}$", `/${"a".repeat(64)}`, "/a"],
    ["^/a{2,}$", "/aaa", "/a"],
    ["^/%C3%A9$", "/%C3%A9", "/%c3%a9"],
    ["^/a:b@c$", "/a:b@c", "/a"],
    ["^/x(?:)$", "/x", "/"],
    ["^/[^]$", "/a", "/"],
  ])("%s, which matches %s and not %s", (pattern, match, other) => {
    const result = checkRouteRegex(pattern)
    expect(result.ok && [result.regex.test(match), result.regex.test(other)]).toEqual([true, false])
  })

  test("and compiles with the flag u alone", () => {
    const result = checkRouteRegex("^/a$")
    expect(result.ok && result.regex.flags).toBe("u")
  })
})

describe("checkRouteRegex() refuses", () => {
  test.each([
    ["", "starts with ^"],
    ["/a$", "starts with ^"],
    ["^/a", "ends with $"],
    ["^/a\\$", "ends with $"],
    ["^", "ends with $"],
    ["^/a$b$", "ends with $"],
    ["^/a|/b$", "alternatives inside a group"],
    ["^/a$|^/b$", "ends with $"],
    ["^/(?:a$)$", "$ only at its end"],
    ["^/(?:^a)$", "^ only at its start"],
    ["^^/a$", "^ only at its start"],
    ["^/[z-a]$", "ECMAScript syntax"],
    ["^/(a$", "ECMAScript syntax"],
    ["^/a)$", "ECMAScript syntax"],
    ["^/a**$", "ECMAScript syntax"],
    ["^/a{2,1}$", "ECMAScript syntax"],
    ["^/a{$", "ECMAScript syntax"],
    ["^/\\-$", "ECMAScript syntax"],
    ["^/a b$", "printable ASCII"],
    ["^/é$", "printable ASCII"],
    ["^/a\n$", "printable ASCII"],
    ["^/(a)\\1$", "no back references"],
    ["^/(?<n>a)\\k<n>$", "groups (...)"],
    ["^/(?=a)a$", "groups (...)"],
    ["^/(?!a)b$", "groups (...)"],
    ["^/(?<=a)b$", "groups (...)"],
    ["^/(?<!a)b$", "groups (...)"],
    ["^/(?i:a)$", "groups (...)"],
    ["^/\\ba$", "no escapes but"],
    ["^/\\S+$", "no escapes but"],
    ["^/\\W$", "no escapes but"],
    ["^/\\x2f$", "no escapes but"],
    ["^/\\u{2f}$", "no escapes but"],
    ["^/\\p{L}+$", "no escapes but"],
    ["^/[\\S]$", "no escapes in a class"],
    ["^/[\\x2f]$", "no escapes in a class"],
    ["^/[!-\\x2f]$", "no escapes in a class"],
    ["^/a+?$", "no lazy quantifiers"],
    ["^/a??$", "no lazy quantifiers"],
    ["^/a{2}?$", "no lazy quantifiers"],
    ["^(a+)+$", "after a group"],
    ["^(a|a)*$", "after a group"],
    ["^(?:a?)+$", "after a group"],
    ["^/(?:a){2}$", "after a group"],
    ["^/(?:a)??$", "after a group"],
    ["^/(?:/[a-z]+)*$", "after a group"],
    ["^/+a$", "after a slash"],
    ["^\\/*a$", "after a slash"],
    ["^/??a$", "after a slash"],
    ["^/a{65}$", "at most 64"],
    ["^/a{1,65}$", "at most 64"],
    ["^/a{65,}$", "at most 64"],
    ["^/.*/.*$", "matches a slash"],
    ["^/[^a]/[^a]$", "matches a slash"],
    ["^/[/]/[.-0]$", "matches a slash"],
    ["^/[+--/]/.$", "matches a slash"],
    ["^/[\\/]/.$", "matches a slash"],
    ["^/[^]/.$", "matches a slash"],
    ["^/a*a*$", "between two slashes"],
    ["^/[a-z]+[a-z0-9]*/x$", "between two slashes"],
    ["^/a{1,9}a{1,9}$", "between two slashes"],
    ["^/[^/]+.*$", "between two slashes"],
    ["^/[^/]*-./x$", "between two slashes"],
    ["^/(?:a+|b)c*$", "between two slashes"],
    ["^/(?:x/a+)?b*/y$", "between two slashes"],
    ["^/a+(?:b/c)?d+$", "between two slashes"],
    ["^/a+/?b+$", "between two slashes"],
    ["^a*(?:b*/)c$", "between two slashes"],
  ])("%s", (pattern, expected) => {
    expect(refusal(pattern)).toContain(expected)
  })

  test.each([
    ["optional characters", `^/${"a?".repeat(30)}${"a".repeat(30)}$`],
    ["alternatives", `^/${"(a|a)".repeat(30)}$`],
    ["alternatives that differ", `^/${"(?:a|b)".repeat(9)}$`],
    ["empty alternatives", `^${"(|)".repeat(100)}$`],
    ["optional empty groups", `^${"()?".repeat(100)}$`],
    ["nested optional groups", `^/${"(a?".repeat(60)}${")?".repeat(60)}a{60}$`],
  ])("too many ways through %s", (_, pattern) => {
    expect(refusal(pattern)).toContain("ways x length")
  })

  test("one atom more than the bound on ways x length allows", () => {
    const row = (atoms: number): string => `^${"(?:a|b)".repeat(3)}${"c".repeat(atoms - 3)}$`
    const ways = 2 ** 3
    const bound = PATTERN_WORK_MAX / ways
    expect([refusal(row(bound)), refusal(row(bound + 1))]).toEqual([
      undefined,
      expect.stringContaining("ways x length"),
    ])
  })

  test("a pattern longer than its bound", () => {
    expect(refusal(`^/${"a".repeat(PATTERN_LENGTH_MAX)}$`)).toContain(`${PATTERN_LENGTH_MAX} characters`)
  })

  test("a text of any kind without throwing", () => {
    const part = fc.constantFrom(
      ..."^$()[]{}?*+|\\/.-,0aA1dwsSbkpux<>=!:^-".split(""),
      "(?:",
      "{1,2}",
      "[^",
      "\\d",
      "^/",
      "/$",
      "é",
    )
    fc.assert(
      fc.property(fc.array(part, { maxLength: 24 }), (parts) => {
        expect(() => checkRouteRegex(`^${parts.join("")}$`)).not.toThrow()
      }),
      { seed: 1301, numRuns: 20_000 },
    )
  })

  test("no group for its depth alone", () => {
    const depth = 250
    expect(refusal(`^${"(".repeat(depth)}${")".repeat(depth)}$`)).toBeUndefined()
  })
})

/** A pattern as a tree, for the matcher that counts. `set` lists the characters of an atom. */
type Tree =
  | { readonly kind: "atom"; readonly text: string; readonly set: string }
  | { readonly kind: "repeat"; readonly atom: Tree & { kind: "atom" }; readonly least: number; readonly most: number }
  | { readonly kind: "row"; readonly parts: readonly Tree[] }
  | { readonly kind: "either"; readonly options: readonly Tree[]; readonly isOptional: boolean }

const ALPHABET = "ab-/"

const atom = fc.constantFrom(
  { kind: "atom", text: "a", set: "a" } as const,
  { kind: "atom", text: "/", set: "/" } as const,
  { kind: "atom", text: "-", set: "-" } as const,
  { kind: "atom", text: "[ab]", set: "ab" } as const,
  { kind: "atom", text: "[^/]", set: "ab-" } as const,
  { kind: "atom", text: "[^b]", set: "a-/" } as const,
  { kind: "atom", text: ".", set: ALPHABET } as const,
)
const repeat = fc
  .tuple(atom, fc.constantFrom([0, Infinity], [1, Infinity], [0, 1], [2, 2], [1, 3], [2, Infinity]))
  .map(([of, [least = 0, most = 0]]): Tree => ({ kind: "repeat", atom: of, least, most }))
const { tree } = fc.letrec<{ tree: Tree; part: Tree }>((tie) => ({
  tree: fc.array(tie("part"), { minLength: 1, maxLength: 7 }).map((parts): Tree => ({ kind: "row", parts })),
  part: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    { weight: 3, arbitrary: atom },
    { weight: 3, arbitrary: repeat },
    {
      weight: 1,
      arbitrary: fc
        .tuple(fc.array(tie("tree"), { minLength: 1, maxLength: 3 }), fc.boolean())
        .map(([options, isOptional]): Tree => ({ kind: "either", options, isOptional })),
    },
  ),
}))

/** Returns the source text of a tree. */
function source(node: Tree): string {
  if (node.kind === "atom") return node.text
  if (node.kind === "row") return node.parts.map(source).join("")
  if (node.kind === "either") return `(?:${node.options.map(source).join("|")})${node.isOptional ? "?" : ""}`
  const { least, most } = node
  if (least === 0 && most === 1) return `${node.atom.text}?`
  if (most === Infinity) return node.atom.text + (least === 0 ? "*" : least === 1 ? "+" : `{${least},}`)
  return `${node.atom.text}{${least === most ? least : `${least},${most}`}}`
}

/** Returns the number of ways through a tree and the atoms of the longest, as the checker defines them. */
function measure(node: Tree): { ways: number; length: number } {
  if (node.kind === "atom") return { ways: 1, length: 1 }
  if (node.kind === "repeat") {
    return {
      ways: node.least === 0 && node.most === 1 ? 2 : 1,
      length: node.most === Infinity ? node.least + 1 : node.most,
    }
  }
  const parts = (node.kind === "row" ? node.parts : node.options).map(measure)
  const ways = parts.map((part) => part.ways)
  const lengths = parts.map((part) => part.length)
  if (node.kind === "row") return { ways: ways.reduce((a, b) => a * b, 1), length: lengths.reduce((a, b) => a + b, 0) }
  return { ways: ways.reduce((a, b) => a + b, node.isOptional ? 1 : 0), length: Math.max(...lengths) }
}

/** Matches a whole text by plain greedy backtracking and counts the characters it compares. */
function run(node: Tree, text: string): { isMatch: boolean; steps: number } {
  let steps = 0
  const step = (of: Tree & { kind: "atom" }, at: number): boolean => {
    steps += 1
    const character = text[at]
    return character !== undefined && of.set.includes(character)
  }
  const visit = (of: Tree, at: number, next: (at: number) => boolean): boolean => {
    if (of.kind === "atom") return step(of, at) && next(at + 1)
    if (of.kind === "repeat") {
      let end = at
      while (end - at < of.most && step(of.atom, end)) end += 1
      for (; end - at >= of.least; end -= 1) if (next(end)) return true
      return false
    }
    if (of.kind === "either") return of.options.some((option) => visit(option, at, next)) || (of.isOptional && next(at))
    const from = (i: number, place: number): boolean => {
      const part = of.parts[i]
      return part === undefined ? next(place) : visit(part, place, (after) => from(i + 1, after))
    }
    return from(0, at)
  }
  const isMatch = visit(node, 0, (at) => {
    steps += 1
    return at === text.length
  })
  return { isMatch, steps }
}

/** Long texts of few different segments, ending in a way that makes the last atom fail. */
const hostileText = fc
  .tuple(
    fc.array(fc.constantFrom("a", "a", "b", "-", "/", "aa", "a/", "aaaa", "-a"), { minLength: 1, maxLength: 6 }),
    fc.integer({ min: 1, max: 40 }),
    fc.constantFrom("", "!", "/", "b", "-"),
  )
  .map(([unit, times, end]) => unit.join("").repeat(times) + end)

describe("checkRouteRegex() bounds", () => {
  test("the steps of every accepted pattern by ways, length and the text", () => {
    fc.assert(
      fc.property(tree, hostileText, (node, text) => {
        fc.pre(checkRouteRegex(`^${source(node)}$`).ok)
        const { ways, length } = measure(node)
        expect(run(node, text).steps).toBeLessThanOrEqual(2 * ways * (length + 1) * (text.length + 1))
      }),
      { seed: 1302, numRuns: 20_000 },
    )
  })

  test("ways and length together by PATTERN_WORK_MAX", () => {
    fc.assert(
      fc.property(tree, (node) => {
        fc.pre(checkRouteRegex(`^${source(node)}$`).ok)
        const { ways, length } = measure(node)
        expect(ways * length).toBeLessThanOrEqual(PATTERN_WORK_MAX)
      }),
      { seed: 1303, numRuns: 20_000 },
    )
  })

  test("what the engine matches too: the counting matcher agrees with it", () => {
    const text = fc
      .array(fc.constantFrom(...ALPHABET.split("")), { maxLength: 6 })
      .map((characters) => characters.join(""))
    fc.assert(
      fc.property(tree, text, (node, value) => {
        const result = checkRouteRegex(`^${source(node)}$`)
        fc.pre(result.ok)
        expect(result.regex.test(value)).toBe(run(node, value).isMatch)
      }),
      { seed: 1304, numRuns: 20_000 },
    )
  })
})

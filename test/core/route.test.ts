/**
 * Goal: the path chooses the place, the method the route, and no method leads to a weaker place. Method: examples of
 * each rule, and random tables held against a linear reading of the rules.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { REGEX_PATH_LENGTH_MAX } from "../../src/core/bounds.ts"
import {
  compileRoutes,
  findUnreachable,
  matchRoute,
  type RouteDecision,
  type RouteMatch,
} from "../../src/core/route/route.ts"

interface NamedRoute extends RouteMatch {
  readonly name: string
}

/** Builds a route from `= /path`, `^regex$` or `/prefix`, and its methods; the text is its name. */
function route(text: string, methods = "GET"): NamedRoute {
  const match: RouteMatch["match"] = text.startsWith("= ")
    ? { kind: "exact", path: text.slice(2) }
    : text.startsWith("^")
      ? { kind: "regex", regex: new RegExp(text, "u"), source: text }
      : { kind: "prefix", path: text }
  return { name: `${methods} ${text}`, match, methods: methods.split(",") }
}

/** Returns the name of the found route, else the kind of the refusal with the allowed methods. */
function outcome(decision: RouteDecision<NamedRoute>): string {
  if (decision.kind === "found") return decision.route.name
  return decision.kind === "not-found" ? "not-found" : `not-allowed ${decision.allow.join(",")}`
}

function match(routes: readonly NamedRoute[], method: string, path: string): string {
  return outcome(matchRoute(compileRoutes(routes), method, path))
}

describe("matchRoute()", () => {
  const ordered = [route("/"), route("/a"), route("^/a/[0-9]+$"), route("^/a/.+$"), route("= /a/1"), route("/a/1/b")]

  test.each([
    ["/a/1", "GET = /a/1"],
    ["/a/2", "GET ^/a/[0-9]+$"],
    ["/a/x", "GET ^/a/.+$"],
    ["/a/1/b", "GET ^/a/.+$"],
    ["/a", "GET /a"],
    ["/a/", "GET /a"],
    ["/ax", "GET /"],
    ["/", "GET /"],
  ])("takes exact, then expressions in order, then the longest prefix: %s", (path, expected) => {
    expect(match(ordered, "GET", path)).toBe(expected)
  })

  test.each([
    ["/accounts", "GET /accounts"],
    ["/accounts/", "GET /accounts"],
    ["/accounts/x/y", "GET /accounts"],
    ["/accountsx", "not-found"],
    ["/account", "not-found"],
    ["/Accounts", "not-found"],
    ["/", "not-found"],
    ["/x/accounts", "not-found"],
    ["/accounts;v=1", "not-found"],
    ["/accounts%2F", "not-found"],
  ])("matches the prefix /accounts on segment borders: %s", (path, expected) => {
    expect(match([route("/accounts")], "GET", path)).toBe(expected)
  })

  test.each([
    ["/a/", "GET /a/"],
    ["/a/b", "GET /a/"],
    ["/a", "GET /"],
  ])("matches the prefix /a/ only below it: %s", (path, expected) => {
    expect(match([route("/"), route("/a/")], "GET", path)).toBe(expected)
  })

  test("takes the first route of a place that lists the method", () => {
    const routes = [route("= /a", "GET"), route("= /a", "POST,PUT"), route("= /a", "PUT,DELETE")]
    expect(["GET", "POST", "PUT", "DELETE"].map((method) => match(routes, method, "/a"))).toEqual([
      "GET = /a",
      "POST,PUT = /a",
      "POST,PUT = /a",
      "PUT,DELETE = /a",
    ])
  })

  test("lists the methods of all routes at the place, sorted", () => {
    const routes = [route("= /a", "POST"), route("= /a", "GET"), route("= /a", "DELETE,POST"), route("/", "PATCH")]
    expect(match(routes, "PATCH", "/a")).toBe("not-allowed DELETE,GET,HEAD,POST")
  })

  test.each([
    ["exact path", "= /a/1"],
    ["expression", "^/a/[0-9]+$"],
    ["longer prefix", "/a/1"],
  ])("does not fall from the %s to a weaker place for the sake of the method", (_, strong) => {
    const weaker = [route("/a", "POST"), route("/", "POST")]
    if (!strong.startsWith("/")) weaker.push(route("^/a/.*$", "POST"))
    expect(match([route(strong), ...weaker], "POST", "/a/1")).toBe("not-allowed GET,HEAD")
  })

  test("reads expressions with the same text as one place", () => {
    const routes = [route("^/a$", "GET"), route("^/.$", "PUT"), route("^/a$", "POST")]
    expect([match(routes, "POST", "/a"), match(routes, "PUT", "/a")]).toEqual([
      "POST ^/a$",
      "not-allowed GET,HEAD,POST",
    ])
  })

  test("allows HEAD where GET is", () => {
    expect(match([route("/a", "GET")], "HEAD", "/a")).toBe("GET /a")
  })

  test("does not allow HEAD without GET", () => {
    expect(match([route("/a", "POST")], "HEAD", "/a")).toBe("not-allowed POST")
  })

  test.each(["get", "TRACE", "", "__proto__", "constructor"])("does not allow the method %j", (method) => {
    expect(match([route("/a", "GET")], method, "/a")).toBe("not-allowed GET,HEAD")
  })

  test("finds nothing in an empty table", () => {
    expect(match([], "GET", "/")).toBe("not-found")
  })

  describe("for a path too long for expressions", () => {
    const long = `/a/${"b".repeat(REGEX_PATH_LENGTH_MAX)}`

    test("finds no prefix where the table has expressions", () => {
      expect(match([route("^/a/.*$"), route("/")], "GET", long)).toBe("not-found")
    })

    test("finds a prefix where the table has none", () => {
      expect(match([route("/")], "GET", long)).toBe("GET /")
    })

    test("finds an exact path", () => {
      expect(match([route("^/x$"), route(`= ${long}`)], "GET", long)).toBe(`GET = ${long}`)
    })

    test("still tries expressions at the bound", () => {
      expect(match([route("^/a/.*$"), route("/")], "GET", long.slice(0, REGEX_PATH_LENGTH_MAX))).toBe("GET ^/a/.*$")
    })
  })

  test("looks up no more borders than the longest prefix has", () => {
    const table = compileRoutes([route("/zz/y")])
    let lookups = 0
    const prefixes = { get: () => void (lookups += 1) } as unknown as typeof table.prefixes
    matchRoute({ ...table, prefixes }, "GET", "/a".repeat(4_000))
    expect(lookups).toBeLessThanOrEqual(2 * "/zz/y".length + 1)
  })
})

const segment = fc.constantFrom("a", "b", "ab")
const path = fc
  .tuple(fc.array(segment, { maxLength: 4 }), fc.boolean())
  .map(([segments, isOpen]) => `/${segments.join("/")}${isOpen && segments.length > 0 ? "/" : ""}`)
const method = fc.constantFrom("GET", "HEAD", "POST", "PUT")
const methods = fc.uniqueArray(method, { minLength: 1, maxLength: 3 }).map((names) => names.join(","))
const text = fc.oneof(
  path,
  path.map((exact) => `= ${exact}`),
  fc.constantFrom("^/a/.*$", "^/[ab]$", "^/ab/[^/]+$", "^/b/?$"),
)
const routes = fc.array(fc.tuple(text, methods), { maxLength: 12 }).map((rows) => rows.map((row) => route(...row)))

describe("matchRoute() and compileRoutes()", () => {
  test("agree with a linear reading of the rules", () => {
    fc.assert(
      fc.property(routes, method, path, (table, verb, target) => {
        expect(match(table, verb, target)).toBe(matchLinearly(table, verb, target))
      }),
      { seed: 8080, numRuns: 20_000 },
    )
  })
})

describe("findUnreachable()", () => {
  test.each<[string, NamedRoute[], { index: number; shadowedBy: number }[]]>([
    ["a repeated route", [route("/a"), route("/a")], [{ index: 1, shadowedBy: 0 }]],
    [
      "a part of the methods",
      [route("/a", "GET,POST"), route("/b"), route("/a", "POST")],
      [{ index: 2, shadowedBy: 0 }],
    ],
    [
      "methods taken by several routes",
      [route("/a", "POST"), route("/a", "PUT"), route("/a", "PUT,POST")],
      [{ index: 2, shadowedBy: 1 }],
    ],
    ["HEAD behind GET", [route("/a", "GET"), route("/a", "HEAD")], [{ index: 1, shadowedBy: 0 }]],
    ["equal expressions", [route("^/a$"), route("^/a$")], [{ index: 1, shadowedBy: 0 }]],
    ["nothing where a method is left", [route("/a", "GET"), route("/a", "GET,POST")], []],
    ["nothing for GET behind HEAD", [route("/a", "HEAD"), route("/a", "GET")], []],
    ["nothing for exact and prefix of one path", [route("= /a"), route("/a")], []],
    ["nothing for other expressions", [route("^/a$"), route("^/[a]$")], []],
    ["nothing for other paths", [route("/"), route("/a"), route("/a/")], []],
  ])("reports %s", (_, table, expected) => {
    expect(findUnreachable(table)).toEqual(expected)
  })

  test("reports exactly the routes at a place that no method leads to", () => {
    fc.assert(
      fc.property(routes, (table) => {
        const expected = table.filter((own) => {
          const rivals = table.filter((other) => key(other) === key(own))
          return !["GET", "HEAD", "POST", "PUT"].some((verb) => rivals.find((rival) => accepts(rival, verb)) === own)
        })
        expect(findUnreachable(table).map(({ index }) => table[index])).toEqual(expected)
      }),
      { seed: 8081, numRuns: 5_000 },
    )
  })
})

/** Returns what identifies a place. */
function key({ match: own }: RouteMatch): string {
  return own.kind + (own.kind === "regex" ? own.source : own.path)
}

function accepts(own: RouteMatch, verb: string): boolean {
  return own.methods.includes(verb) || (verb === "HEAD" && own.methods.includes("GET"))
}

/** The rules read one by one over the whole list. */
function matchLinearly(table: readonly NamedRoute[], verb: string, target: string): string {
  const exact = table.find(({ match: own }) => own.kind === "exact" && own.path === target)
  const regex = table.find(({ match: own }) => own.kind === "regex" && own.regex.test(target))
  const prefixes = table.flatMap((own) => {
    if (own.match.kind !== "prefix") return []
    const { path: prefix } = own.match
    const border = prefix.endsWith("/") ? prefix : `${prefix}/`
    return target === prefix || target.startsWith(border) ? [{ own, length: prefix.length }] : []
  })
  const longest = prefixes.toSorted((a, b) => b.length - a.length)[0]?.own
  const best = exact ?? regex ?? longest
  if (best === undefined) return "not-found"
  const place = table.filter((own) => key(own) === key(best))
  const found = place.find((own) => accepts(own, verb))
  if (found !== undefined) return found.name
  return `not-allowed ${["GET", "HEAD", "POST", "PUT"].filter((any) => place.some((own) => accepts(own, any))).join(",")}`
}

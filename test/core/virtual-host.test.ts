/**
 * Goal: the host is decided before the path, and never is a route of one host seen by another. Method: examples, random tables
 * held against a linear reading of the rules, and counts of what is looked up.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { REGEX_PATH_LENGTH_MAX } from "../../src/core/bounds.ts"
import { compileRoutes, matchRoute, type RouteDecision } from "../../src/core/route/route.ts"
import {
  compileHosts,
  findShadowed,
  inPriority,
  matchHostRoute,
  type HostRoute,
} from "../../src/core/route/virtual-host.ts"

interface NamedRoute extends HostRoute {
  readonly name: string
}

/** Builds a route from `= /path`, `^regex$` or `/prefix`, with the hosts in front of it; the text is its name. */
function route(text: string, methods = "GET"): NamedRoute {
  const [, hosts, pattern = ""] = /^(?:([a-z,]+):)?(.*)$/.exec(text) ?? []
  const match: HostRoute["match"] = pattern.startsWith("= ")
    ? { kind: "exact", path: pattern.slice(2) }
    : pattern.startsWith("^")
      ? { kind: "regex", regex: new RegExp(pattern, "u"), source: pattern }
      : { kind: "prefix", path: pattern }
  return { name: text, match, methods: methods.split(","), hosts: hosts?.split(",") }
}

function outcome(decision: RouteDecision<NamedRoute>): string {
  return decision.kind === "found" ? decision.route.name : decision.kind
}

function match(routes: readonly NamedRoute[], host: string, path: string, method = "GET"): string {
  return outcome(matchHostRoute(compileHosts(routes), host, method, path))
}

describe("matchHostRoute()", () => {
  const routes = [route("= /a"), route("/"), route("a:/"), route("a,b:/x"), route("b:= /a"), route("b:^/r/.*$")]

  test.each([
    ["a", "/a", "a:/"],
    ["b", "/a", "b:= /a"],
    ["c", "/a", "= /a"],
    ["b", "/z", "/"],
    ["a", "/x/y", "a,b:/x"],
    ["b", "/x", "a,b:/x"],
    ["c", "/x", "/"],
    ["b", "/r/1", "b:^/r/.*$"],
    ["c", "/r/1", "/"],
  ])("looks at the routes of the host first: %s %s", (host, path, expected) => {
    expect(match(routes, host, path)).toBe(expected)
  })

  test("does not fall to the routes of every host for the sake of the method", () => {
    expect(match([route("/", "POST"), route("a:/x", "GET")], "a", "/x", "POST")).toBe("method-not-allowed")
  })

  test("finds nothing on a host when all routes are of others", () => {
    expect(match([route("a:/")], "b", "/")).toBe("not-found")
  })

  test("does not fall to the routes of every host for a path too long for the expressions of the host", () => {
    const long = `/r/${"b".repeat(REGEX_PATH_LENGTH_MAX)}`
    expect([match(routes, "b", long), match(routes, "c", long)]).toEqual(["not-found", "/"])
  })

  test.each(["__proto__", "constructor", ""])("knows no host %j", (host) => {
    expect(match([route("a:/")], host, "/")).toBe("not-found")
  })

  const segments = fc.constantFrom("/", "/a", "/a/", "/a/b", "/b")
  const texts = fc
    .tuple(
      fc.constantFrom("", "a:", "b:", "a,b:"),
      fc.oneof(
        segments,
        segments.map((p) => `= ${p}`),
        fc.constantFrom("^/a/.*$", "^/[ab]$"),
      ),
    )
    .map(([hosts, pattern]) => hosts + pattern)
  const tables = fc.array(fc.tuple(texts, fc.constantFrom("GET", "POST", "GET,POST")), { maxLength: 12 })

  test("agrees with a linear reading of the rules", () => {
    fc.assert(
      fc.property(
        tables,
        fc.constantFrom("a", "b", "c"),
        segments,
        fc.constantFrom("GET", "POST"),
        (rows, host, path, method) => {
          const table = rows.map((row) => route(...row))
          const own = matchRoute(compileRoutes(table.filter(({ hosts }) => hosts?.includes(host))), method, path)
          const rest = matchRoute(compileRoutes(table.filter(({ hosts }) => hosts === undefined)), method, path)
          expect(match(table, host, path, method)).toBe(outcome(own.kind === "not-found" ? rest : own))
        },
      ),
      { seed: 8084, numRuns: 10_000 },
    )
  })

  test("a route that is told to be out of reach is found on none of those hosts", () => {
    fc.assert(
      fc.property(tables, segments, fc.constantFrom("GET", "POST"), (rows, path, method) => {
        const table = rows.map((row, index) => ({ ...route(...row), name: String(index) }))
        for (const { hosts, index } of findShadowed(table, ["a", "b", "c"]))
          for (const host of hosts) expect(match(table, host, path, method)).not.toBe(String(index))
      }),
      { seed: 8085, numRuns: 10_000 },
    )
  })

  test.each([10, 1_000])("looks up no more among %d routes and hosts than among ten", (size) => {
    let lookups = 0
    const count = <K, V>(map: ReadonlyMap<K, V>): ReadonlyMap<K, V> =>
      ({ get: (key: K) => ((lookups += 1), map.get(key)), has: (key: K) => map.has(key) }) as ReadonlyMap<K, V>
    const numbers = Array.from({ length: size }, (_, n) => n)
    const { byHost, general } = compileHosts([
      ...numbers.map((n) => ({ ...route(`/p${n}`), hosts: [`h${n}`] })),
      ...numbers.map((n) => route(`/p${n}`)),
    ])
    const counted = <T extends typeof general>(table: T): T => ({
      ...table,
      exact: count(table.exact),
      prefixes: count(table.prefixes),
    })
    const table = {
      byHost: count(new Map([...byHost].map(([host, own]) => [host, counted(own)]))),
      general: counted(general),
    }
    expect(outcome(matchHostRoute(table, "h1", "GET", "/p2/x"))).toBe("/p2")
    // The host; in each of two tables the exact path, the whole path, and both spellings of each border.
    expect(lookups).toBeLessThanOrEqual(1 + 2 * (1 + 1 + 2 * 2))
  })
})

describe("inPriority()", () => {
  test("lists hosts in their order, then exact paths, expressions, and long prefixes first", () => {
    const texts = ["/", "/a/b", "^/b$", "^/a$", "= /x", "b:/", "a:/", "b,a:/y", "a:= /z"]
    expect(
      inPriority(
        texts.map((text) => route(text)),
        ["a", "b"],
      ).map(({ name }) => name),
    ).toEqual(["a:= /z", "b,a:/y", "a:/", "b:/", "= /x", "^/b$", "^/a$", "/a/b", "/"])
  })
})

describe("findShadowed()", () => {
  test.each<[string, string[], { index: number; hosts: string[]; shadowedBy: number }[]]>([
    ["a general route below a host's own prefix", ["= /healthz", "a:/"], [{ index: 0, hosts: ["a"], shadowedBy: 1 }]],
    [
      "an exact path that an expression of the host takes",
      ["= /a", "b:^/.$"],
      [{ index: 0, hosts: ["b"], shadowedBy: 1 }],
    ],
    ["a general route that every host replaces", ["/a", "a,b:/a"], [{ index: 0, hosts: ["a", "b"], shadowedBy: 1 }]],
    ["a repeated route of one host", ["a:/a", "a,b:/a"], [{ index: 1, hosts: ["a"], shadowedBy: 0 }]],
    ["a repeated general route", ["/a", "/a"], [{ index: 1, hosts: ["a", "b"], shadowedBy: 0 }]],
    ["nothing for a host's own route of the same pattern", ["/a", "a:/a"], []],
    ["nothing for the same pattern on two hosts", ["a:/a", "b:/a"], []],
    ["nothing for a narrower route of a host", ["/a", "a:/a/b", "a:= /a", "a:/ab"], []],
    ["nothing for a general expression beside a prefix", ["^/a/.*$", "a:/a"], []],
  ])("reports %s", (_, texts, expected) => {
    expect(
      findShadowed(
        texts.map((text) => route(text)),
        ["a", "b"],
      ),
    ).toEqual(expected)
  })
})

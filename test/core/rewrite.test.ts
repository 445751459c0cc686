/**
 * Goal: a rewritten path is canonical, stays below the origin's base and means what the operator wrote. Method: examples of each
 * form, and random paths, patterns and templates through the URL parser that an origin would use.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { TARGET_BYTES_MAX } from "../../src/core/bounds.ts"
import { checkRewrite, rewritePath, type Rewrite } from "../../src/core/route/rewrite.ts"
import type { RouteMatch } from "../../src/core/route/route.ts"
import { canonicalizePath } from "../../src/core/route/target.ts"

type Match = RouteMatch["match"]
const prefix = (path: string): Match => ({ kind: "prefix", path })
const exact = (path: string): Match => ({ kind: "exact", path })
const regex = (source: string): Match => ({ kind: "regex", regex: new RegExp(source, "u"), source })
const strip = (path: string): Rewrite => ({ kind: "strip-prefix", prefix: path })
const replace = (path: string): Rewrite => ({ kind: "replace-prefix", prefix: path })
const as = (template: string): Rewrite => ({ kind: "path", template })

describe("rewritePath()", () => {
  test.each<[Rewrite | undefined, Match, string, string]>([
    [undefined, prefix("/v1"), "/v1/a", "/v1/a"],
    [strip("/v1"), prefix("/v1"), "/v1/a/b", "/a/b"],
    [strip("/v1"), prefix("/v1"), "/v1", "/"],
    [strip("/v1"), prefix("/v1"), "/v1/", "/"],
    [strip("/v1/"), prefix("/v1/"), "/v1/a", "/a"],
    [strip("/v1"), prefix("/v1/accounts"), "/v1/accounts/1", "/accounts/1"],
    [strip("/v1"), exact("/v1/accounts"), "/v1/accounts", "/accounts"],
    [strip("/"), prefix("/"), "/a", "/a"],
    [replace("/internal"), prefix("/v1"), "/v1/a%20b/", "/internal/a%20b/"],
    [replace("/internal"), prefix("/v1"), "/v1", "/internal"],
    [replace("/internal/"), prefix("/v1"), "/v1/a", "/internal/a"],
    [replace("/internal"), prefix("/"), "/a", "/internal/a"],
    [replace("/"), prefix("/v1"), "/v1/a", "/a"],
    [replace("/b"), exact("/a"), "/a", "/b"],
    [as("/items/$1"), regex("^/v[0-9]+/items/([^/]+)$"), "/v2/items/%C3%A9", "/items/%C3%A9"],
    [as("/$2/$1"), regex("^/([a-z]+)/([0-9]+)$"), "/a/1", "/1/a"],
    [as("/a$1/b"), regex("^/a(/x)?$"), "/a", "/a/b"],
    [as("/$$1$1"), regex("^/(.*)$"), "/x/y", "/$1x/y"],
    [as("/items/$1"), regex("^/(.*)$"), "/$2$&", "/items/$2$&"],
  ])("turns by %j on %j the path %s into %s", (rewrite, match, path, expected) => {
    expect(rewritePath(rewrite, match, path)).toEqual({ ok: true, path: expected })
  })

  test.each([
    ["dot segment of two captures", "^/x(.)(.)/y$", "/$1$2/z", "/x../y", "rewrite_path"],
    ["dot segment of a capture", "^/x(.*)$", "/a/$1/b", "/x..", "rewrite_path"],
    ["dot segment before parameters", "^/x(.*)$", "/a/$1", "/x..;y", "rewrite_path"],
    ["segment that is left empty", "^/x(.*)$", "/a/$1/b", "/x", "rewrite_path"],
    ["second slash", "^/x(.*)$", "/a/$1", "/x/b", "rewrite_path"],
    ["encoding cut after the sign", "^/x(.).*$", "/a/$12F", "/x%20b", "rewrite_capture"],
    ["encoding cut after a digit", "^/x(..).*$", "/a/$1E", "/x%25", "rewrite_capture"],
    ["sequence of UTF-8 cut in two", "^/x(.{3}).*$", "/a/$1", "/x%C3%A9", "rewrite_capture"],
  ])("PTH-01 refuses a %s", (_, source, template, path, reason) => {
    expect(rewritePath(as(template), regex(source), path)).toEqual({ ok: false, reason })
  })

  test("refuses a path longer than a target may be, and takes one that is not", () => {
    const match = regex("^(/.*)$")
    const path = `/${"a".repeat(1_023)}`
    const base = "/b".repeat((TARGET_BYTES_MAX - 1_024) / 2)
    expect(rewritePath(as(`${base}$1`), match, path)).toMatchObject({ ok: true })
    expect(rewritePath(as(`${base}b$1`), match, path)).toEqual({ ok: false, reason: "rewrite_too_long" })
  })
})

describe("checkRewrite()", () => {
  test.each<[Rewrite, Match, RegExp]>([
    [strip("/v2"), prefix("/v1"), /"\/v1" begins with/],
    [strip("/v"), prefix("/v1"), /segment border/],
    [strip("/v1/x"), prefix("/v1"), /begins with/],
    [strip("/v1"), regex("^/v1/.*$"), /^path, such as/],
    [replace("/x"), regex("^/v1/.*$"), /^path, such as/],
    [replace("/a/../b"), prefix("/v1"), /canonical form/],
    [replace("//evil.example"), prefix("/v1"), /canonical form/],
    [replace("/a?b"), prefix("/v1"), /canonical form/],
    [as("/x"), prefix("/v1"), /only a regex route/],
    [as("/x/$2"), regex("^/(a)$"), /it has 1$/],
    [as("/x/$1"), regex("^/(?:a|\\()$"), /it has 0$/],
    [as("/x/$0"), regex("^/(a)$"), /\$1 to \$9/],
    [as("/x/$"), regex("^/(a)$"), /\$\$ for a dollar sign/],
    [as("x/$1"), regex("^/(a)$"), /canonical form/],
    [as("$1"), regex("^(/a)$"), /canonical form/],
    [as("/x/../$1"), regex("^/(a)$"), /canonical form/],
    [as("/x//$1"), regex("^/(a)$"), /canonical form/],
    [as("/x?y=$1"), regex("^/(a)$"), /without query/],
    [as("/x#$1"), regex("^/(a)$"), /fragment/],
    [as("https://evil.example/$1"), regex("^/(a)$"), /canonical form/],
    [as("/%2e/$1"), regex("^/(a)$"), /canonical form/],
    [as("/%2$1"), regex("^/(.)$"), /canonical form/],
    [as("/%$1"), regex("^/(..)$"), /canonical form/],
  ])("refuses %j on %j", (rewrite, match, accepted) => {
    expect(checkRewrite(rewrite, match)).toMatch(accepted)
  })

  test.each<[Rewrite, Match]>([
    [strip("/v1"), prefix("/v1/")],
    [replace("/"), exact("/a")],
    [as("/x/$1.$2"), regex("^/(a)(?:b|(c))?$")],
    [as("/$$"), regex("^/a$")],
  ])("takes %j on %j", (rewrite, match) => {
    expect(checkRewrite(rewrite, match)).toBeUndefined()
  })
})

const text = fc.array(
  fc.constantFrom("a", ".", "..", "/", ";", "%2F", "%25", "%20", "%C3%A9", "%E2%82%AC", "@", ":", "$1", "~"),
  {
    maxLength: 8,
  },
)
const paths = text
  .map((parts) => `/${parts.join("")}`)
  .filter((path) => {
    const canonical = canonicalizePath(path)
    return canonical.ok && canonical.path === path
  })
const templates = fc
  .array(
    fc.constantFrom("a", ".", "/", ";", "%2", "%", "5", "F", "E", "$1", "$2", "$3", "$$", "//", "\\", "?", "#", "@"),
    { maxLength: 8 },
  )
  .map((parts) => as(`/${parts.join("")}`))
const expressions = fc
  .constantFrom("^(.*)(.)(.)$", "^/(.*)$", "^(/)(.{2})(.*)$", "^/([^/]*)/?(.*)$", "^(.)(.)(.).*$", "^/(a)?(.*)$")
  .map(regex)
const moves = fc.tuple(fc.constantFrom(strip, replace), paths, paths, fc.boolean())

/** Fails unless the URL that an origin is asked for is below the base, as written, with the query as it was. */
function expectBelowBase(path: string): void {
  const base = "https://core.bank.example/base"
  expect(canonicalizePath(path)).toEqual({ ok: true, path })
  const url = new URL(`${base}${path}?a=b%2f..`)
  expect([url.origin, url.search, url.hash]).toEqual(["https://core.bank.example", "?a=b%2f..", ""])
  expect(url.pathname).toBe(`/base${path}`)
}

describe("whatever the path", () => {
  test("PTH-01 captures never make a path that is not canonical or leaves the base", () => {
    let rewrites = 0
    fc.assert(
      fc.property(templates, expressions, paths, (rewrite, match, path) => {
        if (checkRewrite(rewrite, match) !== undefined || match.kind !== "regex" || !match.regex.test(path)) return
        const rewritten = rewritePath(rewrite, match, path)
        if (!rewritten.ok) return
        rewrites += 1
        expectBelowBase(rewritten.path)
      }),
      { seed: 8082, numRuns: 20_000 },
    )
    expect(rewrites).toBeGreaterThan(1_000)
  })

  test("PTH-01 a prefix that passes the check is taken away or replaced, and nothing else happens", () => {
    fc.assert(
      fc.property(moves, fc.constantFrom("", "/", "/x", "/x/%20/"), ([kind, own, other, isExact], below) => {
        const base = own.replace(/\/$/, "")
        const match = isExact ? exact(own) : prefix(own)
        const path = isExact ? own : base + below === "" ? "/" : base + below
        const rewrite = kind(kind === strip ? own : other)
        expect(checkRewrite(rewrite, match)).toBeUndefined()
        const rewritten = rewritePath(rewrite, match, path)
        const to = kind === strip ? "" : other.replace(/\/$/, "")
        const rest = path.slice(base.length)
        expect(rewritten).toEqual({ ok: true, path: to + rest === "" ? "/" : to + rest })
        if (rewritten.ok) expectBelowBase(rewritten.path)
      }),
      { seed: 8083, numRuns: 10_000 },
    )
  })
})

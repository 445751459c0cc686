/**
 * Hosts and rewrites of routes in the configuration: what is accepted, and the errors with their places.
 */
import { describe, expect, test } from "vitest"
import { loadConfig } from "../../src/config/load.ts"
import { errorsOf } from "./config-fixtures.ts"

const BASE = {
  GATEWAY: { hosts: ["a.example", "b.example"] },
  ORIGINS: { bank: { url: "https://core.bank.example" } },
  LIMITS: { standard: { rate: "1/s", burst: 1 } },
}

const withRoutes = (...routes: readonly object[]) => ({
  ...BASE,
  ROUTES: routes.map((route) => ({ origin: "bank", limits: "standard", ...route })),
})

describe("a route", () => {
  test.each([
    [{ host: "a.example" }, ["a.example"]],
    [{ host: ["b.example", "a.example"] }, ["b.example", "a.example"]],
    [{}, undefined],
  ])("has the hosts of %j", (route, hosts) => {
    const loaded = loadConfig(withRoutes({ prefix: "/", ...route }))
    expect(loaded.ok && loaded.config.routes[0]?.hosts).toEqual(hosts)
  })

  test("may have the pattern of another on another host, or beside one of every host", () => {
    expect(
      errorsOf(withRoutes({ path: "/" }, { path: "/", host: "a.example" }, { path: "/", host: "b.example" })),
    ).toEqual([])
  })

  test.each([
    [{ host: "c.example" }, 'ROUTES[0].host | "c.example" | one of "a.example", "b.example" (GATEWAY.hosts)'],
    [{ host: ["a.example", "c.example"] }, 'ROUTES[0].host[1] | "c.example" | one of "a.example", "b.example"'],
    [{ host: ["a.example", "a.example"] }, 'ROUTES[0].host[1] | "a.example" | a host that is not in the list already'],
    [{ host: [] }, "ROUTES[0].host | [] | "],
    [{ host: "A.example" }, 'ROUTES[0].host | "A.example" | '],
    [{ rewrite: {} }, "ROUTES[0].rewrite | {} | exactly one of strip_prefix, replace_prefix and path"],
    [{ rewrite: { strip_prefix: "/v1", replace_prefix: "/a" } }, "ROUTES[0].rewrite | {"],
    [{ rewrite: { strip_prefix: "/v2" } }, 'ROUTES[0].rewrite.strip_prefix | "/v2" | a path that "/v1" begins with'],
    [
      { rewrite: { strip_prefix: "/v1/../v1" } },
      'ROUTES[0].rewrite.strip_prefix | "/v1/../v1" | a path in canonical form',
    ],
    [
      { rewrite: { replace_prefix: "//evil" } },
      'ROUTES[0].rewrite.replace_prefix | "//evil" | a path in canonical form',
    ],
    [{ rewrite: { path: "/$1" } }, 'ROUTES[0].rewrite.path | "/$1" | strip_prefix or replace_prefix'],
    [{ rewrite: { to: "/" } }, 'ROUTES[0].rewrite.to | "/" | no such key'],
  ])("is refused with %j", (route, expected) => {
    const [error, ...others] = errorsOf(withRoutes({ prefix: "/v1", ...route }))
    expect(others).toEqual([])
    expect(error?.slice(0, expected.length)).toBe(expected)
  })

  test("is refused with a rewrite when it forwards nothing", () => {
    const route = { path: "/a", client_certificate: "none", respond: { status: 200 }, rewrite: { strip_prefix: "/a" } }
    const loaded = loadConfig({ ...BASE, ROUTES: [route] })
    expect(!loaded.ok && loaded.errors).toEqual([
      {
        path: "ROUTES[0].rewrite",
        value: '{"strip_prefix":"/a"}',
        accepted: "no rewrite on a route that forwards nothing",
      },
    ])
  })

  test("is refused when another has its pattern, method and host", () => {
    expect(
      errorsOf(withRoutes({ path: "/", host: ["a.example", "b.example"] }, { path: "/", host: "b.example" })),
    ).toEqual([
      'ROUTES[1] | "GET b.example/" | a host, path and method that no other route has; ROUTES[0] has them already',
    ])
  })
})

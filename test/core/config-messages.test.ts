/**
 * Goal: what a route says about messages and cannot mean is an error that names its place. Method: one route, one mistake.
 */
import { expect, test } from "vitest"
import { loadConfig } from "../../src/config/load.ts"

const ROUTE = { path: "/a", origin: "bank", limits: "standard" }

function errorPaths(route: Readonly<Record<string, unknown>>): readonly string[] {
  const loaded = loadConfig({
    GATEWAY: { hosts: ["gw.test"] },
    ORIGINS: { bank: { url: "https://core.bank.example" } },
    LIMITS: { standard: { rate: "1/s", burst: 1 } },
    GUARDS: {
      pins: {
        max_failures: 1,
        failure_duration: "1m",
        key: "header:x-account-id",
        backoff: { kind: "lineal", duration: "1m" },
      },
    },
    ROUTES: [{ ...ROUTE, ...route }],
  })
  return loaded.ok ? [] : loaded.errors.map(({ path }) => path)
}

test.each([
  [{ max_request_bytes: "1MB" }, "ROUTES[0].max_request_bytes"],
  [{ max_response_bytes: 5 }, "ROUTES[0].max_response_bytes"],
  [{ request_headers: { set: { "x-client-id": "a" } } }, "ROUTES[0].request_headers.set.x-client-id"],
  [{ request_headers: { set: { "X-Env": "a" } } }, "ROUTES[0].request_headers.set.X-Env"],
  [{ request_headers: { set: { "x-env": "a\r\nb: c" } } }, "ROUTES[0].request_headers.set.x-env"],
  [{ response_headers: { remove: ["content-length"] } }, "ROUTES[0].response_headers.remove[0]"],
  [
    { guard: "pins", response_headers: { set: { "guard-outcome": "success" } } },
    "ROUTES[0].response_headers.set.guard-outcome",
  ],
  [{ guard: "pins", request_headers: { remove: ["x-account-id"] } }, "ROUTES[0].request_headers.remove[0]"],
  [{ cors: { origins: ["*"] } }, "ROUTES[0].cors.origins[0]"],
  [{ methods: ["GET"], cors: { origins: ["https://a.example"] } }, "ROUTES[0].methods"],
  [{ location_allow: ["https://a.example"] }, "ROUTES[0].location_allow"],
  [{ location: "rewrite", rewrite: { replace_prefix: "/b" } }, "ROUTES[0].location"],
])("%j is an error at its place", (route, place) => expect(errorPaths(route)).toEqual([place]))

test("what a route says within these bounds is valid", () => {
  const route = {
    guard: "pins",
    max_request_bytes: "64KiB",
    request_headers: { set: { "x-env": "prod" }, remove: ["x-debug"] },
    cors: { origins: ["https://a.example"], max_age: "1h" },
    location: "rewrite",
    location_allow: ["https://a.example"],
  }
  expect(errorPaths(route)).toEqual([])
})

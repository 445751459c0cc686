/**
 * Goal: names, status and attributes are those of OpenTelemetry's HTTP conventions (SC-1 to SC-4). Method: cases; the names of
 * attributes against the official list.
 */
import { describe, expect, test } from "vitest"
import {
  isErrorStatus,
  methodAttributes,
  serverAttributes,
  spanName,
  type SpanAttributes,
} from "../../src/core/record/span.ts"
import { readDataSet } from "../conformance.ts"

/** Every attribute that a span may have; the compiler knows when one is missing. */
const NAMES: Readonly<Record<keyof SpanAttributes, true>> = {
  "http.request.method": true,
  "http.request.method_original": true,
  "http.response.status_code": true,
  "http.route": true,
  "http.request.resend_count": true,
  "url.scheme": true,
  "url.path": true,
  "url.full": true,
  "server.address": true,
  "server.port": true,
  "client.address": true,
  "error.type": true,
  "rate_limit.hit": true,
  "rate_limit.policy": true,
  "rate_limit.remaining": true,
  "guard.hit": true,
  "guard.name": true,
  "guard.outcome": true,
  "sekisho.request_id": true,
  "sekisho.client_id": true,
  "sekisho.outcome": true,
  "sekisho.problem": true,
  "sekisho.gate": true,
  "sekisho.origin": true,
}

test("SC-3: spanName() has the method and the route, and for a method that is not known HTTP", () => {
  expect([spanName("GET", "/a/**"), spanName("GET", undefined), spanName("BREW", "/a/**")]).toEqual([
    "GET /a/**",
    "GET",
    "HTTP /a/**",
  ])
})

test("SC-3: methodAttributes() calls a method that is not known _OTHER, and says what it was", () => {
  expect(methodAttributes("POST")).toEqual({ "http.request.method": "POST" })
  expect(methodAttributes("get")).toEqual({
    "http.request.method": "_OTHER",
    "http.request.method_original": "get",
  })
})

test.each([
  ["server", 399, false],
  ["server", 404, false],
  ["server", 499, false],
  ["server", 500, true],
  ["client", 302, false],
  ["client", 404, true],
  ["client", 503, true],
] as const)("SC-4: a %s span with %i is an error: %s", (kind, status, expected) => {
  expect(isErrorStatus(kind, status)).toBe(expected)
})

test.each([
  ["https", "core.test", "core.test", 443],
  ["http", "core.test", "core.test", 80],
  ["http", "127.0.0.1:9000", "127.0.0.1", 9_000],
  ["https", "[2001:db8::1]:8443", "2001:db8::1", 8_443],
  ["https", "[2001:db8::1]", "2001:db8::1", 443],
])("SC-2: serverAttributes() of %s and %s", (scheme, authority, address, port) => {
  expect(serverAttributes(scheme, authority)).toEqual({ "server.address": address, "server.port": port })
})

type Attributes = Readonly<Record<string, unknown>>
const conventions = readDataSet("otel/semconv-http.json") as
  | { readonly "span.http.server": Attributes; readonly "span.http.client": Attributes }
  | undefined

describe.skipIf(conventions === undefined)("the official conventions", () => {
  test("have every attribute of a span that is not the gateway's own", () => {
    const known = new Set(
      [conventions?.["span.http.server"], conventions?.["span.http.client"]].flatMap((list) => Object.keys(list ?? {})),
    )
    const own = /^(?:sekisho|rate_limit|guard)\./
    expect(Object.keys(NAMES).filter((name) => !own.test(name) && !known.has(name))).toEqual([])
  })
})

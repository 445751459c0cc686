/**
 * Goal: what a route says about bodies, fields, web origins and redirects holds for every message. Method: the rules one by
 * one, and as properties where they count or rewrite.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { countBytes, decideLength, NO_BYTES } from "../../src/core/message/body-limit.ts"
import { decideCors, parseWebOrigin, varyOnOrigin } from "../../src/core/message/cors.ts"
import {
  addSecurityFields,
  applyFieldRules,
  isFieldAdjustable,
  isStaticFieldValue,
} from "../../src/core/message/field-rules.ts"
import { rewriteLocation } from "../../src/core/message/location.ts"
import { decideMaxForwards } from "../../src/core/message/max-forwards.ts"
import { formatSize, parseSizeBytes } from "../../src/core/size.ts"

const SEED = 20_261_128

describe("parseSizeBytes()", () => {
  test.each([
    ["0B", 0],
    ["512B", 512],
    ["64KiB", 65_536],
    ["1MiB", 1_048_576],
    ["2GiB", 2_147_483_648],
  ])("reads %s", (text, bytes) => expect(parseSizeBytes(text)).toBe(bytes))

  test.each(["", "1", "1MB", "1mib", "1.5MiB", "-1B", " 1B", "1constructor", "9999999999999B"])("refuses %j", (text) =>
    expect(parseSizeBytes(text)).toBeUndefined(),
  )

  test("reads what formatSize() writes", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 999_999_999_999 }), (bytes) => parseSizeBytes(formatSize(bytes)) === bytes),
      { seed: SEED },
    )
  })
})

describe("decideLength()", () => {
  test.each([
    ["10", 10, "fits"],
    ["11", 10, "too-large"],
    [null, 10, "count"],
    [null, undefined, "fits"],
    ["11", undefined, "fits"],
    ["5, 5", 10, "too-large"],
    ["", 10, "too-large"],
  ] as const)("says of length %j with the limit %j: %s", (length, max, expected) =>
    expect(decideLength(length, max)).toBe(expected),
  )
})

test("countBytes() is over exactly from the first octet beyond the limit on, however the body is cut", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(500)), fc.nat(3_000), (pieces, max) => {
      let count = NO_BYTES
      let sum = 0
      for (const piece of pieces) {
        count = countBytes(count, piece, max)
        sum += piece
        expect(count).toEqual({ bytes: sum, isOver: sum > max })
      }
    }),
    { seed: SEED },
  )
})

describe("rules of fields", () => {
  test.each([
    "x-client-id",
    "x-request-id",
    "via",
    "content-length",
    "host",
    "transfer-encoding",
    "connection",
    "origin",
  ])("leave %s of a request alone", (name) => expect(isFieldAdjustable(name, "request")).toBe(false))

  test.each(["ratelimit", "content-length", "connection", "location", "vary", "access-control-allow-origin", "date"])(
    "leave %s of an answer alone",
    (name) => expect(isFieldAdjustable(name, "response")).toBe(false),
  )

  test("PRX-03 a value that would end a line is no value", () => {
    const values = ["a\r\nb: c", "a\nb", "a\0", "é", " a", "a ", "", "x".repeat(1_025)]
    expect(values.filter(isStaticFieldValue)).toEqual([])
    expect(["a", "a b\tc", 'max-age=0; "q"'].filter((value) => !isStaticFieldValue(value))).toEqual([])
  })

  test("applyFieldRules() removes, then sets", () => {
    const headers = new Headers({ "x-debug": "1", "x-env": "theirs", "x-kept": "1" })
    applyFieldRules(headers, { remove: ["x-debug"], set: [["x-env", "prod"]] })
    expect([...headers]).toEqual([
      ["x-env", "prod"],
      ["x-kept", "1"],
    ])
  })

  test("addSecurityFields() leaves what the origin has said", () => {
    const headers = new Headers({ "Content-Security-Policy": "default-src 'self'" })
    addSecurityFields(headers)
    expect(Object.fromEntries(headers)).toEqual({
      "content-security-policy": "default-src 'self'",
      "referrer-policy": "no-referrer",
      "strict-transport-security": "max-age=31536000",
      "x-content-type-options": "nosniff",
    })
  })
})

describe("decideCors()", () => {
  const policy = {
    origins: new Set(["https://app.bank.example"]),
    methods: ["GET", "POST"],
    headers: ["content-type"],
    expose: ["etag"],
    maxAgeSeconds: 600,
    hasCredentials: true,
  }
  const origin = "https://app.bank.example"

  test("tells a preflight the lists of the policy, nothing of the request but a listed origin", () => {
    expect(decideCors(policy, { method: "OPTIONS", origin, requestMethod: "DELETE" })).toEqual({
      kind: "preflight",
      fields: [
        ["Access-Control-Allow-Origin", origin],
        ["Access-Control-Allow-Credentials", "true"],
        ["Access-Control-Allow-Methods", "GET, POST"],
        ["Access-Control-Allow-Headers", "content-type"],
        ["Access-Control-Max-Age", "600"],
      ],
    })
  })

  test("lets a listed origin read the answer", () => {
    expect(decideCors(policy, { method: "GET", origin, requestMethod: null })).toEqual({
      kind: "allowed",
      fields: [
        ["Access-Control-Allow-Origin", origin],
        ["Access-Control-Allow-Credentials", "true"],
        ["Access-Control-Expose-Headers", "etag"],
      ],
    })
  })

  test.each(["null", "*", "", `${origin}.evil.example`, `${origin}:443`, `${origin}/`, `${origin}, ${origin}`])(
    "PTH-20 refuses the origin %j",
    (other) => expect(decideCors(policy, { method: "GET", origin: other, requestMethod: null }).kind).toBe("refused"),
  )

  test("has nothing to say without an origin", () =>
    expect(decideCors(policy, { method: "OPTIONS", origin: null, requestMethod: "GET" }).kind).toBe("absent"))
})

test.each(["*", "null", "https://App.example", "https://a.example/", "https://a.example:443", "ftp://a.example"])(
  "parseWebOrigin() refuses %j",
  (text) => expect(parseWebOrigin(text)).toBeUndefined(),
)

test("varyOnOrigin() names Origin once", () => {
  expect([null, "Accept", "accept, ORIGIN", "*"].map(varyOnOrigin)).toEqual([
    "Origin",
    "Accept, Origin",
    "accept, ORIGIN",
    "*",
  ])
})

describe("PRX-02 rewriteLocation()", () => {
  const scope = {
    base: { scheme: "http", authority: "origin.internal:9000", path: "/base" },
    host: "gw.test",
    allowed: new Set(["https://login.bank.example"]),
  } as const

  test.each([
    ["http://origin.internal:9000/base/x?q=1#f", "https://gw.test/x?q=1#f"],
    ["HTTP://ORIGIN.internal:9000/base", "https://gw.test/"],
    ["//origin.internal:9000/base/x", "https://gw.test/x"],
    ["/base/x", "https://gw.test/x"],
    ["/base//evil.example", "https://gw.test//evil.example"],
    ["https://gw.test/y", "https://gw.test/y"],
    ["https://login.bank.example:443/a", "https://login.bank.example/a"],
    ["../x", "../x"],
    ["?q", "?q"],
  ])("leads %s to %s", (reference, expected) => expect(rewriteLocation(reference, scope)).toBe(expected))

  test.each([
    "//evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "https://evil.example",
    "javascript:alert(1)",
    "https:evil.example",
    "https:/evil.example",
    "https:///evil.example",
    "http://origin.internal:9000@evil.example/base/x",
    "http://origin.internal:9000/other",
    "http://origin.internal:9000/basement",
    "http://origin.internal/base/x",
    "/other",
    " https://evil.example",
    "/base/\tx",
    "https://login.bank.example.evil.example/",
  ])("refuses %j", (reference) => expect(rewriteLocation(reference, scope)).toBeUndefined())

  test("whatever comes out is at the gateway or on the list, also for a browser", () => {
    const part = fc.constantFrom(
      "/",
      "\\",
      ":",
      "//",
      "https:",
      "http:",
      "@",
      "evil.example",
      "/base",
      "..",
      "?",
      "#",
      "x",
      "\t",
      "origin.internal:9000",
    )
    fc.assert(
      fc.property(fc.array(part, { maxLength: 8 }), (parts) => {
        const target = rewriteLocation(parts.join(""), scope)
        if (target === undefined) return
        const { origin } = new URL(target, "https://gw.test/public/x")
        expect(["https://gw.test", "https://login.bank.example"]).toContain(origin)
      }),
      { seed: SEED, numRuns: 5_000 },
    )
  })
})

test.each([
  ["OPTIONS", "0", { kind: "answer" }],
  ["OPTIONS", "3", { kind: "forward", value: "2" }],
  ["OPTIONS", null, { kind: "pass" }],
  ["GET", "0", { kind: "pass" }],
  ["OPTIONS", "-1", { kind: "malformed" }],
  ["OPTIONS", "1, 1", { kind: "malformed" }],
] as const)("RFC 9110 §7.6.2 %s with Max-Forwards %j", (method, value, expected) =>
  expect(decideMaxForwards(method, value)).toEqual(expected),
)

/**
 * Goal: a key has one reading, and two requests that differ anywhere have different fingerprints. Method: every way to write a
 * field wrong, the draft's own examples, and requests that differ by where one member ends and the next begins.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { IDEMPOTENCY_KEY_LENGTH_MAX } from "../../src/core/bounds.ts"
import {
  fingerprintText,
  isSafeMethod,
  keyText,
  ledgerText,
  readIdempotencyKey,
  type KeyedRequest,
} from "../../src/core/idempotency/idempotency-key.ts"
import { METHODS } from "../../src/core/route/route.ts"
import { readDataSet } from "../conformance.ts"

const keyOf = (value: string | null, isUnquoted = false): string | undefined => {
  const read = readIdempotencyKey(value, isUnquoted)
  return read.kind === "key" ? read.key : undefined
}

describe("readIdempotencyKey()", () => {
  test.each([
    ['"k1"', "k1"],
    ['"8e03978e-40d5-43e8-bc93-6894a57f9324"', "8e03978e-40d5-43e8-bc93-6894a57f9324"],
    ['  "k1" ', "k1"],
    ['"a b"', "a b"],
    ['"a, b"', "a, b"],
    ['"a\\"b\\\\c"', 'a"b\\c'],
    [`"${"k".repeat(255)}"`, "k".repeat(255)],
  ])("IK-1 reads %s", (value, key) => {
    expect(keyOf(value)).toBe(key)
  })

  test("tells a missing field from an invalid one", () => {
    expect([readIdempotencyKey(null, false).kind, readIdempotencyKey("", false).kind]).toEqual(["missing", "invalid"])
  })

  test.each([
    "k1",
    "",
    '""',
    '"a";x=1',
    '"a","b"',
    '"a", "b"',
    '"aé"',
    '"a\u0001"',
    '"a\u007f"',
    '"a',
    'a"',
    '"a"b"',
    '"a\\"',
    '"a\\qb"',
    ":YWJj:",
    "?1",
    "1",
    "@1",
    '("a")',
    '"a"\t',
    '"a"\n',
  ])("IDM-07 refuses %j", (value) => {
    expect(readIdempotencyKey(value, false).kind).toBe("invalid")
  })

  test("IDM-06 refuses a key of 10,240 characters and one that is one too long", () => {
    for (const length of [IDEMPOTENCY_KEY_LENGTH_MAX + 1, 10_240]) {
      expect(readIdempotencyKey(`"${"k".repeat(length)}"`, false)).toEqual({ kind: "invalid", reason: "too_long" })
      expect(readIdempotencyKey("k".repeat(length), true)).toEqual({ kind: "invalid", reason: "too_long" })
    }
  })

  test("IK-9 takes a word without quotation marks where that is allowed, as the same key", () => {
    expect([keyOf("abc-1", true), keyOf('"abc-1"', true), keyOf("abc-1")]).toEqual(["abc-1", "abc-1", undefined])
  })

  test.each(["a, b", "a,b", "a;x=1", "a b", '"a', 'a"', "a\\b", "é", "", '"a";x=1', '""'])(
    "IK-9 refuses %j also where keys need no quotation marks",
    (value) => {
      expect(readIdempotencyKey(value, true).kind).toBe("invalid")
    },
  )

  const vectors = readDataSet("ratelimit-idempotency/header-vectors.json") as
    | Readonly<Record<"Idempotency-Key_valid" | "Idempotency-Key_invalid_sf", readonly string[]>>
    | undefined
  test.skipIf(vectors === undefined)("reads what the draft shows, and nothing that it calls invalid", () => {
    const valid = vectors?.["Idempotency-Key_valid"] ?? []
    // What stands in parentheses explains.
    const invalid = (vectors?.["Idempotency-Key_invalid_sf"] ?? []).map((text) => text.replace(/ +\(.*\)$/, ""))
    expect(valid.filter((value) => keyOf(value) === undefined)).toEqual([])
    expect(invalid.filter((value) => keyOf(value) !== undefined)).toEqual([])
    expect([valid.length, invalid.length]).toEqual([2, 9])
  })
})

const REQUEST: KeyedRequest = {
  clientId: "acme",
  route: "/pay",
  key: "k1",
  method: "POST",
  host: "gw.test",
  path: "/pay",
  query: "",
  contentType: "application/json",
  bodyDigest: "00",
}

test("IK-4 a key stands for one client and one route", () => {
  const texts = [{}, { clientId: "acm" }, { route: "/pay2" }, { key: "k2" }, { clientId: "acme/", route: "pay" }]
  expect(new Set(texts.map((other) => keyText({ ...REQUEST, ...other }))).size).toBe(5)
})

test("a key stands for the same whatever the request is", () => {
  expect(keyText({ ...REQUEST, method: "PATCH", path: "/x", bodyDigest: "11" })).toBe(keyText(REQUEST))
})

test("IDM-03 IK-5 a fingerprint differs as soon as anything of the request does", () => {
  const others: readonly Partial<KeyedRequest>[] = [
    {},
    { method: "PATCH" },
    { host: "a.test" },
    { path: "/pay/" },
    { query: "?" },
    { query: "?x=1" },
    { contentType: "text/plain" },
    { contentType: "" },
    { contentType: null },
    { bodyDigest: "01" },
    { route: "/p" },
  ]
  expect(new Set(others.map((other) => fingerprintText({ ...REQUEST, ...other }))).size).toBe(others.length)
})

test("no two lists of members have one form", () => {
  const member = fc.string({ maxLength: 6, unit: fc.constantFrom("0", "1", ":", ",", "a", "?", "\u{1f600}") })
  const request = fc.record({
    clientId: fc.constant("c"),
    route: member,
    key: fc.constant("k"),
    method: member,
    host: member,
    path: member,
    query: member,
    contentType: fc.option(member),
    bodyDigest: member,
  })
  fc.assert(
    fc.property(request, request, (a, b) => {
      expect(fingerprintText(a) === fingerprintText(b)).toBe(JSON.stringify(a) === JSON.stringify(b))
    }),
    { seed: 20_261_128, numRuns: 2_000 },
  )
})

test("a ledger is named by client and shard", () => {
  expect(new Set([ledgerText("a", "1"), ledgerText("a", "2"), ledgerText("b", "1")]).size).toBe(3)
})

test("safe methods are those that change nothing", () => {
  expect(METHODS.filter((method) => !isSafeMethod(method))).toEqual(["POST", "PUT", "PATCH", "DELETE"])
})

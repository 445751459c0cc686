/**
 * Goal: exactly the texts that SPIFFE allows are ids, and a certificate has one or none. Method: the ids of go-spiffe's own
 * tests, read in place, and the rules of X.509-SVID by hand.
 */
import { describe, expect, test } from "vitest"
import { isSpiffeId, isWorkloadId, spiffeIdOf } from "../../src/core/certificate/spiffe-id.ts"
import { readDataSet } from "../conformance.ts"

const uri = (value: string) => ({ type: "uri", value }) as const

test("isWorkloadId() wants a path, isSpiffeId() does not", () => {
  const ids = ["spiffe://acme.example", "spiffe://acme.example/a"]
  expect(ids.map((id) => [isSpiffeId(id), isWorkloadId(id)])).toEqual([
    [true, false],
    [true, true],
  ])
})

test.each([
  [2_048, true],
  [2_049, false],
])("an id of %d octets is one: %s", (length, expected) => {
  expect(isSpiffeId("spiffe://a/".padEnd(length, "x"))).toBe(expected)
})

test.each([
  ["no names", [], undefined],
  ["one id", [uri("spiffe://a/b")], "spiffe://a/b"],
  ["one id and other kinds", [{ type: "dns", value: "a.test" }, uri("spiffe://a/b")], "spiffe://a/b"],
  ["two ids", [uri("spiffe://a/b"), uri("spiffe://a/c")], undefined],
  ["an id and another URI", [uri("https://a.test/"), uri("spiffe://a/b")], undefined],
  ["a trust domain", [uri("spiffe://a")], undefined],
  ["an id with a NUL", [uri("spiffe://a/b\0")], undefined],
  ["an id as a host", [{ type: "dns", value: "spiffe://a/b" }], undefined],
] as const)("spiffeIdOf() of a leaf with %s is %j", (_, names, expected) => {
  expect(spiffeIdOf(names)).toBe(expected)
})

interface Vectors {
  readonly ids: readonly { readonly id: string; readonly valid: boolean }[]
}
const vectors = readDataSet("spiffe/spiffe-id-vectors.json") as Vectors | undefined

describe.skipIf(vectors === undefined)("ids of go-spiffe", () => {
  test("isSpiffeId() judges each as go-spiffe does", () => {
    const wrong = (vectors?.ids ?? []).filter(({ id, valid }) => isSpiffeId(id) !== valid)
    expect(wrong).toEqual([])
  })
})

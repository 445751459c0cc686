/**
 * Goal: two lines of a singleton are recognised in the one value the runtime makes of them, and a single line with
 * commas is left alone. Method: pairs of lines joined as workerd joins them, against single lines in legitimate use.
 */
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { findRepeatedField } from "../../src/core/message/singleton-fields.ts"

function repeatedIn(fields: Readonly<Record<string, string>>): string | undefined {
  return findRepeatedField(new Map(Object.entries(fields)))
}

describe("findRepeatedField()", () => {
  test("finds nothing where there is nothing", () => {
    expect(repeatedIn({})).toBeUndefined()
  })

  // EDG-19: identical values, different values, and a second line that is no credential of its own.
  test.each([
    ["authorization", ["Bearer a", "Bearer a"]],
    ["authorization", ["Bearer a", "Bearer b"]],
    ["authorization", ["Bearer a", "x"]],
    ["authorization", ["Bearer a", ""]],
    ["authorization", ["x", "Bearer a"]],
    ["authorization", ["Bearer abc==", "Bearer def=="]],
    ["authorization", ["Bearer abc==", "def=="]],
    ["authorization", ["Bearer abc=", "realm=x"]],
    ["authorization", ["Bearer a.b.c", "realm=x"]],
    ["authorization", ["Digest a=1, b=2", "Digest a=1, b=2"]],
    ["authorization", ['Digest a="1"', "Bearer a"]],
    ["authorization", ["Negotiate", "Bearer a"]],
    ["content-length", ["1", "1"]],
    ["content-length", ["1", "2"]],
    ["content-type", ["application/json", "application/json"]],
    ["content-type", ["application/json", "text/plain; charset=utf-8"]],
    ["content-type", ["application/json", "x"]],
    ["content-type", ['multipart/form-data; boundary="a', 'text/plain; x="b"']],
    ["content-type", ['multipart/form-data; boundary="a"', "text/plain"]],
    ["host", ["gw.test", "gw.test"]],
    ["idempotency-key", ['"a"', '"a"']],
    ["idempotency-key", ['"a"', '"b"']],
    ["idempotency-key", ['"a";p=1', '"b"']],
    ["idempotency-key", ["a", "b"]],
    ["idempotency-key", ["a", ""]],
    ["sec-websocket-key", ["dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=="]],
    ["x-request-id", ["12345678", "12345678"]],
  ] as const)("EDG-19: finds %s in the lines %j", (name, lines) => {
    expect(repeatedIn({ [name]: lines.join(", ") })).toBe(name)
  })

  test.each([
    ["authorization", "Bearer abc.def.ghi"],
    ["authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="],
    ["authorization", "Negotiate"],
    ["authorization", 'Digest username="Mufasa", realm="a, b c", uri="/x,y", qop=auth, nc=00000001'],
    ["authorization", 'Digest username="a \\" , Bearer b", realm=x'],
    ["authorization", "Digest a=1,b=2 , c = 3"],
    [
      "authorization",
      "AWS4-HMAC-SHA256 Credential=AKID/20260101/eu/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=fe5f80",
    ],
    ["content-type", 'multipart/form-data; boundary="a, text/b"'],
    ["content-type", 'text/plain; charset="utf-8"'],
    ["idempotency-key", '"a, b"'],
    ["idempotency-key", '"a\\", \\"b"'],
    ["idempotency-key", "8e03978e-40d5-43dd-bc93-6894a57f9324"],
    ["x-request-id", "12345678"],
    ["accept", "text/html, application/json"],
  ])("leaves the single %s %j alone", (name, value) => {
    expect(repeatedIn({ [name]: value })).toBeUndefined()
  })

  test("finds any two tokens in one authorization field", () => {
    const token = fc.stringMatching(/^[A-Za-z0-9._~+/-]{1,20}={0,2}$/)
    fc.assert(
      fc.property(token, token, (left, right) => {
        expect(repeatedIn({ authorization: `Bearer ${left}, Bearer ${right}` })).toBe("authorization")
        expect(repeatedIn({ authorization: `Bearer ${left}, ${right}` })).toBe("authorization")
      }),
      { seed: 21, numRuns: 1_000 },
    )
  })

  test("answers at once for the longest hostile values", () => {
    const hostile = ["=", "a=", 'a="', '\\"', ", ", "a,", "a ", '""', "a=b,"].map(
      (piece) => `Digest ${piece.repeat(33_000 / piece.length)}`,
    )
    // A pattern that backtracks takes seconds to years here, and the runner's own limit ends it.
    for (const value of hostile)
      expect(["authorization", undefined]).toContain(repeatedIn({ authorization: value, "content-type": "" }))
    for (const value of hostile) expect(["content-type", undefined]).toContain(repeatedIn({ "content-type": value }))
  })
})

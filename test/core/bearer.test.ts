/**
 * Goal: exactly one way of presenting a token is read, and the challenge says what RFC 6750 lets it say. Method: single cases,
 * and a property over fields.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { decideBearer, formatChallenge } from "../../src/core/token/bearer.ts"
import { TOKEN_LENGTH_MAX } from "../../src/core/bounds.ts"

describe("decideBearer()", () => {
  test.each(["Bearer a.b.c", "bearer a.b.c", "BEARER a.b.c"])("RFC 6750 §2.1 reads the token of %j", (field) => {
    expect(decideBearer(field, "")).toEqual({ ok: true, token: "a.b.c" })
  })

  test.each([
    [null, "", "token-missing", "no_authorization", undefined],
    ["", "", "token-missing", "no_authorization", undefined],
    [null, "?access_token=x", "token-missing", "token_in_query", undefined],
    ["Bearer x", "?access_token=", "malformed-request", "token_in_query", "invalid_request"],
    ["Bearer x", "?a=1;access%5ftoken=x", "malformed-request", "token_in_query", "invalid_request"],
    ["Basic x", "", "token-invalid", "other_scheme", undefined],
    ["x", "", "token-invalid", "other_scheme", undefined],
    ["BearerX y", "", "token-invalid", "other_scheme", undefined],
    ["Bearer", "", "token-invalid", "bearer_malformed", "invalid_token"],
    ["Bearer  x", "", "token-invalid", "bearer_malformed", "invalid_token"],
    ["Bearer x y", "", "token-invalid", "bearer_malformed", "invalid_token"],
    ["Bearer x,y", "", "token-invalid", "bearer_malformed", "invalid_token"],
    ["Bearer =", "", "token-invalid", "bearer_malformed", "invalid_token"],
    ["Bearer é", "", "token-invalid", "bearer_malformed", "invalid_token"],
    [`Bearer ${"a".repeat(TOKEN_LENGTH_MAX + 1)}`, "", "token-invalid", "token_too_large", "invalid_token"],
  ])("JWT-18, JWT-19: refuses %.30s with the query %j", (field, query, code, reason, error) => {
    expect(decideBearer(field, query)).toEqual({ ok: false, code, reason, error })
  })

  test("takes a token of the longest length", () => {
    expect(decideBearer(`Bearer ${"a".repeat(TOKEN_LENGTH_MAX)}`, "").ok).toBe(true)
  })

  test.each(["?access_tokens=x", "?x=access_token", "?a=%", "?", ""])(
    "takes the query %j for an innocent one",
    (query) => {
      expect(decideBearer("Bearer x", query).ok).toBe(true)
    },
  )

  test("returns only what stands behind the scheme and one space", () => {
    const anyField = fc.string({
      unit: fc.constantFrom("Bearer", "bearer", " ", "\t", ",", "a", ".", "=", "é"),
      maxLength: 6,
    })
    fc.assert(
      fc.property(anyField, (field) => {
        const decision = decideBearer(field, "")
        expect(!decision.ok || /^bearer $/i.test(field.slice(0, field.length - decision.token.length))).toBe(true)
      }),
      { seed: 44, numRuns: 5_000 },
    )
  })
})

describe("formatChallenge()", () => {
  test.each([
    [{ error: undefined }, 'Bearer realm="sekisho"'],
    [{ error: "invalid_token" }, 'Bearer realm="sekisho", error="invalid_token"'],
    [
      { error: "insufficient_scope", scopes: ["read", "pay"] },
      'Bearer realm="sekisho", error="insufficient_scope", scope="read pay"',
    ],
  ] as const)("RFC 6750 §3 writes %j", (challenge, expected) => {
    expect(formatChallenge("sekisho", challenge)).toBe(expected)
  })
})

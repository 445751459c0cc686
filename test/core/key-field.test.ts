/**
 * Goal: a guard counts by no field that a guesser can change at will. Method: one field of each kind.
 */
import { expect, test } from "vitest"
import { refuseKeyField } from "../../src/core/guard/key-field.ts"

test.each(["x-account-id", "account", "x-user", "customer-number"])("refuseKeyField() takes %s", (name) => {
  expect(refuseKeyField(name)).toBeUndefined()
})

test.each([
  "x-client-id",
  "x-forwarded-for",
  "cf-connecting-ip",
  "forwarded",
  "via",
  "x-request-id",
  "connection",
  "te",
])("refuseKeyField() refuses %s, which no origin receives from a caller", (name) => {
  expect(refuseKeyField(name)).toMatch(new RegExp(`^a field that origins receive: .* ${name} `))
})

test.each(["authorization", "cookie", "x-api-key", "idempotency-key", "user-agent", "host", "accept-language"])(
  "refuseKeyField() refuses %s, which may differ with every guess",
  (name) => {
    expect(refuseKeyField(name)).toMatch(new RegExp(`^a field that names an account or the like: ${name} `))
  },
)

test.each(["content-length", "content-type", "if-none-match", "sec-fetch-site", "accept"])(
  "refuseKeyField() refuses the families of fields that describe the message: %s",
  (name) => {
    expect(refuseKeyField(name)).toBeDefined()
  },
)

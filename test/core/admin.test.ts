/**
 * Who may be in the admin room: which secrets are taken, and which web pages.
 */
import { describe, expect, test } from "vitest"
import { isOwnPage, readAdminSecret } from "../../src/core/admin.ts"

const octets = (length: number): string => Buffer.alloc(length, 0xa5).toString("base64url")

describe("readAdminSecret()", () => {
  test("takes 32 octets and more", () => {
    expect([readAdminSecret(octets(32)), readAdminSecret(octets(64))]).toEqual([
      { ok: true, secret: octets(32) },
      { ok: true, secret: octets(64) },
    ])
  })

  test.each([
    [undefined, "admin_secret_missing"],
    [7, "admin_secret_missing"],
    ["", "admin_secret_missing"],
    [octets(31), "admin_secret_weak"],
    [`${octets(32)}=`, "admin_secret_weak"],
    [`${octets(32)}\n`, "admin_secret_weak"],
    ["correct horse battery staple and then some more", "admin_secret_weak"],
  ])("does not take %j", (value, reason) => {
    expect(readAdminSecret(value)).toEqual({ ok: false, reason })
  })
})

test.each([
  [null, "admin.test", true],
  ["https://admin.test", "admin.test", true],
  ["https://admin.test:8443", "Admin.test:8443", true],
  ["https://admin.test", "admin.test:8443", false],
  ["http://admin.test", "admin.test", false],
  ["https://evil.test", "admin.test", false],
  ["null", "admin.test", false],
  ["", "admin.test", false],
])("isOwnPage() of a page of %j at %s is %s", (origin, host, isOwn) => {
  expect(isOwnPage(origin, host)).toBe(isOwn)
})

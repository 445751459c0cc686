/** Goal: two callers share an object exactly when they are counted together. Method: single cases. */
import { describe, expect, test } from "vitest"
import type { GuardKey } from "../../src/core/gate/gate-plan.ts"
import { keyedObjectName, keyedSubject, parseGateSubject } from "../../src/core/gate/gate-subject.ts"

const ADDRESS: GuardKey = { kind: "address" }
const ACCOUNT: GuardKey = { kind: "header", name: "x-account" }
const textOf = (key: GuardKey, value: string | null, name = "login", clientId = "alpha") =>
  keyedSubject({ name, key }, clientId, value).text

describe("keyedSubject()", () => {
  test("keyedSubject() counts all addresses of one IPv6 /64 together", () => {
    expect(textOf(ADDRESS, "2001:db8:1:2::1")).toBe(textOf(ADDRESS, "2001:DB8:1:2:ffff::9"))
  })

  test("keyedSubject() counts two addresses apart", () => {
    expect(textOf(ADDRESS, "192.0.2.1")).not.toBe(textOf(ADDRESS, "192.0.2.2"))
  })

  test("keyedSubject() counts an account whoever asks for it", () => {
    expect(textOf(ACCOUNT, "4711", "login", "alpha")).toBe(textOf(ACCOUNT, "4711", "login", "beta"))
  })

  test("keyedSubject() counts a request without the field for its client", () => {
    expect(textOf(ACCOUNT, null, "login", "alpha")).not.toBe(textOf(ACCOUNT, null, "login", "beta"))
  })

  test("keyedSubject() takes no value for the lack of one", () => {
    expect(textOf(ACCOUNT, "alpha")).not.toBe(textOf(ACCOUNT, null, "login", "alpha"))
  })

  test("keyedSubject() counts for each guard apart", () => {
    expect(textOf(ACCOUNT, "4711", "login")).not.toBe(textOf(ACCOUNT, "4711", "pin"))
  })
})

describe("parseGateSubject()", () => {
  test.each(["address", "header"] as const)(
    "parseGateSubject() reads the name of the object of another %s",
    (keyKind) => {
      expect(parseGateSubject(keyedObjectName({ keyKind, text: "" }, "00ff"))).toEqual({ keyKind })
    },
  )

  test.each(["alpha", "address", "address1", "headers", "header", ""])(
    "parseGateSubject() takes %j for a client's id",
    (clientId) => {
      expect(parseGateSubject(clientId)).toEqual({ keyKind: "client", clientId })
    },
  )
})

/**
 * Goal: nobody escapes the limit per address by spelling or by garbage, and only a clear no of the counter refuses.
 */
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { decideIpLimit, ipLimitKey, UNKNOWN_ADDRESS_KEY } from "../../src/core/limit/ip-limit.ts"

describe("ipLimitKey()", () => {
  test.each(["::ffff:192.0.2.1", "::ffff:c000:201", "192.0.2.1", "0:0:0:0:0:ffff:c000:0201"])(
    "IPL-02 counts %s as the one address it is",
    (address) => {
      expect(ipLimitKey(address)).toBe("192.0.2.1/32")
    },
  )

  test("IPL-01 counts every address of one /64 together", () => {
    const group = fc.integer({ min: 0, max: 0xffff }).map((value) => value.toString(16))
    fc.assert(
      fc.property(fc.tuple(group, group, group, group), (suffix) => {
        expect(ipLimitKey(`2001:db8:1:2:${suffix.join(":")}`)).toBe("2001:db8:1:2::/64")
      }),
      { seed: 20_260_301, numRuns: 1_000 },
    )
  })

  test.each([
    ["192.0.2.1", "192.0.2.2"],
    ["2001:db8:1:2::1", "2001:db8:1:3::1"],
    ["::ffff:0:1", "::1"],
  ])("counts %s and %s apart", (one, other) => {
    expect(ipLimitKey(one)).not.toBe(ipLimitKey(other))
  })

  test.each([
    null,
    "",
    " 192.0.2.1",
    "192.0.2.1, 192.0.2.2",
    "192.0.2.01",
    "0xc0.0.2.1",
    "3221225985",
    "192.0.2.1:443",
    "[2001:db8::1]",
    "2001:db8::1%eth0",
    "192.0.2.0/24",
    "unknown",
  ])("counts %j under the key that all unreadable addresses share", (address) => {
    expect(ipLimitKey(address)).toBe(UNKNOWN_ADDRESS_KEY)
  })

  test("gives any text a key of a prefix or the shared one", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.ipV4(), fc.ipV6()), (address) => {
        expect(ipLimitKey(address)).toMatch(/^(?:[0-9.]+\/32|[0-9a-f:]+::\/64|[0-9a-f:]+\/64|unknown)$/)
      }),
      { seed: 20_260_302, numRuns: 2_000 },
    )
  })
})

describe("decideIpLimit()", () => {
  test("lets a request pass that the counter has counted", () => {
    expect(decideIpLimit({ kind: "answered", answer: { success: true } })).toBe("pass")
  })

  test("refuses a request beyond the limit", () => {
    expect(decideIpLimit({ kind: "answered", answer: { success: false } })).toBe("refuse")
  })

  test.each([
    undefined,
    null,
    false,
    true,
    "no",
    0,
    {},
    [],
    { success: undefined },
    { success: 0 },
    { success: "false" },
  ])("takes the answer %j for none", (answer) => {
    expect(decideIpLimit({ kind: "answered", answer })).toBe("unavailable")
  })

  test.each(["failed", "late"] as const)("lets a request pass, noted, when the counter was %s", (kind) => {
    expect(decideIpLimit({ kind })).toBe("unavailable")
  })
})

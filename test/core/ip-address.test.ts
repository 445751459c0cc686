/**
 * Goal: one address is one key, however it is spelled. Method: examples from the RFCs, and random octets and texts held
 * against two independent readers, `node:net` and the WHATWG URL parser.
 */
import { isIPv4, isIPv6 } from "node:net"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import {
  formatForwardedNode,
  formatIpAddress,
  type IpAddress,
  limitPrefix,
  parseIpAddress,
} from "../../src/core/message/ip-address.ts"

/** Returns the canonical text of an address that the test knows to be valid. */
function canonical(text: string): string | undefined {
  const address = parseIpAddress(text)
  return address && formatIpAddress(address)
}

const v4 = fc.uint8Array({ minLength: 4, maxLength: 4 }).map((bytes): IpAddress => ({ version: 4, bytes }))
/** Octets with many zeros, so that `::` occurs at every place; never IPv4-mapped. */
const v6 = fc
  .array(fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, fc.nat(255)), { minLength: 16, maxLength: 16 })
  .map((octets): IpAddress => ({ version: 6, bytes: Uint8Array.from(octets) }))
  .filter(
    ({ bytes }) => !(bytes.subarray(0, 10).every((octet) => octet === 0) && bytes[10] === 255 && bytes[11] === 255),
  )

describe("parseIpAddress()", () => {
  test.each(["0.0.0.0", "192.0.2.1", "255.255.255.255"])("accepts the dotted quad %s", (text) => {
    expect(canonical(text)).toBe(text)
  })

  test.each([
    ["2001:DB8::1", "2001:db8::1"],
    ["2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"],
    ["::", "::"],
    ["1::", "1::"],
    ["::1", "::1"],
    ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
    ["::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"],
    ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
    ["1:2:3:4:5:6:192.0.2.33", "1:2:3:4:5:6:c000:221"],
  ])("accepts the IPv6 text %s", (text, expected) => {
    expect(canonical(text)).toBe(expected)
  })

  test.each(["::ffff:192.0.2.1", "::ffff:c000:201", "0:0:0:0:0:ffff:c000:0201", "::FFFF:192.0.2.1"])(
    "folds the mapped address %s to version 4",
    (text) => {
      expect(parseIpAddress(text)).toEqual({ version: 4, bytes: Uint8Array.of(192, 0, 2, 1) })
    },
  )

  test("keeps an IPv4-compatible address as version 6", () => {
    expect(parseIpAddress("::192.0.2.1")?.version).toBe(6)
  })

  test.each([
    "",
    "1.2.3",
    "1.2.3.4.5",
    "01.2.3.4",
    "1.2.3.256",
    "1.2.3.+4",
    "1.2.3.4 ",
    "1.2.3.0x4",
    "3232235777",
    "1.2.3.4/32",
    "1.2.3.4:80",
    "[::1]",
    "::1%eth0",
    "fe80::1%25eth0",
    ":",
    ":::",
    "1::2::3",
    ":1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4::5:6:7:8",
    "12345::",
    "g::",
    "::1.2.3",
    "::01.2.3.4",
    "1.2.3.4::",
    "1:2:3:4:5:6:7:1.2.3.4",
    "::1.2.3.4:5",
    "١.2.3.4",
    "0".repeat(100_000),
  ])("refuses %j", (text) => {
    expect(parseIpAddress(text)).toBeUndefined()
  })

  test("agrees with node:net on random texts", () => {
    const part = fc.constantFrom(
      "0",
      "1",
      "00",
      "ff",
      "FFFF",
      "10000",
      "255",
      "256",
      ":",
      "::",
      ".",
      "1.2.3.4",
      "g",
      "",
    )
    fc.assert(
      fc.property(fc.array(part, { maxLength: 16 }), (parts) => {
        const text = parts.join("")
        expect(parseIpAddress(text) !== undefined).toBe(isIPv4(text) || isIPv6(text))
      }),
      { seed: 42911, numRuns: 20_000 },
    )
  })

  test("agrees with node:net on texts with eight groups or fewer", () => {
    const group = fc.constantFrom("0", "1", "abcd", "", "1.2.3.4")
    fc.assert(
      fc.property(fc.array(group, { minLength: 2, maxLength: 9 }), (groups) => {
        const text = groups.join(":")
        expect(parseIpAddress(text) !== undefined).toBe(isIPv6(text))
      }),
      { seed: 42912, numRuns: 20_000 },
    )
  })
})

describe("formatIpAddress()", () => {
  test.each([
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["0:0:1:1:1:1:0:0", "::1:1:1:1:0:0"],
  ])("RFC 5952 §4.2 shortens %s", (text, expected) => {
    expect(canonical(text)).toBe(expected)
  })

  test("is undone by parseIpAddress()", () => {
    fc.assert(
      fc.property(fc.oneof(v4, v6), (address) => {
        expect(parseIpAddress(formatIpAddress(address))).toEqual(address)
      }),
      { seed: 5952, numRuns: 5_000 },
    )
  })

  test("agrees with the WHATWG serializer", () => {
    fc.assert(
      fc.property(v6, (address) => {
        const text = formatIpAddress(address)
        expect(new URL(`http://[${text}]/`).hostname).toBe(`[${text}]`)
      }),
      { seed: 5953, numRuns: 5_000 },
    )
  })
})

describe("formatForwardedNode()", () => {
  test.each([
    ["192.0.2.1", "192.0.2.1"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
    ["2001:DB8::1", '"[2001:db8::1]"'],
  ])("RFC 7239 §6 writes %s", (text, expected) => {
    const address = parseIpAddress(text)
    expect(address && formatForwardedNode(address)).toBe(expected)
  })
})

describe("limitPrefix()", () => {
  test.each([
    ["192.0.2.1", "192.0.2.1/32"],
    ["::ffff:c000:201", "192.0.2.1/32"],
    ["2001:db8:1:2::1", "2001:db8:1:2::/64"],
    ["2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"],
    ["2001:db8:1:3::1", "2001:db8:1:3::/64"],
    ["::1", "::/64"],
  ])("counts %s under its prefix", (text, expected) => {
    const address = parseIpAddress(text)
    expect(address && limitPrefix(address)).toBe(expected)
  })

  test("gives all addresses of one /64 the same prefix", () => {
    fc.assert(
      fc.property(v6, fc.uint8Array({ minLength: 8, maxLength: 8 }), (address, suffix) => {
        // The first /64 of all also holds the mapped addresses, which are IPv4.
        fc.pre(address.bytes.subarray(0, 8).some((octet) => octet !== 0))
        const bytes = Uint8Array.from([...address.bytes.subarray(0, 8), ...suffix])
        expect(limitPrefix({ version: 6, bytes })).toBe(limitPrefix(address))
      }),
      { seed: 6177, numRuns: 1_000 },
    )
  })

  test("does not change the address it is given", () => {
    const bytes = Uint8Array.from({ length: 16 }, () => 0xab)
    limitPrefix({ version: 6, bytes })
    expect(bytes.every((octet) => octet === 0xab)).toBe(true)
  })
})

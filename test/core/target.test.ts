/**
 * Goal: whatever passes has one reading, for the router, for the origin and for every URL parser between. Method:
 * examples of each way to be read in two ways, and properties held against the WHATWG URL parser.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { TARGET_BYTES_MAX } from "../../src/core/bounds.ts"
import { canonicalizePath, decideTarget, parseHost } from "../../src/core/route/target.ts"

const HOSTS = new Set(["gw.test", "127.0.0.1", "[2001:db8::1]"])

/** Decides on a request whose URL is composed as workerd does it. */
function decide(hostField: string, target: string) {
  return decideTarget({ hostField, url: `http://${hostField}${target}` }, HOSTS)
}

/** Texts in which the parts that parsers disagree about occur often. */
const pathText = fc
  .array(
    fc.oneof(
      {
        weight: 4,
        arbitrary: fc.constantFrom("/", "/", ".", "..", ";", "a", "B", "~", "-", "%2e", "%2F", "%25", "%3b"),
      },
      fc.constantFrom(
        "%5c",
        "\\",
        "%61",
        "%7e",
        "%C3%A9",
        "%c3%a9",
        "%E2%82%AC",
        "%F0%9F%98%80",
        "%C0%AE",
        "%ED%A0%80",
      ),
      fc.constantFrom(
        "%",
        "%4",
        "%zz",
        "%00",
        "%7F",
        "%C2%85",
        "\t",
        "\n",
        " ",
        "?",
        "#",
        "@",
        ":",
        "|",
        "^",
        '"',
        "é",
        "\0",
      ),
      fc.integer({ min: 0, max: 255 }).map((octet) => `%${octet.toString(16).padStart(2, "0")}`),
    ),
    { maxLength: 12 },
  )
  .map((parts) => `/${parts.join("")}`)

describe("parseHost()", () => {
  test.each([
    ["gw.test", "gw.test", undefined],
    ["GW.Test:8443", "gw.test", 8443],
    ["localhost:1", "localhost", 1],
    ["a-b.c1:65535", "a-b.c1", 65_535],
    ["xn--bcher-kva.example", "xn--bcher-kva.example", undefined],
    ["127.0.0.1:80", "127.0.0.1", 80],
    ["[2001:DB8:0::1]:443", "[2001:db8::1]", 443],
    [`${"a".repeat(63)}.test`, `${"a".repeat(63)}.test`, undefined],
  ])("accepts %s", (value, host, port) => {
    expect(parseHost(value)).toEqual({ host, port })
  })

  test("accepts a name of 253 characters", () => {
    expect(parseHost(`${"a.".repeat(126)}a`)).toBeDefined()
  })

  test("refuses a name of 254 characters", () => {
    expect(parseHost(`${"a.".repeat(125)}abcd`)).toBeUndefined()
  })

  test.each([
    "",
    " ",
    ".",
    "gw.test.",
    ".gw.test",
    "gw..test",
    "gw test",
    " gw.test",
    "gw.test\n",
    "gw.test, evil.example",
    "gw.test,evil.example",
    "gw.test@evil.example",
    "user:pw@gw.test",
    "gw.test/public/?",
    "gw.test/public/#",
    "gw.test?x",
    "gw.test\\x",
    "http://gw.test",
    "gw_x.test",
    "gw%2etest",
    "-gw.test",
    "gw-.test",
    "bücher.example",
    "\u212a.test",
    `${"a".repeat(64)}.test`,
    "gw.test:",
    "gw.test:0",
    "gw.test:080",
    "gw.test:65536",
    "gw.test:99999",
    "gw.test:100000",
    "gw.test:+80",
    "gw.test:80:80",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "127.1",
    "127.0.0.01",
    "127.0.0.256",
    "1.2.3.4.5",
    "gw.1",
    "gw.0x1",
    "gw.0x",
    "2001:db8::1",
    "[127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::1",
    "[::1]x",
    "[fe80::1%25eth0]",
    "[]",
    "[v1.x]",
  ])("refuses %j", (value) => {
    expect(parseHost(value)).toBeUndefined()
  })

  test("agrees with the WHATWG URL parser about the host it accepts", () => {
    const part = fc.constantFrom(
      "a",
      "B",
      "0",
      "1",
      "x",
      "0x",
      "255",
      "-",
      ".",
      ".",
      ":",
      "[",
      "]",
      "::",
      "ffff",
      "8080",
      "@",
    )
    fc.assert(
      fc.property(fc.array(part, { maxLength: 10 }), (parts) => {
        const parsed = parseHost(parts.join(""))
        fc.pre(parsed !== undefined)
        expect(new URL(`ws://${parts.join("")}/`).hostname).toBe(parsed.host)
      }),
      { seed: 3986, numRuns: 5_000 },
    )
  })
})

describe("decideTarget()", () => {
  test("returns host, port, canonical path and the query as sent", () => {
    expect(decide("GW.test:8443", "/%61/b?x=%61&y=/../?")).toEqual({
      ok: true,
      host: "gw.test",
      port: 8443,
      path: "/a/b",
      query: "?x=%61&y=/../?",
    })
  })

  test.each([
    ["http", "gw.test:80", "gw.test"],
    ["http", "gw.test", "gw.test:80"],
    ["https", "gw.test:443", "gw.test"],
    ["http", "GW.TEST", "gw.test"],
    ["http", "[2001:DB8:0::1]", "[2001:db8::1]"],
  ])("takes %s, Host %s and authority %s for the same", (scheme, hostField, authority) => {
    expect(decideTarget({ hostField, url: `${scheme}://${authority}/x` }, HOSTS)).toMatchObject({
      ok: true,
      path: "/x",
    })
  })

  test.each([
    null,
    "",
    "gw.test, evil.example",
    "gw.test@evil.example",
    "gw.test/public/?",
    "gw.test:99999",
    "2130706433",
  ])("refuses the Host field %j", (hostField) => {
    const decision = decideTarget({ hostField, url: `http://${hostField ?? ""}/admin/x` }, HOSTS)
    expect(decision).toEqual({ ok: false, code: "host-rejected", reason: "host_invalid" })
  })

  test.each([
    "http://evil.example/x",
    "http://gw.test@evil.example/x",
    "http://gw.test.evil.example/x",
    "http://gw.test:8080/x",
    "https://gw.test:80/x",
    "http://gw.test*",
    "http:///x",
    "http:/gw.test/x",
    "ftp://gw.test/x",
    "/x",
    "",
  ])("refuses the URL %j behind the Host gw.test", (url) => {
    const decision = decideTarget({ hostField: "gw.test", url }, HOSTS)
    expect(decision).toEqual({ ok: false, code: "host-rejected", reason: "host_differs" })
  })

  test.each(["evil.example", "sub.gw.test", "test", "127.0.0.2"])("calls a request for %s misdirected", (hostField) => {
    expect(decide(hostField, "/x")).toEqual({ ok: false, code: "misdirected-request", reason: "host_unknown" })
  })

  test("accepts a target of the longest length", () => {
    expect(decide("gw.test", `/${"a".repeat(TARGET_BYTES_MAX - 3)}?b`)).toMatchObject({ ok: true })
  })

  test("refuses a target one octet longer", () => {
    const decision = decide("gw.test", `/${"a".repeat(TARGET_BYTES_MAX - 2)}?b`)
    expect(decision).toEqual({ ok: false, code: "uri-too-long", reason: "target_too_long" })
  })

  test.each([
    ["", "path_not_absolute"],
    ["?x", "path_not_absolute"],
    ["\\admin", "path_not_absolute"],
    ["#x", "path_not_absolute"],
    ["/a#x", "path_character"],
    ["/public/../admin/x", "path_dot_segment"],
    ["//evil.example/x", "path_empty_segment"],
    ["/\\evil.example/x", "path_backslash"],
  ])("refuses the target %j", (target, reason) => {
    expect(decide("gw.test", target)).toEqual({ ok: false, code: "path-rejected", reason })
  })

  test.each(["?a#b", "?a b", "?é", "?\n", "?\x7f", "?\0", "?\u0085"])("refuses the query %j", (query) => {
    expect(decide("gw.test", `/x${query}`)).toEqual({ ok: false, code: "path-rejected", reason: "query_character" })
  })

  test.each(["", "?", "?a=b&c", "??", "?%zz", "?'\"<>`{}|^[]\\", "?a=../..//%2e"])("keeps the query %j", (query) => {
    expect(decide("gw.test", `/x${query}`)).toMatchObject({ ok: true, path: "/x", query })
  })

  test("never lets target text choose the host that a URL parser sees", () => {
    fc.assert(
      fc.property(pathText, (path) => {
        const decision = decide("gw.test", path)
        fc.pre(decision.ok)
        expect(new URL(`http://gw.test${decision.path}${decision.query}`).host).toBe("gw.test")
      }),
      { seed: 9112, numRuns: 5_000 },
    )
  })
})

describe("canonicalizePath()", () => {
  test.each([
    "/",
    "/a",
    "/a/",
    "/a/b.c/~d",
    "/.well-known/x",
    "/...",
    "/..a/.b",
    "/a.",
    "/a;v=1/b",
    "/a:b@c!$&'()*+,;=",
    "/%25",
    "/%252e%252e/",
    "/%C3%A9",
    "/%E2%80%8B",
    "/%F4%8F%BF%BF",
    "/%20",
    "/%3Fq",
    "/%23",
    "/ADMIN",
  ])("returns %s unchanged", (path) => {
    expect(canonicalizePath(path)).toEqual({ ok: true, path })
  })

  test.each([
    ["/%61dmin/x", "/admin/x"],
    ["/%7Euser", "/~user"],
    ["/%7euser", "/~user"],
    ["/a%2Eb", "/a.b"],
    ["/%41%5a%30", "/AZ0"],
    ["/%c3%a9", "/%C3%A9"],
    ["/%3a", "/%3A"],
    ["/%2561", "/%2561"],
  ])("makes %s canonical", (raw, path) => {
    expect(canonicalizePath(raw)).toEqual({ ok: true, path })
  })

  test.each([
    ["/public/../admin/x", "path_dot_segment"],
    ["/./admin/x", "path_dot_segment"],
    ["/public/..", "path_dot_segment"],
    ["/public/.", "path_dot_segment"],
    ["/..", "path_dot_segment"],
    ["/public/%2e%2e/admin/x", "path_dot_segment"],
    ["/public/.%2E/admin/x", "path_dot_segment"],
    ["/public/%2e./admin/x", "path_dot_segment"],
    ["/%2e/admin/x", "path_dot_segment"],
    ["/public/..;/admin", "path_dot_segment"],
    ["/public/..;x=y/admin", "path_dot_segment"],
    ["/public/.;x", "path_dot_segment"],
    ["/public/%2e%2e;x/admin", "path_dot_segment"],
    ["/public/..%3bx/admin", "path_dot_segment"],
    ["//admin/x", "path_empty_segment"],
    ["///", "path_empty_segment"],
    ["/a//", "path_empty_segment"],
    ["/a//b", "path_empty_segment"],
    ["/;x/admin", "path_empty_segment"],
    ["/a/;", "path_empty_segment"],
    ["/%3Bx/admin", "path_empty_segment"],
    ["/public%2f..%2fadmin/x", "path_encoded_slash"],
    ["/admin%2Fx", "path_encoded_slash"],
    ["/public\\..\\admin", "path_backslash"],
    ["/public%5c..%5Cadmin", "path_backslash"],
    ["/public/%00", "path_control_character"],
    ["/public/%0d%0aX-A:%20b", "path_control_character"],
    ["/%09/evil.example", "path_control_character"],
    ["/public/%1F", "path_control_character"],
    ["/public/%7f", "path_control_character"],
    ["/public/%C2%80", "path_control_character"],
    ["/public/%C2%9F", "path_control_character"],
    ["/public/\x1b[31m", "path_control_character"],
    ["/public/\0", "path_control_character"],
    ["/public/\x7f", "path_control_character"],
    ["/public/\u0085", "path_control_character"],
    ["/%", "path_percent_malformed"],
    ["/%4", "path_percent_malformed"],
    ["/%4/1", "path_percent_malformed"],
    ["/%zz", "path_percent_malformed"],
    ["/%+1", "path_percent_malformed"],
    ["/%u0041", "path_percent_malformed"],
    ["/%C0%AE", "path_utf8_invalid"],
    ["/%C1%81", "path_utf8_invalid"],
    ["/%E0%80%AF", "path_utf8_invalid"],
    ["/%F0%80%80%AF", "path_utf8_invalid"],
    ["/%ED%A0%80", "path_utf8_invalid"],
    ["/%ED%BF%BF", "path_utf8_invalid"],
    ["/%F4%90%80%80", "path_utf8_invalid"],
    ["/%F8%88%80%80%80", "path_utf8_invalid"],
    ["/%F9%80%80%80", "path_utf8_invalid"],
    ["/%FC%80%80%80", "path_utf8_invalid"],
    ["/%80", "path_utf8_invalid"],
    ["/%FF", "path_utf8_invalid"],
    ["/%C3", "path_utf8_invalid"],
    ["/%C3/%A9", "path_utf8_invalid"],
    ["/%C3%A9%A9", "path_utf8_invalid"],
    ["/%E2%82", "path_utf8_invalid"],
    ["/%C3é", "path_utf8_invalid"],
    ["/é", "path_character"],
    ["/\ud800", "path_character"],
    ["/a b", "path_character"],
    ["/a?b", "path_character"],
    ["/a#b", "path_character"],
    ['/"', "path_character"],
    ["/<>", "path_character"],
    ["/[1]", "path_character"],
    ["/a|b", "path_character"],
    ["/a^b", "path_character"],
    ["/`{}", "path_character"],
    ["", "path_not_absolute"],
    ["a", "path_not_absolute"],
    ["*", "path_not_absolute"],
    ["\\a", "path_not_absolute"],
    ["%2Fa", "path_not_absolute"],
  ])("refuses %j as %s", (raw, reason) => {
    expect(canonicalizePath(raw)).toEqual({ ok: false, reason })
  })

  test("returns a canonical path unchanged", () => {
    fc.assert(
      fc.property(pathText, (raw) => {
        const first = canonicalizePath(raw)
        fc.pre(first.ok)
        expect(canonicalizePath(first.path)).toEqual(first)
      }),
      { seed: 52_001, numRuns: 20_000 },
    )
  })

  test("accepts no path in which the WHATWG URL parser sees another host or path", () => {
    fc.assert(
      fc.property(pathText, (raw) => {
        const canonical = canonicalizePath(raw)
        fc.pre(canonical.ok)
        const url = new URL(canonical.path, "http://h")
        expect([url.host, url.pathname, url.search, url.hash]).toEqual(["h", canonical.path, "", ""])
      }),
      { seed: 52_002, numRuns: 20_000 },
    )
  })

  test("decides on encoded octets as TextDecoder does", () => {
    const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
    const lead = fc.constantFrom(
      0xc0,
      0xc1,
      0xc2,
      0xc3,
      0xe0,
      0xe2,
      0xed,
      0xef,
      0xf0,
      0xf1,
      0xf4,
      0xf5,
      0xf9,
      0xfc,
      0xff,
    )
    const trail = fc.constantFrom(0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf)
    const octets = fc.array(fc.oneof(lead, { weight: 3, arbitrary: trail }), { minLength: 1, maxLength: 6 })
    fc.assert(
      fc.property(octets, (values) => {
        const result = canonicalizePath(`/${values.map((value) => `%${value.toString(16).toUpperCase()}`).join("")}`)
        const isUtf8 = isAccepted(() => decoder.decode(Uint8Array.from(values)))
        expect(!result.ok && result.reason === "path_utf8_invalid").toBe(!isUtf8 && !hasControlFirst(values))
      }),
      { seed: 3629, numRuns: 20_000 },
    )
  })

  test("decodes to the text that the raw path encodes", () => {
    const path = fc.array(fc.string({ unit: "grapheme", minLength: 1 }), { minLength: 1 })
    fc.assert(
      fc.property(path, (names) => {
        const result = canonicalizePath(names.map((name) => `/${encodeURIComponent(name)}`).join(""))
        fc.pre(result.ok)
        expect(result.path.slice(1).split("/").map(decodeURIComponent)).toEqual(names)
      }),
      { seed: 52_003, numRuns: 5_000 },
    )
  })

  test("stays within its bound on the longest target of encodings", () => {
    const raw = `/${"%61".repeat(2_730)}`
    expect(canonicalizePath(raw)).toEqual({ ok: true, path: `/${"a".repeat(2_730)}` })
  })
})

/** Returns true when a function does not throw. */
function isAccepted(run: () => unknown): boolean {
  try {
    run()
    return true
  } catch {
    return false
  }
}

/** Returns true when a C1 control, read before the first invalid sequence, already decides. */
function hasControlFirst(values: readonly number[]): boolean {
  for (let length = 2; length <= values.length; length += 1) {
    try {
      const text = new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(values.slice(0, length)))
      if (/[\u0080-\u009f]/.test(text)) return true
    } catch {
      // Not a whole sequence yet, or invalid from here on.
    }
  }
  return false
}

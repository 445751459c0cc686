/**
 * Goal: the origin sees the caller's own fields and the gateway's, and never a caller's copy of one of the gateway's.
 * Method: the spoofing attacks as tables, and a stand-in for the origin stage that shows what arrives in the end.
 */
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { FIELD_NAMES_REMEMBERED_MAX } from "../../src/core/bounds.ts"
import {
  gatewayFields,
  isContentUnexpected,
  isLoop,
  isRequestFieldForwarded,
  isResponseFieldForwarded,
  parseConnection,
  type ForwardedRequest,
  variesOnCertificate,
} from "../../src/core/message/forwarding.ts"

const REQUEST: ForwardedRequest = {
  requestId: "01932c07-0000-7000-8000-000000000001",
  clientId: "acme-a",
  clientCertificate: ":MAA=:",
  xfcc: "Hash=00",
  assertion: "aa.bb.cc",
  clientAddress: "127.0.0.9",
  forwardedNode: "127.0.0.9",
  host: "gw.test",
  traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03",
  tracestate: "a=1",
  via: null,
  pseudonym: "sekisho",
}
const NONE: ReadonlySet<string> = new Set()

type Fields = readonly (readonly [name: string, value: string])[]

/** Returns what reaches the origin: the caller's fields that pass, then the gateway's, each replacing its namesakes. */
function forward(fields: Fields, allowed?: ReadonlySet<string>): ReadonlyMap<string, readonly string[]> {
  const connection = fields.find(([name]) => name.toLowerCase() === "connection")?.[1] ?? null
  const nominated = parseConnection(connection)
  const arrived = new Map<string, string[]>()
  for (const [name, value] of fields) {
    const lower = name.toLowerCase()
    if (isRequestFieldForwarded(lower, nominated, allowed)) arrived.set(lower, [...(arrived.get(lower) ?? []), value])
  }
  for (const [name, value] of gatewayFields(REQUEST)) arrived.set(name.toLowerCase(), [value])
  return arrived
}

describe("isRequestFieldForwarded()", () => {
  test("judges a name that it remembers as it judged it first, also when it has forgotten others meanwhile", () => {
    const names = Array.from({ length: 2 * FIELD_NAMES_REMEMBERED_MAX }, (_, i) =>
      i % 3 === 0 ? `x-client-${i}` : `x-${i}`,
    )
    const judge = (): readonly boolean[] => names.map((name) => isRequestFieldForwarded(name, NONE, undefined))
    const first = judge()
    expect(judge()).toEqual(first)
    expect(first.map((isForwarded, i) => isForwarded === (i % 3 !== 0))).not.toContain(false)
  })

  const identity = [
    "X-Client-Id",
    "X-Client-Tier",
    "X-Client-Scopes",
    "X-SSL-Client-Verify",
    "X-SSL-Client-S-DN",
    "SSL-Client-Cert",
    "Cf-Client-Cert-Sha256",
    "Cf-Client-Cert-Der-Base64",
    "X-Forwarded-Client-Cert",
    "X-Forwarded-Tls-Client-Cert",
    "Client-Cert",
    "Client-Cert-Chain",
    "X-Amzn-Mtls-Clientcert",
    "X-Amzn-Mtls-Clientcert-Leaf",
    "X-ARR-ClientCert",
    "Gateway-Assertion",
    "Gateway-Assertion-2",
    "Gateway-Anything",
    "X-Forwarded-Client-Cert-Chain",
    "X-Auth-Request-User",
    "X-Remote-User",
    "Remote-User",
    "X-Consumer-Username",
    "X-Credential-Identifier",
    "X-Authenticated-Userid",
    "TLS-Client-Subject",
    "X-Request-Id",
  ]
  test.each(identity)("HDR-01, HDR-02: keeps a caller's %s from the origin", (name) => {
    expect(isRequestFieldForwarded(name.toLowerCase(), NONE, undefined)).toBe(false)
  })

  test.each(identity)("HDR-02: keeps %s back even when a route allows it", (name) => {
    expect(isRequestFieldForwarded(name.toLowerCase(), NONE, new Set([name.toLowerCase()]))).toBe(false)
  })

  test.each(["MF-CF-Blob", "CF-Connecting-IP", "CF-IPCountry", "CDN-Loop"])("HDR-03: keeps %s back", (name) => {
    expect(isRequestFieldForwarded(name.toLowerCase(), NONE, undefined)).toBe(false)
  })

  test.each(["X-Forwarded-For", "Forwarded", "CF-Connecting-IP", "True-Client-IP", "X-Real-IP", "X-Cluster-Client-IP"])(
    "HDR-10: keeps a caller's %s back",
    (name) => {
      expect(isRequestFieldForwarded(name.toLowerCase(), NONE, undefined)).toBe(false)
    },
  )

  test.each([
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Forwarded-Uri",
    "X-Forwarded-Prefix",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Port",
    "X-Envoy-Original-Path",
  ])("HDR-11: keeps %s back", (name) => {
    expect(isRequestFieldForwarded(name.toLowerCase(), NONE, undefined)).toBe(false)
  })

  test.each(["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])("EDG-17: keeps %s back", (name) => {
    expect(isRequestFieldForwarded(name.toLowerCase(), NONE, undefined)).toBe(false)
  })

  test.each([
    "Connection",
    "Proxy-Authorization",
    "Proxy-Authenticate",
    "Proxy-Connection",
    "Keep-Alive",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "HTTP2-Settings",
    "Expect",
  ])("HDR-14: keeps the hop-by-hop field %s back", (name) => {
    expect(isRequestFieldForwarded(name.toLowerCase(), NONE, undefined)).toBe(false)
  })

  test.each(["x_client_id", "ssl_client_cert", "x.client.id", "x client", "x-ä", "x!", "", "X-Upper"])(
    "keeps the name %j back, which an origin may read as another one",
    (name) => {
      expect(isRequestFieldForwarded(name, NONE, undefined)).toBe(false)
    },
  )

  test.each(["accept", "authorization", "content-type", "cookie", "idempotency-key", "user-agent", "x-api-version"])(
    "lets %s pass where the route has no allow-list",
    (name) => {
      expect(isRequestFieldForwarded(name, NONE, undefined)).toBe(true)
    },
  )

  test.each([
    ["x-allowed", true],
    ["x-allowed-extra", false],
    ["x-evil", false],
    ["authorization", false],
    ["content-type", true],
    ["content-length", true],
    ["host", true],
  ])("HDR-18: decides on %s by the whole name on a route that allows x-allowed", (name, expected) => {
    expect(isRequestFieldForwarded(name, NONE, new Set(["x-allowed"]))).toBe(expected)
  })

  test("removes what Connection names", () => {
    expect(isRequestFieldForwarded("x-mine", parseConnection("close, X-Mine"), undefined)).toBe(false)
  })

  test.each(["authorization", "content-length", "content-type", "cookie", "host", "idempotency-key"])(
    "does not let Connection remove %s",
    (name) => {
      expect(isRequestFieldForwarded(name, parseConnection(name), undefined)).toBe(true)
    },
  )
})

describe("what the origin sees", () => {
  test("HDR-12: keeps the gateway's fields although Connection names them", () => {
    const arrived = forward([
      ["Connection", "close, X-Client-Id, X-Forwarded-For, X-Request-Id, Client-Cert, traceparent, Via"],
    ])
    expect(Object.fromEntries(arrived)).toMatchObject({
      "x-client-id": ["acme-a"],
      "x-forwarded-for": ["127.0.0.9"],
      "x-request-id": [REQUEST.requestId],
      "client-cert": [":MAA=:"],
      traceparent: [REQUEST.traceparent],
      via: ["1.1 sekisho"],
    })
  })

  test("HDR-02: holds each of the gateway's fields exactly once whatever a caller sends", () => {
    const own = gatewayFields(REQUEST).map(([name]) => name)
    const spelling = fc
      .tuple(fc.constantFrom(...own, "connection", "x-mine", "accept"), fc.boolean())
      .map(([name, isUpper]) => (isUpper ? name.toUpperCase() : name.toLowerCase()))
    const value = fc.constantFrom("spoofed", ...own)
    fc.assert(
      fc.property(fc.array(fc.tuple(spelling, value), { maxLength: 20 }), (fields) => {
        const arrived = forward(fields)
        for (const [name, expected] of gatewayFields(REQUEST))
          expect(arrived.get(name.toLowerCase())).toEqual([expected])
      }),
      { seed: 16, numRuns: 500 },
    )
  })
})

describe("gatewayFields()", () => {
  const get = (changes: Partial<ForwardedRequest>, name: string): string | undefined =>
    gatewayFields({ ...REQUEST, ...changes }).find(([field]) => field === name)?.[1]

  test("names each field once", () => {
    const names = gatewayFields(REQUEST).map(([name]) => name.toLowerCase())
    expect(names).toEqual([...new Set(names)])
  })

  test("sets no field that it would let a caller send", () => {
    const open = gatewayFields(REQUEST).filter(([name]) => isRequestFieldForwarded(name.toLowerCase(), NONE, undefined))
    expect(open).toEqual([])
  })

  test.each([
    ["127.0.0.9", "for=127.0.0.9;"],
    ['"[2001:db8::1]"', 'for="[2001:db8::1]";'],
    [undefined, ""],
  ])("writes Forwarded for the node %s", (forwardedNode, expected) => {
    expect(get({ forwardedNode }, "Forwarded")).toBe(`${expected}host="gw.test";proto=https`)
  })

  test.each(["X-Forwarded-For", "X-Real-IP"])("leaves %s out when the address is not known", (name) => {
    expect(get({ clientAddress: undefined }, name)).toBeUndefined()
  })

  test.each([
    ["Client-Cert", { clientCertificate: undefined }],
    ["X-Forwarded-Client-Cert", { xfcc: undefined }],
    ["Gateway-Assertion", { assertion: undefined }],
  ] as const)("leaves %s out for an origin that does not want it, and nothing else", (name, change) => {
    const names = gatewayFields(REQUEST).map(([field]) => field)
    expect(gatewayFields({ ...REQUEST, ...change }).map(([field]) => field)).toEqual(
      names.filter((own) => own !== name),
    )
  })

  test("leaves tracestate out when there is none", () => {
    expect(get({ tracestate: undefined }, "tracestate")).toBeUndefined()
  })

  test.each([
    [null, "1.1 sekisho"],
    ["", "1.1 sekisho"],
    ["1.0 fred", "1.0 fred, 1.1 sekisho"],
  ])("appends itself to the Via %j", (via, expected) => {
    expect(get({ via }, "Via")).toBe(expected)
  })
})

describe("isResponseFieldForwarded()", () => {
  const nominated = parseConnection("close, X-Secret")

  test.each([
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-secret",
  ])("PRX-04: keeps %s from the caller", (name) => {
    expect(isResponseFieldForwarded(name, nominated)).toBe(false)
  })

  test.each([
    "client-cert",
    "client-cert-chain",
    "gateway-assertion",
    "ratelimit",
    "ratelimit-policy",
    "x-forwarded-client-cert",
    "x-request-id",
  ])("keeps the origin's %s from the caller", (name) => {
    expect(isResponseFieldForwarded(name, NONE)).toBe(false)
  })

  test.each(["content-type", "set-cookie", "location", "etag", "retry-after", "x_legacy"])("lets %s pass", (name) => {
    expect(isResponseFieldForwarded(name, nominated)).toBe(true)
  })

  test.each(["set-cookie", "content-type", "content-length", "cache-control"])(
    "does not let Connection remove %s",
    (name) => {
      expect(isResponseFieldForwarded(name, parseConnection(name))).toBe(true)
    },
  )
})

test.each([
  [null, []],
  ["close", ["close"]],
  [" Keep-Alive ,X-A", ["keep-alive", "x-a"]],
])("parseConnection() reads %j", (value, expected) => {
  expect([...parseConnection(value)]).toEqual(expected)
})

test.each([
  [null, false],
  ["", false],
  ["1.1 other", false],
  ["1.1 sekisho", true],
  ["1.0 fred, 1.1 SEKISHO (comment)", true],
  ["HTTP/1.1 sekisho", true],
  ["1.1 sekisho-2", false],
  ["sekisho", false],
])("isLoop() judges the Via %j as %s", (via, expected) => {
  expect(isLoop(via, "sekisho")).toBe(expected)
})

test.each([
  ["GET", null, true],
  ["GET", "5", true],
  ["HEAD", "5", true],
  ["GET", "0", false],
  ["POST", null, false],
  ["DELETE", "5", false],
] as const)("isContentUnexpected() says of %s with a length of %s: %s", (method, length, expected) => {
  expect(isContentUnexpected(method, length)).toBe(expected)
})

test.each([
  ["Client-Cert", true],
  ["accept, client-cert-chain", true],
  ["X-Forwarded-Client-Cert", true],
  ["accept, Gateway-Assertion", true],
  ["Accept-Encoding", false],
  ["x-client-cert", false],
  [null, false],
] as const)("RFC 9440 §2.4 variesOnCertificate() says of %j: %s", (vary, expected) => {
  expect(variesOnCertificate(vary)).toBe(expected)
})

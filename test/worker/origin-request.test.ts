/**
 * Goal: the origin gets the request that the client sent, and about the client only what the gateway knows. Method: a
 * real origin on a socket records the fields as they were on the wire.
 */
import { describe, expect, test } from "vitest"
import { ask, CLIENT_ADDRESS, createGateway, expectRefusal, fieldValues, fixtures, writtenLines } from "./harness.ts"
import type { OriginRecord } from "./provided.ts"

const B = fixtures.certificates["acme-b"]

/** Fields in which some proxy somewhere names a client, all of them saying that this is somebody else. */
const IDENTITY_MATRIX: Readonly<Record<string, string>> = {
  "X-Client-Id": "acme-b",
  "X-Client-Tier": "gold",
  "X-Client-Scopes": "admin",
  "X-SSL-Client-Verify": "SUCCESS",
  "X-SSL-Client-S-DN": "CN=acme-b",
  SSL_CLIENT_CERT: "forged",
  "Cf-Client-Cert-Sha256": B.fingerprint,
  "Cf-Client-Cert-Der-Base64": B.der,
  "X-Forwarded-Client-Cert": `By=http://frontend;Hash=${B.fingerprint}`,
  "X-Forwarded-Tls-Client-Cert": B.der,
  "Client-Cert": `:${B.der}:`,
  "Client-Cert-Chain": `:${B.der}:`,
  "X-Amzn-Mtls-Clientcert": B.der,
  "Gateway-Assertion": "forged.forged.forged",
  "X-Auth-Request-User": "root",
  "X-Remote-User": "root",
  "Remote-User": "root",
  X_Client_Id: "acme-b",
}

/** Names of all fields the origin received, sorted, without those that the platform adds by itself. */
function fieldNames(record: OriginRecord | undefined): readonly string[] {
  return (record?.fields ?? [])
    .map(([name]) => name.toLowerCase())
    .filter((name) => name !== "cf-worker")
    .toSorted()
}

const GATEWAY_FIELDS = [
  "client-cert",
  "forwarded",
  "host",
  "traceparent",
  "via",
  "x-client-id",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
  "x-real-ip",
  "x-request-id",
]

test("HDR-01 a matrix of identity fields does not stand in for a certificate, and is not logged", async () => {
  const gateway = createGateway()
  await expectRefusal(gateway, await gateway.send({ headers: IDENTITY_MATRIX, cert: "none" }), {
    status: 401,
    code: "client-cert-required",
  })
  expect(writtenLines().join()).not.toMatch(/acme-b|gold|root|forged/)
})

test("HDR-02 the origin gets each field of the gateway once and none of the caller's copies", async () => {
  const gateway = createGateway()
  await gateway.send({ headers: IDENTITY_MATRIX })
  const [record] = await gateway.originRequests()
  expect(fieldNames(record)).toEqual(GATEWAY_FIELDS)
  expect(fieldValues(record, "X-Client-Id")).toEqual([gateway.clientId("acme-a")])
  expect(fieldValues(record, "Client-Cert")).toEqual([`:${fixtures.certificates["acme-a"].der}:`])
})

test("HDR-10 the origin gets the address that the platform reports, and nobody else's", async () => {
  const gateway = createGateway()
  const { event } = await gateway.send({
    headers: {
      "X-Forwarded-For": "127.0.0.1, 10.0.0.1",
      Forwarded: "for=127.0.0.1",
      "True-Client-IP": "127.0.0.1",
      "X-Real-IP": "127.0.0.1",
      "X-Cluster-Client-IP": "127.0.0.1",
    },
  })
  const [record] = await gateway.originRequests()
  expect(fieldNames(record)).toEqual(GATEWAY_FIELDS)
  expect(fieldValues(record, "X-Forwarded-For")).toEqual([CLIENT_ADDRESS])
  expect(fieldValues(record, "X-Real-IP")).toEqual([CLIENT_ADDRESS])
  expect(fieldValues(record, "Forwarded")).toEqual([`for=${CLIENT_ADDRESS};host="gw.test";proto=https`])
  expect(event.client_address).toBe(CLIENT_ADDRESS)
})

test("HDR-10 an IPv6 address is quoted in Forwarded and canonical everywhere", async () => {
  const gateway = createGateway()
  await gateway.send({ headers: { "CF-Connecting-IP": "2001:DB8:0:0:0:0:0:1" } })
  const [record] = await gateway.originRequests()
  expect(fieldValues(record, "X-Forwarded-For")).toEqual(["2001:db8::1"])
  expect(fieldValues(record, "Forwarded")).toEqual([`for="[2001:db8::1]";host="gw.test";proto=https`])
})

test.each(["", "unknown", "127.0.0.1, 10.0.0.1", 'a";host="evil'])(
  "HDR-10 an address that is none (%j) is not passed on",
  async (address) => {
    const gateway = createGateway()
    await gateway.send({ headers: { "CF-Connecting-IP": address } })
    const [record] = await gateway.originRequests()
    expect(fieldNames(record)).toEqual(GATEWAY_FIELDS.filter((name) => !/^x-(?:forwarded-for|real-ip)$/.test(name)))
    expect(fieldValues(record, "Forwarded")).toEqual([`host="gw.test";proto=https`])
  },
)

test("HDR-11 the origin gets the real host and scheme and no field that rewrites the target", async () => {
  const gateway = createGateway()
  await gateway.send({
    headers: {
      "X-Original-URL": "/admin/x",
      "X-Rewrite-URL": "/admin/x",
      "X-Forwarded-Uri": "/admin/x",
      "X-Forwarded-Prefix": "/admin",
      "X-Forwarded-Host": "admin.test",
      "X-Forwarded-Proto": "http",
      "X-Forwarded-Port": "1",
    },
  })
  const [record] = await gateway.originRequests()
  expect(fieldNames(record)).toEqual(GATEWAY_FIELDS)
  expect(fieldValues(record, "X-Forwarded-Host")).toEqual(["gw.test"])
  expect(fieldValues(record, "X-Forwarded-Proto")).toEqual(["https"])
})

test("HDR-12 Connection cannot nominate the fields that the gateway sets", async () => {
  const gateway = createGateway()
  await gateway.send({
    headers: { Connection: "close, X-Client-Id, X-Forwarded-For, X-Request-Id, Gateway-Assertion, Client-Cert, Via" },
  })
  expect(fieldNames((await gateway.originRequests())[0])).toEqual(GATEWAY_FIELDS)
})

test("HDR-12 Connection nominates fields of the caller away, except those that carry the message", async () => {
  const gateway = createGateway()
  await gateway.send({
    headers: { Connection: "X-Own, Authorization", "X-Own": "1", "X-Other": "2", Authorization: "Bearer token" },
  })
  const [record] = await gateway.originRequests()
  expect(fieldNames(record)).toEqual(["authorization", ...GATEWAY_FIELDS, "x-other"].toSorted())
})

test("HDR-14 hop-by-hop fields end at the gateway", async () => {
  const gateway = createGateway()
  await gateway.send({
    headers: {
      "Proxy-Authorization": "Basic eDp5",
      "Proxy-Connection": "keep-alive",
      "Keep-Alive": "9",
      TE: "trailers",
      Trailer: "X-A",
      Upgrade: "h2c",
      "HTTP2-Settings": "AAMAAABkAAQ",
    },
  })
  expect(fieldNames((await gateway.originRequests())[0])).toEqual(GATEWAY_FIELDS)
  expect(writtenLines().join()).not.toContain("eDp5")
})

test("HDR-18 a route's list of fields is exact", async () => {
  const gateway = createGateway()
  await gateway.send({
    target: "/allowed",
    headers: { "X-ALLOWED": "1", "x-allowed-extra": "2", "X-Evil": "3", Cookie: "a=1", "Content-Type": "text/plain" },
  })
  const [record] = await gateway.originRequests()
  expect(fieldNames(record)).toEqual(["content-type", ...GATEWAY_FIELDS, "x-allowed"].toSorted())
})

test("EDG-17 a method override is not passed on", async () => {
  const gateway = createGateway()
  const { event } = await gateway.send({
    method: "POST",
    target: "/public/x?_method=DELETE",
    headers: { "X-HTTP-Method-Override": "DELETE", "X-HTTP-Method": "DELETE", "X-Method-Override": "DELETE" },
  })
  const [record] = await gateway.originRequests()
  expect([event.method, record?.method]).toEqual(["POST", "POST"])
  expect(fieldNames(record).filter((name) => name.includes("method"))).toEqual([])
})

test("the origin sees its own host", async () => {
  const gateway = createGateway()
  await gateway.send()
  expect(fieldValues((await gateway.originRequests())[0], "Host")).toEqual([`127.0.0.1:${fixtures.originPort}`])
})

test("RFC 9110 §7.6.3 the gateway appends itself to Via", async () => {
  const gateway = createGateway({ GATEWAY: { hosts: ["gw.test"], via: "checkpoint" } })
  await gateway.send({ headers: { Via: "1.0 first, 1.1 sekisho" } })
  expect(fieldValues((await gateway.originRequests())[0], "Via")).toEqual(["1.0 first, 1.1 sekisho, 1.1 checkpoint"])
})

test("PRX-16 the gateway adds no Cache-Control and no Pragma, and leaves the caller's alone", async () => {
  const gateway = createGateway()
  await gateway.send()
  await gateway.send({ headers: { "Cache-Control": "max-age=0" } })
  const [plain, asked] = await gateway.originRequests()
  expect([fieldValues(plain, "Cache-Control"), fieldValues(plain, "Pragma")]).toEqual([[], []])
  expect([fieldValues(asked, "Cache-Control"), fieldValues(asked, "Pragma")]).toEqual([["max-age=0"], []])
})

test("fields of the caller that name nobody pass unchanged", async () => {
  const gateway = createGateway()
  const headers = {
    Accept: "application/json;q=0.5, */*;q=0.1",
    "Accept-Encoding": "br;q=1.0, gzip;q=0.8",
    Authorization: "Bearer abc.def.ghi",
    Cookie: "a=1; b=2",
    "Idempotency-Key": '"8e03978e-40d5-43e8-bc93-6894a57f9324"',
    "If-None-Match": '"1", W/"2"',
    Range: "bytes=0-9",
    "User-Agent": "partner/1.0 (+https://partner.example)",
    "X-Own": "ümläut",
  }
  await gateway.send({ headers: { ...headers, "X-Own": "plain" } })
  const [record] = await gateway.originRequests()
  for (const [name, value] of Object.entries({ ...headers, "X-Own": "plain" }))
    expect([name, fieldValues(record, name)]).toEqual([name, [value]])
})

test.each(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])(
  "the method %s arrives as it is",
  async (method) => {
    const gateway = createGateway()
    await gateway.send({ method })
    expect((await gateway.originRequests()).map((record) => record.method)).toEqual([method])
  },
)

describe("the query", () => {
  test.each([
    "?",
    "??",
    "?a=b&a=c",
    "?a=%2F%2e%27%00",
    "?a={}|[]^`",
    "?redirect=https://evil.example/@x",
    "?a=b+c%20d&=&;&e",
    "?%",
    "?%zz",
  ])("%s arrives byte for byte", async (query) => {
    const gateway = createGateway()
    await gateway.send({ target: `/public/x${query}` })
    expect((await gateway.originRequests())[0]?.target).toBe(`/public/x${query}`)
  })

  test("an apostrophe arrives encoded: URL parsers read it so, and fetch() parses its target", async () => {
    const gateway = createGateway()
    await gateway.send({ target: "/public/o'brien?name=o'brien" })
    expect((await gateway.originRequests())[0]?.target).toBe("/public/o'brien?name=o%27brien")
  })
})

test.each([
  ["/public/%41%2d%7E", "/public/A-~"],
  ["/public/%c3%a9", "/public/%C3%A9"],
  ["/public/a;b=c:@!$&'()*+,=", "/public/a;b=c:@!$&'()*+,="],
  ["/public/x/", "/public/x/"],
])("the path %s arrives as %s", async (target, arrived) => {
  const gateway = createGateway()
  await gateway.send({ target })
  expect((await gateway.originRequests())[0]?.target).toBe(arrived)
})

test("PTH-14 a path never changes the host that is called", async () => {
  const gateway = createGateway((name) => ({
    ORIGINS: { stub: { url: `http://127.0.0.1:${fixtures.originPort}` } },
    ROUTES: [{ prefix: "/", origin: "stub", limits: "generous" }],
    CLIENTS: [{ id: name, certificates: [{ issuer: "ca-a", san_uri: "spiffe://acme/acme-a" }] }],
  }))
  const { response } = await gateway.send({ target: `/${gateway.name}/@127.0.0.1:${fixtures.trapPort}/x` })
  expect(response.status).toBe(200)
  expect((await gateway.originRequests()).map(({ target }) => target)).toEqual([`/@127.0.0.1:${fixtures.trapPort}/x`])
})

describe("content", () => {
  test.each(["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])("of %s arrives whole", async (method) => {
    const gateway = createGateway()
    const body = "0123456789".repeat(20_000)
    await gateway.send({ method, body, headers: { "Content-Type": "text/plain" } })
    const [record] = await gateway.originRequests()
    expect(record).toMatchObject({ body, isComplete: true })
    expect(fieldValues(record, "Content-Length")).toEqual(["200000"])
  })

  test("arrives while it is being sent, and the answer leaves while it is being made", async () => {
    const gateway = createGateway()
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
    const writer = writable.getWriter()
    const pending = gateway.fetch({ method: "POST", target: "/public/duplex", body: readable })
    await writer.write(new TextEncoder().encode("first;"))
    const response = await pending
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    expect(new TextDecoder().decode((await reader.read()).value)).toBe("first;")
    await writer.write(new TextEncoder().encode("second"))
    await writer.close()
    expect(new TextDecoder().decode((await reader.read()).value)).toBe("second")
    expect((await reader.read()).done).toBe(true)
  })

  test("of an answer leaves before the origin has finished it", async () => {
    const gateway = createGateway()
    const response = await gateway.fetch({ target: "/public/halves" })
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    expect(new TextDecoder().decode((await reader.read()).value)).toBe("first;")
    await ask(`release/${gateway.name}`)
    expect(new TextDecoder().decode((await reader.read()).value)).toBe("second")
    expect((await reader.read()).done).toBe(true)
  })
})

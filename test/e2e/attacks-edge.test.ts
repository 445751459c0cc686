/**
 * Goal: acceptance attacks that enter at the edge and are judged by the Worker: only both together can pass or fail them.
 * Method: one road; an origin of the test's own that records what it gets; leaves issued by the road's own CA for names that
 * must not be mistaken for a client's. What the edge alone decides is in `edge-*.test.ts`, paths and hosts in `road.test.ts`.
 */
import { X509Certificate } from "node:crypto"
import { request as startRequest } from "node:http"
import { connect as connectTcp } from "node:net"
import { join } from "node:path"
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest"
import { ensureAuthority } from "../../cli/pki/authority.ts"
import { issueLeaf, type LeafPlan } from "../../cli/pki/certificate.ts"
import { parseSubject } from "../../cli/pki/name.ts"
import { readAnswer, startOrigin, startRoad, type Origin, type Road, type WireAnswer } from "./road.ts"

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const GLOBEX = "OU=Payments,O=Globex,C=JP"
const ACME_URI = "spiffe://partners.example/acme"

let own: Origin
let road: Road

function overrides(): Readonly<Record<string, unknown>> {
  return {
    ORIGINS: { bank: { url: "http://127.0.0.1:9000" }, own: { url: own.url } },
    LIMITS: { standard: { rate: "1000/s", burst: 1_000 }, payments: { rate: "1/s", burst: 3 } },
    ROUTES_OWN: [
      { prefix: "/public", origin: "own", limits: "standard" },
      { prefix: "/admin", methods: ["GET"], origin: "own", limits: "standard" },
      { prefix: "/narrow", origin: "own", limits: "standard", forward_headers: ["x-allowed"] },
      { regex: "^/v[0-9]+/items$", origin: "own", limits: "standard" },
    ],
  }
}

beforeAll(async () => {
  own = await startOrigin()
  road = await startRoad({ overrides: overrides() })
})
afterAll(async () => {
  await road?.close()
  await own?.close()
})
afterEach(async () => {
  // Whatever was sent, the gateway serves the next caller.
  expect((await road.call("/public/control", { as: "acme" })).status).toBe(200)
})

/** Expects a problem with the fields of every problem. */
function expectProblem(answer: WireAnswer, status: number, code: string): void {
  expect([answer.statuses, answer.code]).toEqual([[status], code])
  expect(answer.headers.get("content-type")).toBe("application/problem+json")
  expect(answer.headers.get("x-content-type-options")).toBe("nosniff")
  expect(answer.headers.get("cache-control")).toBe("no-store")
  expect(answer.id).toMatch(UUID_V7)
}

describe("before TLS", () => {
  test.each([
    ["EDG-01", "PROXY TCP4 10.0.0.1 10.0.0.2 1111 443\r\n"],
    ["EDG-02", "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\x10\0\x01\xbb"],
  ])("%s a PROXY header is no part of this protocol and closes the connection", async (_, header) => {
    const before = own.requests.length
    const received = await new Promise<string>((done) => {
      const socket = connectTcp(road.port, "127.0.0.1")
      let text = ""
      socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")))
      socket.on("error", () => {})
      socket.on("close", () => done(text))
      socket.write(Buffer.from(`${header}GET /public/x HTTP/1.1\r\nHost: localhost\r\n\r\n`, "latin1"))
    })
    expect(received).not.toContain("HTTP/1.1")
    expect(own.requests).toHaveLength(before)
  })
})

describe("header fields", () => {
  const matrix = ["X-Client-Id", "X-SSL-Client-Verify", "Client-Cert", "X-Forwarded-Client-Cert", "Gateway-Assertion"]

  test("HDR-01 identity fields without a certificate are answered 401, and no event holds them", async () => {
    const before = own.requests.length
    const fields = ["Host: localhost", ...matrix.map((name) => `${name}: SECRETFORGED`)]
    const answer = await road.send("GET /public/x HTTP/1.1", fields)
    expectProblem(answer, 401, "client-cert-required")
    expect(JSON.stringify(await road.eventOf(answer.id))).not.toContain("SECRET")
    expect(own.requests).toHaveLength(before)
  })

  test("HDR-07 a process that talks to workerd directly is answered 401, whatever it claims", async () => {
    const { cert = "" } = await road.identity("acme")
    const { raw, fingerprint256 } = new X509Certificate(cert)
    const tlsClientAuth = {
      certPresented: "1",
      certVerified: "SUCCESS",
      certRevoked: "0",
      certFingerprintSHA256: fingerprint256.replaceAll(":", "").toLowerCase(),
      certRFC9440: `:${raw.toString("base64")}:`,
      certRFC9440TooLarge: false,
    }
    const outgoing = startRequest({
      host: "127.0.0.1",
      port: road.worker.port,
      path: "/public/x",
      headers: { Host: "localhost", "MF-CF-Blob": JSON.stringify({ tlsClientAuth }) },
      agent: false,
    })
    const before = own.requests.length
    const answer = await readAnswer(outgoing.end())
    expect([answer.status, answer.code]).toEqual([401, "edge-assertion-invalid"])
    expect(await road.eventOf(answer.id)).toMatchObject({ reason: "edge_assertion_missing" })
    expect(own.requests).toHaveLength(before)
  })

  test("HDR-14 hop-by-hop fields reach neither the origin nor the record", async () => {
    const answer = await road.send(
      "GET /public/x HTTP/1.1",
      [
        "Host: localhost",
        "Proxy-Authorization: Basic SECRETx",
        "Proxy-Connection: keep-alive",
        "Keep-Alive: 9",
        "TE: trailers",
        "Trailer: X-A",
      ],
      { as: "acme" },
    )
    expect(answer.statuses).toEqual([200])
    const names = Object.keys(own.requests.at(-1)?.headers ?? {})
    expect(names.filter((name) => /^(?:proxy-|keep-alive$|te$|trailer$)/.test(name))).toEqual([])
    expect(JSON.stringify(await road.eventOf(answer.id))).not.toContain("SECRET")
  })

  test("HDR-18 a route with a list of fields passes exactly those", async () => {
    const fields = ["Host: localhost", "X-ALLOWED: 1", "x-allowed-extra: 2", "X-Evil: 3"]
    await road.send("GET /narrow/x HTTP/1.1", fields, { as: "acme" })
    const { headers = {} } = own.requests.at(-1) ?? {}
    expect(headers["x-allowed"]).toBe("1")
    expect(Object.keys(headers).filter((name) => /extra|evil/.test(name))).toEqual([])
  })

  test("EDG-17 a method override changes nothing and is not passed on", async () => {
    const overrideFields = ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"]
    const fields = ["Host: localhost", "Content-Length: 0", ...overrideFields.map((name) => `${name}: DELETE`)]
    const answer = await road.send("POST /public/x?_method=DELETE HTTP/1.1", fields, { as: "acme" })
    expect(answer.statuses).toEqual([200])
    expect(own.requests.at(-1)?.line).toBe("POST /public/x?_method=DELETE")
    expect(Object.keys(own.requests.at(-1)?.headers ?? {}).filter((name) => name.includes("method"))).toEqual([])
  })

  test("LOG-02 no secret of a request is on the record", async () => {
    const fields = [
      "Host: localhost",
      "Authorization: Bearer SECRETJWT",
      "Cookie: sid=SECRETC",
      "X-Api-Key: SECRETK",
      'Idempotency-Key: "SECRETI"',
      "Content-Length: 0",
    ]
    const answer = await road.send("POST /public/pay?token=SECRETQ&password=SECRETW HTTP/1.1", fields, { as: "acme" })
    expect(JSON.stringify([await road.eventOf(answer.id), road.notices])).not.toContain("SECRET")
  })
})

describe("identity", () => {
  const NOBODY: LeafPlan["names"] = [{ type: "dns", value: "nobody.example" }]
  const uri = (value: string): LeafPlan["names"] => [{ type: "url", value }]

  /** Sends with a leaf of the road's own CA that says something of its own. */
  async function sendAs(subject: string, names: LeafPlan["names"] = NOBODY) {
    const { authority } = await ensureAuthority(join(road.state, "pki"), Date.now(), false)
    const plan = { subject: parseSubject(subject), names, usage: "client", period: "current" } as const
    const before = own.requests.length
    const answer = await road.call("/public/x", { as: await issueLeaf(authority, plan, Date.now()) })
    return { answer, event: await road.eventOf(answer.id), arrived: own.requests.slice(before) }
  }

  test("control: leaves of the same CA with a client's names are that client", async () => {
    const [acme, globex] = [await sendAs("CN=x,C=JP", uri(ACME_URI)), await sendAs(`CN=globex,${GLOBEX}`)]
    expect([acme.event["client_id"], globex.event["client_id"]]).toEqual(["acme", "globex"])
    expect(acme.arrived[0]?.headers["x-client-id"]).toBe("acme")
  })

  test("IDN-01 a common name that is another client's does not outdo the URI", async () => {
    const { arrived } = await sendAs("CN=globex,C=JP", uri(ACME_URI))
    expect(arrived.map(({ headers }) => headers["x-client-id"])).toEqual(["acme"])
  })

  test("IDN-02 a certificate that is two clients is answered 403, and the event names both", async () => {
    const { answer, event, arrived } = await sendAs(`CN=globex,${GLOBEX}`, uri(ACME_URI))
    expect([answer.status, answer.code]).toEqual([403, "client-ambiguous"])
    expect(event["reason"]).toMatch(/acme.*globex|globex.*acme/)
    expect(arrived).toEqual([])
  })

  test.each([
    ["IDN-03 two common names", `CN=globex,CN=x,${GLOBEX}`, NOBODY],
    ["IDN-03 two common names, the client's first", `CN=x,CN=globex,${GLOBEX}`, NOBODY],
    ["IDN-04 a separator inside a value", "OU=Payments\\,CN=globex,O=Globex,C=JP", NOBODY],
    ["IDN-04 everything inside one value", "CN=globex\\,OU\\=Payments\\,O\\=Globex\\,C\\=JP", NOBODY],
    ["IDN-04 one RDN of two attributes", "CN=globex+OU=Payments,O=Globex,C=JP", NOBODY],
    ["IDN-04 a leading space", `CN=\\ globex,${GLOBEX}`, NOBODY],
    ["IDN-04 a leading number sign", `CN=\\#globex,${GLOBEX}`, NOBODY],
    ["IDN-04 a trailing backslash", `CN=globex\\\\,${GLOBEX}`, NOBODY],
    ["IDN-04 another order", "C=JP,O=Globex,OU=Payments,CN=globex", NOBODY],
    ["IDN-07 a NUL in the common name", `CN=globex\\00.evil,${GLOBEX}`, NOBODY],
    ["IDN-07 a NUL in the URI", "CN=x,C=JP", uri(`${ACME_URI}\0/evil`)],
    ["IDN-09 a URI inside a URI", "CN=x,C=JP", uri(`spiffe://partners.example/x, URI:${ACME_URI}`)],
    ["IDN-10 a URI as a DNS name", "CN=x,C=JP", [{ type: "dns", value: ACME_URI }]],
    // The library knows this type as well; the plans of the development PKI have no use for it.
    ["IDN-10 a URI as a mail address", "CN=x,C=JP", [{ type: "email" as "dns", value: ACME_URI }]],
    ["no name of a client", "CN=x,C=JP", NOBODY],
  ] satisfies readonly (readonly [string, string, LeafPlan["names"]])[])(
    "%s is nobody: 403 client-unknown",
    async (_, subject, names) => {
      const { answer, event, arrived } = await sendAs(subject, names)
      expect([answer.status, answer.code]).toEqual([403, "client-unknown"])
      expect(event).not.toHaveProperty("client_id")
      expect(arrived).toEqual([])
    },
  )

  test("IDN-13 a leaf above 10 KB is answered 403, whatever its names say", async () => {
    const padding = uri(`urn:example:${"x".repeat(12_000)}`)
    const { answer, event, arrived } = await sendAs("CN=x,C=JP", [...uri(ACME_URI), ...padding])
    expect([answer.status, answer.code]).toEqual([403, "client-cert-invalid"])
    expect(event["reason"]).toBe("leaf_too_large")
    expect(arrived).toEqual([])
  })
})

describe("routes", () => {
  const asGlobex = { as: "globex" } as const

  test("PTH-09 an encoded letter is that letter", async () => {
    const answer = await road.send("GET /%61dmin/x HTTP/1.1", ["Host: localhost"], asGlobex)
    expect([answer.statuses, own.requests.at(-1)?.line]).toEqual([[200], "GET /admin/x"])
    expect(await road.eventOf(answer.id)).toMatchObject({ route: "/admin/**", path: "/admin/x" })
  })

  test.each(["/ADMIN/x", "/%EF%BD%81dmin/x", "/adm%C4%B1n/x", "/admin%E2%80%8B/x"])(
    "PTH-09 %s only looks like a route",
    async (target) => {
      const before = own.requests.length
      expectProblem(await road.send(`GET ${target} HTTP/1.1`, ["Host: localhost"], asGlobex), 404, "route-not-found")
      expect(own.requests).toHaveLength(before)
    },
  )

  test.each([
    ["/admin", 200],
    ["/admin/", 200],
    ["/admin/%20", 200],
    ["/admin/.", 400],
    ["/admin.", 404],
    ["/admin%20", 404],
    ["/v1/items", 200],
    ["/v1/items/", 404],
    ["/v1/items%0a", 400],
    ["/v1/itemsx", 404],
  ])("PTH-10 %s is answered %d, never under a weaker route", async (target, status) => {
    const answer = await road.send(`GET ${target} HTTP/1.1`, ["Host: localhost"], asGlobex)
    expect(answer.statuses).toEqual([status])
    const { route } = await road.eventOf(answer.id)
    expect(route).toBe(status === 200 ? (target.startsWith("/v1") ? "~ ^/v[0-9]+/items$" : "/admin/**") : undefined)
  })

  test("PTH-13 a path made for backtracking is decided at once", async () => {
    const startedMs = performance.now()
    const answer = await road.send(`GET /v${"1".repeat(7_000)}! HTTP/1.1`, ["Host: localhost"], asGlobex)
    expectProblem(answer, 404, "route-not-found")
    expect(performance.now() - startedMs).toBeLessThan(1_000)
  })

  test.each([
    "/.well-known/acme-challenge/x",
    "/cdn-cgi/trace",
    "/cdn-cgi/handler/scheduled",
    "/cdn-cgi/mf/scheduled",
    "/__scheduled",
    "/favicon.ico",
    "/robots.txt",
    "/healthz/../admin/x",
    "/healthz/x",
  ])("PTH-19 %s is no way around", async (target) => {
    const before = own.requests.length
    const answer = await road.send(`GET ${target} HTTP/1.1`, ["Host: localhost"])
    expectProblem(
      answer,
      target.includes("..") ? 400 : 404,
      target.includes("..") ? "path-rejected" : "route-not-found",
    )
    expect(own.requests).toHaveLength(before)
  })

  test("PTH-20 a preflight needs a certificate and a route like any request", async () => {
    const before = own.requests.length
    const fields = ["Host: localhost", "Origin: https://evil.example", "Access-Control-Request-Method: DELETE"]
    const nobody = await road.send("OPTIONS /public/x HTTP/1.1", fields)
    const globex = await road.send("OPTIONS /admin/x HTTP/1.1", fields, asGlobex)
    expectProblem(nobody, 401, "client-cert-required")
    expectProblem(globex, 405, "method-not-allowed")
    expect(globex.headers.get("allow")).toBe("GET, HEAD")
    for (const { headers } of [nobody, globex])
      expect([...headers.keys()].filter((name) => name.startsWith("access-control-"))).toEqual([])
    expect(own.requests).toHaveLength(before)
  })

  test("PTH-22 a path without a route is answered 404 and reaches no origin", async () => {
    const before = own.requests.length
    expectProblem(await road.send("GET /nope HTTP/1.1", ["Host: localhost"], asGlobex), 404, "route-not-found")
    expect(own.requests).toHaveLength(before)
  })

  test("EDG-09 what stands behind a request to switch protocols is not forwarded", async () => {
    const before = own.requests.length
    const answer = await road.send(
      "GET /public/x HTTP/1.1",
      ["Host: localhost", "Connection: Upgrade", "Upgrade: foo", "", "GET /admin/x HTTP/1.1", "Host: localhost"],
      asGlobex,
    )
    expect(answer.statuses).toEqual([200])
    expect(own.requests.slice(before).map(({ line }) => line)).toEqual(["GET /public/x"])
  })

  test("EDG-04 a smuggled request is neither answered nor forwarded", async () => {
    const before = own.requests.length
    const answer = await road.send(
      "POST /public/x HTTP/1.1",
      ["Host: localhost", "Content-Length: 4", "Transfer-Encoding: chunked", "", "0", "", "GET /admin/x HTTP/1.1"],
      asGlobex,
    )
    expectProblem(answer, 400, "malformed-request")
    expect(own.requests).toHaveLength(before)
  })
})

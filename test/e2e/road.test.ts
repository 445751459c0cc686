/**
 * Goal: a caller over real TLS gets what README promises, the origin sees what README lists, and every request is on the
 * record once.
 * Method: one road per file with generous limits, an origin of the test's own beside the sample bank, and the sample sink.
 */
import { randomUUID, X509Certificate } from "node:crypto"
import { once } from "node:events"
import { Agent, request as startRequest } from "node:https"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { AMBIGUOUS_TARGETS } from "./ambiguous-targets.ts"
import {
  readAnswer,
  readFirstChunk,
  startOrigin,
  startRoad,
  type Answer,
  type Certificate,
  type Origin,
  type Road,
} from "./road.ts"

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const CLIENTS = [
  {
    id: "acme",
    certificates: [{ issuer: "development", san_uri: "spiffe://partners.example/acme" }],
  },
  {
    id: "globex",
    certificates: [{ issuer: "development", subject: "CN=globex,OU=Payments,O=Globex,C=JP" }],
  },
] as const

let own: Origin
let road: Road

function overrides(clients: readonly unknown[] = CLIENTS): Readonly<Record<string, unknown>> {
  return {
    CLIENTS: clients,
    ORIGINS: { bank: { url: "http://127.0.0.1:9000", assertion: true, client_cert: "both" }, own: { url: own.url } },
    LIMITS: {
      standard: { rate: "1000/s", burst: 1_000 },
      payments: { rate: "1/s", burst: 3 },
      slow: { concurrent: 5 },
    },
    ROUTES_OWN: [
      { prefix: "/public/held/slow", origin: "own", limits: ["standard", "slow"] },
      { prefix: "/public", origin: "own", limits: "standard" },
      { prefix: "/admin", origin: "own", limits: "standard" },
    ],
  }
}

beforeAll(async () => {
  own = await startOrigin((request, response) => {
    if (!request.url?.startsWith("/public/held")) response.end("ok")
  })
  road = await startRoad({ overrides: overrides() })
})
afterAll(async () => {
  await road?.close()
  await own?.close()
})

describe("certificates", () => {
  test.each([
    [undefined, "client-cert-required", "no_cert"],
    ["revoked", "client-cert-invalid", "cert_revoked"],
    ["expired", "client-cert-invalid", "cert_expired"],
    ["not-yet-valid", "client-cert-invalid", "cert_not_yet_valid"],
    ["wrong-eku", "client-cert-invalid", "eku"],
    ["foreign", "client-cert-invalid", "unknown_issuer"],
  ] as const)("the certificate %s is answered 401 %s and the event says %s", async (as, code, reason) => {
    const answer = await road.call("/balance", as === undefined ? {} : { as })
    expect([answer.status, answer.code]).toEqual([401, code])
    const event = await road.eventOf(answer.id)
    expect(event).toMatchObject({ outcome: "refused", status: 401, problem: code, reason })
    expect(event).not.toHaveProperty("client_id")
  })

  test.each(["acme", "globex"] as const)("the client %s is recognised by its certificate", async (as) => {
    const answer = await road.call("/balance", { as })
    expect([answer.status, (JSON.parse(answer.body) as { account: string }).account]).toEqual([200, `${as}-operating`])
    expect(await road.eventOf(answer.id)).toMatchObject({ client_id: as, outcome: "forwarded" })
  })

  test("/healthz needs none", async () => {
    const answer = await road.call("/healthz")
    expect([answer.status, answer.body]).toEqual([200, "ok\n"])
    expect(await road.eventOf(answer.id)).toMatchObject({ outcome: "answered" })
  })

  test("a refusal has the fields of every problem and names nothing of the inside", async () => {
    const { headers, body, id } = await road.call("/balance", { as: "foreign" })
    expect(headers).toMatchObject({
      "content-type": "application/problem+json",
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      "x-request-id": expect.stringMatching(UUID_V7) as string,
    })
    expect(JSON.parse(body)).toMatchObject({ status: 401, request_id: id, instance: `urn:uuid:${id}` })
    expect(body).not.toMatch(/issuer certificate|unknown_issuer|workerd|\bat \S+\.ts/)
  })

  test("IDN-17 a client that is taken out of the configuration gets 403 on the connection it has", async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    let secrets = 0
    agent.on("keylog", () => (secrets += 1))
    expect((await road.call("/balance", { as: "acme", agent })).status).toBe(200)
    const secretsOfOneHandshake = secrets
    await road.reload(overrides(CLIENTS.slice(1)))
    const answer = await road.call("/balance", { as: "acme", agent })
    await road.reload(overrides())
    agent.destroy()
    expect([answer.status, answer.code]).toEqual([403, "client-unknown"])
    expect(secrets).toBe(secretsOfOneHandshake)
    expect(await road.eventOf(answer.id)).toMatchObject({ problem: "client-unknown", status: 403 })
    expect((await road.call("/balance", { as: "acme" })).status).toBe(200)
  })

  test("a configuration that does not hold is refused and the running one stays", async () => {
    await expect(road.reload({ ...overrides(), LIMITS: {} })).rejects.toThrow(/LIMITS/)
    expect((await road.call("/balance", { as: "acme" })).status).toBe(200)
  })
})

/** What the sample bank saw, and the answer that told it. */
async function echo(fields: readonly string[], options: { as: Certificate; localAddress?: string }) {
  const answer = await road.send("GET /echo?a=1 HTTP/1.1", ["Host: localhost", ...fields], options)
  expect(answer.statuses).toEqual([200])
  const seen = JSON.parse(answer.body) as { target: string; headers: readonly (readonly [string, string])[] }
  const names = seen.headers.map(([name]) => name.toLowerCase())
  const valuesOf = (name: string): readonly string[] =>
    seen.headers.filter(([other]) => other.toLowerCase() === name).map(([, value]) => value)
  return { answer, target: seen.target, names, valuesOf, text: answer.body }
}

/** Fields that README lists; each stands there exactly once. */
const GATEWAY_FIELDS = [
  "client-cert",
  "forwarded",
  "gateway-assertion",
  "traceparent",
  "via",
  "x-client-id",
  "x-forwarded-client-cert",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
  "x-real-ip",
  "x-request-id",
]
/** The platform's mark on what a Worker fetches; nothing can remove it. */
const RUNTIME_FIELDS = ["cf-worker"]
const MATRIX = [
  "X-Client-Id: forged",
  "X-Client-Tier: forged",
  "X-Client-Scopes: forged",
  "X-SSL-Client-Verify: forged",
  "X-SSL-Client-S-DN: forged",
  "SSL_CLIENT_CERT: forged",
  "X_Client_Id: forged",
  "Cf-Client-Cert-Sha256: forged",
  "Cf-Client-Cert-Der-Base64: forged",
  "X-Forwarded-Client-Cert: forged",
  "X-Forwarded-Tls-Client-Cert: forged",
  "Client-Cert: forged",
  "Client-Cert-Chain: forged",
  "X-Amzn-Mtls-Clientcert: forged",
  "Gateway-Assertion: forged",
  "GATEWAY_ASSERTION: forged",
  "X_Forwarded_Client_Cert: forged",
  "X-Auth-Request-User: forged",
  "X-Remote-User: forged",
  "Remote-User: forged",
]

describe("what the origin sees", () => {
  test("the fields that README lists and the caller's own, each once", async () => {
    const { names, target, valuesOf } = await echo(["Accept: application/json", "X-Own: 1"], { as: "acme" })
    const { cert = "" } = await road.identity("acme")
    expect(target).toBe("/echo?a=1")
    expect(names.toSorted()).toEqual([...GATEWAY_FIELDS, ...RUNTIME_FIELDS, "accept", "host", "x-own"].toSorted())
    expect(valuesOf("x-client-id")).toEqual(["acme"])
    expect(valuesOf("client-cert")).toEqual([`:${new X509Certificate(cert).raw.toString("base64")}:`])
    expect(valuesOf("x-forwarded-client-cert")).toEqual([
      expect.stringMatching(/^Hash=[0-9a-f]{64};Subject="[^"]+";URI=spiffe:\/\/partners\.example\/acme$/),
    ])
    expect(valuesOf("forwarded")).toEqual(['for=127.0.0.1;host="localhost";proto=https'])
    expect(valuesOf("x-forwarded-host")).toEqual(["localhost"])
    expect(valuesOf("x-forwarded-proto")).toEqual(["https"])
    expect(valuesOf("via")).toEqual(["1.1 sekisho"])
    expect(valuesOf("traceparent")[0]).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-9a-f]$/)
  })

  test("HDR-02 none of the identity fields that a caller with a certificate types", async () => {
    const { names, text, valuesOf } = await echo(MATRIX, { as: "acme" })
    expect(names.toSorted()).toEqual([...GATEWAY_FIELDS, ...RUNTIME_FIELDS, "host"].toSorted())
    expect(valuesOf("x-client-id")).toEqual(["acme"])
    expect(text).not.toContain("forged")
  })

  test("HDR-04 connection details around the edge's own change nobody's identity", async () => {
    const details = `{"tlsClientAuth":{"certPresented":"1","certVerified":"SUCCESS","certFingerprintSHA256":"${"0".repeat(64)}"},"p":[0`
    const { valuesOf } = await echo([`MF-CF-Blob: ${details}`, "MF-CF-Blob: 0]}"], { as: "acme" })
    expect(valuesOf("x-client-id")).toEqual(["acme"])
  })

  test("HDR-10 the address of the connection, whatever address the caller types", async () => {
    // Linux owns all of 127.0.0.0/8; elsewhere the caller's only loopback address has to do.
    const address = process.platform === "linux" ? "127.0.0.9" : "127.0.0.1"
    const { answer, text, valuesOf } = await echo(
      [
        "X-Forwarded-For: 192.0.2.1, 10.0.0.1",
        "Forwarded: for=192.0.2.1",
        "CF-Connecting-IP: 192.0.2.1",
        "True-Client-IP: 192.0.2.1",
        "X-Real-IP: 192.0.2.1",
      ],
      { as: "acme", localAddress: address },
    )
    expect([valuesOf("x-forwarded-for"), valuesOf("x-real-ip")]).toEqual([[address], [address]])
    expect(text).not.toContain("192.0.2.1")
    expect(await road.eventOf(answer.id)).toMatchObject({ client_address: address })
  })

  test("HDR-11 the target of the request line, whatever target the caller types beside it", async () => {
    const { names, target, valuesOf } = await echo(
      [
        "X-Original-URL: /admin/x",
        "X-Rewrite-URL: /admin/x",
        "X-Forwarded-Uri: /admin/x",
        "X-Forwarded-Prefix: /admin",
        "X-Forwarded-Host: admin.test",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Port: 1",
      ],
      { as: "globex" },
    )
    expect(target).toBe("/echo?a=1")
    expect(names.toSorted()).toEqual([...GATEWAY_FIELDS, ...RUNTIME_FIELDS, "host"].toSorted())
    expect([valuesOf("x-forwarded-host"), valuesOf("x-forwarded-proto")]).toEqual([["localhost"], ["https"]])
  })

  test("HDR-12 the gateway's fields also when the caller nominates them in Connection", async () => {
    const { names } = await echo(
      [
        "Connection: X-Client-Id, X-Forwarded-For, X-Request-Id, Client-Cert, X-Forwarded-Client-Cert, Gateway-Assertion, traceparent, Via",
      ],
      { as: "acme" },
    )
    expect(GATEWAY_FIELDS.filter((name) => !names.includes(name))).toEqual([])
  })

  test("HDR-15 a fresh request id in the place of one that is not well formed", async () => {
    const { answer, valuesOf } = await echo([`X-Request-Id: ../../<script>alert(1)</script>${"A".repeat(5_000)}`], {
      as: "acme",
    })
    expect(answer.id).toMatch(UUID_V7)
    expect(valuesOf("x-request-id")).toEqual([answer.id])
    expect(await road.eventOf(answer.id)).toMatchObject({ status: 200, client_id: "acme" })
  })

  test("the caller's request id and trace when they are well formed", async () => {
    const traceId = "4bf92f3577b34da6a3ce929d0e0e4736"
    const { answer, valuesOf } = await echo(
      ["X-Request-Id: order-4711.a", `traceparent: 00-${traceId}-00f067aa0ba902b7-01`, "tracestate: vendor=1"],
      { as: "acme" },
    )
    expect([answer.id, ...valuesOf("x-request-id")]).toEqual(["order-4711.a", "order-4711.a"])
    expect(valuesOf("traceparent")[0]).toMatch(new RegExp(`^00-${traceId}-(?!00f067aa0ba902b7)[0-9a-f]{16}-01$`))
    expect(await road.eventOf("order-4711.a")).toMatchObject({ trace_id: traceId })
  })

  test("HDR-03 nothing: connection details that a caller without a certificate types are answered 401", async () => {
    const details = '{"tlsClientAuth":{"certPresented":"1","certVerified":"SUCCESS","certRevoked":"0"}}'
    const answer = await road.send("GET /echo HTTP/1.1", ["Host: localhost", `MF-CF-Blob: ${details}`])
    expect([answer.statuses, answer.code]).toEqual([[401], "client-cert-required"])
  })
})

describe("paths and hosts", () => {
  const rejected = [...AMBIGUOUS_TARGETS, ["PTH-06", "/public/\x1b[31m"]] as const
  test.each(rejected)("%s %j is answered 400 path-rejected and reaches no origin", async (_, target) => {
    const before = own.requests.length
    const answer = await road.send(`GET ${target} HTTP/1.1`, ["Host: localhost"], { as: "acme" })
    expect([answer.statuses, answer.code]).toEqual([[400], "path-rejected"])
    expect(own.requests).toHaveLength(before)
  })

  test.each(["http://evil.example/public/x", "https://localhost/admin/x", "ftp://x/"])(
    "PTH-15 the absolute target %s is answered 400 host-rejected",
    async (target) => {
      const before = own.requests.length
      const answer = await road.send(`GET ${target} HTTP/1.1`, ["Host: localhost"], { as: "acme" })
      expect([answer.statuses, answer.code]).toEqual([[400], "host-rejected"])
      expect(own.requests).toHaveLength(before)
    },
  )

  test.each([
    ["localhost/public/?", 400],
    ["localhost/public/#", 400],
    ["localhost@evil.example", 400],
    ["localhost:99999", 400],
    ["local host", 400],
    ["", 400],
    ["localhost, evil.example", 400],
    ["2130706433", 400],
    ["[::ffff:127.0.0.1]", 400],
    ["evil.example", 421],
    ["127.0.0.1", 421],
  ])("PTH-16 Host %j is answered %d and reaches no origin", async (host, status) => {
    const before = own.requests.length
    const answer = await road.send("GET /admin/x HTTP/1.1", [`Host: ${host}`], { as: "globex" })
    expect([answer.statuses, answer.code]).toEqual([[status], status === 421 ? "misdirected-request" : "host-rejected"])
    expect(own.requests).toHaveLength(before)
  })

  test.each(["localhost", "LOCALHOST", "localhost:8443"])("Host %s is this gateway", async (host) => {
    const answer = await road.send("GET /public/x HTTP/1.1", [`Host: ${host}`], { as: "acme" })
    expect([answer.statuses, answer.body]).toEqual([[200], "ok"])
  })
})

describe("answers", () => {
  test("IDM-02 a payment is answered 201, and its repeat gets the same answer and pays nothing", async () => {
    const balance = async () => {
      const { body } = await road.call("/balance", { as: "acme" })
      return (JSON.parse(body) as { balance: number }).balance
    }
    const before = await balance()
    const pay = () =>
      road.call("/payments", {
        as: "acme",
        method: "POST",
        headers: { "Content-Type": "application/json", "Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"' },
        body: JSON.stringify({ amount: 1_250, currency: "JPY", to: "globex-operating", reference: "invoice 7" }),
      })
    const [first, second] = [await pay(), await pay()]
    expect([first.status, (JSON.parse(first.body) as { status: string }).status]).toEqual([201, "booked"])
    expect([second.status, second.body, second.headers["idempotency-replayed"]]).toEqual([201, first.body, "true"])
    expect(before - (await balance())).toBe(1_250)
    expect(await road.eventOf(second.id)).toMatchObject({ idempotency: "replayed", outcome: "answered" })
  })

  test("a burst passes exactly, then 429 until Retry-After is over", async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const body = JSON.stringify({ amount: 1, currency: "JPY", to: "acme-operating", reference: "burst" })
    const pay = () => {
      const headers = { "Content-Type": "application/json", "Idempotency-Key": `"${randomUUID()}"` }
      return road.call("/payments", { as: "globex", method: "POST", headers, body, agent })
    }
    const answers = [await pay(), await pay(), await pay(), await pay()]
    const refusedMs = performance.now()
    const refused = answers.at(-1)
    expect(answers.map(({ status }) => status)).toEqual([201, 201, 201, 429])
    expect(refused).toMatchObject({ code: "rate-limited", headers: { "retry-after": "1" } })
    expect(JSON.parse(refused?.body ?? "")).toMatchObject({ "violated-policies": ["payments"] })
    const event = await road.eventOf(refused?.id ?? "")
    const retryAfterMs = Number(event["rate_limit_retry_after_ms"])
    expect(event).toMatchObject({ rate_limit_policy: "payments", rate_limit_remaining: 0, reason: "limit" })
    expect(retryAfterMs > 0 && retryAfterMs <= 1_000).toBe(true)
    // The one wait of this file: what the refusal said, on the clock that the gateway has.
    await new Promise((done) => setTimeout(done, refusedMs + retryAfterMs - performance.now()))
    const later = [await pay(), await pay()]
    agent.destroy()
    expect(later.map(({ status }) => status)).toEqual([201, 429])
  })

  test("the statements of an account arrive whole", async () => {
    const answer = await road.call("/accounts/acme-operating/statements", { as: "acme" })
    const lines = answer.body.trimEnd().split("\n")
    expect([answer.status, answer.isComplete, lines.length >= 2_000]).toEqual([200, true, true])
    expect(JSON.parse(lines.at(-1) ?? "")).toMatchObject({ balance: expect.any(Number) as number })
  })

  test("an answer streams: its first part arrives before the origin has its last", async () => {
    const arrival = own.arrival()
    const outgoing = startRequest({
      ...(await road.identity("acme")),
      host: "127.0.0.1",
      servername: "localhost",
      port: road.port,
      path: "/public/held",
      headers: { Host: "localhost" },
      agent: false,
    })
    const firstChunk = readFirstChunk(outgoing)
    const answered = readAnswer(outgoing.end())
    const [, response] = await arrival
    response.write("first ")
    const chunk = await firstChunk
    response.end("last")
    expect(chunk.toString()).toBe("first ")
    expect((await answered).body).toBe("first last")
  })

  test("LIM-05 five requests run at once, and one that its caller left in mid-answer makes room within a second", async () => {
    const calls = []
    for (let index = 0; index < 5; index++) {
      const arrival = own.arrival()
      const outgoing = startRequest({
        ...(await road.identity("acme")),
        host: "127.0.0.1",
        servername: "localhost",
        port: road.port,
        path: "/public/held/slow",
        headers: { Host: "localhost" },
        agent: false,
      })
      outgoing.on("error", () => {})
      outgoing.end()
      const [, response] = await arrival
      // Some are still without a header, some in the middle of their body.
      if (index % 2 === 0) {
        response.write("first ")
        await once(outgoing, "response")
      }
      calls.push({ outgoing, response })
    }
    const refused = await road.call("/public/held/slow", { as: "acme" })
    expect([refused.status, refused.code]).toEqual([429, "concurrency-exceeded"])
    for (const leaver of calls.slice(0, 2)) {
      const leftMs = performance.now()
      leaver.outgoing.destroy()
      let admitted: Answer | undefined
      while (admitted?.status !== 200 && performance.now() - leftMs < 1_000) {
        void own.arrival().then(([, response]) => response.end("room"))
        admitted = await road.call("/public/held/slow", { as: "acme" })
      }
      expect(admitted?.body).toBe("room")
    }
    for (const { outgoing } of calls) outgoing.destroy()
  })

  test("a body streams: the origin has its first part before the caller has sent its last", async () => {
    const arrival = own.arrival()
    const outgoing = startRequest({
      ...(await road.identity("acme")),
      host: "127.0.0.1",
      servername: "localhost",
      port: road.port,
      path: "/public/held",
      method: "POST",
      headers: { Host: "localhost", "Content-Length": "10" },
      agent: false,
    })
    const answered = readAnswer(outgoing)
    outgoing.write("first ")
    const [request, response] = await arrival
    const [chunk] = (await once(request, "data")) as [Buffer]
    outgoing.end("last")
    await once(request, "end")
    response.end("thanks")
    expect(chunk.toString()).toBe("first ")
    expect(await answered).toMatchObject({ status: 200, body: "thanks" })
  })
})

describe("the record", () => {
  test("every request has exactly one event, also a refused one, under the id of its answer", async () => {
    const answers = [
      await road.call("/balance", { as: "acme" }),
      await road.call("/healthz"),
      await road.call("/balance"),
      await road.call("/balance", { as: "expired" }),
      await road.call("/nope", { as: "acme" }),
      await road.call("/balance", { as: "acme", method: "DELETE" }),
      await road.call("/public/%2e%2e/x", { as: "acme" }),
      await road.call("/error", { as: "globex" }),
    ]
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 401, 401, 404, 405, 400, 500])
    const events = await Promise.all(answers.map(({ id }) => road.eventOf(id)))
    expect(events.map(({ status }) => status)).toEqual(answers.map(({ status }) => status))
    expect(events.map(({ outcome }) => outcome)).toEqual([
      "forwarded",
      "answered",
      "refused",
      "refused",
      "refused",
      "refused",
      "refused",
      "forwarded",
    ])
    const ids = road.events.filter(({ event }) => event === "request").map((event) => event["request_id"])
    expect(new Set(ids).size).toBe(ids.length)
  })

  test("an event has the fields that README shows and came as an OTLP log record", async () => {
    const answer = await road.call("/balance?secret=1", { as: "acme" })
    const { cert = "" } = await road.identity("acme")
    const event = await road.eventOf(answer.id)
    expect(event).toMatchObject({
      level: "info",
      event: "request",
      outcome: "forwarded",
      status: 200,
      method: "GET",
      host: "localhost",
      path: "/balance",
      route: "/balance",
      client_id: "acme",
      client_address: "127.0.0.1",
      origin: "bank",
      certificate_fingerprint: new X509Certificate(cert).fingerprint256.replaceAll(":", "").toLowerCase(),
      certificate_days_left: 89,
      rate_limit_policy: "standard",
      // Only an OTLP record has a body beside its attributes.
      message: "GET /balance 200",
    })
    expect(JSON.stringify(event)).not.toContain("secret")
  })

  test("what the edge refuses by itself is told with its request id", async () => {
    const told = road.noticeOf(/421 misdirected-request/)
    const answer = await road.send("GET /balance HTTP/1.1", ["Host: evil.example"], { as: "acme" })
    expect((await told).text).toContain(answer.id)
  })
})

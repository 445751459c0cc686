/**
 * Goal: the edge refuses what Node and workerd would read differently, and answers every refusal as a problem.
 * Method: raw octets over TLS against an edge whose Worker is a recording server; a refused request never shows there.
 */
import { describe, expect, test } from "vitest"
import { METHODS } from "../../src/core/route/route.ts"
import { codeOf, exchange, openTls, send, startTestEdge, startUpstream, valuesOf } from "./edge-fixtures.ts"

const HOST = "Host: gw.test"

/** Runs wires one by one against one edge and returns status and code of each, and what reached the upstream. */
async function probe(wires: readonly string[]) {
  const upstream = await startUpstream()
  const edge = await startTestEdge(upstream.port)
  const answers = []
  for (const wire of wires) answers.push(await send(edge, wire))
  return { edge, answers, upstream, seen: answers.map((answer) => [answer.statuses[0], codeOf(answer)]) }
}

describe("framing", () => {
  test("EDG-04 Content-Length with Transfer-Encoding is answered 400 once and closed", async () => {
    const { answers, upstream } = await probe([
      `POST /public/x HTTP/1.1\n${HOST}\nContent-Length: 4\nTransfer-Encoding: chunked\n\n0\n\nGET /admin/x HTTP/1.1\n${HOST}\n\n`,
    ])
    expect(answers[0]).toMatchObject({ statuses: [400], isClosed: true })
    expect(codeOf(answers[0] ?? ({} as never))).toBe("malformed-request")
    expect(upstream.requests).toHaveLength(0)
  })

  const lengths = ["+1", "0x1", "-1", "", "1e1", "18446744073709551616", "9007199254740993", "1, 1"]
  test.each(lengths)("EDG-06 Content-Length %j is answered 400 and closed", async (length) => {
    const { answers, seen, upstream } = await probe([`POST /x HTTP/1.1\n${HOST}\nContent-Length: ${length}\n\na`])
    expect(seen).toEqual([[400, "malformed-request"]])
    expect(answers[0]?.isClosed).toBe(true)
    expect(upstream.requests).toHaveLength(0)
  })

  test("EDG-06 two different Content-Length are answered 400 malformed-request", async () => {
    const { seen } = await probe([`POST /x HTTP/1.1\n${HOST}\nContent-Length: 1\nContent-Length: 2\n\nab`])
    expect(seen).toEqual([[400, "malformed-request"]])
  })

  const codings = [
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: chunked\nTransfer-Encoding: chunked",
  ]
  test.each(codings)("SRV-4 %j is answered 400 and closed", async (coding) => {
    const { answers, seen, upstream } = await probe([`POST /x HTTP/1.1\n${HOST}\n${coding}\n\n0\n\n`])
    expect(seen).toEqual([[400, "malformed-request"]])
    expect(answers[0]?.isClosed).toBe(true)
    expect(upstream.requests).toHaveLength(0)
  })

  test("SRV-4 Transfer-Encoding in HTTP/1.0 is answered 400", async () => {
    const { seen } = await probe([`POST /x HTTP/1.0\n${HOST}\nTransfer-Encoding: chunked\n\n0\n\n`])
    expect(seen).toEqual([[400, "malformed-request"]])
  })

  test("SRV-4 a malformed chunk size ends the exchange with 400", async () => {
    const { seen, answers } = await probe([`POST /x HTTP/1.1\n${HOST}\nTransfer-Encoding: chunked\n\n0x1\na\n0\n\n`])
    expect(seen).toEqual([[400, "malformed-request"]])
    expect(answers[0]?.isClosed).toBe(true)
  })
})

describe("header lines", () => {
  const lines: readonly (readonly [string, string])[] = [
    ["bare LF", "GET /x HTTP/1.1\nHost: gw.test\n\n"],
    ["bare CR in a value", "GET /x HTTP/1.1\r\nHost: gw.test\r\nX-A: a\rX-Client-Id: acme-b\r\n\r\n"],
    ["obs-fold", "GET /x HTTP/1.1\r\nHost: gw.test\r\nX-A: a\r\n b\r\n\r\n"],
    ["space before the colon", "GET /x HTTP/1.1\r\nHost: gw.test\r\nX-Client-Id : acme-b\r\n\r\n"],
    ["empty name", "GET /x HTTP/1.1\r\nHost: gw.test\r\n: v\r\n\r\n"],
    ["NUL in a value", "GET /x HTTP/1.1\r\nHost: gw.test\r\nX-A: a\0b\r\n\r\n"],
    ["ESC in a value", "GET /x HTTP/1.1\r\nHost: gw.test\r\nX-A: a\x1b[31m\r\n\r\n"],
  ]
  test.each(lines)("EDG-07 %s is answered 400 malformed-request", async (_, wire) => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port)
    const answer = await exchange(await openTls(edge.port), wire)
    expect([answer.statuses, codeOf(answer), answer.isClosed]).toEqual([[400], "malformed-request", true])
    expect(upstream.requests).toHaveLength(0)
  })

  test("an octet above 0x7e in a value is answered 400 malformed-header", async () => {
    const { seen, upstream } = await probe([`GET /x HTTP/1.1\n${HOST}\nX-A: caf\xe9\n\n`])
    expect(seen).toEqual([[400, "malformed-header"]])
    expect(upstream.requests).toHaveLength(0)
  })

  const many = Array.from({ length: 500 }, (_, i) => `X-${i}: 1`).join("\n")
  const wide = Array.from({ length: 64 }, (_, i) => `X-${i}: ${"v".repeat(1_000)}`).join("\n")
  test.each([
    ["500 fields", many],
    ["101 fields", many.split("\n").slice(0, 100).join("\n")],
    ["one field of 100 KB", `X-A: ${"v".repeat(100_000)}`],
    ["64 KB in all", wide],
    ["33 KB in all", `X-A: ${"v".repeat(33_000)}`],
  ])("EDG-14 %s are answered 431", async (_, fields) => {
    const { seen, upstream } = await probe([`GET /x HTTP/1.1\n${HOST}\n${fields}\n\n`])
    expect(seen).toEqual([[431, "headers-too-large"]])
    expect(upstream.requests).toHaveLength(0)
  })

  test("EDG-14 100 fields pass", async () => {
    const { seen, upstream } = await probe([
      `GET /x HTTP/1.1\n${HOST}\n${many.split("\n").slice(0, 99).join("\n")}\n\n`,
    ])
    expect(seen[0]?.[0]).toBe(200)
    expect(valuesOf(upstream.requests[0], "x-98")).toEqual(["1"])
  })

  const doubled = [
    "Authorization",
    "Idempotency-Key",
    "Host",
    "Content-Type",
    "Sec-WebSocket-Key",
    "traceparent",
    "X-Request-Id",
  ]
  test.each(doubled)("EDG-19 two %s are answered 400 duplicate-header", async (name) => {
    const base = name === "Host" ? "" : `${HOST}\n`
    const { seen, upstream } = await probe([
      `GET /x HTTP/1.1\n${base}${name}: gw.test\n${name}: gw.test\n\n`,
      `GET /x HTTP/1.1\n${base}${name}: gw.test\n${name.toUpperCase()}: other.test\n\n`,
    ])
    expect(seen).toEqual([
      [400, "duplicate-header"],
      [400, "duplicate-header"],
    ])
    expect(upstream.requests).toHaveLength(0)
  })

  test("EDG-19 two equal Content-Length are answered 400 duplicate-header", async () => {
    const { seen } = await probe([`POST /x HTTP/1.1\n${HOST}\nContent-Length: 1\nContent-Length: 1\n\na`])
    expect(seen).toEqual([[400, "duplicate-header"]])
  })
})

describe("target, method, host", () => {
  test("EDG-15 a target of 20,000 octets is answered 414", async () => {
    const { seen, edge } = await probe([`GET /public/${"a".repeat(20_000)} HTTP/1.1\n${HOST}\n\n`])
    expect(seen).toEqual([[414, "uri-too-long"]])
    expect(JSON.stringify(edge.events).length).toBeLessThan(2_000)
  })

  test("SRV-6 a target of 8,000 octets passes", async () => {
    const { seen } = await probe([`GET /${"a".repeat(7_999)} HTTP/1.1\n${HOST}\n\n`])
    expect(seen[0]?.[0]).toBe(200)
  })

  test.each(["TRACE /x", "CONNECT evil.example:80", "PURGE /x", "FOO /x", "get /x", "PROPFIND /x", "__proto__ /x"])(
    "EDG-16 %s is refused, never echoed and never forwarded",
    async (start) => {
      const { answers, seen, upstream } = await probe([`${start} HTTP/1.1\n${HOST}\nAuthorization: Bearer SECRET\n\n`])
      if (start.startsWith("_")) expect(seen).toEqual([[400, "malformed-request"]])
      else expect(seen).toEqual([[405, "method-not-allowed"]])
      if (!start.startsWith("_")) expect(answers[0]?.headers.get("allow")).toBe(METHODS.join(", "))
      expect(answers[0]?.text).not.toContain("SECRET")
      expect(upstream.requests).toHaveLength(0)
    },
  )

  test.each(["http://evil.example/public/x", "http://evil.example/", "https://gw.test/admin/x", "ftp://x/"])(
    "PTH-15 the absolute target %s is answered 400 host-rejected",
    async (target) => {
      const { seen, upstream } = await probe([`GET ${target} HTTP/1.1\n${HOST}\n\n`])
      expect(seen).toEqual([[400, "host-rejected"]])
      expect(upstream.requests).toHaveLength(0)
    },
  )

  test.each([
    ["*", "malformed-request"],
    ["/x#fragment", "path-rejected"],
    ["/public/\x1b[31m", "path-rejected"],
    ["/caf\xc3\xa9", "path-rejected"],
    ["evil.example:80", "host-rejected"],
  ])("SRV-3 the target %j is answered 400 %s", async (target, code) => {
    const { seen, upstream } = await probe([`GET ${target} HTTP/1.1\n${HOST}\n\n`])
    expect(seen).toEqual([[400, code]])
    expect(upstream.requests).toHaveLength(0)
  })

  test("SRV-3 OPTIONS * is answered by the edge itself", async () => {
    const { answers, upstream } = await probe([`OPTIONS * HTTP/1.1\n${HOST}\n\n`])
    expect([answers[0]?.statuses, answers[0]?.headers.get("allow")]).toEqual([[204], METHODS.join(", ")])
    expect(upstream.requests).toHaveLength(0)
  })

  const hosts = [
    "gw.test/public/?",
    "gw.test/public/#",
    "gw.test@evil.example",
    "gw.test:99999",
    "gw test",
    "",
    "gw.test, evil.example",
    "2130706433",
    "[::ffff:127.0.0.1]",
  ]
  test.each(hosts)("PTH-16 Host %j is answered 400 host-rejected", async (host) => {
    const { seen, upstream } = await probe([`GET /admin/x HTTP/1.1\nHost: ${host}\n\n`])
    expect(seen).toEqual([[400, "host-rejected"]])
    expect(upstream.requests).toHaveLength(0)
  })

  test("SRV-1 a request without Host is answered 400, in HTTP/1.0 too", async () => {
    const { seen } = await probe(["GET /x HTTP/1.1\n\n", "GET /x HTTP/1.0\n\n"])
    expect(seen).toEqual([
      [400, "host-rejected"],
      [400, "host-rejected"],
    ])
  })

  test("PTH-16 a host outside the allow-list is answered 421", async () => {
    const { seen, upstream } = await probe(["GET /x HTTP/1.1\nHost: evil.example\n\n"])
    expect(seen).toEqual([[421, "misdirected-request"]])
    expect(upstream.requests).toHaveLength(0)
  })

  test("TLS-11 a Host that differs from the server name is answered 421", async () => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port)
    const answer = await send(edge, "GET /x HTTP/1.1\nHost: b.test\n\n", { servername: "a.test" })
    expect([answer.statuses, codeOf(answer)]).toEqual([[421], "misdirected-request"])
    expect(upstream.requests).toHaveLength(0)
  })
})

describe("answers and connections", () => {
  test("a refusal carries the fields of every problem, an id, a date and no Server", async () => {
    const { answers } = await probe(["GET * HTTP/1.1\nHost: gw.test\n\n", `GET /x HTTP/1.1\n${HOST}\nX : a\n\n`])
    for (const { headers, body } of answers) {
      const id = headers.get("x-request-id") ?? ""
      expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      expect(headers.get("content-type")).toBe("application/problem+json")
      expect(headers.get("cache-control")).toBe("no-store")
      expect(headers.get("x-content-type-options")).toBe("nosniff")
      expect(headers.has("date") && !headers.has("server")).toBe(true)
      expect(JSON.parse(body)).toMatchObject({ request_id: id, instance: `urn:uuid:${id}`, status: 400 })
    }
  })

  test("a refused HEAD is answered without a body", async () => {
    const { answers } = await probe(["HEAD /x HTTP/1.1\nHost: evil.example\n\n"])
    expect(answers[0]).toMatchObject({ statuses: [421], body: "" })
  })

  test("EDG-09 nothing is tunnelled behind a declined upgrade", async () => {
    const { answers, upstream } = await probe([
      `GET /public/x HTTP/1.1\n${HOST}\nConnection: Upgrade\nUpgrade: foo\n\nGET /second HTTP/1.1\n${HOST}\n\n`,
    ])
    expect(answers[0]).toMatchObject({ statuses: [200], isClosed: true })
    expect(upstream.requests.map(({ target }) => target)).toEqual(["/public/x"])
    expect(valuesOf(upstream.requests[0], "upgrade")).toEqual([])
  })

  test("a request behind a refused one is never forwarded", async () => {
    const { answers, upstream } = await probe([`GET /a HTTP/1.1\n${HOST}\n${HOST}\n\nGET /b HTTP/1.1\n${HOST}\n\n`])
    expect(answers[0]).toMatchObject({ statuses: [400], isClosed: true })
    expect(upstream.requests).toHaveLength(0)
  })

  test("octets that are no request behind a good one do not disturb its answer", async () => {
    const { answers, upstream } = await probe([`GET /a HTTP/1.1\n${HOST}\n\n\x01\x02\n\n`])
    expect(answers[0]).toMatchObject({ statuses: [200], isClosed: true })
    expect(upstream.requests).toHaveLength(1)
  })

  test("pipelined requests run one at a time and in order", async () => {
    let running = 0
    let most = 0
    const upstream = await startUpstream((request, response) => {
      most = Math.max(most, ++running)
      setImmediate(() => {
        running--
        response.end(request.url)
      })
    })
    const edge = await startTestEdge(upstream.port)
    const wire = Array.from({ length: 10 }, (_, i) => `GET /n${i} HTTP/1.1\r\n${HOST}\r\n\r\n`).join("")
    const answer = await exchange(await openTls(edge.port), wire)
    expect([most, answer.statuses.length]).toEqual([1, 10])
    expect([...answer.text.matchAll(/\/n\d/g)].map(String)).toEqual(Array.from({ length: 10 }, (_, i) => `/n${i}`))
  })

  test("a connection with too many pipelined requests ends after those that were taken", async () => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port)
    const wire = `GET / HTTP/1.1\r\n${HOST}\r\n\r\n`.repeat(100)
    const answer = await exchange(await openTls(edge.port), wire)
    expect(answer.isClosed).toBe(true)
    expect(answer.statuses.length).toBeLessThan(100)
    expect(upstream.requests).toHaveLength(answer.statuses.length)
  })

  test("SRV-9 a refusal with an unread body reaches its sender and closes", async () => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port)
    const socket = await openTls(edge.port)
    const head = `POST /x HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 2000000\r\n\r\n`
    const answer = await exchange(socket, Buffer.concat([Buffer.from(head), Buffer.alloc(1_500_000)]))
    expect(answer).toMatchObject({ statuses: [421], isClosed: true })
  })

  test("EDG-12 a slow header is answered 408 and closed", async () => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port, { timeouts: { headersMs: 150 } })
    const answer = await exchange(await openTls(edge.port), "GET / HT", 400)
    expect([answer.statuses, codeOf(answer), answer.isClosed]).toEqual([[408], "request-timeout", true])
  })

  test("a listener that throws does not disturb the edge", async () => {
    const upstream = await startUpstream()
    const onEvent = (): void => {
      throw new Error("listener")
    }
    const edge = await startTestEdge(upstream.port, { onEvent })
    expect((await send(edge, "GET * HTTP/1.1\nHost: gw.test\n\n")).statuses).toEqual([400])
    expect((await send(edge, `GET /x HTTP/1.1\n${HOST}\n\n`)).statuses).toEqual([200])
  })

  test("an exception while a request is handled is answered 500 and the edge lives on", async () => {
    let isBroken = true
    const upstream = await startUpstream()
    const worker = () => {
      if (isBroken) throw new Error("SECRET")
      return { hostname: "127.0.0.1", port: upstream.port }
    }
    const edge = await startTestEdge(0, { worker })
    const answer = await send(edge, `GET /x HTTP/1.1\n${HOST}\n\n`)
    expect([answer.statuses, codeOf(answer)]).toEqual([[500], "internal-error"])
    expect(answer.text).not.toContain("SECRET")
    isBroken = false
    expect((await send(edge, `GET /x HTTP/1.1\n${HOST}\n\n`)).statuses).toEqual([200])
  })
})

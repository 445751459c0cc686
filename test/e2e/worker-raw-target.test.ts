/**
 * Goal: octets that no URL parser has touched get no further than they may, and an answer leaves as the origin wrote it.
 * Method: workerd as it runs behind the edge, spoken to over a plain socket; the connection details stand where
 * Cloudflare's edge would put them.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { connect, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest"
import { startWorkerProcess, type WorkerProcess } from "../../cli/worker-process.ts"
import type { AccessEvent } from "../../src/core/record/event.ts"
import { NO_CLIENT_CERTIFICATE } from "../../src/core/certificate/platform-certificate.ts"
import { mintCertificates } from "../worker/outside/certificates.ts"
import { GZIP_BODY, startOrigin, type OriginServer } from "../worker/outside/origin-server.ts"
import type { CertificateFixture, OriginRecord } from "../worker/provided.ts"
import { AMBIGUOUS_TARGETS } from "./ambiguous-targets.ts"

const GATEWAY = "raw"
const stateDirectory = mkdtempSync(join(tmpdir(), "sekisho-raw-"))
let worker: WorkerProcess
let origin: OriginServer
let certificate: CertificateFixture
let requestsBefore = 0
const events: AccessEvent[] = []

beforeAll(async () => {
  const minted = await mintCertificates(Date.now())
  certificate = minted.certificates["acme-b"]
  // Nobody follows a redirect here, so nothing has to listen behind it.
  origin = await startOrigin(1)
  worker = await startWorkerProcess({
    configFile: resolve("wrangler.toml"),
    environment: undefined,
    stateDirectory,
    // workerd writes lines of its own, too.
    onConsole: ({ message }) => {
      if (message.startsWith("{")) events.push(JSON.parse(message) as AccessEvent)
    },
    onRestart: () => {},
    overrides: {
      PLATFORM: "cloudflare",
      GATEWAY: { hosts: ["gw.test", "a.test", "b.test"] },
      ISSUERS: { "ca-a": { ski: minted.skis["ca-a"] } },
      CLIENTS: [{ id: "acme-b", certificates: [{ issuer: "ca-a", san_uri: "spiffe://acme/acme-b" }] }],
      ORIGINS: { stub: { url: `http://127.0.0.1:${origin.port}/${GATEWAY}` } },
      LIMITS: { generous: { rate: "1000/s", burst: 1_000 }, counted: { concurrent: 100 } },
      ROUTES: [
        { path: "/healthz", client_certificate: "none", respond: { status: 200, body: "ok\n" } },
        { prefix: "/public", origin: "stub", limits: "generous" },
        { prefix: "/public/counted", origin: "stub", limits: "counted" },
        // Closed to everybody: whatever reaches the origin under this path has got around the gateway.
        { prefix: "/admin", methods: ["DELETE"], origin: "stub", limits: "generous" },
      ],
      SINKS: undefined,
    },
  })
})
afterAll(async () => {
  await worker.close()
  origin.close()
  rmSync(stateDirectory, { recursive: true, force: true })
})
beforeEach(() => {
  events.length = 0
  requestsBefore = origin.requests(GATEWAY).length
})

/** What the origin has seen since the test began. */
function originRequests(): readonly OriginRecord[] {
  return origin.requests(GATEWAY).slice(requestsBefore)
}

describe("a target of two meanings is refused and reaches no origin:", () => {
  test.each<readonly [string, string]>([
    ...AMBIGUOUS_TARGETS,
    // Only at this door: the edge refuses octets beyond ASCII before anybody looks for a path.
    ["PTH-09", "/public/é"],
  ])("%s %j", async (_, target) => {
    const answer = await send(`GET ${target} HTTP/1.1\r\n${fields()}\r\n`)
    expect(answer).toMatchObject({ status: 400, problem: { code: "path-rejected" } })
    expect(await logged()).toMatchObject([{ outcome: "refused", status: 400, problem: "path-rejected" }])
    expect(originRequests()).toEqual([])
  })
})

describe("a host that is not plain is refused and reaches no origin:", () => {
  test.each([
    "gw.test/public/?",
    "gw.test/public/#",
    "gw.test@evil.example",
    "gw.test:99999",
    "gw test",
    "gw.test, evil.example",
    "2130706433",
    "[::ffff:127.0.0.1]",
    "gw.test.",
    "gw.test:",
  ])("PTH-16 %j", async (host) => {
    const answer = await send(`GET /admin/x HTTP/1.1\r\n${fields({ host })}\r\n`)
    expect(answer).toMatchObject({ status: 400, problem: { code: "host-rejected" } })
    expect(await logged()).toMatchObject([{ outcome: "refused", problem: "host-rejected" }])
    expect(originRequests()).toEqual([])
  })

  // workerd itself ends these; the edge in front of it and Cloudflare never let them come so far.
  test.each([
    ["PTH-16 an empty Host", "/admin/x", "Host: \r\n"],
    ["PTH-16 no Host", "/admin/x", ""],
    ["PTH-16 two Hosts", "/admin/x", "Host: a.test\r\nHost: b.test\r\n"],
    ["PTH-06 an escape character in the path", "/public/\u001b[31m", "Host: gw.test\r\n"],
  ])("%s", async (_, target, host) => {
    const answer = await send(`GET ${target} HTTP/1.1\r\n${host}${blob()}Connection: close\r\n\r\n`)
    expect(answer.status).toBeGreaterThanOrEqual(400)
    expect(originRequests()).toEqual([])
  })

  test("PTH-15 an absolute target does not replace the Host field", async () => {
    const answer = await send(`GET http://evil.example/public/x HTTP/1.1\r\n${fields()}\r\n`)
    expect([200, 400]).toContain(answer.status)
    expect(originRequests().every(({ target }) => target === "/public/x")).toBe(true)
  })

  test("IDN-20 a host that nobody configured is misdirected", async () => {
    const answer = await send(`GET /public/x HTTP/1.1\r\n${fields({ host: "gateway.account.workers.dev" })}\r\n`)
    expect(answer).toMatchObject({ status: 421, problem: { code: "misdirected-request" } })
  })
})

test.each(["TRACE", "PURGE", "PROPFIND"])("EDG-16 the method %s is refused and echoes nothing", async (method) => {
  const answer = await send(`${method} /public/x HTTP/1.1\r\n${fields()}X-Echo: SECRET\r\n\r\n`)
  expect(answer).toMatchObject({ status: 405, problem: { code: "method-not-allowed" } })
  expect(answer.fields.get("allow")).toBe("DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT")
  expect(answer.body.toString()).not.toContain("SECRET")
  expect(originRequests()).toEqual([])
})

test.each(["CONNECT evil.example:80", "FOO /public/x", "get /public/x"])(
  "EDG-16 %s is refused before or by the Worker",
  async (line) => {
    const answer = await send(`${line} HTTP/1.1\r\n${fields()}\r\n`)
    expect([400, 405, 500, 501]).toContain(answer.status)
    expect(originRequests()).toEqual([])
  },
)

test("EDG-14 a field of 100 KB is refused and not logged", async () => {
  const answer = await send(`GET /public/x HTTP/1.1\r\n${fields()}X-Large: ${"SECRET".repeat(17_000)}\r\n\r\n`)
  expect(answer.status).toBe(431)
  expect(JSON.stringify(await logged())).not.toContain("SECRET")
  expect(originRequests()).toEqual([])
})

test("EDG-15 a path of 20,000 octets is refused", async () => {
  const answer = await send(`GET /public/${"a".repeat(20_000)} HTTP/1.1\r\n${fields()}\r\n`)
  expect(answer).toMatchObject({ status: 414, problem: { code: "uri-too-long" } })
  expect(originRequests()).toEqual([])
})

test.each([
  ["Authorization", "Bearer SECRETA"],
  ["Idempotency-Key", '"SECRETA"'],
  ["Content-Type", "text/plain"],
])("EDG-19 two lines of %s are refused", async (name, value) => {
  const lines = `${name}: ${value}\r\n${name.toUpperCase()}: ${value}\r\n`
  const answer = await send(`GET /public/x HTTP/1.1\r\n${fields()}${lines}\r\n`)
  expect(answer).toMatchObject({ status: 400, problem: { code: "duplicate-header" } })
  expect(originRequests()).toEqual([])
})

test("LOG-01 a field with control characters leaves one line without them", async () => {
  await send(`GET /public/x HTTP/1.1\r\n${fields()}User-Agent: a\u001b[2J\u0007\r\n\r\n`)
  await logged()
  expect(Object.values(events[0] ?? {}).some((value) => /[\0-\x1f]/.test(String(value)))).toBe(false)
})

describe("content", () => {
  test.each([
    ["a length", "GET", "Content-Length: 5\r\n\r\nhello"],
    ["chunks", "GET", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"],
    ["a length", "HEAD", "Content-Length: 5\r\n\r\nhello"],
  ])("with %s is refused on %s, where an origin would read it as another request", async (_, method, rest) => {
    const answer = await send(`${method} /public/x HTTP/1.1\r\n${fields()}${rest}`)
    expect(answer.status).toBe(400)
    expect(await logged()).toMatchObject([{ problem: "malformed-request", reason: "content_not_expected" }])
    expect(originRequests()).toEqual([])
  })

  test.each(["GET", "HEAD"])("of no octets is none on %s", async (method) => {
    const answer = await send(`${method} /public/x HTTP/1.1\r\n${fields()}Content-Length: 0\r\n\r\n`)
    expect([answer.status, originRequests().map(({ body }) => body)]).toEqual([200, [""]])
  })

  test("in chunks arrives whole", async () => {
    const chunks = "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    await send(`POST /public/x HTTP/1.1\r\n${fields()}${chunks}`)
    expect(originRequests()).toMatchObject([{ body: "hello world", isComplete: true }])
  })
})

describe("an answer on the wire", () => {
  test.each([
    ["", "/public/gzip"],
    [" while its delivery is watched", "/public/counted/gzip"],
  ])("ENC-01 keeps its content coding, octets, length and entity tag%s", async (_, target) => {
    const answer = await get(target, "Accept-Encoding: gzip\r\n")
    expect(answer.body.equals(GZIP_BODY)).toBe(true)
    expect(answer.fields.get("content-encoding")).toBe("gzip")
    expect(answer.fields.get("etag")).toBe('"strong"')
    expect(answer.fields.get("content-length")).toBe(String(GZIP_BODY.length))
  })

  test("ENC-01 is not decoded for a client that has not asked for the coding", async () => {
    const answer = await get("/public/gzip")
    expect([answer.fields.get("content-encoding"), answer.body.equals(GZIP_BODY)]).toEqual(["gzip", true])
  })

  test("RFC 9110 §9.3.2 to HEAD has the length that GET would have, and no body", async () => {
    const answer = await send(`HEAD /public/sized HTTP/1.1\r\n${fields()}\r\n`)
    expect([answer.status, answer.fields.get("content-length"), answer.body.length]).toEqual([200, "1234", 0])
  })

  test.each([204, 304])("of status %i has no body and no framing", async (status) => {
    const answer = await get(`/public/${status}`)
    expect([answer.status, answer.body.length]).toEqual([status, 0])
    expect([answer.fields.get("x-kept"), answer.fields.has("transfer-encoding")]).toEqual(["1", false])
  })

  test("keeps several Set-Cookie lines apart", async () => {
    const answer = await get("/public/cookies")
    expect(answer.lines.filter((line) => /^set-cookie:/i.test(line))).toHaveLength(2)
  })

  test("PRX-04 has no hop-by-hop field of the origin", async () => {
    const answer = await get("/public/hop")
    expect([...answer.fields.keys()].filter((name) => /secret|keep-alive|proxy/.test(name))).toEqual([])
  })

  test("that breaks off at the origin breaks off before its length", async () => {
    const answer = await get("/public/short")
    expect(answer.fields.get("content-length")).toBe("1000")
    expect(answer.body.length).toBeLessThan(1_000)
  })

  test("that breaks off at the origin has no last chunk", async () => {
    const answer = await get("/public/unfinished")
    expect(answer.fields.get("transfer-encoding")).toBe("chunked")
    expect(answer.body.toString("latin1")).not.toMatch(/\r\n0\r\n\r\n$/)
  })
})

describe("PRX-21 a caller that leaves", () => {
  test("before the answer ends the call of the origin, and leaves its event", async () => {
    const socket = await open()
    socket.write(`GET /public/silent HTTP/1.1\r\n${fields()}\r\n`)
    await vi.waitUntil(() => originRequests().length === 1)
    socket.resetAndDestroy()
    await vi.waitUntil(() => originRequests()[0]?.isAborted)
    expect(await logged()).toMatchObject([{ path: "/public/silent", client_id: "acme-b", reason: "client_gone" }])
  })

  test("in mid-answer ends the call of the origin", async () => {
    const socket = await open()
    socket.write(`GET /public/halves HTTP/1.1\r\n${fields()}\r\n`)
    await new Promise((done) => socket.once("data", done))
    socket.resetAndDestroy()
    await vi.waitUntil(() => originRequests()[0]?.isAborted)
  })
})

/** Returns the events of the test once there are any: the console of another process is read a little later. */
async function logged(): Promise<readonly AccessEvent[]> {
  await vi.waitUntil(() => events.length > 0)
  return events
}

interface RawAnswer {
  readonly status: number
  /** By lower-case name; the last of several lines. */
  readonly fields: ReadonlyMap<string, string>
  readonly lines: readonly string[]
  /** As it is on the wire, chunks included. */
  readonly body: Buffer
  readonly problem: unknown
}

function blob(): string {
  const tlsClientAuth = {
    ...NO_CLIENT_CERTIFICATE,
    certPresented: "1",
    certVerified: "SUCCESS",
    certFingerprintSHA256: certificate.fingerprint,
    certIssuerSKI: certificate.issuerSki.toUpperCase(),
    certRFC9440: `:${certificate.der}:`,
  }
  return `MF-CF-Blob: ${JSON.stringify({ tlsClientAuth })}\r\nCF-Connecting-IP: 192.0.2.7\r\n`
}

/** Field lines of a request of acme-b that ends its connection. */
function fields({ host = "gw.test" } = {}): string {
  return `Host: ${host}\r\n${blob()}Connection: close\r\n`
}

function get(target: string, lines = ""): Promise<RawAnswer> {
  return send(`GET ${target} HTTP/1.1\r\n${fields()}${lines}\r\n`)
}

async function open(): Promise<Socket> {
  const socket = connect(worker.port, worker.hostname)
  socket.on("error", () => {})
  await new Promise<void>((done) => socket.once("connect", done))
  return socket
}

/** Sends octets and returns what comes back until the connection ends. */
async function send(text: string): Promise<RawAnswer> {
  const socket = await open()
  const chunks: Buffer[] = []
  socket.on("data", (chunk: Buffer) => chunks.push(chunk))
  const closed = new Promise<void>((done) => socket.once("close", () => done()))
  socket.write(Buffer.from(text, "utf8"))
  await closed
  const octets = Buffer.concat(chunks)
  const end = octets.indexOf("\r\n\r\n")
  const [statusLine = "", ...lines] = octets.subarray(0, end).toString("latin1").split("\r\n")
  const body = octets.subarray(end + 4)
  const named = lines.map((line) => {
    const colon = line.indexOf(":")
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const
  })
  const answer = new Map(named)
  const isProblem = answer.get("content-type") === "application/problem+json" && body.length > 0
  return {
    status: Number(statusLine.split(" ")[1]),
    fields: answer,
    lines,
    body,
    problem: isProblem ? (JSON.parse(body.toString("utf8")) as unknown) : undefined,
  }
}

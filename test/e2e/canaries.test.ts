/**
 * Goal: LOG-02, LOG-03, no secret of a caller is kept anywhere: in no sink of any kind, no problem, no storage. Method: the whole road with a
 * sink of each kind that keeps every octet; canaries in every field, in the query, the body, the path and the certificate of requests that
 * end in every way; then a search for all of them, plain and in base64.
 */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises"
import { createServer } from "node:http"
import { request as startRequest } from "node:https"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { gunzipSync } from "node:zlib"
import { afterAll, beforeAll, expect, test, vi } from "vitest"
import { startDevelopment, type Development } from "../../cli/development.ts"
import { ensureAuthority } from "../../cli/pki/authority.ts"
import { issueLeaf } from "../../cli/pki/certificate.ts"
import { parseSubject } from "../../cli/pki/name.ts"
import { readAnswer, startOrigin, type Answer, type Origin, type OwnCertificate } from "./road.ts"

const CANARY = /CANARY[A-Z]+/
const JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJDQU5BUllKV1QifQ.Q0FOQVJZU0lHTkFUVVJF"
const PAN = "4111111111111111"
const FIELDS = {
  Authorization: `Bearer ${JWT}`,
  Cookie: "sid=CANARYCOOKIE",
  "X-Api-Key": "CANARYKEY",
  "Idempotency-Key": '"CANARYIDEMPOTENCY"',
  "Proxy-Authorization": "Basic CANARYPROXY",
  "User-Agent": "CANARYAGENT",
  Referer: "https://CANARYUSER:CANARYPASS@host.test/?CANARYREFERER",
  "X-Note": "4111 1111 1111 1111",
  "X-Client-Id": "CANARYCLIENT",
  tracestate: "vendor=CANARYSTATE",
}
const QUERY = "?token=CANARYTOKEN&password=CANARYPASSWORD&code=CANARYCODE&card=4111-1111-1111-1111"

let state: string
let origin: Origin
let development: Development
let sinks: Awaited<ReturnType<typeof startSinks>>
let holder: OwnCertificate

beforeAll(async () => {
  state = await mkdtemp(join(tmpdir(), "sekisho-canaries-"))
  origin = await startOrigin()
  sinks = await startSinks()
  const closed = await startOrigin()
  await closed.close()
  development = await startDevelopment({
    configFile: resolve(import.meta.dirname, "../../wrangler.toml"),
    environment: undefined,
    port: 0,
    state,
    samples: false,
    watches: false,
    overrides: {
      GATEWAY: {
        hosts: ["localhost"],
        log_flush: "10ms",
        assertion: { issuer: "https://localhost", keys: ["ASSERTION_KEY"] },
        idempotency: { keys: ["IDEMPOTENCY_KEY"] },
      },
      ORIGINS: { bank: { url: origin.url, assertion: true }, issuer: { url: closed.url } },
      SINKS: [
        { kind: "otlp", url: `${sinks.url}/v1/logs` },
        { kind: "otlp", url: `${sinks.url}/v1/traces`, takes: ["traces"] },
        { kind: "ndjson", url: `${sinks.url}/ndjson` },
        { kind: "loki", url: `${sinks.url}/loki/api/v1/push` },
        { kind: "ndjson", url: `${sinks.url}/audit`, takes: ["audit"] },
      ],
    },
    paint: (_, text) => text,
    onRecord: () => {},
    onNotice: () => {},
  })
  // One more certificate of the client, with canaries in its names.
  const { authority } = await ensureAuthority(development.pki.directory, Date.now(), false)
  const names = [
    { type: "url", value: "spiffe://partners.example/acme" },
    { type: "dns", value: "canaryhost.CANARYDNS.test" },
  ] as const
  const subject = parseSubject("CN=CANARYNAME,O=CANARYORGANISATION")
  holder = await issueLeaf(authority, { subject, names, usage: "client", period: "current" }, Date.now())
})

afterAll(async () => {
  await development?.close()
  await origin?.close()
  await sinks?.close()
  await rm(state, { recursive: true, force: true })
})

test("LOG-02, LOG-03: canaries of callers are in no sink, no problem and no storage", async () => {
  const known = await Promise.all(
    ["/echo", `/accounts/${PAN}`, `/accounts/${JWT}`, "/nope", "/transfers", "/token", "/payments"].map(
      async (path) => [path, await send(`${path}${QUERY}`, holder)] as const,
    ),
  )
  const strangers = [await send(`/balance${QUERY}`, undefined), await send(`/healthz${QUERY}`, undefined)]
  const answers = new Map(known)
  expect([...answers].map(([path, { status }]) => [path.slice(0, 10), status])).toEqual([
    ["/echo", 200],
    ["/accounts/", 405],
    ["/accounts/", 405],
    ["/nope", 404],
    ["/transfers", 405],
    ["/token", 502],
    // Under a key, so that its answer is stored, and on the client's trail.
    ["/payments", 200],
  ])
  const ids = [...known.map(([, answer]) => answer), ...strangers].map(({ id }) => id)
  const kinds = ["/v1/logs", "/v1/traces", "/ndjson", "/loki/api/v1/push"]
  await vi.waitFor(() => {
    for (const kind of kinds) for (const id of ids) expect(sinks.bodies(kind)).toContain(id)
  })
  const payment = answers.get("/payments")?.id ?? ""
  await vi.waitFor(() => expect(sinks.bodies("/audit").split(payment).length).toBeGreaterThan(2))
  // What the origin gets is the origin's; all else must not know.
  expect(origin.requests.map(({ headers }) => headers.cookie)).toContain("sid=CANARYCOOKIE")
  const kept = [
    ...[...kinds, "/audit"].map((kind) => [kind, sinks.bodies(kind)] as const),
    ...[...known.map(([, answer]) => answer), ...strangers].map(
      ({ body, headers, status }) =>
        [`answer ${status}`, status === 200 ? "" : `${body} ${JSON.stringify(headers)}`] as const,
    ),
    ...(await storedFiles(join(state, `worker-0`))),
  ]
  expect(kept.flatMap(([where, text]) => findCanaries(text).map((canary) => `${where}: ${canary}`))).toEqual([])
  expect(kept.length).toBeGreaterThan(kinds.length + ids.length)
  expect(sinks.bodies("/ndjson")).toContain("/accounts/[redacted]")
})

/** Canaries in a text, also those that are encoded. */
function findCanaries(text: string): readonly string[] {
  const encoded = [
    JWT.split(".")[1] ?? "",
    JWT.split(".")[2] ?? "",
    Buffer.from("CANARY").toString("base64").slice(0, 8),
  ]
  return [
    ...(text.match(new RegExp(CANARY, "g")) ?? []),
    ...[...encoded, PAN, "4111-1111", "4111 1111"].filter((canary) => text.includes(canary)),
  ]
}

async function send(path: string, as: OwnCertificate | undefined): Promise<Answer> {
  const ca = await readFile(development.pki.ca.certificatePath, "utf8")
  const outgoing = startRequest({
    ca,
    ...(as === undefined ? {} : { cert: as.certificatePem, key: as.keyPem }),
    host: "127.0.0.1",
    servername: "localhost",
    port: development.port,
    path,
    method: "POST",
    headers: { Host: "localhost", ...FIELDS },
    agent: false,
  })
  return readAnswer(outgoing.end("CANARYBODY"))
}

/** A sink of every kind that takes everything and keeps every octet. */
async function startSinks() {
  const received = new Map<string, string>()
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      const { url = "", headers } = request
      const sent = Buffer.concat(chunks)
      const body = headers["content-encoding"] === "gzip" ? gunzipSync(sent) : sent
      received.set(url, `${received.get(url) ?? ""}${JSON.stringify(headers)}\n${body.toString("utf8")}\n`)
      response.writeHead(204).end()
    })
  })
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    bodies: (path: string): string => received.get(path) ?? "",
    async close() {
      const closed = new Promise((done) => server.close(done))
      server.closeAllConnections()
      await closed
    },
  }
}

/** Every file that the Worker's storage consists of, as Latin-1 so that no octet is lost. */
async function storedFiles(directory: string): Promise<readonly (readonly [path: string, text: string])[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map(({ name, parentPath }) => join(parentPath, name))
  return Promise.all(files.map(async (file) => [file, await readFile(file, "latin1")] as const))
}

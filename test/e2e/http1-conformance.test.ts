/**
 * Goal: the gateway as an HTTP/1.1 intermediary, judged by what its origin and its caller see on the wire.
 * Method: exchanges of octets through edge and Worker over TLS, against an origin that records octets. The exchanges are data
 * (SEKISHO_CONFORMANCE names it); this file holds how to judge, and in one table where the gateway is stricter than a case
 * asks for, with the reason. `edge-conformance.test.ts` judges the edge alone by status.
 */
import { gzipSync } from "node:zlib"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { readDataSet } from "../conformance.ts"
import { judge, payloadOf, readVectors } from "./http11probe.ts"
import {
  octets,
  OK,
  sendTls,
  startRawOrigin,
  valuesOf,
  type RawAnswer,
  type RawOrigin,
  type RawRequest,
} from "./raw-http.ts"
import { startRoad, type Road } from "./road.ts"

interface Upstream {
  readonly absent?: readonly string[]
  readonly present?: Readonly<Record<string, string>>
  readonly present_regex?: Readonly<Record<string, string>>
  readonly header_regex?: Readonly<Record<string, string>>
  readonly absent_or_overwritten?: readonly string[]
  readonly client_ip_not?: string
  readonly gateway_added_headers_still_present?: true
  readonly not_forwarded?: true
  readonly forwarded?: true
  readonly request_target?: string
  readonly body?: string
}

interface Client {
  readonly absent?: readonly string[]
  readonly present?: Readonly<Record<string, string>>
  readonly status?: number
  readonly status_in?: readonly number[]
  readonly body?: string
  readonly body_not_contains?: string
  readonly no_body?: true
  readonly interim?: readonly number[]
  readonly no_interim?: true
  readonly interim_or_final_before_body?: true
  readonly set_cookie_lines?: readonly string[]
  readonly connection_error_or_502?: true
  readonly content_encoding_consistent?: true
}

interface Case {
  readonly id: string
  readonly level: string
  readonly client_request: string
  readonly upstream_response?: string
  readonly expect_upstream?: Upstream
  readonly expect_client?: Client
}

/** What the gateway answers where a case would let the request pass. */
const STRICTER: Readonly<Record<string, { readonly status: number; readonly code: string; readonly because: string }>> =
  {
    "HOP-02": {
      status: 400,
      code: "malformed-request",
      because: "content of a GET is refused, and chunks announce some",
    },
    "HOST-03": {
      status: 400,
      code: "host-rejected",
      because: "a target with a host beside Host can be read in two ways",
    },
    "PATH-01": { status: 400, code: "path-rejected", because: "a path is canonical or refused, never repaired" },
    "TRL-01": {
      status: 400,
      code: "malformed-request",
      because: "a trailer that frames the message is a second framing",
    },
  }

/** Cases that do not hold, and why. An entry whose case holds fails, so that the list stays true. */
const OPEN: Readonly<Record<string, string>> = {
  "1XX-01": "fetch() of workerd drops interim answers",
  "UPG-01": "the route says nothing of WebSockets; websocket.test.ts upgrades",
}

/** Cases that octets on one connection cannot show; what shows them. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  "FWD-02": "needs a caller with that address: ip-address.test.ts of the core",
}

/** Vectors that fail on purpose: the gateway answers an error where the suite would have an answer. */
const REFUSED_ANYWAY: Readonly<Record<string, string>> = {
  "MAL-POST-CL-HUGE-NO-BODY": "413 as soon as the length is known, where the suite waits for 400 or for nothing",
}

/** What of a vector without a verdict reaches the origin: its content, and its cookies where it has any. */
const INSPECTED: Readonly<Record<string, { readonly body?: string; readonly cookie?: string }>> = {
  "COMP-POST-CL-BODY": { body: "hello" },
  "COMP-CHUNKED-BODY": { body: "hello" },
  "COMP-CHUNKED-MULTI": { body: "hello world" },
  "COMP-CHUNKED-EXTENSION": { body: "hello" },
  "COMP-CHUNKED-TRAILER-VALID": { body: "hello" },
  "COMP-CHUNKED-HEX-UPPERCASE": { body: "helloworld" },
  "COOK-ECHO": { cookie: "foo=bar" },
  "COOK-MULTI-HEADER": { cookie: "a=1; b=2" },
  "COOK-PARSED-BASIC": { cookie: "foo=bar" },
  "COOK-PARSED-MULTI": { cookie: "a=1; b=2; c=3" },
  "NORM-UNDERSCORE-CL": { body: "hello world" },
  "NORM-UNDERSCORE-TE": { body: "hello world" },
}

/** What the edge may say of its own connection to the caller. */
const OWN_KEEP_ALIVE = "timeout=30"

const HOST = "gw.local"
const IMF_FIXDATE = /^[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT$/
const GZIP = gzipSync("as it was encoded")

const cases = (readDataSet("http1/intermediary-cases.json") as { cases: Case[] } | undefined)?.cases
const vectors = readVectors()

let origin: RawOrigin
let road: Road

beforeAll(async () => {
  if (cases === undefined) return
  origin = await startRawOrigin()
  road = await startRoad({
    overrides: {
      GATEWAY: {
        hosts: ["localhost", HOST, "b.test"],
        log_flush: "10ms",
        assertion: { issuer: "https://localhost", keys: ["ASSERTION_KEY"] },
      },
      ORIGINS: {
        bank: { url: "http://127.0.0.1:9000" },
        raw: { url: origin.url, client_cert: "both", timeout: "15s" },
      },
      LIMITS: { standard: { rate: "1000/s", burst: 1_000 }, payments: { rate: "1000/s", burst: 1_000 } },
      ROUTES: [{ prefix: "/", origin: "raw", limits: "standard" }],
    },
  })
})
afterAll(async () => {
  await road?.close()
  await origin?.close()
})

/** Sends a case; returns what both sides saw. */
async function play({ id, client_request, upstream_response = OK }: Case) {
  const [head = "", body = ""] = upstream_response
    .replace("Content-Length: 22", `Content-Length: ${GZIP.length}`)
    .split("<")
  const answer = body === "gzip bytes>" ? Buffer.concat([octets(head), GZIP]) : octets(upstream_response)
  origin.requests.length = 0
  origin.serve = (_, socket) => void socket.end(answer)
  const request = id === "HOST-04" ? "GET / HTTP/1.1\r\nHost: b.test\r\n\r\n" : client_request
  const received = await sendTls(road, request.replace("<own pseudonym>", "sekisho"), {
    servername: HOST,
    idleMs: 3_000,
  })
  return { received, seen: [...origin.requests] }
}

/** Returns what is wrong with what the origin saw. */
function judgeUpstream(want: Upstream, seen: readonly RawRequest[]): string[] {
  if (want.not_forwarded) return seen.length === 0 ? [] : ["forwarded"]
  const [request, ...more] = seen
  if (request === undefined || more.length > 0) return [`forwarded ${seen.length} times`]
  const value = (name: string): string => valuesOf(request.fields, name).join(" | ")
  const wrong: string[] = []
  for (const name of want.absent ?? []) if (value(name) !== "") wrong.push(`${name} is there: ${value(name)}`)
  for (const [name, text] of Object.entries(want.present ?? {}))
    if (value(name) !== text && !text.startsWith("<")) wrong.push(`${name} is ${value(name)}, not ${text}`)
  for (const [name, pattern] of Object.entries({ ...want.present_regex, ...want.header_regex }))
    if (!new RegExp(pattern).test(value(name))) wrong.push(`${name} is ${value(name)}`)
  for (const name of want.absent_or_overwritten ?? [])
    if (/9\.9\.9\.9|evil|http$/.test(value(name))) wrong.push(`${name} is the caller's: ${value(name)}`)
  if (want.gateway_added_headers_still_present)
    for (const name of ["x-request-id", "client-cert", "traceparent", "x-client-id", "via", "authorization"])
      if (value(name) === "") wrong.push(`${name} is missing`)
  if (want.body !== undefined && request.body.toString() !== want.body) wrong.push(`body is ${request.body.toString()}`)
  return wrong
}

/** Returns what is wrong with what the caller saw. */
function judgeClient(want: Client, { status, fields, body, interim, isComplete, excess }: RawAnswer): string[] {
  const value = (name: string): string => valuesOf(fields, name).join(" | ")
  const wrong: string[] = []
  const statuses = want.status_in ?? (want.status === undefined ? undefined : [want.status])
  if (statuses !== undefined && !statuses.includes(status)) wrong.push(`status is ${status}`)
  for (const name of want.absent ?? [])
    if (value(name) !== "" && value(name) !== OWN_KEEP_ALIVE) wrong.push(`${name} is there: ${value(name)}`)
  for (const [name, text] of Object.entries(want.present ?? {}))
    if (value(name) !== text) wrong.push(`${name} is ${value(name)}, not ${text}`)
  if (want.body !== undefined && body.toString() !== want.body) wrong.push(`body is ${body.toString()}`)
  if (want.body_not_contains !== undefined && body.includes(want.body_not_contains)) wrong.push("body tells")
  if (want.no_body && body.length + excess.length > 0) wrong.push("there is a body")
  if (want.no_interim && interim.length > 0) wrong.push(`interim ${interim.join()}`)
  if (want.interim !== undefined && interim.join() !== want.interim.join())
    wrong.push(`interim ${interim.join() || "none"}`)
  if (want.interim_or_final_before_body && interim.length === 0 && status === 0) wrong.push("nothing before the body")
  if (want.set_cookie_lines !== undefined) expect(valuesOf(fields, "set-cookie")).toEqual(want.set_cookie_lines)
  if (want.connection_error_or_502 && status !== 502 && isComplete) wrong.push("looks complete")
  if (want.content_encoding_consistent && (value("content-encoding") !== "gzip" || !body.equals(GZIP)))
    wrong.push("not the octets of the origin")
  return wrong
}

describe.skipIf(cases === undefined)("exchanges of an intermediary (SEKISHO_CONFORMANCE)", () => {
  test.each((cases ?? []).filter(({ id }) => ELSEWHERE[id] === undefined))("$id", async (one) => {
    const { received, seen } = await play(one)
    const wrong = [
      ...(one.expect_upstream === undefined ? [] : judgeUpstream(one.expect_upstream, seen)),
      ...judgeClient(one.expect_client ?? {}, received),
    ]
    const stricter = STRICTER[one.id]
    if (stricter !== undefined) {
      const { status, code } = received
      expect({ status, code, because: stricter.because, seen }).toEqual({ ...stricter, seen: [] })
    } else if (OPEN[one.id] === undefined) expect(wrong).toEqual([])
    else expect(wrong, `holds, so it is not open: ${OPEN[one.id]}`).not.toEqual([])
  })
})

describe.skipIf(vectors === undefined)("Http11Probe through edge and Worker (SEKISHO_CONFORMANCE)", () => {
  test.each(vectors ?? [])("$id", async (vector) => {
    origin.requests.length = 0
    origin.serve = ({ body, method }, socket) => {
      const head = `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}\r\n\r\n`
      socket.write(Buffer.concat([octets(head), method === "HEAD" ? Buffer.alloc(0) : body]))
    }
    const received = await sendTls(road, payloadOf(vector), { servername: HOST, idleMs: 3_000 })
    const status = received.status === 0 ? undefined : received.status
    const [request, ...more] = origin.requests
    // What is refused reaches no origin, what is answered was one request, and OPTIONS * is the edge's own to answer.
    expect(request === undefined ? "none" : "one").toBe(status === 200 ? "one" : "none")
    expect(more).toEqual([])
    if (status !== undefined) expect(valuesOf(received.fields, "date")).toEqual([expect.stringMatching(IMF_FIXDATE)])
    if (vector.verdict !== null) {
      const verdict = judge(vector.verdict, status, received.isClosed)
      expect(verdict).toSatisfy((text) => (REFUSED_ANYWAY[vector.id] === undefined ? text !== "Fail" : text === "Fail"))
      return
    }
    const { body = "", cookie } = INSPECTED[vector.id] ?? {}
    expect(request?.body.toString() ?? "").toBe(body)
    expect(valuesOf(request?.fields ?? [], "cookie")).toEqual(cookie === undefined ? [] : [cookie])
    expect(request?.fields.filter(([name]) => name.includes("_")) ?? []).toEqual([])
    expect(received.excess.length).toBe(0)
  })
})

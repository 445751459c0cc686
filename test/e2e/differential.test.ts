/**
 * Goal: nobody can tell from a message that it came through the gateway, except by the fields that are listed here.
 * Method: every exchange of a corpus is made twice against the same origin of octets, straight and through edge and Worker;
 * status line, fields and body have to be the same on both sides of the exchange. A seeded random corpus follows
 * (SEKISHO_SEED replays it).
 */
import { createHash } from "node:crypto"
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib"
import fc from "fast-check"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { CHANGED } from "./changed-fields.ts"
import {
  octets,
  sendTcp,
  sendTls,
  startRawOrigin,
  type Line,
  type RawAnswer,
  type RawOrigin,
  type RawRequest,
} from "./raw-http.ts"
import { startRoad, type Road } from "./road.ts"

const NO_LENGTH = "content-length: 0"
const SEED = Number(process.env["SEKISHO_SEED"] ?? 20_261_128)
const RANDOM_EXCHANGES = 150

/** One exchange: what is asked and what is answered. Host and Connection are added to the request. */
interface Exchange {
  readonly name: string
  readonly method?: string
  readonly target?: string
  readonly fields?: readonly string[]
  /** Framed as it stands: with its length or chunks among the fields. */
  readonly body?: string | Buffer
  readonly answer: string | Buffer
}

let origin: RawOrigin
let road: Road

beforeAll(async () => {
  origin = await startRawOrigin()
  road = await startRoad({
    overrides: {
      ORIGINS: { bank: { url: "http://127.0.0.1:9000" }, raw: { url: origin.url } },
      LIMITS: { standard: { rate: "10000/s", burst: 10_000 } },
      ROUTES: [{ prefix: "/", origin: "raw", limits: "standard" }],
    },
  })
})
afterAll(async () => {
  await road?.close()
  await origin?.close()
})

/** Makes an exchange both ways; returns for each what the caller and what the origin saw. */
async function both({ method = "GET", target = "/", fields = [], body = "", answer }: Exchange) {
  const lines = [`${method} ${target} HTTP/1.1`, "Host: localhost", ...fields, "Connection: close", "", ""]
  const message = Buffer.concat([octets(lines.join("\r\n")), octets(body)])
  origin.requests.length = 0
  origin.serve = (_, socket) => void socket.end(octets(answer))
  const straight = await sendTcp(origin.port, message)
  const through = await sendTls(road, message)
  const [asked, forwarded, ...more] = origin.requests
  expect(more).toEqual([])
  return { straight: view(straight, asked), through: view(through, forwarded) }
}

/** Everything that has to be the same, bodies as digests. */
function view(answer: RawAnswer, request: RawRequest | undefined) {
  return {
    request: request && {
      line: `${request.method} ${request.target}`,
      // No length and a length of nothing are the same message; the platform prefers the second.
      fields: remaining(request.fields, Object.values(CHANGED.request).flat()).filter((line) => line !== NO_LENGTH),
      body: digest(request.body),
    },
    answer: {
      line: `${answer.status} ${answer.reason}`,
      fields: remaining(answer.fields, Object.values(CHANGED.answer).flat()),
      body: digest(answer.body),
      isComplete: answer.isComplete,
      excess: answer.excess.length,
    },
  }
}

/**
 * Names are compared without case, lines of different names in no order, and repeated lines as the one list that they are, but
 * for cookies: none of that means anything (RFC 9110 §5.1, §5.3).
 */
function remaining(fields: readonly Line[], changed: readonly string[]): readonly string[] {
  const lines = new Map<string, string[]>()
  for (const [spelling, value] of fields) {
    const name = spelling.toLowerCase()
    if (!changed.includes(name)) lines.set(name, [...(lines.get(name) ?? []), value])
  }
  return [...lines]
    .flatMap(([name, values]) => {
      if (name === "set-cookie") return values.map((value) => `${name}: ${value}`)
      return [`${name}: ${values.join(name === "cookie" ? "; " : ", ")}`]
    })
    .toSorted()
}

function digest(body: Buffer): string {
  return body.length < 100
    ? body.toString("latin1")
    : `${body.length} ${createHash("sha256").update(body).digest("hex")}`
}

const sized = (status: string, body: string | Buffer, ...fields: readonly string[]): Buffer =>
  Buffer.concat([
    octets([`HTTP/1.1 ${status}`, `Content-Length: ${octets(body).length}`, ...fields, "", ""].join("\r\n")),
    octets(body),
  ])
const chunked = (
  status: string,
  chunks: readonly (string | Buffer)[],
  fields: readonly string[] = [],
  end = "0\r\n\r\n",
) =>
  Buffer.concat([
    octets([`HTTP/1.1 ${status}`, "Transfer-Encoding: chunked", ...fields, "", ""].join("\r\n")),
    chunksOf(chunks, end),
  ])
const chunksOf = (chunks: readonly (string | Buffer)[], end = "0\r\n\r\n"): Buffer =>
  Buffer.concat([
    ...chunks.flatMap((chunk) => [octets(`${octets(chunk).length.toString(16)}\r\n`), octets(chunk), octets("\r\n")]),
    octets(end),
  ])
const bare = (status: string, ...fields: readonly string[]): string =>
  [`HTTP/1.1 ${status}`, ...fields, "", ""].join("\r\n")
const patterned = (length: number): Buffer =>
  Buffer.from(Uint8Array.from({ length }, (_, index) => index * 31 + (index >> 8)))

const ALL_OCTETS = patterned(70_000)
const TEXT = "the quick brown fox ".repeat(500)

const CORPUS: readonly Exchange[] = [
  { name: "GET", answer: sized("200 OK", "hello", "Content-Type: text/plain") },
  {
    name: "HEAD with the length of a GET",
    method: "HEAD",
    answer: bare("200 OK", "Content-Length: 1234", 'ETag: "a"'),
  },
  { name: "HEAD without a length", method: "HEAD", answer: bare("200 OK", "Content-Type: text/plain") },
  { name: "OPTIONS", method: "OPTIONS", answer: bare("204 No Content", "Allow: GET, POST") },
  {
    name: "POST with a length",
    method: "POST",
    fields: ["Content-Length: 5"],
    body: "hello",
    answer: sized("201 Created", "", "Location: /x/1"),
  },
  { name: "POST without content", method: "POST", fields: ["Content-Length: 0"], answer: sized("200 OK", "") },
  {
    name: "PUT of octets",
    method: "PUT",
    fields: ["Content-Length: 70000", "Content-Type: application/octet-stream"],
    body: ALL_OCTETS,
    answer: bare("204 No Content"),
  },
  {
    name: "PATCH in chunks",
    method: "PATCH",
    fields: ["Transfer-Encoding: chunked", "Content-Type: application/json"],
    body: chunksOf(["{", '"a":', "1}"]),
    answer: sized("200 OK", "{}"),
  },
  {
    name: "POST in chunks with a trailer",
    method: "POST",
    fields: ["Transfer-Encoding: chunked", "Trailer: X-Sum"],
    body: chunksOf(["abc"], "0\r\nX-Sum: 1\r\n\r\n"),
    answer: sized("200 OK", ""),
  },
  { name: "DELETE", method: "DELETE", answer: bare("204 No Content") },
  {
    name: "DELETE with content",
    method: "DELETE",
    fields: ["Content-Length: 2"],
    body: "{}",
    answer: sized("200 OK", "gone"),
  },
  {
    name: "a megabyte up and down",
    method: "POST",
    fields: ["Content-Length: 1048576"],
    body: patterned(1_048_576),
    answer: sized("200 OK", patterned(1_048_576)),
  },
  { name: "query octets", target: "/a?x=%2f&y=a+b&&z==&%41=%e3%81%82&[]=~!$*(),;:@/?", answer: sized("200 OK", "") },
  { name: "an empty query", target: "/a?", answer: sized("200 OK", "") },
  { name: "an encoded path", target: "/%E3%81%82/a%20b", answer: sized("200 OK", "") },
  { name: "a trailing slash", target: "/a/b/", answer: sized("200 OK", "") },
  {
    name: "gzip",
    fields: ["Accept-Encoding: gzip"],
    answer: sized("200 OK", gzipSync(TEXT), "Content-Encoding: gzip", 'ETag: "s"', "Vary: Accept-Encoding"),
  },
  {
    name: "br",
    fields: ["Accept-Encoding: br"],
    answer: sized("200 OK", brotliCompressSync(TEXT), "Content-Encoding: br"),
  },
  {
    name: "deflate",
    fields: ["Accept-Encoding: deflate"],
    answer: sized("200 OK", deflateSync(TEXT), "Content-Encoding: deflate"),
  },
  {
    name: "an encoding nobody knows",
    fields: ["Accept-Encoding: zstd;q=1, identity;q=0"],
    answer: sized("200 OK", "xyz", "Content-Encoding: x-unknown"),
  },
  {
    name: "gzip in chunks",
    answer: chunked(
      "200 OK",
      [gzipSync(TEXT).subarray(0, 10), gzipSync(TEXT).subarray(10)],
      ["Content-Encoding: gzip"],
    ),
  },
  { name: "what calls itself gzip and is none", answer: sized("200 OK", "plain", "Content-Encoding: gzip") },
  { name: "no Accept-Encoding", answer: sized("200 OK", TEXT, "Content-Type: text/plain") },
  {
    name: "content that says it is encoded, from the caller",
    method: "POST",
    fields: ["Content-Encoding: gzip", `Content-Length: ${gzipSync(TEXT).length}`],
    body: gzipSync(TEXT),
    answer: sized("200 OK", ""),
  },
  {
    name: "a range",
    fields: ["Range: bytes=0-1", 'If-Range: "x"'],
    answer: sized("206 Partial Content", "ab", "Content-Range: bytes 0-1/10"),
  },
  {
    name: "ranges",
    fields: ["Range: bytes=0-1,4-5"],
    answer: sized("206 Partial Content", "--b\r\n\r\nab\r\n--b--", "Content-Type: multipart/byteranges; boundary=b"),
  },
  {
    name: "a range that is none",
    fields: ["Range: bytes=99-"],
    answer: sized("416 Range Not Satisfiable", "", "Content-Range: bytes */10"),
  },
  {
    name: "If-None-Match",
    fields: ['If-None-Match: "a", W/"b"'],
    answer: bare("304 Not Modified", 'ETag: "a"', "Cache-Control: max-age=1"),
  },
  {
    name: "If-Modified-Since",
    fields: ["If-Modified-Since: Wed, 21 Oct 2026 07:28:00 GMT"],
    answer: bare("304 Not Modified", "Last-Modified: Wed, 21 Oct 2026 07:28:00 GMT"),
  },
  {
    name: "If-Match that fails",
    method: "PUT",
    fields: ['If-Match: "a"', "Content-Length: 1"],
    body: "x",
    answer: sized("412 Precondition Failed", "no"),
  },
  { name: "a cookie", fields: ['Cookie: a=1; b="2"; c='], answer: sized("200 OK", "") },
  {
    name: "cookies of the origin",
    answer: sized(
      "200 OK",
      "",
      "Set-Cookie: a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT",
      "Set-Cookie: b=2; Path=/; HttpOnly",
    ),
  },
  {
    name: "credentials",
    fields: ["Authorization: Bearer abc.def"],
    answer: sized("401 Unauthorized", "", 'WWW-Authenticate: Bearer realm="x", error="y"'),
  },
  {
    name: "caching fields",
    fields: ["Cache-Control: no-cache", "Pragma: no-cache"],
    answer: sized("200 OK", "", "Cache-Control: private, max-age=60", "Age: 5", "Expires: 0"),
  },
  { name: "a Date of the past", answer: sized("200 OK", "", "Date: Wed, 21 Oct 2015 07:28:00 GMT") },
  {
    name: "names and values of the edge of the grammar",
    fields: ["X-Empty:", "X-Tab: a\tb", 'X-Quoted: "a,b\\""', "X-Long: " + "v".repeat(4_000)],
    answer: sized("200 OK", "", "X-Empty:", 'X-Quoted: "a,b"', "X-Long: " + "v".repeat(4_000)),
  },
  {
    name: "repeated fields of the answer",
    answer: sized("200 OK", "", "Link: </a>; rel=preload", "Link: </b>; rel=preload"),
  },
  {
    name: "repeated fields of the request",
    fields: ["X-A: 1", "X-B: 2", "x-a: 3", "Cookie: a=1", "Cookie: b=2"],
    answer: sized("200 OK", ""),
  },
  {
    name: "fields that end at a connection",
    fields: ["Keep-Alive: 9", "TE: trailers", "Trailer: X-A"],
    answer: sized("200 OK", ""),
  },
  { name: "a redirect", answer: sized("302 Found", "", "Location: http://elsewhere.example/a?b#c") },
  {
    name: "307 to itself",
    method: "POST",
    fields: ["Content-Length: 1"],
    body: "x",
    answer: sized("307 Temporary Redirect", "", "Location: /"),
  },
  { name: "a status without a name", answer: sized("299 ", "odd") },
  { name: "a reason of its own", answer: sized("200 Fine By Me", "ok") },
  { name: "418", answer: sized("418 I'm a teapot", "short and stout") },
  { name: "451", answer: sized("451 Unavailable For Legal Reasons", "no") },
  { name: "503 with Retry-After", answer: sized("503 Service Unavailable", "later", "Retry-After: 7") },
  { name: "599", answer: sized("599 Custom", "far out") },
  { name: "205", answer: sized("205 Reset Content", "") },
  { name: "chunks", answer: chunked("200 OK", ["a", "bc", TEXT]) },
  { name: "chunks of nothing", answer: chunked("200 OK", []) },
  { name: "chunks with a trailer", answer: chunked("200 OK", ["abc"], ["Trailer: X-Sum"], "0\r\nX-Sum: 1\r\n\r\n") },
  {
    name: "an answer that ends with its connection",
    answer: `${bare("200 OK", "Content-Type: text/plain")}until the end`,
  },
  {
    name: "interim answers",
    answer: Buffer.concat([octets(bare("103 Early Hints", "Link: </a>")), sized("200 OK", "ok")]),
  },
  { name: "hop-by-hop fields of the origin's connection", answer: sized("200 OK", "", "Keep-Alive: timeout=9") },
  {
    name: "server-sent events",
    fields: ["Accept: text/event-stream"],
    answer: chunked("200 OK", ["data: 1\n\n", "data: 2\n\n"], ["Content-Type: text/event-stream"]),
  },
]

test.each(CORPUS)("$name is the same straight and through the gateway", async (exchange) => {
  const { straight, through } = await both(exchange)
  expect(through).toEqual(straight)
})

/** What the platform changes by itself: each is held here, so that a release of it that changes less or more is noticed. */
describe("of the platform's own doing", () => {
  test("an apostrophe in a query is percent-encoded", async () => {
    const { through } = await both({ name: "", target: "/a?x='1'", answer: sized("200 OK", "") })
    expect(through.request?.line).toBe("GET /a?x=%271%27")
  })
})

test.each(["caf\xe9", "caf\xc3\xa9"])("a field of the answer with the octets %j arrives as it was", async (value) => {
  const { through } = await both({ name: "", answer: sized("200 OK", "", `X-Name: ${value}`) })
  expect(through.answer.fields).toEqual(["content-length: 0", `x-name: ${value}`])
})

test.each(["caf\xe9", "caf\xc3\xa9"])(
  "a field of the request with the octets %j is refused, not re-encoded",
  async (value) => {
    const { through } = await both({ name: "", fields: [`X-Name: ${value}`], answer: sized("200 OK", "") })
    expect([through.answer.line, through.request]).toEqual(["400 Bad Request", undefined])
  },
)

const METHOD = fc.constantFrom("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
const NAME = fc.stringMatching(/^x-[a-z0-9]{1,12}$/).filter((name) => !/^x-(?:client|ssl|forwarded)/.test(name))
const VALUE = fc.stringMatching(/^(?:[!-~](?:[ -~]{0,60}[!-~])?)?$/)
const SEGMENT = fc.oneof(fc.stringMatching(/^[A-Za-z0-9_~!$&()*+,=:@-]{1,12}$/), fc.constantFrom("%20", "%E3%81%82"))
const QUERY = fc
  .stringMatching(/^(?:\?[A-Za-z0-9_.~!$&()*+,;=:@/?%-]{0,40})?$/)
  .filter((text) => !/%(?![0-9A-F]{2})/.test(text))
const BODY = fc.uint8Array({ maxLength: 3_000 }).map((body) => Buffer.from(body))
const STATUS = fc.constantFrom(
  "200 OK",
  "201 Created",
  "202 Taken",
  "400 Bad",
  "404 Not Here",
  "409 No",
  "422 ",
  "500 Oops",
  "503 Later",
)
const FIELDS = fc.array(
  fc.tuple(NAME, VALUE).map(([name, value]) => `${name}: ${value}`),
  { maxLength: 6 },
)

const RANDOM: fc.Arbitrary<Exchange> = fc
  .record({
    method: METHOD,
    segments: fc.array(SEGMENT, { maxLength: 4 }),
    query: QUERY,
    fields: FIELDS,
    body: BODY,
    hasChunks: fc.boolean(),
    status: STATUS,
    answerFields: FIELDS,
    answerBody: BODY,
    answerHasChunks: fc.boolean(),
    cut: fc.integer({ min: 0, max: 3_000 }),
  })
  .map((made) => {
    const { method, segments, query, body, hasChunks, status, answerFields, answerBody, answerHasChunks, cut } = made
    const isContentless = method === "GET" || method === "HEAD"
    const pieces = (all: Buffer) => [all.subarray(0, cut), all.subarray(cut)].filter(({ length }) => length > 0)
    const framing = hasChunks ? "Transfer-Encoding: chunked" : `Content-Length: ${body.length}`
    const whole = sized(status, answerBody, ...answerFields)
    return {
      name: "random",
      method,
      target: `/${segments.join("/")}${query}`,
      fields: isContentless ? made.fields : [...made.fields, framing],
      body: isContentless ? "" : hasChunks ? chunksOf(pieces(body)) : body,
      answer:
        method === "HEAD"
          ? whole.subarray(0, whole.indexOf("\r\n\r\n") + 4)
          : answerHasChunks
            ? chunked(status, pieces(answerBody), answerFields)
            : whole,
    }
  })

test(`${RANDOM_EXCHANGES} random exchanges are the same straight and through the gateway (seed ${SEED})`, async () => {
  await fc.assert(
    fc.asyncProperty(RANDOM, async (exchange) => {
      const { straight, through } = await both(exchange)
      expect(through).toEqual(straight)
    }),
    { numRuns: RANDOM_EXCHANGES, seed: SEED },
  )
})

/**
 * Goal: the edge reads an answer of the Worker as its octets say, however these are cut, and nothing that could be read in two ways.
 * Method: answers whole, cut at every place and cut at random; answers with one fault.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { createResponseReader } from "../../edge/response-reader.ts"

/** What a reader made of the parts. */
interface Reading {
  readonly told: readonly (readonly [status: number, reason: string, rawHeaders: readonly string[]])[]
  readonly body: string
  readonly fault: string | undefined
  readonly isComplete: boolean
  readonly isReusable: boolean
  readonly switched: string | undefined
}

function read(parts: readonly string[], { method = "GET", ends = false } = {}): Reading {
  const told: (readonly [number, string, readonly string[]])[] = []
  let body = ""
  const reader = createResponseReader(method, {
    onHead: ({ rawHeaders, reason, status }) => void told.push([status, reason, rawHeaders]),
    onBody: (part) => void (body += part.toString("latin1")),
  })
  let fault: string | undefined
  for (const part of parts) fault ??= reader.read(Buffer.from(part, "latin1"))
  if (ends) fault ??= reader.end()
  const { isComplete, isReusable, switched } = reader
  return { told, body, fault, isComplete, isReusable, switched: switched?.toString("latin1") }
}

const LENGTH = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
const CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\nX-Trailer: 1\r\n\r\n"

describe("createResponseReader()", () => {
  test.each([
    ["a length", LENGTH, "hello"],
    ["chunks and trailers", CHUNKED, "hello!"],
    ["no body", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", ""],
    ["a status without a body", "HTTP/1.1 204 No Content\r\n\r\n", ""],
    ["interim responses before it", `HTTP/1.1 103 Early\r\nLink: x\r\n\r\n${LENGTH}`, "hello"],
  ])("reads an answer with %s, wherever it is cut", (_, octets, body) => {
    for (let cut = 0; cut <= octets.length; cut++) {
      const reading = read([octets.slice(0, cut), octets.slice(cut)])
      expect(reading).toMatchObject({ body, fault: undefined, isComplete: true, isReusable: true })
      expect(reading.told).toHaveLength(1)
    }
  })

  test("reads any body back from any chunks in any cuts", () => {
    const body = fc.array(fc.string({ unit: "binary-ascii", minLength: 1, maxLength: 40 }), { maxLength: 8 })
    fc.assert(
      fc.property(body, fc.array(fc.nat({ max: 400 }), { maxLength: 8 }), (chunks, cuts) => {
        const octets = `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunks
          .map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`)
          .join("")}0\r\n\r\n`
        const places = [0, ...cuts.toSorted((a, b) => a - b), octets.length]
        const parts = places.slice(1).map((place, i) => octets.slice(places[i], place))
        expect(read(parts)).toMatchObject({ body: chunks.join(""), fault: undefined, isComplete: true })
      }),
      { seed: 20261130, numRuns: 500 },
    )
  })

  test("tells status, reason and fields as they are, without the white space around values", () => {
    const { told } = read([
      "HTTP/1.1 207 Multi Status\r\nX-A: \t v w \r\nx-a:\r\nSet-Cookie: \xe9\r\nContent-Length: 0\r\n\r\n",
    ])
    expect(told).toEqual([
      [207, "Multi Status", ["X-A", "v w", "x-a", "", "Set-Cookie", "\xe9", "Content-Length", "0"]],
    ])
  })

  test.each([
    ["HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"],
    ["HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"],
    ["GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"],
  ])("an answer to %s that has no body is complete with its head: %j", (method, octets) => {
    expect(read([octets], { method })).toMatchObject({ isComplete: true, isReusable: true, body: "" })
  })

  test("a body without length ends with its connection, which is not used again", () => {
    const octets = "HTTP/1.1 200 OK\r\n\r\nhello"
    expect(read([octets])).toMatchObject({ isComplete: false, body: "hello" })
    expect(read([octets], { ends: true })).toMatchObject({ isComplete: true, isReusable: false, fault: undefined })
  })

  test.each([
    ["says so", LENGTH.replace("\r\n\r\n", "\r\nConnection: x, Close\r\n\r\n")],
    ["is of HTTP/1.0", LENGTH.replace("/1.1", "/1.0")],
    ["has more octets behind it", `${LENGTH}H`],
    ["is followed by another answer", LENGTH + LENGTH],
  ])("the connection of an answer that %s is not used again", (_, octets) => {
    expect(read([octets])).toMatchObject({ isComplete: true, isReusable: false, body: "hello", fault: undefined })
  })

  test("what follows a 101 is of the other protocol", () => {
    const reading = read(["HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nHTTP/1.1 200"])
    expect(reading).toMatchObject({ switched: "HTTP/1.1 200", isComplete: false, isReusable: false })
    expect(reading.told[0]?.[0]).toBe(101)
  })

  test.each([
    ["both framings", "Content-Length: 1\r\nTransfer-Encoding: chunked"],
    ["both framings, to HEAD too", "Transfer-Encoding: chunked\r\nContent-Length: 1"],
    ["two lengths", "Content-Length: 1\r\nContent-Length: 1"],
    ["a list of lengths", "Content-Length: 1, 1"],
    ["a negative length", "Content-Length: -1"],
    ["a signed length", "Content-Length: +1"],
    ["no length", "Content-Length:"],
    ["a length beyond exact integers", "Content-Length: 9007199254740993"],
    ["another coding", "Transfer-Encoding: gzip, chunked"],
    ["chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"],
    ["a folded line", "X-A: 1\r\n folded"],
    ["a line without colon", "X-A"],
    ["a line without name", ": 1"],
    ["white space before the colon", "Content-Length : 1"],
    ["a bare line feed", "X-A: 1\nContent-Length: 1"],
    ["a bare carriage return", "X-A: 1\rContent-Length: 1"],
    ["a zero octet", "X-A: \0"],
  ])("FRM-01 refuses an answer with %s", (_, lines) => {
    for (const method of ["GET", "HEAD"]) {
      const { fault, told } = read([`HTTP/1.1 200 OK\r\n${lines}\r\n\r\nx`], { method })
      expect([typeof fault, told]).toEqual(["string", []])
    }
  })

  test.each([
    "HTTP/2 200 OK\r\n\r\n",
    "HTTP/1.1 2000 OK\r\n\r\n",
    "HTTP/1.1 200OK\r\n\r\n",
    "HTTP/1.1 099 x\r\n\r\n",
    " HTTP/1.1 200 OK\r\n\r\n",
    "\r\nHTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.1 200 O\rK\r\n\r\n",
  ])("refuses the status line of %j", (octets) => {
    expect(read([octets]).fault).toBe("no status line")
  })

  test.each([
    ["an extension", "5;a=1\r\nhello\r\n0\r\n\r\n"],
    ["white space", " 5\r\nhello\r\n0\r\n\r\n"],
    ["no size", "\r\nhello\r\n0\r\n\r\n"],
    ["a size with a prefix", "0x5\r\nhello\r\n0\r\n\r\n"],
    ["a size beyond exact integers", "00000000000005\r\nhello\r\n0\r\n\r\n"],
    ["more octets than announced", "5\r\nhello!\r\n0\r\n\r\n"],
    ["a bare line feed", "5\nhello, and more of it\n0\n\n"],
  ])("FRM-01 refuses a chunk with %s", (_, body) => {
    const octets = `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${body}`
    expect(read([octets])).toMatchObject({ isComplete: false, fault: expect.any(String) as string })
  })

  test.each([LENGTH, CHUNKED])("FRM-01 an answer that is cut short anywhere is at fault: %j", (octets) => {
    for (let cut = 0; cut < octets.length; cut++)
      expect(read([octets.slice(0, cut)], { ends: true })).toMatchObject({
        isComplete: false,
        fault: expect.any(String) as string,
      })
  })

  test("a header section, a trailer section and interim responses have bounds", () => {
    const long = "x".repeat(16_400)
    const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    expect(read([`HTTP/1.1 200 OK\r\nX-A: ${long}`]).fault).toBe("header section too large")
    expect(read([`HTTP/1.1 200 OK\r\nX-A: ${long}\r\n\r\n`]).fault).toBe("header section too large")
    expect(read([chunked, "X-A: 1234567890\r\n".repeat(1_500)]).fault).toBe("line too long")
    expect(read(["HTTP/1.1 100 Continue\r\n\r\n".repeat(17), LENGTH]).fault).toBe("too many interim responses")
  })
})

/**
 * Goal: whatever an origin does wrong, its caller gets a problem that says so or a transfer that visibly broke, never an answer
 * that looks complete and is not; and the event says which.
 * Method: an origin of octets that misbehaves once a request is whole, on one road. `failures.test.ts` has the parts that die.
 */
import { once } from "node:events"
import type { Socket } from "node:net"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { sendTls, startRawOrigin, valuesOf, type RawAnswer, type RawOrigin } from "./raw-http.ts"
import { startRoad, type Road } from "./road.ts"

const TIMEOUT_MS = 400
const HEAD = "HTTP/1.1 200 OK\r\n"
const REQUEST = "GET /raw/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

let origin: RawOrigin
let road: Road

beforeAll(async () => {
  origin = await startRawOrigin()
  const closed = await startRawOrigin()
  await closed.close()
  road = await startRoad({
    overrides: {
      ORIGINS: {
        bank: { url: "http://127.0.0.1:9000" },
        raw: { url: origin.url, timeout: `${TIMEOUT_MS}ms`, retries: 0 },
        patient: { url: origin.url },
        closed: { url: closed.url },
        timed: { url: origin.url, timeout: `${TIMEOUT_MS}ms`, total_timeout: `${TIMEOUT_MS}ms` },
      },
      LIMITS: { standard: { rate: "1000/s", burst: 1_000 } },
      ROUTES: [
        { prefix: "/raw", origin: "raw", limits: "standard" },
        { prefix: "/patient", origin: "patient", limits: "standard" },
        { prefix: "/timed", origin: "timed", limits: "standard" },
        { prefix: "/closed", origin: "closed", limits: "standard" },
      ],
    },
  })
})
afterAll(async () => {
  await road?.close()
  await origin?.close()
})

/** Asks once while the origin behaves so. */
async function meet(behave: (socket: Socket) => void, request = REQUEST) {
  origin.requests.length = 0
  origin.serve = (_, socket) => behave(socket)
  const answer = await sendTls(road, request)
  return { answer, event: await road.eventOf(valuesOf(answer.fields, "x-request-id")[0] ?? "") }
}

/** What a caller and the record have of an answer. */
const gist = ({ status, code, isComplete }: RawAnswer) => ({ status, code, isComplete })
const UNREACHABLE = { status: 502, code: "origin-unreachable", isComplete: true }
const BROKEN = { status: 200, code: undefined, isComplete: false }

describe("before its header is whole, an origin that", () => {
  test("refuses the connection is a 502", async () => {
    const { answer, event } = await meet(() => {}, REQUEST.replace("/raw", "/closed"))
    expect(gist(answer)).toEqual(UNREACHABLE)
    expect(event).toMatchObject({ outcome: "refused", problem: "origin-unreachable", origin: "closed", level: "error" })
  })

  test.each<readonly [string, (socket: Socket) => void]>([
    ["resets", (socket) => socket.resetAndDestroy()],
    ["closes without a word", (socket) => socket.end()],
    ["breaks off in its header", (socket) => socket.end(`${HEAD}Content-Le`)],
    ["breaks off in its status line", (socket) => socket.end("HTTP/1.1 20")],
    ["speaks no HTTP", (socket) => socket.end("SSH-2.0-OpenSSH_9.9\r\n\r\n")],
    ["speaks HTTP/0.9", (socket) => socket.end("<html>hello</html>")],
    ["sends octets of chance", (socket) => socket.end(Buffer.from([0x16, 3, 1, 0, 255, 13, 10, 13, 10, 0, 0]))],
    ["says two lengths", (socket) => socket.end(`${HEAD}Content-Length: 2\r\nContent-Length: 3\r\n\r\nOK!`)],
    ["says a length that is none", (socket) => socket.end(`${HEAD}Content-Length: 2x\r\n\r\nOK`)],
    ["says a negative length", (socket) => socket.end(`${HEAD}Content-Length: -2\r\n\r\nOK`)],
    ["has a field without a name", (socket) => socket.end(`${HEAD}: x\r\nContent-Length: 2\r\n\r\nOK`)],
    ["has a NUL in a field", (socket) => socket.end(`${HEAD}X-A: a\0b\r\nContent-Length: 2\r\n\r\nOK`)],
    ["has a status that is none", (socket) => socket.end("HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nOK")],
  ])("%s is a 502, once, and the event knows", async (_, behave) => {
    const { answer, event } = await meet(behave)
    expect(gist(answer)).toEqual(UNREACHABLE)
    expect(event).toMatchObject({ outcome: "refused", problem: "origin-unreachable", status: 502, origin: "raw" })
    expect(origin.requests).toHaveLength(1)
  })

  test("switches protocols unasked is a 502 that says so", async () => {
    const head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    const { answer, event } = await meet((socket) => socket.end(head))
    expect(gist(answer)).toEqual({ status: 502, code: "origin-invalid-response", isComplete: true })
    expect(event).toMatchObject({ outcome: "refused", problem: "origin-invalid-response", reason: "status_101" })
  })

  test.each<readonly [string, (socket: Socket) => void]>([
    ["says nothing", () => {}],
    ["sends half a header and waits", (socket) => socket.write(`${HEAD}X-A: 1\r\n`)],
    [
      "sends fields without end, one after another",
      (socket) => {
        socket.write(HEAD)
        const timer = setInterval(() => socket.write("X-More: 1\r\n"), 20)
        socket.on("close", () => clearInterval(timer))
      },
    ],
    ["sends interim answers and no final one", (socket) => socket.write("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(3))],
  ])("%s is a 504 at the deadline", async (_, behave) => {
    const { answer, event } = await meet(behave)
    expect(gist(answer)).toEqual({ status: 504, code: "origin-timeout", isComplete: true })
    expect(event).toMatchObject({
      outcome: "refused",
      problem: "origin-timeout",
      reason: `no_answer_in_${TIMEOUT_MS}_ms`,
    })
  })

  test("pours a header without end is a 502, and nobody waits for the deadline", async () => {
    const { answer, event } = await meet((socket) => {
      const pour = (): void => {
        while (socket.writable && socket.write(`X-More: ${"x".repeat(8_000)}\r\n`));
      }
      socket.on("drain", pour)
      socket.write(HEAD)
      pour()
    })
    expect(gist(answer)).toEqual(UNREACHABLE)
    expect(event).toMatchObject({ problem: "origin-unreachable" })
  })
})

describe("inside its body, an origin that", () => {
  test.each<readonly [string, (socket: Socket) => void]>([
    ["sends less than its length", (socket) => socket.end(`${HEAD}Content-Length: 100\r\n\r\nabc`)],
    ["sends nothing of its length", (socket) => socket.end(`${HEAD}Content-Length: 100\r\n\r\n`)],
    [
      "resets",
      (socket) =>
        socket.write(`${HEAD}Content-Length: 100\r\n\r\nabc`, () => setTimeout(() => socket.resetAndDestroy(), 20)),
    ],
    ["leaves out its last chunk", (socket) => socket.end(`${HEAD}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n`)],
    ["breaks off inside a chunk", (socket) => socket.end(`${HEAD}Transfer-Encoding: chunked\r\n\r\na\r\nabc`)],
    [
      "has a chunk size that is none",
      (socket) => socket.end(`${HEAD}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\nabc\r\n0\r\n\r\n`),
    ],
    [
      "has a chunk that is longer than it says",
      (socket) => socket.end(`${HEAD}Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n`),
    ],
  ])("%s breaks the caller's transfer, and the next request is answered", async (_, behave) => {
    const { answer, event } = await meet(behave)
    expect(gist(answer)).toEqual(BROKEN)
    expect(event).toMatchObject({ outcome: "forwarded", status: 200, origin: "raw" })
    const next = await meet((socket) => socket.end(`${HEAD}Content-Length: 4\r\n\r\nnext`))
    expect([next.answer.status, next.answer.body.toString()]).toEqual([200, "next"])
  })

  test("sends more than its length is cut at it, and the rest answers nobody", async () => {
    const forged = `${HEAD}Content-Length: 6\r\n\r\nforged`
    const { answer } = await meet((socket) => socket.write(`${HEAD}Content-Length: 2\r\n\r\nOK${forged}`))
    expect([answer.body.toString(), answer.isComplete, answer.excess.length]).toEqual(["OK", true, 0])
    const next = await meet((socket) => socket.end(`${HEAD}Content-Length: 4\r\n\r\nnext`))
    expect(next.answer.body.toString()).toBe("next")
  })

  test("is slow is waited for: the deadline is one of the header", async () => {
    const { answer } = await meet((socket) => {
      socket.write(`${HEAD}Content-Length: 6\r\n\r\nabc`)
      setTimeout(() => socket.end("def"), TIMEOUT_MS + 100)
    })
    expect([answer.body.toString(), answer.isComplete]).toEqual(["abcdef", true])
  })

  test.each([
    ["with a length", "Content-Length: 6\r\n\r\nabc"],
    ["in chunks", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"],
  ])("PRX-11 %s is not done by total_timeout breaks the caller's transfer, and its call ends", async (_, begun) => {
    const ended = Promise.withResolvers<void>()
    const { answer } = await meet(
      (socket) => {
        socket.once("close", () => ended.resolve())
        socket.write(`${HEAD}${begun}`)
      },
      REQUEST.replace("/raw", "/timed"),
    )
    expect(gist(answer)).toEqual(BROKEN)
    await ended.promise
  })

  test("answers HEAD with a body has it cut off", async () => {
    const { answer } = await meet(
      (socket) => socket.end(`${HEAD}Content-Length: 3\r\n\r\nabc`),
      REQUEST.replace("GET", "HEAD"),
    )
    expect([answer.status, answer.excess.length, valuesOf(answer.fields, "content-length")]).toEqual([200, 0, ["3"]])
  })

  test.each(["204 No Content", "304 Not Modified"])("answers %s with a body has it cut off", async (status) => {
    const { answer } = await meet((socket) => socket.end(`HTTP/1.1 ${status}\r\n\r\nHTTP/1.1 200 OK\r\n\r\n`))
    expect([`${answer.status} ${answer.reason}`, answer.excess.length]).toEqual([status, 0])
  })
})

test("an origin that flaps is answered for as it is, request by request", async () => {
  const statuses: number[] = []
  for (let index = 0; index < 8; index++) {
    const { answer } = await meet((socket) =>
      index % 2 === 0 ? socket.end(`${HEAD}Content-Length: 2\r\n\r\nOK`) : socket.resetAndDestroy(),
    )
    statuses.push(answer.status)
    expect(answer.isComplete).toBe(true)
  }
  expect(statuses).toEqual([200, 502, 200, 502, 200, 502, 200, 502])
})

test("an answer cannot bring a line of its own into the caller's header", async () => {
  const { answer } = await meet((socket) => socket.end(`${HEAD}X-A: a\rSet-Cookie: b=1\r\nContent-Length: 2\r\n\r\nOK`))
  expect(valuesOf(answer.fields, "set-cookie")).toEqual([])
})

test("a caller that leaves before the answer is a 499 on the record, and its origin is left, too", async () => {
  let leave: (socket: Socket) => void
  const arrived = new Promise<Socket>((done) => (leave = done))
  origin.serve = (_, socket) => leave(socket)
  const request = REQUEST.replace("/raw", "/patient").replace("Connection", "X-Request-Id: leaves-early\r\nConnection")
  await sendTls(road, request, { until: arrived })
  const socket = await arrived
  if (!socket.closed) await once(socket, "close")
  expect(await road.eventOf("leaves-early")).toMatchObject({ outcome: "aborted", status: 499, reason: "client_gone" })
})

/**
 * Goal: bodies are streams. Who reads slowly slows the sender down instead of filling the gateway, nothing of a body is lost for
 * it, and a caller that leaves in the middle of its own body ends the call of the origin.
 * Method: an origin that reads and writes when it is told to, far more octets than any buffer on the road holds, and a look at
 * how many of them were taken once nothing moves any more.
 */
import { once } from "node:events"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { request as startRequest } from "node:https"
import type { Writable } from "node:stream"
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest"
import { startRoad, type Road } from "./road.ts"

const TOTAL_BYTES = 128 * 1_048_576
const PART = Buffer.alloc(65_536, "x")
/** Nothing moves any more when nothing has moved for so long. */
const STILL_MS = 1_000

let serve: (request: IncomingMessage, response: ServerResponse) => void
let origin: Server
let road: Road

beforeAll(async () => {
  origin = createServer((request, response) => serve(request, response))
  origin.listen(0, "127.0.0.1")
  await once(origin, "listening")
  road = await startRoad({
    overrides: {
      ORIGINS: {
        bank: { url: "http://127.0.0.1:9000" },
        slow: { url: `http://127.0.0.1:${(origin.address() as AddressInfo).port}`, timeout: "60s" },
      },
      LIMITS: { standard: { rate: "100/s", burst: 100 } },
      ROUTES: [{ prefix: "/", origin: "slow", limits: "standard", max_request_bytes: "1GiB" }],
    },
  })
})
beforeEach(() => {
  serve = () => {
    throw new Error("the test says what the origin does")
  }
})
afterAll(async () => {
  await road?.close()
  origin?.closeAllConnections()
  origin?.close()
})

/** Octets on their way into a stream. */
class Pouring {
  taken = 0
  readonly ended: Promise<void>

  constructor(stream: Writable) {
    this.ended = this.#pour(stream)
    this.ended.catch(() => {})
  }

  async #pour(stream: Writable): Promise<void> {
    while (this.taken < TOTAL_BYTES) {
      const isRoomLeft = stream.write(PART)
      this.taken += PART.length
      if (!isRoomLeft) await once(stream, "drain")
    }
    stream.end()
  }

  /** Resolves with the octets taken, once no more are. */
  async still(): Promise<number> {
    for (;;) {
      const before = this.taken
      const ended = this.ended.then(() => true)
      const rest = new Promise<false>((done) => setTimeout(() => done(false), STILL_MS))
      if ((await Promise.race([ended, rest])) || this.taken === before) return this.taken
    }
  }
}

async function open(method: string) {
  return startRequest(`${road.url}/x`, { ...(await road.identity("acme")), method })
}

describe("a slow reader", () => {
  test("of an answer holds the origin up, and gets all of it in the end", async () => {
    const pouring = new Promise<Pouring>((resolve) => {
      serve = (_, response) => {
        response.writeHead(200, { "Content-Length": TOTAL_BYTES })
        resolve(new Pouring(response))
      }
    })
    const request = (await open("GET")).end()
    const [answer] = (await once(request, "response")) as [IncomingMessage]
    const taken = await (await pouring).still()
    expect(taken).toBeLessThan(TOTAL_BYTES / 4)
    let received = 0
    answer.on("data", (part: Buffer) => (received += part.length))
    await once(answer, "end")
    expect(received).toBe(TOTAL_BYTES)
  })

  test("of a request holds its caller up, and gets all of it in the end", async () => {
    const arrived = new Promise<readonly [IncomingMessage, ServerResponse]>((resolve) => {
      serve = (request, response) => resolve([request, response])
    })
    const request = await open("POST")
    const pouring = new Pouring(request)
    const [upload, response] = await arrived
    const taken = await pouring.still()
    expect(taken).toBeLessThan(TOTAL_BYTES / 4)
    let received = 0
    upload.on("data", (part: Buffer) => (received += part.length))
    await once(upload, "end")
    response.end(String(received))
    const [answer] = (await once(request, "response")) as [IncomingMessage]
    expect(Buffer.concat(await answer.toArray()).toString()).toBe(String(TOTAL_BYTES))
  })
})

test("PRX-21 a caller that leaves in the middle of its body ends the call of the origin, and leaves its event", async () => {
  const arrived = new Promise<IncomingMessage>((resolve) => {
    serve = (request) => resolve(request)
  })
  const request = await open("POST")
  request.on("error", () => {})
  request.write(PART)
  const upload = await arrived
  upload.resume()
  const left = once(upload, "error")
  request.destroy()
  await left
  expect(upload.complete).toBe(false)
  const event = await vi.waitUntil(() => road.events.find(({ reason }) => reason === "client_gone"))
  expect(event).toMatchObject({ status: 499, client_id: "acme", outcome: "aborted" })
})

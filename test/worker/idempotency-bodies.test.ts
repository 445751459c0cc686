/**
 * Goal: no body is waited for without end, and an answer that is not kept still arrives whole. Method: streams that the test
 * feeds, and timers that it moves.
 */
import { afterEach, beforeEach, expect, test, vi } from "vitest"
import { IDEMPOTENCY_ANSWER_TIMEOUT_MS, IDEMPOTENCY_REQUEST_TIMEOUT_MS } from "../../src/core/bounds.ts"
import { holdAnswer, unpackAnswer } from "../../src/idempotency/answer.ts"
import { readRequestBody } from "../../src/idempotency/request-body.ts"
import { createKeyed } from "./keyed.ts"

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })
})
afterEach(() => {
  vi.useRealTimers()
})

const encoder = new TextEncoder()

/** A body that comes when the test says so. */
function createFed() {
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined
  const stream = new ReadableStream<Uint8Array>({ start: (own) => void (controller = own) })
  return {
    stream,
    push: (text: string) => controller?.enqueue(encoder.encode(text)),
    end: () => controller?.close(),
    fail: () => controller?.error(new Error("reset")),
  }
}

const post = (body: ReadableStream<Uint8Array>): Request => new Request("http://gw.test/pay", { method: "POST", body })

test("a request body that does not come to its end is given up", async () => {
  const { push, stream } = createFed()
  push("half")
  const reading = readRequestBody(post(stream), 100)
  await vi.advanceTimersByTimeAsync(IDEMPOTENCY_REQUEST_TIMEOUT_MS)
  expect(await reading).toEqual({ ok: false, reason: "late" })
})

test("a request body that breaks off is none", async () => {
  const { fail, push, stream } = createFed()
  push("half")
  const reading = readRequestBody(post(stream), 100)
  fail()
  expect(await reading).toEqual({ ok: false, reason: "broken_off" })
})

test("a request body of exactly the bound is read whole, in pieces", async () => {
  const { end, push, stream } = createFed()
  const reading = readRequestBody(post(stream), 4)
  push("ab")
  push("cd")
  end()
  expect(await reading).toEqual({ ok: true, octets: encoder.encode("abcd") })
})

test.each([true, false])(
  "an answer whose body takes too long streams on, every octet of it (length announced: %s)",
  async (isAnnounced) => {
    const { end, push, stream } = createFed()
    push("first;")
    const headers = { "X-Kept": "1", ...(isAnnounced ? { "Content-Length": "18" } : {}) }
    const holding = holdAnswer(new Response(stream, { status: 201, headers }))
    await vi.advanceTimersByTimeAsync(IDEMPOTENCY_ANSWER_TIMEOUT_MS)
    const held = await holding
    if (held.kind !== "streaming") throw new Error(held.kind)
    expect([held.response.status, held.response.headers.get("x-kept")]).toEqual([201, "1"])
    const text = held.response.text()
    push("second;")
    push("third")
    end()
    expect(await text).toBe("first;second;third")
    await held.delivered
  },
)

test("an answer that streams on and breaks off does not look complete", async () => {
  const { fail, push, stream } = createFed()
  push("first;")
  const holding = holdAnswer(new Response(stream))
  await vi.advanceTimersByTimeAsync(IDEMPOTENCY_ANSWER_TIMEOUT_MS)
  const held = await holding
  if (held.kind !== "streaming") throw new Error(held.kind)
  const text = held.response.text()
  fail()
  await expect(text).rejects.toThrow()
  await held.delivered
})

test("an answer that is whole in time is packed, and leaves no timer behind", async () => {
  const held = await holdAnswer(new Response("a\nb", { status: 202, headers: { ETag: '"1"', "Set-Cookie": "a=1" } }))
  if (held.kind !== "whole") throw new Error(held.kind)
  expect([await held.response.text(), vi.getTimerCount()]).toEqual(["a\nb", 0])
  const action = createKeyed().config.routes[0]?.action
  if (action?.kind !== "forward") throw new Error("no messages")
  const again = unpackAnswer(held.octets, action.messages)
  expect([again?.status, again?.headers.get("etag"), again?.headers.get("set-cookie"), await again?.text()]).toEqual([
    202,
    '"1"',
    null,
    "a\nb",
  ])
  for (const broken of ["", "no head", '{"version":2}\nx'])
    expect(unpackAnswer(encoder.encode(broken), action.messages)).toBeUndefined()
})

/**
 * Goal: whatever callers, origins and ledgers do, a request under a key reaches the origin once, its repeats get the first answer
 * and nobody gets another's. Method: the attacks IDM-01 to IDM-09 and what lies between them, against the real ledger, an origin
 * that misbehaves on request, and a count of what reached it.
 */
import { abortAllDurableObjects } from "cloudflare:test"
import { env } from "cloudflare:workers"
import { afterEach, describe, expect, test, vi } from "vitest"
import { IdempotencyLedger } from "../../durable-objects/idempotency-ledger.ts"
import { IDEMPOTENCY_ANSWER_BYTES_MAX, IDEMPOTENCY_REQUEST_BYTES_MAX } from "../../src/core/bounds.ts"
import type { ProblemDocument } from "../../src/core/problem.ts"
import { createKeyed, KEY, pay, RECORD_KEY, RECORD_KEY_2 } from "./keyed.ts"
import {
  ask,
  eventOf,
  expectRefusal,
  fieldValues,
  writtenLines,
  type RequestParts,
  type TestGateway,
} from "./harness.ts"

afterEach(() => {
  vi.useRealTimers()
})

/** Lets the clocks of gateway and ledger go on; what waits for timers of the platform is not touched. */
function pass(ms: number): void {
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + ms })
}

async function codeOf(response: Response): Promise<string> {
  return (await response.json<ProblemDocument>()).code
}

/** Sends a request and returns its status and, of a refusal, its code. */
async function outcomeOf(gateway: TestGateway, parts: RequestParts): Promise<readonly [number, string?]> {
  const response = await gateway.fetch(parts)
  const isProblem = response.headers.get("content-type") === "application/problem+json"
  return isProblem ? [response.status, await codeOf(response)] : [response.status]
}

describe("a key", () => {
  test("IDM-01 is asked for where the route needs one, of methods that change something", async () => {
    const gateway = createKeyed()
    const exchanged = await gateway.send(pay({ key: null }))
    await expectRefusal(gateway, exchanged, {
      status: 400,
      code: "idempotency-key-required",
      reason: "idempotency_key_missing",
    })
    expect(await outcomeOf(gateway, { target: "/pay", method: "GET" })).toEqual([200])
  })

  test("is passed on and ignored on safe methods, however it is written", async () => {
    const gateway = createKeyed()
    for (const _ of [1, 2])
      await gateway.fetch({ target: "/pay", method: "GET", headers: { "Idempotency-Key": "unquoted" } })
    const requests = await gateway.originRequests()
    expect(requests.map((request) => fieldValues(request, "idempotency-key"))).toEqual([["unquoted"], ["unquoted"]])
  })

  test("is optional where the route says so, and counts where it is sent", async () => {
    const gateway = createKeyed({ idempotency: "optional" })
    const { event, response } = await gateway.send(pay({ key: null }))
    expect([response.status, event.idempotency]).toEqual([200, undefined])
    await gateway.fetch(pay())
    expect((await gateway.send(pay())).event.idempotency).toBe("replayed")
    expect(await gateway.originRequests()).toHaveLength(2)
  })

  test.each(["k1", '""', '"a";x=1', '"aé"', '"a\u0001"', ":YWJj:", "?1", `"${"k".repeat(10_240)}"`])(
    "IDM-06 IDM-07 %j is refused and reaches neither ledger nor origin",
    async (key) => {
      const gateway = createKeyed()
      const reserve = vi.spyOn(IdempotencyLedger.prototype, "reserve")
      const exchanged = await gateway.send(pay({ key }))
      const { status } = exchanged.response
      // What no field may hold at all is refused before anybody asks what it means.
      const code = await codeOf(exchanged.response.clone())
      expect([status, ["idempotency-key-invalid", "malformed-header"].includes(code)]).toEqual([400, true])
      expect(reserve).not.toHaveBeenCalled()
      expect(await gateway.originRequests()).toEqual([])
      if (key.length > 10) expect(writtenLines().join("")).not.toContain(key.slice(1, 20))
    },
  )

  test.each(['"a","b"', '"a'])("IDM-07 %j, which may be two fields, is refused as a repeated one", async (key) => {
    const gateway = createKeyed()
    expect(await outcomeOf(gateway, pay({ key }))).toEqual([400, "duplicate-header"])
  })

  test("IK-9 may come unquoted and in another field where the route says so", async () => {
    const gateway = createKeyed({ idempotency: { header: "x-idempotency-key", unquoted: true } })
    const send = (key: string) => gateway.send(pay({ key: null, headers: { "X-Idempotency-Key": key } }))
    expect((await send("abc-1")).event.idempotency).toBe("completed")
    expect((await send('"abc-1"')).event.idempotency).toBe("replayed")
    // The field of the draft means nothing here.
    expect(await outcomeOf(gateway, pay())).toEqual([400, "idempotency-key-required"])
  })
})

describe("a repeat", () => {
  test("IDM-02 gets the first answer, octet for octet, and a request id of its own", async () => {
    const gateway = createKeyed()
    const first = await gateway.send(pay())
    const second = await gateway.send(pay())
    const bodies = await Promise.all([first, second].map(({ response }) => response.text()))
    expect(bodies[1]).toBe(bodies[0])
    expect([first.response.status, second.response.status]).toEqual([200, 200])
    expect([first, second].map(({ response }) => response.headers.get("idempotency-replayed"))).toEqual([null, "true"])
    expect(second.response.headers.get("content-type")).toBe(first.response.headers.get("content-type"))
    expect(second.response.headers.get("etag")).toBe('"1"')
    expect(second.response.headers.get("x-request-id")).not.toBe(first.response.headers.get("x-request-id"))
    expect([first.event, second.event]).toMatchObject([
      { idempotency: "completed", outcome: "forwarded" },
      { idempotency: "replayed", outcome: "answered", status: 200 },
    ])
    expect(await gateway.originRequests()).toHaveLength(1)
  })

  test("is limited like any request, and says so", async () => {
    const gateway = createKeyed({}, { LIMITS: { generous: { rate: "1/d", burst: 2 } } })
    await gateway.fetch(pay())
    expect((await gateway.fetch(pay())).headers.get("ratelimit")).toMatch(/r=0/)
    expect(await outcomeOf(gateway, pay())).toEqual([429, "rate-limited"])
  })

  test.each([400, 401, 404, 409, 422, 500])("IK-3 gets the error %d that the first one got", async (status) => {
    const gateway = createKeyed()
    const parts = pay({ target: `/pay/answer?status=${status}` })
    expect([(await gateway.fetch(parts)).status, (await gateway.fetch(parts)).status]).toEqual([status, status])
    expect(await gateway.originRequests()).toHaveLength(1)
  })

  test.each(["204", "304"])("gets an answer without content, such as %s", async (name) => {
    const gateway = createKeyed()
    const parts = pay({ target: `/pay/${name}` })
    const statuses = [(await gateway.fetch(parts)).status, (await gateway.fetch(parts)).status]
    expect(statuses).toEqual([Number(name), Number(name)])
  })

  test("gets an encoded answer as it was encoded", async () => {
    const gateway = createKeyed()
    const parts = pay({ target: "/pay/gzip" })
    const [first, second] = [await gateway.fetch(parts), await gateway.fetch(parts)]
    expect(second.headers.get("content-encoding")).toBe("gzip")
    expect(await second.text()).toBe(await first.text())
  })

  test("gets no cookie of the first exchange", async () => {
    const gateway = createKeyed()
    const parts = pay({ target: "/pay/cookies" })
    const [first, second] = [await gateway.fetch(parts), await gateway.fetch(parts)]
    expect([first.headers.getSetCookie().length, second.headers.getSetCookie().length]).toEqual([2, 0])
  })

  test("gets the fields that the route sets, and the word about web origins that is due to it", async () => {
    const gateway = createKeyed({
      response_headers: { set: { "x-env": "prod" } },
      security_headers: true,
      cors: { origins: ["https://app.test"] },
    })
    await gateway.fetch(pay())
    const { headers } = await gateway.fetch(pay({ headers: { Origin: "https://app.test" } }))
    expect(Object.fromEntries(headers)).toMatchObject({
      "idempotency-replayed": "true",
      "x-env": "prod",
      "referrer-policy": "no-referrer",
      "access-control-allow-origin": "https://app.test",
    })
    const stranger = pay({ headers: { Origin: "https://evil.test" } })
    expect(await outcomeOf(gateway, stranger)).toEqual([403, "origin-not-allowed"])
  })

  test.each(["optimistic", "reserve"])("is neither a failure nor a success for a guard that is %s", async (mode) => {
    const gateway = createKeyed(
      { guard: "credentials" },
      {
        GUARDS: {
          credentials: {
            max_failures: 2,
            failure_duration: "1h",
            in_flight: mode,
            backoff: { kind: "lineal", duration: "1h" },
          },
        },
      },
    )
    const wrong = pay({ target: "/pay/answer?status=401" })
    await gateway.fetch(pay({ key: '"right"' }))
    const statuses: number[] = []
    for (const parts of [wrong, wrong, wrong, pay({ key: '"right"' })])
      statuses.push((await gateway.fetch(parts)).status)
    expect(statuses).toEqual([401, 401, 401, 200])
    // The success of before the failure was repeated, and has cleared nothing: one more failure blocks.
    const other = pay({ target: "/pay/answer?status=401", key: '"other"' })
    expect((await gateway.fetch(other)).status).toBe(401)
    expect(await outcomeOf(gateway, wrong)).toEqual([429, "client-blocked"])
  })

  test("no origin can say that its answer is a repeated one", async () => {
    const gateway = createKeyed()
    const { headers } = await gateway.fetch(pay({ target: "/pay/answer?idempotency-replayed=true" }))
    expect(headers.get("idempotency-replayed")).toBeNull()
  })

  const VARIANTS: Readonly<Record<string, Parameters<typeof pay>[0]>> = {
    "another body": { body: '{"amount":2}' },
    "one octet more": { body: '{"amount":1} ' },
    "no body": { body: null },
    "another path": { target: "/pay/x" },
    "another method": { method: "PATCH" },
    "another query": { target: "/pay?x=1" },
    "an empty query": { target: "/pay?" },
    "another content type": { headers: { "Content-Type": "text/plain" } },
    "another host": { host: "a.test" },
  }
  test.each(Object.keys(VARIANTS))("IDM-03 IK-5 with %s is another request", async (name) => {
    const gateway = createKeyed()
    await gateway.fetch(pay())
    const { event, response } = await gateway.send(pay(VARIANTS[name]))
    expect([response.status, await codeOf(response), event.idempotency]).toEqual([
      422,
      "idempotency-key-reused",
      "mismatch",
    ])
    expect(JSON.stringify(event)).not.toContain("amount")
    expect(await gateway.originRequests()).toHaveLength(1)
  })

  test("IDM-04 IK-4 of another client is a request of its own", async () => {
    const gateway = createKeyed()
    const [a, b] = [await gateway.fetch(pay()), await gateway.fetch(pay({ cert: "acme-b" }))]
    expect([a.status, b.status, b.headers.get("idempotency-replayed")]).toEqual([200, 200, null])
    expect(await b.text()).not.toBe(await a.text())
    expect(await gateway.originRequests()).toHaveLength(2)
  })

  test("after the time to live is a new request", async () => {
    const gateway = createKeyed({ idempotency: { ttl: "1h" } })
    await gateway.fetch(pay())
    pass(3_600_000 - 5_000)
    expect((await gateway.send(pay())).event.idempotency).toBe("replayed")
    pass(10_000)
    expect((await gateway.send(pay())).event.idempotency).toBe("completed")
  })
})

describe("while the first request is in progress", () => {
  test("a repeat is told when to come again, and another request under the key that it is another one", async () => {
    const gateway = createKeyed()
    const parts = pay({ target: "/pay/answer?wait=1" })
    const first = gateway.open(parts)
    await vi.waitUntil(async () => (await gateway.originRequests()).length === 1)
    const { event, response } = await gateway.send(parts)
    expect([response.status, response.headers.get("retry-after"), event.idempotency]).toEqual([409, "1", "in-progress"])
    expect(await codeOf(response)).toBe("idempotency-in-progress")
    expect(await outcomeOf(gateway, { ...parts, body: "{}" })).toEqual([422, "idempotency-key-reused"])
    await ask(`release/${gateway.name}`)
    expect((await first).status).toBe(200)
    expect(await outcomeOf(gateway, parts)).toEqual([200])
    expect(await gateway.originRequests()).toHaveLength(1)
  })

  test("IDM-05 IK-7 of 50 requests at once exactly one reaches the origin", async () => {
    const gateway = createKeyed()
    const parts = pay({ target: "/pay/answer?wait=1" })
    const answers: (readonly [status: number, retryAfter: string | null])[] = []
    const all = Array.from({ length: 50 }, async () => {
      const response = await gateway.open(parts)
      answers.push([response.status, response.headers.get("retry-after")])
    })
    // The 49 are answered while the one is still at the origin.
    await vi.waitUntil(() => answers.length === 49, { timeout: 10_000 })
    expect(answers.filter(([status, retryAfter]) => status === 409 && retryAfter === "1")).toHaveLength(49)
    await ask(`release/${gateway.name}`)
    await Promise.all(all)
    expect(answers.at(-1)).toEqual([200, null])
    expect(await gateway.originRequests()).toHaveLength(1)
  })

  test("a caller that leaves does not end it: the answer is there for the repeat", async () => {
    const gateway = createKeyed()
    const left = new AbortController()
    const parts = pay({ target: "/pay/answer?wait=1" })
    const first = gateway.open({ ...parts, signal: left.signal })
    await vi.waitUntil(async () => (await gateway.originRequests()).length === 1)
    left.abort()
    await ask(`release/${gateway.name}`)
    expect((await first).status).toBe(200)
    expect((await gateway.send(parts)).event.idempotency).toBe("replayed")
    expect(await gateway.originRequests()).toMatchObject([{ isAborted: false }])
  })
})

describe("an attempt whose end is not known", () => {
  test.each(["reset", "garbage"])("IDM-08 because of an origin that answers %s is indeterminate", async (name) => {
    const gateway = createKeyed()
    const parts = pay({ target: `/pay/${name}` })
    const { event, response } = await gateway.send(parts)
    expect([response.status, event.idempotency]).toEqual([502, "indeterminate"])
    const again = await gateway.send(parts)
    expect([again.response.status, await codeOf(again.response)]).toEqual([409, "idempotency-indeterminate"])
    expect(again.event).toMatchObject({ idempotency: "indeterminate", reason: "idempotency_outcome_unknown" })
    expect(await gateway.originRequests()).toHaveLength(1)
  })

  test("because of an origin that is silent is indeterminate", async () => {
    const gateway = createKeyed({}, { timeout: "50ms" })
    const parts = pay({ target: "/pay/silent" })
    expect(await outcomeOf(gateway, parts)).toEqual([504, "origin-timeout"])
    expect(await outcomeOf(gateway, parts)).toEqual([409, "idempotency-indeterminate"])
    expect(await gateway.originRequests()).toHaveLength(1)
  })

  test.each([502, 503, 504])(
    "because of a balancer that answers %d for the origin is indeterminate",
    async (status) => {
      const gateway = createKeyed()
      const parts = pay({ target: `/pay/answer?status=${status}` })
      expect((await gateway.fetch(parts)).status).toBe(status)
      expect(await outcomeOf(gateway, parts)).toEqual([409, "idempotency-indeterminate"])
    },
  )

  test.each(["short", "unfinished"])(
    "because its answer breaks off (%s) is indeterminate, and no part of it leaves",
    async (name) => {
      const gateway = createKeyed()
      const parts = pay({ target: `/pay/${name}` })
      expect(await outcomeOf(gateway, parts)).toEqual([502, "origin-invalid-response"])
      expect(await outcomeOf(gateway, parts)).toEqual([409, "idempotency-indeterminate"])
    },
  )

  test("is followed by another one where the origin is declared idempotent", async () => {
    const gateway = createKeyed({ idempotency: { origin_idempotent: true } })
    const parts = pay({ target: "/pay/reset" })
    for (const _ of [1, 2]) expect(await outcomeOf(gateway, parts)).toEqual([502, "origin-unreachable"])
    expect(await outcomeOf(gateway, { ...parts, body: "{}" })).toEqual([422, "idempotency-key-reused"])
    expect(await gateway.originRequests()).toHaveLength(2)
  })
})

describe("an attempt that did nothing frees its key", () => {
  test("because the breaker is open", async () => {
    const gateway = createKeyed({}, { breaker: { failures: 1, window: "10s", open: "10s" } })
    await gateway.fetch(pay({ target: "/pay/reset", key: '"other"' }))
    const refused = await gateway.send(pay())
    expect([refused.event.reason, refused.event.idempotency]).toEqual(["breaker_open", "released"])
    pass(11_000)
    expect((await gateway.send(pay())).event.idempotency).toBe("completed")
  })

  test("because the binding of the origin is missing", async () => {
    const gateway = createKeyed({}, { binding: "NONE" })
    for (const _ of [1, 2]) {
      const { event } = await gateway.send(pay())
      expect([event.reason, event.idempotency]).toEqual(["binding_missing NONE", "released"])
    }
  })

  test("because the origin has a limit of its own: 429", async () => {
    const gateway = createKeyed()
    const parts = pay({ target: "/pay/answer?status=429" })
    for (const _ of [1, 2]) expect((await gateway.send(parts)).event.idempotency).toBe("released")
    expect(await gateway.originRequests()).toHaveLength(2)
  })
})

describe("sizes", () => {
  test.each([true, false])("a body that is too large is refused, announced: %s", async (isAnnounced) => {
    const gateway = createKeyed({ max_request_bytes: "10MiB" })
    const octets = new Uint8Array(IDEMPOTENCY_REQUEST_BYTES_MAX + 1)
    const body = isAnnounced ? octets : new Blob([octets]).stream()
    const { event, response } = await gateway.send(pay({ body }))
    expect([response.status, await codeOf(response)]).toEqual([413, "body-too-large"])
    expect(event.reason).toBe(isAnnounced ? "content_length" : "chunked")
    expect(await gateway.originRequests()).toEqual([])
  })

  test("the limit of the route holds where it is lower", async () => {
    const gateway = createKeyed({ max_request_bytes: "4B" })
    expect(await outcomeOf(gateway, pay())).toEqual([413, "body-too-large"])
  })

  test("a chunked body arrives whole", async () => {
    const gateway = createKeyed()
    const text = "x".repeat(200_000)
    expect((await gateway.fetch(pay({ body: new Blob([text]).stream() }))).status).toBe(200)
    expect((await gateway.originRequests())[0]?.body).toBe(text)
  })

  test.each(["announced", "unannounced"])(
    "an answer that is too long to keep (%s) is handed on whole and not repeated",
    async (kind) => {
      const gateway = createKeyed()
      const parts = pay({ target: `/pay/long?announced=${kind === "announced" ? 1 : 0}` })
      const response = await gateway.open(parts)
      const { length } = await response.text()
      expect([eventOf(response).idempotency, length]).toEqual(["not-replayable", IDEMPOTENCY_ANSWER_BYTES_MAX + 1_000])
      expect(await outcomeOf(gateway, parts)).toEqual([409, "idempotency-response-not-replayable"])
      expect(await gateway.originRequests()).toHaveLength(1)
    },
  )
})

describe("the secrets of records", () => {
  test.each([
    [{}, "record_key_missing:IDEMPOTENCY_KEY"],
    [{ IDEMPOTENCY_KEY: "hunter2" }, "record_key_not_json:IDEMPOTENCY_KEY"],
    [{ IDEMPOTENCY_KEY: RECORD_KEY.replace("oct", "EC") }, "record_key_key_type_mismatch:IDEMPOTENCY_KEY"],
  ])("%j refuse with 503, name the secret and call no origin", async (secrets, reason) => {
    const gateway = createKeyed({}, { secrets })
    await expectRefusal(gateway, await gateway.send(pay()), { status: 503, code: "service-unavailable", reason })
  })

  test("two secrets of one name refuse with 503", async () => {
    const gateway = createKeyed(
      {},
      {
        keys: ["A", "B"],
        secrets: { A: RECORD_KEY, B: RECORD_KEY },
      },
    )
    const reason = "record_key_kid_repeated:A,B"
    await expectRefusal(gateway, await gateway.send(pay()), { status: 503, code: "service-unavailable", reason })
  })

  test("are rotated without a forgotten record, and one that is taken away leaves nothing to be done twice", async () => {
    const secrets = { A: RECORD_KEY, B: RECORD_KEY_2 }
    const old = createKeyed({}, { keys: ["A"], secrets })
    await old.fetch(pay())
    const both = createKeyed({}, { keys: ["B", "A"], secrets, name: old.name })
    expect((await both.send(pay())).event.idempotency).toBe("replayed")
    const fresh = createKeyed({}, { keys: ["B"], secrets, name: old.name })
    const { event, response } = await fresh.send(pay())
    expect([response.status, event.reason]).toEqual([409, "idempotency_record_key_unknown"])
    expect(await old.originRequests()).toHaveLength(1)
  })
})

describe("a ledger", () => {
  const FAULTS = {
    "aborts before": (object: DurableObjectState) => {
      object.abort("test")
      throw new Error("aborted")
    },
    "aborts after": (object: DurableObjectState, call: () => unknown) => {
      const answer = call()
      object.abort("test")
      return answer
    },
    "throws before": () => {
      throw new Error("SECRET")
    },
    "throws after": (_: DurableObjectState, call: () => unknown) => {
      call()
      throw new Error("SECRET")
    },
  } as const

  /** Lets the calls of `method` with these numbers, from 1, end in a fault. */
  function breakCalls(method: "reserve" | "settle", numbers: readonly number[], fault: keyof typeof FAULTS): void {
    const original = IdempotencyLedger.prototype[method] as (...parts: unknown[]) => unknown
    let count = 0
    vi.spyOn(IdempotencyLedger.prototype, method).mockImplementation(function (
      this: IdempotencyLedger,
      ...parts: unknown[]
    ) {
      count += 1
      const call = () => original.apply(this, parts)
      if (!numbers.includes(count)) return call() as never
      return FAULTS[fault]((this as unknown as { readonly ctx: DurableObjectState }).ctx, call) as never
    })
  }

  test.each(Object.keys(FAULTS) as (keyof typeof FAULTS)[])(
    "IK-6 that %s every reservation is 503, and the origin is not called",
    async (fault) => {
      const gateway = createKeyed()
      // What was reset is asked once more.
      breakCalls("reserve", fault.startsWith("aborts") ? [1, 2] : [1], fault)
      const exchanged = await gateway.send(pay())
      await expectRefusal(gateway, exchanged, { status: 503, code: "service-unavailable" })
      expect(exchanged.response.headers.get("retry-after")).toBe("1")
      expect(JSON.stringify(exchanged.event)).not.toContain("SECRET")
      // The key was given back: nothing had been sent under it.
      expect((await gateway.send(pay())).event.idempotency).toBe("completed")
      expect(await gateway.originRequests()).toHaveLength(1)
    },
  )

  test("that is reset once costs nothing", async () => {
    for (const method of ["reserve", "settle"] as const) {
      const gateway = createKeyed()
      breakCalls(method, [1], "aborts after")
      expect(await outcomeOf(gateway, pay())).toEqual([200])
      vi.mocked(IdempotencyLedger.prototype[method]).mockRestore()
      expect((await gateway.send(pay())).event.idempotency).toBe("replayed")
      expect(await gateway.originRequests()).toHaveLength(1)
    }
  })

  test.each(["aborts before", "throws before"] as const)(
    "IDM-09 that %s every settlement is 503, then 409: the origin is not called again",
    async (fault) => {
      const gateway = createKeyed()
      breakCalls("settle", [1, 2], fault)
      const { event, response } = await gateway.send(pay())
      expect([response.status, event.idempotency]).toEqual([503, "reserved"])
      expect(event.reason).toMatch(/^idempotency_unrecorded object_/)
      vi.mocked(IdempotencyLedger.prototype.settle).mockRestore()
      await abortAllDurableObjects()
      expect(await outcomeOf(gateway, pay())).toEqual([409, "idempotency-in-progress"])
      pass(60_000)
      expect(await outcomeOf(gateway, pay())).toEqual([409, "idempotency-indeterminate"])
      expect(await gateway.originRequests()).toHaveLength(1)
    },
  )

  test("IDM-09 that has stored the answer and is lost before it says so is 503, and the repeat gets the answer", async () => {
    const gateway = createKeyed()
    breakCalls("settle", [1, 2], "throws after")
    expect((await gateway.fetch(pay())).status).toBe(503)
    vi.mocked(IdempotencyLedger.prototype.settle).mockRestore()
    expect((await gateway.send(pay())).event.idempotency).toBe("replayed")
    expect(await gateway.originRequests()).toHaveLength(1)
  })

  test("that is overloaded is not asked again", async () => {
    const gateway = createKeyed()
    const reserve = vi.spyOn(IdempotencyLedger.prototype, "reserve").mockImplementation(() => {
      throw Object.assign(new Error("overloaded"), { overloaded: true })
    })
    const { response } = await gateway.send(pay())
    expect(response.status).toBe(503)
    expect(reserve.mock.calls.length).toBeLessThanOrEqual(1)
    expect(await gateway.originRequests()).toEqual([])
  })

  test("whose binding is missing is 503", async () => {
    const gateway = createKeyed({}, { bindings: { IDEMPOTENCY_LEDGER: undefined as never } })
    await expectRefusal(gateway, await gateway.send(pay()), { status: 503, code: "service-unavailable" })
  })

  test("whose answer does not open is indeterminate: it belongs to another record", async () => {
    const gateway = createKeyed()
    await gateway.fetch(pay())
    await gateway.fetch(pay({ key: '"k2"' }))
    const original = IdempotencyLedger.prototype.reserve
    let other = ""
    vi.spyOn(IdempotencyLedger.prototype, "reserve").mockImplementation(function (this: IdempotencyLedger, demand) {
      const decision = original.call(this, demand)
      if (decision.kind !== "replay") return decision
      if (other === "") other = decision.answer
      return { ...decision, answer: other }
    })
    expect(await outcomeOf(gateway, pay({ key: '"k2"' }))).toEqual([200])
    const { event, response } = await gateway.send(pay())
    expect([response.status, event.reason]).toEqual([409, "idempotency_record_not_opened"])
  })
})

test("keys and bodies reach no log", async () => {
  const gateway = createKeyed()
  const responses = [await gateway.fetch(pay()), await gateway.fetch(pay())]
  expect(responses.map((response) => eventOf(response).idempotency)).toEqual(["completed", "replayed"])
  expect(writtenLines().join("\n")).not.toContain(KEY.slice(1, -1))
  expect(env.IDEMPOTENCY_LEDGER).toBeDefined()
})

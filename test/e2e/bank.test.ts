/**
 * The sample bank over a real socket: what a gateway meets when it forwards to it. Money itself is tested in
 * `test/core/bank.test.ts`.
 */
import { once } from "node:events"
import { createConnection } from "node:net"
import { afterEach, describe, expect, test } from "vitest"
import type { Entry, LedgerStore } from "../../examples/bank/ledger.ts"
import { createMemoryStore } from "../../examples/bank/memory-store.ts"
import { type Bank, type BankOptions, startBank } from "../../examples/bank/server.ts"

const NOW_MS = Date.UTC(2026, 10, 22, 9)
const ORDER = { amount: 400, currency: "JPY", to: "globex-1", reference: "Invoice 1" }
const banks: Bank[] = []

afterEach(async () => {
  for (const bank of banks.splice(0)) await bank.close()
})

describe("accounts", () => {
  test("GET /accounts lists the accounts of the calling client", async () => {
    const call = await open()
    expect(await (await call("/accounts")).json()).toEqual({
      accounts: [
        { id: "acme-1", name: "Operating", currency: "JPY" },
        { id: "acme-2", name: "Payroll", currency: "JPY" },
      ],
    })
  })

  test("GET /balance answers for the default account", async () => {
    const call = await open()
    expect(await (await call("/balance")).json()).toEqual({ account: "acme-1", balance: 1_000, currency: "JPY" })
  })

  test("GET /accounts/{id}/balance answers for a named account", async () => {
    const call = await open()
    expect(await (await call("/accounts/acme-2/balance")).json()).toMatchObject({ account: "acme-2", balance: 50 })
  })

  test("GET /accounts/{id}/balance hides another client's account", async () => {
    const call = await open()
    const [foreign, missing] = [await call("/accounts/globex-1/balance"), await call("/accounts/none/balance")]
    expect([foreign.status, await foreign.text()]).toEqual([404, await missing.text()])
  })

  test("GET /balance refuses a client without an account", async () => {
    const call = await open()
    expect(await problemOf(await call("/balance", { headers: { "X-Client-Id": "initech" } }))).toEqual([
      404,
      "no-account",
    ])
  })
})

describe("clients", () => {
  test.each([[{}], [{ "X-Client-Id": "" }], [{ "X-Client-Id": "a b" }]])(
    "a request with %j is refused",
    async (headers) => {
      const call = await open()
      expect(await problemOf(await call("/accounts", { headers }))).toEqual([401, "client-missing"])
    },
  )

  test("a request with two X-Client-Id fields is refused", async () => {
    const call = await open()
    const headers: [string, string][] = [
      ["X-Client-Id", "acme"],
      ["X-Client-Id", "globex"],
    ]
    expect(await problemOf(await call("/accounts", { headers }))).toEqual([401, "client-missing"])
  })

  test("a refusal is a problem that nobody stores", async () => {
    const call = await open()
    const response = await call("/accounts", { headers: {} })
    expect(response.headers.get("Content-Type")).toBe("application/problem+json")
    expect(response.headers.get("Cache-Control")).toBe("no-store")
    expect(await response.json()).toEqual({
      type: "urn:sample-bank:problem:client-missing",
      title: "The request names no client",
      status: 401,
      code: "client-missing",
    })
  })
})

describe("payments", () => {
  test("POST /payments makes a payment and echoes it with its id", async () => {
    const call = await open()
    const response = await call("/payments", json({ ...ORDER, id: "p-1" }))
    expect(response.status).toBe(201)
    expect(await response.json()).toEqual({
      id: "p-1",
      status: "booked",
      booked_at: "2026-11-22T09:00:00.000Z",
      from: "acme-1",
      ...ORDER,
    })
  })

  test("POST /payments mints an id for a payment without one, a new one each time", async () => {
    const call = await open()
    const ids = [await call("/payments", json(ORDER)), await call("/payments", json(ORDER))].map(async (response) => {
      const { id } = (await response.json()) as { id: string }
      return id
    })
    expect(new Set(await Promise.all(ids)).size).toBe(2)
  })

  test("POST /payments answers 200 and pays nothing for a payment id that was used for the same payment", async () => {
    const call = await open()
    await call("/payments", json({ ...ORDER, id: "p-1" }))
    expect((await call("/payments", json({ ...ORDER, id: "p-1" }))).status).toBe(200)
    expect(await (await call("/balance")).json()).toMatchObject({ balance: 600 })
  })

  test("POST /payments leaves Idempotency-Key to the gateway: two requests with one key are two payments", async () => {
    const call = await open()
    const options = json(ORDER, { "Idempotency-Key": '"8e03978e"' })
    expect([(await call("/payments", options)).status, (await call("/payments", options)).status]).toEqual([201, 201])
  })

  test.each([
    [400, "malformed-json", "{", {}],
    [400, "malformed-json", "", {}],
    [409, "insufficient-funds", JSON.stringify({ ...ORDER, amount: 1_001 }), {}],
    [413, "body-too-large", " ".repeat(16_385), {}],
    [415, "media-type-unsupported", JSON.stringify(ORDER), { "Content-Type": "text/plain" }],
    [422, "payment-invalid", JSON.stringify({ ...ORDER, amount: "400" }), {}],
    [422, "payee-unknown", JSON.stringify({ ...ORDER, to: "nowhere" }), {}],
  ])("POST /payments refuses with %d %s", async (status, code, body, headers) => {
    const call = await open()
    const options = {
      method: "POST",
      body,
      headers: { "X-Client-Id": "acme", "Content-Type": "application/json", ...headers },
    }
    expect(await problemOf(await call("/payments", options))).toEqual([status, code])
  })

  test("POST /payments refuses a body that is too large while its sender is still sending", async () => {
    await open()
    const socket = createConnection({ port: banks.at(-1)?.port ?? 0, host: "127.0.0.1" })
    socket.on("error", () => {})
    socket.write("POST /payments HTTP/1.1\r\nHost: x\r\nX-Client-Id: acme\r\nContent-Type: application/json\r\n")
    socket.write(`Content-Length: 99999999\r\n\r\n${" ".repeat(16_385)}`)
    const [answer] = (await once(socket.setEncoding("utf8"), "data")) as [string]
    socket.destroy()
    expect(answer).toMatch(/^HTTP\/1\.1 413 /)
  })

  test("POST /payments accepts a media type with parameters", async () => {
    const call = await open()
    const response = await call("/payments", json(ORDER, { "Content-Type": "Application/JSON; charset=utf-8" }))
    expect(response.status).toBe(201)
  })
})

describe("logins", () => {
  test("POST /login opens a session for a user with the sample PIN, another one each time", async () => {
    const call = await open()
    const sessions = new Set<unknown>()
    for (let index = 0; index < 2; index++) {
      const response = await call("/login", json({ user: "treasury", pin: "1234" }))
      expect([response.status, response.headers.get("Cache-Control")]).toEqual([200, "no-store"])
      const { session, ...others } = (await response.json()) as Record<string, unknown>
      expect(others).toEqual({ user: "treasury" })
      expect(session).toMatch(/^[A-Za-z0-9_-]{32}$/)
      sessions.add(session)
    }
    expect(sessions.size).toBe(2)
  })

  test("POST /login counts no guesses: that is the gateway's part", async () => {
    const call = await open()
    for (let guess = 0; guess < 10; guess++)
      expect(await problemOf(await call("/login", json({ user: "treasury", pin: "0000" })))).toEqual([
        401,
        "login-failed",
      ])
    expect((await call("/login", json({ user: "treasury", pin: "1234" }))).status).toBe(200)
  })

  test.each([
    [400, "malformed-json", "{", {}],
    [413, "body-too-large", " ".repeat(16_385), {}],
    [415, "media-type-unsupported", '{"user":"treasury","pin":"1234"}', { "Content-Type": "text/plain" }],
    [422, "login-invalid", '{"user":"treasury","pin":1234}', {}],
  ])("POST /login refuses with %d %s", async (status, code, body, headers) => {
    const call = await open()
    const all = { "X-Client-Id": "acme", "Content-Type": "application/json", ...headers }
    expect(await problemOf(await call("/login", { method: "POST", body, headers: all }))).toEqual([status, code])
  })
})

describe("statements", () => {
  test("GET /accounts/{id}/statements gives one JSON object a line", async () => {
    const call = await open()
    await call("/payments", json({ ...ORDER, id: "p-1" }))
    const response = await call("/accounts/acme-1/statements")
    expect(response.headers.get("Content-Type")).toBe("application/x-ndjson")
    expect(
      (await response.text())
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual([
      {
        booked_at: "2026-11-22T09:00:00.000Z",
        payment_id: "p-1",
        counterparty: "globex-1",
        reference: "Invoice 1",
        amount: -400,
        balance: 600,
      },
    ])
  })

  test("GET /accounts/{id}/statements is chunked, its length is not known before", async () => {
    const call = await open()
    const response = await call("/accounts/acme-1/statements")
    await response.text()
    expect([response.headers.get("Transfer-Encoding"), response.headers.get("Content-Length")]).toEqual([
      "chunked",
      null,
    ])
  })

  // A statement without an end can only be served by one that waits for its reader, and only ends when the reader leaves.
  test("GET /accounts/{id}/statements waits for its reader and stops when the reader leaves", async () => {
    const ended = Promise.withResolvers<number>()
    function* entriesWithoutEnd(): Generator<Entry> {
      let count = 0
      try {
        for (;;) {
          count += 1
          yield {
            paymentId: `p-${count}`,
            bookedAtMs: NOW_MS,
            counterparty: "x",
            reference: "y",
            amount: 1,
            balance: count,
          }
        }
      } finally {
        ended.resolve(count)
      }
    }
    const store = { ...createStore(), entriesOf: entriesWithoutEnd }
    const call = await open({ store })
    const response = await call("/accounts/acme-1/statements")
    const reader = response.body?.getReader()
    let bytes = 0
    while (bytes < 1_000_000) bytes += (await reader?.read())?.value?.length ?? Number.POSITIVE_INFINITY
    await reader?.cancel()
    expect(await ended.promise).toBeGreaterThan(1_000)
  })

  test("HEAD /accounts/{id}/statements has no body", async () => {
    const call = await open()
    const response = await call("/accounts/acme-1/statements", { method: "HEAD", headers: { "X-Client-Id": "acme" } })
    expect([response.status, await response.text()]).toEqual([200, ""])
  })
})

describe("looking at a gateway", () => {
  test("GET /slow answers after the delay", async () => {
    const call = await open()
    expect(await (await call("/slow?ms=1")).json()).toEqual({ slept_ms: 1 })
  })

  test.each(["60001", "-1", "1e3", "soon", ""])("GET /slow refuses ms=%s", async (ms) => {
    const call = await open()
    expect(await problemOf(await call(`/slow?ms=${ms}`))).toEqual([400, "parameter-invalid"])
  })

  test("close() ends a request that is still slow", async () => {
    const call = await open()
    const pending = call("/slow?ms=60000")
    await once(banks[0]?.server ?? process, "request")
    await banks.pop()?.close()
    await expect(pending).rejects.toThrow("fetch failed")
  })

  test("GET /failing resets the connection before an answer", async () => {
    const call = await open()
    await expect(call("/failing")).rejects.toThrow("fetch failed")
  })

  test("GET /failing?after=headers breaks off in the body", async () => {
    const call = await open()
    const response = await call("/failing?after=headers")
    expect(response.status).toBe(200)
    await expect(response.text()).rejects.toThrow("terminated")
  })

  test("GET /error answers 500", async () => {
    const call = await open()
    expect(await problemOf(await call("/error"))).toEqual([500, "internal-error"])
  })

  test("PUT /echo shows the request as it arrived", async () => {
    await open()
    const request =
      "PUT /echo?a=1 HTTP/1.1\r\nhost: x\r\nX-Client-Id: acme\r\nx-TWICE: 1\r\nX-Twice: 2\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"
    const [, body = ""] = (await exchange(request)).split("\r\n\r\n")
    expect(JSON.parse(body)).toEqual({
      method: "PUT",
      target: "/echo?a=1",
      headers: [
        ["host", "x"],
        ["X-Client-Id", "acme"],
        ["x-TWICE", "1"],
        ["X-Twice", "2"],
        ["Content-Length", "3"],
        ["Connection", "close"],
      ],
      // FIPS 180-2, appendix B.1: the digest of "abc".
      body: { bytes: 3, sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
    })
  })
})

describe("resources", () => {
  test.each(["/", "/accounts/", "/accounts/../balance", "/accounts/a%2fb/balance", "/balance/x", "/Balance"])(
    "GET %s is not found",
    async (target) => {
      await open()
      expect(
        await exchange(`GET ${target} HTTP/1.1\r\nHost: x\r\nX-Client-Id: acme\r\nConnection: close\r\n\r\n`),
      ).toMatch(/^HTTP\/1\.1 404 /)
    },
  )

  test("RFC 9110 §15.5.6 a wrong method is answered with those that are right", async () => {
    const call = await open()
    const response = await call("/balance", json(ORDER))
    expect([response.status, response.headers.get("Allow")]).toEqual([405, "GET, HEAD"])
  })

  test("an unforeseen failure is a problem that tells nothing", async () => {
    const store: LedgerStore = {
      ...createStore(),
      accountsOf() {
        throw new Error("secret")
      },
    }
    const call = await open({ store, onError: () => {} })
    const response = await call("/accounts")
    expect([response.status, (await response.text()).includes("secret")]).toEqual([500, false])
  })
})

function createStore(): LedgerStore {
  return createMemoryStore([
    { id: "acme-1", owner: "acme", name: "Operating", currency: "JPY", balance: 1_000 },
    { id: "acme-2", owner: "acme", name: "Payroll", currency: "JPY", balance: 50 },
    { id: "globex-1", owner: "globex", name: "Operating", currency: "JPY", balance: 300 },
  ])
}

/** Opens a bank on a free port and returns a way to call it, as the client acme unless told otherwise. */
async function open(options: Partial<BankOptions> = {}) {
  const bank = await startBank({ host: "127.0.0.1", port: 0, store: createStore(), now: () => NOW_MS, ...options })
  banks.push(bank)
  return async (target: string, init: RequestInit = { headers: { "X-Client-Id": "acme" } }) =>
    await fetch(`http://127.0.0.1:${bank.port}${target}`, init)
}

function json(body: unknown, headers: Record<string, string> = {}): RequestInit {
  return {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "X-Client-Id": "acme", "Content-Type": "application/json", ...headers },
  }
}

async function problemOf(response: Response): Promise<[number, unknown]> {
  const { code } = (await response.json()) as { code: unknown }
  return [response.status, code]
}

/** Sends octets as they are, which fetch would normalise, and returns what comes back until the connection ends. */
async function exchange(request: string): Promise<string> {
  const socket = createConnection({ port: banks.at(-1)?.port ?? 0, host: "127.0.0.1" })
  socket.end(request)
  let text = ""
  for await (const chunk of socket.setEncoding("utf8") as AsyncIterable<string>) text += chunk
  return text
}

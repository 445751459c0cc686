/**
 * Goal: an origin behind a binding is reached by that binding or not at all; an answer that takes too long breaks off; and what
 * the platform lets nobody set stays refused. Method: fetchers that answer in the test, and a real origin.
 */
import { describe, expect, test, vi } from "vitest"
import { createGateway, expectRefusal, fieldValues, fixtures, type TestGateway } from "./harness.ts"

type Settings = Readonly<Record<string, unknown>>

/** A gateway whose origin is behind the binding BANK, and the requests that the binding got. */
function createBound(settings: Settings, bindings: Readonly<Record<string, unknown>> | undefined) {
  const requests: Request[] = []
  const bank = {
    fetch: async (target: string, init: RequestInit) => {
      const request = new Request(target, init)
      requests.push(request)
      return Promise.resolve(new Response("from the binding", { headers: { "X-Kept": "1", Location: request.url } }))
    },
  }
  const gateway = createGateway(
    { ORIGINS: { stub: { url: "https://core.bank.example/base", binding: "BANK", ...settings } } },
    { bindings: bindings ?? { BANK: bank } },
  )
  return { gateway, requests }
}

describe("an origin with a binding", () => {
  test("is reached by it, under its URL", async () => {
    const { gateway, requests } = createBound({}, undefined)
    const { response, event } = await gateway.send({ target: "/public/x?a=1" })
    expect([response.status, response.headers.get("x-kept"), await response.text()]).toEqual([
      200,
      "1",
      "from the binding",
    ])
    expect(event).toMatchObject({ outcome: "forwarded", origin: "stub" })
    expect(requests.map(({ method, redirect, url }) => [method, redirect, url])).toEqual([
      ["GET", "manual", "https://core.bank.example/base/public/x?a=1"],
    ])
  })

  test("gets the caller's host where preserve_host says so", async () => {
    const { gateway, requests } = createBound({ preserve_host: true }, undefined)
    await gateway.send({ host: "a.test" })
    expect(requests.map(({ url }) => url)).toEqual(["https://a.test/base/public/x"])
  })

  test.each([
    ["is not there", {}],
    ["is a text", { BANK: "core" }],
    ["has no fetch", { BANK: {} }],
  ])("that %s is a 503 that names it in the event alone", async (_, bindings) => {
    const { gateway } = createBound({}, bindings)
    const exchanged = await gateway.send()
    const problem = await expectRefusal(gateway, exchanged, {
      status: 503,
      code: "service-unavailable",
      reason: "binding_missing BANK",
    })
    expect(exchanged.response.headers.get("retry-after")).toBe("1")
    expect(JSON.stringify(problem)).not.toContain("BANK")
  })

  test("that throws is a 502", async () => {
    const { gateway } = createBound(
      { retries: 0 },
      { BANK: { fetch: () => Promise.reject(new Error("no such tunnel")) } },
    )
    const { response, event } = await gateway.send()
    expect(response.status).toBe(502)
    expect(event).toMatchObject({ problem: "origin-unreachable", reason: "no such tunnel" })
  })
})

describe("PRX-11 total_timeout", () => {
  function createTimed(): TestGateway {
    return createGateway((name) => ({
      ORIGINS: {
        stub: { url: `http://127.0.0.1:${fixtures.originPort}/${name}`, timeout: "200ms", total_timeout: "300ms" },
      },
    }))
  }

  test("breaks off an answer that does not end, and ends the call of the origin", async () => {
    const gateway = createTimed()
    const response = await gateway.open({ target: "/public/halves" })
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    expect(new TextDecoder().decode((await reader.read()).value)).toBe("first;")
    await expect(reader.read()).rejects.toThrow()
    await vi.waitUntil(async () => (await gateway.originRequests())[0]?.isAborted)
  })

  test("leaves an answer in time as it is", async () => {
    const gateway = createTimed()
    const response = await gateway.open({ target: "/public/sized" })
    expect([response.headers.get("content-length"), (await response.text()).length]).toEqual(["1234", 1_234])
  })

  test.each(["204", "304"])("leaves an answer without a body, a %s, as it is", async (name) => {
    const { response } = await createTimed().send({ target: `/public/${name}` })
    expect([response.status, response.body]).toEqual([Number(name), null])
  })

  test("leaves the wait for the header to timeout", async () => {
    const { event } = await createTimed().send({ target: "/public/silent" })
    expect(event).toMatchObject({ status: 504, reason: "no_answer_in_200_ms" })
  })
})

// Why preserve_host needs a binding: should the platform ever allow it, these tell.
describe("Host of a fetch over the network", () => {
  test.each([
    ["a Host field", { headers: { Host: "a.test" } }],
    ["resolveOverride", { cf: { resolveOverride: "a.test" } }],
  ])("stays that of the URL, whatever %s says", async (_, init: RequestInit) => {
    const gateway = createGateway()
    const url = `http://127.0.0.1:${fixtures.originPort}/${gateway.name}/x`
    await (await fetch(new Request(url, init))).body?.cancel()
    expect(fieldValues((await gateway.originRequests())[0], "host")).toEqual([`127.0.0.1:${fixtures.originPort}`])
  })

  test("resolveOverride leads nowhere else here", async () => {
    const url = `http://localhost:${fixtures.closedPort}/x`
    await expect(fetch(url, { cf: { resolveOverride: `127.0.0.1:${fixtures.originPort}` } })).rejects.toThrow()
  })
})

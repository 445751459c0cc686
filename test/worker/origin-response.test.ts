/**
 * Goal: the client gets the origin's answer as it is, except for what belongs to one connection or to the gateway.
 * Method: a real origin answers in the ways that go wrong in proxies; octets on the wire are compared in
 * `test/e2e/worker-raw-target.test.ts`.
 */
import { expect, test } from "vitest"
import { createGateway, eventOf, fixtures, trapConnections } from "./harness.ts"

test("PRX-01 a redirect is the caller's to follow", async () => {
  const gateway = createGateway()
  const { response, event } = await gateway.send({ target: "/public/redirect", headers: { Cookie: "a=SECRET" } })
  expect(response.status).toBe(302)
  expect(response.headers.get("location")).toBe(`http://127.0.0.1:${fixtures.trapPort}/stolen`)
  expect(event).toMatchObject({ outcome: "forwarded", level: "info", status: 302 })
  expect([(await gateway.originRequests()).length, await trapConnections()]).toEqual([1, 0])
})

test("PRX-04 hop-by-hop fields of an answer end at the gateway", async () => {
  const { response } = await createGateway().send({ target: "/public/hop" })
  expect(response.headers.get("x-kept")).toBe("1")
  const names = [...response.headers.keys()]
  expect(names.filter((name) => /connection|secret|keep-alive|proxy|transfer/.test(name))).toEqual([])
})

test("only the gateway names the request, its limits and its certificate", async () => {
  const { response, event } = await createGateway().send({ target: "/public/forging" })
  expect(response.headers.get("x-request-id")).toBe(event.request_id)
  expect(response.headers.get("ratelimit")).toMatch(/^"generous";/)
  expect(response.headers.get("ratelimit-policy")).toMatch(/^"generous";/)
  expect(response.headers.has("client-cert")).toBe(false)
})

test("RFC 9440 §2.4 an answer that varies by Client-Cert varies by everything", async () => {
  const { response } = await createGateway().send({ target: "/public/varying" })
  expect(response.headers.get("vary")).toBe("*")
})

test("PRX-16 an answer that may be cached is not handed to another client", async () => {
  const gateway = createGateway()
  const bodies = []
  for (const cert of ["acme-a", "acme-b"] as const) {
    const response = await gateway.fetch({ target: "/public/cacheable", cert })
    bodies.push(await response.text())
    expect(response.headers.get("cache-control")).toBe("public, max-age=3600")
  }
  expect(bodies).toEqual([gateway.clientId("acme-a"), gateway.clientId("acme-b")])
  expect(await gateway.originRequests()).toHaveLength(2)
})

test("several Set-Cookie lines stay several", async () => {
  const { response } = await createGateway().send({ target: "/public/cookies" })
  expect(response.headers.getSetCookie()).toEqual(["a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "b=2"])
})

test("an answer to HEAD keeps the length of the body that GET would have", async () => {
  const gateway = createGateway()
  const { response } = await gateway.send({ method: "HEAD", target: "/public/sized" })
  expect(response.headers.get("content-length")).toBe("1234")
  expect(await response.text()).toBe("")
})

test.each([204, 304])("a %i has its fields and no body", async (status) => {
  const { response, event } = await createGateway().send({ target: `/public/${status}` })
  expect([response.status, response.headers.get("x-kept"), response.body]).toEqual([status, "1", null])
  expect(event).toMatchObject({ outcome: "forwarded", status })
})

test("an origin's refusal is the origin's: body and Retry-After pass, and it is no problem of the gateway", async () => {
  const { response, event } = await createGateway().send({ target: "/public/503" })
  expect([response.status, response.headers.get("retry-after")]).toEqual([503, "7"])
  expect(await response.text()).toBe("maintenance")
  expect(event).toMatchObject({ outcome: "forwarded", level: "error", status: 503, origin: "stub" })
  expect(event.problem).toBeUndefined()
})

test.each(["short", "unfinished"])(
  "an answer that breaks off (%s) breaks off for the client, too",
  async (behaviour) => {
    const response = await createGateway().fetch({ target: `/public/${behaviour}` })
    expect(response.status).toBe(200)
    await expect(response.text()).rejects.toThrow()
    expect(eventOf(response)).toMatchObject({ outcome: "forwarded", status: 200 })
  },
)

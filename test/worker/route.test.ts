/**
 * Goal: what no route names goes nowhere, and a route never lets a request skip what stands behind it. Method: the whole
 * pipeline with the attacks' routes.
 */
import { expect, test } from "vitest"
import { createGateway, existingObjects, expectRefusal } from "./harness.ts"

test.each(["/nope", "/publicx", "/pay/x", "/v1/items/2", "/vx/items"])(
  "PTH-22 route refuses %s, which no route matches",
  async (target) => {
    const gateway = createGateway()
    await expectRefusal(gateway, await gateway.send({ target }), {
      status: 404,
      code: "route-not-found",
      reason: "no_route",
    })
  },
)

test.each([
  "/.well-known/acme-challenge/x",
  "/cdn-cgi/trace",
  "/cdn-cgi/handler/scheduled",
  "/__scheduled",
  "/favicon.ico",
  "/robots.txt",
])("PTH-19 route knows no special path: %s", async (target) => {
  const gateway = createGateway()
  await expectRefusal(gateway, await gateway.send({ target, cert: "none" }), { status: 404, code: "route-not-found" })
})

test("PRX-17 a refusal reflects nothing of the request", async () => {
  const gateway = createGateway()
  const exchanged = await gateway.send({
    target: "/%3Cscript%3Ealert(1)%3C/script%3E?<script>",
    headers: { Accept: "text/html", "X-Reflected": "<script>" },
  })
  const text = JSON.stringify(await expectRefusal(gateway, exchanged, { status: 404, code: "route-not-found" }))
  expect(text).not.toMatch(/script|alert|gw\.test/)
})

test("a problem names its request by the request id", async () => {
  const gateway = createGateway()
  const exchanged = await gateway.send({ target: "/nope" })
  const problem = await expectRefusal(gateway, exchanged, { status: 404, code: "route-not-found" })
  expect(problem).toMatchObject({
    type: "urn:sekisho:problem:route-not-found",
    instance: `urn:uuid:${exchanged.event.request_id}`,
  })
})

test.each([
  ["GET", "/pay", "POST"],
  ["POST", "/v1/items", "GET, HEAD"],
  ["POST", "/healthz", "GET, HEAD"],
])("EDG-16 route answers %s %s with 405 and Allow", async (method, target, allow) => {
  const gateway = createGateway()
  const exchanged = await gateway.send({ method, target })
  await expectRefusal(gateway, exchanged, { status: 405, code: "method-not-allowed", reason: "method" })
  expect(exchanged.response.headers.get("allow")).toBe(allow)
})

test.each(["PURGE", "PROPFIND", "LOCK"])("EDG-16 route refuses the method %s", async (method) => {
  const gateway = createGateway()
  await expectRefusal(gateway, await gateway.send({ method }), {
    status: 405,
    code: "method-not-allowed",
    event: { method },
  })
})

test("route lets HEAD pass where GET may", async () => {
  const gateway = createGateway()
  const { response } = await gateway.send({ method: "HEAD", target: "/v1/items" })
  expect([response.status, (await gateway.originRequests())[0]?.method]).toEqual([200, "HEAD"])
})

test("a refused HEAD request gets the fields of the problem and no body", async () => {
  const { response } = await createGateway().send({ method: "HEAD", target: "/nope" })
  expect([response.status, response.headers.get("content-type"), await response.text()]).toEqual([
    404,
    "application/problem+json",
    "",
  ])
})

const PREFLIGHT = { Origin: "https://evil.example", "Access-Control-Request-Method": "DELETE" }

test("PTH-20 OPTIONS without a certificate is refused like any other method", async () => {
  const gateway = createGateway()
  const exchanged = await gateway.send({ method: "OPTIONS", target: "/admin/x", headers: PREFLIGHT, cert: "none" })
  await expectRefusal(gateway, exchanged, { status: 401, code: "client-cert-required" })
  expect(exchanged.response.headers.has("access-control-allow-origin")).toBe(false)
})

test("PTH-20 OPTIONS with a certificate is counted", async () => {
  const gateway = createGateway({ LIMITS: { generous: { rate: "1/h", burst: 1 } } })
  const send = () => gateway.send({ method: "OPTIONS", headers: PREFLIGHT })
  expect([(await send()).response.status, (await send()).response.status]).toEqual([200, 429])
})

test("a route that responds needs no certificate", async () => {
  const { response, event } = await createGateway().send({ target: "/healthz", cert: "none" })
  expect(response.status).toBe(200)
  expect(await response.text()).toBe("ok\n")
  expect(response.headers.get("cache-control")).toBe("no-store")
  expect(event).toMatchObject({ outcome: "answered", level: "info", status: 200, route: "/healthz" })
})

test("a route that responds creates no object, whatever certificate comes along", async () => {
  const before = await existingObjects()
  await createGateway().send({ target: "/healthz" })
  expect(await existingObjects()).toEqual(before)
})

test("a route that responds gives HEAD no body", async () => {
  const { response } = await createGateway().send({ method: "HEAD", target: "/healthz", cert: "none" })
  expect([response.status, await response.text()]).toEqual([200, ""])
})

test("route sends each kind of match to the origin with its path", async () => {
  const gateway = createGateway()
  const events = [
    await gateway.send({ target: "/public/a?b=c" }),
    await gateway.send({ target: "/v12/items" }),
    await gateway.send({ target: "/pay", method: "POST" }),
    await gateway.send({ target: "/%61dmin" }),
  ].map(({ event }) => event.route)
  expect(events).toEqual(["/public/**", "~ ^/v[0-9]+/items$", "/pay", "/admin/**"])
  expect((await gateway.originRequests()).map(({ target }) => target)).toEqual([
    "/public/a?b=c",
    "/v12/items",
    "/pay",
    "/admin",
  ])
})

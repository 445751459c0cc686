/**
 * Goal: a request whose host, path or fields could be read in two ways goes no further than the `target` stage. Method:
 * requests as the platform hands them over; targets that `new Request()` would repair are in
 * `test/e2e/worker-raw-target.test.ts`.
 */
import { expect, test } from "vitest"
import { createGateway, expectRefusal, writtenLines } from "./harness.ts"

test.each(["c.test", "gw.test.evil.example", "gateway.account.workers.dev", "127.0.0.1"])(
  "IDN-20 target refuses the host %s, which nobody configured, also with a certificate",
  async (host) => {
    const gateway = createGateway()
    await expectRefusal(gateway, await gateway.send({ host }), {
      status: 421,
      code: "misdirected-request",
      reason: "host_unknown",
    })
  },
)

test.each([
  "gw test",
  "gw.test@evil.example",
  "gw.test:99999",
  "gw.test/public/?",
  "2130706433",
  "[::ffff:127.0.0.1]",
  "",
])("PTH-16 target refuses the Host field %j", async (host) => {
  const gateway = createGateway()
  await expectRefusal(gateway, await gateway.send({ target: "/admin/x", headers: { Host: host } }), {
    status: 400,
    code: "host-rejected",
    reason: "host_invalid",
  })
})

test("PTH-16 target refuses a Host field that differs from the URL", async () => {
  const gateway = createGateway()
  await expectRefusal(gateway, await gateway.send({ host: "gw.test", headers: { Host: "a.test" } }), {
    status: 400,
    code: "host-rejected",
    reason: "host_differs",
  })
})

test("PTH-16 target refuses two Host fields", async () => {
  const gateway = createGateway()
  await expectRefusal(gateway, await gateway.send({ headers: { Host: "gw.test, gw.test" } }), {
    status: 400,
    code: "host-rejected",
    reason: "host_repeated",
  })
})

test.each([
  "/public%2f..%2fadmin/x",
  "/admin%2fx",
  "/public/..%5cadmin",
  "/public/%00",
  "/public/%0d%0aX-A:%20b",
  "/public/%7f",
])("PTH-04, PTH-06 target refuses the path %s", async (target) => {
  const gateway = createGateway()
  await expectRefusal(gateway, await gateway.send({ target }), { status: 400, code: "path-rejected" })
})

test("PTH-14 target refuses a path that a URL parser takes for a host", async () => {
  const gateway = createGateway((name) => ({
    ORIGINS: { stub: { url: `http://127.0.0.1:1/${name}` } },
    ROUTES: [{ prefix: "/", origin: "stub", limits: "generous" }],
  }))
  await expectRefusal(gateway, await gateway.send({ target: "//evil.example/x" }), {
    status: 400,
    code: "path-rejected",
    reason: "path_empty_segment",
  })
})

test("EDG-14 target refuses 500 fields", async () => {
  const gateway = createGateway()
  const headers = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`x-${i}`, "SECRET"]))
  await expectRefusal(gateway, await gateway.send({ headers }), {
    status: 431,
    code: "headers-too-large",
    reason: expect.stringMatching(/^50\d_fields_\d+_octets$/) as string,
  })
})

test.each([1, 2])("EDG-14 target refuses %i fields of 64 KB together, and logs none of it", async (count) => {
  const gateway = createGateway()
  const headers = Object.fromEntries(
    Array.from({ length: count }, (_, i) => [`x-${i}`, "SECRET".repeat(11_000 / count)]),
  )
  await expectRefusal(gateway, await gateway.send({ headers }), { status: 431, code: "headers-too-large" })
  expect(writtenLines().join()).not.toContain("SECRET")
})

test("EDG-15 target refuses a path of 20,000 octets, and logs no more than 1,024 of it", async () => {
  const gateway = createGateway()
  const exchanged = await gateway.send({ target: `/public/${"a".repeat(20_000)}` })
  await expectRefusal(gateway, exchanged, { status: 414, code: "uri-too-long", reason: "target_too_long" })
  expect(exchanged.event.path).toHaveLength(1_024)
})

test.each([
  ["Authorization", "Bearer SECRETA", "Bearer SECRETA"],
  ["Authorization", "Bearer SECRETA", "Basic SECRETB"],
  ["Idempotency-Key", '"SECRETA"', '"SECRETA"'],
  ["Idempotency-Key", '"SECRETA"', "SECRETB"],
  ["Content-Type", "application/json", "text/plain; a=SECRET"],
  ["Content-Length", "0", "0"],
  ["Sec-WebSocket-Key", "SECRETA", "SECRETB"],
  ["X-Request-Id", "SECRETAAAA", "SECRETBBBB"],
])("EDG-19 target refuses two %s fields (%s, %s)", async (name, first, second) => {
  const gateway = createGateway()
  const headers = new Headers([
    [name, first],
    [name.toUpperCase(), second],
  ])
  await expectRefusal(gateway, await gateway.send({ headers }), {
    status: 400,
    code: "duplicate-header",
    reason: name.toLowerCase(),
  })
  expect(writtenLines().join()).not.toContain("SECRET")
})

test.each([
  ["Accept", "text/plain, application/json"],
  ["Authorization", 'Digest username="a", realm="b, Basic"'],
  ["Idempotency-Key", '"a, b"'],
])("target lets one %s field with a comma in it pass", async (name, value) => {
  const { response } = await createGateway().send({ headers: { [name]: value } })
  expect(response.status).toBe(200)
})

test.each(["1.1 sekisho", "1.0 other, 1.1 SEKISHO (comment)"])(
  "target refuses a request that has been here: Via %s",
  async (via) => {
    const gateway = createGateway()
    await expectRefusal(gateway, await gateway.send({ headers: { Via: via } }), {
      status: 400,
      code: "malformed-request",
      reason: "forwarding_loop",
    })
  },
)

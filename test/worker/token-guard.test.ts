/**
 * Goal: whoever keeps presenting bad tokens is blocked as the client of his certificate, unasked; nobody else is, and what is
 * no guess blocks nobody. Method: the real object, in real time, within one window of a minute.
 */
import { expect, test } from "vitest"
import { fixtures, type TestGateway } from "./harness.ts"
import { bearer, createGuardedGateway, createToken, encode, type TokenParts } from "./tokens.ts"

const createGuarded = (server: object = {}, more: Readonly<Record<string, unknown>> = {}): Promise<TestGateway> =>
  createGuardedGateway(server, {}, more)

/** Presents tokens of these parts one after the other and returns the statuses. */
async function presentAll(
  gateway: TestGateway,
  all: readonly TokenParts[],
  cert: "acme-a" | "acme-b" = "acme-a",
): Promise<readonly number[]> {
  const statuses = []
  for (const parts of all) {
    const headers = bearer(await createToken(gateway, parts))
    statuses.push((await gateway.send({ target: "/here", headers, cert })).response.status)
  }
  return statuses
}

const BAD: TokenParts = { key: "other", header: { kid: "es256" } }
const GOOD: TokenParts = {}
const times = (count: number, parts: TokenParts): readonly TokenParts[] => Array.from({ length: count }, () => parts)

test("GRD-01: the fifth bad token blocks, and not the fourth", async () => {
  const gateway = await createGuarded()
  expect(await presentAll(gateway, [...times(4, BAD), GOOD, BAD, GOOD])).toEqual([401, 401, 401, 401, 200, 401, 429])
})

test("GRD-01: the refusal names the guard, and when the block of five to six minutes is over", async () => {
  const gateway = await createGuarded()
  await presentAll(gateway, times(5, BAD))
  const { response, event } = await gateway.send({ target: "/here", headers: bearer(await createToken(gateway)) })
  expect(event).toMatchObject({ problem: "client-blocked", guard: "token:login" })
  const seconds = Number(response.headers.get("retry-after"))
  expect(seconds).toBeGreaterThanOrEqual(295)
  expect(seconds).toBeLessThanOrEqual(360)
})

test("GRD-02: fifty bad tokens at once count as many", async () => {
  const gateway = await createGuarded()
  const headers = bearer(await createToken(gateway, BAD))
  await Promise.all(Array.from({ length: 50 }, () => gateway.fetch({ target: "/here", headers })))
  expect(await presentAll(gateway, [GOOD])).toEqual([429])
})

test("GRD-03: good tokens in between clear nothing", async () => {
  const gateway = await createGuarded()
  const statuses = await presentAll(gateway, [...times(4, BAD), GOOD, ...times(4, BAD), GOOD])
  expect(statuses).toEqual([401, 401, 401, 401, 200, 401, 429, 429, 429, 429])
})

test("GRD-04: it counts for the certificate, whatever the address", async () => {
  const gateway = await createGuarded()
  const headers = bearer(await createToken(gateway, BAD))
  const statuses = []
  for (let i = 1; i <= 6; i++) {
    const address = { "CF-Connecting-IP": `192.0.2.${i}` }
    statuses.push((await gateway.send({ target: "/here", headers: { ...headers, ...address } })).response.status)
  }
  expect(statuses).toEqual([401, 401, 401, 401, 401, 429])
})

test("GRD-08: tokens in the name of A, presented by B, block B and not A", async () => {
  const gateway = await createGuarded()
  const inNameOfA = { claims: { client_id: gateway.clientId("acme-a"), sub: gateway.clientId("acme-a") }, ...BAD }
  expect(await presentAll(gateway, times(6, inNameOfA), "acme-b")).toEqual([401, 401, 401, 401, 401, 429])
  expect(await presentAll(gateway, [GOOD])).toEqual([200])
})

test("JWT-12: stolen tokens count for who presents them", async () => {
  const gateway = await createGuarded()
  expect(await presentAll(gateway, times(6, GOOD), "acme-b")).toEqual([401, 401, 401, 401, 401, 429])
  expect(await presentAll(gateway, [GOOD])).toEqual([200])
})

test("tokens of another client count", async () => {
  const gateway = await createGuarded()
  const other = { claims: { client_id: "somebody" } }
  expect(await presentAll(gateway, times(6, other))).toEqual([403, 403, 403, 403, 403, 429])
})

const NO_GUESSES: readonly (readonly [string, TokenParts | null, number])[] = [
  ["without a token", null, 401],
  ["with an expired token", { claims: { iat: 1_700_000_000, exp: 1_700_000_100 } }, 401],
  ["without a scope", { claims: { scope: "read" } }, 403],
]
test.each(NO_GUESSES)("requests %s block nobody", async (_, parts, status) => {
  const gateway = await createGuarded()
  const headers = parts === null ? {} : bearer(await createToken(gateway, parts))
  const statuses = []
  for (let i = 0; i < 7; i++) statuses.push((await gateway.send({ target: "/admin/x", headers })).response.status)
  expect(statuses).toEqual(Array.from({ length: 7 }, () => status))
})

test("what the origin refuses is for other guards", async () => {
  const gateway = await createGuarded()
  const { event } = await gateway.send({ target: "/plain", headers: bearer(await createToken(gateway)) })
  expect(event.guard_outcome).toBeUndefined()
})

test("routes of one server share its guard", async () => {
  const gateway = await createGuarded()
  await presentAll(gateway, times(5, BAD))
  const exchanged = await gateway.send({ target: "/plain", headers: bearer(await createToken(gateway)) })
  expect(exchanged.response.status).toBe(429)
})

test("a route without a token stays open to a client that presents bad ones elsewhere", async () => {
  const gateway = await createGuarded()
  await presentAll(gateway, times(5, BAD))
  expect((await gateway.send({ target: "/open" })).response.status).toBe(200)
})

test("guard = false counts nothing", async () => {
  const gateway = await createGuarded({ guard: false })
  expect(await presentAll(gateway, [...times(6, BAD), GOOD])).toEqual([...Array.from({ length: 6 }, () => 401), 200])
})

test("a guard of the configuration takes its place, and counts the same", async () => {
  const strict = { max_failures: 2, failure_duration: "1m", backoff: { kind: "lineal", duration: "1h" } }
  const gateway = await createGuarded({ guard: "strict" }, { GUARDS: { strict } })
  expect(await presentAll(gateway, [BAD, GOOD, BAD, GOOD])).toEqual([401, 200, 401, 429])
})

test("what is no token at all counts, too", async () => {
  const gateway = await createGuarded()
  const headers = bearer(encode(fixtures.certificates["acme-a"].fingerprint))
  const statuses = []
  for (let i = 0; i < 6; i++) statuses.push((await gateway.send({ target: "/here", headers })).response.status)
  expect(statuses).toEqual([401, 401, 401, 401, 401, 429])
})

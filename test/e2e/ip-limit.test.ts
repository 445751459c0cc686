/**
 * Goal: the limit per address works as `sekisho dev` runs it, with the binding that wrangler.toml declares. Method: a copy of
 * the configuration with a small limit. A period of the binding begins with the clock, so a test sends more than two periods
 * allow and expects a refusal among the answers; the addresses of the loopback keep the tests apart.
 */
import { afterAll, beforeAll, expect, test } from "vitest"
import { startOrigin, startRoad, type Origin, type Road, type WireAnswer } from "./road.ts"

const LIMIT = 3
/** One period may end between two requests, hardly two. */
const ENOUGH = 2 * LIMIT + 1

let own: Origin
let road: Road
beforeAll(async () => {
  own = await startOrigin()
  road = await startRoad({
    overrides: {
      ROUTES_OWN: [{ prefix: "/own", origin: "own", limits: "standard" }],
      ORIGINS: { bank: { url: own.url }, own: { url: own.url } },
    },
    edit: (toml) => {
      expect(toml).toContain("limit = 100000")
      return toml.replace("limit = 100000", `limit = ${LIMIT}`)
    },
  })
})
afterAll(async () => {
  await road?.close()
  await own?.close()
})

async function flood(localAddress: string, path: string, field: (i: number) => string): Promise<readonly WireAnswer[]> {
  const answers: WireAnswer[] = []
  for (let i = 0; i < ENOUGH; i++)
    answers.push(await road.send(`GET ${path} HTTP/1.1`, ["Host: localhost", field(i)], { localAddress }))
  return answers
}

test("IPL-01 a stranger is refused by certificate first and by address then, whatever address it claims", async () => {
  const answers = await flood("127.0.0.21", "/own/x", (i) => `X-Forwarded-For: 198.51.100.${i}`)
  const refused = answers.find(({ code }) => code === "ip-rate-limited")
  expect(answers[0]?.code).toBe("client-cert-required")
  expect([refused?.statuses, refused?.headers.get("retry-after")]).toEqual([[429], "10"])
  expect(await road.eventOf(refused?.id ?? "")).toMatchObject({
    problem: "ip-rate-limited",
    client_address: "127.0.0.21",
    level: "warn",
  })
  expect(own.requests).toEqual([])
})

test("a claimed CF-Connecting-IP does not reach the counter", async () => {
  const answers = await flood("127.0.0.22", "/own/x", (i) => `CF-Connecting-IP: 198.51.100.${i}`)
  expect(answers.map(({ code }) => code)).toContain("ip-rate-limited")
})

test("the limit holds on a route that needs no certificate, and another address is not affected", async () => {
  const answers = await flood("127.0.0.23", "/healthz", (i) => `X-Count: ${i}`)
  expect(answers[0]?.statuses).toEqual([200])
  expect(answers.map(({ code }) => code)).toContain("ip-rate-limited")
  const other = await road.send("GET /healthz HTTP/1.1", ["Host: localhost"], { localAddress: "127.0.0.24" })
  expect(other.statuses).toEqual([200])
})

/**
 * Goal: what the road adds to idempotency: callers that hang up, a workerd that dies while the origin works, and the files that
 * records lie in. Method: real sockets, SIGKILL, and an origin under the test's control.
 */
import { randomUUID } from "node:crypto"
import { readdir, readFile } from "node:fs/promises"
import type { ServerResponse } from "node:http"
import { request as startRequest } from "node:https"
import { join } from "node:path"
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest"
import { childrenOf, startOrigin, startRoad, type Origin, type Road } from "./road.ts"

const PAN = "4111111111111111"
const BODY = `{"pan":"${PAN}"}`

let origin: Origin
let road: Road
let waiting: ServerResponse[] = []

beforeAll(async () => {
  origin = await startOrigin((request, response) => {
    request.resume()
    if (request.url?.startsWith("/pay/slow") === true) waiting.push(response)
    else response.end(`paid ${PAN}`)
  })
  road = await startRoad({
    overrides: {
      ORIGINS: { bank: { url: "http://127.0.0.1:9000" }, own: { url: origin.url } },
      ROUTES_OWN: [{ prefix: "/pay", origin: "own", limits: "standard", idempotency: "required" }],
    },
  })
})
beforeEach(() => {
  waiting = []
})
afterAll(async () => {
  await road?.close()
  await origin?.close()
})

function pay(path: string, key: string) {
  const headers = { "Idempotency-Key": `"${key}"`, "Content-Type": "application/json" }
  return road.call(path, { as: "acme", method: "POST", headers, body: BODY })
}

const requestsTo = (path: string): number => origin.requests.filter(({ line }) => line === `POST ${path}`).length

test("IDM-02 the answer that a caller has hung up on is there when it asks again", async () => {
  const [path, key] = ["/pay/slow-left", randomUUID()]
  const identity = await road.identity("acme")
  const headers = { Host: "localhost", "Idempotency-Key": `"${key}"`, "Content-Type": "application/json" }
  const arrived = origin.arrival()
  const leaving = startRequest({
    ...identity,
    host: "127.0.0.1",
    port: road.port,
    servername: "localhost",
    method: "POST",
    path,
    headers,
  })
  leaving.on("error", () => {})
  leaving.end(BODY)
  const [, response] = await arrived
  const left = new Promise((done) => leaving.once("close", done))
  leaving.destroy()
  await left
  // The gateway learns of it before the origin answers: a repeat has travelled the same road meanwhile.
  expect((await pay(path, key)).code).toBe("idempotency-in-progress")
  response.end("paid")
  let answer = await pay(path, key)
  while (answer.code === "idempotency-in-progress") answer = await pay(path, key)
  expect([answer.status, answer.body, answer.headers["idempotency-replayed"]]).toEqual([200, "paid", "true"])
  expect(requestsTo(path)).toBe(1)
})

test.skipIf(process.platform === "win32")(
  "IDM-09 after workerd has died while the origin worked, the request is not carried out again",
  async () => {
    const [path, key] = ["/pay/slow-killed", randomUUID()]
    const arrived = origin.arrival()
    const first = pay(path, key).catch(() => undefined)
    await arrived
    const [pid = 0] = childrenOf("workerd")
    const isBack = road.noticeOf(/started again/)
    process.kill(pid, "SIGKILL")
    await isBack
    expect([502, 503, undefined]).toContain((await first)?.status)
    const repeats = [await pay(path, key), await pay(path, key)]
    expect(repeats.map(({ code }) => code)).toEqual(["idempotency-in-progress", "idempotency-in-progress"])
    expect(requestsTo(path)).toBe(1)
  },
)

test("IDM-12 the files of the ledgers hold neither body, answer, key nor client", async () => {
  const [path, key] = ["/pay/files", `canary-${randomUUID()}`]
  expect([(await pay(path, key)).body, (await pay(path, key)).body]).toEqual([`paid ${PAN}`, `paid ${PAN}`])
  const names = await readdir(road.state, { recursive: true })
  const files = names.filter((name) => name.includes("IdempotencyLedger") && name.includes("sqlite"))
  const octets = await Promise.all(files.map(async (name) => readFile(join(road.state, name))))
  const text = Buffer.concat(octets).toString("latin1")
  // They are the right files: a record of the agreed kind is in them.
  expect(text).toMatch(/"version":1,"fingerprint":"[0-9a-f]{64}"/)
  const secrets = [PAN, "paid", key, path, "spiffe", '"acme"', "application/json"]
  expect(secrets.filter((secret) => text.includes(secret))).toEqual([])
  expect(files.filter((name) => name.includes(key) || name.includes("acme"))).toEqual([])
  expect(road.events.filter((event) => JSON.stringify(event).includes(key))).toEqual([])
})

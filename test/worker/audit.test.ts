/**
 * Goal: on a route that requires it, the origin sees nothing that is not on the client's trail; every request has one intent and one
 * outcome, every refusal of a known client one record; and a trail that does not answer refuses. Method: whole gateways over the
 * real object; trails that fail, hang, are overloaded or full; the order in which trail and origin are asked.
 */
import { runInDurableObject } from "cloudflare:test"
import { beforeEach, describe, expect, test, vi } from "vitest"
import { AuditTrailObject } from "../../durable-objects/audit-trail.ts"
import type { ClientGate } from "../../durable-objects/client-gate.ts"
import type { AuditDraft } from "../../src/core/audit/audit-record.ts"
import { AUDIT_WAITING_MAX } from "../../src/core/bounds.ts"
import { demandOf } from "../../src/core/gate/gate-plan.ts"
import { GATEWAY, recordsOf, sql, trailObject, useSinks, verify, waitingLines } from "./audit.ts"
import { GUARD, objectOf } from "./guarded.ts"
import { RECORD_KEY } from "./keyed.ts"
import {
  createGateway,
  eventOf,
  expectRefusal,
  fixtures,
  type Exchanged,
  type GatewayOptions,
  type TestGateway,
} from "./harness.ts"

const TOKEN = { issuer: "https://login.test", jwks_url: "http://127.0.0.1:1/jwks", audience: "x", guard: false }
const PAY = { method: "POST", target: "/pay", body: "{}" }

let complaints: string[]

beforeEach(() => {
  complaints = []
  vi.spyOn(console, "error").mockImplementation((line: string) => void complaints.push(line))
  // One that takes nothing: what is on a trail stays there to be looked at.
  useSinks("503-600")
})

/** Returns a gateway whose `/pay` requires the trail. */
function createAudited(
  options: GatewayOptions & { readonly route?: object; readonly overrides?: object } = {},
): TestGateway {
  const { overrides, route, ...others } = options
  return createGateway(
    {
      SINKS: [{ kind: "ndjson", url: `http://127.0.0.1:${fixtures.sinkPort}/none/200`, takes: ["audit"] }],
      ROUTES: [
        { prefix: "/pay", origin: "stub", limits: "generous", audit: "required", ...route },
        { prefix: "/public", origin: "stub", limits: "generous" },
      ],
      ...overrides,
    },
    others,
  )
}

/** Returns the records on the trail of a client of this gateway. */
async function trailOf(gateway: TestGateway, client = "acme-a") {
  return recordsOf(await waitingLines(gateway.clientId(client)))
}

/** Sends a payment without waiting for what goes on behind the answer, such as telling a trail that is down. */
async function sendOpen(gateway: TestGateway): Promise<Exchanged> {
  const response = await gateway.open(PAY)
  return { response, event: eventOf(response) }
}

/** A trail whose every call goes as `append` says. */
function trailsThat(append: (drafts: readonly AuditDraft[], call: number) => Promise<unknown>): Partial<Env> {
  let calls = 0
  const getByName = () => ({ append: (drafts: readonly AuditDraft[]) => append(drafts, ++calls) })
  return { AUDIT_TRAIL: { getByName } as unknown as NonNullable<Env["AUDIT_TRAIL"]> }
}

test("a request has an intent and an outcome with the same facts, and its event says so", async () => {
  const gateway = createAudited()
  const { event, response } = await gateway.send({ ...PAY, headers: { "X-Request-Id": "invoice-7" } })
  expect([response.status, event.audit]).toEqual([200, "recorded"])
  const facts = {
    request_id: "invoice-7",
    trace_id: event.trace_id,
    actor: {
      client_id: gateway.clientId("acme-a"),
      certificate_fingerprint: fixtures.certificates["acme-a"].fingerprint,
    },
    action: { method: "POST", route: "/pay/**", path: "/pay" },
    target: "stub",
    config_version: gateway.config.version,
  }
  expect(await trailOf(gateway)).toMatchObject([
    { kind: "intent", seq: 1, ...facts },
    { kind: "outcome", seq: 2, ...facts, outcome: { result: "forwarded", status: 200 } },
  ])
  expect(await verify(await waitingLines(gateway.clientId("acme-a")))).toMatchObject([
    { unfinished: 0, fault: undefined },
  ])
})

test("two requests that a caller gives one id are two on the trail", async () => {
  const gateway = createAudited()
  for (let i = 0; i < 2; i++) await gateway.fetch({ ...PAY, headers: { "X-Request-Id": "the-same" } })
  expect(await trailOf(gateway)).toHaveLength(4)
})

test("LOG-06 nothing of query, fields or body is on a trail", async () => {
  const gateway = createAudited()
  const headers = { Authorization: "Bearer SECRETJWT", Cookie: "SECRETC", "X-Secret": "SECRETF" }
  await gateway.fetch({ ...PAY, target: "/pay?token=SECRETQ", headers, body: "SECRETBODY" })
  expect((await waitingLines(gateway.clientId("acme-a"))).join()).not.toContain("SECRET")
})

test("the intent is durable before the origin is asked, and the outcome before the answer leaves", async () => {
  const gateway = createAudited()
  const seen: string[] = []
  const append = AuditTrailObject.prototype.append
  vi.spyOn(AuditTrailObject.prototype, "append").mockImplementation(async function (
    this: AuditTrailObject,
    drafts: readonly AuditDraft[],
  ) {
    const requests = (await gateway.originRequests()).length
    const answer = await append.call(this, drafts)
    seen.push(`${drafts.map(({ kind }) => kind).join()} with ${requests} at the origin`)
    return answer
  })
  await gateway.open(PAY)
  expect(seen.filter((line) => !line.startsWith("configuration"))).toEqual([
    "intent with 0 at the origin",
    "outcome with 1 at the origin",
  ])
})

test.each([
  [
    "an answer of the origin that is an error",
    { ...PAY, target: "/pay/answer?status=500" },
    {},
    { result: "forwarded" },
  ],
  [
    "a body that is too large",
    { ...PAY, body: "xxxxx" },
    { max_request_bytes: "4B" },
    { problem: "body-too-large", status: 413 },
  ],
])("the outcome of %s is what the client was told, and no refusal beside it", async (_, parts, route, outcome) => {
  const gateway = createAudited({ route })
  const response = await gateway.fetch(parts)
  expect(await trailOf(gateway)).toMatchObject([
    { kind: "intent" },
    { kind: "outcome", outcome: { status: response.status, ...outcome } },
  ])
})

describe("LOG-11 the origin is not called, and the answer is 503, when the trail", () => {
  test.each<readonly [string, Partial<Env>, string]>([
    ["is not bound", { AUDIT_TRAIL: undefined } as unknown as Partial<Env>, "audit_binding_missing"],
    ["fails", trailsThat(async () => Promise.reject(new Error("SECRET"))), "audit_object_failed"],
    [
      "is reset twice",
      trailsThat(async () => Promise.reject(Object.assign(new Error("x"), { durableObjectReset: true }))),
      "audit_object_reset",
    ],
    ["is full", trailsThat(async () => ({ kind: "full", seq: 7 })), "audit_full"],
    [
      "is off, because its object is of a version without sinks",
      trailsThat(async () => ({ kind: "off" })),
      "audit_off",
    ],
  ])("%s", async (_, bindings, reason) => {
    const gateway = createAudited({ bindings })
    await expectRefusal(gateway, await sendOpen(gateway), { status: 503, code: "service-unavailable", reason })
  })

  test("says nothing for two seconds", async () => {
    const gateway = createAudited({
      bindings: trailsThat(async (_, call) => (call === 1 ? new Promise(() => {}) : { kind: "off" })),
    })
    await expectRefusal(gateway, await sendOpen(gateway), {
      status: 503,
      code: "service-unavailable",
      reason: "audit_object_timeout",
    })
  })

  test("is overloaded, which is not asked again for a second", async () => {
    let calls = 0
    const bindings = trailsThat(async (drafts) => {
      if (drafts[0]?.kind === "intent") calls += 1
      throw Object.assign(new Error("x"), { overloaded: true })
    })
    const gateway = createAudited({ bindings })
    const responses = [await gateway.open(PAY), await gateway.open(PAY)]
    expect([responses.map(({ status }) => status), calls]).toEqual([[503, 503], 1])
  })

  test("has a head that cannot be read", async () => {
    const gateway = createAudited()
    await gateway.fetch(PAY)
    await sql(gateway.clientId("acme-a"), "UPDATE head SET state = '{'")
    const before = (await gateway.originRequests()).length
    expect((await gateway.open(PAY)).status).toBe(503)
    expect((await gateway.originRequests()).length).toBe(before)
  })

  test("waits for its sinks beyond the bound; other routes go on", async () => {
    const gateway = createAudited()
    await gateway.fetch(PAY)
    await sql(
      gateway.clientId("acme-a"),
      `UPDATE head SET state = json_set(state, '$.seq', ${AUDIT_WAITING_MAX}, '$.waiting.records', ${AUDIT_WAITING_MAX})`,
    )
    expect((await gateway.open(PAY)).status).toBe(503)
    expect((await gateway.open()).status).toBe(200)
  })
})

test("a trail that is reset once is asked again, and has the intent once", async () => {
  const append = AuditTrailObject.prototype.append
  let calls = 0
  vi.spyOn(AuditTrailObject.prototype, "append").mockImplementation(async function (
    this: AuditTrailObject,
    drafts: readonly AuditDraft[],
  ) {
    const answer = await append.call(this, drafts)
    if (drafts[0]?.kind === "intent" && ++calls === 1) throw Object.assign(new Error("reset"), { retryable: true })
    return answer
  })
  const gateway = createAudited()
  const response = await gateway.fetch(PAY)
  const kinds = (await trailOf(gateway)).map(({ kind }) => kind)
  // Whether the flag of the error crosses the call is the platform's; either way the origin is asked for what is recorded.
  expect(kinds.filter((kind) => kind === "intent")).toHaveLength(1)
  expect((await gateway.originRequests()).length).toBe(response.status === 200 ? 1 : 0)
})

test("an outcome that the trail does not take at once is told behind the answer, and the event says so", async () => {
  const told: string[] = []
  let isDown = true
  const gateway = createAudited({
    bindings: trailsThat(async (drafts) => {
      const kinds = drafts.map(({ kind }) => kind)
      if (isDown && kinds.includes("outcome")) {
        isDown = false
        throw new Error("down")
      }
      told.push(...kinds)
      return { kind: "appended", seq: told.length }
    }),
  })
  const { event, response } = await gateway.send(PAY)
  expect([response.status, event.audit, event.level]).toEqual([200, "delayed", "warn"])
  expect(told.filter((kind) => kind !== "configuration")).toEqual(["intent", "outcome"])
})

describe("a refusal of a known client", () => {
  test("on any route is on its trail behind the answer", async () => {
    const gateway = createAudited({ overrides: { LIMITS: { generous: { rate: "1/d", burst: 1, quota: "1/day" } } } })
    await gateway.fetch()
    const { event } = await gateway.send()
    expect(await trailOf(gateway)).toMatchObject([
      {
        kind: "refusal",
        request_id: event.request_id,
        outcome: { result: "refused", status: 429, problem: event.problem },
        rule: event.rate_limit_policy,
        action: { path: "/public/x" },
      },
    ])
  })

  test("costs no call of its own: many are told together", async () => {
    const batches: number[] = []
    const bindings = trailsThat(async (drafts) => {
      if (drafts[0]?.kind === "refusal") batches.push(drafts.length)
      return { kind: "appended", seq: 1 }
    })
    const gateway = createAudited({ bindings, route: { token: "login" }, overrides: { TOKENS: { login: TOKEN } } })
    await Promise.all(Array.from({ length: 150 }, () => gateway.fetch(PAY)))
    expect(batches.reduce((sum, size) => sum + size, 0)).toBe(150)
    expect(batches.length).toBeLessThan(30)
  })

  test("of nobody who is known is an event only", async () => {
    const gateway = createAudited()
    const { event } = await gateway.send({ cert: "none" })
    expect([event.problem, await trailOf(gateway)]).toEqual(["client-cert-required", []])
  })

  test("is not on a trail where no sink takes any", async () => {
    const gateway = createGateway({ LIMITS: { generous: { rate: "1/d", burst: 1, quota: "1/day" } } })
    await gateway.fetch()
    expect((await gateway.fetch()).status).toBe(429)
    expect(await trailOf(gateway)).toEqual([])
  })
})

test("a configuration is on the gateway's trail when it is seen first, and again when it comes back", async () => {
  const versions: string[] = []
  const first = createAudited()
  await first.fetch()
  await first.fetch()
  const again = createAudited()
  await again.fetch()
  for (const { config_version: version, kind } of recordsOf(await waitingLines(GATEWAY)))
    if (kind === "configuration") versions.push(version ?? "")
  expect(versions.filter((version) => version === first.config.version)).toHaveLength(1)
  expect(versions.filter((version) => version === again.config.version)).toHaveLength(1)
})

test("a block and its end are on the client's trail, once each, also when the trail was down", async () => {
  const gateway = createAudited({ overrides: { GUARDS: { login: GUARD } }, route: { guard: "login" } })
  const append = AuditTrailObject.prototype.append
  const spy = vi.spyOn(AuditTrailObject.prototype, "append").mockImplementation(async function (
    this: AuditTrailObject,
    drafts: readonly AuditDraft[],
  ) {
    if (drafts.some(({ kind }) => kind === "block")) throw new Error("down")
    return append.call(this, drafts)
  })
  for (let i = 0; i < 5; i++) await gateway.fetch({ ...PAY, target: "/pay/answer?status=401" })
  await vi.waitUntil(() => complaints.some((line) => line.includes("audit_record_delayed")))
  spy.mockRestore()
  const object = objectOf(gateway)
  for (let i = 0; i < 2; i++) await runInDurableObject(object, (instance: ClientGate) => instance.alarm())
  const guard = gateway.config.guards[0]
  if (guard === undefined) throw new Error("No guard configured")
  await object.administer(demandOf(guard), { action: "unblock" })
  await runInDurableObject(object, (instance: ClientGate) => instance.alarm())
  const blocks = (await trailOf(gateway)).filter(({ kind }) => kind === "block" || kind === "unblock")
  expect(blocks).toMatchObject([
    { kind: "block", rule: "login", outcome: { reason: "failures" }, actor: { client_id: gateway.clientId("acme-a") } },
    { kind: "unblock", rule: "login", outcome: { reason: "unblock" } },
  ])
  expect(await verify(await waitingLines(gateway.clientId("acme-a")))).toMatchObject([{ fault: undefined }])
})

test("the head that `inspect()` shows is the one that the last line has", async () => {
  const gateway = createAudited()
  await gateway.fetch(PAY)
  const { head } = await trailObject(gateway.clientId("acme-a")).inspect()
  expect([head.seq, head.hash]).toEqual([2, (await trailOf(gateway)).at(-1)?.hash])
})

test("an answer that the ledger of keys cannot record is a refusal behind the outcome that the origin gave", async () => {
  const reserve = (demand: { readonly identities: readonly { readonly key: string }[] }) =>
    Promise.resolve({ kind: "proceed", key: demand.identities[0]?.key })
  const settle = () => Promise.reject(new Error("disk full"))
  const ledgers = { getByName: () => ({ reserve, settle }) } as unknown as Env["IDEMPOTENCY_LEDGER"]
  const gateway = createAudited({
    route: { idempotency: "required" },
    overrides: { GATEWAY: { hosts: ["gw.test"], log_flush: "10ms", idempotency: { keys: ["IDEMPOTENCY_KEY"] } } },
    secrets: { IDEMPOTENCY_KEY: RECORD_KEY },
    bindings: { IDEMPOTENCY_LEDGER: ledgers },
  })
  const { event, response } = await gateway.send({ ...PAY, headers: { "Idempotency-Key": '"k"' } })
  expect([response.status, event.audit]).toEqual([503, "recorded"])
  const records = await vi.waitUntil(async () => {
    const found = await trailOf(gateway)
    return found.length === 3 && found
  })
  expect(records.map(({ kind, outcome }) => [kind, outcome?.status, outcome?.problem])).toEqual([
    ["intent", undefined, undefined],
    ["outcome", 200, undefined],
    ["refusal", 503, "service-unavailable"],
  ])
})

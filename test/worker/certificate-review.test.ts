/**
 * Goal: the record warns of certificates that end, once a day, by a use or by the daily review, and no request waits for it.
 * Method: the real objects; the console for what they tell, their storage for what they keep; cron runs of a whole day.
 */
import { runInDurableObject } from "cloudflare:test"
import { env } from "cloudflare:workers"
import { expect, test, vi } from "vitest"
import { ClientGate } from "../../durable-objects/client-gate.ts"
import { reviewCertificates } from "../../src/certificate-review.ts"
import { createEmbeddedDirectory } from "../../src/client-directory.ts"
import type { CertificateRecord } from "../../src/core/record/event.ts"
import { createGateway, fixtures, writtenLines, type TestGateway } from "./harness.ts"

const HOUR_MS = 3_600_000
const DAY_START_MS = Date.UTC(2026, 10, 28)
/** Every certificate of these tests lives for 90 days. */
const EARLY = { GATEWAY: { hosts: ["gw.test"], certificate_warning: "100d" } }

function records(gateway: TestGateway): readonly CertificateRecord[] {
  return writtenLines()
    .filter((line) => line.includes('"certificate.expiring"'))
    .map((line) => JSON.parse(line) as CertificateRecord)
    .filter(({ client_id: id }) => id.endsWith(gateway.name))
}

/** Runs the cron once an hour for a day. */
async function reviewDay({ config }: TestGateway) {
  const directory = createEmbeddedDirectory(config)
  const outcomes = []
  for (let hour = 0; hour < 24; hour++)
    outcomes.push(await reviewCertificates({ config, directory }, env, DAY_START_MS + hour * HOUR_MS))
  return outcomes
}

test("a use near the end is told once a day, whatever isolate it comes to", async () => {
  const gateway = createGateway(EARLY)
  await gateway.fetch()
  await gateway.fetch()
  // Another isolate of the same gateway.
  const other = createGateway(() => ({
    ...EARLY,
    CLIENTS: [{ id: gateway.clientId("acme-a"), certificates: [{ issuer: "ca-a", san_uri: "spiffe://acme/acme-a" }] }],
  }))
  await other.fetch()
  const { fingerprint, notAfterMs } = fixtures.certificates["acme-a"]
  expect(records(gateway)).toMatchObject([
    {
      level: "warn",
      client_id: gateway.clientId("acme-a"),
      ends: "validity",
      ends_at: new Date(notAfterMs).toISOString(),
      certificate_fingerprint: fingerprint,
      found_by: "use",
    },
  ])
})

test("the object is told of a certificate once a day and isolate, also of one that ends late", async () => {
  const note = vi.spyOn(ClientGate.prototype, "noteCertificate")
  const gateway = createGateway()
  for (let i = 0; i < 3; i++) await gateway.fetch()
  expect([note.mock.calls.length, records(gateway)]).toEqual([1, []])
})

test("an object that does not listen fails no request, and is told a minute later", async () => {
  const note = vi.spyOn(ClientGate.prototype, "noteCertificate").mockImplementation(() => {
    throw new Error("SECRET")
  })
  let nowMs = Date.now()
  const gateway = createGateway({}, { nowMs: () => nowMs })
  const statuses = [(await gateway.send()).event.status, (await gateway.send()).event.status]
  const before = note.mock.calls.length
  nowMs += 60_000
  await gateway.fetch()
  expect([statuses, before, note.mock.calls.length]).toEqual([[200, 200], 1, 2])
})

test("the review asks every client of the directory once a day", async () => {
  const review = vi.spyOn(ClientGate.prototype, "reviewCertificates")
  const gateway = createGateway()
  const outcomes = await reviewDay(gateway)
  expect(outcomes.reduce((sum, { asked }) => sum + asked, 0)).toBe(3)
  expect(review).toHaveBeenCalledTimes(3)
})

test("the review warns of a certificate that was used once and is quiet since", async () => {
  const gateway = createGateway()
  await gateway.fetch()
  const early = createGateway(() => ({
    ...EARLY,
    CLIENTS: gateway.config.clients.map(({ id }, i) => ({ id, certificates: [{ fingerprint: String(i).repeat(64) }] })),
  }))
  await reviewDay(early)
  await reviewDay(early)
  expect(records(gateway)).toMatchObject([{ client_id: gateway.clientId("acme-a"), found_by: "review" }])
})

test("the review warns of a window that ends with nobody in it", async () => {
  const retireAt = new Date(Date.now() + 48 * HOUR_MS).toISOString()
  const gateway = createGateway((name) => ({
    CLIENTS: [
      {
        id: `acme-a-${name}`,
        certificates: [{ spki: "1".repeat(64) }, { spki: "2".repeat(64), retire_at: retireAt }],
      },
    ],
  }))
  await reviewDay(gateway)
  expect(records(gateway)).toMatchObject([
    { level: "error", ends: "overlap", ends_at: retireAt, rule: "CLIENTS[0].certificates[1]" },
  ])
})

test("a run that is not at a full hour does nothing", async () => {
  const { config } = createGateway()
  const directory = createEmbeddedDirectory(config)
  const runs = Array.from({ length: 24 * 60 }, (_, minute) => DAY_START_MS + minute * 60_000)
  const off = runs.filter((ms) => ms % HOUR_MS !== 0)
  const outcomes = await Promise.all(off.map(async (ms) => reviewCertificates({ config, directory }, env, ms)))
  expect(outcomes.filter(({ asked }) => asked > 0)).toEqual([])
})

test("objects and directories that fail are counted and named, and end no run", async () => {
  const errors = vi.spyOn(console, "error").mockImplementation(() => {})
  const { config } = createGateway()
  const getByName = () => ({ reviewCertificates: () => Promise.reject(new Error("SECRET")) })
  const broken = { CLIENT_GATE: { getByName } as unknown as Env["CLIENT_GATE"] }
  const everybody = { find: createEmbeddedDirectory(config).find, clientsOf: () => config.clients }
  const nobody = {
    ...everybody,
    clientsOf: () => {
      throw new TypeError("SECRET")
    },
  }
  const outcomes = [
    await reviewCertificates({ config, directory: everybody }, broken, DAY_START_MS),
    await reviewCertificates({ config, directory: nobody }, env, DAY_START_MS),
  ]
  expect(outcomes).toEqual([
    { asked: 3, unanswered: 3 },
    { asked: 0, unanswered: 0 },
  ])
  expect(errors.mock.calls).toEqual([
    ['{"level":"error","event":"certificate_review_incomplete","asked":3,"unanswered":3}'],
    [
      '{"level":"error","event":"certificate_review_incomplete","asked":0,"unanswered":0,"reason":"directory_failed TypeError"}',
    ],
  ])
})

test("a damaged row is as good as none: the certificate is told once more", async () => {
  const gateway = createGateway(EARLY)
  await gateway.fetch()
  await runInDurableObject(
    env.CLIENT_GATE.getByName(gateway.clientId("acme-a")),
    (instance: ClientGate, { storage }) => {
      storage.sql.exec("UPDATE certificates SET state = '{'")
      instance.noteCertificate({ fingerprint: "a", notAfterMs: 0, retiresAtMs: null }, 1)
    },
  )
  expect(records(gateway).map(({ certificate_fingerprint: fingerprint }) => fingerprint)).toEqual([
    fixtures.certificates["acme-a"].fingerprint,
    "a",
  ])
})

test("records that the queue does not take are kept for it", async () => {
  vi.spyOn(console, "error").mockImplementation(() => {})
  const name = `queue-${crypto.randomUUID()}`
  await runInDurableObject(env.CLIENT_GATE.getByName(name), async (_, ctx) => {
    const send = vi.fn(() => Promise.reject(new Error("x")))
    const gate = new ClientGate(ctx, { ...env, EVENTS: { send } as unknown as NonNullable<Env["EVENTS"]> })
    gate.noteCertificate({ fingerprint: "a", notAfterMs: 0, retiresAtMs: null }, 1)
    await vi.waitUntil(() => send.mock.calls.length === 1)
    const rows = ctx.storage.sql.exec<{ record: string }>("SELECT record FROM outbox").toArray()
    expect(rows.map(({ record }) => (JSON.parse(record) as CertificateRecord).event)).toEqual(["certificate.expiring"])
    await ctx.storage.deleteAlarm()
  })
})

test("an object of another key has no certificates", async () => {
  await runInDurableObject(
    env.CLIENT_GATE.getByName(`address:${"0".repeat(64)}`),
    (instance: ClientGate, { storage }) => {
      instance.noteCertificate({ fingerprint: "a", notAfterMs: 0, retiresAtMs: null }, 1)
      expect(storage.sql.exec("SELECT state FROM certificates").toArray()).toEqual([])
    },
  )
})

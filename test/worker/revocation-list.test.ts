/**
 * Goal: the object of a CA takes over exactly the lists that this CA has signed, that are in force and that are newer than the one
 * it has; whatever else the CA's server does leaves the last good list in force. Method: the real object, fetching from a real
 * server lists that are signed with keys of every kind. Where time has to have passed, the stored state is aged.
 */
import { abortAllDurableObjects, runInDurableObject } from "cloudflare:test"
import { env } from "cloudflare:workers"
import { describe, expect, test, vi } from "vitest"
import type { RevocationList } from "../../durable-objects/revocation-list.ts"
import type { CrlRecord } from "../../src/core/record/event.ts"
import type { ListState, RevocationSource, StoredList } from "../../src/core/certificate/revocation.ts"
import { createPublisher, type Publisher } from "./crl-publisher.ts"
import { fixtures, trapConnections, writtenLines } from "./harness.ts"
import type { CrlPlan } from "./provided.ts"

const SERIAL = "4a11ce0000000000000000000000000a"
const OTHER = "ff00000000000000000000000000000b"
const HOUR_MS = 3_600_000

const objectOf = ({ ca }: RevocationSource): DurableObjectStub<RevocationList> => env.REVOCATION_LIST.getByName(ca.ski)

async function statusOf(source: RevocationSource, serial = SERIAL): Promise<string> {
  return (await objectOf(source).check(serial, source)).status
}

/** Publishes and has the object fetch, whether or not it is due. */
async function take(publisher: Publisher, plan: Partial<CrlPlan> = {}): Promise<void> {
  await publisher.publish(plan)
  await age(publisher, { attemptedAtMs: 0 })
  await objectOf(publisher.source).refresh(publisher.source)
}

/** Changes what is stored, as if other things had happened before. */
async function age({ source }: Publisher, changes: Partial<ListState>, list: Partial<StoredList> = {}): Promise<void> {
  await runInDurableObject(objectOf(source), (_, { storage: { sql } }) => {
    const [row] = sql.exec<{ state: string }>("SELECT state FROM state").toArray()
    if (row === undefined) return
    const state = JSON.parse(row.state) as ListState
    const aged = { ...state, ...changes, list: state.list === null ? null : { ...state.list, ...list } }
    sql.exec("UPDATE state SET state = ?", JSON.stringify(aged))
  })
}

/** What was written about a source, in the order of writing. */
function recordsOf({ issuer }: Pick<RevocationSource, "issuer">): readonly CrlRecord[] {
  return writtenLines()
    .map((line) => JSON.parse(line) as CrlRecord)
    .filter((record) => record.event.startsWith("crl.") && record.issuer === issuer)
}

describe.each(Object.keys(fixtures.crlCas))("a list signed by %s", (signer) => {
  test("is taken over, as DER and as PEM, and its serials are revoked", async () => {
    const publisher = createPublisher(signer)
    await take(publisher, { serials: [SERIAL] })
    expect(await statusOf(publisher.source)).toBe("revoked")
    expect(await statusOf(publisher.source, OTHER)).toBe("good")
    await take(publisher, { serials: [SERIAL, OTHER], number: 2, isPem: true })
    expect(await statusOf(publisher.source, OTHER)).toBe("revoked")
    expect(recordsOf(publisher.source)).toMatchObject([
      { event: "crl.refreshed", level: "info", entries: 1, number: "1" },
      { event: "crl.refreshed", entries: 2, number: "2" },
    ])
  })

  test("counts for nothing when the signature is not over it", async () => {
    const publisher = createPublisher(signer)
    await take(publisher, { isUnsigned: true })
    expect(await statusOf(publisher.source)).toBe("missing")
    expect(recordsOf(publisher.source)).toMatchObject([{ event: "crl.failed", reason: "crl_signature_invalid" }])
  })
})

describe("the last good list stays in force, and it is said why, when the next one", () => {
  test.each<readonly [string, Partial<CrlPlan>, string]>([
    ["CRL-1 is signed by another key of that name", { signer: "p384-sha384" }, "crl_signature_invalid"],
    ["CRL-1 is of another name", { signer: "ca-a" }, "crl_signature_invalid"],
    ["CRL-1 is signed by the CA under another name", { named: "ca-a" }, "crl_issuer_mismatch"],
    ["CRL-2 is over", { thisUpdateMs: Date.now() - HOUR_MS, nextUpdateMs: Date.now() - 1_000 }, "crl_expired"],
    [
      "CRL-3 is of the future",
      { thisUpdateMs: Date.now() + HOUR_MS, nextUpdateMs: Date.now() + 2 * HOUR_MS },
      "crl_not_yet_valid",
    ],
    ["has a smaller number", { number: 4 }, "crl_older_than_stored"],
    ["began earlier", { number: 6, thisUpdateMs: Date.now() - 2 * HOUR_MS }, "crl_older_than_stored"],
    ["is cut", { behaviour: "cut" }, "crl_unreachable"],
    ["is of 50 MB", { behaviour: "huge" }, "crl_too_large"],
    ["has no end", { behaviour: "endless" }, "crl_too_large"],
    ["is elsewhere", { behaviour: "redirect" }, "crl_status_302"],
    ["is an error", { behaviour: "error" }, "crl_status_503"],
    ["is a page", { text: "<html>" }, "crl_not_pem"],
    ["is empty", { text: "" }, "crl_not_pem"],
  ])("%s", async (_, plan, reason) => {
    const publisher = createPublisher()
    await take(publisher, { serials: [SERIAL], number: 5 })
    await take(publisher, { serials: [], number: 6, ...plan })
    expect(await statusOf(publisher.source)).toBe("revoked")
    expect(await statusOf(publisher.source, OTHER)).toBe("good")
    expect(recordsOf(publisher.source).slice(1)).toMatchObject([
      { event: "crl.failed", level: "warn", reason, failures: 1, number: "5" },
    ])
  })

  test.each(["hang", "hang in the middle"] as const)("does not come in time (%s)", async (behaviour) => {
    const publisher = createPublisher()
    await take(publisher, { serials: [SERIAL] })
    const timeout = AbortSignal.timeout.bind(AbortSignal)
    const spy = vi.spyOn(AbortSignal, "timeout").mockImplementation(() => timeout(50))
    await take(publisher, { behaviour })
    expect(spy).toHaveBeenCalledWith(10_000)
    expect(await statusOf(publisher.source)).toBe("revoked")
    expect(recordsOf(publisher.source).at(-1)).toMatchObject({ event: "crl.failed", reason: "crl_timeout" })
  })

  test("has no server", async () => {
    const publisher = createPublisher()
    await take(publisher, { serials: [SERIAL] })
    const source = { ...publisher.source, url: `http://127.0.0.1:${fixtures.closedPort}/ca.crl` }
    await objectOf(source).refresh(source)
    expect(await statusOf(source)).toBe("revoked")
    expect(recordsOf(source).at(-1)).toMatchObject({ event: "crl.failed", reason: "crl_unreachable" })
  })
})

test("a redirect is not followed", async () => {
  const before = await trapConnections()
  await take(createPublisher(), { behaviour: "redirect" })
  expect(await trapConnections()).toBe(before)
})

test("a successor takes serials away and adds some, and both remain through an abort", async () => {
  const publisher = createPublisher()
  await take(publisher, { serials: [SERIAL] })
  await take(publisher, { serials: [OTHER], number: 2 })
  await abortAllDurableObjects()
  expect([await statusOf(publisher.source), await statusOf(publisher.source, OTHER)]).toEqual(["good", "revoked"])
})

test("a list of 100,000 serials is taken over, and a successor writes only what differs", async () => {
  const publisher = createPublisher()
  await take(publisher, { serials: [SERIAL], filler: 100_000 })
  expect(await statusOf(publisher.source)).toBe("revoked")
  expect(await statusOf(publisher.source, `40${"0".repeat(25)}1869f`)).toBe("revoked")
  const changes = (): Promise<unknown> =>
    runInDurableObject(
      objectOf(publisher.source),
      (_, ctx) => ctx.storage.sql.exec("SELECT total_changes() AS changes").one()["changes"],
    )
  const before = Number(await changes())
  await take(publisher, { serials: [SERIAL, OTHER], filler: 100_000, number: 2 })
  expect(await statusOf(publisher.source, OTHER)).toBe("revoked")
  expect(Number(await changes()) - before).toBeLessThan(10)
}, 30_000)

test("the same list again changes nothing and is no news", async () => {
  const publisher = createPublisher()
  const times = { thisUpdateMs: Date.now() - HOUR_MS, nextUpdateMs: Date.now() + HOUR_MS }
  await take(publisher, { serials: [SERIAL], ...times })
  await take(publisher, { serials: [SERIAL], ...times })
  expect(await publisher.fetches()).toBe(2)
  expect(recordsOf(publisher.source)).toHaveLength(1)
})

describe("refresh()", () => {
  test("fetches once for many callers, and not again before it is due", async () => {
    const publisher = createPublisher()
    await publisher.publish()
    const object = objectOf(publisher.source)
    await Promise.all(Array.from({ length: 20 }, () => object.refresh(publisher.source)))
    await object.refresh(publisher.source)
    expect(await publisher.fetches()).toBe(1)
    await age(publisher, { attemptedAtMs: Date.now() - HOUR_MS, succeededAtMs: Date.now() - HOUR_MS })
    await object.refresh(publisher.source)
    expect(await publisher.fetches()).toBe(2)
  })

  test("waits after a failure and counts failures", async () => {
    const publisher = createPublisher()
    await publisher.publish({ behaviour: "error" })
    const object = objectOf(publisher.source)
    await object.refresh(publisher.source)
    expect(await object.refresh(publisher.source)).toMatchObject({ list: null, failures: 1 })
    expect(await publisher.fetches()).toBe(1)
    await age(publisher, { attemptedAtMs: Date.now() - 30_000 })
    expect(await object.refresh(publisher.source)).toMatchObject({ failures: 2 })
  })

  test("says once that the list is over, and again of the next one", async () => {
    const publisher = createPublisher()
    await take(publisher)
    await publisher.publish({ behaviour: "error" })
    await age(publisher, {}, { nextUpdateMs: Date.now() - 1 })
    const object = objectOf(publisher.source)
    await object.refresh(publisher.source)
    await object.refresh(publisher.source)
    const stale = recordsOf(publisher.source).filter(({ event }) => event === "crl.stale")
    expect(stale).toMatchObject([{ level: "error", number: "1" }])
  })
})

describe("check()", () => {
  test("CRL-2 is stale for what is not on a list that is over, and revoked for what is", async () => {
    const publisher = createPublisher()
    await take(publisher, { serials: [SERIAL] })
    await age(publisher, {}, { nextUpdateMs: Date.now() })
    expect([await statusOf(publisher.source), await statusOf(publisher.source, OTHER)]).toEqual(["revoked", "stale"])
  })

  test("tells from when until when the list is", async () => {
    const publisher = createPublisher()
    const thisUpdateMs = Math.floor(Date.now() / 1_000) * 1_000
    const times = { thisUpdateMs, nextUpdateMs: thisUpdateMs + HOUR_MS }
    await take(publisher, times)
    expect(await objectOf(publisher.source).check(SERIAL, publisher.source)).toEqual({ status: "good", ...times })
  })

  test("is missing before there was a list, and has it fetched once", async () => {
    const publisher = createPublisher()
    await publisher.publish()
    const statuses = await Promise.all(Array.from({ length: 10 }, () => statusOf(publisher.source)))
    expect(new Set(statuses)).toEqual(new Set(["missing"]))
    await vi.waitFor(async () => expect(await statusOf(publisher.source)).toBe("good"))
    expect(await publisher.fetches()).toBe(1)
  })

  test("knows nothing of the list of another key of this CA", async () => {
    const publisher = createPublisher()
    await take(publisher, { serials: [SERIAL] })
    const { publicKey } = fixtures.crlCas["p384-sha384"] ?? publisher.source.ca
    expect(await statusOf({ ...publisher.source, ca: { ...publisher.source.ca, publicKey } })).toBe("missing")
  })

  test.each(["", "{", '{"version":2}'])("is missing when the row reads %j", async (text) => {
    const publisher = createPublisher()
    await take(publisher)
    await runInDurableObject(objectOf(publisher.source), (_, { storage }) => {
      storage.sql.exec("UPDATE state SET state = ?", text)
    })
    expect(await statusOf(publisher.source)).toBe("missing")
  })
})

test("inspect() tells how the list stands and changes nothing", async () => {
  const publisher = createPublisher()
  const object = objectOf(publisher.source)
  expect(await object.inspect(publisher.source)).toEqual({
    list: null,
    attemptedAtMs: 0,
    failures: 0,
    nextRefreshMs: 0,
  })
  expect(await publisher.fetches()).toBe(0)
})

/**
 * Goal: a client that renews its certificate has both for a while, and then by itself only the new one; the record says who
 * still has to move.
 * Method: `sekisho pki rotate` on the PKI of a running gateway, the rules that it prints, and calls over real TLS.
 */
import { createHash, X509Certificate } from "node:crypto"
import { readFile } from "node:fs/promises"
import { Agent } from "node:https"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { runCommand, type Ended } from "./command.ts"
import { startRoad, writeConfig, type Certificate, type Road } from "./road.ts"

interface Rule {
  readonly spki: string
  readonly issuer: string
  readonly retire_at?: string
}

let road: Road
let rotated: Ended
let rules: readonly Rule[]

/** The two certificates, as files of the PKI. */
const NEW = "acme"
const OLD = "acme.old" as Certificate

beforeAll(async () => {
  road = await startRoad()
  const config = await writeConfig(road.state, (toml) => toml)
  rotated = await runCommand("pki", "rotate", "acme", "--state", road.state, "--config", config, "--overlap", "2d")
  rules = [...rotated.stdout.matchAll(/\{ spki = "([^"]+)", issuer = "([^"]+)"(?:, retire_at = (\S+))? \}/g)].map(
    ([, spki = "", issuer = "", retireAt]) => ({
      spki,
      issuer,
      ...(retireAt === undefined ? {} : { retire_at: retireAt }),
    }),
  )
})
afterAll(() => road?.close())

/** Takes over rules for acme in which the old certificate retires at an instant. */
async function retireAt(ms: number): Promise<void> {
  const [current, old] = rules
  const certificates = [current, { ...old, retire_at: new Date(ms).toISOString() }]
  await road.reload({ CLIENTS: [{ id: "acme", certificates }] })
}

const pem = (name: string): Promise<string> => readFile(join(road.state, "pki", "clients", `${name}.pem`), "utf8")

async function spkiOf(name: string): Promise<string> {
  const der = new X509Certificate(await pem(name)).publicKey.export({ type: "spki", format: "der" })
  return createHash("sha256").update(der).digest("base64")
}

describe("sekisho pki rotate", () => {
  test("ends with 0 and leaves two certificates of one CA with different keys", async () => {
    const [current, old] = [new X509Certificate(await pem("acme")), new X509Certificate(await pem("acme.old"))]
    expect([rotated.code, rotated.stderr]).toEqual([0, ""])
    expect([current.subject, current.subjectAltName]).toEqual([old.subject, old.subjectAltName])
    expect(await spkiOf("acme")).not.toBe(await spkiOf("acme.old"))
  })

  test("prints a rule for each, and the old one retires after the overlap", async () => {
    expect(rules.map(({ spki, issuer }) => [spki, issuer])).toEqual([
      [await spkiOf("acme"), "development"],
      [await spkiOf("acme.old"), "development"],
    ])
    const end = Date.parse(rules[1]?.retire_at ?? "")
    expect([rules[0]?.retire_at, Math.round((end - Date.now()) / 3_600_000)]).toEqual([undefined, 48])
  })

  test("prints rules that a configuration takes as they are, which `sekisho check` shows with their end", async () => {
    const lines = /certificates = \[[^]*?\n\]/.exec(rotated.stdout)?.[0] ?? ""
    const config = await writeConfig(road.state, (toml) =>
      toml.replace('certificates = [{ issuer = "development", san_uri = "spiffe://partners.example/acme" }]', lines),
    )
    const { code, stdout } = await runCommand("check", "--config", config)
    expect(code).toBe(0)
    expect(stdout).toMatch(
      /acme\s+spki\s+\S{44}\s+\(issuer 73656b697368…\)\n\s+spki\s+\S{44}\s+\(issuer .*until \S+Z, 1 day left/,
    )
    expect(stdout).toMatch(/! CLIENTS\[0\]\.certificates\[1\] its overlap window ends soon/)
  })

  test.each([
    [["nobody"], /no certificate for "nobody" here; there are: acme, globex/],
    [[], /takes one client/],
    [["acme", "globex"], /takes one client/],
    [["acme", "--overlap", "soon"], /--overlap takes a duration/],
  ])("%j is refused with what to do", async (args, expected) => {
    const { code, stderr } = await runCommand("pki", "rotate", ...args, "--state", road.state)
    expect(code).toBe(1)
    expect(stderr).toMatch(expected)
  })
})

describe("on the road", () => {
  test("a rule by name lets both pass for good", async () => {
    const answers = [await road.call("/balance", { as: NEW }), await road.call("/balance", { as: OLD })]
    expect(answers.map(({ status }) => status)).toEqual([200, 200])
    expect(await road.eventOf(answers[1]?.id ?? "")).not.toHaveProperty("certificate_retires_at")
  })

  test("within the window both pass, and the event of the old one says when it ends", async () => {
    const endMs = Date.now() + 3_600_000
    await retireAt(endMs)
    const answers = [await road.call("/balance", { as: NEW }), await road.call("/balance", { as: OLD })]
    expect(answers.map(({ status }) => status)).toEqual([200, 200])
    const [current, old] = await Promise.all(answers.map(({ id }) => road.eventOf(id)))
    expect(current).not.toHaveProperty("certificate_retires_at")
    expect(old).toMatchObject({ client_id: "acme", certificate_retires_at: new Date(endMs).toISOString() })
  })

  test("the use of the old one is a record of its own, an error in the last week", async () => {
    await expect
      .poll(() => road.events.find(({ event }) => event === "certificate.expiring"))
      .toMatchObject({
        level: "error",
        client_id: "acme",
        ends: "overlap",
        days_left: 0,
      })
  })

  test("behind the window the old one is refused on the connection it has, and the new one passes", async () => {
    await retireAt(Date.now() + 3_600_000)
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    expect((await road.call("/balance", { as: OLD, agent })).status).toBe(200)
    await retireAt(Date.now() - 1_000)
    const answer = await road.call("/balance", { as: OLD, agent })
    agent.destroy()
    expect([answer.status, answer.code]).toEqual([401, "client-cert-retired"])
    expect(await road.eventOf(answer.id)).toMatchObject({ client_id: "acme", reason: "cert_retired" })
    expect((await road.call("/balance", { as: NEW })).status).toBe(200)
  })

  test("IDN-17 a client that is disabled gets 403 on the connection it has", async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    expect((await road.call("/balance", { as: NEW, agent })).status).toBe(200)
    await road.reload({ CLIENTS: [{ id: "acme", disabled: true, certificates: rules.slice(0, 1) }] })
    const answer = await road.call("/balance", { as: NEW, agent })
    agent.destroy()
    expect([answer.status, answer.code]).toEqual([403, "client-disabled"])
    expect(await road.eventOf(answer.id)).toMatchObject({ client_id: "acme", problem: "client-disabled" })
  })
})

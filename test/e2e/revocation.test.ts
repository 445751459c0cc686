/**
 * Goal: a client whose certificate is revoked while it is connected is stopped without a restart: by the edge, which watches its
 * list, and by the Worker, which fetches the list of the CA by itself. Method: the real processes, one connection that is kept
 * alive, and requests on it until the answer changes.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { Agent, request as startRequest } from "node:https"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Socket } from "node:net"
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest"
import { endCommands, runCommand, startCommand, type Command } from "./command.ts"
import { readAnswer, startRoad, type Road } from "./road.ts"

let directory: string
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "sekisho-revocation-"))
})
afterAll(async () => {
  await endCommands()
  await rm(directory, { recursive: true, force: true })
})

/** The connections that an agent holds open. */
function socketsOf({ freeSockets }: Agent): readonly (Socket | undefined)[] {
  return Object.values(freeSockets).flatMap((sockets) => sockets ?? [])
}

describe("sekisho pki revoke, with the gateway that npm start runs", () => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  let command: Command
  let port: number
  let state: string

  beforeAll(async () => {
    state = join(directory, "dev")
    command = startCommand(["dev", "--samples", "--port", "0", "--state", state, "--json"])
    const [, found] = await command.until(/Gateway\s+https:\/\/localhost:(\d+)[^]*Ctrl-C ends it/, "stderr")
    port = Number(found)
  })
  afterAll(() => agent.destroy())

  async function call(as: string) {
    const [ca, pem] = await Promise.all(
      ["ca.pem", `clients/${as}.pem`].map((name) => readFile(join(state, "pki", name), "utf8")),
    )
    const identity = { ca, cert: pem, key: pem, host: "127.0.0.1", servername: "localhost", port }
    return readAnswer(startRequest({ ...identity, path: "/balance", headers: { Host: "localhost" }, agent }).end())
  }

  test("stops a client on the connection that it has open, and no other", async () => {
    expect((await call("acme")).status).toBe(200)
    const before = socketsOf(agent)
    const { code, stdout } = await runCommand("pki", "revoke", "acme", "--state", state)
    expect([code, stdout]).toEqual([0, expect.stringMatching(/Revoked: acme, serial [0-9A-F]{32}/)])
    await vi.waitFor(async () => expect((await call("acme")).status).toBe(401), { timeout: 10_000, interval: 100 })
    expect(before).toHaveLength(1)
    expect(socketsOf(agent)).toEqual(before)
    expect((await call("globex")).status).toBe(200)
  })

  test("reaches the Worker's own list too, and the record says so", async () => {
    await command.until(/"event":"crl\.refreshed"[^\n]*"issuer":"development"[^\n]*"entries":2/)
  })

  test("changes nothing for a client that is revoked already", async () => {
    const { code, stdout } = await runCommand("pki", "revoke", "acme", "--state", state)
    expect([code, stdout]).toEqual([0, expect.stringContaining("nothing was changed")])
  })

  test("names the clients that there are when there is none of that name", async () => {
    const { code, stderr } = await runCommand("pki", "revoke", "nobody", "--state", state)
    expect([code, stderr]).toEqual([1, expect.stringMatching(/no client "nobody".*acme, globex/)])
  })
})

describe("the Worker, behind an edge that does not know yet", () => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  let road: Road
  beforeAll(async () => {
    // Nothing is watched here: the edge keeps the list that it has started with.
    road = await startRoad()
  })
  afterAll(async () => {
    agent.destroy()
    await road.close()
  })

  test("fetches the CA's list and stops the client on its open connection", async () => {
    expect((await road.call("/balance", { as: "acme", agent })).status).toBe(200)
    const before = socketsOf(agent)
    await runCommand("pki", "revoke", "acme", "--state", road.state)
    const refused = await vi.waitFor(
      async () => {
        const answer = await road.call("/balance", { as: "acme", agent })
        expect(answer.status).toBe(401)
        return answer
      },
      { timeout: 10_000, interval: 100 },
    )
    expect(socketsOf(agent)).toEqual(before)
    expect(refused.code).toBe("client-cert-invalid")
    expect(await road.eventOf(refused.id)).toMatchObject({ reason: "cert_revoked_by_crl" })
  })
})

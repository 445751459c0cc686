/**
 * Goal: `sekisho dev` as a person runs it: what it prints is true, it ends when told to, and it says in one message what it
 * cannot do.
 * Method: the real process. The lines to paste are parsed out of the banner and run by a shell, in their order.
 */
import { execFile, spawnSync } from "node:child_process"
import { mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises"
import { request as startRequest } from "node:https"
import { createServer, type AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { startSink, type Sink } from "../../examples/sink/server.ts"
import { endCommands, isRunning, OLD_NODE, ROOT, runCommand, startCommand, type Command } from "./command.ts"
import { childrenOf, readAnswer, startOrigin, writeConfig, type Origin, type ReceivedEvent } from "./road.ts"

const CURL_VERSION = /^curl (\d+)\.(\d+)/.exec(spawnSync("curl", ["--version"], { encoding: "utf8" }).stdout ?? "")
/** `%header{}`, which one of the lines uses, came with curl 7.84. */
const HAS_CURL = CURL_VERSION !== null && Number(CURL_VERSION[1]) * 1_000 + Number(CURL_VERSION[2]) >= 7_084

let directory: string
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "sekisho dev "))
})
afterAll(async () => {
  await endCommands()
  await rm(directory, { recursive: true, force: true })
})

/** Calls a running gateway with a client's certificate. */
async function call(state: string, port: number, path: string, as = "acme") {
  const [ca, pem] = await Promise.all(
    ["ca.pem", `clients/${as}.pem`].map((name) => readFile(join(state, "pki", name), "utf8")),
  )
  const outgoing = startRequest({
    ca,
    cert: pem,
    key: pem,
    host: "127.0.0.1",
    servername: "localhost",
    port,
    path,
    headers: { Host: "localhost" },
    agent: false,
  })
  return readAnswer(outgoing.end())
}

async function portOf(command: Command, stream: "stdout" | "stderr" = "stdout"): Promise<number> {
  const [, port] = await command.until(/Gateway\s+https:\/\/localhost:(\d+)[^]*Ctrl-C ends it/, stream)
  return Number(port)
}

function isPortFree(port: number): Promise<boolean> {
  return new Promise((done) => {
    const server = createServer()
    server.once("error", () => done(false))
    server.listen(port, "127.0.0.1", () => server.close(() => done(true)))
  })
}

const PAYMENT = "a payment; the same line again gets the same answer, marked Idempotency-Replayed, and pays nothing"
const WEBSOCKET = "a WebSocket that says the time for 5 s: 101, then frames as they come"
const METRICS = "what has been counted so far, for Prometheus"
const GUESSES = "six guesses of a PIN against a guard of five: 401, then 429 with Retry-After"

describe("with samples", () => {
  const outputs = new Map<string, string>()
  let command: Command
  let state: string
  let port: number
  let banner: string

  beforeAll(async () => {
    state = join(directory, "samples")
    command = startCommand(["dev", "--samples", "--port", "0", "--state", state])
    port = await portOf(command)
    banner = (await command.until(/^[^]*Ctrl-C ends it/))[0]
  })
  test("the banner shows where it listens, who may call and which certificates there are", () => {
    expect(banner).toContain(`https://localhost:${port}`)
    expect(banner).toMatch(/Clients\s+acme\s+\S.*clients\/acme\.pem\s+(?:89|90) days left/)
    expect(banner).toMatch(/\n\s+globex\s+\S.*clients\/globex\.pem\s+(?:89|90) days left/)
    expect(banner).toMatch(/Origin\s+bank http:\/\/127\.0\.0\.1:\d+\s+the sample bank/)
  })

  test.skipIf(!HAS_CURL)("the lines to paste do what they say (needs curl 7.84)", async () => {
    const lines = [...banner.matchAll(/^ {2}# (.+)\n {2}((?:curl|for) .+)$/gm)]
    for (const [, title = "", line = ""] of lines) {
      let output = await runShell(line)
      // On a machine that is busy with something else, 30 requests may take so long that none is one too many.
      for (let again = 0; again < 3 && title.startsWith("a burst") && !output.includes("429"); again++)
        output += await runShell(line)
      outputs.set(title, output)
    }
    expect([...outputs.keys()]).toEqual([
      "a request that is accepted",
      "no certificate: 401",
      "a revoked certificate: 401",
      "an expired certificate: 401",
      "a certificate of a foreign CA: 401",
      "a burst of 30 against a limit of 20: 429 with Retry-After",
      GUESSES,
      PAYMENT,
      "no access token where one is needed: 401",
      "an access token, issued to this certificate",
      "the same of another client: 401",
      "a stream, line by line",
      WEBSOCKET,
      "past the gateway, straight to the bank, which wants the gateway's proof: 401",
      METRICS,
    ])
    for (const [title, output] of outputs) {
      const status = /^HTTP\/1\.1 (\d+)/.exec(output)?.[1]
      if (title.endsWith(": 401")) expect([title, status]).toEqual([title, "401"])
      if (title === "a request that is accepted" || title.startsWith("an access token"))
        expect([title, status]).toEqual([title, "200"])
      if (title === METRICS) expect(output).toMatch(/^# HELP sekisho_requests [^]*\n# EOF\n$/)
      if (title === PAYMENT) expect(status).toBe("201")
      if (title === "a stream, line by line")
        expect(
          output
            .trim()
            .split("\n")
            .map((line) => typeof JSON.parse(line)),
        ).not.toEqual([])
      if (title === WEBSOCKET)
        expect([status, output]).toEqual(["101", expect.stringMatching(/"hello":"acme"[^]*"now":/)])
      if (!title.startsWith("a burst")) continue
      const answers = output.trim().split("\n")
      expect(answers.length % 30).toBe(0)
      expect(answers.filter((answer) => !/^(?:200 retry-after=|429 retry-after=[1-9])$/.test(answer))).toEqual([])
      expect(answers[0]).toBe("200 retry-after=")
      expect(output).toContain("429")
    }
  })

  test.skipIf(!HAS_CURL)("the guesses reach the bank, which answers 401 to five of them (needs curl 7.84)", () => {
    expect(outputs.get(GUESSES)?.split("\n").slice(0, 5)).toEqual(Array.from({ length: 5 }, () => "401 retry-after="))
  })

  test.skipIf(!HAS_CURL)("the sixth guess is refused for at least a minute (needs curl 7.84)", () => {
    const [, seconds] = /^429 retry-after=(\d+)$/.exec(outputs.get(GUESSES)?.trim().split("\n")[5] ?? "") ?? []
    expect(Number(seconds)).toBeGreaterThanOrEqual(59)
  })

  test("a request appears as one line", async () => {
    // Acme may still be out of tokens.
    expect((await call(state, port, "/accounts", "globex")).status).toBe(200)
    const [line] = await command.until(/\n.*\/accounts .*/)
    expect(line).toMatch(/200\s+GET\s+\/accounts\s+globex\s+forwarded/)
  })

  test.skipIf(process.platform === "win32")("Ctrl-C ends it with 0, frees the port and leaves no process", async () => {
    const children = childrenOf("", command.pid)
    expect(children.length).toBeGreaterThan(0)
    // As a terminal and npm do it: twice, at once.
    command.kill("SIGINT")
    command.kill("SIGINT")
    expect((await command.ended).code).toBe(0)
    expect(await isPortFree(port)).toBe(true)
    expect(children.filter(isRunning)).toEqual([])
  })
})

describe("with origins of one's own", () => {
  let command: Command
  let origin: Origin
  let sink: Sink
  let state: string
  let port: number
  let config: string
  const events: ReceivedEvent[] = []

  beforeAll(async () => {
    state = join(directory, "own")
    origin = await startOrigin((request, response) => {
      if (request.url !== "/slow") response.end("own")
    })
    sink = await startSink({ host: "127.0.0.1", port: 0, onRecord: (event) => events.push(event) })
    config = await writeConfig(directory, (toml) =>
      toml
        .replace("http://127.0.0.1:9000", origin.url)
        .replace("http://127.0.0.1:4318/", `http://127.0.0.1:${sink.port}/`),
    )
    command = startCommand(["dev", "--json", "--port", "0", "--state", state, "--config", config])
    port = await portOf(command, "stderr")
  })
  afterAll(async () => {
    await sink?.close()
    await origin?.close()
  })

  test("requests go to the configured origin, events to the configured sink", async () => {
    expect(await call(state, port, "/balance")).toMatchObject({ status: 200, body: "own" })
    expect(origin.requests.map(({ line }) => line)).toEqual(["GET /balance"])
  })

  test("a change of the configuration is taken over, also when an editor puts a new file in its place", async () => {
    const toml = await readFile(config, "utf8")
    await writeFile(`${config}.new`, toml.replace('path = "/balance"', 'path = "/moved"'))
    await rename(`${config}.new`, config)
    await command.until(/configuration and sources taken over/, "stderr")
    const moved = await call(state, port, "/moved")
    expect([(await call(state, port, "/balance")).status, moved.status]).toEqual([404, 200])
    await writeFile(config, toml.replace('path = "/balance"', 'path = "/moved"').replace("rate = ", "rates = "))
    const [notice] = await command.until(/kept the running version[^]*LIMITS[^\n]*/, "stderr")
    expect(notice).toContain("rate")
    expect((await call(state, port, "/moved")).status).toBe(200)
  })

  test.skipIf(process.platform === "win32")(
    "REL-14 SIGTERM lets requests in flight finish and takes no new ones",
    async () => {
      const held = []
      for (let index = 0; index < 10; index++) {
        const arrival = origin.arrival()
        const answered = call(state, port, "/slow")
        held.push({ answered, response: (await arrival)[1] })
      }
      command.kill("SIGTERM")
      await command.until(/closing/, "stderr")
      await expect(call(state, port, "/moved")).rejects.toThrow()
      for (const { response } of held) response.end("done")
      const answers = await Promise.all(held.map(({ answered }) => answered))
      expect(answers.map(({ status, body }) => [status, body])).toEqual(answers.map(() => [200, "done"]))
      expect(await command.ended).toMatchObject({ code: 0, stdout: "" })
    },
  )
})

test.skipIf(process.platform === "win32")(
  "--json prints events as NDJSON and nothing else on standard output; a second Ctrl-C later on waits for nothing",
  async () => {
    const state = join(directory, "json")
    const origin = await startOrigin(() => {})
    const config = await writeConfig(await mkdtemp(join(directory, "json-")), (toml) =>
      toml
        .replace("[vars.LIMITS.standard]", `[vars.ORIGINS.own]\nurl = "${origin.url}"\n\n[vars.LIMITS.standard]`)
        .replace('path = "/echo"\norigin = "bank"', 'path = "/echo"\norigin = "own"'),
    )
    const command = startCommand(["dev", "--samples", "--json", "--port", "0", "--state", state, "--config", config])
    try {
      const port = await portOf(command, "stderr")
      const children = childrenOf("", command.pid)
      const answers = [await call(state, port, "/balance"), await call(state, port, "/nope")]
      const arrival = origin.arrival()
      const held = call(state, port, "/echo").catch(() => undefined)
      await arrival
      await command.until(/"\/nope".*\n/)
      command.kill("SIGINT")
      await command.until(/closing/, "stderr")
      // Within a second it is the same Ctrl-C; from then on the person means it.
      const timer = setInterval(() => command.kill("SIGINT"), 100)
      const { code, stdout } = await command.ended
      clearInterval(timer)
      await held
      const events = stdout
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as ReceivedEvent)
      // The bank asks the gateway for its keys when it first needs them.
      const requests = events.filter(({ event, path }) => event === "request" && path !== "/.well-known/jwks.json")
      expect(requests.map((event) => event["request_id"])).toEqual(answers.map(({ id }) => id))
      expect(code).toBe(130)
      expect(children.filter(isRunning)).toEqual([])
    } finally {
      await origin.close()
    }
  },
)

test.skipIf(OLD_NODE === undefined || process.platform === "win32")(
  "a signal to the old Node that handed over reaches the gateway (needs one)",
  async () => {
    const args = ["dev", "--samples", "--port", "0", "--state", join(directory, "old")]
    const command = startCommand(args, OLD_NODE, "cli/sekisho.mjs")
    await portOf(command)
    const [gateway = 0] = childrenOf("sekisho.ts", command.pid)
    command.kill("SIGTERM")
    expect((await command.ended).code).toBe(0)
    expect(isRunning(gateway)).toBe(false)
  },
)

describe("what it cannot do", () => {
  test("a taken port is named, with another one", async () => {
    const server = createServer()
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done))
    const { port } = server.address() as AddressInfo
    const { code, stderr } = await runCommand("dev", "--port", String(port), "--state", join(directory, "taken"))
    await new Promise((done) => server.close(done))
    expect(code).toBe(1)
    const [, other] = /--port (\d+)/.exec(stderr) ?? []
    expect(stderr).toContain(`Port ${port} is taken`)
    expect(Number(other) > 1_023 && Number(other) <= 65_535 && Number(other) !== port).toBe(true)
    expect(stderr).not.toMatch(/\n\s+at /)
  })

  test.concurrent.each([
    [["fly"], /no command "fly".*dev, check, explain, pki, crl, audit, keys/],
    [["dev", "--prot", "1"], /--prot/],
    [["dev", "--port", "http"], /--port takes a number from 0 to 65535, not "http"/],
    [["dev", "--port", "70000"], /--port takes a number from 0 to 65535/],
    [["dev", "--config", "missing.toml"], /No configuration at .*missing\.toml.*--config/],
    [["dev", "--env", "production"], /No client of this configuration can be served by the development CA/],
    [["check", "surplus"], /surplus/],
  ])("%j ends with 1 and one message without a stack", async (args, message) => {
    const { code, stdout, stderr } = await runCommand(...args)
    expect(code).toBe(1)
    expect(stderr).toMatch(message)
    expect(stderr.trim().split("\n").length).toBeLessThanOrEqual(3)
    expect(stderr + stdout).not.toMatch(/\n\s+at /)
    expect(stdout).toBe("")
  })

  test.concurrent.each([[["help"]], [["--help"]], [[]]])("%j explains every command and flag", async (args) => {
    const { code, stdout } = await runCommand(...args)
    expect(code).toBe(0)
    expect(stdout).toMatch(/dev[^]*--samples[^]*check[^]*pki[^]*--replace-ca[^]*keys[^]*--public/)
  })
})

function runShell(line: string): Promise<string> {
  return new Promise((done) => {
    execFile("sh", ["-c", line], { cwd: ROOT, encoding: "utf8" }, (_, stdout) => done(stdout))
  })
}

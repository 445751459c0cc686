/**
 * Goal: `sekisho check` says everything that is wrong with a configuration at once, and ends with 0 only when it would run.
 * Method: the real process on the repository's own file and on copies with faults. What each finding says is tested in
 * `test/core/findings.test.ts`; here, that a fault in the file becomes one.
 */
import { execFile } from "node:child_process"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { delimiter, dirname, join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { PIPELINE } from "../../src/pipeline.ts"
import { OLD_NODE, ROOT, runCommand, type Ended } from "./command.ts"
import { writeConfig } from "./road.ts"

let directory: string
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "sekisho-check-"))
})
afterAll(() => rm(directory, { recursive: true, force: true }))

/** Checks a copy of the repository's configuration. */
async function check(edit: (toml: string) => string, ...args: readonly string[]): Promise<Ended> {
  const file = await writeConfig(await mkdtemp(join(directory, "copy-")), edit)
  return runCommand("check", "--config", file, ...args)
}

/** Returns the text with one thing replaced; fails when it is not there, so that no test checks an unchanged copy. */
function change(toml: string, from: string, to: string): string {
  expect(toml).toContain(from)
  return toml.replace(from, to)
}

describe("a valid configuration", () => {
  let ended: Ended
  beforeAll(async () => {
    ended = await runCommand("check")
  })

  test("ends with 0 and says so for every environment", () => {
    expect([ended.code, ended.stderr]).toEqual([0, ""])
    expect(ended.stdout.match(/✓ valid, 0 warnings/g)).toHaveLength(2)
    expect(ended.stdout).toMatch(/wrangler\.toml top level[^]*wrangler\.toml production/)
  })

  test.each([
    ["routes", /^ {2}\/accounts\/\*\*\s+GET\s+required\s+standard\s+1\s+-\s+-\s+origin bank$/m],
    ["routes with guards", /^ {2}\/login\s+POST\s+required\s+standard\s+1\s+credentials\s+-\s+origin bank$/m],
    ["routes answered here", /^ {2}\/healthz\s+GET\s+none\s+-\s+-\s+-\s+-\s+answered here with 200$/m],
    ["clients by URI", /^ {2}acme\s+san-uri\s+spiffe:\/\/partners\.example\/acme\s+\(issuer 73656b697368…\)$/m],
    ["clients by subject", /^ {2}globex\s+subject\s+globex, Payments, Globex, JP\s+\(issuer 73656b697368…\)$/m],
    ["limits", /^ {2}payments\s+payments\s+enforce\s+12 per 1m, burst 3$/m],
    ["quotas", /^ {2}payments-day\s+payments\s+enforce\s+1000 a day in Asia\/Tokyo$/m],
    ["limits of what runs at once", /^ {2}standard-concurrent\s+standard\s+enforce\s+20 at once, each at most 130s$/m],
    [
      "guards",
      /^ {2}credentials\s+client\s+5 failures\s+10m\s+1m to 1h, random 0\.2\s+reserve\s+401, 403, guard-outcome$/m,
    ],
    ["routes that show keys", /^ {2}\/\.well-known\/jwks\.json\s+GET\s+none\s.*answered here with the public keys$/m],
    ["origins", /^ {2}bank\s+https:\/\/core\.bank\.example\s+10s\s+1\s+only tells\s+Client-Cert\s+core-bank$/m],
    ["sinks", /^ {2}otlp\s+https:\/\/collector\.bank\.example\/v1\/logs\s+events\s+gzip\s+secret SINK_AUTHORIZATION$/m],
    ["sinks of traces", /^ {2}otlp\s+https:\/\/collector\.bank\.example\/v1\/traces\s+traces\s+gzip\s+secret/m],
    ["the share of the traces", /^ {2}traces 10 % of those that begin here$/m],
    ["secrets of keys", /^ {2}ASSERTION_KEY\s+private JWK \(sekisho keys\); signs assertions$/m],
    ["secrets of sinks", /^ {2}SINK_AUTHORIZATION\s+value of the Authorization field for a sink$/m],
  ])("shows a table of %s", (_, row) => {
    expect(ended.stdout).toMatch(row)
  })

  test("shows the stages in their order", () => {
    const rows = [...ended.stdout.matchAll(/^ {2}(\d+)\s+(\w+)\s+([\w-]+)\s/gm)].map(([, number, verb, stage]) => [
      Number(number),
      verb,
      stage,
    ])
    expect(rows).toEqual(PIPELINE.map(({ verb, stage }, index) => [index + 1, verb, stage]))
  })

  test("paints nothing where no terminal is", () => {
    expect(ended.stdout).not.toContain("\u001b")
  })
})

test("--env checks that environment only", async () => {
  const { code, stdout } = await runCommand("check", "--env", "production")
  expect(code).toBe(0)
  expect(stdout).toMatch(/wrangler\.toml production/)
  expect(stdout).not.toMatch(/top level/)
})

test("a broken configuration ends with 1 and every error, each with place, value and what would be accepted", async () => {
  const { code, stdout } = await check((toml) =>
    [
      ['hosts = ["localhost"]', 'hosts = ["LOCALHOST:1"]\ncolour = "red"'],
      ['url = "http://127.0.0.1:9000"', 'url = "ftp://127.0.0.1"'],
      ['rate = "10/s"', 'rate = "\\u009b31m fast"'],
      ["burst = 3", "burst = 0"],
      ['path = "/payments"', 'path = "/a/../b"'],
      ['regex = "^/(?:slow|failing|error)$"', 'regex = "^(a+)+$"'],
      [
        'prefix = "/accounts"\nmethods = ["GET"]\norigin = "bank"',
        'prefix = "/accounts"\nmethods = ["GET"]\norigin = "vault"',
      ],
      ['id = "globex"', 'id = "acme"'],
      ['kind = "otlp"', 'kind = "syslog"'],
      ["[vars.LIMITS.standard]", 'ROUTE = [{ path = "/x" }]\n[vars.LIMITS.standard]'],
    ].reduce((text, [from = "", to = ""]) => change(text, from, to), toml),
  )
  expect(code).toBe(1)
  const errors = [...stdout.matchAll(/^ {2}(\S+) {2}(.+)\n {6}expected (.+)$/gm)].map(([, path, value]) => [
    path,
    value,
  ])
  expect(errors).toEqual(
    expect.arrayContaining([
      ["GATEWAY.hosts[0]", '"LOCALHOST:1"'],
      ["GATEWAY.colour", '"red"'],
      ["ORIGINS.bank.url", '"ftp://127.0.0.1"'],
      ["LIMITS.standard.rate", '"\\u009b31m fast"'],
      ["LIMITS.payments.burst", "0"],
      ["ROUTES[3].path", '"/a/../b"'],
      ["ROUTES[4].regex", '"^(a+)+$"'],
      ["ROUTES[2].origin", '"vault"'],
      ["CLIENTS[1].id", '"acme"'],
      ["SINKS[0].kind", '"syslog"'],
    ]),
  )
  expect(stdout).toMatch(/✗ \d+ errors/)
  // What could act on a terminal is shown, not sent.
  expect(stdout.replaceAll("\n", "")).not.toMatch(/\p{Cc}/u)
  // The other environment is sound, and is said to be.
  expect(stdout).toMatch(/production[^]*✓ valid/)
})

test("the tables show what is not usual about routes and guards", async () => {
  const { code, stdout } = await check((toml) =>
    [
      ['guard = "credentials"', 'guard = ["credentials", "addresses"]\nblocked_status = 403\nsoft = true'],
      [
        "[vars.GUARDS.credentials]",
        '[vars.GUARDS.addresses]\nmax_failures = 1\nfailure_duration = "1h"\nkey = "address"\nverdict_header = false\nbackoff = { kind = "lineal", duration = "5m" }\n\n[vars.GUARDS.credentials]\nkey = "header:x-account-id"',
      ],
    ].reduce((text, [from = "", to = ""]) => change(text, from, to), toml),
  )
  expect(code).toBe(0)
  expect(stdout).toMatch(
    /^ {2}\/login\s+POST\s+required\s+standard \(soft\)\s+1\s+credentials, addresses \(403\)\s+-\s+origin bank$/m,
  )
  expect(stdout).toMatch(/^ {2}addresses\s+address\s+1 failure\s+1h\s+5m\s+optimistic\s+401, 403$/m)
  expect(stdout).toMatch(/^ {2}credentials\s+field x-account-id\s+5 failures/m)
})

test("what is valid and still would not work is an error, what would surprise a warning", async () => {
  const { code, stdout } = await check((toml) =>
    [
      ["workers_dev = false\npreview_urls = false\n\n[observability]", "[observability]"],
      ['[[durable_objects.bindings]]\nname = "CLIENT_GATE"\nclass_name = "ClientGate"\n', ""],
      ['[[queues.producers]]\nbinding = "EVENTS"\nqueue = "sekisho-events"\n', ""],
      ['dead_letter_queue = "sekisho-events-dead"\n', ""],
      ["spiffe://partners.example/acme", "spiffe://Partners.example/acme"],
      [
        '[[vars.ROUTES]]\npath = "/balance"',
        '[[vars.ROUTES]]\npath = "/healthz"\nmethods = ["HEAD"]\nclient_certificate = "none"\nrespond = { status = 204 }\n\n[[vars.ROUTES]]\npath = "/balance"',
      ],
      [
        "[vars.ORIGINS.bank]",
        `${Array.from({ length: 6 }, (_, n) => `[[vars.ROUTES_2]]\npath = "/large${n}"\nclient_certificate = "none"\nrespond = { status = 200, body = "${"x".repeat(1_000)}" }\n`).join("\n")}\n[vars.ORIGINS.bank]`,
      ],
    ].reduce((text, [from = "", to = ""]) => change(text, from, to), toml),
  )
  expect(code).toBe(1)
  // Every fault stands at the top level; the other environment inherits none of them.
  const [topLevel = "", production = ""] = stdout.split("wrangler.toml production")
  expect(production).toMatch(/✓ valid, 0 warnings/)
  expect(topLevel).toMatch(/✗ 3 errors, 5 warnings/)
  const findings = [...topLevel.matchAll(/^ {2}([✗!]) (client "\w+"|\D\S+) /gm)].map(([, mark, path]) => [mark, path])
  expect(findings).toEqual([
    ["✗", "durable_objects.bindings"],
    ["✗", "queues.producers"],
    ["!", "queues.consumers"],
    ["!", "workers_dev"],
    ["!", "preview_urls"],
    ["✗", "ROUTES_2"],
    ["!", 'client "acme"'],
    ["!", "ROUTES[1]"],
  ])
})

test("a file that is no TOML ends with 1 and one message that names it", async () => {
  const file = join(directory, "broken.toml")
  await writeFile(file, 'name = "sekisho\n')
  const { code, stdout, stderr } = await runCommand("check", "--config", file)
  expect([code, stdout]).toEqual([1, ""])
  expect(stderr).toMatch(/broken\.toml cannot be read/)
  expect(stderr).not.toMatch(/\n\s+at /)
})

describe.skipIf(OLD_NODE === undefined || process.platform === "win32")("with an old Node on PATH (needs one)", () => {
  const env = { ...process.env, PATH: [dirname(OLD_NODE ?? ""), "/usr/bin", "/bin"].join(delimiter) }

  test("npx sekisho hands over to the project's own", async () => {
    const { code, stdout } = await run("npx", ["--no-install", "sekisho", "check", "--env", "production"], env)
    expect(code).toBe(0)
    expect(stdout).toMatch(/✓ valid/)
  })

  test("the exit code is that of the command", async () => {
    const { code, stderr } = await run(OLD_NODE ?? "", ["cli/sekisho.mjs", "check", "--env", "staging"], env)
    expect(code).toBe(1)
    expect(stderr).toMatch(/no environment "staging"; it has: .*production/)
  })
})

function run(file: string, args: readonly string[], env: NodeJS.ProcessEnv) {
  return new Promise<{ code: number; stdout: string; stderr: string }>((done) => {
    execFile(file, [...args], { cwd: ROOT, env, encoding: "utf8" }, (error, stdout, stderr) =>
      done({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    )
  })
}

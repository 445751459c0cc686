/**
 * Goal: `sekisho pki` makes what the clients of a configuration need, leaves alone what is in order, and never replaces a CA
 * by accident. What the certificates say is tested in `pki.test.ts`.
 * Method: the real process, run again and again on one directory.
 */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { runCommand, type Ended } from "./command.ts"
import { writeConfig } from "./road.ts"

const FILES = [
  "README.txt",
  "ca.key",
  "ca.pem",
  "clients/acme.pem",
  "clients/expired.pem",
  "clients/foreign.pem",
  "clients/globex.pem",
  "clients/not-yet-valid.pem",
  "clients/revoked.pem",
  "clients/wrong-eku.pem",
  "crl.pem",
  "server.key",
  "server.pem",
]

let state: string
let first: Ended
beforeAll(async () => {
  state = await mkdtemp(join(tmpdir(), "sekisho-pki-"))
  first = await runCommand("pki", "--state", state)
})
afterAll(() => rm(state, { recursive: true, force: true }))

/** Returns every file of the PKI with its contents. */
async function contents(): Promise<ReadonlyMap<string, string>> {
  const entries = await readdir(join(state, "pki"), { recursive: true, withFileTypes: true })
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  const read = await Promise.all(paths.map((path) => readFile(path, "utf8")))
  return new Map(paths.map((path, index) => [path.slice(state.length + 5), read[index] ?? ""]))
}

/** Returns the names of the files that differ. */
function changed(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): readonly string[] {
  return [...new Set([...before.keys(), ...after.keys()])]
    .filter((name) => before.get(name) !== after.get(name))
    .toSorted()
}

test("the first run makes every file and shows them", async () => {
  expect([first.code, first.stderr]).toEqual([0, ""])
  expect([...(await contents()).keys()].toSorted()).toEqual(FILES)
  expect(first.stdout).toMatch(/acme\s+\S*clients\/acme\.pem\s+(?:89|90)\s+[0-9a-f]{16}/)
  expect(first.stdout).toMatch(/Made now: .*ca\.pem.*clients\/acme\.pem/)
})

test("the second run changes nothing and says so", async () => {
  const before = await contents()
  const { code, stdout } = await runCommand("pki", "--state", state)
  expect(code).toBe(0)
  expect(stdout).toContain("nothing was changed")
  expect(changed(before, await contents())).toEqual([])
})

test("--renew issues every certificate anew under the same CA", async () => {
  const before = await contents()
  const { code, stdout } = await runCommand("pki", "--state", state, "--renew")
  expect(code).toBe(0)
  expect(stdout).toMatch(/Made now: .*clients\/acme\.pem/)
  const expected = FILES.filter((name) => !["README.txt", "ca.key", "ca.pem"].includes(name))
  expect(changed(before, await contents())).toEqual(expected)
})

test("a new client of the configuration gets a certificate, and no other changes", async () => {
  const before = await contents()
  const config = await writeConfig(state, (toml) =>
    toml.replace(
      "[vars.ORIGINS.bank]",
      '[[vars.CLIENTS]]\nid = "initech"\ncertificates = [{ issuer = "development", san_uri = "urn:example:initech" }]\n\n[vars.ORIGINS.bank]',
    ),
  )
  const { code, stdout } = await runCommand("pki", "--state", state, "--config", config)
  expect(code).toBe(0)
  expect(stdout).toMatch(/initech\s+\S*clients\/initech\.pem/)
  expect(changed(before, await contents())).toEqual(["README.txt", "clients/initech.pem"])
})

test("--replace-ca keeps the old CA beside the new one", async () => {
  const before = await contents()
  const { code } = await runCommand("pki", "--state", state, "--replace-ca")
  const after = await contents()
  const kept = [...after.keys()].find((name) => name.startsWith("ca.pem.bak-")) ?? ""
  expect(code).toBe(0)
  expect(after.get(kept)).toBe(before.get("ca.pem"))
  expect(after.get("ca.pem")).not.toBe(before.get("ca.pem"))
})

test("a CA without its key is refused with what to do, and nothing is written", async () => {
  await rm(join(state, "pki", "ca.key"))
  const before = await contents()
  const { code, stdout, stderr } = await runCommand("pki", "--state", state)
  expect([code, stdout]).toEqual([1, ""])
  expect(stderr).toMatch(/ca\.key is missing[^]*--replace-ca/)
  expect(stderr).not.toMatch(/\n\s+at /)
  expect(changed(before, await contents())).toEqual([])
})
